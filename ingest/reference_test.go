package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"

	"github.com/tailwater/tailwater/event"
)

// This file holds a second decoder, slow and plain, of encoding/json,
// math/big, regexp and time. Whatever the fast one takes or refuses, and every
// value, must be the same.

var (
	refNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	refTime   = regexp.MustCompile(`^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]+)?)?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$`)
	refEpoch  = regexp.MustCompile(`^-?[0-9]{1,15}$`)
	refEscape = regexp.MustCompile(`\\(?:u([0-9a-fA-F]{4})|[^u])`)
)

func referenceSchema() *event.Schema {
	s := everyKind()
	s.Columns = s.Columns[:14]
	delete(s.Formats, 14)
	return s
}

// refRecord gives the values of a record by column, nil for NULL; false if it
// is refused.
func refRecord(s *event.Schema, raw []byte) ([]any, bool) {
	if !utf8.Valid(raw) || !json.Valid(raw) || refBadEscapes(raw) || refDepth(raw) > maxDepth {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	row, seen := make([]any, len(s.Columns)), make([]bool, len(s.Columns))
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		i := s.Index(key.(string))
		if i < 0 || seen[i] {
			return nil, false
		}
		seen[i] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
		if string(value) == "null" {
			continue
		}
		ok := false
		if row[i], ok = refValue(s.Columns[i].Type, s.Formats[i] != "", value); !ok {
			return nil, false
		}
	}
	for i, c := range s.Columns {
		if c.NotNull && row[i] == nil {
			return nil, false
		}
	}
	return row, true
}

// refBadEscapes reports NUL characters and halves of surrogate pairs.
func refBadEscapes(raw []byte) bool {
	end, high := -1, false // where the last escape ended, and whether it was a high surrogate
	for _, m := range refEscape.FindAllSubmatchIndex(raw, -1) {
		code := int64(-1)
		if m[2] >= 0 {
			code, _ = strconv.ParseInt(string(raw[m[2]:m[3]]), 16, 32)
		}
		low := 0xDC00 <= code && code <= 0xDFFF
		if code == 0 || high != (low && m[0] == end) || low && !high {
			return true
		}
		high, end = 0xD800 <= code && code <= 0xDBFF, m[1]
	}
	return high
}

func refDepth(raw []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(raw))
	depth := 0
	for {
		t, err := d.Token()
		if err != nil {
			return deepest
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		deepest = max(deepest, depth)
	}
}

func refValue(t event.Type, epoch bool, raw json.RawMessage) (any, bool) {
	text := string(raw)
	isText := json.Unmarshal(raw, &text) == nil
	switch t.Kind {
	case event.JSON:
		return string(raw), true
	case event.Varchar:
		return text, isText
	case event.Boolean:
		return text == "true", text == "true" || text == "false"
	case event.Timestamp, event.Date:
		if epoch {
			n, err := strconv.ParseInt(text, 10, 64)
			us := n * 1e6
			return us, refEpoch.MatchString(text) && err == nil && n > -1e12 && n < 1e12 && inYears(us)
		}
		return refMoment(text, isText, t.Kind == event.Date)
	}
	if !refNumber.MatchString(text) {
		return nil, false
	}
	switch t.Kind {
	case event.Double:
		f, err := strconv.ParseFloat(text, 64)
		return f, err == nil
	case event.Float:
		f, err := strconv.ParseFloat(text, 32)
		return float32(f), err == nil
	}
	return refScaled(t, text)
}

func refMoment(text string, isText, date bool) (any, bool) {
	m := refTime.FindStringSubmatch(text)
	if m == nil || !isText || date && m[4] != "" {
		return nil, false
	}
	n := func(s string) int { v, _ := strconv.Atoi(s); return v }
	nanos := n((m[7] + "000000000")[min(len(m[7]), 1):][:9]) / 1000 * 1000
	at := time.Date(n(m[1]), time.Month(n(m[2])), n(m[3]), n(m[4]), n(m[5]), n(m[6]), nanos, time.UTC)
	if at.Day() != n(m[3]) || int(at.Month()) != n(m[2]) || at.Hour() != n(m[4]) || at.Minute() != n(m[5]) || at.Second() != n(m[6]) || n(m[1]) == 0 {
		return nil, false
	}
	if zone := strings.ReplaceAll(m[8], ":", ""); len(zone) > 1 {
		hours, minutes := n(zone[1:3]), n(zone[3:])
		if hours > 23 || minutes > 59 {
			return nil, false
		}
		shift := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
		if zone[0] == '+' {
			shift = -shift
		}
		at = at.Add(shift)
	}
	if date {
		return at.Unix() / 86400 * 86400 * 1e6, true
	}
	return at.UnixMicro(), at.Year() >= 1 && at.Year() <= 9999
}

