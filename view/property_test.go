package view

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/conformance"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// trades is the stream that the tests define views on.
func trades() *event.Schema { return conformance.Schema() }

// property views: each must equal its own SQL whatever the events, the ranges
// and the order of merging.
var propertyViews = []string{
	"SELECT count(*) AS c, sum(n) AS s, avg(n) AS a, min(x) AS lo, max(x) AS hi FROM trades",
	"SELECT k, count(*) AS c, count(n) AS cn, sum(n) AS s, avg(n) AS a FROM trades GROUP BY k",
	"SELECT k, sum(price) AS s, avg(price) AS a, min(price), max(price) FROM trades GROUP BY k, tumble(ts, INTERVAL '1 hour')",
	"SELECT window_start, count(*) AS c FROM trades GROUP BY tumble(ts, INTERVAL '7 minutes', INTERVAL '90 seconds')",
	"SELECT window_end AS e, k, g, max(word) AS w, min(ts) AS t0, max(day) AS d FROM trades GROUP BY 1, k, g, tumble(ts, INTERVAL 1 DAY)",
	"SELECT tumble(ts, INTERVAL '1 hour') AS hour, count(*) FILTER (WHERE ok) AS c, sum(x) FILTER (x > 0) AS s FROM trades GROUP BY hour",
	"SELECT k, stddev(n) AS s, var_pop(x) AS v, stddev_pop(price) AS sp, var_samp(f) AS vf, variance(x) FILTER (ok) AS vx FROM trades GROUP BY ALL",
	"SELECT var_samp(x) AS v, stddev_samp(n) AS s FROM trades",
	"SELECT k, bool_and(ok) AS a, bool_or(ok) AS o, count_if(ok) AS c, count_if(x > 1) FILTER (g > 2) AS c2 FROM trades GROUP BY k",
	"SELECT k, sum(x) / nullif(count(x), 0) AS m, sum(n) * 2 + count(*) AS z, CASE WHEN count(*) > 5 THEN 'many' ELSE 'few' END AS size FROM trades GROUP BY k",
	"SELECT g % 3 AS b, upper(k) AS u, count(*) AS c FROM trades WHERE g IS NOT NULL AND price > 0 GROUP BY ALL",
	"SELECT g + 1 AS g1, sum(n * 3) AS s FROM trades WHERE n + 1 > 0 GROUP BY 1",
	"SELECT CAST(word AS INTEGER) AS i, count(*) AS c, sum(CAST(word AS BIGINT) * n) AS s FROM trades GROUP BY 1",
	"SELECT k, sum(wide) AS s, avg(wide) AS a, sum(wide * g) AS p FROM trades GROUP BY k",
	"SELECT k, sum(ln(x)) AS s FROM trades WHERE sqrt(x) > 1 GROUP BY k",
	"SELECT k, count(*) AS c FROM trades GROUP BY k HAVING c > 3 ORDER BY c DESC LIMIT 3",
	"SELECT k, g, sum(n) AS s FROM trades GROUP BY ALL LIMIT 4 OFFSET 1",
	"SELECT window_start, k, sum(n) AS s FROM trades GROUP BY tumble(ts, INTERVAL 6 HOURS), k QUALIFY row_number() OVER (PARTITION BY window_start ORDER BY s DESC) <= 2",
	"SELECT k, sum(n) AS s, rank() OVER (ORDER BY sum(n)) AS r, sum(count(*)) OVER (ORDER BY k) AS running, lag(count(*)) OVER (ORDER BY count(*)) AS l FROM trades GROUP BY k",
	"SELECT x, count(*) AS c FROM trades GROUP BY x",
	"SELECT sum(f) AS s, avg(f) AS a, avg(g) AS ag, sum(ok) AS b, min(ok) AS mo FROM trades",
	"SELECT date_trunc('day', ts) AS d, extract(hour FROM ts) AS h, avg(x) AS a FROM trades GROUP BY ALL",
	"SELECT k FROM trades GROUP BY k",
	"SELECT count(*) AS c FROM trades WHERE word = 'no such word'",
	"SELECT max(_seq) AS last, min(_ingested_at) AS first, k IS NULL AS anonymous FROM trades GROUP BY k IS NULL",
	"SELECT t.k AS k, min(t.word) AS a, max(lower(word)) AS b FROM trades AS t WHERE k IN ('a', 'b', 'c') OR k LIKE 'd%' GROUP BY t.k ORDER BY a NULLS FIRST",
	"SELECT day, sum(n) AS s, 'fixed' AS label FROM trades GROUP BY day HAVING sum(n) > 0 OR count(*) > 2",
	"SELECT g, x / g AS r, count(*) AS c FROM trades GROUP BY g, r",
	"SELECT k, count(*) AS c, sum(n) AS s, var_pop(n) AS v FROM trades GROUP BY hop(ts, INTERVAL '1 hour', INTERVAL '20 minutes'), k",
	"SELECT window_end, window_start, count(*) AS c, max(word) AS w FROM trades GROUP BY hop(ts, INTERVAL '50 minutes', INTERVAL '35 minutes', INTERVAL '-3 minutes') ORDER BY c DESC LIMIT 7",
	"SELECT k, count(*) AS c, sum(CAST(word AS INTEGER)) AS s FROM trades GROUP BY hop(ts, INTERVAL '10 minutes', INTERVAL '1 hour'), k HAVING c > 1",
	"SELECT k, g, count(*) AS c, min(x) AS lo, stddev(n) AS d FROM trades GROUP BY session(ts, INTERVAL '11 minutes'), k, g",
	"SELECT window_start AS s, window_end AS e, window_end - window_start > INTERVAL '1 hour' AS long, count(*) AS c FROM trades GROUP BY session(ts, INTERVAL '3 minutes') ORDER BY c, s",
	"SELECT k, sum(CAST(word AS INTEGER)) AS s, lag(count(*)) OVER (PARTITION BY k ORDER BY window_start) AS before FROM trades GROUP BY session(ts, INTERVAL '30 minutes'), k",
	"SELECT k, count(*) AS c FROM trades GROUP BY tumble(ts, 'week'), k",
	"SELECT k, first(n) AS f, last(word) AS l, any_value(g) AS a, first(x) FILTER (ok) AS fx FROM trades GROUP BY k",
	"SELECT k, arg_min(word, n) AS lo, arg_max(n, word) AS hi, max_by(x, price) FILTER (ok) AS m FROM trades GROUP BY tumble(ts, INTERVAL '1 hour'), k",
	"SELECT bit_and(n) AS a, bit_or(g) AS o, bit_xor(n) AS x, last(k) AS l FROM trades",
	"SELECT k, corr(n, g) AS c, covar_pop(x, n) AS cp, covar_samp(price, g) AS cs, regr_count(x, g) AS rc, regr_avgx(n, g) AS ax, regr_sxx(n, g) AS sxx FROM trades GROUP BY k",
	"SELECT k, regr_slope(g, n) AS s, regr_intercept(g, n) AS i, regr_r2(g, n) AS r, regr_sxy(g, n) AS xy FROM trades GROUP BY k",
	"SELECT k, count(DISTINCT g) AS dg, count(DISTINCT word) FILTER (ok) AS dw, sum(DISTINCT g) AS sg, count(*) AS c, avg(n) AS a FROM trades GROUP BY k",
	"SELECT k, median(g) AS m, quantile_disc(n, 0.9) AS q9, quantile_cont(g, 0.25) AS q2, quantile_disc(word, 0.5) AS w FROM trades GROUP BY tumble(ts, INTERVAL '3 hours'), k",
	"SELECT mode(word) AS m, mode(g) FILTER (ok) AS mg, histogram(g) AS h, approx_quantile(x, 0.5) AS q, approx_count_distinct(word) AS d FROM trades",
	"SELECT k, approx_count_distinct(n) AS d, count(DISTINCT CAST(word AS INTEGER)) AS i, mode(k || word) AS m FROM trades GROUP BY hop(ts, INTERVAL '2 hours', INTERVAL '1 hour'), k",
	"SELECT k, count(DISTINCT word) AS d, median(x) AS m, count(*) AS c, first(n) AS f, approx_quantile(n, 0.9) AS q FROM trades GROUP BY session(ts, INTERVAL '15 minutes'), k HAVING count(DISTINCT word) > 1",
	"SELECT k, CAST({'lo': min(g), 'hi': max(g), 'who': k} AS VARCHAR) AS j, CAST(max({'n': g, 'w': word}.n) AS VARCHAR) AS m FROM trades GROUP BY k",
	"-- cap: 2\nSELECT k, list(n) AS l, string_agg(word, '') FILTER (ok) AS w, count(*) AS c, len(list(g)) AS ng FROM trades GROUP BY k",
	"-- cap: 3\nSELECT k, list(word ORDER BY ts DESC) AS l, list(CAST(word AS INTEGER)) AS i, array_agg(x ORDER BY trades.ts) FILTER (g > 1) AS a FROM trades GROUP BY session(ts, INTERVAL '15 minutes'), k HAVING len(l) > 1 ORDER BY l",
	"-- cap: 2\nSELECT k, count(DISTINCT g) AS d, listagg(g, '-' ORDER BY ts ASC) AS l, group_concat(day) AS s FROM trades GROUP BY hop(ts, INTERVAL '2 hours', INTERVAL '1 hour'), k",
	"SELECT k, g, count(DISTINCT k) AS dk, median(g) AS mg, sum(g) AS s, count(DISTINCT g + 1) AS d, mode(g) FILTER (g > 1) AS m, max(g) AS hi FROM trades GROUP BY k, g",
}

