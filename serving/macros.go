package serving

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// Macros are functions over time series that the engine doesn't have. The Gate
// writes them out in the statement's tree, before it is checked: the parts that
// the user wrote are checked as if they stood there by themselves, and nothing is
// created in any catalog. docs/sql.md describes each.

// A tableMacro is written in FROM. Its text reads the user's query as tw_source;
// other names that begin with tw_ are its own.
type tableMacro struct {
	usage string
	// positional and named arguments: name → kind. All positional ones must be
	// given unless the name ends with "?".
	positional []string
	named      map[string]argument
	sql        func(a arguments) (string, error)
}

// An argument says what kind of value a macro takes.
type argument int

const (
	column    argument = iota // the name of a column of the query
	columns                   // one or a list of them
	duration                  // an INTERVAL
	instantOf                 // a point in time, any expression without columns
	word                      // a literal text
	words                     // a list of literal texts
	count                     // a literal number from 1
)

var tableMacros = map[string]tableMacro{
	"gap_fill":      gapFill,
	"anomaly_score": anomalyScore,
	"funnel":        funnel,
	"retention":     retention,
}

// arguments are those of one call, by name.
type arguments struct {
	macro string
	text  map[string]string   // columns quoted, words and counts as they are
	lists map[string][]string // of columns, quoted, and of words, as they are
	parts map[string]any      // tw_<name> → expression, of intervals and instants
}

// reservedPrefix begins the names that macros use.
const reservedPrefix = "tw_"

// trustedMark is a member that a macro's own calls have until they are checked:
// they may use what a user may not.
const trustedMark = "tailwater_trusted"

// expandTable turns a call in FROM into the subquery that it stands for, and
// reports whether it is one of a macro.
func (w *walker) expandTable(node map[string]any) (bool, error) {
	call, _ := node["function"].(map[string]any)
	name := strings.ToLower(text(call, "function_name"))
	m, ok := tableMacros[name]
	if !ok || text(call, "schema") != "" || text(call, "catalog") != "" {
		return false, nil
	}
	source, a, err := w.tableArguments(call, name, m)
	if err != nil {
		return false, err
	}
	sql, err := m.sql(a)
	if err != nil {
		return false, w.refuse(call, "bad_argument", m.usage, "%s: %s", name, err)
	}
	a.parts["tw_source"] = source
	statement, err := w.expand(sql, a.parts)
	if err != nil {
		return false, err
	}
	alias := text(node, "alias")
	if alias == "" {
		alias = name
	}
	names := node["column_name_alias"]
	sample := node["sample"]
	clear(node)
	maps.Copy(node, subquery(statement, alias))
	node["column_name_alias"], node["sample"] = names, sample
	return true, nil
}

// expand parses a macro's text, marks its calls, and puts the parts in.
func (w *walker) expand(sql string, parts map[string]any) (map[string]any, error) {
	statement, err := w.gate.parseTemplate(context.Background(), sql) // tenths of a millisecond; nothing to wait for
	if err != nil {
		return nil, err
	}
	return put(trusted(statement), parts).(map[string]any), nil
}

// trusted copies a template's tree with the mark in its calls, and without the
// places in its text, which is not the user's.
func trusted(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = trusted(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			if name != "query_location" {
				out[name] = trusted(e)
			}
		}
		if class := text(v, "class"); class == "FUNCTION" || class == "WINDOW" {
			out[trustedMark] = true
		}
		return out
	}
	return v
}

// tableArguments reads the arguments of a call: the query, then the positional
// ones, then those by name.
func (w *walker) tableArguments(call map[string]any, name string, m tableMacro) (any, arguments, error) {
	a := arguments{macro: name, text: map[string]string{}, lists: map[string][]string{}, parts: map[string]any{}}
	bad := func(format string, args ...any) (any, arguments, error) {
		return nil, a, w.refuse(call, "bad_argument", m.usage, "%s: %s", name, fmt.Sprintf(format, args...))
	}
	args, _ := call["children"].([]any)
	if len(args) == 0 || !empty(call["filter"]) || call["distinct"] == true {
		return bad("a query is expected")
	}
	source, ok := macroSource(args[0])
	if !ok {
		return bad("the first argument must be a query in brackets, or a table")
	}
	positional := m.positional
	for _, arg := range args[1:] {
		node, _ := arg.(map[string]any)
		key := strings.ToLower(text(node, "alias"))
		if key == "" {
			if len(positional) == 0 {
				return bad("it has too many arguments")
			}
			key, positional = strings.TrimSuffix(positional[0], "?"), positional[1:]
		}
		kind, known := m.named[key]
		if !known {
			return bad("there is no argument %q", key)
		}
		if err := a.read(key, kind, node); err != nil {
			return bad("%s: %s", key, err)
		}
	}
	for _, p := range m.positional {
		if !strings.HasSuffix(p, "?") && !a.has(p) {
			return bad("%s is missing", p)
		}
	}
	return source, a, nil
}

