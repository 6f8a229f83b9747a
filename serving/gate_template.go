package serving

import (
	"context"
	"fmt"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// Templates are SQL in which names that begin with "tw_" stand for parts of a
// statement. The engine parses each once; the parts are put into a copy of its
// tree, so no text of a user is ever pasted into SQL. Parts are not searched for
// names in their turn.

// template gives the tree of one SELECT. It is shared: put copies it.
func (g *Gate) template(ctx context.Context, sql string) (map[string]any, error) {
	if tree, ok := g.templates.Load(sql); ok {
		return tree.(map[string]any), nil
	}
	statement, err := g.parseTemplate(ctx, sql)
	if err == nil {
		g.templates.Store(sql, statement)
	}
	return statement, err
}

// parseTemplate is template for texts that have names of a user in them, quoted:
// they are not kept.
func (g *Gate) parseTemplate(ctx context.Context, sql string) (map[string]any, error) {
	tree, err := g.db.Parse(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("gate: template %s: %w", sql, err)
	}
	return duckdb.Statements(tree)[0].(map[string]any), nil
}

// expression gives the tree of one expression, with the parts in it.
func (g *Gate) expression(ctx context.Context, sql string, parts map[string]any) (map[string]any, error) {
	statement, err := g.template(ctx, "SELECT "+sql)
	if err != nil {
		return nil, err
	}
	list := statement["node"].(map[string]any)["select_list"].([]any)
	return put(list[0], parts).(map[string]any), nil
}

// put copies a tree and puts the parts where their names stand: an expression
// for a column, a {"node": …} for a table.
func put(v any, parts map[string]any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = put(e, parts)
		}
		return out
	case map[string]any:
		if part, ok := parts[placeholder(v)]; ok {
			if text(v, "type") != "BASE_TABLE" {
				return withAlias(part, text(v, "alias"))
			}
			return subquery(part, text(v, "alias"))
		}
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[name] = put(e, parts)
		}
		return out
	}
	return v
}

// placeholder gives the name that a node stands for; "" if it stands for itself.
func placeholder(node map[string]any) string {
	name := ""
	switch {
	case text(node, "class") == "COLUMN_REF":
		if names, _ := node["column_names"].([]any); len(names) == 1 {
			name, _ = names[0].(string)
		}
	case text(node, "type") == "BASE_TABLE":
		name = text(node, "table_name")
	}
	if !strings.HasPrefix(name, "tw_") {
		return ""
	}
	return name
}

// withAlias gives an expression the alias that its place in the template has.
func withAlias(part any, alias string) any {
	node := copyNode(part.(map[string]any))
	node["alias"] = alias
	return node
}

func subquery(statement any, alias string) map[string]any {
	return map[string]any{"type": "SUBQUERY", "alias": alias, "sample": nil, "query_location": 0, "subquery": statement, "column_name_alias": []any{}}
}

// copyNode copies a node and shares what is below it.
func copyNode(node map[string]any) map[string]any {
	out := make(map[string]any, len(node))
	for name, v := range node {
		out[name] = v
	}
	return out
}
