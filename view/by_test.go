package view

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
)

// groupings are views, what to group their answers by, and the SQL that says the same
// with fewer keys.
var groupings = []struct{ view, by, plain string }{
	{"SELECT window_start, window_end, k, g, count(*) AS c, count(n) AS cn, sum(n) AS s, avg(n) AS a, min(x) AS lo, max(word) AS hi FROM trades GROUP BY k, g, tumble(ts, INTERVAL '1 hour')",
		"window_start:6h,k", "SELECT window_start, window_end, k, count(*) AS c, count(n) AS cn, sum(n) AS s, avg(n) AS a, min(x) AS lo, max(word) AS hi FROM trades GROUP BY k, tumble(ts, INTERVAL '6 hours')"},
	{"SELECT window_start, window_end, k, g, count(*) AS c, avg(price) AS a FROM trades GROUP BY k, g, tumble(ts, INTERVAL '1 hour')",
		"window_start,g", "SELECT window_start, window_end, g, count(*) AS c, avg(price) AS a FROM trades GROUP BY g, tumble(ts, INTERVAL '1 hour')"},
	{"SELECT window_start, k, stddev(n) AS s, var_pop(x) AS v, variance(x) FILTER (ok) AS vx, stddev_pop(price) AS sp FROM trades GROUP BY k, tumble(ts, INTERVAL '7 minutes', INTERVAL '90 seconds')",
		"window_start:21m", "SELECT window_start, stddev(n) AS s, var_pop(x) AS v, variance(x) FILTER (ok) AS vx, stddev_pop(price) AS sp FROM trades GROUP BY tumble(ts, INTERVAL '21 minutes', INTERVAL '90 seconds')"},
	{"SELECT window_start, k, var_samp(f) AS vf, bool_and(ok) AS a, bool_or(ok) AS o, count_if(x > 1) FILTER (g > 2) AS c2 FROM trades GROUP BY k, tumble(ts, INTERVAL '1 hour')",
		"k", "SELECT k, var_samp(f) AS vf, bool_and(ok) AS a, bool_or(ok) AS o, count_if(x > 1) FILTER (g > 2) AS c2 FROM trades GROUP BY k"},
	{"SELECT window_start, k, var_pop(n) AS v, sum(wide) AS s, avg(wide) AS a FROM trades GROUP BY k, tumble(ts, INTERVAL '1 hour')",
		"", "SELECT var_pop(n) AS v, sum(wide) AS s, avg(wide) AS a FROM trades"},
	{"SELECT k, g, upper(k) AS u, k || g::VARCHAR AS both, sum(x) / nullif(count(x), 0) AS m, CASE WHEN k IS NULL THEN 0 ELSE count(*) END AS z, 'fixed' AS label FROM trades GROUP BY k, g",
		"g", "SELECT g, sum(x) / nullif(count(x), 0) AS m, 'fixed' AS label FROM trades GROUP BY g"},
	{"SELECT k, g, upper(k) AS u, CASE WHEN k IS NULL THEN 0 ELSE count(*) END AS z FROM trades GROUP BY k, g",
		"k", "SELECT k, upper(k) AS u, CASE WHEN k IS NULL THEN 0 ELSE count(*) END AS z FROM trades GROUP BY k"},
	{"SELECT k, count(*) AS c FROM trades GROUP BY k, g, tumble(ts, INTERVAL '1 hour')",
		"window_start:1d,g", "SELECT window_start, window_end, g, count(*) AS c FROM trades GROUP BY g, tumble(ts, INTERVAL '1 day')"},
	{"SELECT window_start, g, sum(n) AS s, max(ts) AS last FROM trades GROUP BY g, tumble(ts, INTERVAL '1 hour')",
		"window_start:month", "SELECT date_trunc('month', ts) AS window_start, sum(n) AS s, max(ts) AS last FROM trades GROUP BY 1"},
	{"SELECT window_start, g, sum(n) AS s FROM trades GROUP BY g, tumble(ts, INTERVAL '12 hours')",
		"g,window_start:week", "SELECT date_trunc('week', ts) AS window_start, g, sum(n) AS s FROM trades GROUP BY ALL"},
	{"-- cap: 3\nSELECT window_start, k, list(n) AS l, string_agg(word, ',' ORDER BY ts DESC) AS w FROM trades GROUP BY k, tumble(ts, INTERVAL '1 hour')",
		"window_start:6h", "-- cap: 3\nSELECT window_start, list(n) AS l, string_agg(word, ',' ORDER BY ts DESC) AS w FROM trades GROUP BY tumble(ts, INTERVAL '6 hours')"},
	{"SELECT g % 3 AS b, word, sum(CAST(word AS BIGINT) * n) AS s FROM trades WHERE price > 0 GROUP BY ALL ORDER BY s, word",
		"b", "SELECT g % 3 AS b, sum(CAST(CAST(word AS BIGINT) * n AS HUGEINT)) AS s FROM trades WHERE price > 0 GROUP BY ALL"},
}

