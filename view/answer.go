package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// AnswerSQL gives the statement partial rows → answer, narrowed by f. The
// condition on windows and keys goes down to the partial rows where that
// cannot change the answer, which is everywhere but below LIMIT, QUALIFY and
// window functions. An unknown key or column is an error that names those
// there are.
func (p *Plan) AnswerSQL(partials string, f Filter) (string, error) {
	return p.answer(Split{Loose: partials}, f, false)
}

// A Split is partial rows in two FROM items. Base has one row for each window and
// keys; Loose may have any number. An empty one has no rows.
type Split struct {
	Base, Loose string
	// Panes are the windows that loose rows are of, in µs since 1970 and sorted, if
	// they are few and known: the base's rows of other windows need not be merged.
	Panes []int64
}

// SplitSQL is AnswerSQL over partial rows of which most are merged already: only
// those of the base whose windows loose rows have are merged again. No loose row may
// be without a window if Panes are given.
func (p *Plan) SplitSQL(s Split, f Filter) (string, error) {
	return p.answer(s, f, false)
}

func (p *Plan) answer(split Split, f Filter, keyed bool) (string, error) {
	windows, keys, err := p.filters().conditions(f)
	if err != nil {
		return "", err
	}
	view := p
	if f.By != nil {
		if p, err = p.grouped(f.By); err != nil {
			return "", err
		}
	}
	order, err := p.orderBy(f.Order)
	if err != nil {
		return "", err
	}
	if f.Limit < 0 || f.Offset < 0 {
		return "", fmt.Errorf("view %s: limit %d, offset %d: want none below zero", p.Name, f.Limit, f.Offset)
	}
	outside, merged := "", split.Loose
	switch {
	case p.Direct || !p.stmts.pushable:
		outside = conjunction(append(windows, keys...))
		if !p.Direct {
			merged = "(" + p.windowsSQL(split, "", "", "") + ") AS _g"
		}
	default:
		inside, joined, behind := append(windows, keys...), []string(nil), []string(nil)
		if view.stmts.panes { // the windows' beginnings are known behind reshape
			inside, behind = append(slices.Clone(keys), view.panes(f)...), windows
		}
		if view.AfterMerge() { // and the keys behind the join
			inside, joined = slices.DeleteFunc(inside, func(c string) bool { return slices.Contains(keys, c) }), keys
		}
		merged = "(" + p.windowsSQL(split, conjunction(inside), conjunction(joined), conjunction(behind)) + ") AS _g"
	}
	if f.Fill != "" {
		if p, merged, err = p.filled(merged, f); err != nil {
			return "", err
		}
	}
	if outside == "" && len(f.Order) == 0 && f.Limit == 0 && f.Offset == 0 && f.Top == nil && !f.Paged && !keyed {
		return p.FinishSQL(merged), nil
	}
	return p.outer(merged, outside, order, f, keyed)
}

