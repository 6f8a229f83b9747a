package view

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// fails reports whether some event can make some row expression fail.
func (b *builder) fails() bool {
	return b.where != nil && !b.where.safe || slices.ContainsFunc(b.rows, func(r rowExpr) bool { return !r.safe })
}

// attempt is the one expression that is NULL exactly for events that the view
// does not count: those outside WHERE, and those on which WHERE, a key or an
// aggregate's argument or filter fails. Its value is a struct of all row
// expressions. The struct is what tells a failure from an honest NULL.
func (b *builder) attempt() string { return "TRY(" + b.rowValues() + ")" }

// rowValues is NULL outside WHERE, and fails where attempt is NULL otherwise.
func (b *builder) rowValues() string {
	fields := []string{"'ok': true"}
	for i, r := range b.rows {
		fields = append(fields, fmt.Sprintf("'f%d': %s", i, r.sql))
	}
	value := "{" + strings.Join(fields, ", ") + "}"
	if b.where != nil && !b.where.safe {
		value = "CASE WHEN " + b.where.sql + " THEN " + value + " END"
	}
	return value
}

func (b *builder) field(sql string) string {
	i := slices.IndexFunc(b.rows, func(r rowExpr) bool { return r.sql == sql })
	return fmt.Sprintf("struct_extract(%s._v, 'f%d')", relRows, i)
}

// partialSQL makes events → partial rows, and gives its parts if views may share it. When nothing can fail it is one plain
// GROUP BY over the columns needed.
func (b *builder) partialSQL() (template, parts) {
	row, pane := func(s string) string { return s }, ""
	if b.q.window != nil {
		pane = b.q.window.pane(b.time())
	}
	from := template{" FROM ", " AS " + relEvents}
	safeWhere := ""
	if b.where != nil && b.where.safe {
		safeWhere = " WHERE " + b.where.sql
	}
	from.after += safeWhere
	if b.fails() {
		inner := "SELECT "
		if pane != "" {
			inner += pane + " AS _pane, "
			pane = relRows + "._pane"
		}
		from.before = " FROM (" + inner + b.attempt() + " AS _v FROM "
		from.after += ") AS " + relRows + " WHERE " + relRows + "._v IS NOT NULL"
		row = b.field
	}
	p := parts{names: b.groupColumns(), from: from}
	if pane != "" {
		p.group = append(p.group, pane)
	}
	for _, k := range b.keys {
		p.group = append(p.group, row(k))
	}
	if len(b.sides) > 0 {
		return b.sidesSQL(p, row), parts{}
	}
	for i, s := range b.slots {
		p.slots, p.names = append(p.slots, s.partial(row)), append(p.names, slotName(i))
	}
	return p.template(), p
}

// groupColumns are the columns that identify a partial row.
func (b *builder) groupColumns() []string {
	var out []string
	if b.q.window != nil {
		out = append(out, "pane")
	}
	for i := range b.keys {
		out = append(out, keyName(i))
	}
	return out
}

// mergeOver makes partial rows → partial rows with these slots, one per group.
func mergeOver(slots []slot, group []string) template {
	columns := slices.Clone(group)
	over := "()"
	if len(group) > 0 {
		over = "(PARTITION BY " + strings.Join(group, ", ") + ")"
	}
	var references, means []string // for moments, see below
	for i, s := range slots {
		name := slotName(i)
		var merge string
		switch s.op {
		case "count":
			merge = "CAST(coalesce(sum(" + name + "), 0) AS BIGINT)"
		case "count_if": // DuckDB's is a sum: NULL over no rows
			merge = "sum(" + name + ")"
		case "mean":
			// The group's mean is taken relative to one of the rows' means:
			// equal means stay what they are, to the last bit.
			references = append(references, fmt.Sprintf("min(%s) OVER %s AS r%d", name, over, i))
			means = append(means, fmt.Sprintf("r%d + sum(%s * (%s - r%d)) OVER %s / sum(%s) OVER %s AS g%d",
				i, slotName(s.n), name, i, over, slotName(s.n), over, i))
			merge = fmt.Sprintf("min(g%d)", i)
		case "m2":
			// ΣM2 + Σn(mean_i − mean)², Chan, Golub and LeVeque 1979.
			mean := meanOf(slots, s.n, s.arg)
			merge = fmt.Sprintf("sum(%s + %s * ((%s - g%d) * (%s - g%d)))", name, slotName(s.n), slotName(mean), mean, slotName(mean), mean)
		case "cxy":
			y, x := meanOf(slots, s.n, s.arg), meanOf(slots, s.n, s.by)
			merge = fmt.Sprintf("sum(%s + %s * ((%s - g%d) * (%s - g%d)))", name, slotName(s.n), slotName(y), y, slotName(x), x)
		case "first", "last", "at_min", "at_max":
			at := slotName(i)
			if s.at >= 0 {
				at = slotName(s.at)
			}
			merge = s.pick(name, slotName(s.order), at) + filterOf(at+" IS NOT NULL")
		case "list":
			merge = s.firstOf("string_split(string_agg(" + name + ", " + listMark + "), " + listMark + ")")
		default:
			merge = s.op + "(" + name + ")"
		}
		columns = append(columns, merge+" AS "+name)
	}
	t := template{"SELECT " + strings.Join(columns, ", ") + " FROM ", " AS _p"}
	if len(means) > 0 {
		t.before += "(SELECT *, " + strings.Join(means, ", ") + " FROM (SELECT *, " + strings.Join(references, ", ") + " FROM "
		t.after += ") AS _q) AS _s"
	}
	if len(group) > 0 {
		t.after += " GROUP BY " + strings.Join(group, ", ")
	}
	return t
}