func refScaled(t event.Type, text string) (any, bool) {
	if _, e, ok := strings.Cut(strings.ToLower(text), "e"); ok {
		if n, err := strconv.Atoi(e); err != nil || n > 5000 || n < -5000 {
			mantissa, _ := new(big.Rat).SetString(strings.ToLower(text)[:strings.IndexByte(strings.ToLower(text), 'e')])
			return "0", mantissa.Sign() == 0
		}
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, false
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil)))
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil)
	if t.Kind != event.Decimal {
		bits := map[event.Kind]uint{event.TinyInt: 7, event.SmallInt: 15, event.Integer: 31, event.BigInt: 63}[t.Kind]
		limit.Lsh(big.NewInt(1), bits)
		if r.IsInt() && new(big.Int).Neg(r.Num()).Cmp(limit) == 0 {
			return r.Num().String(), true
		}
	}
	return r.Num().String(), r.IsInt() && r.Num().CmpAbs(limit) < 0
}

// asReference gives a decoded value in the reference's form.
func asReference(out Decoded, row, col int) any {
	a := out.Rows.Column(col)
	if a.IsNull(row) {
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(row)
	case *array.Int8:
		return fmt.Sprint(a.Value(row))
	case *array.Int16:
		return fmt.Sprint(a.Value(row))
	case *array.Int32:
		return fmt.Sprint(a.Value(row))
	case *array.Int64:
		return fmt.Sprint(a.Value(row))
	case *array.Decimal128:
		return a.Value(row).BigInt().String()
	case *array.Float32:
		return a.Value(row)
	case *array.Float64:
		return a.Value(row)
	case *array.String:
		return a.Value(row)
	case *array.Date32:
		return int64(a.Value(row)) * dayMicros
	case *array.Timestamp:
		return int64(a.Value(row))
	}
	panic("no reference form for " + a.DataType().String())
}

type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// compare checks what became of records, of which the i-th is on line lines[i].
func compare(t tester, s *event.Schema, out Decoded, records [][]byte, lines []int64) {
	t.Helper()
	row, refused := 0, 0
	for i, raw := range records {
		want, ok := refRecord(s, raw)
		if !ok {
			if refused == len(out.Refused) || out.Refused[refused].Line != lines[i] {
				t.Fatalf("record %q was not refused", raw)
			}
			if got := out.Refused[refused]; !bytes.Equal(got.Raw, raw) || got.Reason == "" {
				t.Fatalf("record %q: refused as %+v", raw, got)
			}
			refused++
			continue
		}
		if refused < len(out.Refused) && out.Refused[refused].Line == lines[i] {
			t.Fatalf("record %q was refused: %s", raw, out.Refused[refused].Reason)
		}
		if row == out.Accepted() {
			t.Fatalf("record %q is missing", raw)
		}
		for c, w := range want {
			if got := asReference(out, row, c); got != w {
				t.Fatalf("record %q, column %s: %v, want %v", raw, s.Columns[c].Name, got, w)
			}
		}
		row++
	}
	if row != out.Accepted() || refused != len(out.Refused) {
		t.Fatalf("%d rows and %d refused, want %d and %d", out.Accepted(), len(out.Refused), row, refused)
	}
}

// compareBody decodes a body both ways, as lines and, if it is a JSON array, as one.
func compareBody(t tester, d *Decoder, body []byte) {
	t.Helper()
	s := d.source
	out, err := d.Decode(body, false)
	if err != nil {
		t.Fatalf("decode lines: %v", err)
	}
	var records [][]byte
	var lines []int64
	for i, line := range bytes.Split(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), []byte("\n")) {
		if line = bytes.TrimSuffix(bytes.TrimLeft(line, " \t\r"), []byte("\r")); len(line) > 0 {
			records, lines = append(records, line), append(lines, int64(i+1))
		}
	}
	compare(t, s, out, records, lines)

	var elements []json.RawMessage
	isArray := json.Unmarshal(body, &elements) == nil && elements != nil
	out, err = d.Decode(body, true)
	if !isArray {
		return // refused, or read more mercifully; it must only not crash
	}
	if err != nil {
		t.Fatalf("decode array: %v", err)
	}
	records, lines = nil, nil
	for i, e := range elements {
		records, lines = append(records, e), append(lines, int64(i+1))
	}
	compare(t, s, out, records, lines)
}