func groupsOf(t *testing.T, text string) []Group {
	t.Helper()
	by := []Group{}
	for _, part := range strings.Split(text, ",") {
		if part == "" {
			continue
		}
		g, err := ParseGroup(part)
		if err != nil {
			t.Fatal(err)
		}
		by = append(by, g)
	}
	return by
}

func answerSQL(t *testing.T, p *Plan, f Filter) func(from string) string {
	return func(from string) string {
		sql, err := p.AnswerSQL(from, f)
		if err != nil {
			t.Fatalf("%s: %v", p.SQL, err)
		}
		return sql
	}
}

func TestGroupingUpEqualsThePlainSQLWithFewerKeys(t *testing.T) {
	var sqls []string
	for _, g := range groupings {
		sqls = append(sqls, g.view, g.plain)
	}
	plans, b := planAll(t, sqls), newBench(t)
	compared, began := 0, time.Now()
	for seed := uint64(1); compared < 10_000 && time.Since(began) < 10*time.Second; seed++ {
		r := rand.New(rand.NewPCG(seed, 11))
		ranges, all := randomRanges(r)
		for i, g := range groupings {
			p, plain := plans[2*i], plans[2*i+1]
			by := groupsOf(t, g.by)
			parts := mergedPartials(b, r, p, ranges)
			want := b.over(plain.Schema.Relation(), all, plain.PlainSQL)
			got := b.over(p.Partial, parts, answerSQL(t, p, Filter{By: by}))
			if !slices.Equal(got.Columns, want.Columns) {
				t.Fatalf("%s by %s: columns %v, plain %v", g.view, g.by, got.Columns, want.Columns)
			}
			n, d := diff(got, want, false)
			if compared += n; d != "" {
				t.Fatalf("seed %d: %s by %q: %s", seed, g.view, g.by, d)
			}
			if _, d := diff(splitAnswer(b, r, p, parts, Filter{By: by}), want, false); d != "" {
				t.Fatalf("seed %d: %s by %q, as a split: %s", seed, g.view, g.by, d)
			}
		}
	}
	if compared < 2_000 {
		t.Fatalf("only %d values compared", compared)
	}
	t.Logf("%d values equal in %v", compared, time.Since(began).Round(time.Millisecond))
}

func TestWhatCannotBeGroupedUpIsRefusedWithTheReason(t *testing.T) {
	for _, c := range []struct{ view, by, reason string }{
		{"SELECT k, count(*) AS c FROM trades GROUP BY k HAVING c > 3", "k", "HAVING"},
		{"SELECT k, count(*) AS c FROM trades GROUP BY k LIMIT 3", "k", "LIMIT"},
		{"SELECT k, rank() OVER (ORDER BY count(*)) AS r FROM trades GROUP BY k", "k", "window functions"},
		{"SELECT k, count(*) AS c FROM trades GROUP BY k QUALIFY c = max(c) OVER ()", "k", "QUALIFY"},
		{"SELECT k, count(*) AS c FROM trades GROUP BY k", "g", "its keys are k"},
		{"SELECT k, count(*) AS c FROM trades GROUP BY k", "window_start", "its keys are k"},
		{"SELECT k, count(*) AS c FROM trades GROUP BY k", "k,k", "twice"},
		{"SELECT count(*) AS c FROM trades GROUP BY tumble(ts, INTERVAL '1 hour')", "window_start:90m", "multiple"},
		{"SELECT count(*) AS c FROM trades GROUP BY tumble(ts, INTERVAL '7 hours')", "window_start:day", "calendar"},
		{"SELECT count(*) AS c FROM trades GROUP BY tumble(ts, INTERVAL '1 hour', INTERVAL '5 minutes')", "window_start:month", "calendar"},
	} {
		p := planAll(t, []string{c.view})[0]
		if _, err := p.AnswerSQL("tw", Filter{By: groupsOf(t, c.by)}); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s by %s: %v", c.view, c.by, err)
		}
	}
	for _, text := range []string{"k:1h", "window_start:", "window_start:soon", "window_start:-1h", "window_start:0s"} {
		if _, err := ParseGroup(text); err == nil {
			t.Errorf("%q is a group", text)
		}
	}
}

