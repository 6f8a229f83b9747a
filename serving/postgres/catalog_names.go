package postgres

import "strings"

// nameOutputs gives columns the names that Postgres would give them, where the
// engine would show the expression.
func nameOutputs(v any, top bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			nameOutputs(e, false)
		}
	case map[string]any:
		list, _ := v["select_list"].([]any)
		for _, e := range list {
			output, _ := e.(map[string]any)
			class := str(output, "class")
			if output == nil || str(output, "alias") != "" || class == "STAR" || class == "COLUMN_REF" {
				continue
			}
			name := outputName(output)
			if name != "" || top {
				output["alias"] = firstOf(name, "?column?")
			}
		}
		for k, e := range v {
			nameOutputs(e, top && (k == "left" || k == "right"))
		}
	}
}

// outputName is the name that Postgres finds in an expression.
func outputName(n map[string]any) string {
	children, _ := n["children"].([]any)
	of := func(v any) string {
		child, _ := v.(map[string]any)
		return outputName(child)
	}
	switch str(n, "class") {
	case "COLUMN_REF":
		names, _ := n["column_names"].([]any)
		name, _ := names[len(names)-1].(string)
		return name
	case "FUNCTION", "WINDOW":
		if operator, _ := n["is_operator"].(bool); operator {
			return ""
		}
		name := strings.TrimSuffix(strings.TrimPrefix(str(n, "function_name"), "to_reg"), "_text")
		switch {
		case name != str(n, "function_name"): // a cast to an object type
			if len(children) == 1 {
				if inner := of(children[0]); inner != "" {
					return inner
				}
			}
			if strings.HasPrefix(name, "reg") {
				return name
			}
			return "reg" + name
		case name == "count_star":
			return "count"
		case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
			return ""
		}
		return name
	case "CAST":
		if name := of(n["child"]); name != "" {
			return name
		}
		typ, _ := n["cast_type"].(map[string]any)
		return castName(str(typ, "id"))
	case "CASE":
		if name := of(n["else_expr"]); name != "" {
			return name
		}
		return "case"
	case "SUBQUERY":
		if str(n, "subquery_type") != "SCALAR" {
			return map[string]string{"EXISTS": "exists"}[str(n, "subquery_type")]
		}
		statement, _ := n["subquery"].(map[string]any)
		node, _ := statement["node"].(map[string]any)
		if list, _ := node["select_list"].([]any); len(list) == 1 {
			if output, ok := list[0].(map[string]any); ok {
				return firstOf(str(output, "alias"), outputName(output))
			}
		}
	case "OPERATOR":
		switch str(n, "type") {
		case "OPERATOR_COALESCE":
			return "coalesce"
		case "ARRAY_EXTRACT":
			return of(children[0])
		case "STRUCT_EXTRACT":
			field, _ := children[1].(map[string]any)
			value, _ := field["value"].(map[string]any)
			name, _ := value["value"].(string)
			return name
		}
	}
	return ""
}

func castName(id string) string {
	names := map[string]string{"VARCHAR": "text", "INTEGER": "int4", "BIGINT": "int8", "SMALLINT": "int2", "UINTEGER": "oid", "BOOLEAN": "bool", "DOUBLE": "float8", "FLOAT": "float4", "DATE": "date", "TIMESTAMP": "timestamp"}
	return names[id]
}