// FuzzDecode compares with the reference. Run it with -fuzz=FuzzDecode.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"b":true,"i8":-128,"i16":32767,"i32":-2147483648,"f32":1.5,"f64":0.1,"d":1234567890.12,"wide":-1234567890123456789012345678901234.5678}`,
		`{"id":2,"s":"\u00e9\ud83d\ude00 \"\\\/\b","j":{"a":[1,2,{"b":null}]},"day":"2024-02-29","ts":"2024-02-29T23:59:59.999999Z","epoch":1700000000}`,
		`[{"id":1},{"id":"2","f64":"1e-7"},{"nope":1},{"id":1.0,"d":1.50}]`,
		"{\"id\":1}\r\n\n {\"ID\":2, \"s\":null}\n{\"id\":3,\"s\":\"\xff\"}",
		`{"id":1,"s":"\ud800"}`, `{"id":1,"s":"\u0000"}`, `{"id":1,"j":[[[[]]]]}`, `{"id":1e400}`, `{"id":1,"id":1}`,
		`{"id":1,"ts":"2024-01-01 10:20+0530","day":"0001-01-01"}`, "\xef\xbb\xbf{\"id\":1}",
	} {
		f.Add([]byte(seed))
	}
	d, err := NewDecoder(referenceSchema(), Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) { compareBody(t, d.clone(), body) })
}

// TestDecodeAgreesWithReference generates bodies that are nearly right, which
// blind fuzzing seldom finds.
func TestDecodeAgreesWithReference(t *testing.T) {
	s := referenceSchema()
	number := rapid.OneOf(
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?`),
		rapid.StringMatching(`-?[0-9]{0,40}\.?[0-9]{0,40}`),
		rapid.SampledFrom([]string{"0", "-0", "127", "128", "-128", "-129", "32768", "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e308", "1e309", "3.5e38", "4.9e-324", "9007199254740993", "0.1", "1e22", "1e23", "9999999999.99"}),
	)
	clock := rapid.StringMatching(`[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\.[0-9]{1,9})?)?(Z|[+-][0-2][0-9](:?[0-5][0-9])?)?)?`)
	text := rapid.Custom(func(t *rapid.T) string {
		b, _ := json.Marshal(rapid.String().Draw(t, "text"))
		return string(b)
	})
	quote := func(s string) string { return `"` + s + `"` }
	leaf := rapid.OneOf(number, rapid.Map(number, quote), rapid.Map(clock, quote), text,
		rapid.SampledFrom([]string{"null", "true", "false", `"true"`, "nul", "NaN", "", `"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\u0000"`, "\"\xff\"", `"\x"`, "{}", "[]", `{"a":[1,{"b":"c"}]}`, `[1,]`, `{"a" 1}`, "\"\t\""}))
	record := rapid.Custom(func(t *rapid.T) string {
		var w strings.Builder
		w.WriteString(`{"id":` + rapid.SampledFrom([]string{"1", "2", "3", `"4"`, "null", "1.5"}).Draw(t, "id"))
		for range rapid.IntRange(0, 5).Draw(t, "fields") {
			name := s.Columns[rapid.IntRange(0, len(s.Columns)-1).Draw(t, "column")].Name
			name = rapid.SampledFrom([]string{name, name, name, name, name, name, strings.ToUpper(name), "nope", `\u0069d`}).Draw(t, "name")
			w.WriteString(rapid.SampledFrom([]string{",", ",", ",", ", ", " ,", ",,", ""}).Draw(t, "comma"))
			w.WriteString(quote(name) + rapid.SampledFrom([]string{":", ":", ":", ": ", " :", ""}).Draw(t, "colon") + leaf.Draw(t, "value"))
		}
		w.WriteString(rapid.SampledFrom([]string{"}", "}", "}", "}", " }", "", "}}", "} x"}).Draw(t, "end"))
		return w.String()
	})
	d, err := NewDecoder(s, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(record, 1, 8).Draw(t, "records")
		compareBody(t, d, []byte(strings.Join(records, "\n")))
		compareBody(t, d, []byte("["+strings.Join(records, ",")+"]"))
	})
}
