package duckdb

import (
	"maps"
	"slices"
	"strings"
)

// What a statement in which CorrelatedRecursion finds something is refused with.
const (
	CorrelatedRecursionRefused = "WITH RECURSIVE in a subquery that uses columns from outside of it may give wrong rows"
	CorrelatedRecursionHint    = "put WITH RECURSIVE before the statement and join with it; if no column is from outside, write each as table.column"
)

// CorrelatedRecursion finds a recursive CTE that stands in a correlated subquery of a
// tree of Parse, and gives the node of the subquery; nil if there is none. DuckDB
// 1.5.5 gives wrong rows for some of them, or an internal error
// (TestTheEngineIsWrongOnRecursionInCorrelatedSubqueries), and which ones nothing tells
// beforehand. recursive tells tables, by lower-case name, that stand for a SELECT with
// one; it may be nil.
//
// Whether a subquery is correlated the names alone must tell: what cannot be seen to
// be a column of the subquery's own tables counts as one from outside, if there is a
// table outside.
func CorrelatedRecursion(tree any, recursive func(table string) bool) map[string]any {
	f := &recursionFinder{recursive: recursive}
	f.walk(tree, nil)
	return f.found
}

// A recursionFinder walks a statement. outside are the lower-case names of the tables
// whose columns a subquery at that place could use.
type recursionFinder struct {
	recursive func(string) bool
	found     map[string]any
}

func (f *recursionFinder) walk(v any, outside []string) {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			f.walk(e, outside)
		}
		return
	}
	n, ok := v.(map[string]any)
	if !ok || f.found != nil {
		return
	}
	inside := outside
	switch member(n, "type") {
	case "SELECT_NODE":
		f.walk(n["from_table"], outside)
		inside = append(slices.Clone(outside), tablesOf(n["from_table"])...)
	case "JOIN": // a subquery on the right may use columns of the left: LATERAL need not be written
		f.walk(n["left"], outside)
		f.walk(n["right"], append(slices.Clone(outside), tablesOf(n["left"])...))
		inside = append(slices.Clone(outside), tablesOf(n)...)
	case "SUBQUERY":
		if len(outside) > 0 && f.recurs(n["subquery"]) && free(n["subquery"], outside) {
			f.found = n
			return
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n)) {
		switch {
		case name == "from_table", (name == "left" || name == "right") && member(n, "type") == "JOIN":
		case name == "cte_map": // FROM is not seen in it
			f.walk(n[name], outside)
		default:
			f.walk(n[name], inside)
		}
	}
}

// recurs reports whether a recursive CTE is anywhere in v.
func (f *recursionFinder) recurs(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, f.recurs)
	case map[string]any:
		kind := member(v, "type")
		if kind == "RECURSIVE_CTE_NODE" || kind == "BASE_TABLE" && f.recursive != nil && f.recursive(strings.ToLower(member(v, "table_name"))) {
			return true
		}
		for _, e := range v {
			if f.recurs(e) {
				return true
			}
		}
	}
	return false
}

// tablesOf gives the names of the tables in a FROM clause, in lower case; "" for one
// without a name.
func tablesOf(v any) []string {
	n, _ := v.(map[string]any)
	switch member(n, "type") {
	case "", "EMPTY":
		return nil
	case "JOIN":
		return append(tablesOf(n["left"]), tablesOf(n["right"])...)
	}
	return []string{tableName(n)}
}

func tableName(n map[string]any) string {
	name := member(n, "alias")
	if name == "" {
		name = member(n, "table_name")
	}
	if f, ok := n["function"].(map[string]any); ok && name == "" {
		name = member(f, "function_name")
	}
	return strings.ToLower(name)
}

// free reports whether a query may use a column of the tables outside.
func free(query any, outside []string) bool {
	r := &resolver{outside: outside}
	r.walk(query, nil)
	return r.free
}

type resolver struct {
	outside []string
	free    bool
}

// known is what is seen at a place of a query: the columns of its tables by their
// names, those of CTEs, and names that stand by themselves. All are in lower case.
// Columns that the text doesn't tell are missing.
type known struct {
	outer        *known
	tables, ctes map[string][]string
	names        []string
}

func (k *known) cte(name string) []string {
	for ; k != nil; k = k.outer {
		if columns, ok := k.ctes[name]; ok {
			return columns
		}
	}
	return nil
}

