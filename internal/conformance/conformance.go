// Package conformance has what tests compare views by: every kind of window, every
// aggregate, random streams, and for each view the same answer as plain SQL over the
// raw events, which is written by hand here and shares nothing with the planner.
//
// A kind of window or an aggregate that is added to the lists is compared wherever
// they are used: by the planner's own test, which puts answers together from partial
// rows, and in layers, where they come from the parts of a whole server.
package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A Case is one view over the stream trades, with the SQL by hand that it must equal.
type Case struct {
	Window string // its name
	// Bounds, Timezone and Cap are annotations of the view.
	Bounds, Timezone, Cap string

	window     windowCase
	keys       []string // columns of the stream
	where      taken
	aggregates []aggregateCase
	joins      string // stand behind the stream, which is t, in FROM
}

// A taken is a view's WHERE, and the same by hand where that fails on events.
type taken struct{ view, plain string }

// id lists the columns that identify a row of the answer.
func (c *Case) id() []string {
	if c.window.call == "" {
		return c.keys
	}
	return append([]string{"window_start", "window_end"}, c.keys...)
}

// SQL is the view as its definition writes it.
func (c *Case) SQL() string {
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
	if c.window.call != "" {
		group = append(group, c.window.call)
	}
	if len(group) > 0 {
		sql += " GROUP BY " + strings.Join(group, ", ")
	}
	return sql
}

// Oracle is the plain SQL: the columns of the view, then a bound for each aggregate.
func (c *Case) Oracle(events string) string {
	where, group := " WHERE "+c.where.plain, strings.Join(c.id(), ", ")
	columns := append([]string{}, c.id()...)
	var bounds []string
	for i, a := range c.aggregates {
		plain, bound := a.plain, a.bound
		if plain == "" {
			plain = a.view
		}
		if bound == "" {
			bound = "NULL"
		}
		if a.fits != "" {
			where += " AND (" + a.fits + ")"
		}
		columns = append(columns, fmt.Sprintf("%s AS a%d", plain, i))
		bounds = append(bounds, fmt.Sprintf("CAST(%s AS DOUBLE) AS b%d", bound, i))
	}
	if c.joins != "" {
		events = fmt.Sprintf("(WITH names AS (%s) SELECT t.*, name FROM %s AS t %s)", NamesSQL, events, c.joins)
	}
	sql := fmt.Sprintf("WITH e AS (SELECT * FROM %s%s), w AS (%s) SELECT %s FROM w",
		events, where, c.window.rows(c.keys), strings.Join(append(columns, bounds...), ", "))
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
	a.bare = strings.ReplaceAll(a.view, "{f}", "")
	a.view, a.plain, a.bound = put(a.view), put(a.plain), put(a.bound)
	return a
}

// Options say how views are made of all windows and aggregates.
type Options struct {
	Together int // aggregates in one view
	// Rotation gives the views other keys and conditions.
	Rotation int
	// Alternate has each aggregate of a window either bare or with FILTER, and the other
	// way round at the next rotation; otherwise there are both.
	Alternate bool
	// Joined is every how manieth view joins the reference table names, and has its
	// column name as its key; 0: none does.
	Joined int
}

// aggregates is how many a window has.
func (o Options) aggregates() int {
	if o.Alternate {
		return len(aggregateCases)
	}
	return 2 * len(aggregateCases)
}

// condition is that of the FILTER of a window's nth aggregate, or empty.
func (o Options) condition(window, nth int) string {
	when := nth >= len(aggregateCases)
	if o.Alternate {
		when = (window+nth+o.Rotation)%2 == 1
	}
	if when {
		return "ok"
	}
	return ""
}

// Cases pairs every window with every aggregate, under keys and conditions that change
// from view to view. Whatever the rotation, the views at one index have the same
// window and aggregates.
func Cases(o Options) []*Case {
	keys := [][]string{{"k"}, {}, {"k", "g"}, {"x"}, {"ok", "day"}, {"f"}, {"price"}}
	wheres := []taken{{"", "true"}, {"price > 0", "price > 0"}, {"ln(x) < 2", "CASE WHEN x > 0 THEN ln(x) < 2 END"}}
	var out []*Case
	for i, w := range windowCases {
		var all []aggregateCase
		when := ""
		for nth := range o.aggregates() {
			a := aggregateCases[nth%len(aggregateCases)]
			if !a.reported {
				when = o.condition(i, nth)
			}
			all = append(all, filtered(a, when))
		}
		for first, behind := 0, 0; first < len(all); first = behind {
			for behind = min(first+o.Together, len(all)); behind < len(all) && all[behind].reported; behind++ {
			}
			nth := len(out) + o.Rotation
			c := &Case{Window: w.name, Bounds: w.bounds, Timezone: w.timezone, window: w,
				keys: keys[nth%len(keys)], where: wheres[nth%len(wheres)], aggregates: all[first:behind]}
			if slices.ContainsFunc(c.aggregates, func(a aggregateCase) bool { return a.reported }) {
				c.Cap = strconv.Itoa(listed)
			}
			if o.Joined > 0 && (i+nth)%o.Joined == 0 {
				c.keys, c.where, c.joins = []string{"name"}, wheres[0], joins[nth%len(joins)]
			}
			out = append(out, c)
		}
	}
	return out
}

// Windows are the names of all kinds of windows.
func Windows() []string {
	var out []string
	for _, w := range windowCases {
		out = append(out, w.name)
	}
	return out
}

// Aggregates are those of the view, without FILTER.
func (c *Case) Aggregates() []string {
	var out []string
	for _, a := range c.aggregates {
		if !a.reported {
			out = append(out, a.bare)
		}
	}
	return out
}

// A Narrowed is a part of an answer's rows: what a filter is to say, and the same as a
// clause over the plain rows; empty if it is all of them.
type Narrowed struct {
	From, To *time.Time // of window_start, inclusive and exclusive
	Keys     []Key
	SQL      string
}

// A Key is the value that a key is to have, as text.
type Key struct {
	Name, Value string
	Null        bool
}

// Narrow draws a range of windows and a key from the answer's own rows, or beside
// them.
func (c *Case) Narrow(r *rand.Rand, rows *duckdb.Relation) (f Narrowed) {
	var parts []string
	if rows.Len() == 0 {
		return f
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
			f.Keys, parts = append(f.Keys, Key{Name: name, Null: true}), append(parts, name+" IS NULL")
		default:
			if day, ok := value.(time.Time); ok {
				value = day.Format(time.DateOnly)
			}
			f.Keys = append(f.Keys, Key{Name: name, Value: fmt.Sprint(value)})
			parts = append(parts, fmt.Sprintf("%s = CAST('%v' AS %s)", name, value, rows.Columns[col].Type))
		}
	}
	if len(parts) > 0 {
		f.SQL = " WHERE " + strings.Join(parts, " AND ")
	}
	return f
}

// Differs holds an answer against the oracle's, row by row; rows are told apart by
// their window and keys.
func (c *Case) Differs(got, want *duckdb.Relation) (cells int, err error) {
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
