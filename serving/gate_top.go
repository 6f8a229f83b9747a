package serving

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// maxTop bounds the LIMIT that is brought to the parts of a table: beyond it each of
// them would be sorted for little.
const maxTop = 10_000

// A top is the shape "FROM table WHERE … ORDER BY columns LIMIT n" around a use. A
// stream is a union of parts, and the engine takes the first rows of a union only
// after it has read all of it; so each part is given the condition, the order and
// the limit of its own: what is not among a part's first is not among the whole's.
type top struct {
	query map[string]any // the SELECT_NODE, as it will be printed
	rows  int64          // LIMIT plus OFFSET
	// printed is the SELECT of the first rows of one part, once it was asked for.
	printed *printed
}

// topOf gives the shape around the table of a SELECT, nil if it has another one.
func (w *walker) topOf(node map[string]any) *top {
	from, _ := node["from_table"].(map[string]any)
	if text(from, "type") != "BASE_TABLE" || !empty(from["column_name_alias"]) || !empty(from["sample"]) {
		return nil
	}
	for _, member := range []string{"group_expressions", "group_sets", "having", "qualify", "sample"} {
		if !empty(node[member]) {
			return nil
		}
	}
	list, _ := node["select_list"].([]any)
	if text(node, "aggregate_handling") != "STANDARD_HANDLING" || gathers(list) || gathers(node["where_clause"]) || hasClass(node["where_clause"], "SUBQUERY") || w.volatile {
		return nil
	}
	modifiers, _ := node["modifiers"].([]any)
	if len(modifiers) != 2 {
		return nil
	}
	order, _ := modifiers[0].(map[string]any)
	limit, _ := modifiers[1].(map[string]any)
	if text(order, "type") != "ORDER_MODIFIER" || text(limit, "type") != "LIMIT_MODIFIER" {
		return nil
	}
	rows, ok := constant(limit["limit"])
	if offset := int64(0); ok && limit["offset"] != nil {
		offset, ok = constant(limit["offset"])
		rows += offset
	}
	if !ok || rows < 0 || rows > maxTop || !ordersColumns(order, list) {
		return nil
	}
	return &top{query: node, rows: rows}
}

// ordersColumns reports whether the order is by columns of the table: by names alone,
// none of which a SELECT list gives to something else.
func ordersColumns(order map[string]any, list []any) bool {
	orders, _ := order["orders"].([]any)
	for _, o := range orders {
		by, _ := o.(map[string]any)
		column, _ := by["expression"].(map[string]any)
		names, _ := column["column_names"].([]any)
		if text(column, "class") != "COLUMN_REF" || len(names) == 0 {
			return false
		}
		name, _ := names[len(names)-1].(string)
		for _, e := range list {
			output, _ := e.(map[string]any)
			shown, _ := output["column_names"].([]any)
			own := text(output, "class") == "COLUMN_REF" && len(shown) > 0 && strings.EqualFold(fmt.Sprint(shown[len(shown)-1]), name)
			if strings.EqualFold(text(output, "alias"), name) && !own {
				return false
			}
			if text(output, "class") == "STAR" && (!empty(output["replace_list"]) || !empty(output["rename_list"]) || !empty(output["expr"])) {
				return false
			}
		}
	}
	return len(orders) > 0
}

// gathers reports whether an expression puts several rows together.
func gathers(v any) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if gathers(e) {
				return true
			}
		}
	case map[string]any:
		switch class := text(v, "class"); {
		case class == "SUBQUERY":
			return false
		case class == "WINDOW", class == "FUNCTION" && duckdb.AggregateAllowed(text(v, "function_name")):
			return true
		}
		for _, e := range v {
			if gathers(e) {
				return true
			}
		}
	}
	return false
}

func hasClass(v any, class string) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if hasClass(e, class) {
				return true
			}
		}
	case map[string]any:
		if text(v, "class") == class {
			return true
		}
		for _, e := range v {
			if hasClass(e, class) {
				return true
			}
		}
	}
	return false
}

// marked finds the use of a node; -1 if the node is none.
func marked(uses []use, node map[string]any) int {
	for i, u := range uses {
		if reflect.ValueOf(u.node).Pointer() == reflect.ValueOf(node).Pointer() {
			return i
		}
	}
	return -1
}