// meanOf finds the mean of a value among the moments with that count.
func meanOf(slots []slot, n int, arg string) int {
	return slices.IndexFunc(slots, func(o slot) bool { return o.op == "mean" && o.n == n && o.arg == arg })
}

// errorsSQL makes events → rows that the view leaves out as failing.
func (b *builder) errorsSQL() template {
	if !b.fails() {
		return template{}
	}
	reason := "CASE"
	parts := slices.Clone(b.rows)
	if b.where != nil {
		parts = append([]rowExpr{*b.where}, parts...)
	}
	for _, r := range parts {
		if !r.safe {
			reason += " WHEN TRY({'v': " + r.sql + "}) IS NULL THEN " + duckdb.Literal(strings.ReplaceAll(r.what, relEvents+".", "")+" fails")
		}
	}
	reason += " END"
	where := "TRY({'v': " + b.rowValues() + "}) IS NULL"
	if b.where != nil && b.where.safe {
		where = "(" + b.where.sql + ") AND " + where
	}
	return template{"SELECT _epoch, _partition, _seq, _idx, " + reason + " AS reason FROM ", " AS " + relEvents + " WHERE " + where}
}

// plain makes the view's own SQL over events. The window and the keys are
// columns of an inner SELECT, which also keeps the row conditions below every
// other expression; grouping by expressions would trip over DuckDB 1.5.5, which
// fails to bind TRY over a grouped expression.
func (b *builder) plain() (selection, error) {
	var conditions, group []string
	inner := "SELECT *"
	for i, k := range b.keys {
		name := plainKey(i)
		if len(b.q.joins) > 0 {
			name = plainKept(i)
		}
		inner += ", " + k + " AS " + name
	}
	for i := range b.q.keys {
		group = append(group, relEvents+"."+plainKey(i))
	}
	if b.where != nil && b.where.safe {
		conditions = append(conditions, b.where.sql)
	}
	if b.fails() {
		conditions = append(conditions, b.attempt()+" IS NOT NULL")
	}
	if b.q.window != nil {
		inner += ", " + b.time() + " AS " + plainTime
		group = append(group, relEvents+"."+plainPane)
	}
	counted := template{inner + " FROM ", " AS " + relEvents}
	if len(conditions) > 0 {
		counted.after += " WHERE " + strings.Join(conditions, " AND ")
	}
	if len(b.q.joins) > 0 {
		joined, err := b.plainJoin()
		if err != nil {
			return selection{}, err
		}
		counted = compose(joined, counted)
	}
	if b.q.window != nil {
		counted = compose(b.plainWindows(), counted)
	}
	counted = compose(b.leasts(group), counted)
	s := selection{from: template{" FROM (" + counted.before, counted.after + ") AS " + relEvents}}
	if len(group) > 0 {
		s.from.after += " GROUP BY " + strings.Join(group, ", ")
	}
	err := b.selectInto(&s, " HAVING ", func(n node) (node, error) {
		if i := b.q.key(n); i >= 0 {
			return column(json.Number("0"), relEvents, plainKey(i)), nil
		}
		if c := b.calls[canonical(n)]; c != nil {
			return b.parse(c.plain())
		}
		if isBound(n) {
			return b.parse(b.bound(n, relEvents+"."+plainPane, "max("+relEvents+"."+plainTime+")"))
		}
		return nil, nil
	})
	return s, err
}

