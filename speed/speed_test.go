package speed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

func TestCompactionKeepsAnswersAndBoundsPieces(t *testing.T) {
	b := begun(t, nil)
	var events []*event.Block
	at := uint64(0)
	for i := range 300 {
		blk := block(src, at, at+1, 1+i%4)
		at++
		blk.Seal = i == 200
		events = append(events, blk)
		b.apply(blk)
	}
	check(t, b.Compact(t.Context()))
	for _, p := range b.plans {
		_, v := b.State().View(p.Name)
		if got := ranges(v); got != "0-201 201-300*" {
			t.Errorf("segments of %s: %s", p.Name, got)
		}
		for _, seg := range v.Segments {
			perLevel := map[int]int{}
			for i, piece := range seg.Pieces {
				if perLevel[piece.level]++; perLevel[piece.level] >= fanIn {
					t.Errorf("%s %s has %d pieces of level %d", p.Name, seg.Range, perLevel[piece.level], piece.level)
				}
				if i > 0 && piece.level > seg.Pieces[i-1].level {
					t.Errorf("%s %s: a piece of level %d behind one of level %d", p.Name, seg.Range, piece.level, seg.Pieces[i-1].level)
				}
			}
			if seg.After == 0 && seg.Pieces[0].level < 2 {
				t.Errorf("%s: 201 pieces were merged to level %d only", p.Name, seg.Pieces[0].level)
			}
		}
		b.same(b.State(), p.Name, events...)
	}
}

func TestCompactionOfADroppedSegmentIsLost(t *testing.T) {
	b := begun(t, nil)
	for at := range uint64(fanIn - 1) {
		b.apply(block(src, at, at+1, 2))
	}
	_, v := b.State().View("total")
	seg := v.Segments[0]
	b.Loaded("total", event.Cut{src: fanIn - 1})
	at := target{stream: "pay", plan: v.Plan, from: 0, to: 2}
	b.publish("pay", func(s *Stream) bool {
		if s.replace(at, seg, seg.Pieces[0]) {
			t.Error("a merge came back into a view that had dropped its segment")
		}
		return false
	})
}

