package serving

import (
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/lake"
)

// parquetEncoder writes a Parquet file, in the types of the lake's data files: HUGEINT
// is DECIMAL(38,0), TIMESTAMP µs adjusted to UTC. Row groups go out as they fill;
// without end the file lacks its footer.
type parquetEncoder struct {
	columns []event.Column // as they are given
	schema  *arrow.Schema
	file    *lake.RowsWriter
}

func newParquet(columns []event.Column) encoder { return &parquetEncoder{columns: columns} }

func (e *parquetEncoder) begin(w io.Writer, _ *Answer) (err error) {
	shown := make([]event.Column, len(e.columns))
	for i, name := range uniqueNames(e.columns) {
		shown[i] = event.Column{Name: name, Type: e.columns[i].Type}
		if shown[i].Kind == event.HugeInt {
			shown[i].Type = event.Type{Kind: event.Decimal, Precision: 38}
		}
	}
	e.schema = event.ArrowSchema(shown)
	e.file, err = lake.NewRowsWriter(w, shown)
	return err
}

func (e *parquetEncoder) rows(_ io.Writer, batch arrow.RecordBatch) error {
	arrays := make([]arrow.Array, len(e.columns))
	for i, c := range e.columns {
		if arrays[i] = batch.Column(i); c.Kind == event.HugeInt {
			if err := fitsDecimal(arrays[i]); err != nil {
				return err
			}
		}
	}
	return e.file.Write(array.NewRecordBatch(e.schema, arrays, batch.NumRows()))
}

func (e *parquetEncoder) end(io.Writer, *Answer, int64, time.Duration) error { return e.file.Close() }
