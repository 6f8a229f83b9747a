package speed

import (
	"maps"
	"slices"
	"testing"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// planned plans a definition over pay.
func (b *bench) planned(name, sql string) *view.Plan {
	b.t.Helper()
	planner, err := view.NewPlanner(b.t.Context())
	check(b.t, err)
	defer planner.Close()
	p, err := planner.Plan(b.t.Context(), view.Definition{Name: name, SQL: sql}, map[string]*event.Schema{"pay": pay()})
	check(b.t, err)
	return p
}

func TestAVersionIsKeptBesideTheOldUntilItAnswers(t *testing.T) {
	b := begun(t, nil)
	old := b.plan("total")
	next := b.planned("total", "SELECT count(*) AS c, max(n) AS hi FROM pay")
	b.apply(sealed(block(src, 0, 10, 2)), block(src, 10, 13, 2))
	since, err := b.Add(t.Context(), next)
	check(t, err)
	if !maps.Equal(since, event.Cut{src: 13}) {
		t.Errorf("the new version begins after %s", since)
	}
	if _, err := b.Add(t.Context(), next); err == nil {
		t.Error("a version was added twice")
	}
	late := []*event.Block{sealed(block(src, 13, 20, 2)), block(src, 20, 26, 3)}
	b.apply(late...)
	if _, v := b.State().View("total"); v.Plan != old {
		t.Error("the new version answers before it was told to")
	}
	b.Loaded("total", event.Cut{src: 20}) // a batch run counts both versions
	plans := slices.Clone(b.plans)
	plans[slices.Index(plans, old)] = next
	before, after, err := b.Redefine(plans)
	check(t, err)
	if !maps.Equal(before.Applied(), after.Applied()) || before.Definitions == after.Definitions || after.Definitions.Plans["total"] != next {
		t.Errorf("before at %s, after at %s", before.Applied(), after.Applied())
	}
	if _, v := before.Of(next); ranges(v) != "20-26*" {
		t.Errorf("segments of the new version before: %s", ranges(v))
	}
	if _, v := after.Of(old); v != nil {
		t.Error("the State after has the old version still")
	}
	last := block(src, 26, 30, 2)
	b.apply(last)
	b.plans = plans
	b.same(b.State(), "total", late[1], last)
	b.wantRanges("hourly", "0-10 10-20 20-30*")
}

func TestAnotherFinishTakesOverThePartialRows(t *testing.T) {
	b := begun(t, nil)
	old := b.plan("hourly")
	next := b.planned("hourly", "SELECT window_start, k, max(n) AS highest, count(*) AS c, sum(n) AS s FROM pay GROUP BY tumble(ts, INTERVAL '1 hour'), k ORDER BY c DESC")
	if old.Version != next.Version {
		next = b.planned("hourly", old.SQL+" ORDER BY c DESC")
	}
	if old.Version != next.Version {
		t.Fatal("another order makes another version")
	}
	events := []*event.Block{block(src, 0, 10, 2), block(src, 10, 12, 2)}
	b.apply(events[0])
	b.plans[slices.Index(b.plans, old)] = next
	_, after, err := b.Redefine(b.plans)
	check(t, err)
	if after.Definitions.Plans["hourly"] != next {
		t.Error("the old definition answers still")
	}
	b.apply(events[1])
	b.same(b.State(), "hourly", events...)
	b.wantRanges("hourly", "0-12*")
}

func TestWhatIsNotKeptIsNotSwappedIn(t *testing.T) {
	b := begun(t, nil)
	next := b.planned("total", "SELECT count(*) AS c, max(n) AS hi FROM pay")
	before := b.State()
	if _, _, err := b.Redefine(append(slices.Clone(b.plans[:1]), next)); err == nil {
		t.Error("a version that nobody added answers")
	}
	if b.State() != before {
		t.Error("the State has changed")
	}
	_, err := b.Add(t.Context(), next)
	check(t, err)
	b.apply(block(src, 0, 10, 2))
	b.Discard(next)
	b.Discard(next)
	if len(b.stream().Next) != 0 {
		t.Error("what was discarded is kept")
	}
	if _, _, err := b.Redefine([]*view.Plan{b.plan("hourly")}); err != nil {
		t.Error(err)
	}
	b.apply(block(src, 10, 20, 2))
	if _, v := b.State().View("total"); v != nil {
		t.Error("a view that was left out answers still")
	}
	b.wantRanges("hourly", "0-20*")
}
