package serving

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
)

// timeLayout is RFC 3339 in UTC, with microseconds but for trailing zeros.
const timeLayout = "2006-01-02T15:04:05.999999Z07:00"

// A cell appends the value of one row of a column as plain text, and says
// whether the text is a value that JSON writes without quotes. It is not called
// for NULL.
//
//	BOOLEAN, integers    true, -12
//	DECIMAL, HUGEINT     every digit, as a JSON number: 12.50
//	FLOAT, DOUBLE        the shortest text that reads back as the same number;
//	                     NaN, Infinity and -Infinity, which JSON lacks, are strings
//	TIMESTAMP, DATE      RFC 3339 in UTC, 2024-05-01; or infinity, -infinity
//	BLOB                 standard base64
//	JSON                 as it is, so that it nests in a JSON answer
type cell func(dst []byte, row int) (out []byte, bare bool)

// cellOf makes the cell of a column from its storage array (event.Type.Arrow).
func cellOf(t event.Type, values arrow.Array) (cell, error) {
	switch v := values.(type) {
	case *array.Boolean:
		return func(dst []byte, i int) ([]byte, bool) { return strconv.AppendBool(dst, v.Value(i)), true }, nil
	case *array.Int8:
		return intCell(v.Value), nil
	case *array.Int16:
		return intCell(v.Value), nil
	case *array.Int32:
		return intCell(v.Value), nil
	case *array.Int64:
		if t.Kind == event.Decimal {
			return func(dst []byte, i int) ([]byte, bool) {
				var digits [20]byte
				return appendDecimal(dst, strconv.AppendInt(digits[:0], v.Value(i), 10), int(t.Scale)), true
			}, nil
		}
		return intCell(v.Value), nil
	case *array.Decimal128:
		return func(dst []byte, i int) ([]byte, bool) {
			return appendDecimal(dst, wideText(v, i), int(t.Scale)), true
		}, nil
	case *array.Float32:
		return func(dst []byte, i int) ([]byte, bool) { return appendFloat(dst, float64(v.Value(i)), 32) }, nil
	case *array.Float64:
		return func(dst []byte, i int) ([]byte, bool) { return appendFloat(dst, v.Value(i), 64) }, nil
	case *array.String:
		return func(dst []byte, i int) ([]byte, bool) { return append(dst, v.Value(i)...), false }, nil
	case *array.Binary:
		return func(dst []byte, i int) ([]byte, bool) { return appendBase64(dst, v.Value(i)), false }, nil
	case *array.Date32:
		return func(dst []byte, i int) ([]byte, bool) { return appendDate(dst, int32(v.Value(i))), false }, nil
	case *array.Timestamp:
		return func(dst []byte, i int) ([]byte, bool) { return appendTimestamp(dst, int64(v.Value(i))), false }, nil
	}
	return nil, fmt.Errorf("encode %s: no text for Arrow type %s", t, values.DataType())
}

func intCell[T int8 | int16 | int32 | int64](value func(int) T) cell {
	return func(dst []byte, i int) ([]byte, bool) { return strconv.AppendInt(dst, int64(value(i)), 10), true }
}

// cellsOf makes the cells of a batch.
func cellsOf(columns []event.Column, batch arrow.RecordBatch) ([]cell, error) {
	if int(batch.NumCols()) != len(columns) {
		return nil, fmt.Errorf("encode: a batch has %d columns, the answer %d", batch.NumCols(), len(columns))
	}
	cells := make([]cell, len(columns))
	for i, c := range columns {
		var err error
		if cells[i], err = cellOf(c.Type, batch.Column(i)); err != nil {
			return nil, fmt.Errorf("column %q: %w", c.Name, err)
		}
	}
	return cells, nil
}

func wideText(v *array.Decimal128, i int) []byte {
	n := v.Value(i)
	if hi := n.HighBits(); hi == int64(n.LowBits())>>63 { // fits 64 bits
		return strconv.AppendInt(nil, int64(n.LowBits()), 10)
	}
	return n.BigInt().Append(nil, 10)
}

