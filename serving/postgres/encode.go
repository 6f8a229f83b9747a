package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tailwater/tailwater/event"
)

// Formats of values.
const (
	formatText   = 0
	formatBinary = 1
)

// An encoder appends the length and the value of one row of a column; what it
// cannot express it notes in its rowEncoder.
type encoder func(dst []byte, row int) []byte

// A rowEncoder writes the rows of a batch as DataRow messages.
type rowEncoder struct {
	columns []encoder
	err     error // the first value that Postgres has no place for
}

// newRowEncoder binds encoders to a batch. formats is one a column.
func newRowEncoder(columns []column, formats []int16, batch arrow.RecordBatch) *rowEncoder {
	e := &rowEncoder{columns: make([]encoder, len(columns))}
	for i, c := range columns {
		e.columns[i] = e.encoder(c, formats[i], batch.Column(i))
	}
	return e
}

// row appends the message of one row.
func (e *rowEncoder) row(dst []byte, row int) []byte {
	at := len(dst)
	dst = append(dst, 'D', 0, 0, 0, 0, byte(len(e.columns)>>8), byte(len(e.columns)))
	for _, column := range e.columns {
		dst = column(dst, row)
	}
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-1))
	return dst
}

func (e *rowEncoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = &wireError{code: codeDatetimeOverflow, message: fmt.Sprintf(format, args...), hint: "cast the value to VARCHAR"}
	}
}

// encoder gives the encoder of a column in a format.
func (e *rowEncoder) encoder(c column, format int16, a arrow.Array) encoder {
	value := e.value(c, format == formatBinary, a)
	if a.NullN() == 0 {
		return value
	}
	return func(dst []byte, row int) []byte {
		if a.IsNull(row) {
			return append(dst, 0xff, 0xff, 0xff, 0xff)
		}
		return value(dst, row)
	}
}

// sized makes an encoder of what appends values whose length is known afterwards.
func sized(value func(dst []byte, row int) []byte) encoder {
	return func(dst []byte, row int) []byte {
		at := len(dst)
		dst = value(append(dst, 0, 0, 0, 0), row)
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		return dst
	}
}

// value gives the encoder of a column's values that are not NULL.
func (e *rowEncoder) value(c column, bin bool, a arrow.Array) encoder {
	switch a := a.(type) {
	case *array.Boolean:
		return func(dst []byte, row int) []byte {
			v, yes, no := a.Value(row), byte('t'), byte('f')
			if bin {
				yes, no = 1, 0
			}
			if v {
				return append(dst, 0, 0, 0, 1, yes)
			}
			return append(dst, 0, 0, 0, 1, no)
		}
	case *array.Int8:
		return integer(bin, c.size, func(row int) int64 { return int64(a.Value(row)) })
	case *array.Int16:
		return integer(bin, c.size, func(row int) int64 { return int64(a.Value(row)) })
	case *array.Int32:
		return integer(bin, c.size, func(row int) int64 { return int64(a.Value(row)) })
	case *array.Int64:
		values := a.Int64Values()
		if c.typ.Kind == event.Decimal {
			return numeric64(bin, int(c.typ.Scale), values)
		}
		return integer(bin, c.size, func(row int) int64 { return values[row] })
	case *array.Decimal128:
		return numeric128(bin, int(c.typ.Scale), a.Value)
	case *array.Float32:
		values := a.Float32Values()
		if bin {
			return func(dst []byte, row int) []byte {
				return binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 4), math.Float32bits(values[row]))
			}
		}
		return sized(func(dst []byte, row int) []byte { return appendFloat(dst, float64(values[row]), 32) })
	case *array.Float64:
		values := a.Float64Values()
		if bin {
			return func(dst []byte, row int) []byte {
				return binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), math.Float64bits(values[row]))
			}
		}
		return sized(func(dst []byte, row int) []byte { return appendFloat(dst, values[row], 64) })
	case *array.String:
		if c.element != 0 {
			return sized(func(dst []byte, row int) []byte { return appendArray(dst, c.element, bin, a.Value(row)) })
		}
		return func(dst []byte, row int) []byte {
			v := a.Value(row)
			return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
		}
	case *array.Binary:
		return bytea(bin, a.Value)
	case *array.Date32:
		return e.date(bin, a.Value)
	case *array.Timestamp:
		return e.timestamp(bin, a.Value)
	}
	panic(fmt.Sprintf("postgres: no encoding of %s", a.DataType()))
}

