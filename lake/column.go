package lake

import (
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/parquet-go/parquet-go"
	pqformat "github.com/parquet-go/parquet-go/format"

	"github.com/tailwater/tailwater/event"
)

// A columnBuilder turns Parquet values into an array of a column's storage type.
type columnBuilder struct {
	column event.Column
	b      array.Builder
	toInt  func(parquet.Value) (int64, error)
	plain  bool // toInt changes no unit
}

func newColumnBuilder(c event.Column, mem memory.Allocator) *columnBuilder {
	return &columnBuilder{column: c, b: array.NewBuilder(mem, c.Arrow())}
}

func (b *columnBuilder) finish() arrow.Array {
	defer b.b.Release()
	return b.b.NewArray()
}

func (b *columnBuilder) null() { b.b.AppendNull() }

// from says which file's values come next.
func (b *columnBuilder) from(s *parquet.Schema) (err error) {
	b.toInt, b.plain, err = toInt(s, b.column)
	return err
}

func (b *columnBuilder) append(v parquet.Value) error {
	if v.IsNull() {
		if b.column.NotNull {
			return errors.New("a NULL where none may be")
		}
		b.b.AppendNull()
		return nil
	}
	switch bld := b.b.(type) {
	case *array.BooleanBuilder:
		bld.Append(v.Boolean())
	case *array.Float32Builder:
		bld.Append(v.Float())
	case *array.Float64Builder:
		bld.Append(v.Double())
	case *array.StringBuilder:
		bld.BinaryBuilder.Append(v.ByteArray())
	case *array.BinaryBuilder:
		bld.Append(v.ByteArray())
	case *array.Decimal128Builder:
		bld.Append(decimal128.FromBigInt(unscaled(v)))
	default:
		n, err := b.toInt(v)
		if err != nil {
			return err
		}
		return appendInt(b.b, n)
	}
	return nil
}

func appendInt(b array.Builder, n int64) error {
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(n))
	case *array.Int16Builder:
		b.Append(int16(n))
	case *array.Int32Builder:
		b.Append(int32(n))
	case *array.Int64Builder:
		b.Append(n)
	case *array.Date32Builder:
		b.Append(arrow.Date32(n))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(n))
	default:
		return fmt.Errorf("no integer goes into %s", b.Type())
	}
	return nil
}

// unscaled reads a decimal from any of its physical types.
func unscaled(v parquet.Value) *big.Int {
	switch v.Kind() {
	case parquet.Int32:
		return big.NewInt(int64(v.Int32()))
	case parquet.Int64:
		return big.NewInt(v.Int64())
	}
	return bigFromBytes(v.ByteArray())
}

// toInt gives the function that reads a column's values as integers in the unit
// that blocks have: timestamps in µs, whatever the file has. Writers of Spark's
// family may rewrite timestamps as INT96 (Julian day and ns of the day). plain says
// that integers are what they are in the file.
func toInt(s *parquet.Schema, c event.Column) (convert func(parquet.Value) (int64, error), plain bool, err error) {
	leaf, ok := s.Lookup(c.Name)
	if !ok {
		return nil, false, fmt.Errorf("no column %q", c.Name)
	}
	mul, div := int64(1), int64(1) // from the file's unit to µs
	if t := leaf.Node.Type().LogicalType(); c.Kind == event.Timestamp && t != nil {
		if ts, ok := t.Value.(*pqformat.TimestampType); ok && ts.Unit.Value != nil {
			unit := ts.Unit.Value.Duration()
			mul, div = max(1, int64(unit/time.Microsecond)), max(1, int64(time.Microsecond/unit))
		}
	}
	return func(v parquet.Value) (int64, error) {
		switch v.Kind() {
		case parquet.Boolean:
			return 0, fmt.Errorf("a boolean where %s was expected", c.Type)
		case parquet.Int32:
			return int64(v.Int32()) * mul / div, nil
		case parquet.Int64:
			return floorDiv(v.Int64()*mul, div), nil
		case parquet.Int96:
			const julianEpoch = 2440588 // Julian day number of 1970-01-01
			x := v.Int96()
			ns := int64(uint64(x[1])<<32 | uint64(x[0]))
			return (int64(x[2])-julianEpoch)*86_400_000_000 + ns/1000, nil
		case parquet.FixedLenByteArray, parquet.ByteArray:
			if n := unscaled(v); c.Kind == event.Decimal && n.IsInt64() {
				return n.Int64(), nil
			}
		}
		return 0, fmt.Errorf("a value of type %s where %s was expected", v.Kind(), c.Type)
	}, mul == 1 && div == 1, nil
}
