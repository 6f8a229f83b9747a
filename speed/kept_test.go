package speed

import (
	"math/rand/v2"
	"testing"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// From any position that was once landed on, what is kept and the tail behind it are each
// event once, without a hole.
func TestWhatIsKeptJoinsTheTail(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	const bound = 40_000
	b := begun(t, func(c *Config) { c.KeptBytes = bound })
	at, landed, batched := uint64(0), uint64(0), uint64(0)
	var stops []uint64
	forgot := false
	for range 300 {
		switch random.IntN(6) {
		case 0:
			b.Landed(src, at)
			landed = at
			stops = append(stops, at)
		case 1:
			if len(stops) > 0 && random.IntN(3) == 0 {
				batched = max(batched, stops[random.IntN(len(stops))])
				b.Batched("pay", event.Cut{src: batched})
			}
		default:
			n := uint64(1 + random.IntN(3))
			if random.IntN(20) == 0 {
				n = 200 // a landing too large to be kept
			}
			b.apply(block(src, at, at+n, random.IntN(3)))
			at += n
		}
		s := b.stream()
		ranges, kept := s.KeptAfter(event.Cut{src: batched})
		begin := landed
		if len(ranges) > 0 {
			begin = ranges[0].After
		}
		forgot = forgot || begin > batched
		tail, rest := s.TailAfter(event.Cut{src: landed})
		if holes, overlaps := event.Holes(event.Range{Source: src, After: begin, Through: at}, append(ranges, tail...)); len(holes) > 0 || len(overlaps) > 0 {
			t.Fatalf("after %d: holes %v, overlaps %v", begin, holes, overlaps)
		}
		position := begin
		for _, batch := range append(append([]duckdb.Batch{}, kept...), rest...) {
			blk := batch.(*event.Block)
			row := 0
			for _, run := range blk.Runs {
				if run.Seq <= position || run.Seq > blk.Through {
					t.Fatalf("position %d behind %d in %s", run.Seq, position, blk.Range)
				}
				position = run.Seq
				want := block(src, run.Seq-1, run.Seq, run.Rows)
				for i := range run.Rows {
					for c := range pay().Columns {
						if got := blk.Column(c).ValueStr(row); got != want.Column(c).ValueStr(i) {
							t.Fatalf("position %d, row %d: %q in column %d", run.Seq, i, got, c)
						}
					}
					row++
				}
			}
		}
		if bytes := b.State().KeptBytes(); bytes > bound {
			t.Fatalf("%d bytes are kept in %d blocks", bytes, len(s.Kept))
		}
	}
	if !forgot {
		t.Error("all was kept at all times: the test has lost its point")
	}
}

func TestNothingIsKeptWithoutMemoryForIt(t *testing.T) {
	b := begun(t, func(c *Config) { c.KeptBytes = -1 })
	for at := range uint64(3) {
		b.apply(block(src, at, at+1, 2))
		b.Landed(src, at+1)
	}
	if s := b.stream(); len(s.Kept) > 0 || len(s.Tail) > 0 {
		t.Errorf("%d landings are kept, %d blocks are in the tail", len(s.Kept), len(s.Tail))
	}
}
