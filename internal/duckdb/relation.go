package duckdb

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
)

// A Batch is rows held by Go in the storage types of event.Type.Arrow. It is
// immutable, and may be read from several goroutines. An *event.Block is one.
type Batch interface {
	Len() int
	Column(i int) arrow.Array
}

var _ Batch = (*event.Block)(nil)

// A Relation is a whole table held by Go. It is immutable.
type Relation struct {
	Columns []event.Column
	Batches []Batch
}

// Len is the number of rows.
func (r *Relation) Len() int {
	n := 0
	for _, b := range r.Batches {
		n += b.Len()
	}
	return n
}

// Index finds a column by its exact name; -1 if there is none.
func (r *Relation) Index(name string) int {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// Value gives one value in the form of Value. It is meant for results of a few
// rows. Row and column count from 0; beyond the end it panics.
func (r *Relation) Value(row, column int) any {
	for _, b := range r.Batches {
		if row < b.Len() {
			return Value(r.Columns[column].Type, b.Column(column), row)
		}
		row -= b.Len()
	}
	panic("duckdb: row beyond the end of the relation")
}

// recordBatch makes a record batch a Batch.
type recordBatch struct{ arrow.RecordBatch }

func (r recordBatch) Len() int { return int(r.NumRows()) }

// RecordBatch makes a record batch a Batch. Its columns must be of the storage
// types of event.Type.Arrow.
func RecordBatch(r arrow.RecordBatch) Batch { return recordBatch{r} }
