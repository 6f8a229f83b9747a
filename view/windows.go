package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// The kinds of windows. Those of the first three are kept incrementally: their
// partial rows are per pane, a slice of time that lies whole in each window that it
// touches. The others are computed from the events when they are asked for.
const (
	Tumble   = "tumble"
	Hop      = "hop"
	Session  = "session"
	Slide    = "slide"
	Snapshot = "snapshot"
)

var windowKinds = []string{Tumble, Hop, Session, Slide, Snapshot}

var windowUsage = map[string]string{
	Tumble:   "write tumble(<time column>, INTERVAL '1 hour' [, shift]), or tumble(<time column>, 'day') for days, weeks or months of the calendar",
	Hop:      "write hop(<time column>, INTERVAL '1 hour', INTERVAL '5 minutes' [, shift]): the size, then how often a window begins",
	Session:  "write session(<time column>, INTERVAL '30 minutes' [, the longest])",
	Slide:    "write slide(<time column>, INTERVAL '1 hour')",
	Snapshot: "write snapshot(<time column>)",
}

// mostWindows bounds how many windows of a hop hold one event.
const mostWindows = 10_000

// A century keeps window_end inside the range of TIMESTAMP for every window_start
// that a partial can have.
const longestWindow = 36525 * 24 * time.Hour

// windowArgs reads the call of a window.
func (r *resolver) windowArgs(call node) (*Window, error) {
	q, args, kind := r.q, list(call, "children"), function(call)
	counts := map[string][2]int{Tumble: {2, 3}, Hop: {3, 4}, Session: {2, 3}, Slide: {2, 2}, Snapshot: {1, 1}}[kind]
	if len(args) < counts[0] || len(args) > counts[1] {
		return nil, q.fail(call, windowUsage[kind], "%s does not take %d arguments", kind, len(args))
	}
	if q.schema.TimeColumn < 0 {
		return nil, q.fail(call, "name one with an annotation in the stream's file", "stream %s has no time column", q.schema.Stream)
	}
	ts := q.schema.Columns[q.schema.TimeColumn].Name
	arg, err := r.resolve(args[0].(node), scope{row: true})
	if err != nil {
		return nil, err
	}
	if parts := names(arg); len(parts) != 2 || parts[1] != ts {
		return nil, q.fail(args[0].(node), "write "+kind+"("+ts+", …)", "windows are cut by the stream's time column, %s", ts)
	}
	w := &Window{Kind: kind}
	if err := r.edges(call, w); err != nil {
		return nil, err
	}
	if kind == Tumble {
		if unit, ok := constantText(args[1].(node)); ok && !looksLikeInterval(unit) {
			return w, r.calendar(call, args, unit, w)
		}
	}
	if q.def.Timezone != "" {
		return nil, q.fail(call, "write tumble("+ts+", 'day'), or leave the annotation out", "only windows of the calendar have a time zone")
	}
	lengths := make([]time.Duration, len(args))
	for i, a := range args[1:] {
		if lengths[i+1], err = r.interval(a.(node)); err != nil {
			return nil, err
		}
		if isShift := kind == Tumble && i == 1 || kind == Hop && i == 2; !isShift && (lengths[i+1] <= 0 || lengths[i+1] > longestWindow) {
			return nil, q.fail(a.(node), windowUsage[kind], "this length of a window must be above zero and at most a hundred years")
		}
	}
	shift, every := time.Duration(0), time.Duration(1)
	switch kind {
	case Tumble:
		w.Size, every = lengths[1], lengths[1]
		if len(args) == 3 {
			shift = lengths[2]
		}
	case Hop:
		w.Size, w.Slide, every = lengths[1], lengths[2], lengths[2]
		if w.overlap() > mostWindows {
			return nil, q.fail(call, "let windows begin less often", "an event would be in %d windows, %d are the most", w.overlap(), mostWindows)
		}
		if len(args) == 4 {
			shift = lengths[3]
		}
	case Session:
		w.Size = lengths[1]
		if len(args) == 3 {
			w.Max = lengths[2]
		}
	case Slide:
		w.Size = lengths[1]
	}
	w.Shift = ((shift % every) + every) % every
	return w, nil
}

