package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// Top keeps the rows with the greatest values of a column. Among equals the first
// by window and keys are kept.
type Top struct {
	Rows int
	// Of is an output column; with a dash before it, or asc behind it, the smallest
	// values are kept.
	Of string
	// Per are output columns: so many rows are kept for each combination of their
	// values. Without them, of all.
	Per []string
}

// PageColumns is how many columns stand behind the answer's own when f is paged: the
// values, as text, by which its rows are ordered. The last row's are the Cursor of
// the next page.
func (p *Plan) PageColumns(f Filter) (int, error) {
	shown := p
	if f.By != nil {
		var err error
		if shown, err = p.grouped(f.By); err != nil {
			return 0, err
		}
	}
	return len(f.Order) + len(shown.stmts.finish.order) + len(shown.groups()) + shown.topOrders(f), nil
}

func (p *Plan) topOrders(f Filter) int {
	if f.Top == nil || len(f.Order) > 0 {
		return 0
	}
	return len(f.Top.Per) + 1
}

// top gives the condition that keeps the top rows, and the order in which they are
// shown if the caller asked for none. tie are the hidden columns by which no two
// rows are equal.
func (p *Plan) top(f Filter, tie []string) (qualify string, order []term, err error) {
	if f.Top == nil {
		return "", nil, nil
	}
	if f.Top.Rows < 1 {
		return "", nil, fmt.Errorf("view %s: top %d: want at least 1", p.Name, f.Top.Rows)
	}
	of, err := p.orderBy([]string{f.Top.Of})
	if err != nil {
		return "", nil, err
	}
	of[0].descending = !of[0].descending
	per, err := p.orderBy(f.Top.Per)
	if err != nil {
		return "", nil, err
	}
	window := ""
	for i, t := range per {
		window += []string{"PARTITION BY ", ", "}[min(i, 1)] + t.sql
	}
	inner := []string{of[0].String()}
	inner = append(inner, tie...)
	qualify = fmt.Sprintf(" QUALIFY row_number() OVER (%s ORDER BY %s) <= %d", window, strings.Join(inner, ", "), f.Top.Rows)
	if len(f.Order) == 0 {
		order = append(slices.Clone(per), of[0])
	}
	return qualify, order, nil
}

// behind is the condition that keeps the rows behind those values of the order.
func behind(order []term, values []*string) (string, error) {
	if len(values) != len(order) {
		return "", fmt.Errorf("the cursor has %d values where the order of the answer has %d", len(values), len(order))
	}
	var any, equal []string
	for i, t := range order {
		column, value := t.sql, "NULL"
		if values[i] != nil {
			value = "CAST(" + duckdb.Literal(*values[i]) + " AS " + t.typ + ")"
		}
		compare := " > "
		if t.descending {
			compare = " < "
		}
		later := ""
		switch {
		case values[i] != nil && t.nullsFirst:
			later = column + compare + value
		case values[i] != nil:
			later = "(" + column + compare + value + " OR " + column + " IS NULL)"
		case t.nullsFirst:
			later = column + " IS NOT NULL"
		default:
			later = "false"
		}
		any = append(any, "("+strings.Join(append(slices.Clone(equal), later), " AND ")+")")
		equal = append(equal, column+" IS NOT DISTINCT FROM "+value)
	}
	return "(" + strings.Join(any, " OR ") + ")", nil
}
