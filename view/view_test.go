package view

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/conformance"
	"github.com/tailwater/tailwater/internal/duckdb"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func TestFilteredAnswersEqualFilteringOutside(t *testing.T) {
	plans := planAll(t, []string{
		"SELECT window_start, k, g, count(*) AS c, sum(n) AS s FROM trades GROUP BY tumble(ts, INTERVAL '1 hour'), k, g HAVING count(*) > 1",
		"SELECT window_start, k, g, count(*) AS c, sum(n) AS s FROM trades GROUP BY tumble(ts, INTERVAL '1 hour'), k, g ORDER BY s DESC LIMIT 30",
		"SELECT window_start, k, g, count(*) AS c, rank() OVER (PARTITION BY window_start ORDER BY sum(n)) AS s FROM trades GROUP BY tumble(ts, INTERVAL '1 hour'), k, g",
		"SELECT window_start, k, g, count(*) AS c, sum(n) AS s FROM trades GROUP BY tumble(ts, INTERVAL '1 hour'), k, g QUALIFY row_number() OVER (PARTITION BY k ORDER BY s) < 4",
		"SELECT window_start, k, g, count(*) AS c, sum(n) AS s FROM trades GROUP BY hop(ts, INTERVAL '1 hour', INTERVAL '25 minutes'), k, g",
		"SELECT window_start, k, g, count(*) AS c, sum(n) AS s FROM trades GROUP BY session(ts, INTERVAL '20 minutes'), k, g",
	})
	b := newBench(t)
	from, to := time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 20, 0, 0, 0, time.UTC)
	cases := []struct {
		filter Filter
		where  string
	}{
		{Filter{From: &from, To: &to}, "window_start >= '2026-01-01 03:00' AND window_start < '2026-01-01 20:00'"},
		{Filter{Where: []Equal{{Key: "K", Value: "a"}}}, "k = 'a'"},
		{Filter{Where: []Equal{{Key: "k", Null: true}, {Key: "g", Value: "3"}}}, "k IS NULL AND g = 3"},
		{Filter{Where: []Equal{{Key: "window_start", Value: "2026-01-01 05:00:00"}}}, "window_start = '2026-01-01 05:00'"},
		{Filter{From: &to, To: &from}, "false"},
		{Filter{Where: []Equal{{Key: "k", Value: "it's"}}}, "k = 'it''s'"},
	}
	for seed := uint64(1); seed <= 4; seed++ {
		r := rand.New(rand.NewPCG(seed, 9))
		ranges, _ := randomRanges(r)
		for _, p := range plans {
			parts := mergedPartials(b, r, p, ranges)
			for _, c := range cases {
				got := b.over(p.Partial, parts, answer(t, p, c.filter))
				want := b.over(p.Partial, parts, func(from string) string {
					return "SELECT * FROM (" + answer(t, p, Filter{})(from) + ") WHERE " + c.where
				})
				if _, d := diff(got, want, false); d != "" {
					t.Fatalf("%s\n%s: %s", p.SQL, c.where, d)
				}
			}
			page := b.over(p.Partial, parts, answer(t, p, Filter{Order: []string{"-c", "K asc"}, Limit: 5, Offset: 2}))
			all := b.over(p.Partial, parts, answer(t, p, Filter{Order: []string{"c desc", "k"}}))
			if got, want := rowsOf(page), rowsOf(all); fmt.Sprint(got) != fmt.Sprint(want[min(2, len(want)):min(7, len(want))]) {
				t.Fatalf("%s: page %v of %v", p.SQL, got, want)
			}
		}
	}
}

func answer(t *testing.T, p *Plan, f Filter) func(string) string {
	return func(from string) string {
		sql, err := p.AnswerSQL(from, f)
		if err != nil {
			t.Fatal(err)
		}
		return sql
	}
}

func TestFilterIsPushedBelowMergeOnlyWhereItCommutes(t *testing.T) {
	f := Filter{Where: []Equal{{Key: "k", Value: "a"}}}
	for sql, pushed := range map[string]bool{
		"SELECT k, count(*) FROM trades GROUP BY k HAVING count(*) > 1 ORDER BY 2":              true,
		"SELECT k, count(*) FROM trades GROUP BY k LIMIT 3":                                     false,
		"SELECT k, count(*) FROM trades GROUP BY k QUALIFY rank() OVER (ORDER BY count(*)) < 3": false,
		"SELECT k, rank() OVER (ORDER BY count(*)) FROM trades GROUP BY k":                      false,
		"SELECT k FROM trades GROUP BY k ORDER BY rank() OVER (ORDER BY count(*))":              false,
	} {
		p := planAll(t, []string{sql})[0]
		if got := strings.Contains(answer(t, p, f)("parts"), "(FROM parts) AS _f WHERE"); got != pushed {
			t.Errorf("%s: pushed %t, want %t", sql, got, pushed)
		}
	}
}

