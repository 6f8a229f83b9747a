package view

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
)

// A view may join reference tables to its stream. Where no aggregate reads their
// columns, the join commutes with merging: partial rows are grouped by what the join
// and the keys need of the stream, and the rows of windows meet the tables in the
// answer. A partial row that meets a table's row n times is n partial rows, as n
// copies of its events would be, so that every merge stays what it is.

// A join is one reference table in FROM.
type join struct {
	table   string // as References calls it
	alias   string
	columns []event.Column
	kind    string // "JOIN", "LEFT JOIN" or "CROSS JOIN"
	using   []string
	written node // its condition, unresolved; nil if there is none
	on      []node
	place   node
}

const leftJoin = "LEFT JOIN"

// afterMerge is the value of the annotation that wants the join in the answer.
const afterMerge = "after merge"

// refPrefix begins the names of the tables' columns among those of an event.
const refPrefix = "tailwater_ref_"

func refColumn(i int, column string) string { return fmt.Sprintf("%s%d_%s", refPrefix, i, column) }

func refAlias(i int) string { return fmt.Sprintf("_ref%d", i) }

var refMark = regexp.MustCompile(refPrefix + `\d+_`)

// isRef reports whether n is a column of a reference table.
func isRef(n node) bool {
	parts := names(n)
	return len(parts) == 2 && strings.HasPrefix(parts[1], refPrefix)
}

// isStream reports whether n is a column of the stream.
func isStream(n node) bool { return len(names(n)) == 2 && !isRef(n) }

// resolveJoins reads a FROM of a stream and reference tables. found is whether it is
// one.
func (q *query) resolveJoins(from node, schemas map[string]*event.Schema) (found bool, err error) {
	left, right := sub(from, "left"), sub(from, "right")
	if text(left, "type") != "JOIN" && q.reference(left) != "" && q.reference(right) == "" && text(from, "join_type") == "INNER" {
		left, right = right, left
	}
	name := q.reference(right)
	if name == "" {
		return false, nil
	}
	if text(left, "type") == "JOIN" {
		if found, err = q.resolveJoins(left, schemas); !found || err != nil {
			return found, err
		}
	} else if err := q.resolveStream(left, schemas); err != nil {
		return true, err
	}
	j := &join{table: name, alias: text(right, "alias"), columns: q.def.References[name], written: sub(from, "condition"), place: from}
	if j.alias == "" {
		j.alias = text(right, "table_name")
	}
	for _, u := range list(from, "using_columns") {
		j.using = append(j.using, u.(string))
	}
	kind := text(from, "ref_type") + " " + text(from, "join_type")
	j.kind = map[string]string{"REGULAR INNER": "JOIN", "REGULAR LEFT": leftJoin, "CROSS INNER": "CROSS JOIN"}[kind]
	if j.kind == "" {
		q.notAfterMerge(from, "write JOIN or LEFT JOIN … ON", "a %s join of a reference table is computed from the events", strings.ToLower(strings.Replace(kind, "REGULAR ", "", 1)))
		return true, q.unkept
	}
	if strings.EqualFold(j.alias, q.alias) || strings.EqualFold(j.alias, q.schema.Stream) || slices.ContainsFunc(q.joins, func(o *join) bool { return strings.EqualFold(o.alias, j.alias) }) {
		return true, q.fail(right, "give one of them another name with AS", "two tables of the view are called %s", j.alias)
	}
	q.joins = append(q.joins, j)
	return true, nil
}

// reference gives the name of the reference table that a FROM item is; "" if it is
// something else.
func (q *query) reference(from node) string {
	if text(from, "type") != "BASE_TABLE" || text(from, "schema_name") != "" || text(from, "catalog_name") != "" ||
		from["sample"] != nil || len(list(from, "column_name_alias")) > 0 {
		return ""
	}
	for name := range q.def.References {
		if strings.EqualFold(name, text(from, "table_name")) {
			return name
		}
	}
	return ""
}

