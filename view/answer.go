package view

import (
	"fmt"
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
type Split struct{ Base, Loose string }

// SplitSQL is AnswerSQL over partial rows of which most are merged already: only
// those of the base that some loose row belongs to are merged again.
func (p *Plan) SplitSQL(s Split, f Filter) (string, error) {
	return p.answer(s, f, false)
}

func (p *Plan) answer(split Split, f Filter, keyed bool) (string, error) {
	conditions, err := p.conditions(f)
	if err != nil {
		return "", err
	}
	order, err := p.orderBy(f)
	if err != nil {
		return "", err
	}
	if f.Limit < 0 || f.Offset < 0 {
		return "", fmt.Errorf("view %s: limit %d, offset %d: want none below zero", p.Name, f.Limit, f.Offset)
	}
	outside, inside := "", ""
	if len(conditions) > 0 {
		if p.stmts.pushable {
			inside = " WHERE " + strings.Join(conditions, " AND ")
		} else {
			outside = " WHERE " + strings.Join(conditions, " AND ")
		}
	}
	merged := "(" + p.mergedSQL(split, inside) + ") AS _g"
	if outside == "" && len(f.Order) == 0 && f.Limit == 0 && f.Offset == 0 && !keyed {
		return p.FinishSQL(merged), nil
	}
	return p.outer(merged, outside, order, f, keyed), nil
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
		s = Split{narrow(s.Base), narrow(s.Loose)}
	}
	groups := p.groups()
	switch {
	case s.Base == "":
		return p.MergeSQL(s.Loose)
	case len(groups) == 0 && s.Loose == "": // no rows are one row, of no events
		return p.MergeSQL(s.Base)
	case len(groups) == 0:
		return p.MergeSQL("(SELECT * FROM " + s.Base + " UNION ALL SELECT * FROM " + s.Loose + ") AS _u")
	case s.Loose == "":
		return "SELECT * FROM " + s.Base
	}
	same := make([]string, len(groups))
	for i, c := range groups {
		same[i] = "_b." + c + " IS NOT DISTINCT FROM _l." + c
	}
	base := func(join string) string {
		return "SELECT _b.* FROM (FROM " + s.Base + ") AS _b " + join + " JOIN _loose AS _l ON " + strings.Join(same, " AND ")
	}
	return "WITH _loose AS MATERIALIZED (SELECT * FROM " + s.Loose + ") " + base("ANTI") +
		" UNION ALL " + p.MergeSQL("("+base("SEMI")+" UNION ALL SELECT * FROM _loose) AS _u")
}

// outer wraps finish in a SELECT that sees the pane, the keys and the view's
// own order as hidden columns, and shows the pane and the keys if keyed. Its
// order is total: the caller's, then the view's, then by window and keys.
func (p *Plan) outer(merged, where string, order []string, f Filter, keyed bool) string {
	s := p.stmts.finish
	var hidden, outputs []string
	hide := func(expr, name, suffix string) {
		hidden = append(hidden, expr+" AS "+duckdb.Ident(name))
		order = append(order, "_a."+duckdb.Ident(name)+suffix)
	}
	for i, o := range s.order {
		hide(o.sql, fmt.Sprintf("tailwater_order_%d", i), o.suffix)
	}
	for i, c := range p.groups() {
		hide(relMerged+"."+c, hiddenName(i), "")
	}
	for _, c := range p.Output {
		outputs = append(outputs, "_a."+duckdb.Ident(c.Name))
	}
	for i := range p.groups() {
		if keyed {
			outputs = append(outputs, "_a."+duckdb.Ident(hiddenName(i)))
		}
	}
	sql := "SELECT " + strings.Join(outputs, ", ") + " FROM (" + s.with(merged, hidden) + ") AS _a" + where
	if len(order) > 0 {
		sql += " ORDER BY " + strings.Join(order, ", ")
	}
	if f.Limit > 0 {
		sql += fmt.Sprint(" LIMIT ", f.Limit)
	}
	if f.Offset > 0 {
		sql += fmt.Sprint(" OFFSET ", f.Offset)
	}
	return sql
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

// conditions writes the filter over partial rows, or over the hidden columns.
func (p *Plan) conditions(f Filter) ([]string, error) {
	at := func(column string) string {
		if p.stmts.pushable {
			return "_f." + column
		}
		for i, c := range p.groups() {
			if c == column {
				return "_a." + duckdb.Ident(hiddenName(i))
			}
		}
		return column
	}
	var out []string
	for _, b := range []struct {
		t  *time.Time
		op string
	}{{f.From, " >= "}, {f.To, " < "}} {
		if b.t == nil {
			continue
		}
		if p.Window == nil {
			return nil, fmt.Errorf("view %s has no window: leave from and to out", p.Name)
		}
		out = append(out, at("pane")+b.op+fmt.Sprintf("make_timestamp(%d)", b.t.UnixMicro()))
	}
	for _, w := range f.Where {
		column, typ := "", event.Type{}
		for _, k := range p.Keys {
			if strings.EqualFold(k.Name, w.Key) {
				column, typ = k.Column, k.Type
			}
		}
		if column == "" && p.Window != nil && strings.EqualFold(w.Key, "window_start") {
			column, typ = "pane", event.Type{Kind: event.Timestamp}
		}
		switch {
		case column == "":
			return nil, fmt.Errorf("view %s has no key %q: %s", p.Name, w.Key, p.keyHint())
		case w.Null:
			out = append(out, at(column)+" IS NULL")
		default:
			out = append(out, at(column)+" = CAST("+duckdb.Literal(w.Value)+" AS "+typ.String()+")")
		}
	}
	return out, nil
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

func (p *Plan) orderBy(f Filter) ([]string, error) {
	var out []string
	for _, o := range f.Order {
		name, direction := o, ""
		if rest, ok := strings.CutPrefix(name, "-"); ok {
			name, direction = rest, " DESC"
		} else if i := strings.LastIndex(name, " "); i > 0 {
			switch strings.ToLower(name[i+1:]) {
			case "desc":
				name, direction = name[:i], " DESC"
			case "asc":
				name = name[:i]
			}
		}
		found := ""
		var all []string
		for _, c := range p.Output {
			all = append(all, c.Name)
			if strings.EqualFold(c.Name, strings.TrimSpace(name)) {
				found = c.Name
			}
		}
		if found == "" {
			return nil, fmt.Errorf("view %s has no column %q to order by: its columns are %s", p.Name, name, strings.Join(all, ", "))
		}
		out = append(out, "_a."+duckdb.Ident(found)+direction)
	}
	return out, nil
}
