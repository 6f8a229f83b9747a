package lake

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/aside"
)

const (
	// valueChunk is how many values go to the encoder at a time: what stays in the
	// processor's cache.
	valueChunk = 1024
	// sharedRows is from how many rows on the columns of a block are worth a second
	// goroutine, and encoders is how many goroutines share them at most: landing
	// must not keep every core from those who wait for answers.
	sharedRows = 512
	encoders   = 4
)

// A columnWriter encodes one column of one file, and gathers its statistics. It is
// used by one goroutine at a time; those of one file share nothing until the row
// group is flushed.
type columnWriter struct {
	column     event.Column
	index      int
	definition int // the level of a value: 0 where NULL may not be, else 1
	out        *parquet.ColumnWriter
	stats      columnStats
	plain      bool // no statistics are wanted
	scratch    []parquet.Value
	bytes      []byte // backs the wide decimals of scratch
}

func newColumnWriter(c event.Column, index int, out *parquet.ColumnWriter) *columnWriter {
	w := &columnWriter{column: c, index: index, definition: 1, out: out, stats: newColumnStats(c)}
	if c.NotNull {
		w.definition = 0
	}
	return w
}

// writeColumns encodes rows [from, to) of a block or batch, on several goroutines if it pays.
func writeColumns(columns []*columnWriter, b interface{ Column(i int) arrow.Array }, from, to int) error {
	var next atomic.Int32
	work := func() error {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(columns) {
				return nil
			}
			if err := columns[i].write(b.Column(i), from, to); err != nil {
				return fmt.Errorf("column %q: %w", columns[i].column.Name, err)
			}
		}
	}
	var others errgroup.Group
	if to-from >= sharedRows {
		for range min(encoders, aside.Processors()) - 1 {
			others.Go(work)
		}
	}
	return errors.Join(work(), others.Wait())
}

func (w *columnWriter) write(a arrow.Array, from, to int) error {
	if w.column.NotNull && a.NullN() > 0 {
		return errors.New("a NULL in a column that is NOT NULL")
	}
	for at := from; at < to; at += valueChunk {
		if err := w.fill(a, at, min(to, at+valueChunk)); err != nil {
			return err
		}
		if !w.plain {
			w.stats.observe(w.scratch)
		}
		if _, err := w.out.WriteRowValues(w.scratch); err != nil {
			return err
		}
	}
	return nil
}

// fill puts rows [from, to) of the array into scratch. Strings refer to the array's
// memory; the encoder copies them.
func (w *columnWriter) fill(a arrow.Array, from, to int) error {
	w.scratch, w.bytes = w.scratch[:0], w.bytes[:0]
	if a.NullN() == 0 && w.common(a, from, to) {
		return nil
	}
	value, err := w.valuer(a)
	if err != nil {
		return err
	}
	for row := from; row < to; row++ {
		if a.IsNull(row) {
			w.scratch = append(w.scratch, parquet.NullValue().Level(0, 0, w.index))
			continue
		}
		w.scratch = append(w.scratch, value(row).Level(0, w.definition, w.index))
	}
	return nil
}

// common fills from the arrays that most columns have, without a call a value;
// false for others.
func (w *columnWriter) common(a arrow.Array, from, to int) bool {
	switch a := a.(type) {
	case *array.Int64:
		if w.column.Kind == event.Decimal && w.column.Precision <= 9 {
			return false
		}
		for _, v := range a.Int64Values()[from:to] {
			w.scratch = append(w.scratch, parquet.Int64Value(v))
		}
	case *array.Timestamp:
		for _, v := range a.TimestampValues()[from:to] {
			w.scratch = append(w.scratch, parquet.Int64Value(int64(v)))
		}
	case *array.Int32:
		for _, v := range a.Int32Values()[from:to] {
			w.scratch = append(w.scratch, parquet.Int32Value(v))
		}
	case *array.Float64:
		for _, v := range a.Float64Values()[from:to] {
			w.scratch = append(w.scratch, parquet.DoubleValue(v))
		}
	case *array.String:
		for row := from; row < to; row++ {
			w.scratch = append(w.scratch, parquet.ByteArrayValue(unsafeBytes(a.Value(row))))
		}
	default:
		return false
	}
	if w.definition > 0 {
		for i := range w.scratch {
			w.scratch[i] = w.scratch[i].Level(0, w.definition, w.index)
		}
	}
	return true
}

// valuer gives the function that turns a row of the array into a Parquet value.
func (w *columnWriter) valuer(a arrow.Array) (func(int) parquet.Value, error) {
	switch a := a.(type) {
	case *array.Boolean:
		return func(r int) parquet.Value { return parquet.BooleanValue(a.Value(r)) }, nil
	case *array.Int8:
		return func(r int) parquet.Value { return parquet.Int32Value(int32(a.Value(r))) }, nil
	case *array.Int16:
		return func(r int) parquet.Value { return parquet.Int32Value(int32(a.Value(r))) }, nil
	case *array.Int32:
		return func(r int) parquet.Value { return parquet.Int32Value(a.Value(r)) }, nil
	case *array.Int64:
		if w.column.Kind == event.Decimal && w.column.Precision <= 9 {
			return func(r int) parquet.Value { return parquet.Int32Value(int32(a.Value(r))) }, nil
		}
		return func(r int) parquet.Value { return parquet.Int64Value(a.Value(r)) }, nil
	case *array.Float32:
		return func(r int) parquet.Value { return parquet.FloatValue(a.Value(r)) }, nil
	case *array.Float64:
		return func(r int) parquet.Value { return parquet.DoubleValue(a.Value(r)) }, nil
	case *array.Decimal128:
		size := decimalBytes(int(w.column.Precision))
		return func(r int) parquet.Value {
			from := len(w.bytes)
			w.bytes = appendDecimal(w.bytes, a.Value(r).HighBits(), a.Value(r).LowBits(), size)
			return parquet.FixedLenByteArrayValue(w.bytes[from:])
		}, nil
	case *array.String:
		return func(r int) parquet.Value { return parquet.ByteArrayValue(unsafeBytes(a.Value(r))) }, nil
	case *array.Binary:
		return func(r int) parquet.Value { return parquet.ByteArrayValue(a.Value(r)) }, nil
	case *array.Date32:
		return func(r int) parquet.Value { return parquet.Int32Value(int32(a.Value(r))) }, nil
	case *array.Timestamp:
		return func(r int) parquet.Value { return parquet.Int64Value(int64(a.Value(r))) }, nil
	}
	return nil, fmt.Errorf("no Parquet form for %s", a.DataType())
}

// appendDecimal appends the last size bytes, big-endian, of a 128-bit integer.
func appendDecimal(dst []byte, high int64, low uint64, size int) []byte {
	for i := size - 1; i >= 0; i-- {
		if i >= 8 {
			dst = append(dst, byte(high>>(8*(i-8))))
		} else {
			dst = append(dst, byte(low>>(8*i)))
		}
	}
	return dst
}

// unsafeBytes views a string's bytes without a copy; nobody writes to them.
func unsafeBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
