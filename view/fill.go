package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
)

// Fill says what stands in the windows for which there are no events. They are
// added for each combination of keys that the answer has, from Filter.From to
// Filter.To, or, without them, between the answer's first and last window.
type Fill string

// The ways to fill.
const (
	FillNull     Fill = "null"
	FillZero     Fill = "0"        // 0 where the column is a number, else NULL
	FillPrevious Fill = "previous" // the last value before it
	FillLinear   Fill = "linear"   // on the line between the values around it; numbers only
)

// Fills lists them.
var Fills = []Fill{FillNull, FillZero, FillPrevious, FillLinear}

// fillRowsMax bounds the rows of a filled answer. They are made whatever the limit
// is: a million are some 100 MB of the engine's.
const fillRowsMax = 1_000_000

// FillTooLarge begins the engine's message about an answer that would be longer.
const FillTooLarge = "fill: more than 1000000 rows"

const refPresent = "tailwater_present"

// filled gives the plan and its merged rows with those of the missing windows in
// between. merged is a FROM item.
func (p *Plan) filled(merged string, f Filter) (*Plan, string, error) {
	why := p.filters().stmts.regroup.obstacle
	switch {
	case p.Window == nil && p.base != nil && p.base.Window != nil:
		why = "the answer is grouped by no window: add window_start to by"
	case p.Window == nil:
		why = "it has no window"
	}
	switch {
	case why != "":
		return nil, "", fmt.Errorf("windows of view %s cannot be filled: %s", p.Name, why)
	case !slices.Contains(Fills, f.Fill):
		return nil, "", fmt.Errorf("fill %q is none of %v", f.Fill, Fills)
	case f.Top != nil:
		return nil, "", fmt.Errorf("fill and top cannot be had together: what fills a gap is no candidate for the top")
	}
	q := *p
	groups := p.groups()
	s := p.stmts.regroup.finish
	if p.base == nil {
		s.from = template{" FROM (SELECT *, pane + " + p.Window.step() + " AS " + refEndColumn + " FROM ", " AS _w) AS " + relMerged}
	}
	s.items = slices.Clone(s.items)
	over := "(" + partition(groups[1:]) + "ORDER BY " + relMerged + ".pane ROWS BETWEEN "
	for i, n := range p.stmts.regroup.items {
		if n.aggregates {
			s.items[i] = "CASE WHEN " + relMerged + "." + refPresent + " THEN " + s.items[i] + " ELSE " + filler(f.Fill, s.items[i], p.Output[i].Type, over) + " END"
		}
	}
	q.stmts.finish = s
	return &q, p.grid(merged, f), nil
}

func partition(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = relMerged + "." + k
	}
	return "PARTITION BY " + strings.Join(all, ", ") + " "
}

// filler is what stands for item in a window without rows.
func filler(f Fill, item string, t event.Type, over string) string {
	known := "CASE WHEN " + relMerged + "." + refPresent + " THEN " + item + " END"
	before := "last_value(%s IGNORE NULLS) OVER " + over + "UNBOUNDED PRECEDING AND CURRENT ROW)"
	behind := "first_value(%s IGNORE NULLS) OVER " + over + "CURRENT ROW AND UNBOUNDED FOLLOWING)"
	switch {
	case f == FillPrevious:
		return fmt.Sprintf(before, known)
	case f == FillZero && isNumber(t):
		return "CAST(0 AS " + t.String() + ")"
	case f == FillLinear && isNumber(t):
		at := "epoch_us(" + relMerged + ".pane)"
		knownAt := "CASE WHEN (" + known + ") IS NOT NULL THEN " + at + " END"
		x0, x1 := "CAST("+fmt.Sprintf(before, known)+" AS DOUBLE)", "CAST("+fmt.Sprintf(behind, known)+" AS DOUBLE)"
		t0, t1 := fmt.Sprintf(before, knownAt), fmt.Sprintf(behind, knownAt)
		return fmt.Sprintf("TRY_CAST(%s + (%s - %s) * ((%s - %s) / (%s - %s)) AS %s)", x0, x1, x0, at, t0, t1, t0, t)
	}
	return "CAST(NULL AS " + t.String() + ")"
}

// grid gives the merged rows and, for every combination of their keys, rows of NULLs
// for the windows that it lacks.
func (p *Plan) grid(merged string, f Filter) string {
	w, groups := p.Window, p.groups()
	keys := strings.Join(groups[1:], ", ")
	first, last := "(SELECT min(pane) FROM _have)", "(SELECT max(pane) FROM _have)"
	if f.From != nil {
		from := fmt.Sprintf("make_timestamp(%d)", f.From.UnixMicro())
		// A coarser window that begins before from has rows, and is not left out.
		first = "least(" + w.bucket(from+" - to_microseconds(1)") + " + " + w.step() + ", " + first + ")"
	}
	if f.To != nil {
		last = "greatest(" + w.bucket(fmt.Sprintf("make_timestamp(%d)", f.To.UnixMicro()-1)) + ", " + last + ")"
	}
	combinations, cross := "1", ""
	same := []string{"_grid.pane = _have.pane"}
	columns := "_grid.pane"
	if keys != "" {
		combinations = "(SELECT count(*) FROM (SELECT DISTINCT " + keys + " FROM _have))"
		cross = " CROSS JOIN (SELECT DISTINCT " + keys + " FROM _have) AS _keys"
	}
	for _, k := range groups[1:] {
		same = append(same, "_grid."+k+" IS NOT DISTINCT FROM _have."+k)
		columns += ", _grid." + k
	}
	for _, c := range p.merged()[len(groups):] {
		columns += ", _have." + c.Name
	}
	// The shortest window of a unit counts, which errs on the side of too many.
	length := w.Size
	if w.Unit != "" {
		length = unitLengths[w.Unit]
	}
	count := fmt.Sprintf("((epoch_us(_span.last) - epoch_us(_span.first)) // %d + 1) * %s", length.Microseconds(), combinations)
	list := fmt.Sprintf("CASE WHEN %s > %d THEN error('%s') ELSE generate_series(_span.first, _span.last, %s) END", count, fillRowsMax, FillTooLarge, w.step())
	panes := "(SELECT unnest(" + list + ") AS pane FROM (SELECT " + first + " AS first, " + last + " AS last) AS _span)"
	// A row whose time is not known lies in no gap, and is kept.
	return "(WITH _have AS MATERIALIZED (FROM " + merged + "), _grid AS (SELECT * FROM " + panes + " AS _panes" + cross + ")" +
		" SELECT " + columns + ", _have.pane IS NOT NULL AS " + refPresent + " FROM _grid LEFT JOIN _have ON " + strings.Join(same, " AND ") +
		" UNION ALL SELECT *, true FROM _have WHERE pane IS NULL) AS _g"
}

// unitLengths are the lengths of the shortest windows of the calendar's units.
var unitLengths = map[string]time.Duration{
	"day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 28 * 24 * time.Hour,
	"quarter": 90 * 24 * time.Hour, "year": 365 * 24 * time.Hour,
}
