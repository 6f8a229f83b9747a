package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
)

// decodeParameter reads a value in the format in which the client sent it. Whole
// and floating numbers and booleans keep their type; all else goes on as text,
// which the engine casts: to the type that the client named, or to what the
// statement compares it with.
func decodeParameter(n int, oid uint32, format int16, raw []byte) (argument, error) {
	a := argument{Name: strconv.Itoa(n), Type: engineTypes[oid]}
	if raw == nil {
		return a, nil
	}
	var err error
	if format == formatBinary {
		a.Value, err = binaryValue(oid, raw)
	} else {
		a.Value, err = textValue(oid, string(raw))
	}
	if err == nil && oid == pgtype.NumericOID {
		a.Type = decimalType(a.Value.(string))
	}
	if err != nil {
		return a, &wireError{code: codeInvalidText, message: fmt.Sprintf("parameter $%d: %v", n, err)}
	}
	return a, nil
}

// decimalType is the narrowest that holds a number as it is written. What is no
// plain number is a DOUBLE.
func decimalType(text string) string {
	whole, fraction, _ := strings.Cut(strings.TrimLeft(text, "+-"), ".")
	if strings.Trim(whole+fraction, "0123456789") != "" || len(whole)+len(fraction) > 38 {
		return "DOUBLE"
	}
	return fmt.Sprintf("DECIMAL(%d,%d)", max(1, len(whole)+len(fraction)), len(fraction))
}

func textValue(oid uint32, s string) (any, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return nil, fmt.Errorf("invalid byte sequence for encoding \"UTF8\"")
	}
	switch oid {
	case pgtype.BoolOID:
		return boolValue(s)
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("invalid input syntax for type integer: %q", s)
		}
		return n, nil
	case pgtype.Float4OID, pgtype.Float8OID:
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil {
			return nil, fmt.Errorf("invalid input syntax for type double precision: %q", s)
		}
		return f, nil
	case pgtype.ByteaOID:
		if rest, ok := strings.CutPrefix(s, `\x`); ok {
			b, err := hex.DecodeString(rest)
			if err != nil {
				return nil, fmt.Errorf("invalid input syntax for type bytea: %v", err)
			}
			return blobText(b), nil
		}
		return blobText([]byte(s)), nil
	}
	if _, ok := arrayElements[oid]; ok {
		elements, err := arrayLiteral(s)
		return elements, err
	}
	return s, nil
}

func boolValue(s string) (any, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "t", "true", "y", "yes", "on", "1":
		return true, nil
	case "f", "false", "n", "no", "off", "0":
		return false, nil
	}
	return nil, fmt.Errorf("invalid input syntax for type boolean: %q", s)
}

// blobText writes bytes as the engine reads a BLOB from text.
func blobText(b []byte) string {
	var sb strings.Builder
	for _, c := range b {
		if c >= ' ' && c < 0x7f && c != '\\' && c != '\'' && c != '"' {
			sb.WriteByte(c)
		} else {
			fmt.Fprintf(&sb, `\x%02X`, c)
		}
	}
	return sb.String()
}

// binarySizes are those of types of one size.
var binarySizes = map[uint32]int{
	pgtype.BoolOID: 1, pgtype.Int2OID: 2, pgtype.Int4OID: 4, pgtype.Int8OID: 8, pgtype.OIDOID: 4, pgtype.Float4OID: 4, pgtype.Float8OID: 8,
	pgtype.DateOID: 4, pgtype.TimeOID: 8, pgtype.TimestampOID: 8, pgtype.TimestamptzOID: 8, pgtype.UUIDOID: 16, pgtype.IntervalOID: 16,
}

func binaryValue(oid uint32, b []byte) (any, error) {
	if size, fixed := binarySizes[oid]; fixed && len(b) != size {
		return nil, fmt.Errorf("incorrect binary data format: %d bytes instead of %d", len(b), size)
	}
	switch oid {
	case pgtype.BoolOID:
		return b[0] != 0, nil
	case pgtype.Int2OID:
		return int64(int16(binary.BigEndian.Uint16(b))), nil
	case pgtype.Int4OID:
		return int64(int32(binary.BigEndian.Uint32(b))), nil
	case pgtype.OIDOID:
		return int64(binary.BigEndian.Uint32(b)), nil
	case pgtype.Int8OID:
		return int64(binary.BigEndian.Uint64(b)), nil
	case pgtype.Float4OID:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b))), nil
	case pgtype.Float8OID:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case pgtype.DateOID, pgtype.TimeOID, pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.IntervalOID:
		return timeText(oid, b), nil
	case pgtype.UUIDOID:
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
	case pgtype.NumericOID:
		return numericText(b)
	case pgtype.ByteaOID:
		return blobText(b), nil
	case pgtype.JSONBOID:
		if len(b) == 0 || b[0] != 1 {
			return nil, fmt.Errorf("unsupported jsonb version")
		}
		return string(b[1:]), nil
	}
	if element, ok := arrayElements[oid]; ok {
		return binaryArray(element, b)
	}
	return textValue(0, string(b))
}

