package view

import (
	"testing"

	"github.com/tailwater/tailwater/event"
)

func TestAViewIsAnotherVersionOnlyIfItCanReadANewColumn(t *testing.T) {
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	wide := trades()
	wide.Columns = append(wide.Columns, event.Column{Name: "fresh", Type: event.Type{Kind: event.Varchar}})
	for sql, changes := range map[string]bool{
		"SELECT k, count(*) AS c, mode(word) AS m FROM trades GROUP BY k":                        false,
		"SELECT window_end, count(*) AS c FROM trades GROUP BY slide(ts, INTERVAL '1 minute')":   false,
		"SELECT ts, k, (SELECT max(n) FROM trades AS o WHERE o.k = t.k) AS top FROM trades AS t": false,
		"SELECT trades.k, trades.n FROM trades WHERE trades.ok":                                  false,
		"SELECT * FROM trades WHERE n > 3":                                                       true,
		"SELECT k, hash(t) AS h FROM trades AS t":                                                true,
		"SELECT k, n FROM (SELECT * FROM trades) AS inside":                                      true,
		"SELECT a.k FROM (SELECT k FROM trades) AS a NATURAL JOIN trades AS b":                   true,
		"SELECT k, n AS fresh FROM trades WHERE n > 3 AND k IN (SELECT k FROM trades)":           false,
		"SELECT k, COLUMNS('n|g') FROM trades WHERE n > 3":                                       true,
	} {
		var versions []string
		for _, schema := range []*event.Schema{trades(), wide} {
			p, err := planner.Plan(t.Context(), Definition{Name: "v", File: "v.sql", Line: 1, SQL: sql}, map[string]*event.Schema{"trades": schema})
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			versions = append(versions, p.Version)
		}
		if got := versions[0] != versions[1]; got != changes {
			t.Errorf("%s: another version: %t", sql, got)
		}
	}
}