// integer writes integers of two, four or eight bytes.
func integer(bin bool, size int16, value func(row int) int64) encoder {
	if !bin {
		return sized(func(dst []byte, row int) []byte { return strconv.AppendInt(dst, value(row), 10) })
	}
	switch size {
	case 2:
		return func(dst []byte, row int) []byte {
			return binary.BigEndian.AppendUint16(append(dst, 0, 0, 0, 2), uint16(value(row)))
		}
	case 4:
		return func(dst []byte, row int) []byte {
			return binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 4), uint32(value(row)))
		}
	}
	return func(dst []byte, row int) []byte {
		return binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), uint64(value(row)))
	}
}

// appendFloat writes the shortest text that reads back as the same number, as
// Postgres does: scientific below 1e-4 and from 1e15 (1e6 for single precision).
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	limit := 1e15
	if bits == 32 {
		limit = 1e6
	}
	if abs := math.Abs(f); f == 0 || abs >= 1e-4 && abs < limit {
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
	return strconv.AppendFloat(dst, f, 'e', -1, bits)
}

func bytea(bin bool, value func(row int) []byte) encoder {
	if bin {
		return sized(func(dst []byte, row int) []byte { return append(dst, value(row)...) })
	}
	return sized(func(dst []byte, row int) []byte { return hex.AppendEncode(append(dst, `\x`...), value(row)) })
}

// appendArray writes a JSON array of numbers or strings as an array of one
// dimension.
func appendArray(dst []byte, element uint32, bin bool, doc string) []byte {
	d := json.NewDecoder(strings.NewReader(doc))
	d.UseNumber()
	var values []any
	if err := d.Decode(&values); err != nil {
		panic(fmt.Sprintf("postgres: the engine gave a list that is none: %v", err))
	}
	if bin {
		return appendBinaryArray(dst, element, values)
	}
	dst = append(dst, '{')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch v := v.(type) {
		case nil:
			dst = append(dst, "NULL"...)
		case json.Number:
			dst = append(dst, v...)
		default:
			dst = appendArrayText(dst, fmt.Sprint(v))
		}
	}
	return append(dst, '}')
}

// appendArrayText quotes an element where Postgres would.
func appendArrayText(dst []byte, s string) []byte {
	if s != "" && !strings.EqualFold(s, "null") && !strings.ContainsAny(s, "{},\"\\ \t\n\r\v\f") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

func appendBinaryArray(dst []byte, element uint32, values []any) []byte {
	put := binary.BigEndian.AppendUint32
	nulls := uint32(0)
	for _, v := range values {
		if v == nil {
			nulls = 1
		}
	}
	if len(values) == 0 {
		return put(put(put(dst, 0), 0), element)
	}
	dst = put(put(put(put(put(dst, 1), nulls), element), uint32(len(values))), 1)
	for _, v := range values {
		if v == nil {
			dst = put(dst, math.MaxUint32)
			continue
		}
		n, isNumber := v.(json.Number)
		i, _ := n.Int64()
		switch {
		case isNumber && element == pgtype.Int2OID:
			dst = binary.BigEndian.AppendUint16(put(dst, 2), uint16(i))
		case isNumber && element == pgtype.Int8OID:
			dst = binary.BigEndian.AppendUint64(put(dst, 8), uint64(i))
		case isNumber:
			dst = put(put(dst, 4), uint32(i))
		default:
			text := fmt.Sprint(v)
			dst = append(put(dst, uint32(len(text))), text...)
		}
	}
	return dst
}