func TestFiltersOfAGroupedAnswerAreThoseOfTheView(t *testing.T) {
	plans := planAll(t, []string{
		"SELECT window_start, k, g, count(*) AS c, sum(n) AS s FROM trades GROUP BY k, g, tumble(ts, INTERVAL '1 hour')",
		"SELECT k, count(*) AS c, sum(n) AS s FROM trades WHERE g IN (1, 3) AND k > 'a' AND k <= 'd1' AND g <> 3 GROUP BY k",
	})
	b, r := newBench(t), rand.New(rand.NewPCG(3, 3))
	ranges, all := randomRanges(r)
	parts := mergedPartials(b, r, plans[0], ranges)
	f := Filter{By: groupsOf(t, "k"), Among: []Among{{"g", []string{"1", "3"}}}, Bounds: []Bound{{"k", ">", "a"}, {"k", "<=", "d1"}, {"g", "<>", "3"}}}
	got := b.over(plans[0].Partial, parts, answerSQL(t, plans[0], f))
	if _, d := diff(got, b.over(trades().Relation(), all, plans[1].PlainSQL), false); d != "" {
		t.Error(d)
	}
	if n := len(f.Values()); n != 5 {
		t.Errorf("%d values", n)
	}
}

func TestPagesPutTogetherAreTheWholeAnswer(t *testing.T) {
	plans := planAll(t, []string{
		"SELECT window_start, k, x, count(*) AS c, sum(x) AS s, max(word) AS w FROM trades GROUP BY k, x, tumble(ts, INTERVAL '1 hour')",
		"SELECT k, g, sum(n) AS s FROM trades GROUP BY ALL ORDER BY g DESC NULLS FIRST, s",
		"SELECT k, g, day, max(ts) AS t, min(price) AS p FROM trades GROUP BY ALL",
		"SELECT k, g, sum(n) AS s FROM trades GROUP BY ALL LIMIT 17",
	})
	b := newBench(t)
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 5))
		ranges, _ := randomRanges(r)
		for _, p := range plans {
			parts := mergedPartials(b, r, p, ranges)
			for _, f := range []Filter{{}, {Order: []string{"-k"}}, {Order: []string{p.Output[len(p.Output)-1].Name, "-k"}}, {By: []Group{{Name: "k"}}}, {Top: &Top{Rows: 3, Of: p.Output[len(p.Output)-1].Name, Per: []string{"k"}}}} {
				if f.By != nil && p.stmts.regroup.obstacle != "" {
					continue
				}
				f.Paged = true
				whole := rowsOf(b.over(p.Partial, parts, answerSQL(t, p, f)))
				own := 0
				if len(whole) > 0 {
					n, err := p.PageColumns(f)
					if err != nil {
						t.Fatal(err)
					}
					own = len(whole[0]) - n
				}
				var pages [][]any
				f.Limit = 1 + r.IntN(20)
				for {
					page := rowsOf(b.over(p.Partial, parts, answerSQL(t, p, f)))
					if len(page) == 0 {
						break
					}
					pages = append(pages, page...)
					f.Cursor = nil
					for _, v := range page[len(page)-1][own:] {
						if v == nil {
							f.Cursor = append(f.Cursor, nil)
							continue
						}
						s := v.(string)
						f.Cursor = append(f.Cursor, &s)
					}
				}
				// The engine's sort gives back 0 for -0, which is the same place.
				zero := strings.NewReplacer(" -0.0", " 0.0")
				if got, want := zero.Replace(fmt.Sprint(pages)), zero.Replace(fmt.Sprint(whole)); got != want {
					t.Fatalf("seed %d, %s, order %v: %d rows in pages of %d, %d at once\n%s\n%s", seed, p.SQL, f.Order, len(pages), f.Limit, len(whole), got, want)
				}
			}
		}
	}
}

