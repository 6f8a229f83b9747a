package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
)

// The errors for which a whole body is unusable. They come wrapped, with what
// was found and what to do.
var (
	// ErrTooLarge: the body is over one of the Limits.
	ErrTooLarge = errors.New("body too large")
	// ErrUnusable: the body is not the JSON text that it was announced to be, or
	// next to none of its records fits the stream.
	ErrUnusable = errors.New("body not usable")
)

// Decoded is what became of a body, or of a slice of one.
type Decoded struct {
	Rows    arrow.RecordBatch // the accepted records, in event.Schema.Arrow; nil if none
	Refused []event.Refused   // the others; Seq, Idx and At are not set
	Size    int               // about how many bytes all this holds
}

// Accepted is the number of rows.
func (d Decoded) Accepted() int {
	if d.Rows == nil {
		return 0
	}
	return int(d.Rows.NumRows())
}

// byteOrderMark may stand before a body, as some editors and exports write it.
var byteOrderMark = []byte("\xef\xbb\xbf")

// A layout tells how the records lie in a body.
type layout int

const (
	layoutLines  layout = iota // newline-delimited JSON
	layoutArray                // one JSON array of records
	layoutObject               // one record, over any number of lines
)

// A Decoder decodes bodies of one stream into columns. It is reused to spare
// allocations, and is not safe for concurrent use; what it returned stays valid.
//
// A record is a JSON object (RFC 8259) whose keys are columns, in any order,
// exactly or else without regard to case. A key that is no column, or comes
// twice, refuses the record; a column that is null or missing is NULL. By type:
//
//	BOOLEAN         true, false, "true", "false"
//	TINYINT…BIGINT  a whole number in range: 1, 1.0, 1e3; also in quotes
//	FLOAT, DOUBLE   a number, rounded once to the nearest; also in quotes
//	DECIMAL         a number that the scale holds exactly; also in quotes
//	VARCHAR         a string without U+0000
//	JSON            any value, kept as the text that was sent
//	DATE            "2026-11-20"
//	TIMESTAMP       "2026-11-20T09:30:00.25+01:00": T or a space, seconds,
//	                fraction (to µs, the rest cut off) and offset (else UTC) optional
//
// A DATE or TIMESTAMP with a format takes that instead; see CompileTimeFormat.
// A column that is looked up gets its value from the lookup's table, by the values of
// other columns, and refuses a record that has one for it.
//
// A value that its column cannot hold exactly (but for FLOAT, DOUBLE and digits
// beyond µs) refuses its record, never the body.
type Decoder struct {
	limits  Limits
	schema  *arrow.Schema
	byName  map[string]int
	source  *event.Schema
	cols    []column
	fixed   int    // bytes of a row besides text
	unknown string // the reason for an unknown field
	lookups []lookup
	sent    int // columns that events come with

	first int // the column whose key is expected first

	// The body being decoded.
	body    []byte
	layout  layout
	pos     int
	line    int64 // of the last record read; elements in an array
	invalid bool  // the body is not UTF-8 throughout
	records int
	refused int
	decoded int // bytes of the slices already given out

	// The slice being filled, and where it ends.
	maxRows  int
	maxBytes int
	rows     int
	text     int // bytes of text in all columns
	out      []event.Refused
	rawBytes int

	// The record being read.
	stamp      uint64 // differs for each record
	field, why string // set by refuse
	scratch    []byte
	rowBytes   int // bytes of a record of the last body, to size slices
}

