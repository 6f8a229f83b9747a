package serving

import "strings"

// Values can be doubled in every subquery: ten levels make a thousand of one. A
// statement that may make more than maxGrowth of a value has guards on all calls
// that make values larger.
const (
	maxGrowth      = 64
	maxStructs     = 1_000 // fields of a struct in structs: its type grows in the planner
	endlessGrowth  = 1e12  // recursion, and the end of counting
	grownBytes     = 4e6
	grownFunctions = `|| concat concat_ws list_concat list_cat array_cat array_concat list_append list_prepend array_append array_prepend
		array_push_back array_push_front list_value list_pack array_value struct_pack row struct_insert struct_concat map json_array json_object to_json
		json_quote array_to_json row_to_json hex to_hex bin to_binary url_encode to_base64 base64 regexp_escape replace regexp_replace
		repeat lpad rpad array_to_string format printf list_transform list_apply apply list_zip array_zip translate`
)

var grows = set(grownFunctions)

// expanding are those that make each byte several.
var expanding = map[string]float64{"hex": 2, "to_hex": 2, "bin": 8, "to_binary": 8, "url_encode": 3, "json_quote": 2, "to_json": 2, "regexp_escape": 2, "to_base64": 1.4, "base64": 1.4}

// A growth estimates how many times the size of a stored value the values of a
// statement may have.
type growth struct {
	grows   map[string]bool
	ctes    map[string]float64
	growers []map[string]any
}

func growthOf(statement any, grows map[string]bool) (float64, []map[string]any) {
	g := growth{grows: grows, ctes: map[string]float64{}}
	times := g.query(statement)
	return times, g.growers
}

var structs = set("struct_pack row struct_insert struct_concat struct_update map list_value")

// query gives the growth of a query's columns.
func (g *growth) query(v any) float64 {
	node, _ := v.(map[string]any)
	if inner, ok := node["node"]; ok {
		return g.query(inner)
	}
	if ctes, ok := node["cte_map"].(map[string]any); ok {
		entries, _ := ctes["map"].([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			clause, _ := entry["value"].(map[string]any)
			name := strings.ToLower(text(entry, "key"))
			g.ctes[name] = max(g.ctes[name], g.query(clause["query"]))
		}
	}
	switch text(node, "type") {
	case "SELECT_NODE":
		from := g.from(node["from_table"])
		own := 1.0
		for _, member := range []string{"select_list", "where_clause", "having", "qualify", "group_expressions", "modifiers"} {
			own = max(own, g.expr(node[member]))
		}
		return min(own*from, endlessGrowth)
	case "RECURSIVE_CTE_NODE":
		left := g.query(node["left"])
		g.ctes[strings.ToLower(text(node, "cte_name"))] = 1
		if g.query(node["right"]) > 1 {
			return endlessGrowth
		}
		return left
	}
	most := max(1, g.query0(node["left"]), g.query0(node["right"]))
	children, _ := node["children"].([]any)
	for _, child := range children {
		most = max(most, g.query0(child))
	}
	return most
}

func (g *growth) query0(v any) float64 {
	if v == nil {
		return 1
	}
	return g.query(v)
}

// from gives the growth of the columns that FROM gives.
func (g *growth) from(v any) float64 {
	node, _ := v.(map[string]any)
	switch text(node, "type") {
	case "BASE_TABLE":
		return max(1, g.ctes[strings.ToLower(text(node, "table_name"))])
	case "SUBQUERY":
		return g.query(node["subquery"])
	case "JOIN":
		return max(g.from(node["left"]), g.from(node["right"]), g.expr(node["condition"]))
	case "TABLE_FUNCTION":
		return max(1, g.expr(node["function"]))
	case "EXPRESSION_LIST":
		return max(1, g.expr(node["values"]))
	}
	return 1
}

// expr gives the growth of an expression over that of the columns in it.
func (g *growth) expr(v any) float64 {
	switch v := v.(type) {
	case []any:
		most := 0.0
		for _, e := range v {
			most = max(most, g.expr(e))
		}
		return most
	case map[string]any:
		name := strings.ToLower(text(v, "function_name"))
		switch {
		case text(v, "class") == "CONSTANT":
			return 0.1 // of a value: separators and the like
		case text(v, "class") == "SUBQUERY":
			return max(g.query(v["subquery"]), g.expr(v["child"]))
		case text(v, "class") == "FUNCTION" && g.grows[name]:
			g.growers = append(g.growers, v)
			return min(g.call(v, name), endlessGrowth)
		}
		most := 0.0
		if text(v, "class") == "COLUMN_REF" || text(v, "class") == "STAR" {
			most = 1
		}
		for _, e := range v {
			most = max(most, g.expr(e))
		}
		return most
	}
	return 0
}

// call gives the growth of a call that makes something larger of its arguments.
func (g *growth) call(node map[string]any, name string) float64 {
	args, _ := node["children"].([]any)
	sum := 0.0
	for _, arg := range args {
		sum += g.expr(arg)
	}
	switch name {
	case "replace", "regexp_replace":
		if len(args) > 2 && shortReplacement(args[2]) {
			return 2 * sum
		}
		return sum * endlessGrowth
	case "repeat":
		return 10 * sum
	}
	return sum * max(1, expanding[name])
}

func shortReplacement(v any) bool {
	_, _, ok := constantValue(v)
	s, _ := stringConstant(v)
	return ok && len(s) <= 16
}
