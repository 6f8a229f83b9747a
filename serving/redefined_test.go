package serving

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// redefine lets plans take the place of those of their names, in the way the program
// does it, and gives the States on both sides and a transaction of before.
func (r *rig) redefine(plans ...*view.Plan) (before, after *speed.State, tx *warehouse.Txn) {
	r.t.Helper()
	now := slices.Clone(r.plans)
	for _, p := range plans {
		i := slices.IndexFunc(now, func(o *view.Plan) bool { return o.Name == p.Name })
		if now[i].Version != p.Version {
			_, err := r.engine.Add(r.t.Context(), p)
			must(r.t, err)
			r.plans = append(r.plans, p) // batch runs advance both
		}
		now[i] = p
	}
	r.send(10)
	r.land()
	r.batch()
	r.send(5)
	tx, err := r.wh.Begin(r.t.Context())
	must(r.t, err)
	r.t.Cleanup(func() { tx.Close() })
	before, after, err = r.engine.Redefine(now)
	must(r.t, err)
	r.plans = now
	return before, after, tx
}

func (r *rig) planned(name, sql string) *view.Plan {
	r.t.Helper()
	planner, err := view.NewPlanner(r.t.Context())
	must(r.t, err)
	defer planner.Close()
	p, err := planner.Plan(r.t.Context(), view.Definition{Name: name, SQL: sql}, map[string]*event.Schema{"pay": paySchema()})
	must(r.t, err)
	return p
}

func TestAnswersChangeWithTheDefinitionAtOneCut(t *testing.T) {
	r := newRig(t)
	r.send(100)
	r.land()
	r.batch()
	r.send(20)
	get := func() string {
		out, err := textOf(r.View(t.Context(), ViewRequest{Name: "positive"}))
		must(t, err)
		return out
	}
	sql := func() string { return r.ask("SELECT count(*) FROM positive WHERE s > 0") }
	sub, err := r.Live(t.Context(), LiveRequest{Name: "positive"})
	must(t, err)
	defer sub.Close()
	first, err := sub.Next(t.Context())
	must(t, err)
	old := r.engine.State().Definitions.Plans["positive"]
	next := r.planned("positive", strings.Replace(old.SQL, "HAVING sum(n) > 0", "HAVING sum(n) <= 0", 1))
	if next.Version != old.Version {
		t.Fatal("HAVING makes another version")
	}
	wasRows, wasCount := get(), sql() // of the same cut as what comes after the swap
	now := slices.Clone(r.plans)
	now[slices.Index(now, old)] = next
	_, _, err = r.engine.Redefine(now)
	must(t, err)
	r.plans = now
	if rows, count := get(), sql(); rows == wasRows || count == wasCount || strings.TrimSpace(count) != "0" {
		t.Errorf("after the swap the answers are\n%s%s\nas before", rows, count)
	}
	check, err := r.Check(t.Context(), CheckRequest{View: "positive", MaxAge: time.Hour})
	if err != nil || check.Difference != 0 {
		t.Errorf("%+v, %v", check, err)
	}
	second, err := sub.Next(t.Context())
	must(t, err)
	if !second.Snapshot || fmt.Sprintf("%s", second.Rows) == fmt.Sprintf("%s", first.Rows) {
		t.Errorf("the live view went on with %s", second.Rows)
	}
}

func TestARedefinitionIsComparedRowByRow(t *testing.T) {
	r := newRig(t)
	r.send(200)
	r.land()
	r.batch()
	r.send(30)
	old := r.engine.State().Definitions.Plans["hourly"]
	next := r.planned("hourly", "SELECT window_start, k, count(*) FILTER (k IS DISTINCT FROM 'b') AS c, max(n) AS highest FROM pay WHERE k IS NULL OR k <> 'a' GROUP BY tumble(ts, INTERVAL '1 hour'), k")
	before, after, tx := r.redefine(next)
	d, err := r.Redefinition(t.Context(), before, tx, old, next)
	must(t, err)
	count := func(sql string) (n int64) {
		_, err := fmt.Sscan(r.ask(sql), &n)
		must(t, err)
		return n
	}
	// The old rows are those of its SQL over the events of the same cut.
	from := "(SELECT time_bucket(INTERVAL '1 hour', ts) AS w, k, count(*) AS c FROM pay GROUP BY ALL)"
	removed, changed := count("SELECT count(*) FROM "+from+" WHERE k = 'a'"), count("SELECT count(*) FROM "+from+" WHERE k = 'b'")
	if rows := count("SELECT count(*) FROM hourly"); d.Rows != rows || d.Added != 0 || d.Removed != removed || d.Changed != changed || removed == 0 || changed == 0 {
		t.Errorf("%+v, want %d rows, %d removed, %d changed", d, rows, removed, changed)
	}
	if text := fmt.Sprintf("%s", d.Examples); !strings.Contains(text, `"highest"`) || !strings.Contains(text, `"change":"removed"`) {
		t.Errorf("examples %s", text)
	}
	if fmt.Sprint(before.Applied()) != fmt.Sprint(after.Applied()) {
		t.Error("the cut moved with the swap")
	}
	for _, p := range r.plans {
		check, err := r.Check(t.Context(), CheckRequest{View: p.Name})
		if err != nil || check.Difference != 0 {
			t.Errorf("%s: %+v, %v", p.Name, check, err)
		}
	}
	total := r.engine.State().Definitions.Plans["total"]
	d, err = r.Redefinition(t.Context(), before, tx, nil, total)
	if err != nil || d.Rows != 1 || d.Added != 1 {
		t.Errorf("a new view: %+v, %v", d, err)
	}
}

func TestAnEntityTagIsOfOneDefinition(t *testing.T) {
	r := newRig(t)
	r.send(50)
	server := httptest.NewServer(NewHandler(r, Config{}))
	defer server.Close()
	ask := func(tag string) (status int, etag string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/views/total", nil)
		must(t, err)
		req.Header.Set("If-None-Match", tag)
		resp, err := server.Client().Do(req)
		must(t, err)
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("ETag")
	}
	_, tag := ask("")
	if status, _ := ask(tag); status != http.StatusNotModified {
		t.Errorf("status %d for an answer that is known", status)
	}
	old := r.engine.State().Definitions.Plans["total"]
	now := slices.Clone(r.plans)
	now[slices.Index(now, old)] = r.planned("total", old.SQL+" HAVING count(*) > 1000")
	_, _, err := r.engine.Redefine(now)
	must(t, err)
	if status, again := ask(tag); status != http.StatusOK || again == tag {
		t.Errorf("status %d, tag %s, after the view was redefined", status, again)
	}
}
