package lake

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/tailwater/tailwater/event"
)

// A RowsWriter writes rows of any columns as one Parquet file, in the types and the
// form of data files, as a stream: row groups go out as they fill. Without Close it
// is no Parquet file. It is used by one goroutine.
type RowsWriter struct {
	columns []*columnWriter
	out     *parquet.GenericWriter[any]
	group   int // rows of the open row group
}

// NewRowsWriter begins a file. The columns' names must differ. HUGEINT has no Parquet
// type: give it as DECIMAL(38,0).
func NewRowsWriter(w io.Writer, columns []event.Column) (*RowsWriter, error) {
	g := orderedGroup{parquet.Group{}, map[string]int{}}
	options := []parquet.WriterOption{nil,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.DictionaryMaxBytes(dictionaryBytes),
		parquet.CreatedBy("tailwater", "", ""),
	}
	for i, c := range columns {
		if _, twice := g.order[c.Name]; twice || c.Kind == event.HugeInt || c.Kind == event.Invalid {
			return nil, fmt.Errorf("parquet: a column %q of type %s cannot be written", c.Name, c.Type)
		}
		c.NotNull = false
		g.Group[c.Name] = parquetNode(c, c.Kind == event.JSON)
		g.order[c.Name] = i
		options = append(options, parquet.SkipPageBounds(c.Name))
	}
	options[0] = parquet.NewSchema("answer", g)
	out := &RowsWriter{out: parquet.NewGenericWriter[any](w, options...)}
	for i, c := range columns {
		c.NotNull = false
		column := newColumnWriter(c, i, out.out.ColumnWriters()[i])
		column.plain = true
		out.columns = append(out.columns, column)
	}
	return out, nil
}

// Write appends the rows of a batch in the storage types of the columns.
func (w *RowsWriter) Write(batch arrow.RecordBatch) error {
	for from, n := 0, int(batch.NumRows()); from < n; {
		to := min(n, from+groupRows-w.group)
		if err := writeColumns(w.columns, batch, from, to); err != nil {
			return fmt.Errorf("parquet: %w", err)
		}
		if w.group += to - from; w.group == groupRows {
			if err := w.out.Flush(); err != nil {
				return fmt.Errorf("parquet: %w", err)
			}
			w.group = 0
		}
		from = to
	}
	return nil
}

// Close writes what is open, and the footer.
func (w *RowsWriter) Close() error {
	if err := w.out.Close(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}
