package ingest

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// A column collects the values of one column as plain slices, which become the
// buffers of an Arrow array without a copy. Unlike Arrow's builders it can drop
// its last row, which a record refused half-way needs.
//
// Within a row a value is appended as it is met; a column that got none is
// given its NULL when the record is complete. So a refused record leaves no
// trace in nulls, only surplus values, and cut removes them.
type column struct {
	event.Column
	arrow  arrow.DataType
	format *TimeFormat // of a Timestamp or Date; nil for ISO 8601

	lookedUp string // the reference table; "" if events come with the value

	// The key as the last record had it, quotes included, and the column whose
	// key followed it. Records of one sender look alike, so the next key is
	// compared with the one predicted, and only parsed if it differs.
	quoted []byte
	next   int

	seen uint64 // the last record that named this column
	got  uint64 // the last record that gave it a value

	// Values by width. A wide decimal takes two words, low then high (the
	// layout of Arrow's decimal128 on the little-endian machines we run on);
	// Boolean, TinyInt and SmallInt are held as halves and narrowed in array.
	words  []int64 // BigInt, Double (bits), Decimal, Timestamp
	halves []int32 // 32 bits and less; the offsets of text, from 0
	text   []byte  // Varchar, JSON
	nulls  []int32 // the rows that are NULL, ascending
	mean   int     // bytes of text a row of the last batch, to size the next
}

func (c *column) isText() bool { return c.Kind == event.Varchar || c.Kind == event.JSON }

// wordsPerRow is how many words a row takes; 0 for a column of halves.
func (c *column) wordsPerRow() int {
	switch {
	case c.Wide():
		return 2
	case c.Kind == event.BigInt, c.Kind == event.Double, c.Kind == event.Decimal, c.Kind == event.Timestamp:
		return 1
	}
	return 0
}

// fixedBytes is what a row takes besides its text.
func (c *column) fixedBytes() int {
	if n := c.wordsPerRow(); n > 0 {
		return 8 * n
	}
	return 4
}

// release lets go of the slices; they belong to the batch that was made of them.
func (c *column) release() {
	c.words, c.halves, c.text, c.nulls = nil, nil, nil, nil
}

// reset gives the column new slices with room for rows rows and text bytes.
func (c *column) reset(rows, text int) {
	c.release()
	if n := c.wordsPerRow(); n > 0 {
		c.words = make([]int64, 0, n*rows)
		return
	}
	c.halves = make([]int32, 0, rows+1)
	if c.isText() {
		c.halves = append(c.halves, 0)
		c.text = make([]byte, 0, text)
	}
}

// cut removes what was appended after the first rows rows.
func (c *column) cut(rows int) {
	if n := c.wordsPerRow(); n > 0 {
		c.words = c.words[:rows*n]
		return
	}
	if c.isText() {
		c.halves = c.halves[:rows+1]
		c.text = c.text[:c.halves[rows]]
		return
	}
	c.halves = c.halves[:rows]
}

// null makes row, which follows the last one, NULL.
func (c *column) null(row int) {
	c.nulls = append(c.nulls, int32(row))
	switch {
	case c.Wide():
		c.words = append(c.words, 0, 0)
	case c.wordsPerRow() == 1:
		c.words = append(c.words, 0)
	case c.isText():
		c.halves = append(c.halves, int32(len(c.text)))
	default:
		c.halves = append(c.halves, 0)
	}
}

// array wraps the first rows rows. The column must be reset before it is used again.
func (c *column) array(rows int) arrow.Array {
	var valid *memory.Buffer
	if len(c.nulls) > 0 {
		bits := make([]byte, bitutil.BytesForBits(int64(rows)))
		bitutil.SetBitsTo(bits, 0, int64(rows), true)
		for _, row := range c.nulls {
			bitutil.ClearBit(bits, int(row))
		}
		valid = memory.NewBufferBytes(bits)
	}
	buffers := []*memory.Buffer{valid, memory.NewBufferBytes(c.values(rows))}
	if c.isText() {
		buffers = append(buffers, memory.NewBufferBytes(c.text))
	}
	data := array.NewData(c.arrow, rows, buffers, nil, len(c.nulls), 0)
	defer data.Release()
	return array.MakeFromData(data)
}

// values gives the bytes of the array's second buffer.
func (c *column) values(rows int) []byte {
	switch c.Kind {
	case event.Boolean:
		bits := make([]byte, bitutil.BytesForBits(int64(rows)))
		for i, v := range c.halves {
			if v != 0 {
				bitutil.SetBit(bits, i)
			}
		}
		return bits
	case event.TinyInt:
		out := make([]byte, rows)
		for i, v := range c.halves {
			out[i] = byte(v)
		}
		return out
	case event.SmallInt:
		out := make([]int16, rows)
		for i, v := range c.halves {
			out[i] = int16(v)
		}
		return arrow.Int16Traits.CastToBytes(out)
	}
	if c.wordsPerRow() > 0 {
		return arrow.Int64Traits.CastToBytes(c.words)
	}
	return arrow.Int32Traits.CastToBytes(c.halves)
}