func TestFilterErrorsNameWhatThereIs(t *testing.T) {
	plans := planAll(t, []string{
		"SELECT k, count(*) AS c FROM trades GROUP BY k, g",
		"SELECT count(*) AS c FROM trades GROUP BY tumble(ts, INTERVAL '1 hour')",
		"SELECT count(*) AS c FROM trades",
	})
	now := time.Unix(0, 0)
	for _, c := range []struct {
		plan   int
		filter Filter
		want   string
	}{
		{0, Filter{Where: []Equal{{Key: "c", Value: "1"}}}, `view v0 has no key "c": its keys are k, g`},
		{0, Filter{From: &now}, "view v0 has no window: leave from and to out"},
		{0, Filter{Order: []string{"-nope"}}, `view v0 has no column "nope" to order by: its columns are k, c`},
		{0, Filter{Limit: -1}, "view v0: limit -1, offset 0: want none below zero"},
		{1, Filter{Where: []Equal{{Key: "k", Null: true}}}, `view v1 has no key "k": its keys are window_start`},
		{2, Filter{Where: []Equal{{Key: "k", Null: true}}}, `view v2 has no key "k": it has none`},
	} {
		if _, err := plans[c.plan].AnswerSQL("parts", c.filter); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestFailingRowsAreNamedWithTheirReason(t *testing.T) {
	p := planAll(t, []string{"SELECT CAST(word AS INTEGER) AS w, sum(n + 1) AS s FROM trades WHERE ln(x) > 0 GROUP BY 1"})[0]
	b := newBench(t)
	r := rand.New(rand.NewPCG(3, 3))
	_, all := randomRanges(r)
	all = append(all, duckdb.RecordBatch(conformance.RandomEvents(r, 500, 100_000)))
	got := b.over(trades().Relation(), all, p.ErrorsSQL)
	// The same, decided by each expression's own domain.
	want := b.over(trades().Relation(), all, func(from string) string {
		return `SELECT _epoch, _partition, _seq, _idx, CASE WHEN x <= 0 THEN 'WHERE (ln(x) > 0) fails'
			WHEN word IS NOT NULL AND TRY_CAST(word AS INTEGER) IS NULL THEN 'key CAST(word AS INTEGER) fails'
			ELSE 'sum of (n + 1) fails' END AS reason
			FROM ` + from + ` WHERE x <= 0 OR x > 1 AND (word IS NOT NULL AND TRY_CAST(word AS INTEGER) IS NULL OR n = 9223372036854775807)`
	})
	n, d := diff(got, want, false)
	if d != "" || got.Len() < 50 {
		t.Fatalf("%d rows, %d values: %s", got.Len(), n, d)
	}
}

func TestViewsThatCannotFailHaveNoErrors(t *testing.T) {
	for _, p := range planAll(t, []string{
		"SELECT k, count(*) FROM trades WHERE price > 3 AND ts >= '2026-01-01' AND k IN ('a', 'b') GROUP BY k, tumble(ts, INTERVAL '1 hour')",
		"SELECT lower(k) || '!' AS l, sum(x * 2 + n) AS s, avg(CASE WHEN ok THEN price END) AS a FROM trades WHERE coalesce(g, 0) BETWEEN 1 AND 5 GROUP BY 1",
		"SELECT sum(price - price) AS s, avg(price + price) AS t FROM trades WHERE NOT ok OR word IS NULL",
	}) {
		if sql := p.ErrorsSQL("e"); sql != "" || strings.Contains(p.PartialSQL("e"), "TRY") {
			t.Errorf("%s can fail: %s", p.SQL, sql)
		}
	}
}

func TestEventsAtTheEndsOfTimeStopNothing(t *testing.T) {
	plans, b := planAll(t, []string{
		"SELECT count(*) AS c FROM trades GROUP BY tumble(ts, INTERVAL '36525 days')",
		"SELECT count(*) AS c FROM trades GROUP BY tumble(ts, INTERVAL '1 second', INTERVAL '300 ms')",
	}), newBench(t)
	events := conformance.RandomEvents(rand.New(rand.NewPCG(1, 1)), 4, 1)
	bld := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Microsecond})
	defer bld.Release()
	for _, us := range []int64{-9223372022400000000, 9223372036854775806, -1, 0} {
		bld.Append(arrow.Timestamp(us))
	}
	columns := slices.Clone(events.Columns())
	columns[0] = bld.NewArray()
	batch := []duckdb.Batch{duckdb.RecordBatch(array.NewRecordBatch(events.Schema(), columns, 4))}
	for i, rows := range []int{4, 3} { // the second has −1 µs and 0 in one window
		p := plans[i]
		parts := b.over(trades().Relation(), batch, p.PartialSQL).Batches
		got := b.over(p.Partial, parts, answer(t, p, Filter{}))
		if n, d := diff(got, b.over(trades().Relation(), batch, p.PlainSQL), false); d != "" || got.Len() != rows {
			t.Errorf("%s: %d rows, %d values: %s", p.SQL, got.Len(), n, d)
		}
	}
}

