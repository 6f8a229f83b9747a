package serving

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

func TestViewsThatJoinAReferenceTableNameItsVersion(t *testing.T) {
	r := newRig(t)
	r.send(30)
	for name, direct := range map[string]bool{"named": false, "named_hourly": false, "lengths": true} {
		p := r.engine.State().Definitions.Plans[name]
		if p.Direct != direct || p.AfterMerge() == direct {
			t.Errorf("%s: over the stream is %v", name, p.Direct)
		}
		for how, ask := range map[string]func() (*Answer, error){
			"by address": func() (*Answer, error) { return r.View(t.Context(), ViewRequest{Name: name}) },
			"by SQL": func() (*Answer, error) {
				return r.SQL(t.Context(), SQLRequest{SQL: "SELECT * FROM " + name, Timeout: time.Minute})
			},
			"before": func() (*Answer, error) {
				return r.View(t.Context(), ViewRequest{Name: name, At: event.Cut{paySource: 10}})
			},
		} {
			answer, err := ask()
			must(t, err)
			answer.Close()
			if got := fmt.Sprint(answer.Statistics["reference_versions"]); got != "map[names:v1]" {
				t.Errorf("%s %s: versions %s", name, how, got)
			}
		}
	}
}

func TestAViewOfMergedRowsAndAReferenceTableIsFilteredAndGrouped(t *testing.T) {
	r := newRig(t)
	r.send(200)
	r.land()
	r.batch()
	r.send(50)
	from := time.Unix(3_600, 0).UTC()
	for want, request := range map[string]ViewRequest{
		"FROM named WHERE name = 'Ben''s'":                                            {Name: "named", Filter: view.Filter{Where: []view.Equal{{Key: "name", Value: "Ben's"}}}},
		"FROM named WHERE name IS NULL":                                               {Name: "named", Filter: view.Filter{Where: []view.Equal{{Key: "name", Null: true}}}},
		"SELECT sum(c)::BIGINT, sum(s) FROM named":                                    {Name: "named", Filter: view.Filter{By: []view.Group{}}},
		"FROM named_hourly WHERE window_start >= make_timestamp(3600000000)":          {Name: "named_hourly", Filter: view.Filter{From: &from}},
		"FROM named_hourly WHERE name = 'ANNA''S' ORDER BY window_start DESC LIMIT 2": {Name: "named_hourly", Filter: view.Filter{Where: []view.Equal{{Key: "name", Value: "ANNA'S"}}, Order: []string{"-window_start"}, Limit: 2}},
	} {
		got, err := textOf(r.View(t.Context(), request))
		must(t, err)
		if all := r.ask(want); sortedLines(got) != sortedLines(all) || got == "" {
			t.Errorf("%s:\n%s\ngot:\n%s", want, all, got)
		}
	}
	if _, err := r.View(t.Context(), ViewRequest{Name: "named_hourly", Filter: view.Filter{By: []view.Group{{Name: "name"}}}}); err == nil || !strings.Contains(err.Error(), "cannot be grouped up") {
		t.Errorf("distinct values of fewer groups: %v", err)
	}
}

func TestALiveViewFollowsRowsThatMeetAReferenceTable(t *testing.T) {
	r := newRig(t)
	r.send(100)
	r.land()
	r.batch()
	r.send(20)
	for _, name := range []string{"named", "named_hourly"} {
		sub, err := r.Live(t.Context(), LiveRequest{Name: name})
		must(t, err)
		defer sub.Close()
		first, err := sub.Next(t.Context())
		must(t, err)
		held := map[string]bool{}
		for _, row := range first.Rows {
			held[string(row)] = true
		}
		r.send(30)
		second, err := sub.Next(t.Context())
		must(t, err)
		if !first.Snapshot || second.Snapshot || len(held) == 0 || len(second.Rows) == 0 || held[string(second.Rows[0])] {
			t.Errorf("%s: %d rows, then %s", name, len(held), second.Rows)
		}
	}
}

// Another table of the same columns is another answer of the same partial rows, and
// says so.
func TestAnotherReferenceTableNeedsNoOtherPartialRows(t *testing.T) {
	r := newRig(t)
	r.send(120)
	r.land()
	r.batch()
	r.send(20)
	was := r.ask("FROM named ORDER BY ALL")
	restarted := NewCore(CoreConfig{Speed: r.engine, Warehouse: r.wh, Streams: r.streams, GateDB: r.gateDB, Operations: r.Operations, References: rigNames("v2", "Zed's", "Ben's")})
	defer restarted.StopLive()
	a, err := restarted.View(t.Context(), ViewRequest{Name: "named"})
	must(t, err)
	got, err := textOf(a, nil)
	must(t, err)
	if sortedLines(got) != sortedLines(strings.ReplaceAll(was, "Anna's", "Zed's")) || fmt.Sprint(a.Statistics["reference_versions"]) != "map[names:v2]" {
		t.Errorf("%s%v\nwas:\n%s", got, a.Statistics, was)
	}
	check, err := restarted.Check(t.Context(), CheckRequest{View: "named"})
	if err != nil || check.Difference != 0 {
		t.Errorf("%+v, %v", check, err)
	}
}

// A view plans over tables that are computed, whichever way it joins them.
func TestViewsJoinReferenceTablesThatAreComputed(t *testing.T) {
	files := with(regions, "views/by_region.sql", "-- reference: after merge\nSELECT region, count(*) AS c FROM pay JOIN a_named ON a_named.code = pay.k GROUP BY region",
		"views/rated.sql", "SELECT region, sum(n * rate) AS s FROM pay JOIN countries_rated ON code = k GROUP BY region")
	p, problems := payProjectOf(t, files)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	versions := map[string]string{}
	for _, v := range p.Views {
		versions[v.Name] = v.Version
		if len(v.References) != 1 || v.AfterMerge() != (v.Name == "by_region") || v.Direct != (v.Name == "rated") {
			t.Errorf("%s joins %v, over the stream %v", v.Name, v.References, v.Direct)
		}
	}
	other, problems := payProjectOf(t, with(files, "reference/countries.csv", "code,region\nDE,eu\nAT,eu\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if reference(other, "a_named").Version == reference(p, "a_named").Version {
		t.Error("other rows are the same version of the table")
	}
	for _, v := range other.Views {
		if v.Version != versions[v.Name] {
			t.Errorf("other rows are another version of view %s", v.Name)
		}
	}
	_, problems = payProjectOf(t, with(files, "reference/a_named.sql", "SELECT k AS code, 'eu' AS region FROM pay"))
	if len(problems) != 1 || !strings.Contains(problems.Error(), "reference/a_named.sql:1:39: there is no table \"pay\"; a reference table reads other reference tables (countries, countries_rated, rates); join streams and views in a query") {
		t.Errorf("%v", problems)
	}
}
