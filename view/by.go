package view

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// A Group is one thing by which an answer is grouped up: a key, or the window,
// perhaps made coarser. Partial rows are merged by fewer columns and then
// finished, so that averages, variances and extremes are those of the view's SQL
// with fewer GROUP BY keys; the finished columns could not be aggregated again.
type Group struct {
	Name string // of a key, or "window_start"
	// Size is the length of the coarser window, a multiple of the view's; Unit is
	// instead one of the calendar's: "day", "week" (from Monday), "month",
	// "quarter" or "year". Without both the view's own windows stay.
	Size time.Duration
	Unit string
}

// windowGroup is the name under which the window is grouped by.
const windowGroup = "window_start"

// units are those of the calendar, in UTC.
var units = []string{"day", "week", "month", "quarter", "year"}

// ParseGroup reads "country", "window_start", "window_start:6h" or
// "window_start:month".
func ParseGroup(text string) (Group, error) {
	name, size, coarser := strings.Cut(text, ":")
	g := Group{Name: strings.TrimSpace(name)}
	if !coarser {
		return g, nil
	}
	if !strings.EqualFold(g.Name, windowGroup) {
		return g, fmt.Errorf("only %s takes a size, as in %s:1h, and %q is none", windowGroup, windowGroup, g.Name)
	}
	size = strings.ToLower(strings.TrimSpace(size))
	if slices.Contains(units, size) {
		g.Unit = size
		return g, nil
	}
	d, err := time.ParseDuration(size)
	if days, isDays := strings.CutSuffix(size, "d"); isDays && err != nil {
		var n int64
		if n, err = strconv.ParseInt(days, 10, 32); err == nil {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || d <= 0 || d > 36525*24*time.Hour {
		return g, fmt.Errorf("%q is no size of a window: write 15m, 6h, 7d or one of %s", size, strings.Join(units, ", "))
	}
	g.Size = d
	return g, nil
}

// A regrouping is what a plan needs to be grouped up.
type regrouping struct {
	merge  func(group []string) template
	finish selection // over merged rows that have a column for the window's end
	items  []need    // of finish
	order  []need
	// obstacle is why rows of fewer groups cannot be had, or windows without rows be
	// filled; "" if nothing stands in the way.
	obstacle string
}

// A need says which columns of the merged rows an expression is computed from.
type need struct {
	columns    []string // pane, k0, k1, …
	aggregates bool
}

// refEndColumn is the end of the window in the merged rows of a regrouping.
const refEndColumn = "tailwater_window_end"

// regrouped learns what each column of finish needs.
func (b *builder) regrouped() (regrouping, error) {
	q, slots := b.q, slices.Clone(b.slots)
	r := regrouping{merge: func(group []string) template { return mergeOver(slots, group) }}
	switch {
	case q.having != nil:
		r.obstacle = "its HAVING is about its own groups"
	case q.qualify != nil:
		r.obstacle = "its QUALIFY is about its own groups"
	case q.limit != nil || q.offset != nil:
		r.obstacle = "its LIMIT is about its own groups"
	case len(b.sides) > 0:
		r.obstacle = "it has aggregates of all values, such as distinct ones or quantiles, which are kept for its own groups"
	case q.window != nil && (q.window.Kind != Tumble || q.window.Unit != ""):
		r.obstacle = "only tumbling windows of a fixed length add up to longer ones"
	case slices.ContainsFunc(q.finishing(), func(n node) bool { return contains(n, func(m node) bool { return class(m) == "WINDOW" }) }):
		r.obstacle = "its window functions are about its own groups"
	}
	for _, it := range q.items {
		r.items = append(r.items, b.needs(it.expr))
	}
	for _, o := range q.order {
		r.order = append(r.order, b.needs(o.expr))
	}
	r.finish = selection{from: template{" FROM ", " AS " + relMerged}}
	return r, b.selectInto(&r.finish, " WHERE ", b.fromMerged(func(n node) (node, error) {
		if names(n)[0] == refStart {
			return column(json.Number("0"), relMerged, "pane"), nil
		}
		return column(json.Number("0"), relMerged, refEndColumn), nil
	}))
}

func (b *builder) needs(n node) (out need) {
	walk(n, func(m node) bool {
		switch i := b.q.key(m); {
		case i >= 0:
			out.columns = append(out.columns, b.keyName(i))
			return false
		case isBound(m):
			out.columns = append(out.columns, "pane")
		case aggregate(m):
			out.aggregates = true
			return false
		}
		return true
	})
	return out
}

// grouped gives the plan whose answer has the groups. It takes the same partial
// rows as p.
func (p *Plan) grouped(by []Group) (*Plan, error) {
	if why := p.stmts.regroup.obstacle; why != "" {
		return nil, fmt.Errorf("view %s cannot be grouped up: %s; leave by out, or ask with SQL over stream %s", p.Name, why, p.Stream)
	}
	q := *p
	q.base, q.Window, q.Keys = p, nil, nil
	coarse := ""
	var group []string
	for _, g := range by {
		if strings.EqualFold(g.Name, windowGroup) && p.Window != nil {
			if slices.Contains(group, "pane") {
				return nil, fmt.Errorf("%s is given twice", windowGroup)
			}
			window, pane, err := p.coarser(g)
			if err != nil {
				return nil, err
			}
			q.Window, coarse = window, pane
			group = slices.Insert(group, 0, "pane")
			continue
		}
		i := slices.IndexFunc(p.Keys, func(k Key) bool { return strings.EqualFold(k.Name, g.Name) })
		if i < 0 {
			return nil, fmt.Errorf("view %s cannot be grouped by %q: %s", p.Name, g.Name, p.keyHint())
		}
		if slices.Contains(group, p.Keys[i].Column) {
			return nil, fmt.Errorf("%s is given twice", p.Keys[i].Name)
		}
		group = append(group, p.Keys[i].Column)
		q.Keys = append(q.Keys, p.Keys[i])
	}
	merge := p.stmts.regroup.merge(group)
	if coarse != "" && coarse != "pane" {
		merge.before += "(SELECT * REPLACE (" + coarse + " AS pane) FROM "
		merge.after = " AS _c)" + merge.after
	}
	columns := slices.DeleteFunc(slices.Clone(p.merged()), func(c event.Column) bool {
		return !strings.HasPrefix(c.Name, "s") && !slices.Contains(group, c.Name)
	})
	if p.AfterMerge() {
		q.stmts.reshape, q.finishes = merge, columns
	} else {
		q.stmts.merge, q.Partial = merge, columns
	}
	q.keep(group)
	return &q, nil
}

// coarser gives the window of a group, and its start as SQL over a row's pane.
func (p *Plan) coarser(g Group) (*Window, string, error) {
	w := *p.Window
	switch {
	case g.Unit != "":
		if day := 24 * time.Hour; day%w.Size != 0 || w.Shift != 0 {
			return nil, "", fmt.Errorf("windows of %s do not lie within days of the calendar, as by=%s:%s needs", shown(w), windowGroup, g.Unit)
		}
		w.Unit = g.Unit
		return &w, "date_trunc('" + g.Unit + "', pane)", nil
	case g.Size == 0 || g.Size == w.Size:
		return &w, "pane", nil
	case g.Size%w.Size != 0:
		return nil, "", fmt.Errorf("windows of %s do not lie within windows of %s: by=%s takes a multiple of the view's", shown(w), g.Size, windowGroup)
	}
	w.Size = g.Size
	return &w, w.bucket("pane"), nil
}

func shown(w Window) string {
	if w.Shift != 0 {
		return fmt.Sprintf("%s, shifted by %s,", w.Size, w.Shift)
	}
	return w.Size.String()
}

// bucket is the start of the window around a time, as SQL. A window of a calendar's
// unit begins with the unit.
func (w *Window) bucket(at string) string {
	if w.Unit != "" {
		return "date_trunc('" + w.Unit + "', " + at + ")"
	}
	return "time_bucket(" + micros(w.Size) + ", " + at + ", TIMESTAMP '1970-01-01 00:00:00' + " + micros(w.Shift) + ")"
}

// step is the length of a window, as SQL.
func (w *Window) step() string {
	switch w.Unit {
	case "":
		return micros(w.Size)
	case "quarter":
		return "INTERVAL 3 MONTHS"
	}
	return "INTERVAL 1 " + strings.ToUpper(w.Unit)
}

// keep leaves the columns that can be computed from the groups, and adds those
// groups that no column shows.
func (p *Plan) keep(group []string) {
	base, all := p.base, p.base.stmts.regroup
	s := selection{from: all.finish.from}
	p.Output, p.Roles, p.stmts.regroup.items, p.stmts.regroup.order = nil, nil, nil, nil
	stays := func(n need) bool {
		return !slices.ContainsFunc(n.columns, func(c string) bool { return !slices.Contains(group, c) })
	}
	add := func(sql string, c event.Column, role Role, n need) {
		s.items, s.names = append(s.items, sql), append(s.names, c.Name)
		p.Output, p.Roles, p.stmts.regroup.items = append(p.Output, c), append(p.Roles, role), append(p.stmts.regroup.items, n)
	}
	shows := func(column string, role Role) bool {
		for i, n := range all.items {
			if base.Roles[i] == role && slices.Equal(n.columns, []string{column}) {
				return true
			}
		}
		return false
	}
	if p.Window != nil {
		s.from = template{" FROM (SELECT *, pane + " + p.Window.step() + " AS " + refEndColumn + " FROM ", " AS _w) AS " + relMerged}
		if !shows("pane", RoleWindowStart) {
			add(relMerged+".pane", event.Column{Name: windowGroup, Type: event.Type{Kind: event.Timestamp}}, RoleWindowStart, need{columns: []string{"pane"}})
		}
	}
	windows := 0 // the columns that show the window lead in most views
	for windows < len(all.items) && (base.Roles[windows] == RoleWindowStart || base.Roles[windows] == RoleWindowEnd) {
		windows++
	}
	for i, n := range all.items[:windows] {
		if stays(n) {
			add(all.finish.items[i], base.Output[i], base.Roles[i], n)
		}
	}
	for _, k := range p.Keys {
		if !shows(k.Column, RoleKey) {
			add(relMerged+"."+k.Column, event.Column{Name: k.Name, Type: k.Type}, RoleKey, need{columns: []string{k.Column}})
		}
	}
	for i, n := range all.items {
		if i >= windows && stays(n) {
			add(all.finish.items[i], base.Output[i], base.Roles[i], n)
		}
	}
	for i, n := range all.order {
		if stays(n) {
			s.order = append(s.order, all.finish.order[i])
			p.stmts.regroup.order = append(p.stmts.regroup.order, n)
		}
	}
	p.stmts.finish, p.stmts.regroup.finish = s, s
}

// filters is the plan whose windows and keys a filter names: those of the view.
func (p *Plan) filters() *Plan {
	if p.base != nil {
		return p.base
	}
	return p
}

// term is one member of the order of an answer, in parts.
type term struct {
	sql        string
	descending bool
	nullsFirst bool
	typ        string
}

func termOf(s sorted) term {
	upper := strings.ToUpper(s.suffix)
	return term{s.sql, strings.Contains(upper, "DESC"), strings.Contains(upper, "NULLS FIRST"), s.typ}
}

// String writes it out: the engine's own place of NULL is last, whatever the
// direction.
func (t term) String() string {
	out := t.sql
	if t.descending {
		out += " DESC"
	}
	if t.nullsFirst {
		out += " NULLS FIRST"
	}
	return out
}

// answerColumn is a column of finish where an answer adds to it.
func answerColumn(name string) string { return "_a." + duckdb.Ident(name) }
