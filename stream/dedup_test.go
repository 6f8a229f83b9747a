package stream

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"pgregory.net/rapid"
)

// recount is deduplication as its rule reads: an event is accepted unless one
// with its id was accepted at most the window before it.
type recount struct {
	window int64
	taken  []struct {
		id string
		at int64
	}
}

func (r *recount) accept(id string, at int64) bool {
	if id == "" {
		return true
	}
	for _, x := range r.taken {
		if x.id == id && at-x.at <= r.window {
			return false
		}
	}
	r.taken = append(r.taken, struct {
		id string
		at int64
	}{id, at})
	return true
}

// TestDedupEqualsARecount delivers random messages through taps that stop
// and start at random places, each seeded from what was accepted before it, as
// from a lake; some messages are handed over, others read.
func TestDedupEqualsARecount(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := NewMemoryLog(0)
		want := &recount{window: payments().DedupWindow.Microseconds()}
		var wanted, got []string
		var lake []*event.Block
		through, logTime, stamp, clock := uint64(0), int64(0), int64(0), 100*second
		for range rapid.IntRange(1, 4).Draw(rt, "runs") {
			r := newRecorder(through)
			tap := tapOf(log, r, func(c *TapConfig) {
				c.After, c.LogTime, c.Stamp = through, logTime, stamp
				c.Dedup = seeded(rt, lake, logTime)
			})
			stop := start(t, tap)
			for range rapid.IntRange(0, 6).Draw(rt, "messages") {
				clock += rapid.SampledFrom([]int64{-2 * second, 0, second, 3 * second, 5 * second, 10 * second}).Draw(rt, "step")
				ids := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "c", "d"}), 0, 5).Draw(rt, "ids")
				batch := rows(clock, ids...)
				data := envelope(t, clock, batch)
				seq := appendTo(t, log, data)
				if rapid.Bool().Draw(rt, "handed") {
					tap.Handoff(Handed{Seq: seq, Stamp: clock, Rows: batch, Size: len(data)})
				}
				logTime, stamp = max(logTime, clock), clock
				for i, id := range ids {
					if want.accept(id, logTime) {
						wanted = append(wanted, fmt.Sprintf("%d.%d at %d id %s", seq, i, logTime, id))
					}
				}
				through = seq
			}
			r.reaches(t, through)
			if err := stop(); err != nil {
				rt.Fatal(err)
			}
			lake = append(lake, r.blocks...)
		}
		for _, b := range lake {
			row := 0
			for _, run := range b.Runs {
				for k := range run.Rows {
					idx := uint32(k)
					if run.Idx != nil {
						idx = run.Idx[k]
					}
					id := b.Batch.Column(0).ValueStr(row)
					if b.Batch.Column(0).IsNull(row) {
						id = ""
					}
					got = append(got, fmt.Sprintf("%d.%d at %d id %s", run.Seq, idx, run.At, id))
					row++
				}
			}
		}
		if !slices.Equal(got, wanted) {
			rt.Fatalf("accepted\n%q\nwant\n%q", got, wanted)
		}
	})
}

// seeded rebuilds the state from the accepted rows within the window.
func seeded(rt *rapid.T, lake []*event.Block, logTime int64) *Dedup {
	d := NewDedup(payments().DedupWindow, 0)
	for _, b := range lake {
		if b.Batch != nil && b.LogTime >= logTime-payments().DedupWindow.Microseconds() {
			if err := d.Seed(b.Batch.Column(0), b.LogTime); err != nil {
				rt.Fatal(err)
			}
		}
	}
	return d
}

func TestDedupBoundForgetsTheOldest(t *testing.T) {
	d := NewDedup(time.Hour, 3)
	ids := rows(1, "a", "b", "c", "d").Column(0)
	if keep, n := d.filter(ids, 1); keep != nil || n != 0 {
		t.Errorf("got %v, %d", keep, n)
	}
	if d.Len() != 3 || d.Evicted() != 1 {
		t.Errorf("got %d remembered, %d evicted", d.Len(), d.Evicted())
	}
	// "a" was forgotten and is new again, which forgets "b" in its turn.
	if keep, n := d.filter(rows(1, "c", "a", "d", "b").Column(0), 2); !slices.Equal(keep, []uint32{1, 3}) || n != 2 {
		t.Errorf("got %v, %d", keep, n)
	}
}

func TestDedupKnowsIdsOfEveryType(t *testing.T) {
	batch := rows(1, "a", "b", "c", "d", "e", "f")
	for c := range int(batch.NumCols()) {
		d := NewDedup(time.Hour, 0)
		col := batch.Column(c)
		_, before := d.filter(col, 1)
		keep, n := d.filter(col, 2)
		if n != col.Len()-col.NullN() || len(keep) != col.NullN() {
			t.Errorf("column %d: kept %v, %d duplicates of %d values", c, keep, n, col.Len()-col.NullN())
		}
		if c != 2 && before != 0 { // booleans do repeat
			t.Errorf("column %d: %d duplicates at first sight", c, before)
		}
	}
}

func TestSeedingOutOfOrderIsAnError(t *testing.T) {
	d := NewDedup(time.Hour, 0)
	if err := d.Seed(rows(1, "a").Column(0), 5); err != nil {
		t.Fatal(err)
	}
	if err := d.Seed(rows(1, "b").Column(0), 4); err == nil {
		t.Error("no error")
	}
}
