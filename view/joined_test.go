package view

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/conformance"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// joinedTables are reference tables with several rows of one key, with keys that are
// NULL, and without some keys of the stream.
var joinedTables = map[string]string{
	"names":  "SELECT * FROM (VALUES ('a', 'Ann', 1), ('a', 'Anna', 2), ('b', 'Ben', NULL), ('d1', 'Dee', 2), ('d1', 'Dee', 2), (NULL, 'nobody', 1), ('z', 'Zoe', 3)) AS v(k, name, level)",
	"levels": "SELECT * FROM (VALUES (1, 'low', true), (2, 'mid', true), (2, 'middle', false), (NULL, 'none', true)) AS v(level, label, shown)",
	"days":   "SELECT CAST(d AS DATE) AS day, s AS season FROM (VALUES ('2024-10-04', 'autumn'), ('2024-10-05', NULL), ('2024-10-06', 'late')) AS v(d, s)",
}

func joinedColumns() map[string][]event.Column {
	of := func(c ...event.Column) []event.Column { return c }
	text, number := event.Type{Kind: event.Varchar}, event.Type{Kind: event.Integer}
	return map[string][]event.Column{
		"names":  of(event.Column{Name: "k", Type: text}, event.Column{Name: "name", Type: text}, event.Column{Name: "level", Type: number}),
		"levels": of(event.Column{Name: "level", Type: number}, event.Column{Name: "label", Type: text}, event.Column{Name: "shown", Type: event.Type{Kind: event.Boolean}}),
		"days":   of(event.Column{Name: "day", Type: event.Type{Kind: event.Date}}, event.Column{Name: "season", Type: text}),
	}
}

const (
	byHour    = "time_bucket(INTERVAL '1 hour', t.ts, TIMESTAMP '1970-01-01')"
	byMidday  = "(date_trunc('day', timezone('Asia/Tokyo', timezone('UTC', t.ts))) - INTERVAL 9 HOURS)"
	hopTrades = "(SELECT e.*, time_bucket(INTERVAL '20 minutes', ts, TIMESTAMP '1970-01-01') - to_minutes(20 * i) AS w FROM trades AS e, range(3) AS r(i))"
)