// notAfterMerge notes why the view's join is not made after the merge.
func (q *query) notAfterMerge(n node, hint, format string, args ...any) {
	if q.unkept == nil {
		q.unkept = q.fail(n, hint, format, args...)
	}
}

// joinConditions resolves what the tables are joined by.
func (r *resolver) joinConditions() error {
	q := r.q
	all := q.joins
	defer func() { q.joins = all }()
	for i, j := range all {
		q.joins = all[:i+1]
		for _, name := range j.using {
			q.joins = all[:i]
			left, err := r.name(column(j.place["query_location"], name), scope{row: true, before: 0})
			if err != nil {
				return err
			}
			q.joins = all[:i+1]
			right, err := r.name(column(j.place["query_location"], j.alias, name), scope{row: true, before: 0})
			if err != nil {
				return err
			}
			j.on = append(j.on, node{"class": "COMPARISON", "type": "COMPARE_EQUAL", "alias": "", "query_location": j.place["query_location"], "left": left, "right": right})
		}
		if j.written == nil {
			continue
		}
		on, err := r.resolve(j.written, scope{row: true, noWindows: true, before: 0})
		if err != nil {
			return err
		}
		j.on = append(j.on, conjuncts(on)...)
	}
	return nil
}

// joinedColumn resolves a name of a table's column: of table, or of any if that is
// empty. It is nil if there is none.
func (q *query) joinedColumn(n node, table, name string) (node, error) {
	var found node
	for i, j := range q.joins {
		if table != "" && !strings.EqualFold(table, j.alias) {
			continue
		}
		for _, c := range j.columns {
			merged := table == "" && slices.ContainsFunc(j.using, func(u string) bool { return strings.EqualFold(u, name) })
			switch {
			case !strings.EqualFold(c.Name, name) || merged:
			case found != nil || table == "" && q.column(name) != "":
				return nil, q.fail(n, "write the table's name before it", "%s is a column of more than one table", name)
			default:
				found = column(n["query_location"], relEvents, refColumn(i, c.Name))
			}
		}
		if table != "" && found == nil {
			var all []string
			for _, c := range j.columns {
				all = append(all, c.Name)
			}
			return nil, q.fail(n, oneOf("it has", all), "reference table %s has no column %s", j.table, name)
		}
	}
	return found, nil
}

// conjuncts parts a condition at its ANDs.
func conjuncts(n node) []node {
	if n == nil {
		return nil
	}
	if class(n) != "CONJUNCTION" || text(n, "type") != "CONJUNCTION_AND" {
		return []node{n}
	}
	var out []node
	for _, c := range list(n, "children") {
		out = append(out, conjuncts(c.(node))...)
	}
	return out
}

