package serving

import (
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// repeatable reports whether a statement that passed the Gate gives the same rows at
// the same cut: it asks neither the clock nor chance.
func repeatable(tree any) bool {
	switch v := tree.(type) {
	case []any:
		for _, e := range v {
			if !repeatable(e) {
				return false
			}
		}
	case map[string]any:
		switch text(v, "class") {
		case "FUNCTION":
			name := strings.ToLower(text(v, "function_name"))
			if !duckdb.Deterministic(name) && !duckdb.AggregateAllowed(name) && !duckdb.TableFunctionAllowed(name) {
				return false
			}
		case "COLUMN_REF":
			if names, _ := v["column_names"].([]any); len(names) == 1 {
				if name, _ := names[0].(string); columnCalls(name) {
					return false
				}
			}
		}
		if v["sample"] != nil {
			return false
		}
		for _, e := range v {
			if !repeatable(e) {
				return false
			}
		}
	}
	return true
}

// columnCalls reports whether a name alone may be a call, such as current_date.
func columnCalls(name string) bool {
	_, calls := duckdb.ColumnFunction(name)
	return calls
}
