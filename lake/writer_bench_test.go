package lake

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// payments are rows as a payment stream has them: ids that repeat nowhere, texts of
// few values, and amounts.
func payments(rows int) *event.Block {
	kind := func(k event.Kind) event.Type { return event.Type{Kind: k} }
	s := &event.Schema{Stream: "pay", TimeColumn: 1, IDColumn: 0, Columns: []event.Column{
		{Name: "id", Type: kind(event.Varchar), NotNull: true}, {Name: "ts", Type: kind(event.Timestamp), NotNull: true},
		{Name: "merchant", Type: kind(event.Varchar), NotNull: true}, {Name: "customer", Type: kind(event.BigInt)},
		{Name: "amount", Type: event.Type{Kind: event.Decimal, Precision: 12, Scale: 2}, NotNull: true},
		{Name: "currency", Type: kind(event.Varchar)}, {Name: "status", Type: kind(event.Varchar)}, {Name: "country", Type: kind(event.Varchar)},
		{Name: "card", Type: kind(event.Varchar)}, {Name: "latency", Type: kind(event.Double)}, {Name: "attempt", Type: kind(event.Integer)},
		{Name: "test", Type: kind(event.Boolean)},
	}}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	rb := array.NewRecordBuilder(memory.DefaultAllocator, s.Arrow())
	text := func(i int, v string) { rb.Field(i).(*array.StringBuilder).Append(v) }
	for i := range rows {
		text(0, fmt.Sprintf("%08x-%04x-4%03x-0000-%012d", random.Uint32(), random.IntN(1<<16), random.IntN(1<<12), i))
		rb.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(base + int64(i)*37))
		text(2, fmt.Sprintf("merchant-%06d", random.IntN(1000)))
		rb.Field(3).(*array.Int64Builder).Append(700_000_000_000 + random.Int64N(100_000_000))
		rb.Field(4).(*array.Int64Builder).Append(random.Int64N(100_000))
		text(5, pick("EUR", "USD", "GBP", "JPY"))
		text(6, pick("authorized", "redirected", "challenged"))
		text(7, pick("DE", "FR", "US", "GB", "JP", "CH", "SE", "ES"))
		text(8, fmt.Sprintf("Visa Classic debit %04d", random.IntN(10_000)))
		rb.Field(9).(*array.Float64Builder).Append(float64(random.IntN(1_000_000)) / 1000)
		rb.Field(10).(*array.Int32Builder).Append(int32(1 + random.IntN(3)))
		rb.Field(11).(*array.BooleanBuilder).Append(false)
	}
	b := &event.Block{Range: event.Range{Source: src, After: 0, Through: 1}, Schema: s, Batch: rb.NewRecordBatch()}
	b.Runs = []event.Run{{Seq: 1, At: base, Rows: rows}}
	return b
}

// BenchmarkWrite writes blocks of 1,000 rows, as they come, into data files.
func BenchmarkWrite(b *testing.B) {
	block := payments(64_000)
	var parts []*event.Block
	for i := range 64 {
		p := &event.Block{Range: event.Range{Source: src, After: uint64(i), Through: uint64(i + 1)}, Schema: block.Schema, Batch: block.Batch.NewSlice(int64(i)*1000, int64(i+1)*1000)}
		p.Runs = []event.Run{{Seq: uint64(i + 1), At: base + int64(i), Rows: 1000}}
		parts = append(parts, p)
	}
	dir := b.TempDir()
	rows, size := 0, int64(0)
	for b.Loop() {
		w, err := NewFileWriter(block.Schema, dir)
		if err != nil {
			b.Fatal(err)
		}
		for round := range 4 {
			for _, p := range parts {
				q := &event.Block{Range: event.Range{Source: src, After: p.After + uint64(64*round), Through: p.Through + uint64(64*round)}, Schema: p.Schema, Batch: p.Batch}
				q.Runs = []event.Run{{Seq: q.Through, At: base + int64(q.Through), Rows: 1000}}
				if err := w.Write(q); err != nil {
					b.Fatal(err)
				}
				rows += q.Len()
			}
		}
		f, err := w.Finish()
		if err != nil {
			b.Fatal(err)
		}
		size += f.Size
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(size)/float64(rows), "B/row")
}
