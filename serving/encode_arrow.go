package serving

import (
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// arrowEncoder writes an Arrow IPC stream in the types that other programs
// expect rather than in those of storage: DECIMAL(p,s) is decimal128(p,s) at
// every precision, HUGEINT decimal128(38,0), TIMESTAMP µs with zone UTC, JSON
// utf8. Without end the stream lacks its end-of-stream mark.
type arrowEncoder struct {
	columns []event.Column
	schema  *arrow.Schema
	writer  *ipc.Writer
	reuse   func(arrow.RecordBatch) // nil if batches are kept
}

func newArrow(columns []event.Column) encoder {
	fields := make([]arrow.Field, len(columns))
	for i, name := range uniqueNames(columns) {
		fields[i] = arrow.Field{Name: name, Type: publicType(columns[i].Type), Nullable: !columns[i].NotNull}
	}
	return &arrowEncoder{columns: columns, schema: arrow.NewSchema(fields, nil)}
}

func publicType(t event.Type) arrow.DataType {
	switch t.Kind {
	case event.Decimal:
		return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
	case event.Timestamp:
		return arrow.FixedWidthTypes.Timestamp_us
	}
	return t.Arrow()
}

func (e *arrowEncoder) begin(w io.Writer, a *Answer) error {
	e.writer = ipc.NewWriter(w, ipc.WithSchema(e.schema))
	e.reuse = a.Reuse
	// An empty batch makes the writer send the schema now: an answer without
	// rows has columns too.
	return e.rows(w, array.NewRecordBatch(event.ArrowSchema(e.columns), emptyColumns(e.columns), 0))
}

func emptyColumns(columns []event.Column) []arrow.Array {
	out := make([]arrow.Array, len(columns))
	for i, c := range columns {
		out[i] = array.MakeArrayOfNull(memory.DefaultAllocator, c.Arrow(), 0)
	}
	return out
}

func (e *arrowEncoder) rows(w io.Writer, batch arrow.RecordBatch) error {
	if int(batch.NumCols()) != len(e.columns) {
		return fmt.Errorf("encode: a batch has %d columns, the answer %d", batch.NumCols(), len(e.columns))
	}
	arrays := make([]arrow.Array, len(e.columns))
	for i, c := range e.columns {
		var err error
		if arrays[i], err = publicArray(c.Type, batch.Column(i)); err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
	}
	if err := e.writer.Write(array.NewRecordBatch(e.schema, arrays, batch.NumRows())); err != nil {
		return err
	}
	if e.reuse != nil {
		e.reuse(batch) // its bytes are with the client's connection, or copied
	}
	return nil
}

func (e *arrowEncoder) end(io.Writer, *Answer, int64, time.Duration) error { return e.writer.Close() }

// publicArray gives a storage array in publicType, without a copy where the
// bytes are the same.
func publicArray(t event.Type, values arrow.Array) (arrow.Array, error) {
	switch {
	case t.Kind == event.Timestamp:
		d := values.Data()
		return array.MakeFromData(array.NewData(publicType(t), d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())), nil
	case t.Kind == event.Decimal && !t.Wide():
		narrow, ok := values.(*array.Int64)
		if !ok {
			return nil, fmt.Errorf("encode %s: stored as %s", t, values.DataType())
		}
		d := narrow.Data()
		wide := make([]decimal128.Num, d.Offset()+d.Len()) // the bitmap of NULLs stays as it is
		for i, v := range narrow.Int64Values() {
			wide[d.Offset()+i] = decimal128.FromI64(v)
		}
		buffers := []*memory.Buffer{d.Buffers()[0], memory.NewBufferBytes(arrow.Decimal128Traits.CastToBytes(wide))}
		return array.MakeFromData(array.NewData(publicType(t), d.Len(), buffers, nil, d.NullN(), d.Offset())), nil
	case t.Kind == event.HugeInt:
		return values, fitsDecimal(values)
	}
	return values, nil
}

// fitsDecimal refuses integers of more digits than decimals have.
func fitsDecimal(values arrow.Array) error {
	wide, ok := values.(*array.Decimal128)
	if !ok {
		return nil
	}
	for i, v := range wide.Values() {
		// Below 2^126 there are 38 digits at most; few come near.
		if hi := v.HighBits(); (hi >= 1<<62 || hi < -1<<62) && !wide.IsNull(i) && v.BigInt().CmpAbs(maxHugeInt) >= 0 {
			return &Refusal{Code: "out_of_range", Message: "a HUGEINT has more than the 38 digits that decimals of Arrow and Parquet hold", Hint: "cast it to VARCHAR, or ask for JSON"}
		}
	}
	return nil
}
