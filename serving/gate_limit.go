package serving

import (
	"context"
	"slices"
)

// maxBatchLimit is through where the engine takes the rows of a plain LIMIT on all of
// its threads, which it does for no LIMIT that it does not know beforehand.
const maxBatchLimit = 10_000

// unknownRows is a number of rows that the engine's planner does not know. Of
// "FROM table LIMIT n" with n through a million, it makes a plan that reads the numbers of
// n rows, joins them with the table, and sorts the whole: good where few of many rows are
// left, three times the work where all are. There is no setting against it alone.
const unknownRows = "tw_rows + CAST(random() * 0 AS BIGINT)"

// streamLimit has the rows of a statement with a plain LIMIT of many rows read in their
// order and no more than once. Only the outermost LIMIT is changed: correlated subqueries
// must have constant ones. With ORDER BY the engine must know it.
func (g *Gate) streamLimit(ctx context.Context, statement any) error {
	node, _ := statement.(map[string]any)["node"].(map[string]any)
	modifiers, _ := node["modifiers"].([]any)
	at := func(kind string) int {
		return slices.IndexFunc(modifiers, func(m any) bool { modifier, _ := m.(map[string]any); return text(modifier, "type") == kind })
	}
	i := at("LIMIT_MODIFIER")
	if i < 0 || at("ORDER_MODIFIER") >= 0 {
		return nil
	}
	limit := modifiers[i].(map[string]any)
	if rows, ok := constant(limit["limit"]); !ok || rows <= maxBatchLimit {
		return nil
	}
	rows, err := g.expression(ctx, unknownRows, map[string]any{"tw_rows": limit["limit"]})
	if err == nil {
		limit["limit"] = rows
	}
	return err
}
