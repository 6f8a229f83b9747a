package view

import (
	"math/rand/v2"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/internal/duckdb"
)

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

// conformTimes draws a stream's times: dense around a few edges, so that events
// meet in windows, on the windows' bounds to the microsecond, and with ties.
func conformTimes(r *rand.Rand) func() int64 {
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

// A conformStream is a random stream in order of position, cut into runs.
type conformStream struct {
	runs [][]duckdb.Batch
	all  []duckdb.Batch
	rows int
}

// randomStream makes n events with the values of randomEvents at the times of
// conformTimes. Sequences go back when an epoch begins, and a message has several
// events: only all parts of a position together tell the order.
func randomStream(r *rand.Rand, n int) conformStream {
	s := conformStream{rows: n}
	draw := conformTimes(r)
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
		values := randomEvents(r, size, int64(done))
		columns := append([]arrow.Array{}, values.Columns()...)
		columns[0], columns[11], columns[13], columns[14] = placed.Column(0), placed.Column(1), placed.Column(2), placed.Column(3)
		batch := duckdb.RecordBatch(array.NewRecordBatch(values.Schema(), columns, int64(size)))
		s.runs, s.all = append(s.runs, []duckdb.Batch{batch}), append(s.all, batch)
		if done += size; done == n {
			return s
		}
	}
}
