package event

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Join makes one block of the rows of some that follow one another, of one source and
// one schema, in memory of its own. What was refused is not in it.
func Join(blocks []*Block) (*Block, error) {
	first, last := blocks[0], blocks[len(blocks)-1]
	out := &Block{Range: first.Range, Schema: first.Schema, Seal: last.Seal, LogTime: last.LogTime, Stamp: last.Stamp}
	var batches []arrow.RecordBatch
	for _, b := range blocks {
		if b.Schema != first.Schema || b.Source != first.Source || b != first && b.After != out.Through {
			return nil, fmt.Errorf("event: block %s does not follow %s", b.Range, out.Range)
		}
		out.Through = b.Through
		out.Duplicates += b.Duplicates
		if b.Len() == 0 {
			continue
		}
		batches = append(batches, b.Batch)
		out.Runs = append(out.Runs, b.Runs...)
		out.Size += b.Size
	}
	if len(batches) == 0 {
		return out, nil
	}
	columns, rows := make([]arrow.Array, len(first.Schema.Columns)), int64(0)
	for i := range columns {
		parts := make([]arrow.Array, len(batches))
		for k, b := range batches {
			parts[k] = b.Column(i)
		}
		var err error
		if columns[i], err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
			return nil, fmt.Errorf("event: join blocks of %s: %w", out.Range, err)
		}
	}
	for _, b := range batches {
		rows += b.NumRows()
	}
	out.Batch = array.NewRecordBatch(batches[0].Schema(), columns, rows)
	return out, nil
}