// A bench is an engine over shared relations.
type bench struct {
	t    *testing.T
	conn *duckdb.Conn
}

func newBench(t *testing.T) bench {
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); db.Close() })
	return bench{t, conn}
}

// over runs sql(relation) with the batches as the relation.
func (b bench) over(columns []event.Column, batches []duckdb.Batch, sql func(from string) string) *duckdb.Relation {
	b.t.Helper()
	h := duckdb.Share(columns)
	defer h.Close()
	h.Set(batches)
	rel, err := b.conn.Collect(b.t.Context(), sql(h.SQL()))
	if err != nil {
		b.t.Fatalf("%v\n%s", err, sql("tw"))
	}
	return rel
}

// rowsOf gives a relation's rows as values, in order.
func rowsOf(rel *duckdb.Relation) [][]any {
	out := make([][]any, rel.Len())
	for i := range out {
		for c := range rel.Columns {
			out[i] = append(out[i], rel.Value(i, c))
		}
	}
	return out
}

// sameValue compares bit for bit, doubles within rounding relative to scale.
func sameValue(a, b any, tolerance float64) bool {
	x, isFloat := a.(float64)
	y, alsoFloat := b.(float64)
	if !isFloat || !alsoFloat {
		return fmt.Sprint(a) == fmt.Sprint(b)
	}
	return x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= tolerance*math.Max(1, math.Max(math.Abs(x), math.Abs(y)))
}