func TestWithoutPartialsAnUngroupedViewHasItsOneRow(t *testing.T) {
	plans, b := planAll(t, []string{
		"SELECT count(*) AS c, sum(n) AS s, stddev(x) AS d, avg(price) AS a FROM trades",
		"SELECT k, count(*) AS c, var_pop(x) AS v FROM trades GROUP BY k",
	}), newBench(t)
	for i, want := range []string{"[[0 <nil> <nil> <nil>]]", "[]"} {
		got := rowsOf(b.over(plans[i].Partial, nil, answer(t, plans[i], Filter{})))
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", plans[i].SQL, got, want)
		}
	}
}

func TestVersionFollowsThePartialAlone(t *testing.T) {
	plans := planAll(t, []string{
		"SELECT k, sum(n) AS s FROM trades GROUP BY k",
		"-- a comment\nSELECT sum(n) * 2 AS twice, k FROM trades GROUP BY 2 HAVING sum(n) > 3 ORDER BY k LIMIT 2",
		"SELECT k, sum(n) AS s FROM trades WHERE ok GROUP BY k",
		"SELECT k, sum(g) AS s FROM trades GROUP BY k",
	})
	for i, same := range []bool{true, true, false, false} {
		if got := plans[i].Version == plans[0].Version; got != same {
			t.Errorf("%s: same version %t, want %t", plans[i].SQL, got, same)
		}
	}
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	changed := trades()
	changed.Columns[3].Type = event.Type{Kind: event.Integer}
	p, err := planner.Plan(t.Context(), Definition{Name: "v0", SQL: plans[0].SQL}, map[string]*event.Schema{"trades": changed})
	if err != nil || p.Version == plans[0].Version {
		t.Errorf("the type of a used column changed and the version is still %v (%v)", p, err)
	}
}

func TestVarianceSurvivesAMeanFarFromZero(t *testing.T) {
	p, b := planAll(t, []string{"SELECT var_pop(x) AS v FROM trades"})[0], newBench(t)
	var parts []duckdb.Batch
	for i := range 50 {
		parts = append(parts, b.over(trades().Relation(), nil, func(string) string {
			return fmt.Sprintf("WITH e AS (SELECT CAST(%d AS DOUBLE) AS x FROM range(2)) %s", 1_000_000_000+i%2, p.PartialSQL("e"))
		}).Batches...)
	}
	got := rowsOf(b.over(p.Partial, parts, answer(t, p, Filter{})))
	if v := got[0][0].(float64); v != 0.25 {
		t.Errorf("variance %v, want 0.25", v)
	}
}

// BenchmarkPartial runs a simple view's partial as speed does.
func BenchmarkPartial(b *testing.B) {
	planner, err := NewPlanner(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer planner.Close()
	p, err := planner.Plan(b.Context(), Definition{Name: "v", SQL: "SELECT g, count(*) AS c, sum(price) AS s FROM trades GROUP BY g, tumble(ts, INTERVAL '1 hour')"},
		map[string]*event.Schema{"trades": trades()})
	if err != nil {
		b.Fatal(err)
	}
	h := duckdb.Share(trades().Relation())
	defer h.Close()
	const rows = 20_000
	h.Set([]duckdb.Batch{duckdb.RecordBatch(conformance.RandomEvents(rand.New(rand.NewPCG(1, 1)), rows, 1))})
	stmt, err := planner.conn.Prepare(b.Context(), p.PartialSQL(h.SQL()))
	if err != nil {
		b.Fatal(err)
	}
	defer stmt.Close()
	for b.Loop() {
		if _, err := stmt.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mevents/s")
}
