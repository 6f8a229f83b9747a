package view

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// conformSeed names the environment variable that makes the test below run its
// share of the comparisons, in a process whose zone is TZ.
const conformSeed = "TAILWATER_TEST_CONFORM_SEED"

// minCells is how many cells must be compared in all.
const minCells = 200_000

// Every kind of window with every aggregate over random streams: the answer that is
// put together from merged partials of random runs must be that of plain SQL over
// the raw events, which is written by hand here and shares nothing with the
// planner; under several zones of the process.
func TestEveryWindowWithEveryAggregateEqualsPlainSQL(t *testing.T) {
	if seed, err := strconv.ParseUint(os.Getenv(conformSeed), 10, 64); err == nil {
		fmt.Printf("\ncells %d\n", conform(t, seed))
		return
	}
	began, cells := time.Now(), 0
	for i, zone := range []string{"UTC", "America/New_York", "Australia/Lord_Howe"} {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "TZ="+zone, fmt.Sprintf("%s=%d", conformSeed, i+1))
		out, err := child.CombinedOutput()
		found := regexp.MustCompile(`\ncells (\d+)\n`).FindSubmatch(out)
		if err != nil || found == nil {
			t.Fatalf("with TZ=%s: %v\n%s", zone, err, out)
		}
		n, _ := strconv.Atoi(string(found[1]))
		cells += n
	}
	if cells < minCells {
		t.Errorf("%d cells compared, want %d", cells, minCells)
	}
	t.Logf("%d cells equal in %v", cells, time.Since(began).Round(time.Millisecond))
}

// A conformCase is one view with its oracle.
type conformCase struct {
	windowCase
	keys       []string // columns of the stream
	where      taken
	aggregates []aggregateCase
	// joins stand behind the stream, which is t, in FROM; they have a column name.
	joins string
	plan  *Plan
}

// A taken is a view's WHERE, and the same by hand where that fails on events.
type taken struct{ view, plain string }

// id lists the columns that identify a row of the answer.
func (c *conformCase) id() []string {
	if c.call == "" {
		return c.keys
	}
	return append([]string{"window_start", "window_end"}, c.keys...)
}

func (c *conformCase) definition() string {
	columns := append([]string{}, c.id()...)
	for i, a := range c.aggregates {
		if !a.reported {
			columns = append(columns, fmt.Sprintf("%s AS a%d", a.view, i))
		}
	}
	sql := "SELECT " + strings.Join(columns, ", ") + " FROM trades"
	if c.joins != "" {
		sql += " AS t " + c.joins
	}
	if c.where.view != "" {
		sql += " WHERE " + c.where.view
	}
	group := append([]string{}, c.keys...)
	if c.call != "" {
		group = append(group, c.call)
	}
	if len(group) > 0 {
		sql += " GROUP BY " + strings.Join(group, ", ")
	}
	return sql
}

// oracle is the plain SQL: the columns of the view, then a bound for each aggregate.
func (c *conformCase) oracle(events string) string {
	where, group := " WHERE "+c.where.plain, strings.Join(c.id(), ", ")
	columns := append([]string{}, c.id()...)
	var bounds []string
	for i, a := range c.aggregates {
		plain, bound := a.plain, a.bound
		if plain == "" {
			plain = a.view
		}
		if bound == "" {
			bound = "CAST(NULL AS DOUBLE)"
		}
		if a.fits != "" {
			where += " AND (" + a.fits + ")"
		}
		columns = append(columns, fmt.Sprintf("%s AS a%d", plain, i))
		bounds = append(bounds, fmt.Sprintf("%s AS b%d", bound, i))
	}
	if c.joins != "" {
		events = plainOver("SELECT t.*, name FROM trades AS t "+c.joins, events)
		events = "(" + events + ")"
	}
	sql := fmt.Sprintf("WITH e AS (SELECT * FROM %s%s), w AS (%s) SELECT %s FROM w",
		events, where, c.rows(c.keys), strings.Join(append(columns, bounds...), ", "))
	if group != "" {
		sql += " GROUP BY " + group
	}
	return sql
}

