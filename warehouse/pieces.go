package warehouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// The engine keeps the lists of all groups of a statement in memory and cannot spill
// them, so that views with lists are computed and merged piece by piece.
type pieces struct {
	rows  int64 // events of one statement: about 500 bytes for each
	bytes int64 // of lists that are merged at once: three times as much is needed
}

var defaultPieces = pieces{rows: 1_000_000, bytes: 64 << 20}

// events gives the SELECTs of a view's rows in the ranges, each of which is one piece;
// rows is the SELECT of all.
func (a *advance) events(ctx context.Context, in Input, p *view.Plan, rows string, ranges []event.Range) ([]string, error) {
	if len(p.Lists) == 0 {
		return []string{rows}, nil
	}
	count, err := a.count(ctx, "("+rows+") AS events")
	if err != nil {
		return nil, err
	}
	n := count / a.pieces.rows
	if n == 0 {
		return []string{rows}, nil
	}
	var out []string
	for _, some := range divide(ranges, uint64(n)+1) {
		text, err := in.Select(ctx, some)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

// divide cuts ranges into at most n parts that tile them. The rows of a source lie
// about evenly over its sequences.
func divide(ranges []event.Range, n uint64) [][]event.Range {
	var out [][]event.Range
	for i := range n {
		var part []event.Range
		for _, r := range ranges {
			// In two terms, which cannot overflow.
			span := r.Through - r.After
			at := func(i uint64) uint64 { return r.After + span/n*i + span%n*i/n }
			if from, to := at(i), at(i+1); from < to {
				part = append(part, event.Range{Source: r.Source, After: from, Through: to})
			}
		}
		if len(part) > 0 {
			out = append(out, part)
		}
	}
	return out
}

// panes gives conditions on a view's partial rows, of which each row fulfils one: those
// of a piece are merged at once. from is a FROM item.
func (a *advance) panes(ctx context.Context, p *view.Plan, from string) ([]string, error) {
	if len(p.Lists) == 0 || p.Window == nil {
		return []string{"true"}, nil
	}
	sizes := make([]string, len(p.Lists))
	for i, c := range p.Lists {
		sizes[i] = "coalesce(strlen(" + duckdb.Ident(c) + "), 0)"
	}
	rel, err := a.conn.Collect(ctx, fmt.Sprintf("SELECT min(us) FROM (SELECT epoch_us(pane) AS us, sum(sum(%s)) OVER (ORDER BY pane) // %d AS piece FROM %s WHERE pane IS NOT NULL GROUP BY pane) GROUP BY piece ORDER BY 1",
		strings.Join(sizes, " + "), a.pieces.bytes, from))
	if err != nil {
		return nil, err
	}
	out := []string{"true"}
	for i := 1; i < rel.Len(); i++ {
		bound := fmt.Sprintf("make_timestamp(%d)", int64At(rel, 0, i))
		out[i-1] += " AND (pane IS NULL OR pane < " + bound + ")"
		out = append(out, "pane >= "+bound)
	}
	return out, nil
}
