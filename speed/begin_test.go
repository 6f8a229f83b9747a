package speed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/event"
)

func TestBeginReplaysWhatEachViewHasNot(t *testing.T) {
	b := newBench(t, nil)
	log := &memoryLog{perMsg: 3}
	err := b.Begin(t.Context(), src, Base{Landed: 40, DeadLanded: 40, Batched: map[string]uint64{"hourly": 24, "total": 40}, LogTime: base + 40}, log)
	check(t, err)
	if got := strings.Join(log.asked, " "); got != "0-24 24-40" {
		t.Errorf("read %s, want the ranges between the views' cuts", got)
	}
	b.wantRanges("hourly", "24-40")
	b.wantRanges("total", "")
	b.wantRanges("coded", "0-24 24-40")
	st := b.State()
	b.same(st, "hourly", block(src, 24, 40, 3))
	b.same(st, "total")
	b.same(st, "coded", block(src, 0, 40, 3))
	want := Mark{Applied: 40, Landed: 40, DeadLanded: 40}
	if got := b.stream().Marks[src]; got != want {
		t.Errorf("mark %+v, want %+v", got, want)
	}
	if n := len(b.stream().Tail) + len(b.stream().Dead); n != 0 {
		t.Errorf("%d blocks of what has landed are in the tail", n)
	}
	// The live log goes on where the replay ended, for every view.
	b.apply(block(src, 40, 43, 3))
	b.wantRanges("hourly", "24-40 40-43*")
	b.wantRanges("total", "40-43*")
	b.same(b.State(), "coded", block(src, 0, 43, 3))
	b.same(b.State(), "total", block(src, 40, 43, 3))
}

func TestBeginReadsNothingWhenNoViewIsBehind(t *testing.T) {
	b := newBench(t, nil)
	all := map[string]uint64{"hourly": 40, "total": 40, "coded": 40}
	check(t, b.Begin(t.Context(), src, Base{Landed: 40, DeadLanded: 40, Batched: all}, nil))
	if a := b.State().Applied()[src]; a != 40 {
		t.Errorf("A = %d, want 40", a)
	}
}

func TestEpochsBeginAtTheirFloors(t *testing.T) {
	b := newBench(t, nil)
	second := event.Source{Stream: "pay", Epoch: 2}
	log := &memoryLog{perMsg: 1}
	check(t, b.Begin(t.Context(), src, Base{Landed: 10, DeadLanded: 10, Closed: true, Batched: map[string]uint64{"total": 10}}, log))
	check(t, b.Begin(t.Context(), second, Base{Floor: 10, Landed: 15, DeadLanded: 15}, log))
	if got := strings.Join(log.asked, " "); got != "0-10 10-15" {
		t.Errorf("read %s", got)
	}
	b.wantRanges("hourly", "0-10 10-15")
	b.wantRanges("total", "10-15")
	b.same(b.State(), "hourly", block(src, 0, 10, 1), block(second, 10, 15, 1))
	if got := b.State().Applied().String(); got != "pay/1/0:10,pay/2/0:15" {
		t.Errorf("A = %s", got)
	}
	if got := b.stream().Sources(); !slices.Equal(got, []event.Source{src, second}) {
		t.Errorf("sources %v", got)
	}
}

// brokenLog yields one block, whatever it is asked for.
type brokenLog struct{ b *event.Block }

func (l brokenLog) Read(_ context.Context, _ event.Range, yield func(*event.Block) error) error {
	return yield(l.b)
}

type failingLog struct{ err error }

func (l failingLog) Read(context.Context, event.Range, func(*event.Block) error) error { return l.err }

func TestBeginRefusesWhatDoesNotFit(t *testing.T) {
	b := newBench(t, nil)
	lost := errors.New("the store is away")
	for name, c := range map[string]struct {
		src  event.Source
		base Base
		log  event.Reader
		want string
	}{
		"S beyond L":          {src, Base{Landed: 40, Batched: map[string]uint64{"total": 41}}, nil, "view total is batched through 41, beyond the landed 40"},
		"an unknown stream":   {event.Source{Stream: "ads", Epoch: 1}, Base{}, nil, "no such stream"},
		"a block over S":      {src, Base{Landed: 40, Batched: map[string]uint64{"total": 24}}, brokenLog{block(src, 0, 40, 1)}, "straddles 24, through which view total is batched"},
		"a block that skips":  {src, Base{Landed: 40}, brokenLog{block(src, 5, 40, 1)}, "does not follow 0"},
		"a reader that fails": {src, Base{Landed: 40}, failingLog{lost}, lost.Error()},
	} {
		if err := b.Begin(t.Context(), c.src, c.base, c.log); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestBlocksThatDoNotFollowAreRefusedWhole(t *testing.T) {
	b := begun(t, nil)
	b.apply(block(src, 0, 5, 2))
	before := b.State()
	for _, bad := range []*event.Block{block(src, 6, 9, 2), block(src, 0, 5, 2), block(src, 3, 9, 2)} {
		var gap *event.GapError
		err := b.Applier("pay").Apply(t.Context(), bad)
		if !errors.As(err, &gap) || gap.Applied != 5 || gap.Block != bad.Range {
			t.Errorf("block %s after 5: %v", bad.Range, err)
		}
	}
	for want, blocks := range map[string][]*event.Block{
		"(8,9] does not follow 7":        {block(src, 5, 7, 1), block(src, 8, 9, 1)},
		"pay/2/0(7,9] does not follow 7": {block(src, 5, 7, 1), block(event.Source{Stream: "pay", Epoch: 2}, 7, 9, 1)},
		"a source that was not begun":    {block(event.Source{Stream: "pay", Epoch: 9}, 0, 5, 1)},
		"seal at 6 inside":               {sealed(block(src, 5, 6, 1)), block(src, 6, 7, 1)},
	} {
		if err := b.Applier("pay").ApplyMany(t.Context(), blocks); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Applier("pay").Apply(ended, block(src, 5, 9, 2)); !errors.Is(err, context.Canceled) {
		t.Errorf("under an ended context: %v", err)
	}
	if b.State() != before {
		t.Error("a refused block changed the State")
	}
	b.apply(block(src, 5, 9, 2))
	b.same(b.State(), "coded", block(src, 0, 9, 2))
}
