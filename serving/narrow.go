package serving

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// A test says whether a row of a batch may pass a condition of a filter.
type test func(b duckdb.Batch) func(row int) bool

// narrow leaves out the Go-held partial rows that a filter excludes. The engine
// applies conditions only after it has copied every row of a table function; one
// key of a thousand is found here for less. The statement has the same conditions,
// so a row too many does no harm, and conditions that are not simple are left to it.
func narrow(plan *view.Plan, f view.Filter, batches []duckdb.Batch) []duckdb.Batch {
	tests := filterTests(plan, f)
	if !plan.KeysLocal() || len(tests) == 0 {
		return batches
	}
	var out []duckdb.Batch
	for _, b := range batches {
		passes := make([]func(int) bool, len(tests))
		for i, t := range tests {
			passes[i] = t(b)
		}
		var rows []int
	next:
		for row := range b.Len() {
			for _, pass := range passes {
				if !pass(row) {
					continue next
				}
			}
			rows = append(rows, row)
		}
		switch len(rows) {
		case 0:
		case b.Len():
			out = append(out, b)
		default:
			out = append(out, take(plan.Partial, b, rows))
		}
	}
	return out
}

func take(columns []event.Column, b duckdb.Batch, rows []int) duckdb.Batch {
	taken := make([]arrow.Array, len(columns))
	for i := range columns {
		taken[i] = event.Take(b.Column(i), rows)
	}
	return duckdb.RecordBatch(array.NewRecordBatch(event.ArrowSchema(columns), taken, int64(len(rows))))
}

// filterTests gives the conditions that are tested here: bounds of the window, and
// equality with a text key, or its absence.
func filterTests(plan *view.Plan, f view.Filter) []test {
	var out []test
	if plan.Local() && (f.From != nil || f.To != nil) {
		out = append(out, func(b duckdb.Batch) func(int) bool {
			pane, ok := b.Column(0).(*array.Timestamp)
			if !ok {
				return always
			}
			return func(row int) bool {
				at := int64(pane.Value(row))
				return pane.IsValid(row) && (f.From == nil || at >= f.From.UnixMicro()) && (f.To == nil || at < f.To.UnixMicro())
			}
		})
	}
	for _, w := range f.Where {
		for i, k := range plan.Keys {
			if !strings.EqualFold(k.Name, w.Key) || k.Type.Kind != event.Varchar {
				continue
			}
			column := len(plan.Groups()) - len(plan.Keys) + i
			out = append(out, func(b duckdb.Batch) func(int) bool {
				key, ok := b.Column(column).(*array.String)
				if !ok {
					return always
				}
				return func(row int) bool {
					return w.Null == key.IsNull(row) && (w.Null || key.Value(row) == w.Value)
				}
			})
		}
	}
	return out
}

func always(int) bool { return true }