// joinedViews are views that join reference tables after the merge, and what is plain
// SQL over the events where that is another text.
var joinedViews = []struct{ view, plain, timezone string }{
	{view: "SELECT m.name, count(*) AS c, sum(n) AS s, min(price) AS lo, max(word) AS hi, avg(g) AS a FROM trades AS t JOIN names AS m ON t.k = m.k GROUP BY m.name"},
	{view: "SELECT name, count(*) AS c, count(g) AS cg, stddev(g) AS d, avg(price) AS p, var_pop(g) AS v FROM trades LEFT JOIN names USING (k) GROUP BY name"},
	{view: "SELECT k, name, sum(n) AS s, bool_and(ok) AS b, bit_xor(n) AS x FROM trades LEFT JOIN names USING (k) GROUP BY ALL"},
	{view: "SELECT t.g, m.name, count(*) AS c FROM trades t LEFT JOIN names m ON t.k = m.k AND t.g % 2 = m.level GROUP BY ALL"},
	{view: "SELECT m.name, count(*) AS c, sum(n) AS s FROM trades t LEFT JOIN names m ON t.k = m.k AND (t.n > 20 OR m.level = 2) WHERE t.word IS NULL OR m.name LIKE 'A%' OR t.k IN ('c', 'd2') GROUP BY m.name"},
	{view: "SELECT m.name FROM trades t JOIN names m ON t.k = m.k GROUP BY m.name"},
	{view: "SELECT count(*) AS c, sum(price) AS s FROM trades AS t JOIN names AS m ON t.k = m.k"},
	{view: "SELECT count(*) AS c, count(DISTINCT word) AS d, max(g) AS m FROM trades AS t JOIN names AS m ON t.k = m.k AND m.level = 99"},
	{view: "SELECT upper(m.name) || coalesce(t.word, '-') AS nw, count(*) AS c FROM trades t LEFT JOIN names m ON upper(t.k) = upper(m.k) GROUP BY ALL HAVING nw <> 'x' AND c > 1 ORDER BY c DESC, nw"},
	{view: "SELECT name, label, count(*) AS c, sum(n) AS s, corr(g, price) AS r FROM trades t LEFT JOIN names m ON t.k = m.k LEFT JOIN levels l ON m.level = l.level GROUP BY ALL"},
	{view: "SELECT l.label, d.season, count(*) FILTER (ok) AS c, sum(n) AS s FROM trades t JOIN names m ON t.k IS NOT DISTINCT FROM m.k JOIN levels l ON l.level = m.level AND l.shown LEFT JOIN days d ON d.day = t.day AND d.season IS NOT NULL WHERE t.g > 1 AND (m.name <> 'Dee' OR l.label = 'mid') GROUP BY ALL"},
	{view: "SELECT label, count(DISTINCT word) AS d, median(g) AS m, quantile_disc(n, 0.9) AS q, CAST(histogram(g) AS VARCHAR) AS h, sum(DISTINCT g) AS s, count(*) AS c, avg(g) AS a FROM trades t JOIN levels l ON l.level = t.g GROUP BY label"},
	{view: "SELECT label, mode(word) AS m, first(n) AS f, last(word) AS l FROM trades t JOIN levels l ON l.level = t.g GROUP BY label",
		plain: "SELECT label, mode(word ORDER BY _seq) AS m, arg_min_null(n, _seq) AS f, arg_max_null(word, _seq) AS l FROM trades t JOIN levels l ON l.level = t.g GROUP BY label"},
	{view: "SELECT season, count(*) AS c FROM names m JOIN trades t ON m.k = t.k, days WHERE days.day = t.day AND m.level IN (1, 2) GROUP BY season"},
	{view: "SELECT a.name AS one, b.name AS other, count(*) AS c FROM trades t JOIN names a ON a.k = t.k JOIN names b ON b.k = t.word GROUP BY ALL"},
	{view: "SELECT name, sum(n) AS s, rank() OVER (ORDER BY sum(n), name) AS r FROM trades JOIN names USING (k) GROUP BY name ORDER BY s DESC, name LIMIT 2"},
	{view: "SELECT window_start, name, count(*) AS c, sum(n) AS s FROM trades t LEFT JOIN names m USING (k) GROUP BY tumble(ts, INTERVAL '1 hour'), name",
		plain: "SELECT " + byHour + " AS window_start, name, count(*) AS c, sum(n) AS s FROM trades t LEFT JOIN names m USING (k) GROUP BY ALL"},
	{view: "SELECT window_start, season, count(DISTINCT k) AS d, avg(g) AS a FROM trades t JOIN days USING (day) GROUP BY tumble(ts, 'day'), season", timezone: "Asia/Tokyo",
		plain: "SELECT " + byMidday + " AS window_start, season, count(DISTINCT k) AS d, avg(g) AS a FROM trades t JOIN days USING (day) GROUP BY ALL"},
	{view: "SELECT window_start, label, count(*) AS c, sum(price) AS s, median(g) AS m FROM trades t JOIN names m USING (k) LEFT JOIN levels l ON l.level = m.level GROUP BY hop(ts, INTERVAL '1 hour', INTERVAL '20 minutes'), label",
		plain: "SELECT t.w AS window_start, label, count(*) AS c, sum(price) AS s, median(g) AS m FROM " + hopTrades + " t JOIN names m USING (k) LEFT JOIN levels l ON l.level = m.level GROUP BY ALL"},
	// Sessions are those of a level, whatever keys of the stream they are of.
	{view: "SELECT window_start, m.level, count(*) AS c, sum(n) AS s, count(DISTINCT word) AS d FROM trades t LEFT JOIN names m USING (k) GROUP BY session(ts, INTERVAL '11 minutes'), m.level",
		plain: "SELECT w AS window_start, level, count(*) AS c, sum(n) AS s, count(DISTINCT word) AS d FROM (SELECT *, max(CASE WHEN new THEN ts END) OVER (PARTITION BY level ORDER BY ts) AS w FROM (SELECT t.*, m.level, coalesce(ts - lag(ts) OVER (PARTITION BY level ORDER BY ts) >= INTERVAL '11 minutes', true) AS new FROM trades t LEFT JOIN names m USING (k))) GROUP BY ALL"},
}

