package view

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// relJoined is the alias of the rows that reference tables are joined to.
const relJoined = "_w"

// joinedName is the column of a key behind the join of reference tables.
func joinedName(i int) string { return fmt.Sprintf("j%d", i) }

// AfterMerge reports whether the view joins reference tables to merged rows.
func (p *Plan) AfterMerge() bool { return p.stmts.join != (template{}) }

// PartialKeys are the columns of the partial rows by which they are grouped, without
// the pane. Where reference tables are joined after the merge, they are not those of
// Keys.
func (p *Plan) PartialKeys() []string {
	var out []string
	for i := range p.kept {
		out = append(out, keyName(i))
	}
	return out
}

// keyName is the column of a key in merged rows as finish takes them.
func (b *builder) keyName(i int) string {
	if len(b.q.joins) > 0 {
		return joinedName(i)
	}
	return keyName(i)
}

// finishColumns are the columns that identify a merged row of finish.
func (b *builder) finishColumns() []string {
	var out []string
	if b.q.window != nil {
		out = append(out, "pane")
	}
	for i := range b.q.keys {
		out = append(out, b.keyName(i))
	}
	return out
}

// finishKey adds those of side rows.
func (b *builder) finishKey() []string {
	return append(b.finishColumns(), b.partialKey()[len(b.groupColumns()):]...)
}

// late writes an expression over rows that are joined: kept says where the columns of
// the stream stand.
func (b *builder) late(n node, kept func(i int) node) (string, error) {
	var replace func(node) (node, error)
	replace = func(n node) (node, error) {
		if i := slices.IndexFunc(b.q.kept, func(k node) bool { return canonical(k) == canonical(n) }); i >= 0 {
			return named(kept(i), n), nil
		}
		if isRef(n) {
			for i, j := range b.q.joins {
				for _, c := range j.columns {
					if names(n)[1] == refColumn(i, c.Name) {
						return named(column(n["query_location"], refAlias(i), c.Name), n), nil
					}
				}
			}
		}
		return rewrite(n, replace)
	}
	made, err := replace(n)
	if err != nil {
		return "", err
	}
	return b.print(made)
}

// joins writes the tables behind a FROM item with the alias, and WHERE.
func (b *builder) joins(kept func(i int) node) (string, error) {
	sql := ""
	conjunction := func(word string, all []node) error {
		for i, c := range all {
			one, err := b.late(c, kept)
			if err != nil {
				return err
			}
			sql += []string{word, " AND "}[min(i, 1)] + "(" + one + ")"
		}
		return nil
	}
	for i, j := range b.q.joins {
		kind, on := j.kind, j.on
		if len(on) == 0 { // what was of events alone is in their WHERE
			kind = "CROSS JOIN"
		}
		sql += " " + kind + " (FROM " + referenceTable(j.table) + ") AS " + refAlias(i)
		if err := conjunction(" ON ", on); err != nil {
			return "", err
		}
	}
	return sql, conjunction(" WHERE ", b.q.late)
}

// refuseJoins is why the joins are not as the view's author wants them. direct: the view
// is computed from the events.
func (b *builder) refuseJoins(direct bool) error {
	q := b.q
	switch want := q.def.Reference; {
	case want == "" && direct:
		return nil
	case want == "" || want == afterMerge && q.unkept != nil:
		if q.unkept != nil {
			return q.unkept
		}
		return nil
	case want != afterMerge:
		return q.def.errorAt(-1, "write -- reference: "+afterMerge+", or leave the annotation out", fmt.Sprintf("%q is no way to join reference tables", want))
	case len(q.joins) == 0:
		return q.def.errorAt(-1, "leave the annotation out", "the view joins no reference table")
	case direct:
		return q.def.errorAt(-1, "leave the annotation out, or write other windows", "a "+q.window.Kind+" window of this form is computed from the events, and so is its join")
	}
	return nil
}

// join makes merged partial rows → rows of the view's own keys, of which several may
// be equal.
func (b *builder) join() (template, error) {
	if len(b.q.joins) == 0 {
		return template{}, nil
	}
	kept := func(i int) node { return column(json.Number("0"), relJoined, keyName(i)) }
	var columns []string
	if b.q.window != nil {
		columns = append(columns, relJoined+".pane")
	}
	for i, k := range b.q.keys {
		sql, err := b.late(k, kept)
		if err != nil {
			return template{}, err
		}
		columns = append(columns, sql+" AS "+b.keyName(i))
	}
	for _, c := range b.partialKey()[len(b.groupColumns()):] {
		columns = append(columns, relJoined+"."+c)
	}
	for i := range b.slots {
		columns = append(columns, relJoined+"."+slotName(i))
	}
	tables, err := b.joins(kept)
	return template{"SELECT " + strings.Join(columns, ", ") + " FROM ", " AS " + relJoined + tables}, err
}

// plainJoin makes the events that the view counts, which have plainKept, → the same,
// once for each row of the tables that they meet, with plainKey and the tables'
// columns.
func (b *builder) plainJoin() (template, error) {
	kept := func(i int) node { return column(json.Number("0"), relEvents, plainKept(i)) }
	columns := []string{relEvents + ".*"}
	for i, j := range b.q.joins {
		for _, c := range j.columns {
			columns = append(columns, refAlias(i)+"."+duckdb.Ident(c.Name)+" AS "+duckdb.Ident(refColumn(i, c.Name)))
		}
	}
	for i, k := range b.q.keys {
		sql, err := b.late(k, kept)
		if err != nil {
			return template{}, err
		}
		columns = append(columns, sql+" AS "+plainKey(i))
	}
	tables, err := b.joins(kept)
	return template{"SELECT " + strings.Join(columns, ", ") + " FROM ", " AS " + relEvents + tables}, err
}

func plainKept(i int) string { return fmt.Sprintf("tailwater_kept_%d", i) }

// joinedStub is a FROM item with the columns of an event that met the tables, and no
// rows.
func (q *query) joinedStub() string {
	columns := q.schema.Relation()
	for i, j := range q.joins {
		for _, c := range j.columns {
			columns = append(columns, event.Column{Name: refColumn(i, c.Name), Type: c.Type})
		}
	}
	return stub(columns, relEvents)
}

// references are the tables that the query joins, by name.
func (q *query) references() map[string][]event.Column {
	out := map[string][]event.Column{}
	for _, j := range q.joins {
		out[j.table] = j.columns
	}
	return out
}

// referenceTypes lists the tables' columns that the view reads, with their types: a
// part of what its version says.
func (q *query) referenceTypes() string {
	used := map[string]bool{}
	note := func(n node) {
		walk(n, func(m node) bool {
			if isRef(m) {
				used[names(m)[1]] = true
			}
			return true
		})
	}
	for _, n := range slices.Concat(q.keys, q.late) {
		note(n)
	}
	lines := map[string]bool{}
	for i, j := range q.joins {
		for _, n := range j.on {
			note(n)
		}
		for _, c := range j.columns {
			if used[refColumn(i, c.Name)] {
				lines[fmt.Sprintf("reference %q %q %s\n", j.table, c.Name, c.Type)] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(lines)), "")
}

// joinedSQL makes merged partial rows → rows of windows before they are merged by the
// view's own keys; where narrows them.
func (p *Plan) joinedSQL(merged, where string) string {
	if !p.AfterMerge() {
		return merged
	}
	sql := p.stmts.join.over("(" + merged + ") AS _m")
	if where != "" {
		sql = "SELECT * FROM (" + sql + ") AS _f" + where
	}
	return sql
}