// finished makes merged partial rows → answer.
func (b *builder) finished() (selection, error) {
	s := selection{from: template{" FROM ", " AS " + relMerged}}
	err := b.selectInto(&s, " WHERE ", b.fromMerged(func(n node) (node, error) {
		return b.parse(b.bound(n, relMerged+".pane", merged(b.last)))
	}))
	return s, err
}

// fromMerged takes the leaves of finish from merged rows, and the window's bounds
// from bound.
func (b *builder) fromMerged(bound func(node) (node, error)) func(node) (node, error) {
	return func(n node) (node, error) {
		if i := b.q.key(n); i >= 0 {
			return column(json.Number("0"), relMerged, b.keyName(i)), nil
		}
		if isBound(n) {
			return bound(n)
		}
		return b.values[canonical(n)], nil
	}
}

// selectInto prints items, conditions and order with the leaves replaced.
func (b *builder) selectInto(s *selection, having string, leaf func(node) (node, error)) error {
	var replace func(node) (node, error)
	replace = func(n node) (node, error) {
		if to, err := leaf(n); to != nil || err != nil {
			return named(to, n), err
		}
		return rewrite(n, replace)
	}
	show := func(n node) (string, error) {
		made, err := replace(n)
		if err != nil {
			return "", err
		}
		return b.print(made)
	}
	for _, it := range b.q.items {
		sql, err := show(it.expr)
		if err != nil {
			return err
		}
		s.items, s.names = append(s.items, sql), append(s.names, it.name)
	}
	for _, c := range []struct {
		word string
		expr node
	}{{having, b.q.having}, {" QUALIFY ", b.q.qualify}} {
		if c.expr == nil {
			continue
		}
		sql, err := show(c.expr)
		if err != nil {
			return err
		}
		s.tail += c.word + sql
	}
	for _, o := range b.q.order {
		sql, err := show(o.expr)
		if err != nil {
			return err
		}
		s.order = append(s.order, sorted{sql: sql, suffix: o.direction + o.nulls})
	}
	for _, l := range []struct {
		word string
		expr node
	}{{" LIMIT ", b.q.limit}, {" OFFSET ", b.q.offset}} {
		if l.expr != nil {
			i, _ := position(l.expr)
			s.limit += fmt.Sprint(l.word, i)
		}
	}
	return nil
}

// byRow are the window functions whose value depends on the order of peers.
var byRow = map[string]bool{
	"WINDOW_ROW_NUMBER": true, "WINDOW_NTILE": true, "WINDOW_LEAD": true, "WINDOW_LAG": true,
	"WINDOW_FIRST_VALUE": true, "WINDOW_LAST_VALUE": true, "WINDOW_NTH_VALUE": true,
}

// breakTies makes LIMIT and window functions that depend on the order of equal
// rows deterministic, by the window and the keys, which no two rows share.
func (b *builder) breakTies() {
	q := b.q
	var total []node
	if q.window != nil {
		total = append(total, column(json.Number("0"), refStart))
	}
	total = append(total, q.keys...)
	if q.limit != nil || q.offset != nil {
		for _, n := range total {
			q.order = append(q.order, ordering{expr: n})
		}
	}
	var fix func(node) (node, error)
	fix = func(n node) (node, error) {
		out, err := rewrite(n, fix)
		if err != nil || class(n) != "WINDOW" {
			return out, err
		}
		if byRow[text(n, "type")] || strings.HasSuffix(text(n, "start"), "ROWS") || strings.HasSuffix(text(n, "end"), "ROWS") {
			orders := slices.Clone(list(out, "orders"))
			for _, t := range total {
				orders = append(orders, node{"type": "ORDER_DEFAULT", "null_order": "ORDER_DEFAULT", "expression": t})
			}
			out["orders"] = orders
		}
		return out, nil
	}
	apply := func(n node) node {
		if n == nil {
			return nil
		}
		out, _ := fix(n) // fix has no error of its own
		return out
	}
	for i := range q.items {
		q.items[i].expr = apply(q.items[i].expr)
	}
	q.qualify = apply(q.qualify)
	for i := range q.order {
		q.order[i].expr = apply(q.order[i].expr)
	}
}
