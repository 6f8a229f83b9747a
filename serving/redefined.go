package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// A Redefinition is what became of a view's rows when it was redefined, at one cut.
type Redefinition struct {
	Rows                    int64 // of the new definition
	Added, Removed, Changed int64
	Examples                []json.RawMessage // {"change", "before", "after"}, some of each
}

// Redefinition compares two definitions of a view over one State that has both of
// them, and one transaction that was begun while no batch run was under way. Rows of
// the same window and keys, of those that both definitions show, are one row: it is
// changed if a column of both has another value. Without such columns a row is its
// values. An old definition that is nil had no rows.
func (c *Core) Redefinition(ctx context.Context, st *speed.State, tx *warehouse.Txn, old, next *view.Plan) (*Redefinition, error) {
	p := &pin{core: c, state: st, tx: tx, cut: st.Applied(), stats: map[string]any{}}
	defer func() { // the transaction is the caller's
		for _, h := range p.handles {
			h.Close()
		}
	}()
	after, err := p.answer(ctx, next, view.Filter{})
	if err != nil {
		return nil, err
	}
	if old == nil {
		rel, err := tx.Conn.Collect(ctx, "SELECT count(*)::BIGINT FROM ("+after+") AS a")
		if err != nil {
			return nil, c.queryError(ctx, err)
		}
		n, _ := rel.Value(0, 0).(int64)
		return &Redefinition{Rows: n, Added: n}, nil
	}
	before, err := p.answer(ctx, old, view.Filter{})
	if err != nil {
		return nil, err
	}
	rel, err := tx.Conn.Collect(ctx, redefinitionSQL(before, after, old, next))
	if err != nil {
		return nil, c.queryError(ctx, err)
	}
	out := &Redefinition{}
	for _, b := range rel.Batches {
		for i := range b.Len() {
			n, text := b.Column(1).(*array.Int64).Value(i), b.Column(2).(*array.String)
			switch change := b.Column(0).(*array.String).Value(i); change {
			case "rows":
				out.Rows = n
			case "added":
				out.Added = n
			case "removed":
				out.Removed = n
			case "changed":
				out.Changed = n
			default:
				out.Examples = append(out.Examples, json.RawMessage(text.Value(i)))
			}
		}
	}
	return out, nil
}

// redefinitionSQL gives (change, n, example): the counts, then examples of each.
func redefinitionSQL(before, after string, old, next *view.Plan) string {
	shared, keys := sharedColumns(old, next)
	identity := keys
	if len(keys) == 0 {
		identity = shared
	}
	same, differs := []string{"b.tw_n = a.tw_n"}, []string{"false"}
	for _, name := range identity {
		same = append(same, fmt.Sprintf("b.tw_row.%[1]s IS NOT DISTINCT FROM a.tw_row.%[1]s", duckdb.Ident(name)))
	}
	for _, name := range shared {
		differs = append(differs, fmt.Sprintf("b.tw_row.%[1]s IS DISTINCT FROM a.tw_row.%[1]s", duckdb.Ident(name)))
	}
	// Rows of one identity are numbered: two of one side are no match for one of the other.
	side := func(answer string, p *view.Plan) string {
		by := make([]string, len(identity))
		for i, name := range identity {
			by[i] = "tw_s." + duckdb.Ident(name)
		}
		over := ""
		if len(by) > 0 {
			over = "PARTITION BY " + strings.Join(by, ", ")
		}
		names := make([]string, len(p.Output))
		for i, col := range p.Output {
			names[i] = duckdb.Ident(col.Name)
		}
		return "SELECT tw_s AS tw_row, row_number() OVER (" + over + ") AS tw_n FROM (" + answer + ") AS tw_s(" + strings.Join(names, ", ") + ")"
	}
	change := "CASE WHEN b.tw_n IS NULL THEN 'added' WHEN a.tw_n IS NULL THEN 'removed' WHEN " + strings.Join(differs, " OR ") + " THEN 'changed' END"
	return "WITH tw_b AS MATERIALIZED (" + side(before, old) + "), tw_a AS MATERIALIZED (" + side(after, next) + ")," +
		" tw_d AS MATERIALIZED (SELECT " + change + " AS change, b.tw_row AS old_row, a.tw_row AS new_row FROM tw_b AS b FULL JOIN tw_a AS a ON " + strings.Join(same, " AND ") + ")," +
		" tw_e AS (SELECT *, row_number() OVER (PARTITION BY change) AS n FROM tw_d WHERE change IS NOT NULL)" +
		" SELECT 'rows' AS what, count(*)::BIGINT AS n, NULL::VARCHAR AS example FROM tw_a" +
		" UNION ALL SELECT change, count(*)::BIGINT, NULL FROM tw_d WHERE change IS NOT NULL GROUP BY change" +
		" UNION ALL SELECT 'example', 0, to_json({'change': change, 'before': old_row, 'after': new_row})::VARCHAR FROM tw_e WHERE n <= 5"
}

// sharedColumns gives the columns that both definitions show, each once, and those
// of them that are a window or a key in both; none if either has another of those
// that the other lacks, because then a row of one is no row of the other.
func sharedColumns(old, next *view.Plan) (shared, keys []string) {
	identifies := func(p *view.Plan, i int) bool {
		return p.Roles[i] == view.RoleWindowStart || p.Roles[i] == view.RoleKey
	}
	comparable := true
	for i, c := range old.Output {
		j := slices.IndexFunc(next.Output, func(o event.Column) bool { return strings.EqualFold(o.Name, c.Name) })
		switch {
		case j < 0 || next.Output[j].Type != c.Type:
			comparable = comparable && !identifies(old, i)
			continue
		case identifies(old, i) != identifies(next, j):
			comparable = false
		case identifies(old, i):
			keys = append(keys, c.Name)
		}
		shared = append(shared, c.Name)
	}
	for j, c := range next.Output {
		if identifies(next, j) && !slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, c.Name) }) {
			comparable = false
		}
	}
	if !comparable {
		keys = nil
	}
	return shared, keys
}