// filtered puts the FILTER clause, or none, into every text of an aggregate.
func filtered(a aggregateCase, when string) aggregateCase {
	f, and := "", ""
	if when != "" {
		f, and = " FILTER (WHERE "+when+")", " AND "+when
	}
	put := strings.NewReplacer("{f}", f, "{and}", and).Replace
	return aggregateCase{put(a.view), put(a.plain), put(a.bound), a.fits, a.reported}
}

// conformCases pairs every window with every aggregate, bare and with FILTER, under
// keys and conditions that change from view to view. Planning is what takes the time:
// each share has a third of the views, of every window.
func conformCases(t *testing.T, seed uint64) []*conformCase {
	const together = 15 // aggregates in one view
	keys := [][]string{{"k"}, {}, {"k", "g"}, {"x"}, {"ok", "day"}, {"f"}, {"price"}}
	wheres := []taken{{"", "true"}, {"price > 0", "price > 0"}, {"ln(x) < 2", "CASE WHEN x > 0 THEN ln(x) < 2 END"}}
	var all []aggregateCase
	for _, when := range []string{"", "ok"} {
		for _, a := range aggregateCases {
			all = append(all, filtered(a, when))
		}
	}
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	var out []*conformCase
	for _, w := range windowCases {
		for first, behind := 0, 0; first < len(all); first = behind {
			for behind = min(first+together, len(all)); behind < len(all) && all[behind].reported; behind++ {
			}
			c := &conformCase{windowCase: w, keys: keys[len(out)%len(keys)], where: wheres[len(out)%len(wheres)], aggregates: all[first:behind]}
			if out = append(out, c); len(out)%3 != int(seed)%3 {
				continue
			}
			def := Definition{Name: "v", SQL: c.definition(), Bounds: w.bounds, Timezone: w.timezone}
			if slices.ContainsFunc(c.aggregates, func(a aggregateCase) bool { return a.reported }) {
				def.Cap = strconv.Itoa(listed)
			}
			c.plan, err = planner.Plan(t.Context(), def, map[string]*event.Schema{"trades": trades()})
			if err != nil {
				t.Fatalf("%s: %v", c.definition(), err)
			}
		}
	}
	return out
}

// conform compares a share of the cells and gives their number. Each view meets a
// stream of one size, each window streams of all.
func conform(t *testing.T, seed uint64) (cells int) {
	cases, b := conformCases(t, seed), newBench(t)
	sizes := []int{100, 200, 60, 0, 150, 25, 1}
	for round, size := range sizes {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		stream := randomStream(r, size)
		for i, c := range cases {
			if c.plan == nil || i/3%len(sizes) != round {
				continue
			}
			n, err := c.compare(b, r, stream)
			if cells += n; err != nil {
				t.Fatalf("seed %d, %d events, %s: %s\n%v", seed, size, c.name, c.definition(), err)
			}
		}
	}
	return cells
}

// compare puts the answer together in several ways and holds each against the oracle.
func (c *conformCase) compare(b bench, r *rand.Rand, stream conformStream) (cells int, err error) {
	relation := c.plan.Schema.Relation()
	want := b.over(relation, stream.all, c.oracle)
	oracle := duckdb.Share(want.Columns)
	defer oracle.Close()
	oracle.Set(want.Batches)
	where, f := c.filter(r, want)
	narrow, err := b.conn.Collect(b.t.Context(), "SELECT * FROM "+oracle.SQL()+where)
	if err != nil {
		return 0, err
	}
	for _, side := range []struct {
		how  string
		f    Filter
		want *duckdb.Relation
	}{{"whole", Filter{}, want}, {"filtered" + where, f, narrow}} {
		for how, got := range c.answers(b, r, stream, side.f) {
			n, err := c.differs(got, side.want)
			if cells += n; err != nil {
				return cells, fmt.Errorf("%s, %s: %w", how, side.how, err)
			}
		}
	}
	n, err := c.differs(b.over(relation, stream.all, c.plan.PlainSQL), want)
	if err != nil {
		err = fmt.Errorf("PlainSQL: %w", err)
	}
	return cells + n, err
}

// answers gives the plan's answer in each way in which it is put together.
func (c *conformCase) answers(b bench, r *rand.Rand, stream conformStream, f Filter) map[string]*duckdb.Relation {
	if c.plan.Direct {
		mixed := slices.Clone(stream.all)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		return map[string]*duckdb.Relation{"over the stream": b.over(c.plan.Schema.Relation(), mixed, answer(b.t, c.plan, f))}
	}
	parts := mergedPartials(b, r, c.plan, stream.runs)
	return map[string]*duckdb.Relation{
		"from merged partials": b.over(c.plan.Partial, parts, answer(b.t, c.plan, f)),
		"as a split":           splitAnswer(b, r, c.plan, parts, f),
	}
}

