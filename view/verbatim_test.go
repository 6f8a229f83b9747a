package view

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// The statements have no window and cannot fail on a row, so that the engine can
// run them as their author wrote them: names, types and values must be those.
func TestAnswersAreThoseOfTheAuthorsTextRunByTheEngine(t *testing.T) {
	sqls := []string{
		"SELECT k, sum(x * 1e3) AS s, sum(n * 2.5) AS d, max(1e0) AS one FROM trades WHERE n * 1e-1 < 1e17 GROUP BY k",
		"SELECT k, sum(g * 0.1e1), avg(price), min(price) + 1e2 FROM trades GROUP BY k",
		"SELECT count(*), sum(n), avg(n), sum(price), stddev_pop(g), var_samp(price) FROM trades",
		"SELECT k IS NULL AS none, count(*) FILTER (WHERE ok) AS c, sum(price) FILTER (WHERE g > 2) * 2 FROM trades GROUP BY ALL",
		"SELECT k, count(*) AS c, rank() OVER (ORDER BY count(*), k) AS r FROM trades GROUP BY k HAVING count(*) > 1e0",
	}
	plans := planAll(t, sqls)
	b := newBench(t)
	r := rand.New(rand.NewPCG(11, 5))
	ranges, all := randomRanges(r)
	for i, p := range plans {
		want := b.over(trades().Relation(), all, func(from string) string {
			return strings.Replace(sqls[i], "FROM trades", "FROM "+from+" AS trades", 1)
		})
		parts := mergedPartials(b, r, p, ranges)
		got := b.over(p.Partial, parts, func(from string) string { return p.FinishSQL("(" + p.MergeSQL(from) + ")") })
		if d := columnsDiffer(got, want); d != "" {
			t.Errorf("%s\n%s", sqls[i], d)
			continue
		}
		if _, d := diff(got, want, false); d != "" {
			t.Errorf("%s\n%s", sqls[i], d)
		}
	}
}

func columnsDiffer(got, want *duckdb.Relation) string {
	show := func(r *duckdb.Relation) string {
		var parts []string
		for _, c := range r.Columns {
			parts = append(parts, c.Name+" "+c.Type.String())
		}
		return strings.Join(parts, ", ")
	}
	if g, w := show(got), show(want); g != w {
		return "columns are " + g + "\nwant        " + w
	}
	return ""
}
