package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// typePlan asks the engine for the columns of the statements, and makes sure
// that they agree with each other.
func (b *builder) typePlan(p *Plan) error {
	partial, err := b.columns(p.PartialSQL(b.events))
	if err != nil {
		return fmt.Errorf("planner: type the partial of view %s: %w", p.Name, err)
	}
	p.Partial = partial
	if p.AfterMerge() {
		if p.finishes, err = b.columns(p.stmts.reshape.over("(" + p.joinedSQL("FROM "+stub(partial, "p"), "") + ") AS _m")); err != nil {
			return fmt.Errorf("planner: type the join of view %s: %w", p.Name, err)
		}
	}
	again, err := b.columns(p.MergeSQL(stub(partial, "p")))
	if err != nil {
		return fmt.Errorf("planner: type the merge of view %s: %w", p.Name, err)
	}
	if !slices.Equal(partial, again) {
		return fmt.Errorf("planner: view %s merges %v into %v", p.Name, partial, again)
	}
	if err := b.typePlain(p); err != nil {
		return err
	}
	rows, err := b.mergedStub(p)
	if err != nil {
		return fmt.Errorf("planner: type the groups of view %s: %w", p.Name, err)
	}
	finished, err := b.columns(p.FinishSQL(rows))
	if err != nil {
		return fmt.Errorf("planner: type the finish of view %s: %w", p.Name, err)
	}
	if !slices.Equal(p.Output, finished) {
		return fmt.Errorf("planner: view %s finishes with %v where its own SQL gives %v", p.Name, finished, p.Output)
	}
	if err := b.typeOrder(p, rows); err != nil {
		return err
	}
	p.stmts.bounds = b.bounds(p.stmts.plain, p.Output)
	if _, err := b.columns(p.CheckedSQL(b.events)); err != nil {
		return fmt.Errorf("planner: type the bounds of view %s: %w", p.Name, err)
	}
	return nil
}

// typePlain learns the columns of the answer, and casts those whose types no answer
// has.
func (b *builder) typePlain(p *Plan) error {
	plain, err := b.conn.Describe(b.ctx, p.PlainSQL(b.events))
	if err != nil {
		return b.blameItems(p, err)
	}
	for i, c := range plain {
		cast := castOutput(c.SQLType)
		if cast == "" {
			continue
		}
		for _, s := range []*selection{&p.stmts.plain, &p.stmts.finish, &p.stmts.regroup.finish} {
			if i < len(s.items) {
				s.items[i] = "CAST(" + written(s.items[i], c.SQLType) + " AS " + cast + ")"
			}
		}
	}
	if p.Output, err = b.columns(p.PlainSQL(b.events)); err != nil {
		return fmt.Errorf("planner: type the plain SQL of view %s: %w", p.Name, err)
	}
	return nil
}

// typeOrder learns the types of ORDER BY, over rows as finish takes them.
func (b *builder) typeOrder(p *Plan, rows string) error {
	for i, o := range p.stmts.finish.order {
		described, err := b.conn.Describe(b.ctx, "SELECT "+o.sql+p.stmts.finish.from.over(rows))
		if err != nil {
			return fmt.Errorf("planner: type the order of view %s: %w", p.Name, err)
		}
		p.stmts.finish.order[i].typ = described[0].SQLType
		if i < len(p.stmts.regroup.finish.order) {
			p.stmts.regroup.finish.order[i].typ = described[0].SQLType
		}
	}
	return nil
}

// blameItems finds the output column that the engine refuses.
func (b *builder) blameItems(p *Plan, cause error) error {
	s := p.stmts.plain
	for i, it := range s.items {
		if _, err := b.conn.Describe(b.ctx, "SELECT "+it+s.from.over(b.events)); err != nil {
			return b.q.fail(b.q.items[i].expr, "", "%s", engineText(err))
		}
	}
	if b.q.having != nil {
		return b.q.fail(b.q.having, "", "%s", engineText(cause))
	}
	return b.q.def.errorAt(-1, "", engineText(cause))
}

// castOutput gives the type to which an output column is cast, because an
// answer has no column of type raw; "" if it has.
func castOutput(raw string) string {
	switch {
	case raw == zoned:
		return "TIMESTAMP"
	case raw == "UBIGINT":
		return "HUGEINT"
	case raw == "UTINYINT" || raw == "USMALLINT" || raw == "UINTEGER":
		return "BIGINT"
	case raw == `"NULL"`:
		return "VARCHAR"
	}
	if _, err := duckdb.ParseType(raw); err == nil {
		return ""
	}
	if strings.HasSuffix(raw, "]") || strings.HasPrefix(raw, "STRUCT") || strings.HasPrefix(raw, "MAP") {
		return "JSON"
	}
	return "VARCHAR"
}

// written makes a list one that JSON can hold: what is no number there is a text, as
// it is where a column holds it.
func written(item, raw string) string {
	if raw != "DOUBLE[]" && raw != "FLOAT[]" {
		return item
	}
	return "to_json(list_transform(" + item + ", lambda _v: CASE WHEN isnan(_v) THEN to_json('NaN') WHEN isinf(_v) THEN to_json(CASE WHEN _v > 0 THEN 'Infinity' ELSE '-Infinity' END) ELSE to_json(_v) END))"
}

func (b *builder) columns(sql string) ([]event.Column, error) {
	described, err := b.conn.Describe(b.ctx, sql)
	if err != nil {
		return nil, err
	}
	out := make([]event.Column, len(described))
	for i, d := range described {
		typ, err := duckdb.ParseType(d.SQLType)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", d.Name, err)
		}
		out[i] = event.Column{Name: d.Name, Type: typ}
	}
	return out, nil
}