// filter draws a range of windows and a key from the answer's own rows, or beside
// them, as a condition of the oracle and as a Filter.
func (c *conformCase) filter(r *rand.Rand, rows *duckdb.Relation) (string, Filter) {
	var parts []string
	var f Filter
	if rows.Len() == 0 {
		return "", f
	}
	ids := c.id()
	for col, name := range ids {
		value := rows.Value(r.IntN(rows.Len()), col)
		switch {
		case r.IntN(2) == 0 || name == "window_end":
		case name == "window_start":
			from := value.(time.Time).Add(time.Duration(r.IntN(3)-1) * time.Microsecond)
			to := from.Add(time.Duration(r.IntN(5)) * 30 * time.Minute)
			f.From, f.To = &from, &to
			parts = append(parts, fmt.Sprintf("window_start >= make_timestamp(%d) AND window_start < make_timestamp(%d)", from.UnixMicro(), to.UnixMicro()))
		case value == nil:
			f.Where, parts = append(f.Where, Equal{Key: name, Null: true}), append(parts, name+" IS NULL")
		default:
			if day, ok := value.(time.Time); ok {
				value = day.Format(time.DateOnly)
			}
			f.Where = append(f.Where, Equal{Key: name, Value: fmt.Sprint(value)})
			parts = append(parts, fmt.Sprintf("%s = CAST('%v' AS %s)", name, value, rows.Columns[col].Type))
		}
	}
	if len(parts) == 0 {
		return "", f
	}
	return " WHERE " + strings.Join(parts, " AND "), f
}

// differs holds an answer against the oracle's, row by row; rows are told apart by
// their window and keys.
func (c *conformCase) differs(got, want *duckdb.Relation) (cells int, err error) {
	ids, n := len(c.id()), len(c.id())+len(c.aggregates)
	row := func(rel *duckdb.Relation, i int) string {
		key := ""
		for col := range ids {
			v := rel.Value(i, col)
			if f, ok := v.(float64); ok {
				v = f + 0 // -0 is the same key as 0
			}
			key += fmt.Sprint(v) + "|"
		}
		return key
	}
	if len(got.Columns) != n {
		return 0, fmt.Errorf("columns %v", got.Columns)
	}
	for i := range n {
		if got.Columns[i].Type != want.Columns[i].Type {
			return 0, fmt.Errorf("%s is %s, plain %s", got.Columns[i].Name, got.Columns[i].Type, want.Columns[i].Type)
		}
	}
	at := map[string]int{}
	for i := range want.Len() {
		at[row(want, i)] = i
	}
	seen := map[string]bool{}
	for i := range got.Len() {
		key := row(got, i)
		j, ok := at[key]
		if !ok || seen[key] {
			return cells, fmt.Errorf("row %s is not in the plain answer, or is there twice", key)
		}
		seen[key] = true
		for col := ids; col < n; col++ {
			if !within(got.Value(i, col), want.Value(j, col), want.Value(j, col+len(c.aggregates))) {
				return cells, fmt.Errorf("row %s: %s is %v, plain %v (bound %v)", key, c.aggregates[col-ids].view, got.Value(i, col), want.Value(j, col), want.Value(j, col+len(c.aggregates)))
			}
		}
		cells += n
	}
	for key := range at {
		if !seen[key] {
			return cells, fmt.Errorf("row %s is missing", key)
		}
	}
	return cells + 1, nil
}

// within compares values bit for bit; numbers may differ by the bound, if they have
// one and are finite.
func within(got, want, bound any) bool {
	g, gotFloat := asFloat(got)
	w, wantFloat := asFloat(want)
	limit, bounded := bound.(float64)
	switch {
	case fmt.Sprint(got) == fmt.Sprint(want):
		return true
	case !gotFloat || !wantFloat:
		return false
	case g == w:
		return true
	case !bounded || math.IsInf(g, 0) || math.IsInf(w, 0):
		return false
	}
	return math.Abs(g-w) <= limit
}

func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}
