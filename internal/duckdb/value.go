package duckdb

import (
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/tailwater/tailwater/event"
)

// Value gives row i of an array that stores values of type t, as nil for
// NULL, bool, int64 (TINYINT to BIGINT), *big.Int (HUGEINT), float64 (FLOAT and
// DOUBLE), string (VARCHAR, JSON, and DECIMAL as text with all its decimals),
// []byte (BLOB), or time.Time in UTC (DATE and TIMESTAMP).
func Value(t event.Type, a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(i)
	case *array.Int8:
		return int64(a.Value(i))
	case *array.Int16:
		return int64(a.Value(i))
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		if t.Kind == event.Decimal {
			return decimal128.FromI64(a.Value(i)).ToString(int32(t.Scale))
		}
		return a.Value(i)
	case *array.Decimal128:
		if t.Kind == event.Decimal {
			return a.Value(i).ToString(int32(t.Scale))
		}
		return a.Value(i).BigInt()
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		return a.Value(i)
	case *array.Date32:
		return time.Unix(int64(a.Value(i))*86400, 0).UTC()
	case *array.Timestamp:
		return time.UnixMicro(int64(a.Value(i))).UTC()
	}
	panic(fmt.Sprintf("duckdb: %s does not store values of %s", a.DataType(), t))
}