func TestCompactEndsWithItsContext(t *testing.T) {
	b := begun(t, nil)
	b.compactor.close() // nobody merges any more
	for at := range uint64(fanIn) {
		b.apply(block(src, at, at+1, 2))
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := b.Compact(ctx); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestAFailingViewLeavesAHoleAndTheOthersGoOn(t *testing.T) {
	b := begun(t, nil)
	first, lost, last := block(src, 0, 5, 2), block(src, 5, 10, 2), block(src, 10, 15, 2)
	b.apply(first)
	w := b.workers["pay"]
	check(t, w.lanes[0].partials[0].partial.Close()) // hourly's alone
	b.apply(lost)
	check(t, w.share(t.Context()))
	b.apply(last)
	st := b.State()
	_, hourly := st.View("hourly")
	have, segments := hourly.After(event.Cut{})
	holes, overlaps := event.Holes(event.Range{Source: src, Through: 15}, have)
	if fmt.Sprint(holes) != "[pay/1/0(5,10]]" || len(overlaps) > 0 {
		t.Errorf("holes %v, overlaps %v", holes, overlaps)
	}
	if got := b.answer("hourly", segments); got != b.plain("hourly", first, last) {
		t.Errorf("beside its hole the view answers\n%s", got)
	}
	for _, name := range []string{"total", "coded"} {
		b.wantRanges(name, "0-15*")
		b.same(st, name, first, lost, last)
	}
	// A batch run that passed the hole ends it.
	b.apply(sealed(block(src, 15, 20, 2)))
	b.Loaded("hourly", event.Cut{src: 10})
	have, _ = mustView(b, "hourly").After(event.Cut{src: 10})
	if holes, _ := event.Holes(event.Range{Source: src, After: 10, Through: 20}, have); len(holes) > 0 {
		t.Errorf("after the batch run: holes %v", holes)
	}
}

func mustView(b *bench, name string) *View {
	_, v := b.State().View(name)
	return v
}

func TestErrorsStatementThatFailsLeavesAHoleToo(t *testing.T) {
	b := begun(t, nil)
	check(t, b.workers["pay"].lanes[0].partials[2].errors[0].Close())
	b.apply(block(src, 0, 5, 2))
	b.wantRanges("coded", "")
	b.wantRanges("hourly", "0-5*")
}

func TestApplyManyEqualsApplyOneByOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	one, many := begun(t, nil), begun(t, nil)
	var group []*event.Block
	at := uint64(0)
	for i := range 120 {
		through := at + uint64(1+rng.IntN(4))
		blk := block(src, at, through, rng.IntN(4))
		at = through
		blk.Seal = i == 119 || rng.IntN(10) == 0
		one.apply(blk)
		if group = append(group, blk); blk.Seal || rng.IntN(3) == 0 {
			check(t, many.Applier("pay").ApplyMany(t.Context(), group))
			group = nil
		}
	}
	for _, p := range one.plans {
		x, y := mustView(one, p.Name), mustView(many, p.Name)
		if ranges(x) != ranges(y) {
			t.Fatalf("segments of %s: %s, many at once %s", p.Name, ranges(x), ranges(y))
		}
		for i := range x.Segments {
			if got, want := many.answer(p.Name, y.Segments[i:i+1]), one.answer(p.Name, x.Segments[i:i+1]); got != want {
				t.Errorf("%s over %s: %s, one by one %s", p.Name, x.Segments[i].Range, got, want)
			}
		}
	}
	a, z := one.stream(), many.stream()
	if fmt.Sprint(a.Marks) != fmt.Sprint(z.Marks) || a.MaxTime != z.MaxTime || a.LogTime != z.LogTime || a.tailBytes != z.tailBytes || len(a.Tail) != len(z.Tail) || len(a.Dead) != len(z.Dead) {
		t.Errorf("one by one %v %d %d %d, many at once %v %d %d %d", a.Marks, a.MaxTime, a.LogTime, a.tailBytes, z.Marks, z.MaxTime, z.LogTime, z.tailBytes)
	}
}

func TestWaitReturnsTheFirstStateThatCovers(t *testing.T) {
	b := begun(t, nil)
	type result struct {
		st  *State
		err error
	}
	answers := make(chan result, 1)
	go func() {
		st, err := b.Wait(t.Context(), event.Position{Source: src, Seq: 7, Idx: 3})
		answers <- result{st, err}
	}()
	b.apply(block(src, 0, 5, 1))
	select {
	case r := <-answers:
		t.Fatalf("7 is covered at 5: %v", r.err)
	default:
	}
	b.apply(block(src, 5, 7, 1))
	if r := <-answers; r.err != nil || r.st.Applied()[src] < 7 {
		t.Errorf("got %v", r.err)
	}
	if st, err := b.Wait(t.Context(), event.Position{Source: src, Seq: 7}); err != nil || st != b.State() {
		t.Errorf("a covered position: %v", err)
	}
}

func TestWaitTellsAPositionThatNothingWillCover(t *testing.T) {
	b := newBench(t, nil)
	current := event.Source{Stream: "pay", Epoch: 3}
	log := &memoryLog{perMsg: 1}
	check(t, b.Begin(t.Context(), event.Source{Stream: "pay", Epoch: 2}, Base{Landed: 10, Closed: true}, log))
	check(t, b.Begin(t.Context(), current, Base{Floor: 10, Landed: 10}, nil))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the client left")
	cancel(why)
	for token, want := range map[string]error{
		"pay/2/0/10":   nil,             // landed before the epoch ended
		"pay/2/0/11":   ErrPositionLost, // of a closed epoch, beyond its end
		"pay/1/0/5":    ErrPositionLost, // of an epoch that never landed anything
		"pay/3/0/10":   nil,             // at the floor
		"pay/3/0/11":   why,             // still to come
		"pay/4/0/11":   nil,             // an epoch that nobody gave out: below
		"pay/3/1/11":   nil,             // a partition that is not there: below
		"orders/1/0/1": nil,             // below
	} {
		p, err := event.ParsePosition(token)
		check(t, err)
		_, err = b.Wait(ctx, p)
		switch token {
		case "pay/4/0/11", "pay/3/1/11", "orders/1/0/1":
			if err == nil || errors.Is(err, ErrPositionLost) || errors.Is(err, why) || !strings.Contains(err.Error(), token) {
				t.Errorf("%s: %v, want an error that says it is unknown", token, err)
			}
		default:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", token, err, want)
			}
		}
	}
}

