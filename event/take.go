package event

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Take gives an array whose value i is a's value rows[i], in Go memory of its own. a
// is of a storage type of Type.Arrow.
func Take(a arrow.Array, rows []int) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, a.DataType())
	defer b.Release()
	b.Reserve(len(rows))
	for _, i := range rows {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		switch a := a.(type) {
		case *array.Boolean:
			b.(*array.BooleanBuilder).Append(a.Value(i))
		case *array.Int8:
			b.(*array.Int8Builder).Append(a.Value(i))
		case *array.Int16:
			b.(*array.Int16Builder).Append(a.Value(i))
		case *array.Int32:
			b.(*array.Int32Builder).Append(a.Value(i))
		case *array.Int64:
			b.(*array.Int64Builder).Append(a.Value(i))
		case *array.Float32:
			b.(*array.Float32Builder).Append(a.Value(i))
		case *array.Float64:
			b.(*array.Float64Builder).Append(a.Value(i))
		case *array.String:
			b.(*array.StringBuilder).Append(a.Value(i))
		case *array.Binary:
			b.(*array.BinaryBuilder).Append(a.Value(i))
		case *array.Decimal128:
			b.(*array.Decimal128Builder).Append(a.Value(i))
		case *array.Date32:
			b.(*array.Date32Builder).Append(a.Value(i))
		case *array.Timestamp:
			b.(*array.TimestampBuilder).Append(a.Value(i))
		default:
			panic("event: no builder for " + a.DataType().String())
		}
	}
	return b.NewArray()
}
