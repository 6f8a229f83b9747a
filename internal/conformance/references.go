package conformance

import (
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// joins are the ways in which views join the reference table names.
var joins = []string{"LEFT JOIN names AS m ON t.k = m.k", "JOIN names AS m ON t.k IS NOT DISTINCT FROM m.k"}

// NamesSQL gives the reference table names. It has several rows of one key, equal ones among them, a key that is NULL, one
// that the stream has not, and lacks some that it has.
const NamesSQL = "SELECT * FROM (VALUES ('a', 'Ann'), ('a', 'Anna'), ('b', 'Ben'), ('d1', 'Dee'), ('d1', 'Dee'), (NULL, 'nobody'), ('z', 'Zoe')) AS v(k, name)"

// Names is the reference table names.
func Names() *duckdb.Relation {
	columns := []event.Column{{Name: "k", Type: event.Type{Kind: event.Varchar}}, {Name: "name", Type: event.Type{Kind: event.Varchar}}}
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	defer b.Release()
	b.Field(0).(*array.StringBuilder).AppendValues([]string{"a", "a", "b", "d1", "d1", "", "z"}, []bool{true, true, true, true, true, false, true})
	b.Field(1).(*array.StringBuilder).AppendValues([]string{"Ann", "Anna", "Ben", "Dee", "Dee", "nobody", "Zoe"}, nil)
	return &duckdb.Relation{Columns: columns, Batches: []duckdb.Batch{duckdb.RecordBatch(b.NewRecordBatch())}}
}