func allOf(conditions []node) node {
	switch len(conditions) {
	case 0:
		return nil
	case 1:
		return conditions[0]
	}
	children := make([]any, len(conditions))
	for i, c := range conditions {
		children[i] = c
	}
	return node{"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "alias": "", "query_location": json.Number("0"), "children": children}
}

// streamParts are the largest expressions at or below n that read the stream alone.
func streamParts(n node) []node {
	var out []node
	walk(n, func(m node) bool {
		if !contains(m, isRef) {
			if contains(m, isStream) {
				out = append(out, m)
			}
			return false
		}
		return true
	})
	return out
}

// placeJoins parts what is of events from what waits for the reference tables, and
// decides whether the join can be made after the merge: unkept is why it is not.
func (q *query) placeJoins() {
	q.kept = slices.Clone(q.keys)
	if len(q.joins) == 0 {
		return
	}
	q.kept = nil
	keep := func(n node) {
		if !slices.ContainsFunc(q.kept, func(k node) bool { return canonical(k) == canonical(n) }) {
			q.kept = append(q.kept, n)
		}
	}
	for _, k := range q.keys {
		for _, part := range streamParts(k) {
			keep(part)
		}
	}
	ofKeys := slices.Clone(q.kept)
	// What is computed of keys makes no more groups, and a condition three at most.
	few := func(n node) bool {
		other := false
		walk(n, func(m node) bool {
			key := slices.ContainsFunc(ofKeys, func(k node) bool { return canonical(k) == canonical(m) })
			other = other || !key && isStream(m)
			return !key
		})
		return !other || isCondition(n)
	}
	conditions := conjuncts(q.where)
	for _, j := range q.joins {
		if j.kind == leftJoin {
			continue // its condition decides what is NULL, not which events count
		}
		var on []node
		for _, c := range j.on {
			if contains(c, isRef) {
				on = append(on, c)
			} else {
				conditions = append(conditions, c)
			}
		}
		j.on = on
	}
	var ofEvents []node
	for _, c := range conditions {
		if contains(c, isRef) {
			q.late = append(q.late, c)
		} else {
			ofEvents = append(ofEvents, c)
		}
	}
	q.where = allOf(ofEvents)
	tied := make([]bool, len(q.joins))
	place := func(c node, of int) {
		equal := q.ties(c, of, tied)
		for _, part := range streamParts(c) {
			if !equal && !few(part) {
				q.notAfterMerge(part, "group by it, or put the condition into a query over the view",
					"this condition compares a reference table with what is no key of the view")
			}
			keep(part)
		}
	}
	for i, j := range q.joins {
		for _, c := range j.on {
			place(c, i)
		}
	}
	for _, c := range q.late {
		place(c, -1)
	}
	for i, j := range q.joins {
		if !tied[i] {
			q.notAfterMerge(j.place, "join it ON a column of the stream = a column of the table", "reference table %s is joined by no equality", j.table)
		}
	}
	for _, n := range q.finishing() {
		walk(n, func(m node) bool {
			if q.key(m) >= 0 {
				return false
			}
			if aggregate(m) {
				if contains(m, isRef) {
					q.notAfterMerge(m, "make the column a key of the view, and compute with it outside of the aggregate", "an aggregate over columns of a reference table is computed from the events")
				}
				return false
			}
			return true
		})
	}
}

// isCondition reports whether n is true, false or NULL, by its form.
func isCondition(n node) bool {
	switch class(n) {
	case "COMPARISON", "BETWEEN", "CONJUNCTION":
		return true
	case "OPERATOR":
		return slices.Contains([]string{"OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_NOT", "COMPARE_IN", "COMPARE_NOT_IN"}, text(n, "type"))
	}
	return slices.Contains([]string{"~~", "!~~", "contains", "starts_with", "prefix", "suffix", "ends_with"}, function(n))
}

// ties reports whether a condition is an equality of a table's column with the stream
// or with another table, and notes of which table. of is the table whose condition it
// is; -1 for WHERE.
func (q *query) ties(c node, of int, tied []bool) bool {
	if class(c) != "COMPARISON" || text(c, "type") != "COMPARE_EQUAL" && text(c, "type") != "COMPARE_NOT_DISTINCT_FROM" {
		return false
	}
	sides := [2]node{sub(c, "left"), sub(c, "right")}
	equal := false
	for s, side := range sides {
		other := sides[1-s]
		if !contains(side, isRef) || contains(side, isStream) {
			continue
		}
		for i := range q.joins {
			ofTable := func(n node) bool { return isRef(n) && strings.HasPrefix(names(n)[1], refColumn(i, "")) }
			// What a LEFT JOIN compares leaves no row of other tables out.
			binds := of == i || q.joins[i].kind != leftJoin && (of < 0 || q.joins[of].kind != leftJoin)
			if binds && contains(side, ofTable) && !contains(other, ofTable) && contains(other, func(n node) bool { return names(n) != nil }) {
				tied[i], equal = true, true
			}
		}
		equal = equal || !contains(other, isRef)
	}
	return equal
}