// sortRows orders rows by their exact values, then by their doubles, whose last
// bits may differ.
func sortRows(rows [][]any) {
	key := func(r []any) string {
		var exact, rounded strings.Builder
		for _, v := range r {
			if f, ok := v.(float64); ok {
				fmt.Fprintf(&rounded, "%.10g|", f+0) // -0 + 0 = 0
			} else {
				fmt.Fprint(&exact, v, "|")
			}
		}
		return exact.String() + rounded.String()
	}
	slices.SortFunc(rows, func(a, b []any) int { return strings.Compare(key(a), key(b)) })
}

// diff compares answers and counts the values compared.
func diff(got, want *duckdb.Relation, ordered bool) (compared int, difference string) {
	g, w := rowsOf(got), rowsOf(want)
	if !ordered {
		sortRows(g)
		sortRows(w)
	}
	if len(g) != len(w) {
		return 1, fmt.Sprintf("%d rows, want %d\n%v\n%v", len(g), len(w), g, w)
	}
	for i := range g {
		for c := range g[i] {
			compared++
			if !sameValue(g[i][c], w[i][c], 1e-9) {
				return compared, fmt.Sprintf("row %d column %s: %v, want %v", i, got.Columns[c].Name, g[i][c], w[i][c])
			}
		}
	}
	return compared + 1, ""
}

func planAll(t *testing.T, sqls []string) []*Plan {
	t.Helper()
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	var plans []*Plan
	for i, sql := range sqls {
		def := annotated(sql)
		def.Name, def.File, def.Line = fmt.Sprintf("v%d", i), "v.sql", 1
		p, err := planner.Plan(t.Context(), def, map[string]*event.Schema{"trades": trades()})
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		plans = append(plans, p)
	}
	return plans
}

