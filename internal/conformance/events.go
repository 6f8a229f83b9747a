package conformance

import (
	"math"
	"math/big"
	"math/rand/v2"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// Schema is the stream trades, with a column of every kind that aggregates differ by.
func Schema() *event.Schema {
	return &event.Schema{Stream: "trades", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
		{Name: "ts", Type: event.Type{Kind: event.Timestamp}, NotNull: true},
		{Name: "k", Type: event.Type{Kind: event.Varchar}},
		{Name: "g", Type: event.Type{Kind: event.Integer}},
		{Name: "n", Type: event.Type{Kind: event.BigInt}},
		{Name: "x", Type: event.Type{Kind: event.Double}},
		{Name: "price", Type: event.Type{Kind: event.Decimal, Precision: 12, Scale: 2}},
		{Name: "wide", Type: event.Type{Kind: event.Decimal, Precision: 38, Scale: 4}},
		{Name: "ok", Type: event.Type{Kind: event.Boolean}},
		{Name: "day", Type: event.Type{Kind: event.Date}},
		{Name: "f", Type: event.Type{Kind: event.Float}},
		{Name: "word", Type: event.Type{Kind: event.Varchar}},
	}}
}

// edges are instants at which windows have gone wrong elsewhere: both sides of
// 1970, the hours that daylight saving skips or repeats, ends of months and weeks,
// and a year in which zones had odd seconds.
var edges = []string{
	"1969-12-31 23:00:00", "1970-01-01 00:00:00", "1900-03-01 00:00:00", "2024-02-28 22:00:00", "2026-01-01 00:00:00",
	"2026-03-29 00:30:00", "2026-10-25 00:30:00", // Berlin
	"2026-03-08 06:30:00", "2026-11-01 05:30:00", // New York
	"2026-04-04 14:30:00", "2026-10-03 15:00:00", // Lord Howe, by half an hour
	"2026-03-08 04:30:00", "2026-11-01 03:30:00", // Havana, at midnight
}

// times draws a stream's times: dense around a few edges, so that events
// meet in windows, on the windows' bounds to the microsecond, and with ties.
func times(r *rand.Rand) func() int64 {
	var near []int64
	for range 1 + r.IntN(3) {
		at, err := time.Parse(time.DateTime, edges[r.IntN(len(edges))])
		if err != nil {
			panic(err)
		}
		near = append(near, at.UnixMicro())
	}
	var drawn []int64
	return func() int64 {
		if len(drawn) > 0 && r.IntN(5) == 0 {
			return drawn[r.IntN(len(drawn))]
		}
		ts := near[r.IntN(len(near))]
		switch r.IntN(8) {
		case 0: // days around
			ts += r.Int64N(5*24*3600)*1e6 - 2*24*3600*1e6
		case 1: // on a bound, and beside it
			ts += r.Int64N(200)*60e6 + r.Int64N(3) - 1
		default:
			ts += r.Int64N(40*60) * 1e6
		}
		drawn = append(drawn, ts)
		return ts
	}
}

// A Stream is a random stream in order of position, cut into runs.
type Stream struct {
	Runs [][]duckdb.Batch
	All  []duckdb.Batch
}

// RandomStream makes n events with the values of RandomEvents at the times of
// times. Sequences go back when an epoch begins, and a message has several
// events: only all parts of a position together tell the order.
func RandomStream(r *rand.Rand, n int) Stream {
	var s Stream
	draw := times(r)
	epoch, seq, idx := int32(1), int64(1), int32(0)
	for done := 0; ; {
		size := min(1+r.IntN(1+n/2), n-done)
		if r.IntN(6) == 0 {
			size = 0 // a run that brought nothing
		}
		b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
			{Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Microsecond}}, {Name: "e", Type: arrow.PrimitiveTypes.Int32},
			{Name: "s", Type: arrow.PrimitiveTypes.Int64}, {Name: "i", Type: arrow.PrimitiveTypes.Int32}}, nil))
		for range size {
			switch {
			case r.IntN(60) == 0:
				epoch, seq, idx = epoch+1, 1+r.Int64N(seq), 0
			case r.IntN(3) == 0:
				seq, idx = seq+1+r.Int64N(3), 0
			default:
				idx++
			}
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(draw()))
			b.Field(1).(*array.Int32Builder).Append(epoch)
			b.Field(2).(*array.Int64Builder).Append(seq)
			b.Field(3).(*array.Int32Builder).Append(idx)
		}
		placed := b.NewRecordBatch()
		b.Release()
		values := RandomEvents(r, size, int64(done))
		columns := append([]arrow.Array{}, values.Columns()...)
		columns[0], columns[11], columns[13], columns[14] = placed.Column(0), placed.Column(1), placed.Column(2), placed.Column(3)
		batch := duckdb.RecordBatch(array.NewRecordBatch(values.Schema(), columns, int64(size)))
		s.Runs, s.All = append(s.Runs, []duckdb.Batch{batch}), append(s.All, batch)
		if done += size; done == n {
			return s
		}
	}
}

