package view

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A node is one expression of the tree that json_serialize_sql makes. Nodes
// are shared between trees and never changed once built: a rewrite copies.
type node = map[string]any

func text(n node, member string) string { s, _ := n[member].(string); return s }

func sub(n node, member string) node { m, _ := n[member].(node); return m }

func list(n node, member string) []any { l, _ := n[member].([]any); return l }

func isSet(n node, member string) bool { b, _ := n[member].(bool); return b }

func class(n node) string { return text(n, "class") }

// names gives the parts of a column reference, nil for other nodes.
func names(n node) []string {
	if class(n) != "COLUMN_REF" {
		return nil
	}
	var out []string
	for _, part := range list(n, "column_names") {
		out = append(out, part.(string))
	}
	return out
}

// function gives the lower-case name of a function call, "" for other nodes.
func function(n node) string {
	if class(n) != "FUNCTION" {
		return ""
	}
	return strings.ToLower(text(n, "function_name"))
}

// column makes a column reference.
func column(location any, parts ...string) node {
	all := make([]any, len(parts))
	for i, p := range parts {
		all[i] = p
	}
	return node{"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "query_location": location, "column_names": all}
}

// named gives a node that stands for another one the other's alias: in a struct it is
// the name of a member.
func named(to, n node) node {
	alias := text(n, "alias")
	if to == nil || alias == "" || text(to, "alias") == alias {
		return to
	}
	to = maps.Clone(to)
	to["alias"] = alias
	return to
}

// members lists, by class, the members of a node that hold expressions. A
// class that is not here has no place in a view.
var members = map[string][]string{
	"COLUMN_REF":  nil,
	"CONSTANT":    nil,
	"FUNCTION":    {"children", "filter", "order_bys"},
	"OPERATOR":    {"children"},
	"CONJUNCTION": {"children"},
	"COMPARISON":  {"left", "right"},
	"BETWEEN":     {"input", "lower", "upper"},
	"CASE":        {"case_checks", "else_expr"},
	"CAST":        {"child"},
	"WINDOW": {"children", "partitions", "orders", "start_expr", "end_expr", "offset_expr", "default_expr",
		"filter_expr", "arg_orders"},
}

// rewrite copies n with f applied to each direct child expression. Children
// also hide one level down, in case_checks, orders and order_bys, whose
// members are no expressions themselves.
func rewrite(n node, f func(node) (node, error)) (node, error) {
	out := make(node, len(n))
	for k, v := range n {
		out[k] = v
	}
	for _, m := range members[class(n)] {
		v, err := rewriteValue(n[m], f)
		if err != nil {
			return nil, err
		}
		out[m] = v
	}
	return out, nil
}

func rewriteValue(v any, f func(node) (node, error)) (any, error) {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = rewriteValue(v[i], f); err != nil {
				return nil, err
			}
		}
		return out, nil
	case node:
		if v == nil {
			return v, nil
		}
		if class(v) != "" {
			return f(v)
		}
		out := make(node, len(v))
		for k, m := range v {
			var err error
			if out[k], err = rewriteValue(m, f); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// walk calls f with n and, as long as f says so, with what is below it.
func walk(n node, f func(node) (descend bool)) {
	if n == nil || !f(n) {
		return
	}
	// rewrite is the one place that knows where children are; the copies
	// that it makes here are dropped.
	_, _ = rewrite(n, func(child node) (node, error) { walk(child, f); return child, nil })
}

// contains reports whether some node at or below n satisfies is.
func contains(n node, is func(node) bool) (found bool) {
	walk(n, func(m node) bool {
		found = found || is(m)
		return !found
	})
	return found
}

// canonical is equal for two expressions exactly when they are written alike,
// wherever they stand and whatever they are called. Column references must be
// resolved before.
func canonical(n node) string {
	b, err := json.Marshal(stripped(n, true))
	if err != nil {
		panic(fmt.Sprintf("view: a parsed tree does not encode: %v", err))
	}
	return string(b)
}

func stripped(v any, top bool) any {
	switch v := v.(type) {
	case node:
		out := make(node, len(v))
		for k, m := range v {
			if k == "query_location" || k == "alias" && top {
				continue
			}
			if k == "function_name" {
				m = strings.ToLower(m.(string))
			}
			// An alias below names a member of a struct.
			out[k] = stripped(m, false)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = stripped(v[i], false)
		}
		return out
	}
	return v
}

// A session is one use of the planner's engine.
type session struct {
	ctx  context.Context
	conn *duckdb.Conn
}

// print writes one expression as SQL.
func (s session) print(n node) (string, error) {
	bare := make(node, len(n))
	for k, v := range n {
		bare[k] = v
	}
	bare["alias"] = ""
	sql, err := s.conn.Print(s.ctx, selectOne(bare))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(sql, "SELECT ")), ";")), nil
}

// parse reads one expression.
func (s session) parse(sql string) (node, error) {
	tree, err := s.conn.Parse(s.ctx, "SELECT "+sql)
	if err != nil {
		return nil, fmt.Errorf("planner: parse its own expression %s: %w", sql, err)
	}
	statement := duckdb.Statements(tree)[0].(node)
	return list(sub(statement, "node"), "select_list")[0].(node), nil
}

func isDouble(n node) bool {
	return class(n) == "CONSTANT" && text(sub(sub(n, "value"), "type"), "id") == "DOUBLE"
}

// hasDouble reports whether there is a DOUBLE constant anywhere below.
func hasDouble(tree any) bool {
	switch v := tree.(type) {
	case []any:
		return slices.ContainsFunc(v, hasDouble)
	case node:
		if isDouble(v) {
			return true
		}
		for _, e := range v {
			if hasDouble(e) {
				return true
			}
		}
	}
	return false
}

// castDoubles turns each DOUBLE constant below into a cast of itself, in place.
func castDoubles(tree any) {
	switch v := tree.(type) {
	case []any:
		for _, e := range v {
			castDoubles(e)
		}
	case node:
		if isDouble(v) {
			constant := maps.Clone(v)
			constant["alias"] = ""
			delete(v, "value")
			v["class"], v["type"], v["child"], v["try_cast"] = "CAST", "OPERATOR_CAST", constant, false
			v["cast_type"] = node{"id": "DOUBLE", "type_info": nil}
			return
		}
		for _, e := range v {
			castDoubles(e)
		}
	}
}

// selectOne is the tree of "SELECT expr".
func selectOne(expr node) node {
	return node{"error": false, "statements": []any{node{
		"node": node{
			"type": "SELECT_NODE", "modifiers": []any{}, "cte_map": node{"map": []any{}}, "select_list": []any{expr},
			"from_table":   node{"type": "EMPTY", "alias": "", "sample": nil, "query_location": json.Number("0")},
			"where_clause": nil, "group_expressions": []any{}, "group_sets": []any{},
			"aggregate_handling": "STANDARD_HANDLING", "having": nil, "sample": nil, "qualify": nil,
		},
		"named_param_map": []any{},
	}}}
}
