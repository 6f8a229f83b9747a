package view

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/conformance"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// randomView makes a view of few windows, keys and conditions, so that many share
// them, and of any aggregates.
func randomView(r *rand.Rand) string {
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	some := func(all ...string) []string {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return all[:1+r.IntN(len(all))]
	}
	calls := some("count(*) AS c", "sum(n) AS s", "avg(x) AS a", "max(word) AS w", "count(*) FILTER (WHERE ok) AS o", "stddev(x) AS d", "sum(price) AS p", "min(ts) AS t", "list(g ORDER BY ts) AS l")
	if r.IntN(5) == 0 {
		calls = []string{"sum(n * 3) AS n3", "count(*) AS c"} // n * 3 can fail
	}
	keys := []string{"k", "g"}[:r.IntN(3)]
	if r.IntN(2) == 0 {
		slices.Reverse(keys)
	}
	if window := pick("", "tumble(ts, INTERVAL '1 hour')"); window != "" {
		keys = append(keys, window)
	}
	sql := "SELECT " + strings.Join(calls, ", ") + " FROM trades" + pick("", " WHERE x > 0", " WHERE n + 1 > 0")
	if len(keys) > 0 {
		sql += " GROUP BY " + strings.Join(keys, ", ")
	}
	return sql
}

func TestSharedPartialsEqualSeparateOnes(t *testing.T) {
	r, b := rand.New(rand.NewPCG(8, 1)), newBench(t)
	sqls := slices.Clone(propertyViews[:12])
	for range 24 {
		sqls = append(sqls, randomView(r))
	}
	plans := planAll(t, sqls)
	shared := 0
	for round := range 8 {
		r.Shuffle(len(plans), func(i, j int) { plans[i], plans[j] = plans[j], plans[i] })
		some := plans[:1+r.IntN(len(plans))]
		events := []duckdb.Batch{duckdb.RecordBatch(conformance.RandomEvents(r, r.IntN(400)*(1+9*(round%2)), 1))}
		seen := 0
		for _, s := range Share(some) {
			rows := b.over(s.Plans[0].Schema.Relation(), events, s.PartialSQL)
			for i, p := range s.Plans {
				seen++
				got, want := s.Of(i, rows), b.over(p.Schema.Relation(), events, p.PartialSQL)
				if !slices.Equal(got.Columns, p.Partial) {
					t.Fatalf("%s: columns %v, want %v", p.SQL, got.Columns, p.Partial)
				}
				g, w := rowsOf(got), rowsOf(want)
				sortRows(g)
				sortRows(w)
				if fmt.Sprint(g) != fmt.Sprint(w) {
					t.Fatalf("%s, one of %d\n%v\nalone\n%v", p.SQL, len(s.Plans), g, w)
				}
			}
			shared += len(s.Plans) - 1
		}
		if seen != len(some) {
			t.Fatalf("%d views of %d are computed", seen, len(some))
		}
	}
	if shared < 20 {
		t.Errorf("only %d statements were saved", shared)
	}
}

func TestViewsShareOnlyWhatCountsTheSameEvents(t *testing.T) {
	plans := planAll(t, []string{
		"SELECT k, g, count(*) AS c FROM trades WHERE x > 0 GROUP BY k, g",
		"SELECT g, k, sum(n) AS s, max(x) AS m FROM trades WHERE x > 0 GROUP BY g, k", // shares, in another order
		"SELECT g, k, sum(n) AS s FROM trades GROUP BY g, k",
		"SELECT k, sum(n) AS s FROM trades WHERE x > 0 GROUP BY k",
		"SELECT k, g, count(*) AS c FROM trades WHERE x > 0 GROUP BY k, g, tumble(ts, INTERVAL '1 hour')",
		"SELECT k, g, count(*) AS c FROM trades WHERE x > 0 GROUP BY k, g, tumble(ts, INTERVAL '1 hour', INTERVAL '1 minute')",
		"SELECT k, g, sum(n * 3) AS s FROM trades WHERE x > 0 GROUP BY k, g",                  // leaves out what fails
		"SELECT k, g, sum(n * 3) + 1 AS s FROM trades WHERE x > 0 GROUP BY k, g",              // leaves out the same
		"SELECT k, g, sum(n * 3) AS s, sum(n) AS n FROM trades WHERE x > 0 GROUP BY k, g",     // the same, but by another text
		"SELECT k, g, sum(n * 3 + 1) AS s FROM trades WHERE x > 0 GROUP BY k, g HAVING s > 1", // leaves out others
	})
	var got []string
	for _, s := range Share(plans) {
		var names []string
		for _, p := range s.Plans {
			names = append(names, p.Name)
		}
		got = append(got, strings.Join(names, "+"))
	}
	if want := "v0+v1 v2 v3 v4 v5 v6+v7 v8 v9"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestVersionsOfAViewWithSideRowsDoNotShare(t *testing.T) {
	plans := planAll(t, []string{"SELECT k, count(DISTINCT n) AS c FROM trades GROUP BY k", "SELECT k, count(DISTINCT g) AS c FROM trades GROUP BY k"})
	plans[1].Name = plans[0].Name
	if shared := Share(plans); len(shared) != 2 || shared[1].PartialSQL("e") != plans[1].PartialSQL("e") {
		t.Errorf("%d statements", len(shared))
	}
}