func (r *resolver) walk(v any, in *known) {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			r.walk(e, in)
		}
		return
	}
	n, ok := v.(map[string]any)
	if !ok || r.free {
		return
	}
	kind, class := member(n, "type"), member(n, "class")
	aliases := in
	switch {
	case class == "COLUMN_REF":
		r.free = !in.holds(lower(n["column_names"]), r.outside)
	case class == "STAR" && member(n, "relation_name") != "":
		r.free = slices.Contains(r.outside, strings.ToLower(member(n, "relation_name")))
	case class == "LAMBDA":
		in = &known{outer: in, names: parameters(n["lhs"])}
	case strings.HasSuffix(kind, "_NODE"):
		in = r.enter(n, in)
		aliases = &known{outer: in, names: outputs(n)}
	}
	for _, name := range slices.Sorted(maps.Keys(n)) {
		switch name {
		case "cte_map":
		case "modifiers", "group_expressions", "having", "qualify":
			r.walk(n[name], aliases)
		default:
			r.walk(n[name], in)
		}
	}
}

// enter gives what is seen inside of a query node, and walks its CTEs.
func (r *resolver) enter(n map[string]any, in *known) *known {
	ctes, _ := n["cte_map"].(map[string]any)
	list, _ := ctes["map"].([]any)
	for _, e := range list {
		entry, _ := e.(map[string]any)
		clause, _ := entry["value"].(map[string]any)
		r.walk(clause, in)
		body, _ := clause["query"].(map[string]any)
		in = &known{outer: in, ctes: map[string][]string{strings.ToLower(member(entry, "key")): renamed(clause["aliases"], outputs(body["node"]))}}
	}
	if member(n, "type") == "RECURSIVE_CTE_NODE" {
		in = &known{outer: in, ctes: map[string][]string{strings.ToLower(member(n, "cte_name")): outputs(n)}}
	}
	own := &known{outer: in, tables: map[string][]string{}}
	own.add(n["from_table"])
	return own
}

// add takes up the tables of a FROM clause.
func (k *known) add(v any) {
	n, _ := v.(map[string]any)
	name := tableName(n)
	var columns []string
	switch member(n, "type") {
	case "", "EMPTY":
		return
	case "JOIN":
		k.add(n["left"])
		k.add(n["right"])
		return
	case "BASE_TABLE":
		columns = k.outer.cte(strings.ToLower(member(n, "table_name")))
	case "SUBQUERY":
		body, _ := n["subquery"].(map[string]any)
		columns = outputs(body["node"])
	case "EXPRESSION_LIST":
		columns = lower(n["expected_names"])
	case "TABLE_FUNCTION":
		f, _ := n["function"].(map[string]any)
		columns = []string{strings.ToLower(member(f, "function_name"))}
	}
	k.tables[name] = append(k.tables[name], renamed(n["column_name_alias"], columns)...)
}

// holds reports whether a column is one of the tables that are seen.
func (k *known) holds(parts, outside []string) bool {
	if len(parts) == 0 {
		return false
	}
	if _, function := ColumnFunction(parts[0]); function && len(parts) == 1 {
		return true
	}
	table := parts[0]
	if len(parts) > 2 { // the schema is before it
		table = parts[1]
	}
	hidden := len(parts) > 1 && (slices.Contains(outside, parts[0]) || slices.Contains(outside, table))
	for ; k != nil; k = k.outer {
		if columns, ok := k.tables[table]; ok && (!hidden || slices.Contains(columns, parts[len(parts)-1])) {
			return true
		}
		if hidden {
			continue
		}
		if slices.Contains(k.names, parts[0]) {
			return true
		}
		for _, columns := range k.tables {
			if slices.Contains(columns, parts[0]) {
				return true
			}
		}
	}
	return false
}

// outputs gives the names of a query's columns as far as its text tells them.
func outputs(v any) (names []string) {
	n, _ := v.(map[string]any)
	switch member(n, "type") {
	case "SET_OPERATION_NODE":
		if children, _ := n["children"].([]any); len(children) > 0 {
			return outputs(children[0])
		}
		return outputs(n["left"])
	case "RECURSIVE_CTE_NODE":
		return renamed(n["aliases"], outputs(n["left"]))
	}
	list, _ := n["select_list"].([]any)
	for _, e := range list {
		item, _ := e.(map[string]any)
		name := strings.ToLower(member(item, "alias"))
		if parts := lower(item["column_names"]); name == "" && len(parts) > 0 {
			name = parts[len(parts)-1]
		}
		names = append(names, name)
	}
	return names
}

// renamed gives columns of which the first have other names.
func renamed(aliases any, columns []string) []string {
	names := lower(aliases)
	return append(names, columns[min(len(names), len(columns)):]...)
}

// parameters gives the names of a lambda's parameters.
func parameters(v any) (names []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			names = append(names, parameters(e)...)
		}
	case map[string]any:
		names = append(lower(v["column_names"]), parameters(v["children"])...)
	}
	return names
}

func member(n map[string]any, name string) string {
	s, _ := n[name].(string)
	return s
}

// lower gives a list of names in lower case.
func lower(v any) (out []string) {
	list, _ := v.([]any)
	for _, e := range list {
		s, _ := e.(string)
		out = append(out, strings.ToLower(s))
	}
	return out
}