// NewDecoder compiles a decoder for a stream's events. It fails if a column has
// a type that JSON cannot carry, or a time format that does not compile. tables are
// those of the schema's lookups, in order.
func NewDecoder(s *event.Schema, limits Limits, tables ...*Table) (*Decoder, error) {
	d := &Decoder{
		limits: limits.withDefaults(),
		schema: s.Arrow(),
		source: s,
		byName: make(map[string]int, len(s.Columns)),
		cols:   make([]column, len(s.Columns)),
		sent:   len(s.Columns),
	}
	if len(s.Columns) == 0 {
		return nil, fmt.Errorf("stream %s has no columns", s.Stream)
	}
	if len(tables) != len(s.Lookups) {
		return nil, fmt.Errorf("stream %s has %d lookups, and %d tables are given", s.Stream, len(s.Lookups), len(tables))
	}
	for i, c := range s.Columns {
		if c.Kind == event.HugeInt || c.Kind == event.Blob || c.Kind == event.Invalid {
			return nil, fmt.Errorf("stream %s, column %s: type %s cannot be in a stream; use VARCHAR or DECIMAL(38,0)", s.Stream, c.Name, c.Type)
		}
		d.cols[i] = column{Column: c, arrow: c.Arrow(), next: (i + 1) % len(s.Columns)}
		d.cols[i].quoted = []byte(`"` + c.Name + `"`)
		if scanPlain([]byte(c.Name), 0) < len(c.Name) {
			d.cols[i].quoted = []byte{0} // needs escapes: learned from the first record
		}
		if text, ok := s.Formats[i]; ok {
			f, err := CompileTimeFormat(text)
			if err != nil {
				return nil, fmt.Errorf("stream %s, column %s: %w", s.Stream, c.Name, err)
			}
			d.cols[i].format = f
		}
		d.byName[c.Name] = i
		d.fixed += d.cols[i].fixedBytes()
	}
	for i, l := range s.Lookups {
		d.lookups = append(d.lookups, lookup{l, tables[i]})
		d.sent -= len(l.Columns)
		for _, c := range l.Columns {
			d.cols[c].lookedUp = l.Reference
			d.cols[c].quoted = []byte{0} // no event has the key
		}
	}
	var names []string
	for i := range d.cols {
		if d.cols[i].lookedUp == "" {
			names = append(names, d.cols[i].Name)
		}
	}
	d.unknown = "unknown field; the stream has: " + strings.Join(names, ", ")
	if len(d.unknown) > 500 {
		d.unknown = strings.ToValidUTF8(d.unknown[:500], "") + ", …"
	}
	return d, nil
}

// clone gives a decoder of its own for the same stream. d must not have been
// used; what the two share is never written.
func (d *Decoder) clone() *Decoder {
	c := *d
	c.cols = slices.Clone(d.cols)
	return &c
}

// Decode decodes a whole body: newline-delimited JSON, or one JSON array of
// objects if array is set. Lines, or elements, count from 1; blank lines are
// no records. The body may be reused after the call.
//
// It fails, with an error that wraps ErrTooLarge or ErrUnusable, only if the body
// as a whole is unusable; then nothing of it was decoded.
func (d *Decoder) Decode(body []byte, array bool) (Decoded, error) {
	l := layoutLines
	if array {
		l = layoutArray
	}
	if err := d.begin(body, l, math.MaxInt, math.MaxInt); err != nil {
		return Decoded{}, err
	}
	out, _, err := d.next()
	return out, err
}

// begin starts a body. It is decoded by calling next until that says done.
// A slice ends with the record by which it reaches maxRows rows or maxBytes bytes.
func (d *Decoder) begin(body []byte, l layout, maxRows, maxBytes int) error {
	if len(body) > d.limits.BodyBytes {
		return fmt.Errorf("%w: over %d bytes; send it in parts", ErrTooLarge, d.limits.BodyBytes)
	}
	body = bytes.TrimPrefix(body, byteOrderMark)
	d.body, d.layout, d.pos, d.line = body, l, 0, 0
	d.records, d.refused, d.decoded = 0, 0, 0
	d.maxRows, d.maxBytes = maxRows, maxBytes
	d.invalid = !utf8.Valid(body)
	if l != layoutArray {
		return nil
	}
	p := skipSpace(body, 0)
	if p == len(body) {
		d.pos = len(body) + 1
		return nil
	}
	if body[p] != '[' {
		return fmt.Errorf("%w: it begins with %s, not with [", ErrUnusable, describe(body, p))
	}
	d.pos = skipSpace(body, p+1)
	if d.pos < len(body) && body[d.pos] == ']' {
		return d.arrayEnds(d.pos + 1)
	}
	return nil
}