func TestPressureIsCalledOncePerCrossing(t *testing.T) {
	calls := 0
	b := begun(t, func(c *Config) {
		c.MaxBytes = 20_000
		c.Pressure = func() { calls++ }
	}, payViews[1])
	at := uint64(0)
	push := func(messages uint64) {
		b.apply(sealed(block(src, at, at+messages, 1))) // 100 bytes each
		at += messages
	}
	push(150)
	if calls != 0 {
		t.Fatalf("called at %d bytes of 20,000", b.State().Bytes())
	}
	push(60)
	if calls != 1 {
		t.Fatalf("called %d times at %d bytes", calls, b.State().Bytes())
	}
	push(50)
	push(50)
	if calls != 1 {
		t.Fatalf("called %d times without a second crossing", calls)
	}
	b.Landed(src, at)
	if b.State().Bytes() > 20_000 || calls != 1 {
		t.Fatalf("%d bytes after landing, %d calls", b.State().Bytes(), calls)
	}
	push(250)
	if calls != 2 {
		t.Errorf("called %d times after the second crossing", calls)
	}
}

func TestNewThatFailsLeavesNothingOpen(t *testing.T) {
	b := newBench(t, nil)
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1})
	check(t, err)
	bare := &event.Schema{Stream: "bare", TimeColumn: -1, IDColumn: -1, Columns: pay().Columns[1:2]}
	_, err = New(t.Context(), Config{DB: db, Streams: []StreamConfig{{Schema: pay(), Plans: b.plans}, {Schema: bare, Plans: b.plans}}})
	if err == nil || !strings.Contains(err.Error(), "prepare view hourly") {
		t.Errorf("plans of another stream: %v", err)
	}
	check(t, db.Close()) // fails as long as a connection is open
}

func TestCloseIsIdempotentAndHeldStatesStayReadable(t *testing.T) {
	b := begun(t, nil)
	b.apply(block(src, 0, 20, 2))
	st := b.State()
	check(t, b.Engine.Close())
	check(t, b.Engine.Close())
	b.same(st, "hourly", block(src, 0, 20, 2))
}

func BenchmarkMicroBatch(b *testing.B) {
	for _, events := range []int{50, 1000, 20_000} {
		for _, views := range []int{1, 3} {
			b.Run(fmt.Sprintf("events=%d/views=%d", events, views), func(b *testing.B) {
				e := begun(b, nil, payViews[:views]...)
				blk := block(src, 0, 10, events/10)
				applier := e.Applier("pay")
				at := uint64(0)
				for b.Loop() {
					next := &event.Block{Range: event.Range{Source: src, After: at, Through: at + 10}, Schema: blk.Schema, Batch: blk.Batch, Runs: blk.Runs, Size: blk.Size}
					at += 10
					next.Seal = at%5120 == 0
					check(b, applier.Apply(b.Context(), next))
					if next.Seal { // landing and batch runs bound what is held
						e.Landed(src, at)
						for _, p := range e.plans {
							e.Loaded(p.Name, event.Cut{src: at})
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events*views), "ns/event/view")
			})
		}
	}
}