// plainOver is a text over events and the reference tables.
func plainOver(sql, events string) string {
	with := "WITH trades AS (FROM " + events + ")"
	for name, rows := range joinedTables {
		with += ", " + name + " AS (" + rows + ")"
	}
	return with + " " + sql
}

func planJoined(t *testing.T, planner *Planner, sql, timezone, reference string) (*Plan, error) {
	t.Helper()
	p, err := planner.Plan(t.Context(), Definition{Name: "v", File: "v.sql", Line: 1, SQL: sql, Timezone: timezone, References: joinedColumns(), Reference: reference}, map[string]*event.Schema{"trades": trades()})
	if err != nil {
		return nil, err
	}
	return p.WithReferences(joinedTables), nil
}

func TestJoinsAfterTheMergeEqualPlainSQLOverTheEvents(t *testing.T) {
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	b := newBench(t)
	compared := 0
	for i, v := range joinedViews {
		p, err := planJoined(t, planner, v.view, v.timezone, afterMerge)
		if err != nil {
			t.Errorf("%s: %v", v.view, err)
			continue
		}
		if v.plain == "" {
			v.plain = v.view
		}
		ordered := strings.Contains(v.view, "LIMIT")
		for seed := range uint64(3) {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			ranges, all := randomRanges(r)
			want := b.over(trades().Relation(), all, func(from string) string { return plainOver(v.plain, from) })
			parts := mergedPartials(b, r, p, ranges)
			for how, got := range map[string]*duckdb.Relation{
				"from partials": b.over(p.Partial, parts, answer(t, p, Filter{})),
				"as a split":    splitAnswer(b, r, p, parts, Filter{}),
				"PlainSQL":      b.over(trades().Relation(), all, p.PlainSQL),
			} {
				n, d := diff(got, want, ordered)
				if compared += n; d != "" {
					t.Fatalf("seed %d, %s: %s\n%s\n%s", seed, how, v.view, d, answer(t, p, Filter{})("partials"))
				}
			}
		}
	}
	if compared < 2_000 {
		t.Errorf("only %d values compared", compared)
	}
}