// next decodes the next slice of the body; done says that it is the last. An
// error leaves nothing of the slice; those before it stand.
func (d *Decoder) next() (out Decoded, done bool, err error) {
	d.reserve()
	for !done && d.rows < d.maxRows && d.size() < d.maxBytes {
		var more bool
		if more, err = d.one(); err == nil {
			done = !more
			err = d.withinLimits()
		}
		if err != nil {
			out, done = Decoded{}, true
			break
		}
	}
	if err == nil {
		d.decoded += d.size()
		out = d.take()
	}
	for i := range d.cols {
		d.cols[i].release()
	}
	d.out = nil
	if done {
		d.body = nil
	}
	return out, done, err
}

// size is about how many bytes the slice being filled holds.
func (d *Decoder) size() int {
	const perRefused = 128 // its struct, reason and field
	return d.rows*d.fixed + d.text + d.rawBytes + len(d.out)*perRefused
}

func (d *Decoder) withinLimits() error {
	switch {
	case d.records > d.limits.Records:
		return fmt.Errorf("%w: over %d records; send it in parts", ErrTooLarge, d.limits.Records)
	case d.refused > d.limits.Refused:
		return fmt.Errorf("%w: over %d of its records were refused, the last one because: %s; check that it is meant for stream %s",
			ErrUnusable, d.limits.Refused, d.out[len(d.out)-1].Reason, d.source.Stream)
	case d.decoded+d.size() > d.limits.DecodedBytes:
		return fmt.Errorf("%w: over %d bytes when decoded; send it in parts", ErrTooLarge, d.limits.DecodedBytes)
	}
	return nil
}

// take makes a batch of the rows collected.
func (d *Decoder) take() Decoded {
	out := Decoded{Refused: d.out, Size: d.size()}
	if d.rows == 0 {
		return out
	}
	arrays := make([]arrow.Array, len(d.cols))
	for i := range d.cols {
		arrays[i] = d.cols[i].array(d.rows)
		d.cols[i].mean = len(d.cols[i].text) / d.rows
	}
	out.Rows = array.NewRecordBatch(d.schema, arrays, int64(d.rows))
	for _, a := range arrays {
		a.Release()
	}
	return out
}

// reserve starts a new slice, with room for what the rest of the body is
// likely to hold, judged by the records before.
func (d *Decoder) reserve() {
	d.rows, d.text, d.out, d.rawBytes = 0, 0, nil, 0
	if d.rowBytes == 0 {
		d.rowBytes = 64 + 16*len(d.cols)
	}
	rest := max(len(d.body)-d.pos, 0)
	size := d.fixed
	for i := range d.cols {
		size += d.cols[i].mean
	}
	rows := min(rest/d.rowBytes*17/16+1, d.maxRows, d.maxBytes/size+1)
	for i := range d.cols {
		d.cols[i].reset(rows, min(rows*(d.cols[i].mean+1), rest))
	}
}

// add counts the record just read as a row, its columns that got no value as
// NULL; the NOT NULL ones of these were checked before, and none is looked up.
func (d *Decoder) add(filled, bytes int) {
	for i := range d.lookups {
		filled += d.lookUp(&d.lookups[i])
	}
	if filled < len(d.cols) {
		for i := range d.cols {
			if d.cols[i].got != d.stamp {
				d.cols[i].null(d.rows)
			}
		}
	}
	d.rows++
	d.rowBytes += (bytes - d.rowBytes) / 16
}

// drop forgets what the record just read put into the columns, and keeps it as
// refused.
func (d *Decoder) drop(raw []byte, text int) {
	for i := range d.cols {
		d.cols[i].cut(d.rows)
	}
	d.text = text
	r := event.Refused{Line: d.line, Field: d.field, Reason: d.why}
	if len(raw) > d.limits.RawBytes {
		r.Reason += fmt.Sprintf(" (of the record's %d bytes, the first %d are kept)", len(raw), d.limits.RawBytes)
		raw = raw[:d.limits.RawBytes]
	}
	r.Raw = bytes.Clone(raw)
	d.out = append(d.out, r)
	d.rawBytes += len(raw)
	d.refused++
}

// refuse gives the reason why the record being read is refused; its result, -1,
// is what a reading function returns in place of a position.
func (d *Decoder) refuse(field, why string) int {
	d.field, d.why = field, why
	return -1
}