// Drawing gives rows of events as a client sends them, without positions, with the
// values of RandomEvents at the times of times.
func Drawing(r *rand.Rand) func(n int) arrow.RecordBatch {
	draw := times(r)
	return func(n int) arrow.RecordBatch {
		ts := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Microsecond})
		defer ts.Release()
		for range n {
			ts.Append(arrow.Timestamp(draw()))
		}
		own := len(Schema().Columns)
		columns := append([]arrow.Array{ts.NewArray()}, RandomEvents(r, n, 0).Columns()[1:own]...)
		return array.NewRecordBatch(Schema().Arrow(), columns, int64(n))
	}
}

// Placed gives the rows as events of one message, with their positions.
func Placed(rows arrow.RecordBatch, at event.Position) duckdb.Batch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(Schema().Relation()[len(Schema().Columns):]))
	defer b.Release()
	for i := range int32(rows.NumRows()) {
		b.Field(0).(*array.Int32Builder).Append(int32(at.Epoch))
		b.Field(1).(*array.Int32Builder).Append(int32(at.Partition))
		b.Field(2).(*array.Int64Builder).Append(int64(at.Seq))
		b.Field(3).(*array.Int32Builder).Append(i)
		b.Field(4).(*array.TimestampBuilder).Append(0) // no case reads the time of the log
	}
	columns := append(append([]arrow.Array{}, rows.Columns()...), b.NewRecordBatch().Columns()...)
	return duckdb.RecordBatch(array.NewRecordBatch(event.ArrowSchema(Schema().Relation()), columns, rows.NumRows()))
}

// RandomEvents makes n events of trades from position first: late and out of
// order, with ties, NULL keys, failing values, huge and non-finite numbers.
func RandomEvents(r *rand.Rand, n int, first int64) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(Schema().Relation()))
	defer b.Release()
	pick := func(all ...float64) float64 { return all[r.IntN(len(all))] }
	for i := range n {
		// A tenth lies around 1970, before and after.
		ts := int64(1_767_225_600_000_000) + r.Int64N(40*3600)*1_000_000
		if r.IntN(10) == 0 {
			ts = r.Int64N(20*3600)*1_000_000 - 10*3600*1_000_000 - r.Int64N(2)
		}
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(ts))
		words := []string{"a", "b", "c", "d1", "d2", "a long key that is not inlined"}
		b.Field(1).(*array.StringBuilder).Append(words[r.IntN(len(words))])
		b.Field(2).(*array.Int32Builder).Append(int32(r.IntN(5)))
		n := []int64{int64(r.IntN(100)), -int64(r.IntN(1000)), r.Int64N(1 << 40)}[r.IntN(3)]
		if r.IntN(50) == 0 {
			n = []int64{math.MaxInt64, math.MinInt64}[r.IntN(2)]
		}
		b.Field(3).(*array.Int64Builder).Append(n)
		x := r.NormFloat64()*10 + 1e6*pick(0, 0, 0, 1)
		if r.IntN(60) == 0 {
			x = pick(math.NaN(), math.Inf(1), math.Inf(-1), 1e200, 0, math.Copysign(0, -1))
		}
		b.Field(4).(*array.Float64Builder).Append(math.Round(x*4) / 4)
		b.Field(5).(*array.Int64Builder).Append(r.Int64N(2_000_000) - 500_000)
		wide := decimal128.FromI64(r.Int64N(1e15) - 5e14)
		if r.IntN(30) == 0 {
			wide = decimal128.FromBigInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(37), nil))
		}
		b.Field(6).(*array.Decimal128Builder).Append(wide)
		b.Field(7).(*array.BooleanBuilder).Append(r.IntN(3) > 0)
		b.Field(8).(*array.Date32Builder).Append(arrow.Date32(20000 + r.IntN(4)))
		b.Field(9).(*array.Float32Builder).Append(float32(r.IntN(64)) / 4)
		numbers := []string{"1", "2", "-7", "x", "99999999999", ""}
		b.Field(10).(*array.StringBuilder).Append(numbers[r.IntN(len(numbers))])
		for c := 1; c <= 10; c++ {
			if r.IntN(15) == 0 {
				replaceLast(b.Field(c))
			}
		}
		b.Field(11).(*array.Int32Builder).Append(1)
		b.Field(12).(*array.Int32Builder).Append(0)
		b.Field(13).(*array.Int64Builder).Append(first + int64(i))
		b.Field(14).(*array.Int32Builder).Append(0)
		b.Field(15).(*array.TimestampBuilder).Append(arrow.Timestamp(first + int64(i)))
	}
	return b.NewRecordBatch()
}

// replaceLast makes the value appended last NULL.
func replaceLast(b array.Builder) {
	b.SetNull(b.Len() - 1)
}