// macroSource gives the query that a macro reads.
func macroSource(v any) (any, bool) {
	node, _ := v.(map[string]any)
	if text(node, "class") == "SUBQUERY" && text(node, "subquery_type") == "SCALAR" {
		return node["subquery"], true
	}
	names, _ := node["column_names"].([]any)
	if text(node, "class") != "COLUMN_REF" || len(names) == 0 || len(names) > 2 {
		return nil, false
	}
	schema, table := "", names[len(names)-1]
	if len(names) == 2 {
		schema, _ = names[0].(string)
	}
	return map[string]any{"node": map[string]any{
		"type": "SELECT_NODE", "modifiers": []any{}, "cte_map": map[string]any{"map": []any{}}, "where_clause": nil, "group_expressions": []any{}, "group_sets": []any{},
		"aggregate_handling": "STANDARD_HANDLING", "having": nil, "sample": nil, "qualify": nil,
		"select_list": []any{map[string]any{"class": "STAR", "type": "STAR", "alias": "", "relation_name": "", "exclude_list": []any{}, "replace_list": []any{},
			"columns": false, "expr": nil, "qualified_exclude_list": []any{}, "rename_list": []any{}}},
		"from_table": map[string]any{"type": "BASE_TABLE", "alias": "", "sample": nil, "schema_name": schema, "table_name": table, "column_name_alias": []any{},
			"catalog_name": "", "at_clause": nil, "query_location": node["query_location"]},
	}, "named_param_map": []any{}}, true
}

func (a arguments) has(name string) bool {
	_, isText := a.text[name]
	_, isList := a.lists[name]
	return isText || isList || a.parts[reservedPrefix+name] != nil
}

// read takes one argument.
func (a arguments) read(name string, kind argument, node map[string]any) error {
	if a.has(name) {
		return fmt.Errorf("it is given twice")
	}
	node = copyNode(node)
	node["alias"] = ""
	switch kind {
	case column, columns:
		list, err := columnNames(node, kind == columns)
		if err != nil {
			return err
		}
		if kind == column {
			a.text[name] = list[0]
		}
		a.lists[name] = list
	case duration, instantOf:
		if reads(node) {
			return fmt.Errorf("it must not read columns")
		}
		a.parts[reservedPrefix+name] = node
	case word:
		s, ok := stringConstant(node)
		if !ok {
			return fmt.Errorf("a literal text is expected")
		}
		a.text[name] = s
	case words:
		items, ok := listItems(node)
		if !ok {
			return fmt.Errorf("a list of literal texts is expected")
		}
		for _, item := range items {
			s, ok := stringConstant(item)
			if !ok {
				return fmt.Errorf("a list of literal texts is expected")
			}
			a.lists[name] = append(a.lists[name], s)
		}
	case count:
		n, ok := constant(node)
		if !ok || n < 1 {
			return fmt.Errorf("a literal number from 1 is expected")
		}
		a.text[name] = strconv.FormatInt(n, 10)
	}
	return nil
}

// columnNames gives the names of columns, quoted.
func columnNames(node map[string]any, many bool) ([]string, error) {
	items := []any{node}
	if list, ok := listItems(node); ok && many {
		items = list
	}
	var out []string
	for _, item := range items {
		ref, _ := item.(map[string]any)
		names, _ := ref["column_names"].([]any)
		if text(ref, "class") != "COLUMN_REF" || len(names) != 1 {
			return nil, fmt.Errorf("the name of a column of the query is expected")
		}
		name, _ := names[0].(string)
		if strings.HasPrefix(strings.ToLower(name), reservedPrefix) {
			return nil, fmt.Errorf("names that begin with %s are taken", reservedPrefix)
		}
		out = append(out, duckdb.Ident(name))
	}
	if len(out) == 0 || len(out) > 20 {
		return nil, fmt.Errorf("from 1 to 20 columns are expected")
	}
	return out, nil
}

// listItems gives the elements of a list that is written out.
func listItems(node map[string]any) ([]any, bool) {
	name := text(node, "function_name")
	if text(node, "class") != "FUNCTION" || name != "list_value" {
		return nil, text(node, "type") == "ARRAY_CONSTRUCTOR"
	}
	items, _ := node["children"].([]any)
	return items, true
}

// reads reports whether an expression reads columns, or more.
func reads(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, reads)
	case map[string]any:
		switch text(v, "class") {
		case "COLUMN_REF", "STAR", "SUBQUERY", "LAMBDA", "POSITIONAL_REFERENCE", "WINDOW":
			return true
		}
		for _, e := range v {
			if reads(e) {
				return true
			}
		}
	}
	return false
}
