package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// examples is how many rows of each side of a difference are shown.
const examples = 10

// differing bounds how many differing rows are looked at one by one.
const differing = 100_000

// A checked remembers the last check of one view. Whoever holds turn checks; the
// others wait for the result rather than read every event once more.
type checked struct {
	turn chan struct{} // of capacity 1
	last *Check
	plan *view.Plan // that last is of
	at   time.Time
}

func newChecked() *checked { return &checked{turn: make(chan struct{}, 1)} }

// Check gives the last check of the view if it is not older than asked, else a
// new one. One at an earlier cut is not remembered.
func (c *Core) Check(ctx context.Context, r CheckRequest) (*Check, error) {
	plan := c.plan(ctx, r.View)
	if plan == nil {
		return nil, c.noView(ctx, r.View)
	}
	if err := c.mayWait(ctx, nil, r.At); err != nil {
		return nil, err
	}
	kept, _ := c.checks.LoadOrStore(r.View, newChecked())
	known := kept.(*checked)
	select {
	case known.turn <- struct{}{}:
		defer func() { <-known.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if age := time.Since(known.at); known.plan == plan && age < r.MaxAge && r.At == nil {
		again := *known.last
		again.AgeMS = float64(age.Microseconds()) / 1000
		again.Cut = c.known(ctx, again.Cut)
		return &again, nil
	}
	check, plan, err := c.compare(ctx, r.View, r.At)
	if err != nil {
		return nil, err
	}
	if r.At == nil {
		known.last, known.plan, known.at = check, plan, time.Now()
		c.parity.checked(check, known.at)
	}
	own := *check
	own.Cut = c.known(ctx, own.Cut)
	return &own, nil
}

// compare compares a view's answer with its own SQL over the raw events, both at the
// cut of one pin, and gives the plan that answered: the difference, which must be empty. Rows that differ in
// nothing but doubles, and there by no more than rounding can (view.CheckedSQL),
// are the same row. At a past cut the answer is what merge and finish make of
// partial rows that are computed anew.
func (c *Core) compare(ctx context.Context, name string, at event.Cut) (*Check, *view.Plan, error) {
	p, err := c.query(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	defer p.close()
	plan := p.plan(name)
	if plan == nil {
		return nil, nil, c.noView(ctx, name)
	}
	check, err := p.compare(ctx, plan)
	return check, plan, err
}

func (p *pin) compare(ctx context.Context, plan *view.Plan) (*Check, error) {
	start := time.Now()
	answer, err := p.answer(ctx, plan, view.Filter{})
	if err != nil {
		return nil, err
	}
	events, err := p.stream(ctx, plan)
	if err != nil {
		return nil, err
	}
	if len(p.problems) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrIncomplete, strings.Join(p.problems, "; "))
	}
	rel, err := p.tx.Conn.Collect(ctx, differenceSQL(len(plan.Output), len(plan.Bounded()), answer, p.over(plan).CheckedSQL(events)))
	if err != nil {
		return nil, p.failed(ctx, err)
	}
	check := &Check{View: plan.Name, Cut: p.cut, Missing: []json.RawMessage{}, Extra: []json.RawMessage{}}
	extra, missing := check.sort(rel)
	extra, missing = pairEqual(plan, extra, missing)
	check.Difference = int64(len(extra) + len(missing))
	for _, r := range extra[:min(len(extra), examples)] {
		check.Extra = append(check.Extra, r.json(plan.Output))
	}
	for _, r := range missing[:min(len(missing), examples)] {
		check.Missing = append(check.Missing, r.json(plan.Output))
	}
	check.ElapsedMS = float64(time.Since(start).Microseconds()) / 1000
	return check, nil
}

// differenceSQL gives the rows that only one side has, duplicates counted: the
// side ("extra": only the view has it; "missing": only the raw events give it;
// "rows": the number of rows of the view, in n), then the columns, then plain's
// bounds.
func differenceSQL(columns, bounds int, answer, plain string) string {
	names, same, nulls := make([]string, columns+bounds), make([]string, columns), make([]string, columns+bounds)
	for i := range columns + bounds {
		names[i], nulls[i] = fmt.Sprintf("c%d", i), "NULL"
		if i < columns {
			same[i] = fmt.Sprintf("x.c%d IS NOT DISTINCT FROM y.c%d", i, i)
		}
	}
	own, all := strings.Join(names[:columns], ", "), strings.Join(names, ", ")
	// The rows that are equal in every column are numbered: two of one side are no
	// match for one of the other.
	numbered := func(list, from string) string {
		return "SELECT " + list + ", row_number() OVER (PARTITION BY " + own + ") AS d FROM (" + from + ") AS s(" + list + ")"
	}
	side := func(name, list, of, other string) string {
		return fmt.Sprintf(" UNION ALL (SELECT '%s', 1, %s FROM %s AS x WHERE NOT EXISTS (FROM %s AS y WHERE %s AND x.d = y.d) LIMIT %d)", name, list, of, other, strings.Join(same, " AND "), differing)
	}
	padded := strings.Join(append(slices.Clone(names[:columns]), nulls[columns:]...), ", ")
	return "WITH a AS MATERIALIZED (" + numbered(own, answer) + "), b AS MATERIALIZED (" + numbered(all, plain) + ")" +
		" SELECT 'rows' AS side, count(*)::BIGINT AS n, " + strings.Join(nulls, ", ") + " FROM a" +
		side("extra", padded, "a", "b") + side("missing", all, "b", "a")
}

// A row is one row of a result.
type row struct {
	batch duckdb.Batch
	at    int
}

// sort takes the count of rows, and parts the differing rows by side.
func (c *Check) sort(rel *duckdb.Relation) (extra, missing []row) {
	for _, b := range rel.Batches {
		side, n := b.Column(0).(*array.String), b.Column(1).(*array.Int64)
		for i := range b.Len() {
			switch side.Value(i) {
			case "rows":
				c.Rows = n.Value(i)
			case "extra":
				extra = append(extra, row{b, i})
			default:
				missing = append(missing, row{b, i})
			}
		}
	}
	return extra, missing
}

// pairEqual removes pairs that differ in nothing but the rounding of doubles.
func pairEqual(plan *view.Plan, extra, missing []row) (restExtra, restMissing []row) {
	byRest := map[string][]row{}
	for _, m := range missing {
		k := m.withoutDoubles(plan)
		byRest[k] = append(byRest[k], m)
	}
	for _, e := range extra {
		k := e.withoutDoubles(plan)
		found := slices.IndexFunc(byRest[k], func(m row) bool { return near(plan, e, m) })
		if found < 0 {
			restExtra = append(restExtra, e)
			continue
		}
		byRest[k] = slices.Delete(byRest[k], found, found+1)
	}
	for _, rows := range byRest {
		restMissing = append(restMissing, rows...)
	}
	return restExtra, restMissing
}

// column gives the array of output column i: before it stand side and n.
func (r row) column(i int) arrow.Array { return r.batch.Column(2 + i) }

// withoutDoubles gives everything but the values of the bounded columns.
func (r row) withoutDoubles(plan *view.Plan) string {
	var sb strings.Builder
	bounded := plan.Bounded()
	for i := range plan.Output {
		col := r.column(i)
		switch {
		case col.IsNull(r.at):
			sb.WriteString("\x00N")
		case slices.Contains(bounded, i):
			sb.WriteString("\x00D")
		default:
			sb.WriteString("\x00V")
			sb.WriteString(col.ValueStr(r.at))
		}
	}
	return sb.String()
}

// near reports whether all doubles of the view's row lie within the bounds of the
// plain row. An infinite bound allows nothing: infinities and NaN are what they are
// in any order.
func near(plan *view.Plan, answer, plain row) bool {
	for n, i := range plan.Bounded() {
		x, ok := doubleAt(answer.column(i), answer.at)
		y, _ := doubleAt(plain.column(i), plain.at)
		if !ok || x == y || math.IsNaN(x) && math.IsNaN(y) {
			continue
		}
		bound, _ := doubleAt(plain.column(len(plan.Output)+n), plain.at)
		if math.IsInf(bound, 0) || !(math.Abs(x-y) <= bound) {
			return false
		}
	}
	return true
}

func doubleAt(col arrow.Array, i int) (float64, bool) {
	if col.IsNull(i) {
		return 0, false
	}
	switch c := col.(type) {
	case *array.Float64:
		return c.Value(i), true
	case *array.Float32:
		return float64(c.Value(i)), true
	}
	return 0, false
}

// json shows a row to people: every value as text.
func (r row) json(output []event.Column) json.RawMessage {
	m := map[string]any{}
	for i := range output {
		col := r.column(i)
		if col.IsNull(r.at) {
			m[output[i].Name] = nil
		} else {
			m[output[i].Name] = col.ValueStr(r.at)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return raw
}