// A filter, or fewer groups, of a view with reference tables is what it is of a table
// of its rows.
func TestJoinsAfterTheMergeAreFilteredGroupedAndFilled(t *testing.T) {
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	p, err := planJoined(t, planner, joinedViews[16].view, "", "")
	if err != nil {
		t.Fatal(err)
	}
	hop, err := planJoined(t, planner, joinedViews[18].view, "", "")
	if err != nil {
		t.Fatal(err)
	}
	b, r := newBench(t), rand.New(rand.NewPCG(3, 3))
	ranges, all := randomRanges(r)
	from, to := time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 20, 0, 0, 0, time.UTC)
	within := " WHERE window_start >= TIMESTAMP '2026-01-01 03:00' AND window_start < TIMESTAMP '2026-01-01 20:00'"
	for _, c := range []struct {
		plan        *Plan
		f           Filter
		plain, then string
	}{
		{p, Filter{Where: []Equal{{Key: "name", Value: "Dee"}}}, joinedViews[16].plain, "FROM v WHERE name = 'Dee'"},
		{p, Filter{Where: []Equal{{Key: "name", Null: true}}, From: &from, To: &to}, joinedViews[16].plain, "FROM v" + within + " AND name IS NULL"},
		{hop, Filter{Among: []Among{{"label", []string{"low", "mid"}}}, From: &from, To: &to}, joinedViews[18].plain, "FROM v" + within + " AND label IN ('low', 'mid')"},
		{p, Filter{By: []Group{{Name: "name"}}, From: &from, To: &to}, joinedViews[16].plain, "SELECT name, sum(c)::BIGINT, sum(s) FROM v" + within + " GROUP BY name"},
		{p, Filter{By: []Group{{Name: "window_start", Unit: "day"}}, Where: []Equal{{Key: "name", Value: "Ann"}}}, joinedViews[16].plain, "SELECT date_trunc('day', window_start), sum(c)::BIGINT, sum(s) FROM v WHERE name = 'Ann' GROUP BY 1"},
		{p, Filter{By: []Group{}}, joinedViews[16].plain, "SELECT sum(c)::BIGINT, sum(s) FROM v"},
		{p, Filter{Fill: FillZero, From: &from, To: &to}, joinedViews[16].plain,
			"SELECT w, name, coalesce(c, 0), coalesce(s, 0) FROM (SELECT DISTINCT name FROM v" + within + ") CROSS JOIN generate_series(TIMESTAMP '2026-01-01 03:00', TIMESTAMP '2026-01-01 19:00', INTERVAL 1 HOUR) AS g(w) LEFT JOIN (FROM v" + within + ") AS o USING (name) WHERE false OR o.window_start = w" +
				" UNION ALL SELECT w, n.name, 0, 0 FROM (SELECT DISTINCT name FROM v" + within + ") AS n CROSS JOIN generate_series(TIMESTAMP '2026-01-01 03:00', TIMESTAMP '2026-01-01 19:00', INTERVAL 1 HOUR) AS g(w) WHERE NOT EXISTS (FROM v WHERE window_start = w AND v.name IS NOT DISTINCT FROM n.name)" +
				" UNION ALL FROM v" + within + " AND name IS NULL"},
	} {
		want := b.over(trades().Relation(), all, func(events string) string {
			return plainOver("", events) + ", v AS (" + c.plain + ") " + c.then
		})
		parts := mergedPartials(b, r, c.plan, ranges)
		if n, d := diff(b.over(c.plan.Partial, parts, answer(t, c.plan, c.f)), want, false); d != "" || n < 3 {
			t.Errorf("%+v: %d compared, %s", c.f, n, d)
		}
		if c.f.By == nil && c.f.Fill == "" {
			if _, d := diff(splitAnswer(b, r, c.plan, parts, c.f), want, false); d != "" {
				t.Errorf("%+v as a split: %s", c.f, d)
			}
		}
	}
}

// What a view keeps follows from the stream's side alone.
func TestTheVersionOfAJoinIsOfWhatItKeeps(t *testing.T) {
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	version := func(sql string, change func(map[string][]event.Column)) string {
		columns := joinedColumns()
		change(columns)
		p, err := planner.Plan(t.Context(), Definition{Name: "v", SQL: sql, References: columns}, map[string]*event.Schema{"trades": trades()})
		if err != nil {
			t.Fatal(err)
		}
		if !p.AfterMerge() || p.Direct {
			t.Errorf("%s is over the stream", sql)
		}
		return p.Version
	}
	same := func(map[string][]event.Column) {}
	const sql = "SELECT m.name, count(*) AS c FROM trades t JOIN names m ON t.k = m.k GROUP BY m.name"
	was := version(sql, same)
	for _, other := range []string{
		"SELECT m.name, count(*) + 1 AS c FROM trades t LEFT JOIN names m ON t.k = m.k GROUP BY m.name HAVING count(*) > 1",
		"SELECT lower(m.name) AS low, count(*) AS c FROM trades t JOIN names m ON t.k = m.k WHERE m.name <> 'Dee' GROUP BY ALL",
	} {
		if got := version(other, same); got != was {
			t.Errorf("%s is another version", other)
		}
	}
	for what, got := range map[string]string{
		"a type":       version(sql, func(c map[string][]event.Column) { c["names"][1].Type = event.Type{Kind: event.BigInt} }),
		"a key more":   version("SELECT m.name, t.g, count(*) AS c FROM trades t JOIN names m ON t.k = m.k GROUP BY ALL", same),
		"another join": version("SELECT m.name, count(*) AS c FROM trades t JOIN names m ON t.word = m.k GROUP BY ALL", same),
	} {
		if got == was {
			t.Errorf("%s is the same version", what)
		}
	}
	if got := version(sql, func(c map[string][]event.Column) { c["names"][2].Type = event.Type{Kind: event.Double} }); got != was {
		t.Error("a column that is not read changes the version")
	}
}

