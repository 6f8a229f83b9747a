package lake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/tailwater/tailwater/event"
)

// fileStats are an add's statistics (PROTOCOL.md, "Per-file Statistics"). All
// four keys are always written: readers differ in what they make of absence.
type fileStats struct {
	NumRecords int64          `json:"numRecords"`
	MinValues  map[string]any `json:"minValues"`
	MaxValues  map[string]any `json:"maxValues"`
	NullCount  map[string]any `json:"nullCount"`
}

// statPrefix is how many code points of a string the statistics keep, as Spark
// does.
const statPrefix = 32

// columnStats gathers the bounds of one column of one file, in storage form:
// integers, decimals up to precision 18, dates and timestamps in lo and hi.
type columnStats struct {
	kind      event.Kind
	scale     uint8
	wide      bool
	nulls     int64
	seen      bool
	lo, hi    int64
	flo, fhi  float64
	unordered bool // a NaN was seen: there are no bounds
	blo, bhi  []byte
	wlo, whi  *big.Int
}

func newColumnStats(c event.Column) columnStats {
	return columnStats{kind: c.Kind, scale: c.Scale, wide: c.Wide()}
}

func (s *columnStats) int(v int64) {
	if !s.seen {
		s.seen, s.lo, s.hi = true, v, v
		return
	}
	s.lo, s.hi = min(s.lo, v), max(s.hi, v)
}

func (s *columnStats) float(v float64) {
	if math.IsNaN(v) {
		s.unordered = true
		return
	}
	if !s.seen {
		s.seen, s.flo, s.fhi = true, v, v
		return
	}
	s.flo, s.fhi = min(s.flo, v), max(s.fhi, v)
}

func (s *columnStats) bytes(v []byte) {
	if !s.seen {
		s.seen, s.blo, s.bhi = true, bytes.Clone(v), bytes.Clone(v)
		return
	}
	if bytes.Compare(v, s.blo) < 0 {
		s.blo = append(s.blo[:0], v...)
	}
	if bytes.Compare(v, s.bhi) > 0 {
		s.bhi = append(s.bhi[:0], v...)
	}
}

func (s *columnStats) big(v *big.Int) {
	if !s.seen {
		s.seen, s.wlo, s.whi = true, v, v
		return
	}
	if v.Cmp(s.wlo) < 0 {
		s.wlo = v
	}
	if v.Cmp(s.whi) > 0 {
		s.whi = v
	}
}

// bounds gives the JSON values of the column's least and greatest value; ok is
// false if it has none that are right for every reader.
func (s *columnStats) bounds() (lo, hi any, ok bool) {
	if !s.seen || s.unordered {
		return nil, nil, false
	}
	switch s.kind {
	case event.TinyInt, event.SmallInt, event.Integer, event.BigInt:
		return s.lo, s.hi, true
	case event.Float, event.Double:
		if math.IsInf(s.flo, 0) || math.IsInf(s.fhi, 0) {
			return nil, nil, false // JSON has no infinity
		}
		return s.flo, s.fhi, true
	case event.Decimal:
		if s.wide {
			return decimalText(s.wlo, s.scale), decimalText(s.whi, s.scale), true
		}
		return decimalText(big.NewInt(s.lo), s.scale), decimalText(big.NewInt(s.hi), s.scale), true
	case event.Varchar, event.JSON:
		lo, _ := cutText(string(s.blo))
		hi, cut := cutText(string(s.bhi))
		if cut {
			// Greater than all that begins with hi, unless the next is the last
			// code point itself.
			if strings.HasPrefix(string(s.bhi[len(hi):]), string(utf8.MaxRune)) {
				return nil, nil, false
			}
			hi += string(utf8.MaxRune)
		}
		return lo, hi, utf8.ValidString(lo) && utf8.ValidString(hi)
	case event.Date:
		return dateBounds(s.lo, s.hi)
	case event.Timestamp:
		return timeBounds(s.lo, s.hi)
	}
	return nil, nil, false
}

// cutText keeps the first statPrefix code points.
func cutText(s string) (prefix string, cut bool) {
	n := 0
	for i := range s {
		if n == statPrefix {
			return s[:i], true
		}
		n++
	}
	return s, false
}

// decimalText writes an unscaled value as a JSON number.
func decimalText(v *big.Int, scale uint8) json.Number {
	digits := new(big.Int).Abs(v).String()
	if n := int(scale) + 1 - len(digits); n > 0 {
		digits = strings.Repeat("0", n) + digits
	}
	if at := len(digits) - int(scale); scale > 0 {
		digits = digits[:at] + "." + digits[at:]
	}
	if v.Sign() < 0 {
		digits = "-" + digits
	}
	return json.Number(digits)
}