func conjunction(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// windowsSQL makes partial rows → one row for each window and keys. inside narrows the
// partial rows, joined those that met reference tables, and behind the rows of windows.
func (p *Plan) windowsSQL(s Split, inside, joined, behind string) string {
	sql := p.joinedSQL(p.mergedSQL(s, inside), joined)
	if p.stmts.reshape != (template{}) {
		sql = p.stmts.reshape.over("(" + sql + ") AS _m")
	}
	if behind != "" {
		sql = "SELECT * FROM (" + sql + ") AS _f" + behind
	}
	if p.stmts.fold != (template{}) {
		sql = p.stmts.fold.over("(" + sql + ") AS _m")
	}
	return sql
}

// panes gives conditions for the panes of the windows that the filter's times leave.
func (p *Plan) panes(f Filter) []string {
	var out []string
	if p.Window.Kind != Hop {
		return nil // where a session begins, earlier panes say
	}
	if f.From != nil {
		out = append(out, fmt.Sprintf("_f.pane >= make_timestamp(%d)", f.From.UnixMicro()))
	}
	if f.To != nil {
		out = append(out, fmt.Sprintf("_f.pane < make_timestamp(%d)", f.To.Add(p.Window.Size).UnixMicro()))
	}
	return out
}

// mergedSQL makes the rows of both parts into one for each window and keys, of those
// for which the condition holds.
func (p *Plan) mergedSQL(s Split, where string) string {
	if where != "" {
		narrow := func(from string) string {
			if from == "" {
				return ""
			}
			return "(SELECT * FROM (FROM " + from + ") AS _f" + where + ") AS _n"
		}
		s.Base, s.Loose = narrow(s.Base), narrow(s.Loose)
	}
	groups := p.groups()
	switch {
	case s.Base == "":
		return p.MergeSQL(s.Loose)
	// The base has one row for each of the view's groups, not of fewer; and no rows
	// are one row of a view without groups, of no events.
	case s.Loose == "" && (p.base != nil || len(groups) == 0):
		return p.MergeSQL(s.Base)
	case s.Loose == "":
		return "SELECT * FROM " + s.Base
	case p.base != nil || p.Window == nil || len(s.Panes) == 0:
		return p.MergeSQL("(SELECT * FROM " + s.Base + " UNION ALL SELECT * FROM " + s.Loose + ") AS _u")
	}
	touched := "(" + strings.Join(spans(s.Panes), " OR ") + ")"
	return "SELECT * FROM (FROM " + s.Base + ") AS _b WHERE NOT " + touched + " OR pane IS NULL" +
		" UNION ALL " + p.MergeSQL("(SELECT * FROM (FROM "+s.Base+") AS _b WHERE "+touched+" UNION ALL SELECT * FROM "+s.Loose+") AS _u")
}

// maxSpans is how many ranges of panes are told apart: the engine tests a few
// comparisons as it reads, and joins with a longer list.
const maxSpans = 4

// spans gives conditions that hold for all of the panes, which are sorted, and for as
// few others as maxSpans ranges allow: they are parted at the widest gaps.
func spans(panes []int64) []string {
	cuts := make([]int, 0, len(panes)) // a range begins at each
	for i := 1; i < len(panes); i++ {
		cuts = append(cuts, i)
	}
	slices.SortStableFunc(cuts, func(a, b int) int {
		return cmp.Compare(panes[b]-panes[b-1], panes[a]-panes[a-1])
	})
	cuts = cuts[:min(len(cuts), maxSpans-1)]
	slices.Sort(cuts)
	var out []string
	from := 0
	for _, to := range append(cuts, len(panes)) {
		out = append(out, fmt.Sprintf("pane BETWEEN make_timestamp(%d) AND make_timestamp(%d)", panes[from], panes[to-1]))
		from = to
	}
	return out
}

// outer wraps finish in a SELECT that sees the pane, the keys and the view's
// own order as hidden columns, and shows the pane and the keys if keyed. Its
// order is total: the caller's, then the view's, then by window and keys.
func (p *Plan) outer(merged, where string, order []term, f Filter, keyed bool) (string, error) {
	s := p.stmts.finish
	var hidden, outputs, groups []string
	for i := range p.groups() {
		groups = append(groups, answerColumn(hiddenName(i)))
	}
	qualify, topOrder, err := p.top(f, groups)
	if err != nil {
		return "", err
	}
	order = append(order, topOrder...)
	for i, o := range s.order {
		name := fmt.Sprintf("tailwater_order_%d", i)
		hidden = append(hidden, o.sql+" AS "+duckdb.Ident(name))
		order = append(order, termOf(sorted{answerColumn(name), o.suffix, o.typ}))
	}
	for i, c := range p.groups() {
		hidden = append(hidden, p.group(c)+" AS "+duckdb.Ident(hiddenName(i)))
		order = append(order, term{sql: groups[i], typ: p.Groups()[i].Type.String()})
	}
	for _, c := range p.Output {
		outputs = append(outputs, answerColumn(c.Name))
	}
	if keyed {
		outputs = append(outputs, groups...)
	}
	from := "(" + s.with(merged, hidden) + ") AS _a" + where
	if qualify != "" {
		from = "(SELECT * FROM " + from + qualify + ") AS _a"
		where = ""
	}
	if f.Cursor != nil {
		condition, err := behind(order, f.Cursor)
		if err != nil {
			return "", err
		}
		from += []string{" WHERE ", " AND "}[min(len(where), 1)] + condition
	}
	by := ""
	for i, o := range order {
		by += []string{" ORDER BY ", ", "}[min(i, 1)] + o.String()
		if f.Paged {
			outputs = append(outputs, fmt.Sprintf("CAST(%s AS VARCHAR) AS tailwater_cursor_%d", o.sql, i))
		}
	}
	sql := from + by
	if f.Limit > 0 {
		sql += fmt.Sprint(" LIMIT ", f.Limit)
	}
	if f.Offset > 0 {
		sql += fmt.Sprint(" OFFSET ", f.Offset)
	}
	if f.Paged { // only the page's rows are written as texts
		sql = "(SELECT * FROM " + sql + ") AS _a" + by
	}
	return "SELECT " + strings.Join(outputs, ", ") + " FROM " + sql, nil
}

// group is a column of groups where finish takes it from.
func (p *Plan) group(column string) string {
	switch {
	case !p.Direct:
		return relMerged + "." + column
	case column == "pane":
		return relEvents + "." + plainPane
	}
	return relEvents + "." + plainKey(slices.IndexFunc(p.Keys, func(k Key) bool { return k.Column == column }))
}

func hiddenName(i int) string { return fmt.Sprintf("tailwater_group_%d", i) }

// groups are the columns that identify a merged row.
func (p *Plan) groups() []string {
	var out []string
	if p.Window != nil {
		out = append(out, "pane")
	}
	for _, k := range p.Keys {
		out = append(out, k.Column)
	}
	return out
}

// conditions writes the filter over partial rows, or over the hidden columns: what it
// says of windows, and of keys.
func (p *Plan) conditions(f Filter) (windows, keys []string, err error) {
	at := func(column string) string {
		if p.stmts.pushable && !p.Direct {
			return "_f." + column
		}
		for i, c := range p.groups() {
			if c == column {
				return "_a." + duckdb.Ident(hiddenName(i))
			}
		}
		return column
	}
	add := func(key, op string, values ...string) error {
		column, typ, err := p.key(key)
		if err != nil {
			return err
		}
		for i, v := range values {
			values[i] = cast(v, typ)
		}
		condition := at(column) + " " + op
		switch {
		case op == "IN":
			condition += " (" + strings.Join(values, ", ") + ")"
		case len(values) > 0:
			condition += " " + values[0]
		}
		if column == "pane" {
			windows = append(windows, condition)
		} else {
			keys = append(keys, condition)
		}
		return nil
	}
	for _, b := range []struct {
		t  *time.Time
		op string
	}{{f.From, " >= "}, {f.To, " < "}} {
		if b.t == nil {
			continue
		}
		if p.Window == nil {
			return nil, nil, fmt.Errorf("view %s has no window: leave from and to out", p.Name)
		}
		windows = append(windows, at("pane")+b.op+fmt.Sprintf("make_timestamp(%d)", b.t.UnixMicro()))
	}
	for _, w := range f.Where {
		if w.Null {
			err = add(w.Key, "IS NULL")
		} else {
			err = add(w.Key, "=", w.Value)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	for _, w := range f.Among {
		if err := add(w.Key, "IN", slices.Clone(w.Values)...); err != nil {
			return nil, nil, err
		}
	}
	for _, w := range f.Bounds {
		if w.Op == NotNull {
			err = add(w.Key, NotNull)
		} else {
			err = add(w.Key, w.Op, w.Value)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return windows, keys, nil
}

func cast(value string, t event.Type) string {
	return "CAST(" + duckdb.Literal(value) + " AS " + t.String() + ")"
}

// key gives the column of the partial rows that a filter calls by that name.
func (p *Plan) key(name string) (column string, typ event.Type, err error) {
	for _, k := range p.Keys {
		if strings.EqualFold(k.Name, name) {
			return k.Column, k.Type, nil
		}
	}
	if p.Window != nil && strings.EqualFold(name, windowGroup) {
		return "pane", event.Type{Kind: event.Timestamp}, nil
	}
	return "", typ, fmt.Errorf("view %s has no key %q: %s", p.Name, name, p.keyHint())
}

func (p *Plan) keyHint() string {
	var all []string
	if p.Window != nil {
		all = append(all, "window_start")
	}
	for _, k := range p.Keys {
		all = append(all, k.Name)
	}
	if len(all) == 0 {
		return "it has none"
	}
	return "its keys are " + strings.Join(all, ", ")
}

func (p *Plan) orderBy(columns []string) ([]term, error) {
	var out []term
	for _, o := range columns {
		name, descending := o, false
		if rest, ok := strings.CutPrefix(name, "-"); ok {
			name, descending = rest, true
		} else if i := strings.LastIndex(name, " "); i > 0 {
			switch strings.ToLower(name[i+1:]) {
			case "desc":
				name, descending = name[:i], true
			case "asc":
				name = name[:i]
			}
		}
		var found *event.Column
		var all []string
		for i, c := range p.Output {
			all = append(all, c.Name)
			if strings.EqualFold(c.Name, strings.TrimSpace(name)) {
				found = &p.Output[i]
			}
		}
		if found == nil {
			return nil, fmt.Errorf("view %s has no column %q to order by: its columns are %s", p.Name, name, strings.Join(all, ", "))
		}
		out = append(out, term{sql: answerColumn(found.Name), descending: descending, typ: found.Type.String()})
	}
	return out, nil
}
