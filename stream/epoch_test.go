package stream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"pgregory.net/rapid"
)

// A modelLake holds the log times of landed messages with rows.
type modelLake struct {
	mark    Mark
	floors  []uint64
	rows    map[event.Source]map[uint64]int64
	logTime int64
}

func (l *modelLake) source() event.Source { return event.Source{Stream: "s", Epoch: l.mark.Epoch} }

func (l *modelLake) times(_ context.Context, after, through uint64) (map[uint64]int64, error) {
	out := map[uint64]int64{}
	for _, r := range Lineage("s", 0, l.floors, after, through) {
		for seq, at := range l.rows[r.Source] {
			if seq > r.After && seq <= r.Through {
				out[seq] = at
			}
		}
	}
	return out, nil
}

func (l *modelLake) begin(r Resolution) {
	if r.NewEpoch {
		l.floors = append(l.floors, r.Floor)
		l.mark = Mark{Any: true, Epoch: r.Epoch, Floor: r.Floor, Through: r.After, Stamp: r.Stamp, FloorTime: l.logTime}
	}
}

func (l *modelLake) land(seq uint64, stamp int64, hasRows bool) {
	l.logTime = max(l.logTime, stamp)
	if hasRows {
		if l.rows[l.source()] == nil {
			l.rows[l.source()] = map[uint64]int64{}
		}
		l.rows[l.source()][seq] = l.logTime
	}
	l.mark.Through, l.mark.Stamp = seq, stamp
}

// TestEpochsCountEveryMessageOnce lets a log lose suffixes, be purged and be
// made anew between runs that land part of it. After each start, every
// message with rows that the log holds is either landed already or comes after
// the place from which the tap starts, and never both.
func TestEpochsCountEveryMessageOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := NewMemoryLog(0)
		lake := &modelLake{rows: map[event.Source]map[uint64]int64{}}
		landed := map[int64]bool{}  // by stamp, which is unique
		hasRows := map[int64]bool{} // by stamp
		clock := int64(0)
		for range rapid.IntRange(2, 6).Draw(rt, "starts") {
			r, err := Resolve(t.Context(), log, lake.mark, lake.times)
			if err != nil {
				rt.Fatal(err)
			}
			first, last, _ := log.Bounds(t.Context())
			for seq := first; seq <= last; seq++ {
				m, err := log.Get(t.Context(), seq)
				if err != nil || !hasRows[StampOf(m)] {
					continue
				}
				if is := landed[StampOf(m)]; is != (seq <= r.After) {
					rt.Fatalf("message %d landed: %t, but the tap starts after %d: %+v of %+v", seq, is, r.After, r, lake.mark)
				}
			}
			if r.After > last || r.NewEpoch && r.Floor != r.After {
				rt.Fatalf("%+v with a log through %d", r, last)
			}
			lake.begin(r)
			for range rapid.IntRange(0, 8).Draw(rt, "messages") {
				clock += rapid.Int64Range(1, 5).Draw(rt, "step")
				hasRows[clock] = rapid.IntRange(0, 3).Draw(rt, "rows") > 0
				appendTo(t, log, envelope(t, clock, nil))
			}
			_, last, _ = log.Bounds(t.Context())
			through := lake.mark.Through + rapid.Uint64Range(0, last-lake.mark.Through).Draw(rt, "land")
			for seq := lake.mark.Through + 1; seq <= through; seq++ {
				m, err := log.Get(t.Context(), seq)
				if err != nil {
					continue
				}
				lake.land(seq, StampOf(m), hasRows[StampOf(m)])
				landed[StampOf(m)] = true
			}
			switch rapid.IntRange(0, 5).Draw(rt, "accident") {
			case 0:
				log.Truncate(rapid.Uint64Range(0, last).Draw(rt, "to"))
			case 1:
				log.Recreate(rapid.SampledFrom([]uint64{0, 3, last}).Draw(rt, "at"))
			case 2:
				_ = log.Purge(t.Context(), rapid.Uint64Range(0, lake.mark.Through).Draw(rt, "purge"))
			case 3: // lost, and another writer appended before the restart
				log.Truncate(rapid.Uint64Range(0, last).Draw(rt, "to"))
				for range rapid.IntRange(0, 8).Draw(rt, "more") {
					clock++
					hasRows[clock] = true
					appendTo(t, log, envelope(t, clock, nil))
				}
			}
		}
	})
}

