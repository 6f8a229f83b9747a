package batch

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

func (r *rig) planned(name, sql string) *view.Plan {
	r.t.Helper()
	planner, err := view.NewPlanner(r.t.Context())
	check(r.t, err)
	defer planner.Close()
	p, err := planner.Plan(r.t.Context(), view.Definition{Name: name, SQL: sql}, map[string]*event.Schema{"pay": pay()})
	check(r.t, err)
	return p
}

// marks gives S of one version; -1 if there is nothing of it.
func (r *rig) marks(p *view.Plan) int64 {
	r.t.Helper()
	tx, err := r.wh.Begin(r.t.Context())
	check(r.t, err)
	defer tx.Close()
	if s, ok := tx.Marks()[warehouse.ViewObject(p)]; ok {
		return int64(s[src])
	}
	return -1
}

func TestAVersionIsBuiltThenDefinedOrAbandoned(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), nil)
	r.land(20)
	r.must(OnSchedule, false)
	next := r.planned("total", "SELECT count(*) AS c, max(n) AS s FROM pay")
	for _, abandoned := range []bool{true, false} {
		var told string
		check(t, r.Build(t.Context(), []*view.Plan{next}, func(done, total int64) { told = fmt.Sprint(done, " of ", total) }))
		if told != fmt.Sprint(r.at, " of ", r.at) || r.marks(next) != int64(r.at) {
			t.Errorf("progress ended at %s, S of the new version is %d", told, r.marks(next))
		}
		r.land(5)
		r.must(OnSchedule, false)
		if s := r.marks(next); s != int64(r.at)-5 {
			t.Errorf("a run beside the build left the new version at %d", s)
		}
		if abandoned {
			r.Abandon()
			r.land(1)
			r.must(OnSchedule, false)
			if s := r.marks(next); s != -1 {
				t.Errorf("what was abandoned is there through %d", s)
			}
		}
	}
	wrong := errors.New("not yet")
	plans := []*view.Plan{r.plans[0], next}
	if err := r.Redefine(plans, func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
	r.Define(append(plans, r.plans[1]))
	r.must(OnSchedule, false)
	if a, b := r.marks(next), r.marks(r.plans[1]); a != int64(r.at) || b != a {
		t.Errorf("the versions are at %d and %d", a, b)
	}
	check(t, r.Redefine(plans, func() error { return nil }))
	r.land(1)
	r.must(OnSchedule, false)
	if a, b := r.marks(next), r.marks(r.plans[1]); a != int64(r.at) || b != -1 {
		t.Errorf("the new version is at %d, the old at %d", a, b)
	}
}

func TestVersionsAreKeptInTheLake(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), nil)
	l, err := lake.Open(t.Context(), r.bucket, lake.Config{CacheDir: t.TempDir()})
	check(t, err)
	table, lander := r.table(l, VersionsSchema(), VersionsSource)
	versions := NewVersions(table, lander)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	first, err := versions.Append(t.Context(), []Version{
		{View: "a", Stream: "pay", Version: "1", File: "views/a.sql", SQL: "SELECT 1", Change: NewView, Applied: at},
		{View: "b", Stream: "pay", Version: "1", File: "views/b.sql", SQL: "SELECT 2", Change: NewView, Applied: at}})
	check(t, err)
	second, err := versions.Append(t.Context(), []Version{{View: "a", Stream: "pay", Version: "2", SQL: "SELECT 3", Change: RebuildView, Applied: at.Add(time.Hour)}})
	check(t, err)
	if first[1].Number != 2 || second[0].Number != 3 {
		t.Errorf("numbers %d and %d", first[1].Number, second[0].Number)
	}
	second[0].Cut, second[0].Difference = event.Cut{src: 7}, &Difference{Rows: 3, Added: 1, Changed: 2}
	check(t, versions.Compared(t.Context(), second))
	again := NewVersions(table, lander)
	third, err := again.Append(t.Context(), []Version{{View: "b", Version: "1", Change: DropView, Applied: at}})
	check(t, err)
	if third[0].Number != 5 {
		t.Errorf("the number after a restart is %d", third[0].Number)
	}
	all, err := again.All(t.Context())
	check(t, err)
	var got string
	for _, v := range all {
		got += fmt.Sprintf("%d %s %s %s %s", v.Number, v.View, v.Version, v.SQL, v.Change)
		if v.Difference != nil {
			got += fmt.Sprintf(" at %s: %+v", v.Cut, *v.Difference)
		}
		got += "\n"
	}
	want := `1 a 1 SELECT 1 new
2 b 1 SELECT 2 new
3 a 2 SELECT 3 rebuild at pay/1/0:7: {Rows:3 Added:1 Removed:0 Changed:2 Examples:[]}
5 b 1  drop
`
	if got != want || !all[2].Applied.Equal(at.Add(time.Hour)) {
		t.Errorf("versions:\n%s", got)
	}
}