func TestTheTopIsThatOfThePlainSQL(t *testing.T) {
	view := "SELECT window_start, k, g, count(*) AS c FROM trades GROUP BY k, g, tumble(ts, INTERVAL '6 hours')"
	p := planAll(t, []string{view})[0]
	b, r := newBench(t), rand.New(rand.NewPCG(9, 9))
	ranges, all := randomRanges(r)
	parts := mergedPartials(b, r, p, ranges)
	for _, c := range []struct {
		top   Top
		plain string
	}{
		{Top{Rows: 4, Of: "c"}, "QUALIFY row_number() OVER (ORDER BY c DESC, window_start, k, g) <= 4 ORDER BY c DESC, window_start, k, g"},
		{Top{Rows: 2, Of: "-c", Per: []string{"window_start"}}, "QUALIFY row_number() OVER (PARTITION BY window_start ORDER BY c, window_start, k, g) <= 2 ORDER BY window_start, c, k, g"},
	} {
		got := b.over(p.Partial, parts, answerSQL(t, p, Filter{Top: &c.top}))
		want := b.over(trades().Relation(), all, func(from string) string { return "SELECT * FROM (" + p.PlainSQL(from) + ") " + c.plain })
		if _, d := diff(got, want, true); d != "" {
			t.Errorf("%+v: %s", c.top, d)
		}
	}
	for _, bad := range []Top{{Rows: 0, Of: "c"}, {Rows: 1, Of: "x"}, {Rows: 1, Of: "c", Per: []string{"x"}}} {
		if _, err := p.AnswerSQL("tw", Filter{Top: &bad}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// counts is a stream of small numbers, for answers that are computed by hand.
func counts(t *testing.T, sql string, rows string) (*Plan, func(f Filter) string) {
	schema := &event.Schema{Stream: "counts", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
		{Name: "ts", Type: event.Type{Kind: event.Timestamp}}, {Name: "k", Type: event.Type{Kind: event.Varchar}}, {Name: "n", Type: event.Type{Kind: event.Integer}},
	}}
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	p, err := planner.Plan(t.Context(), Definition{Name: "v", SQL: sql}, map[string]*event.Schema{"counts": schema})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	events := "(SELECT *, 1 AS _epoch, 0 AS _partition, 1 AS _seq, 0 AS _idx, ts AS _ingested_at FROM (VALUES " + rows + ") AS v(ts, k, n))"
	return p, func(f Filter) string {
		sql, err := p.AnswerSQL("("+p.PartialSQL(events)+")", f)
		if err != nil {
			return err.Error()
		}
		rel, err := b.conn.Collect(t.Context(), sql)
		if err != nil {
			return err.Error()
		}
		var lines []string
		for _, row := range rowsOf(rel) {
			var cells []string
			for _, v := range row {
				if at, ok := v.(time.Time); ok {
					v = at.Format("15:04")
				}
				cells = append(cells, fmt.Sprint(v))
			}
			lines = append(lines, strings.Join(cells, " "))
		}
		return strings.Join(lines, "|")
	}
}

func TestGapsAreFilled(t *testing.T) {
	_, ask := counts(t, "SELECT window_start, k, upper(k) AS u, count(*) AS c, sum(n) AS s, max(k) AS m FROM counts GROUP BY k, tumble(ts, INTERVAL '1 hour')", `
		(TIMESTAMP '2024-05-01 01:10:00', 'a', 2), (TIMESTAMP '2024-05-01 04:10:00', 'a', 4), (TIMESTAMP '2024-05-01 04:20:00', 'a', 4),
		(TIMESTAMP '2024-05-01 02:10:00', 'b', NULL)`)
	at := func(text string) *time.Time {
		out, err := time.Parse("2006-01-02 15:04", "2024-05-01 "+text)
		if err != nil {
			t.Fatal(err)
		}
		return &out
	}
	order := []string{"k", "window_start"}
	for _, c := range []struct {
		f    Filter
		want string
	}{
		{Filter{Fill: FillNull}, "01:00 a A 1 2 a|02:00 a A <nil> <nil> <nil>|03:00 a A <nil> <nil> <nil>|04:00 a A 2 8 a|01:00 b B <nil> <nil> <nil>|02:00 b B 1 <nil> b|03:00 b B <nil> <nil> <nil>|04:00 b B <nil> <nil> <nil>"},
		{Filter{Fill: FillZero}, "01:00 a A 1 2 a|02:00 a A 0 0 <nil>|03:00 a A 0 0 <nil>|04:00 a A 2 8 a|01:00 b B 0 0 <nil>|02:00 b B 1 <nil> b|03:00 b B 0 0 <nil>|04:00 b B 0 0 <nil>"},
		{Filter{Fill: FillPrevious}, "01:00 a A 1 2 a|02:00 a A 1 2 a|03:00 a A 1 2 a|04:00 a A 2 8 a|01:00 b B <nil> <nil> <nil>|02:00 b B 1 <nil> b|03:00 b B 1 <nil> b|04:00 b B 1 <nil> b"},
		{Filter{Fill: FillLinear, Where: []Equal{{Key: "k", Value: "a"}}}, "01:00 a A 1 2 a|02:00 a A 1 4 <nil>|03:00 a A 2 6 <nil>|04:00 a A 2 8 a"},
		{Filter{Fill: FillZero, From: at("00:30"), To: at("02:30"), Where: []Equal{{Key: "k", Value: "a"}}}, "01:00 a A 1 2 a|02:00 a A 0 0 <nil>"},
		{Filter{Fill: FillZero, From: at("03:00"), To: at("05:00"), Where: []Equal{{Key: "k", Value: "b"}}}, ""},
		{Filter{Fill: FillZero, From: at("00:00"), To: at("06:00"), By: []Group{{Name: "window_start", Size: 2 * time.Hour}}, Order: []string{"window_start"}}, "00:00 1 2 a|02:00 1 <nil> b|04:00 2 8 a"},
		{Filter{Fill: FillZero, From: at("20:00"), To: at("22:00"), By: []Group{{Name: "window_start"}}, Order: []string{"window_start"}}, "20:00 0 0 <nil>|21:00 0 0 <nil>"},
		{Filter{Fill: FillZero, Limit: 2, Offset: 1}, "02:00 a A 0 0 <nil>|03:00 a A 0 0 <nil>"},
	} {
		if c.f.Order == nil {
			c.f.Order = order
		}
		if got := ask(c.f); got != c.want {
			t.Errorf("%+v\n got %s\nwant %s", c.f, got, c.want)
		}
	}
	far := time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := ask(Filter{Fill: FillZero, To: &far}); !strings.Contains(got, FillTooLarge) {
		t.Errorf("a million rows: %.200s", got)
	}
	for reason, f := range map[string]Filter{
		"no window":       {Fill: FillZero, By: []Group{{Name: "k"}}},
		"is none of":      {Fill: "average"},
		"be had together": {Fill: FillZero, Top: &Top{Rows: 1, Of: "c"}},
	} {
		if got := ask(f); !strings.Contains(got, reason) {
			t.Errorf("%+v: %s", f, got)
		}
	}
}

func TestViewsWithoutWindowsHaveNoGaps(t *testing.T) {
	p := planAll(t, []string{"SELECT k, count(*) AS c FROM trades GROUP BY k"})[0]
	if _, err := p.AnswerSQL("tw", Filter{Fill: FillZero}); err == nil || !strings.Contains(err.Error(), "no window") {
		t.Error(err)
	}
}