func TestResolve(t *testing.T) {
	stamps := func(n int64) (l *MemoryLog) {
		l = NewMemoryLog(0)
		for i := range n {
			appendTo(t, l, envelope(t, 10*(i+1), nil))
		}
		return l
	}
	all := func(_ context.Context, after, through uint64) (map[uint64]int64, error) {
		out := map[uint64]int64{}
		for s := after + 1; s <= through; s++ {
			out[s] = int64(10 * s)
		}
		return out, nil
	}
	mark := Mark{Any: true, Epoch: 2, Floor: 1, Through: 6, Stamp: 60}
	for _, c := range []struct {
		name string
		log  *MemoryLog
		mark Mark
		do   func(l *MemoryLog)
		want Resolution
	}{
		{"a new lake and a new log", stamps(0), Mark{}, nil, Resolution{Epoch: 1, NewEpoch: true}},
		{"a new lake on a used log", stamps(9), Mark{}, func(l *MemoryLog) { _ = l.Purge(t.Context(), 4) }, Resolution{Epoch: 1, After: 4, Floor: 4, NewEpoch: true}},
		{"the same log", stamps(9), mark, nil, Resolution{Epoch: 2, After: 6, Floor: 1, Stamp: 60}},
		{"landed to the head", stamps(6), mark, nil, Resolution{Epoch: 2, After: 6, Floor: 1, Stamp: 60}},
		{"the message landed last is purged", stamps(9), mark, func(l *MemoryLog) { _ = l.Purge(t.Context(), 7) }, Resolution{Epoch: 2, After: 6, Floor: 1, Stamp: 60}},
		// The epoch landed message 6 at time 900; this log goes on after its purge at
		// time 70, so it is an older one.
		{"an older log is brought back, purged through there", stamps(9), Mark{Any: true, Epoch: 2, Floor: 1, Through: 6, Stamp: 900}, func(l *MemoryLog) { _ = l.Purge(t.Context(), 6) }, Resolution{Epoch: 3, After: 6, Floor: 6, NewEpoch: true}},
		{"all of it is purged", stamps(6), mark, func(l *MemoryLog) { _ = l.Purge(t.Context(), 6) }, Resolution{Epoch: 2, After: 6, Floor: 1, Stamp: 60}},
		{"a suffix is lost", stamps(4), mark, nil, Resolution{Epoch: 3, After: 4, Floor: 4, Stamp: 40, NewEpoch: true}},
		{"a suffix is lost, and the beginning purged", stamps(4), mark, func(l *MemoryLog) { _ = l.Purge(t.Context(), 3) }, Resolution{Epoch: 3, After: 4, Floor: 4, Stamp: 40, NewEpoch: true}},
		{"a suffix is lost, and the rest purged", stamps(4), mark, func(l *MemoryLog) { _ = l.Purge(t.Context(), 4) }, Resolution{Epoch: 3, After: 4, Floor: 4, NewEpoch: true}},
		{"a suffix is replaced", stamps(4), mark, func(l *MemoryLog) {
			for i := range int64(5) {
				appendTo(t, l, envelope(t, 100+i, nil))
			}
		}, Resolution{Epoch: 3, After: 4, Floor: 4, Stamp: 40, NewEpoch: true}},
		{"below the floor of the epoch", stamps(1), Mark{Any: true, Epoch: 2, Floor: 3, Through: 6, Stamp: 60}, nil, Resolution{Epoch: 3, After: 1, Floor: 1, Stamp: 10, NewEpoch: true}},
		{"made anew", stamps(0), mark, nil, Resolution{Epoch: 3, NewEpoch: true}},
		{"made anew to begin higher", stamps(0), mark, func(l *MemoryLog) { l.Recreate(3) }, Resolution{Epoch: 3, After: 3, Floor: 3, NewEpoch: true}},
		{"made anew and filled", stamps(0), mark, func(l *MemoryLog) {
			for i := range int64(9) {
				appendTo(t, l, envelope(t, 100+i, nil))
			}
		}, Resolution{Epoch: 3, NewEpoch: true}},
		{"nothing landed in the epoch yet", stamps(4), Mark{Any: true, Epoch: 2, Floor: 4, Through: 4, Stamp: 40}, nil, Resolution{Epoch: 2, After: 4, Floor: 4, Stamp: 40}},
		{"made anew by a clock that is behind", stamps(0), mark, func(l *MemoryLog) {
			for i := range int64(9) {
				appendTo(t, l, envelope(t, 1+i, nil))
			}
		}, Resolution{Epoch: 3, NewEpoch: true}},
		{"a stamp that was not kept", stamps(9), Mark{Any: true, Epoch: 2, Floor: 1, Through: 6}, nil, Resolution{Epoch: 2, After: 6, Floor: 1, Stamp: 60}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.do != nil {
				c.do(c.log)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			got, err := Resolve(ctx, c.log, c.mark, all)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestLineage(t *testing.T) {
	got := fmt.Sprint(Lineage("s", 0, []uint64{0, 100, 40}, 10, 150))
	if got != "[s/1/0(10,40] s/3/0(40,150]]" {
		t.Errorf("got %s", got)
	}
	got = fmt.Sprint(Lineage("s", 0, []uint64{5, 100}, 0, 150))
	if got != "[s/1/0(0,100] s/2/0(100,150]]" {
		t.Errorf("got %s", got)
	}
}
