package speed

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// look is everything that a holder of the State can see.
func (b *bench) look(st *State) string {
	b.t.Helper()
	var out strings.Builder
	s := st.Streams["pay"]
	fmt.Fprintln(&out, st.Applied(), s.Marks, s.MaxTime, s.LogTime, st.Bytes())
	tailRanges, tail := s.TailAfter(event.Cut{})
	deadRanges, dead := s.DeadAfter(event.Cut{})
	fmt.Fprintln(&out, tailRanges, deadRanges, len(s.Tail), len(s.Dead))
	fmt.Fprintln(&out, b.over(pay().Relation(), tail, func(from string) string { return "SELECT count(*), sum(n), max(_seq) FROM " + from }))
	fmt.Fprintln(&out, b.over(event.DeadSchema("pay").Relation(), dead, func(from string) string { return "SELECT count(*), max(_seq) FROM " + from }))
	for _, p := range b.plans {
		v := s.Views[p.Name]
		fmt.Fprintln(&out, p.Name, ranges(v), v.Rows())
		for _, seg := range v.Segments {
			fmt.Fprint(&out, len(seg.Pieces), len(seg.Errors), " ")
		}
		fmt.Fprintln(&out, b.answer(p.Name, v.Segments))
	}
	return out.String()
}

func TestAHeldStateNeverChanges(t *testing.T) {
	b := begun(t, nil)
	type held struct {
		st   *State
		seen string
	}
	var all []held
	hold := func() {
		st := b.State()
		all = append(all, held{st, b.look(st)})
	}
	at := uint64(0)
	for step := range 60 {
		blk := block(src, at, at+3, 2)
		at += 3
		blk.Seal = step%20 == 19
		b.apply(blk)
		if step%6 == 0 {
			hold()
		}
	}
	check(t, b.Compact(t.Context()))
	hold()
	b.Landed(src, 60)
	b.DeadLanded(src, 60)
	hold()
	b.Loaded("hourly", event.Cut{src: 60})
	b.Loaded("coded", event.Cut{src: 120})
	hold()
	for range 20 {
		b.apply(block(src, at, at+1, 40))
		at++
	}
	check(t, b.Compact(t.Context()))
	b.Loaded("hourly", event.Cut{src: at})
	b.Landed(src, at)
	for i, h := range all {
		if now := b.look(h.st); now != h.seen {
			t.Fatalf("held State %d was\n%s\nand is now\n%s", i, h.seen, now)
		}
	}
}

func TestSegmentsEndAtSealsAndLoadedDropsThemWhole(t *testing.T) {
	b := begun(t, nil)
	b.apply(block(src, 0, 4, 2), sealed(block(src, 4, 10, 2)), block(src, 10, 14, 2), block(src, 14, 20, 2))
	b.wantRanges("hourly", "0-10 10-20*")
	b.apply(sealed(block(src, 20, 20, 0)), block(src, 20, 25, 2)) // the seal comes alone
	b.wantRanges("hourly", "0-10 10-20 20-25*")
	before := b.State()
	for _, nothing := range []event.Cut{{}, {src: 0}, {src: 9}, {{Stream: "pay", Epoch: 2}: 99}} {
		b.Loaded("hourly", nothing)
	}
	b.Loaded("no such view", event.Cut{src: 25})
	if b.State() != before {
		t.Error("a cut before the first seal changed the State")
	}
	b.Loaded("hourly", event.Cut{src: 14})
	b.wantRanges("hourly", "10-20 20-25*") // the middle one straddles 14
	b.wantRanges("total", "0-10 10-20 20-25*")
	_, v := b.State().View("hourly")
	for through, want := range map[uint64]string{10: "10-20 20-25", 14: "20-25", 20: "20-25", 25: ""} {
		got, segments := v.After(event.Cut{src: through})
		var texts []string
		for _, r := range got {
			texts = append(texts, fmt.Sprintf("%d-%d", r.After, r.Through))
		}
		if strings.Join(texts, " ") != want || len(segments) != len(got) {
			t.Errorf("after %d: %v, want %s", through, texts, want)
		}
	}
	b.Loaded("hourly", event.Cut{src: 25})
	b.wantRanges("hourly", "")
	b.apply(block(src, 25, 26, 2))
	b.wantRanges("hourly", "25-26*")
	b.same(b.State(), "hourly", block(src, 25, 26, 2))
}

func TestBlocksWithoutRowsAreCovered(t *testing.T) {
	b := begun(t, nil)
	b.apply(block(src, 0, 5, 0), block(src, 5, 9, 1), sealed(block(src, 9, 12, 0)))
	b.wantRanges("total", "0-12")
	b.same(b.State(), "total", block(src, 5, 9, 1))
	if r, rows := b.stream().TailAfter(event.Cut{}); len(r) != 1 || r[0].Through != 12 || len(rows) != 1 {
		t.Errorf("the tail covers %v in %d batches", r, len(rows))
	}
}