func TestAnswersFromMergedPartialsEqualThePlainSQL(t *testing.T) {
	plans, b := planAll(t, propertyViews), newBench(t)
	compared, began := 0, time.Now()
	for seed := uint64(1); compared < 40_000 && time.Since(began) < 40*time.Second; seed++ {
		r := rand.New(rand.NewPCG(seed, 7))
		ranges, all := randomRanges(r)
		for _, p := range plans {
			parts := mergedPartials(b, r, p, ranges)
			want := b.over(p.Schema.Relation(), all, p.PlainSQL)
			got := b.over(p.Partial, parts, func(from string) string {
				sql, err := p.AnswerSQL(from, Filter{})
				if err != nil {
					t.Fatal(err)
				}
				return sql
			})
			halves := splitAnswer(b, r, p, parts, Filter{})
			if n, d := diff(halves, want, strings.Contains(p.SQL, "LIMIT")); d != "" {
				t.Fatalf("seed %d: %s\nas a split: %s", seed, p.SQL, d)
			} else {
				compared += n
			}
			if !slices.Equal(got.Columns, want.Columns) || !slices.Equal(got.Columns, p.Output) {
				t.Fatalf("columns %v, plain %v, plan %v", got.Columns, want.Columns, p.Output)
			}
			n, d := diff(got, want, strings.Contains(p.SQL, "LIMIT"))
			if compared += n; d != "" {
				t.Fatalf("seed %d: %s\n%s\npartial %s\nplain %s", seed, p.SQL, d, p.PartialSQL("e"), p.PlainSQL("e"))
			}
		}
	}
	if compared < 20_000 {
		t.Fatalf("only %d values compared", compared)
	}
	t.Logf("%d values equal in %v", compared, time.Since(began).Round(time.Millisecond))
}

// splitAnswer merges some of the partial rows to a base and leaves the others loose.
func splitAnswer(b bench, r *rand.Rand, p *Plan, parts []duckdb.Batch, f Filter) *duckdb.Relation {
	b.t.Helper()
	n := r.IntN(len(parts) + 1)
	base, loose := duckdb.Share(p.Partial), duckdb.Share(p.Partial)
	defer base.Close()
	defer loose.Close()
	split := Split{Base: base.SQL()}
	if n > 0 {
		base.Set(b.over(p.Partial, parts[:n], p.MergeSQL).Batches)
	}
	if loose.Set(parts[n:]); n < len(parts) {
		split.Loose = loose.SQL()
		split.Panes = panesOf(p, parts[n:])
		slices.Sort(split.Panes)
	}
	sql, err := p.SplitSQL(split, f)
	if err != nil {
		b.t.Fatal(err)
	}
	rel, err := b.conn.Collect(b.t.Context(), sql)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, sql)
	}
	return rel
}

// panesOf gives the windows of partial rows, nil if one has none.
func panesOf(p *Plan, rows []duckdb.Batch) []int64 {
	var out []int64
	if p.Window == nil {
		return nil
	}
	for _, b := range rows {
		panes := b.Column(0).(*array.Timestamp)
		for i := range b.Len() {
			if panes.IsNull(i) {
				return nil
			}
			if at := int64(panes.Value(i)); !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	return out
}

// randomRanges cuts a random stream into ranges, some of them empty.
func randomRanges(r *rand.Rand) (ranges [][]duckdb.Batch, all []duckdb.Batch) {
	first := int64(1)
	for range 1 + r.IntN(8) {
		n := r.IntN(60)
		if r.IntN(12) == 0 {
			n = 3000 // more than one vector
		}
		batch := duckdb.RecordBatch(conformance.RandomEvents(r, n, first))
		first += int64(n)
		ranges, all = append(ranges, []duckdb.Batch{batch}), append(all, batch)
	}
	return ranges, all
}

// mergedPartials runs the partial over each range and merges some of the
// results with each other, in random order.
func mergedPartials(b bench, r *rand.Rand, p *Plan, ranges [][]duckdb.Batch) []duckdb.Batch {
	var pieces [][]duckdb.Batch
	for _, events := range ranges {
		pieces = append(pieces, b.over(p.Schema.Relation(), events, p.PartialSQL).Batches)
	}
	for range r.IntN(4) {
		r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		n := 1 + r.IntN(len(pieces))
		one := b.over(p.Partial, slices.Concat(pieces[:n]...), p.MergeSQL).Batches
		pieces = append(pieces[n:], one)
	}
	r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	return slices.Concat(pieces...)
}
