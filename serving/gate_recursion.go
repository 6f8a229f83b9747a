package serving

import (
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A recursiveCatalog knows of tables that stand for a SELECT with a recursive CTE.
type recursiveCatalog interface {
	// Recursive takes a name of Tables in lower case.
	Recursive(table string) bool
}

// refuseRecursion refuses a recursive CTE in a correlated subquery, for which the
// engine may give wrong rows.
func (g *Gate) refuseRecursion(w *walker, statement any) error {
	var recursive func(string) bool
	if c, ok := g.catalog.(recursiveCatalog); ok {
		recursive = c.Recursive
	}
	node := duckdb.CorrelatedRecursion(statement, recursive)
	if node == nil {
		return nil
	}
	return w.refuse(node, "unsupported", duckdb.CorrelatedRecursionHint, duckdb.CorrelatedRecursionRefused)
}

// Recursive implements recursiveCatalog: the SELECT of a view over the stream is put
// in its place.
func (c *Core) Recursive(table string) bool {
	for name, plan := range c.definitions().Plans {
		if plan.Direct && strings.EqualFold(name, table) {
			return strings.Contains(strings.ToLower(plan.PlainSQL("events")), "recursive") // its macros are written out
		}
	}
	return false
}