func TestLandedDropsTheTail(t *testing.T) {
	b := begun(t, nil)
	b.apply(block(src, 0, 10, 2), block(src, 10, 20, 2), block(src, 20, 30, 2))
	b.Landed(src, 10)
	if got, _ := b.stream().TailAfter(event.Cut{src: 10}); len(got) != 1 || got[0] != (event.Range{Source: src, After: 10, Through: 30}) {
		t.Errorf("the tail after 10 covers %v", got)
	}
	if n := len(b.stream().Dead); n != 3 {
		t.Errorf("%d dead blocks: landing events must not drop them", n)
	}
	b.DeadLanded(src, 20)
	if got, rows := b.stream().DeadAfter(event.Cut{src: 20}); len(got) != 1 || got[0].Through != 30 || len(rows) != 1 {
		t.Errorf("the dead letters after 20 cover %v", got)
	}
	before := b.State()
	b.Landed(src, 10)
	b.Landed(src, 5)
	b.DeadLanded(src, 20)
	b.Landed(event.Source{Stream: "pay", Epoch: 7}, 90)
	if b.State() != before {
		t.Error("what was known already changed the State")
	}
	b.Landed(src, 40) // the lander may be ahead of the speed layer
	if n := len(b.stream().Tail); n != 0 {
		t.Errorf("%d blocks in the tail", n)
	}
	b.apply(block(src, 30, 40, 2), block(src, 40, 41, 2))
	if got, _ := b.stream().TailAfter(event.Cut{src: 40}); len(b.stream().Tail) != 1 || got[0].After != 40 {
		t.Errorf("the tail covers %v", got)
	}
	b.same(b.State(), "hourly", block(src, 0, 41, 2))
}

func TestMemoryIsAccountedForAndGivenBack(t *testing.T) {
	b := begun(t, nil)
	if b.State().Bytes() != 0 {
		t.Errorf("%d bytes at the beginning", b.State().Bytes())
	}
	at := uint64(0)
	for range 40 {
		b.apply(block(src, at, at+2, 5))
		at += 2
	}
	b.apply(sealed(block(src, at, at, 0)))
	check(t, b.Compact(t.Context()))
	want := int64(0)
	for _, blk := range b.stream().Tail {
		want += int64(blk.Size)
	}
	tail := want
	for _, v := range b.stream().Views {
		for _, seg := range v.Segments {
			for _, p := range seg.Pieces {
				want += p.bytes
			}
		}
	}
	if got := b.State().Bytes(); got != want || want <= tail {
		t.Errorf("accounted for %d bytes, held are %d, %d of them the tail", got, want, tail)
	}
	b.Landed(src, at)
	for _, p := range b.plans {
		b.Loaded(p.Name, event.Cut{src: at})
	}
	if got := b.State().Bytes(); got != 0 {
		t.Errorf("%d bytes are left when nothing is held", got)
	}
}

func TestFailedRowsAreListedByPosition(t *testing.T) {
	b := begun(t, nil)
	b.apply(block(src, 0, 20, 3), block(src, 20, 30, 3))
	_, v := b.State().View("coded")
	var failed []duckdb.Batch
	for _, seg := range v.Segments {
		failed = append(failed, seg.Errors...)
	}
	columns := slices.Concat(event.PositionColumns[:4], []event.Column{{Name: "reason", Type: event.Type{Kind: event.Varchar}}})
	got := b.over(columns, failed, func(from string) string {
		return "SELECT _epoch, _partition, _seq, _idx, reason FROM " + from
	})
	const why = "|sum of CAST(word AS BIGINT) fails"
	if got != "1|0|18|0"+why+"\n1|0|27|0"+why+"\n1|0|9|0"+why {
		t.Errorf("failed rows:\n%s", got)
	}
	b.same(b.State(), "coded", block(src, 0, 30, 3))
	_, v = b.State().View("hourly")
	if n := len(v.Segments[0].Errors); n != 0 {
		t.Errorf("a view that cannot fail has %d failures", n)
	}
	b.Loaded("coded", event.Cut{src: 30})
	b.wantRanges("coded", "")
}

func TestWatermarkIsTheGreatestEventTime(t *testing.T) {
	b := begun(t, nil)
	if _, ok := b.stream().Watermark(); ok {
		t.Error("a watermark before the first event")
	}
	send := func(after uint64, times ...int64) {
		rb := array.NewRecordBuilder(memory.DefaultAllocator, pay().Arrow())
		defer rb.Release()
		for _, at := range times {
			rb.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(at))
			rb.Field(1).AppendNull()
			rb.Field(2).(*array.Int64Builder).Append(1)
			rb.Field(3).(*array.StringBuilder).Append("1")
		}
		blk := block(src, after, after+1, 0)
		blk.Batch, blk.Runs = rb.NewRecordBatch(), []event.Run{{Seq: after + 1, Rows: len(times)}}
		b.apply(blk)
	}
	for i, c := range []struct {
		times []int64
		want  int64
	}{{[]int64{-5_000_000, -9_000_000}, -5_000_000}, {[]int64{7, 3_000_000, 2}, 3_000_000}, {[]int64{1}, 3_000_000}, {nil, 3_000_000}} {
		send(uint64(i), c.times...)
		if got, ok := b.stream().Watermark(); !ok || got != time.UnixMicro(c.want).UTC() {
			t.Errorf("after %v: %v, %t", c.times, got, ok)
		}
	}
	if got := b.stream().LogTime; got != base+4 {
		t.Errorf("log time %d", got)
	}
}

func TestBeginBringsTheClocksOfWhatWasBatched(t *testing.T) {
	b := newBench(t, nil)
	all := map[string]uint64{"hourly": 40, "total": 40, "coded": 40}
	check(t, b.Begin(t.Context(), src, Base{Landed: 40, Batched: all, LogTime: 99, MaxTime: 77}, nil))
	check(t, b.Begin(t.Context(), event.Source{Stream: "pay", Epoch: 2}, Base{Floor: 40, Landed: 40, LogTime: 50, MaxTime: math.MinInt64}, nil))
	if s := b.stream(); s.LogTime != 99 || s.MaxTime != 77 {
		t.Errorf("log time %d, greatest event time %d", s.LogTime, s.MaxTime)
	}
}