// timeText writes dates and times as the engine reads them.
func timeText(oid uint32, b []byte) string {
	if oid == pgtype.DateOID {
		switch v := int32(binary.BigEndian.Uint32(b)); v {
		case math.MaxInt32:
			return "infinity"
		case math.MinInt32:
			return "-infinity"
		default:
			return engineDate(time.Unix((int64(v)+daysTo2000)*86_400, 0).UTC())
		}
	}
	v := int64(binary.BigEndian.Uint64(b))
	switch {
	case oid == pgtype.IntervalOID:
		days, months := int32(binary.BigEndian.Uint32(b[8:])), int32(binary.BigEndian.Uint32(b[12:]))
		return fmt.Sprintf("%d months %d days %d microseconds", months, days, v)
	case oid == pgtype.TimeOID:
		return time.UnixMicro(v).UTC().Format("15:04:05.999999")
	case v == math.MaxInt64:
		return "infinity"
	case v == math.MinInt64:
		return "-infinity"
	}
	t := time.UnixMicro(v + microsTo2000).UTC()
	text := engineDate(t)
	bc := strings.HasSuffix(text, " (BC)")
	text = strings.TrimSuffix(text, " (BC)") + t.Format(" 15:04:05.999999")
	if oid == pgtype.TimestamptzOID {
		text += "+00"
	}
	if bc {
		text += " (BC)"
	}
	return text
}

func engineDate(t time.Time) string {
	year, month, day := t.Date()
	dst, bc := appendDate(nil, year, int(month), day)
	if bc != "" {
		return string(dst) + " (BC)"
	}
	return string(dst)
}

// numericText reads a binary numeric.
func numericText(b []byte) (any, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("incorrect binary data format")
	}
	n, weight, sign, scale := int(binary.BigEndian.Uint16(b)), int(int16(binary.BigEndian.Uint16(b[2:]))), binary.BigEndian.Uint16(b[4:]), int(binary.BigEndian.Uint16(b[6:]))
	switch sign {
	case 0xC000:
		return "NaN", nil
	case 0xD000:
		return "Infinity", nil
	case 0xF000:
		return "-Infinity", nil
	}
	if len(b) != 8+2*n || weight > 100 || weight < -100 || scale > 1000 {
		return nil, fmt.Errorf("incorrect binary data format")
	}
	group := func(g int) string {
		if g < 0 || g >= n {
			return "0000"
		}
		return fmt.Sprintf("%04d", binary.BigEndian.Uint16(b[8+2*g:]))
	}
	var whole, fraction strings.Builder
	for g := 0; g <= weight; g++ {
		whole.WriteString(group(g))
	}
	for g := weight + 1; fraction.Len() < scale; g++ {
		fraction.WriteString(group(g))
	}
	text := firstOf(strings.TrimLeft(whole.String(), "0"), "0")
	if scale > 0 {
		text += "." + fraction.String()[:scale]
	}
	if sign == 0x4000 {
		text = "-" + text
	}
	return text, nil
}

// arrayElements are the types of the elements of arrays that parameters may be.
var arrayElements = map[uint32]uint32{
	pgtype.BoolArrayOID: pgtype.BoolOID, pgtype.Int2ArrayOID: pgtype.Int2OID, pgtype.Int4ArrayOID: pgtype.Int4OID, pgtype.Int8ArrayOID: pgtype.Int8OID,
	pgtype.Float4ArrayOID: pgtype.Float4OID, pgtype.Float8ArrayOID: pgtype.Float8OID, pgtype.TextArrayOID: pgtype.TextOID, pgtype.VarcharArrayOID: pgtype.VarcharOID,
}

// binaryArray reads an array of one dimension and writes it as the engine reads
// a list.
func binaryArray(element uint32, b []byte) (any, error) {
	malformed := fmt.Errorf("incorrect binary array format")
	word := func() uint32 {
		if len(b) < 4 {
			b = nil
			return 0
		}
		v := binary.BigEndian.Uint32(b)
		b = b[4:]
		return v
	}
	dimensions, _, _ := word(), word(), word()
	if dimensions == 0 {
		return "[]", nil
	}
	n := word()
	word()
	if dimensions != 1 || b == nil || int64(n) > int64(len(b))/4 {
		return nil, malformed
	}
	var parts []string
	for range n {
		size := word()
		if size == math.MaxUint32 {
			parts = append(parts, "NULL")
			continue
		}
		if int64(size) > int64(len(b)) {
			return nil, malformed
		}
		v, err := binaryValue(element, b[:size])
		if err != nil {
			return nil, err
		}
		b = b[size:]
		parts = append(parts, listElement(v))
	}
	return "[" + strings.Join(parts, ", ") + "]", nil
}

// listElement writes a value inside of a list's text.
func listElement(v any) string {
	if s, ok := v.(string); ok {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	return fmt.Sprint(v)
}

// arrayLiteral turns {a,"b c",NULL} into the text of a list of the engine's.
func arrayLiteral(s string) (string, error) {
	malformed := fmt.Errorf("malformed array literal: %q", s)
	body, ok := strings.CutPrefix(strings.TrimSpace(s), "{")
	if !ok || !strings.HasSuffix(body, "}") {
		return "", malformed
	}
	body = body[:len(body)-1]
	if strings.TrimSpace(body) == "" {
		return "[]", nil
	}
	var parts []string
	var sb strings.Builder
	inQuotes, wasQuoted := false, false
	end := func() {
		text := sb.String()
		if !wasQuoted {
			text = strings.TrimSpace(text)
		}
		if !wasQuoted && strings.EqualFold(text, "null") {
			parts = append(parts, "NULL")
		} else {
			parts = append(parts, listElement(text))
		}
		sb.Reset()
		wasQuoted = false
	}
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case c == '\\' && i+1 < len(body):
			i++
			sb.WriteByte(body[i])
		case c == '"':
			inQuotes, wasQuoted = !inQuotes, true
		case c == ',' && !inQuotes:
			end()
		case (c == '{' || c == '}') && !inQuotes:
			return "", malformed // more dimensions than one
		default:
			sb.WriteByte(c)
		}
	}
	if inQuotes {
		return "", malformed
	}
	end()
	return "[" + strings.Join(parts, ", ") + "]", nil
}