// statYear tells whether the text form of a year is the four digits that
// every reader expects.
func statYear(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

func dateBounds(lo, hi int64) (any, any, bool) {
	if lo < math.MinInt32 || hi > math.MaxInt32 {
		return nil, nil, false
	}
	a, z := time.Unix(lo*86400, 0).UTC(), time.Unix(hi*86400, 0).UTC()
	return a.Format(time.DateOnly), z.Format(time.DateOnly), statYear(a) && statYear(z)
}

// statTime has the millisecond precision of the protocol's timestamps.
const statTime = "2006-01-02T15:04:05.000Z"

// timeBounds rounds outwards, so that the bounds hold every value.
func timeBounds(lo, hi int64) (any, any, bool) {
	a := time.UnixMilli(floorDiv(lo, 1000)).UTC()
	z := time.UnixMilli(-floorDiv(-hi, 1000)).UTC()
	return a.Format(statTime), z.Format(statTime), lo != math.MinInt64 && statYear(a) && statYear(z)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// encodeStats writes the statistics of a file.
func encodeStats(rows int64, columns []*columnWriter) (string, error) {
	out := fileStats{rows, map[string]any{}, map[string]any{}, map[string]any{}}
	for _, c := range columns {
		out.NullCount[c.column.Name] = c.stats.nulls
		if lo, hi, ok := c.stats.bounds(); ok {
			out.MinValues[c.column.Name], out.MaxValues[c.column.Name] = lo, hi
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "", fmt.Errorf("statistics: %w", err)
	}
	return string(text), nil
}

// decodeStats reads what a file's statistics say about positions, about the TIMESTAMP
// columns of the schema, and whether the file has all of its columns. known is false if
// they do not bound all positions.
func (f *File) decodeStats(text string, schema *event.Schema) (known bool, err error) {
	// Without statistics a file can hold anything.
	f.Epochs, f.Partitions = [2]uint32{0, math.MaxUint32}, [2]uint32{0, math.MaxUint32}
	f.Seqs, f.At = [2]uint64{0, math.MaxUint64}, [2]int64{math.MinInt64, math.MaxInt64}
	f.Rows = -1
	if text == "" {
		return false, nil
	}
	var s fileStats
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&s); err != nil {
		return false, fmt.Errorf("statistics of %s: %w", f.Path, err)
	}
	f.Rows = s.NumRecords
	f.whole = !slices.ContainsFunc(schema.Columns, func(c event.Column) bool { _, counted := s.NullCount[c.Name]; return !counted })
	bounds := func(name string) (lo, hi int64, ok bool) {
		a, ok1 := s.MinValues[name].(json.Number)
		z, ok2 := s.MaxValues[name].(json.Number)
		if !ok1 || !ok2 || s.NullCount[name] != json.Number("0") {
			return 0, 0, false
		}
		lo, err1 := a.Int64()
		hi, err2 := z.Int64()
		return lo, hi, err1 == nil && err2 == nil && lo >= 0
	}
	known = true
	if lo, hi, ok := bounds(event.ColEpoch); ok && hi <= math.MaxUint32 {
		f.Epochs = [2]uint32{uint32(lo), uint32(hi)}
	} else {
		known = false
	}
	if lo, hi, ok := bounds(event.ColPartition); ok && hi <= math.MaxUint32 {
		f.Partitions = [2]uint32{uint32(lo), uint32(hi)}
	} else {
		known = false
	}
	if lo, hi, ok := bounds(event.ColSeq); ok {
		f.Seqs = [2]uint64{uint64(lo), uint64(hi)}
	} else {
		known = false
	}
	if at, ok := s.times(event.ColIngestedAt); ok {
		f.At = at
	}
	for _, c := range schema.Columns {
		if at, ok := s.times(c.Name); ok && c.Kind == event.Timestamp {
			if f.times == nil {
				f.times = map[string][2]int64{}
			}
			f.times[c.Name] = at
		}
	}
	return known, nil
}

// times gives the bounds of a column of instants, µs since 1970 and rounded outwards.
func (s *fileStats) times(name string) (at [2]int64, ok bool) {
	lo, ok1 := s.MinValues[name].(string)
	hi, ok2 := s.MaxValues[name].(string)
	if !ok1 || !ok2 {
		return at, false
	}
	a, err1 := time.Parse(time.RFC3339, lo)
	z, err2 := time.Parse(time.RFC3339, hi)
	// Other writers cut the greatest value down to the millisecond.
	return [2]int64{a.UnixMicro(), z.UnixMicro() + 999}, err1 == nil && err2 == nil
}

// observe adds a column's values, as they go to Parquet, to its statistics.
func (s *columnStats) observe(values []parquet.Value) {
	for _, v := range values {
		if v.IsNull() {
			s.nulls++
			continue
		}
		switch v.Kind() {
		case parquet.Int32:
			s.int(int64(v.Int32()))
		case parquet.Int64:
			s.int(v.Int64())
		case parquet.Float:
			s.float(float64(v.Float()))
		case parquet.Double:
			s.float(v.Double())
		case parquet.FixedLenByteArray:
			s.big(bigFromBytes(v.ByteArray()))
		case parquet.ByteArray:
			if s.kind != event.Blob {
				s.bytes(v.ByteArray())
			}
		}
	}
}

// bigFromBytes reads a big-endian two's complement integer.
func bigFromBytes(b []byte) *big.Int {
	v := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return v
}
