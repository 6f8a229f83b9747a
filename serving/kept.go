package serving

import (
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
)

// begins gives the beginning of the first of the ranges of each source.
func begins(ranges []event.Range) event.Cut {
	cut := event.Cut{}
	for _, r := range ranges {
		if at, ok := cut[r.Source]; !ok || r.After < at {
			cut[r.Source] = r.After
		}
	}
	return cut
}

// someWithin leaves out batches of a stream none of whose rows is within the bounds. The
// statement leaves out the rows that are not.
func someWithin(s *event.Schema, batches []duckdb.Batch, within lake.Bounds) []duckdb.Batch {
	if len(within) == 0 {
		return batches
	}
	var some []duckdb.Batch
	for _, b := range batches {
		if !outside(s, b, within) {
			some = append(some, b)
		}
	}
	return some
}

// outside reports whether some TIMESTAMP column has no value within its bound.
func outside(s *event.Schema, b duckdb.Batch, within lake.Bounds) bool {
	for i, c := range s.Columns {
		bound, known := within[strings.ToLower(c.Name)]
		if !known || c.Kind != event.Timestamp {
			continue
		}
		times, ok := b.Column(i).(*array.Timestamp)
		if !ok {
			continue
		}
		some := false
		for row, at := range times.TimestampValues() {
			if int64(at) >= bound.Least && int64(at) <= bound.Greatest && times.IsValid(row) {
				some = true
				break
			}
		}
		if !some {
			return true
		}
	}
	return false
}

// shortFirst brings a column of a fixed width to the front: whoever asks for no column,
// such as count(*), is given the first, and texts take much longer to hand over.
func shortFirst(columns []event.Column, batches []duckdb.Batch) ([]event.Column, []duckdb.Batch) {
	short := slices.IndexFunc(columns, func(c event.Column) bool {
		return c.Kind != event.Varchar && c.Kind != event.JSON && c.Kind != event.Blob
	})
	if short <= 0 {
		return columns, batches
	}
	columns = slices.Clone(columns)
	columns[0], columns[short] = columns[short], columns[0]
	turned := make([]duckdb.Batch, len(batches))
	for i, b := range batches {
		turned[i] = turnedBatch{b, short}
	}
	return columns, turned
}

// A turnedBatch has its first column and another one exchanged.
type turnedBatch struct {
	duckdb.Batch
	other int
}

func (b turnedBatch) Column(i int) arrow.Array {
	switch i {
	case 0:
		return b.Batch.Column(b.other)
	case b.other:
		return b.Batch.Column(0)
	}
	return b.Batch.Column(i)
}