// appendDecimal puts the point into an integer's digits.
func appendDecimal(dst, digits []byte, scale int) []byte {
	if scale == 0 {
		return append(dst, digits...)
	}
	if digits[0] == '-' {
		dst, digits = append(dst, '-'), digits[1:]
	}
	for pad := scale + 1 - len(digits); pad > 0; pad-- {
		digits = append([]byte{'0'}, digits...)
	}
	whole := len(digits) - scale
	dst = append(dst, digits[:whole]...)
	dst = append(dst, '.')
	return append(dst, digits[whole:]...)
}

func appendFloat(dst []byte, f float64, bits int) ([]byte, bool) {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...), false
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...), false
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...), false
	}
	// Exponents where ECMAScript's Number.toString writes them.
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits), true
}

// appendDate writes days since 1970; the engine's infinities are the extremes.
func appendDate(dst []byte, days int32) []byte {
	switch days {
	case math.MaxInt32:
		return append(dst, "infinity"...)
	case -math.MaxInt32:
		return append(dst, "-infinity"...)
	}
	return time.Unix(int64(days)*86400, 0).UTC().AppendFormat(dst, "2006-01-02")
}

// appendTimestamp writes microseconds since 1970; as appendDate.
func appendTimestamp(dst []byte, micros int64) []byte {
	switch micros {
	case math.MaxInt64:
		return append(dst, "infinity"...)
	case -math.MaxInt64:
		return append(dst, "-infinity"...)
	}
	return appendTime(dst, micros)
}

// appendTime writes microseconds since 1970 in timeLayout: what time.Time does, in a
// fifth of the time for the years that occur.
func appendTime(dst []byte, micros int64) []byte {
	day, rest := micros/86_400_000_000, micros%86_400_000_000
	if rest < 0 {
		day, rest = day-1, rest+86_400_000_000
	}
	const first, last = -719_162, 2_932_896 // 0001-01-01 and 9999-12-31
	if day < first || day > last {
		return time.UnixMicro(micros).UTC().AppendFormat(dst, timeLayout)
	}
	// Days since 0000-03-01 by eras of 400 years (Hinnant, "chrono-compatible
	// low-level date algorithms").
	z := uint32(day + 719_468)
	era := z / 146_097
	doe := z % 146_097
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d, m, y := doy-(153*mp+2)/5+1, mp+3, yoe+era*400
	if m > 12 {
		m, y = m-12, y+1
	}
	seconds, fraction := uint32(rest/1_000_000), uint32(rest%1_000_000)
	pair := func(n uint32, end byte) { dst = append(dst, byte('0'+n/10), byte('0'+n%10), end) }
	dst = append(dst, byte('0'+y/1000), byte('0'+y/100%10))
	pair(y%100, '-')
	pair(m, '-')
	pair(d, 'T')
	pair(seconds/3600, ':')
	pair(seconds/60%60, ':')
	pair(seconds%60, '.')
	if fraction == 0 {
		dst[len(dst)-1] = 'Z'
		return dst
	}
	for unit := uint32(100_000); fraction > 0; unit /= 10 {
		dst = append(dst, byte('0'+fraction/unit))
		fraction %= unit
	}
	return append(dst, 'Z')
}

const hexDigits = "0123456789abcdef"

// appendString quotes s as JSON (RFC 8259); bytes that are no UTF-8 become U+FFFD.
func appendString(dst []byte, s []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r) // RuneError is U+FFFD
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}

// appendRaw nests a JSON text; one that is none becomes a string, so that a
// single bad value cannot break the answer.
func appendRaw(dst, raw []byte) []byte {
	if !json.Valid(raw) {
		return appendString(dst, raw)
	}
	return appendCompact(dst, raw)
}

// maxHugeInt is the first integer that decimal128(38, 0) cannot hold.
var maxHugeInt = new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil)
