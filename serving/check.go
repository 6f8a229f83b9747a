package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
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

// relativeTolerance is how far two sums of the same doubles in another order may
// lie apart: n·ε for about four million values of one sign.
const relativeTolerance = 1e-9

// A checked remembers the last check of one view. Whoever holds turn checks; the
// others wait for the result rather than read every event once more.
type checked struct {
	turn chan struct{} // of capacity 1
	last *Check
	at   time.Time
}

func newChecked() *checked { return &checked{turn: make(chan struct{}, 1)} }

// Check gives the last check of the view if it is not older than maxAge, else a
// new one.
func (c *Core) Check(ctx context.Context, name string, maxAge time.Duration) (*Check, error) {
	plan := c.plans[name]
	if plan == nil {
		return nil, c.noView(name)
	}
	known := c.checks[name]
	select {
	case known.turn <- struct{}{}:
		defer func() { <-known.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if age := time.Since(known.at); known.last != nil && age < maxAge {
		again := *known.last
		again.AgeMS = float64(age.Microseconds()) / 1000
		return &again, nil
	}
	check, err := c.compare(ctx, plan)
	if err != nil {
		return nil, err
	}
	known.last, known.at = check, time.Now()
	return check, nil
}

// compare compares a view's answer with its own SQL over the raw events, both at
// the cut of one pin: the difference, which must be empty. Rows that differ in
// nothing but the rounding of doubles are the same row.
func (c *Core) compare(ctx context.Context, plan *view.Plan) (*Check, error) {
	start, name := time.Now(), plan.Name
	p, err := c.pin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer p.close()
	answer, err := plan.AnswerSQL(p.partials(plan), view.Filter{})
	if err != nil {
		return nil, err
	}
	stream, _ := p.state.View(name)
	events, err := p.events(ctx, stream)
	if err != nil {
		return nil, err
	}
	if len(p.problems) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrIncomplete, strings.Join(p.problems, "; "))
	}
	rel, err := p.tx.Conn.Collect(ctx, differenceSQL(len(plan.Output), answer, plan.PlainSQL("("+events+") AS events")))
	if err != nil {
		return nil, c.queryError(ctx, err)
	}
	check := &Check{View: name, Cut: p.cut, Missing: []json.RawMessage{}, Extra: []json.RawMessage{}}
	extra, missing := check.sort(rel)
	extra, missing = pairEqual(extra, missing)
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
// "rows": the number of rows of the view, in n), then the columns.
func differenceSQL(columns int, answer, plain string) string {
	names, nulls := make([]string, columns), make([]string, columns)
	for i := range columns {
		names[i], nulls[i] = fmt.Sprintf("c%d", i), "NULL"
	}
	list := strings.Join(names, ", ")
	return "WITH a(" + list + ") AS MATERIALIZED (" + answer + "), b(" + list + ") AS MATERIALIZED (" + plain + ")" +
		" SELECT 'rows' AS side, count(*)::BIGINT AS n, " + strings.Join(nulls, ", ") + " FROM a" +
		fmt.Sprintf(" UNION ALL (SELECT 'extra', 1, * FROM (FROM a EXCEPT ALL FROM b) LIMIT %d)", differing) +
		fmt.Sprintf(" UNION ALL (SELECT 'missing', 1, * FROM (FROM b EXCEPT ALL FROM a) LIMIT %d)", differing)
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
func pairEqual(extra, missing []row) (restExtra, restMissing []row) {
	byRest := map[string][]row{}
	for _, m := range missing {
		k := m.withoutDoubles()
		byRest[k] = append(byRest[k], m)
	}
	for _, e := range extra {
		k := e.withoutDoubles()
		found := -1
		for i, m := range byRest[k] {
			if e.near(m) {
				found = i
				break
			}
		}
		if found < 0 {
			restExtra = append(restExtra, e)
			continue
		}
		byRest[k] = append(byRest[k][:found:found], byRest[k][found+1:]...)
	}
	for _, rows := range byRest {
		restMissing = append(restMissing, rows...)
	}
	return restExtra, restMissing
}

// columns gives the arrays of the compared columns.
func (r row) columns() []arrow.Array {
	rec := r.batch
	var out []arrow.Array
	for i := 2; ; i++ {
		col := columnOrNil(rec, i)
		if col == nil {
			return out
		}
		out = append(out, col)
	}
}

// columnOrNil gives column i of a record batch, nil behind the last.
func columnOrNil(b duckdb.Batch, i int) arrow.Array {
	if n, ok := b.(interface{ NumCols() int64 }); ok && int64(i) >= n.NumCols() {
		return nil
	}
	return b.Column(i)
}

func (r row) withoutDoubles() string {
	var sb strings.Builder
	for _, col := range r.columns() {
		switch {
		case col.IsNull(r.at):
			sb.WriteString("\x00N")
		case col.DataType().ID() == arrow.FLOAT64 || col.DataType().ID() == arrow.FLOAT32:
			sb.WriteString("\x00D")
		default:
			sb.WriteString("\x00V")
			sb.WriteString(col.ValueStr(r.at))
		}
	}
	return sb.String()
}

// near reports whether all doubles lie within the tolerance.
func (r row) near(o row) bool {
	a, b := r.columns(), o.columns()
	for i := range a {
		x, isDouble := doubleAt(a[i], r.at)
		y, _ := doubleAt(b[i], o.at)
		if isDouble && x != y && !(math.Abs(x-y) <= relativeTolerance*math.Max(1, math.Max(math.Abs(x), math.Abs(y)))) {
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
	for i, col := range r.columns() {
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