// What cannot wait for the answer is computed over the stream, or refused where the
// view's author wants it after the merge.
func TestJoinsThatAreNotMadeAfterTheMerge(t *testing.T) {
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	b := newBench(t)
	_, all := randomRanges(rand.New(rand.NewPCG(1, 1)))
	for sql, want := range map[string]string{
		"SELECT m.name, sum(m.level) AS s FROM trades t JOIN names m ON t.k = m.k GROUP BY m.name":                     "v.sql:1:16: an aggregate over columns of a reference table is computed from the events; make the column",
		"SELECT m.name, count(*) FILTER (m.level = 1) AS c FROM trades t JOIN names m ON t.k = m.k GROUP BY m.name":    "v.sql:1:16: an aggregate over columns of a reference table",
		"SELECT m.name, count(*) AS c FROM trades t JOIN names m ON t.k = m.k AND t.g + m.level > 3 GROUP BY m.name":   "v.sql:1:74: this condition compares a reference table with what is no key",
		"SELECT m.name, count(*) AS c FROM trades t JOIN names m ON t.k = m.k WHERE t.g + m.level > 3 GROUP BY m.name": "v.sql:1:76: this condition compares a reference table with what is no key",
		"SELECT m.name, count(*) AS c FROM trades t JOIN names m ON m.level = 1 GROUP BY m.name":                       "v.sql:1:44: reference table names is joined by no equality",
		"SELECT m.name, count(*) AS c FROM trades t LEFT JOIN names m ON true WHERE t.k = m.k GROUP BY m.name":         "v.sql:1:44: reference table names is joined by no equality",
		"SELECT m.name, count(*) AS c FROM trades t RIGHT JOIN names m ON t.k = m.k GROUP BY m.name":                   "v.sql:1:44: a right join of a reference table is computed from the events",
		"SELECT m.name, count(*) AS c FROM trades t NATURAL JOIN names m GROUP BY m.name":                              "v.sql:1:44: a natural inner join of a reference table is computed from the events",
		"SELECT k, count(*) AS c FROM trades t SEMI JOIN names m USING (k) GROUP BY k":                                 "v.sql:1:39: a semi join of a reference table is computed from the events",
		"SELECT count(*) AS c FROM names": "v.sql:1:27: no stream is named names",
		"SELECT m.name, count(*) AS c FROM trades t JOIN names m ON t.k = m.k, trades u GROUP BY m.name":                               "v.sql:1:1: a view reads one stream",
		"SELECT count(*) AS c FROM trades t JOIN (SELECT k FROM names) m ON t.k = m.k":                                                 "v.sql:1:36: a view reads one stream",
		"SELECT window_start, sum(m.level) AS c FROM trades t JOIN names m ON t.k = m.k GROUP BY tumble(ts, INTERVAL 1 DAY)":           "v.sql:1:22: an aggregate over columns of a reference table",
		"SELECT window_end, m.name, count(*) AS c FROM trades t JOIN names m ON t.k = m.k GROUP BY slide(ts, INTERVAL 1 HOUR), m.name": "v.sql:1:1: a slide window of this form is computed from the events",
		"SELECT k, count(*) AS c FROM trades GROUP BY k":                                                                               "v.sql:1:1: the view joins no reference table; leave the annotation out",
	} {
		_, err := planJoined(t, planner, sql, "", afterMerge)
		var refused *Error
		if !errors.As(err, &refused) || !strings.HasPrefix(refused.Error(), want) {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
		p, err := planJoined(t, planner, sql, "", "")
		if strings.HasSuffix(want, "the annotation out") || strings.Contains(want, "stream") {
			continue
		}
		if err != nil || !p.Direct || p.AfterMerge() {
			t.Errorf("%s: not over the stream: %v", sql, err)
			continue
		}
		b.over(trades().Relation(), all, answer(t, p, Filter{}))
	}
	for sql, want := range map[string]string{
		"SELECT m.nam, count(*) AS c FROM trades t JOIN names m ON t.k = m.k GROUP BY ALL": "reference table names has no column nam; it has k, name, level",
		"SELECT k, count(*) AS c FROM trades t JOIN names m ON t.k = m.k GROUP BY ALL":     "k is a column of more than one table; write the table's name before it",
		"SELECT name, count(*) AS c FROM trades t JOIN names m ON t.k = m.k GROUP BY m.k":  "column name is neither a key nor inside an aggregate",
	} {
		if _, err := planJoined(t, planner, sql, "", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
	}
	if _, err := planJoined(t, planner, joinedViews[0].view, "", "before"); err == nil || !strings.Contains(err.Error(), "write -- reference: after merge") {
		t.Error(err)
	}
}

// A windowed view over the stream meets the tables event by event.
func TestWindowsOverTheStreamJoinReferenceTables(t *testing.T) {
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	p, err := planJoined(t, planner, "SELECT window_start, sum(g * m.level) AS s, count(DISTINCT m.name) AS d FROM trades t LEFT JOIN names m USING (k) WHERE t.g > 0 GROUP BY tumble(ts, INTERVAL '1 hour')", "", "")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	_, all := randomRanges(rand.New(rand.NewPCG(5, 5)))
	want := b.over(trades().Relation(), all, func(from string) string {
		return plainOver("SELECT "+byHour+" AS window_start, sum(g * m.level) AS s, count(DISTINCT m.name) AS d FROM trades t LEFT JOIN names m USING (k) WHERE t.g > 0 GROUP BY 1", from)
	})
	if n, d := diff(b.over(trades().Relation(), all, answer(t, p, Filter{})), want, false); d != "" || n < 10 {
		t.Errorf("%d compared, %s", n, d)
	}
}

// Every kind of window with aggregates of every kind: what is kept, and what is over
// the stream.
func TestJoinsAfterTheMergeOfEveryWindowAndAggregate(t *testing.T) {
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	const together = 5
	cases := conformance.Cases(conformance.Options{Together: together, Alternate: true, Joined: 1})
	each := len(cases) / len(conformance.Windows())
	b, cells := newBench(t), 0
	tables := map[string]string{"names": conformance.NamesSQL}
	for i := range conformance.Windows() {
		c := &conformCase{Case: cases[i*each+i%each]}
		if i%2 == 1 && c.Timezone != "" {
			continue // zones are cut as without a table
		}
		p, err := planner.Plan(t.Context(), Definition{Name: "v", SQL: c.SQL(), Bounds: c.Bounds, Timezone: c.Timezone, Cap: c.Cap, References: map[string][]event.Column{"names": conformance.Names().Columns}}, map[string]*event.Schema{"trades": trades()})
		if err != nil {
			t.Fatalf("%s: %v", c.SQL(), err)
		}
		c.plan = p.WithReferences(tables)
		if p.Window != nil && p.AfterMerge() != p.Window.Incremental() {
			t.Errorf("%s: over the stream is %v", c.SQL(), p.Direct)
		}
		r := rand.New(rand.NewPCG(uint64(i), 9))
		n, err := c.compare(b, r, conformance.RandomStream(r, 40))
		if cells += n; err != nil {
			t.Fatalf("%s: %s\n%v", c.Window, c.SQL(), err)
		}
	}
	if cells < 3_000 {
		t.Errorf("only %d cells compared", cells)
	}
}