// edges reads the annotation that says which end of a window belongs to it.
func (r *resolver) edges(call node, w *Window) error {
	switch r.q.def.Bounds {
	case "", "[)":
	case "(]":
		if w.Kind != Tumble && w.Kind != Hop {
			return r.q.fail(call, "leave the annotation out", "the bounds of a %s window are what they are", w.Kind)
		}
		w.EndIncluded = true
	default:
		return r.q.fail(call, "write -- bounds: [) or -- bounds: (]", "%q are no bounds of a window", r.q.def.Bounds)
	}
	return nil
}

func constantText(n node) (string, bool) {
	s, ok := sub(n, "value")["value"].(string)
	return strings.ToLower(strings.TrimSpace(s)), class(n) == "CONSTANT" && ok
}

// looksLikeInterval tells '1 hour' from 'day'.
func looksLikeInterval(text string) bool { return strings.ContainsAny(text, "0123456789") }

var calendarUnits = []string{"day", "week", "month"}

// calendar reads tumble(ts, 'day'): windows that begin at midnights of a time zone.
func (r *resolver) calendar(call node, args []any, unit string, w *Window) error {
	q := r.q
	switch {
	case !slices.Contains(calendarUnits, unit):
		return q.fail(args[1].(node), windowUsage[Tumble], "%q is none of the calendar's windows: %s", unit, strings.Join(calendarUnits, ", "))
	case len(args) > 2:
		return q.fail(args[2].(node), "leave the shift out", "windows of the calendar begin at midnight")
	case w.EndIncluded:
		return q.fail(call, "leave the annotation out", "windows of the calendar begin at midnight, which belongs to them")
	}
	w.Size, w.Unit, w.Zone = unitLengths[unit], unit, q.def.Timezone
	if strings.EqualFold(w.Zone, "UTC") {
		w.Zone = ""
	}
	if w.Zone != "" {
		if _, err := r.conn.Collect(r.ctx, "SELECT timezone("+duckdb.Literal(w.Zone)+", TIMESTAMP '2020-01-01')"); err != nil {
			return q.def.errorAt(-1, "write a name such as Europe/Berlin", engineText(err))
		}
	}
	return nil
}

// overlap is how many windows of a hop hold one instant at most.
func (w *Window) overlap() int64 { return int64((w.Size + w.Slide - 1) / w.Slide) }

// Incremental reports whether the windows are put together from panes.
func (w *Window) Incremental() bool {
	return w.Kind == Tumble || w.Kind == Hop || w.Kind == Session && w.Max == 0
}

// aligned reports whether a row's pane is its window.
func (w *Window) aligned() bool { return w.Kind == Tumble || w.Kind == Snapshot || w.Kind == Slide }

func (w *Window) origin() string {
	origin := "TIMESTAMP '1970-01-01 00:00:00'"
	if w.Shift != 0 {
		origin += " + " + micros(w.Shift)
	}
	return origin
}

// time is the event's time as a TIMESTAMP. Times beyond 290,000 years count into the
// first or last window, so that no event can make a bound of it overflow.
func (b *builder) time() string {
	c := b.q.schema.Columns[b.q.schema.TimeColumn]
	ts, typ := relEvents+"."+duckdb.Ident(c.Name), c.Type.String()
	first, last := typ+" '290000-01-01 (BC)'", typ+" '290000-01-01'"
	ts = "CASE WHEN " + ts + " < " + first + " THEN " + first + " WHEN " + ts + " > " + last + " THEN " + last + " ELSE " + ts + " END"
	if c.Kind == event.Date {
		ts = "CAST(" + ts + " AS TIMESTAMP)"
	}
	return ts
}

// pane is the pane of a time. The origin is explicit: DuckDB's default is 2000-01-03.
func (w *Window) pane(ts string) string {
	if w.EndIncluded {
		ts += " - to_microseconds(1)"
	}
	switch {
	case w.Unit != "":
		return w.midnight("date_trunc('" + w.Unit + "', " + w.local(ts) + ")")
	case w.Kind == Hop:
		return "time_bucket(" + micros(gcd(w.Size, w.Slide)) + ", " + ts + ", " + w.origin() + ")"
	case w.Kind == Snapshot:
		return ts
	}
	return "time_bucket(" + micros(w.Size) + ", " + ts + ", " + w.origin() + ")"
}

func gcd(a, b time.Duration) time.Duration {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// local is a time as clocks in the zone show it, and midnight the time, in UTC, at
// which they show local first: where they are put back at midnight they do twice, and
// the engine would take the second.
func (w *Window) local(utc string) string {
	if w.Zone == "" {
		return utc
	}
	return "timezone(" + duckdb.Literal(w.Zone) + ", timezone('UTC', " + utc + "))"
}

func (w *Window) midnight(local string) string {
	if w.Zone == "" {
		return local
	}
	zone := duckdb.Literal(w.Zone)
	last := "timezone('UTC', timezone(" + zone + ", " + local + "))"
	first := last + " - INTERVAL 1 HOUR"
	return "CASE WHEN " + w.local("("+first+")") + " = " + local + " THEN " + first + " ELSE " + last + " END"
}

// end is the end of the window that begins at start. A session's is known from its
// last event.
func (b *builder) end(start, last string) string {
	w := b.q.window
	switch {
	case w.Unit != "":
		// Where a day has no midnight, it begins later than its date.
		return w.midnight("(date_trunc('" + w.Unit + "', " + w.local(start) + ") + " + w.step() + ")")
	case w.Kind == Session && w.Max > 0:
		return "least(" + last + " + " + micros(w.Size) + ", " + start + " + " + micros(w.Max) + ")"
	case w.Kind == Session:
		return last + " + " + micros(w.Size)
	case w.Kind == Snapshot:
		return start
	}
	return start + " + " + micros(w.Size)
}

// over is "PARTITION BY … " of the columns.
func over(columns []string) string {
	if len(columns) == 0 {
		return ""
	}
	return "PARTITION BY " + strings.Join(columns, ", ") + " "
}

// reshape makes merged partial rows, of panes, → rows of windows: a pane's rows, once
// for each window that they are in, with its beginning instead of the pane. The zero
// template leaves them as they are.
func (b *builder) reshape() template {
	w := b.q.window
	if w == nil || w.aligned() {
		return template{}
	}
	if w.Kind == Hop {
		if w.Slide == w.Size {
			return template{}
		}
		start := fmt.Sprintf("time_bucket(%s, pane, %s) - to_microseconds(_h.range * %d)", micros(w.Slide), w.origin(), w.Slide.Microseconds())
		return template{"SELECT * EXCLUDE (range) REPLACE (" + start + " AS pane) FROM ",
			fmt.Sprintf(" AS _w CROSS JOIN range(%d) AS _h WHERE %s + %s > pane", w.overlap(), start, micros(w.Size))}
	}
	// A pane is as long as the gap: its events are of one session, and its first and
	// last event say whether it goes on from the pane before.
	first, last := slotName(b.first), slotName(b.last)
	keys := b.keyColumns()
	before := "max(" + last + ") OVER (" + over(keys) + "ORDER BY pane GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
	begins := "min(" + first + ") OVER (" + over(append(slices.Clone(keys), "pane")) + ")"
	return template{
		"SELECT * EXCLUDE (_before, _begins, _start) REPLACE (_start AS pane) FROM (SELECT *, max(CASE WHEN _before IS NULL OR epoch_us(_begins) - epoch_us(_before) >= " +
			fmt.Sprint(w.Size.Microseconds()) + " THEN _begins END) OVER (" + over(keys) + "ORDER BY pane) AS _start FROM (SELECT *, " + before + " AS _before, " + begins + " AS _begins FROM ",
		" AS _w) AS _s) AS _t",
	}
}

func (b *builder) keyColumns() []string {
	var out []string
	for i := range b.q.keys {
		out = append(out, b.keyName(i))
	}
	return out
}

const (
	plainPane = "tailwater_pane"
	plainTime = "tailwater_time" // of the event
)

func plainKey(i int) string { return fmt.Sprintf("tailwater_key_%d", i) }

// plainWindows makes the events that the view counts, which have plainKey and
// plainTime, → the same, once for each window that they are in, with plainPane.
func (b *builder) plainWindows() template {
	w, size := b.q.window, b.q.window.Size.Microseconds()
	var keys []string
	for i := range b.q.keys {
		keys = append(keys, plainKey(i))
	}
	us := "epoch_us(" + plainTime + ")"
	// A number for each combination of keys: equality with NULL joins nothing.
	group := "dense_rank() OVER (ORDER BY " + strings.Join(append(slices.Clone(keys), "1"), ", ") + ") AS _group"
	fresh := "coalesce(" + us + " - lag(" + us + ") OVER (" + over(keys) + "ORDER BY " + plainTime + ") >= " + fmt.Sprint(size) + ", true) AS _fresh"
	session := "max(CASE WHEN _fresh THEN " + plainTime + " END) OVER (" + over(keys) + "ORDER BY " + plainTime + ")"
	switch {
	case w.Kind == Hop:
		ts := plainTime
		if w.EndIncluded {
			ts = "(" + plainTime + " - to_microseconds(1))"
		}
		start := fmt.Sprintf("time_bucket(%s, %s, %s) - to_microseconds(_h.range * %d)", micros(w.Slide), ts, w.origin(), w.Slide.Microseconds())
		return template{"SELECT _i.*, " + start + " AS " + plainPane + " FROM ",
			fmt.Sprintf(" AS _i CROSS JOIN range(%d) AS _h WHERE %s + %s > %s", w.overlap(), start, micros(w.Size), ts)}
	case w.Kind == Session && w.Max == 0:
		return template{"SELECT *, " + session + " AS " + plainPane + " FROM (SELECT *, " + fresh + " FROM ", " AS _i) AS _j"}
	case w.Kind == Session:
		// Each session without a longest is cut, one cut after the other: the next
		// begins with the first event at or behind start + max. Not by a recursive
		// CTE: DuckDB 1.5.5 gives wrong rows where one is in a correlated subquery.
		next := "lambda _starts, _next: CASE WHEN _next[1] >= _starts[-1] + " + micros(w.Max) + " THEN list_concat(_starts, _next) ELSE _starts END"
		return template{
			"WITH _all AS MATERIALIZED (SELECT *, " + session + " AS _session, " + group + " FROM (SELECT *, " + fresh + " FROM ",
			" AS _i) AS _j), _cuts AS (SELECT _group, _session, list_reduce(list(DISTINCT [" + plainTime + "] ORDER BY [" + plainTime + "]), " + next + ") AS _starts FROM _all GROUP BY _group, _session)" +
				" SELECT a.*, list_filter(c._starts, lambda _start: _start <= a." + plainTime + ")[-1] AS " + plainPane + " FROM _all AS a JOIN _cuts AS c ON a._group = c._group AND a._session = c._session",
		}
	case w.Kind == Slide:
		// An event is in the windows that end in [its time, its time + size). Both
		// sides are cut into slices as long as the window, so that they meet in two.
		slice := func(at string) string { return fmt.Sprintf("time_bucket(to_microseconds(%d), %s)", size, at) }
		return template{
			"WITH _all AS MATERIALIZED (SELECT *, " + group + " FROM ",
			" AS _i), _ends AS (SELECT DISTINCT _group, _end, " + slice("_end") + " AS _slice FROM (SELECT _group, " + plainTime + " AS _end FROM _all UNION ALL SELECT _group, " + plainTime + " + " + micros(w.Size) + " FROM _all) AS _u)," +
				" _both AS (SELECT *, " + slice(plainTime) + " AS _slice FROM _all UNION ALL SELECT *, " + slice(plainTime) + " + " + micros(w.Size) + " FROM _all)" +
				" SELECT a.*, e._end - " + micros(w.Size) + " AS " + plainPane + " FROM _both AS a JOIN _ends AS e ON a._group = e._group AND a._slice = e._slice AND a." + plainTime + " <= e._end AND a." + plainTime + " > e._end - " + micros(w.Size),
		}
	}
	return template{"SELECT *, " + w.pane(plainTime) + " AS " + plainPane + " FROM ", " AS _i"}
}

// bound is a bound of the window that begins at start; last is the time of its last
// event.
func (b *builder) bound(n node, start, last string) string {
	if names(n)[0] == refStart {
		return start
	}
	return b.end(start, last)
}

// compose makes the rows of inner, as a FROM item, those of outer.
func compose(outer, inner template) template {
	switch {
	case outer == (template{}):
		return inner
	case inner == (template{}):
		return outer
	}
	return template{outer.before + "(FROM (" + inner.before, inner.after + ") AS _c)" + outer.after}
}
