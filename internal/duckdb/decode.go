package duckdb

import (
	"context"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/tailwater/tailwater/event"
)

// A decoder copies the engine's vectors into growing Go columns.
type decoder struct {
	columns []event.Column
	schema  *arrow.Schema
	data    []columnData
	rows    int
	bytes   int // of the rows
}

// maxBytes is where any batch ends whatever its rows: Arrow counts a string
// column's bytes in 32 bits.
const maxBytes = 1 << 28

func newDecoder(columns []event.Column) *decoder {
	d := &decoder{columns: columns, schema: event.ArrowSchema(columns), data: make([]columnData, len(columns))}
	for i := range d.data {
		d.data[i].typ = columns[i].Type
	}
	return d
}

// full reports whether the batch should be flushed.
func (d *decoder) full(rows, bytes int) bool { return d.rows >= rows || d.bytes >= bytes }

// fetch takes the next vector of the result; more is false at its end.
func (d *decoder) fetch(ctx context.Context, result *mapping.Result) (more bool, err error) {
	chunk := mapping.FetchChunk(*result)
	defer mapping.DestroyDataChunk(&chunk)
	if chunk.Ptr == nil {
		if text := mapping.ResultError(result); text != "" {
			return false, failure(ctx, text)
		}
		return false, nil
	}
	n := int(mapping.DataChunkGetSize(chunk))
	if n == 0 {
		return false, nil
	}
	d.bytes = 0
	for i := range d.data {
		c := &d.data[i]
		if err := c.append(mapping.DataChunkGetVector(chunk, mapping.IdxT(i)), d.rows, n); err != nil {
			return false, fmt.Errorf("column %q: %w", d.columns[i].Name, err)
		}
		d.bytes += len(c.values) + 4*len(c.offsets)
	}
	d.rows += n
	return true, nil
}

// flush makes a record batch of what was fetched and starts afresh. Whoever flushes a
// batch that was full gets another one as a rule, of about its size.
func (d *decoder) flush(full bool) arrow.RecordBatch {
	arrays := make([]arrow.Array, len(d.data))
	for i := range d.data {
		c := &d.data[i]
		arrays[i] = c.array(d.rows)
		next := columnData{typ: c.typ}
		if full {
			next.expected = sizes{values: len(c.values) + len(c.values)/16, offsets: len(c.offsets) + len(c.offsets)/16}
		}
		*c = next
	}
	batch := array.NewRecordBatch(d.schema, arrays, int64(d.rows))
	d.rows, d.bytes = 0, 0
	return batch
}

// columnData is one column in the making, in Arrow's layout.
type columnData struct {
	typ     event.Type
	values  []byte  // fixed-width values, a bitmap (BOOLEAN), or the bytes of strings
	offsets []int32 // of strings and blobs, one more than rows
	valid   []byte  // bitmap; nil while there is no NULL
	nulls   int

	expected sizes // of the whole batch; zero if nothing is known
}

// sizes are lengths that slices may come to.
type sizes struct{ values, offsets int }

// append copies n rows of a vector behind the rows that are there.
func (c *columnData) append(vec mapping.Vector, rows, n int) error {
	mask := (*byte)(mapping.VectorGetValidity(vec))
	var valid []byte // nil without NULLs
	if c.appendValidity(mask, rows, n) > 0 {
		valid = unsafe.Slice(mask, (n+7)/8)
	}
	if c.values == nil && c.expected.values > 0 {
		c.values = make([]byte, 0, c.expected.values)
	}
	data := mapping.VectorGetData(vec)
	switch c.typ.Kind {
	case event.Boolean:
		c.values = grow(c.values, int(bitutil.BytesForBits(int64(rows+n))))
		for i, b := range unsafe.Slice((*byte)(data), n) {
			if b != 0 && (valid == nil || bitutil.BitIsSet(valid, i)) {
				bitutil.SetBit(c.values, rows+i)
			}
		}
		return nil
	case event.Varchar, event.JSON, event.Blob:
		return c.appendStrings(unsafe.Slice((*stringT)(data), n), valid)
	case event.Decimal:
		if c.typ.Precision <= 4 {
			c.values = widen(c.values, unsafe.Slice((*int16)(data), n))
			break
		}
		if c.typ.Precision <= 9 {
			c.values = widen(c.values, unsafe.Slice((*int32)(data), n))
			break
		}
		c.values = append(c.values, unsafe.Slice((*byte)(data), n*width(c.typ))...)
	default:
		c.values = append(c.values, unsafe.Slice((*byte)(data), n*width(c.typ))...)
	}
	if valid != nil { // what stands under a NULL is not defined: make it zero
		w := width(c.typ)
		for i := range n {
			if !bitutil.BitIsSet(valid, i) {
				clear(c.values[(rows+i)*w : (rows+i+1)*w])
			}
		}
	}
	return nil
}

// appendValidity copies n bits of a validity mask, which may be nil without NULLs, and
// counts the NULLs. DuckDB's mask and Arrow's bitmap have the same layout.
func (c *columnData) appendValidity(mask *byte, rows, n int) (nulls int) {
	if mask != nil {
		nulls = n - bitutil.CountSetBits(unsafe.Slice(mask, (n+7)/8), 0, n)
	}
	if nulls == 0 && c.valid == nil {
		return 0
	}
	if c.valid == nil {
		c.valid = grow(nil, int(bitutil.BytesForBits(int64(rows+n))))
		bitutil.SetBitsTo(c.valid, 0, int64(rows), true)
	}
	c.valid = grow(c.valid, int(bitutil.BytesForBits(int64(rows+n))))
	if nulls == 0 {
		bitutil.SetBitsTo(c.valid, int64(rows), int64(n), true)
		return 0
	}
	c.nulls += nulls
	bitutil.CopyBitmap(unsafe.Slice(mask, (n+7)/8), 0, n, c.valid, rows)
	return nulls
}

// appendStrings copies strings or blobs; a NULL is empty. valid is nil without NULLs.
func (c *columnData) appendStrings(strings []stringT, valid []byte) error {
	if c.offsets == nil {
		c.offsets = make([]int32, 1, max(len(strings)+1, c.expected.offsets))
	}
	at, length := len(c.values), 0
	for i := range strings {
		if valid == nil || bitutil.BitIsSet(valid, i) {
			length += int(strings[i].length)
		}
	}
	if at+length > math.MaxInt32 {
		return fmt.Errorf("a batch holds over 2 GB of text")
	}
	c.values = slices.Grow(c.values, length+inlineBytes)[:at+length]
	to := c.values[:at+length+inlineBytes] // a short string is copied with its padding
	rows := len(c.offsets)
	c.offsets = slices.Grow(c.offsets, len(strings))[:rows+len(strings)]
	ends := c.offsets[rows:]
	for i := 0; i < len(strings); i++ {
		s := &strings[i]
		if valid != nil && !bitutil.BitIsSet(valid, i) {
			ends[i] = int32(at)
			continue
		}
		if s.length <= inlineBytes {
			*(*[inlineBytes]byte)(to[at:]) = s.inline
			at += int(s.length)
			ends[i] = int32(at)
			continue
		}
		// The engine mostly lays the long strings of a vector one behind the other.
		from, began := s.pointer(), at
		at += int(s.length)
		ends[i] = int32(at)
		for i+1 < len(strings) && (valid == nil || bitutil.BitIsSet(valid, i+1)) {
			next := &strings[i+1]
			if next.length <= inlineBytes || uintptr(next.pointer()) != uintptr(from)+uintptr(at-began) {
				break
			}
			i++
			at += int(next.length)
			ends[i] = int32(at)
		}
		copy(to[began:], unsafe.Slice((*byte)(from), at-began))
	}
	return nil
}

// array makes the Arrow array of all rows.
func (c *columnData) array(rows int) arrow.Array {
	buffers := []*memory.Buffer{nil, memory.NewBufferBytes(trim(c.values))}
	if c.valid != nil {
		buffers[0] = memory.NewBufferBytes(trim(c.valid))
	}
	if c.offsets != nil {
		buffers = []*memory.Buffer{buffers[0], memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(trim(c.offsets))), buffers[1]}
	}
	return array.MakeFromData(array.NewData(c.typ.Arrow(), rows, buffers, nil, c.nulls, 0))
}

// width is the bytes that a fixed-width value takes in Go-held storage.
func width(t event.Type) int {
	return t.Arrow().(arrow.FixedWidthDataType).BitWidth() / 8
}

// grow gives b n bytes, the new ones zero.
func grow(b []byte, n int) []byte {
	if n <= len(b) {
		return b
	}
	return append(b, make([]byte, n-len(b))...)
}

// trim copies a slice that wastes more than a quarter of its memory: what is
// collected may be held for hours.
func trim[T any](s []T) []T {
	if cap(s)-len(s) > len(s)/4 {
		return slices.Clone(s)
	}
	return s
}

// widen appends narrow decimals as the int64 in which Go holds them.
func widen[T int16 | int32](to []byte, from []T) []byte {
	at := len(to)
	to = slices.Grow(to, 8*len(from))[:at+8*len(from)]
	wide := arrow.Int64Traits.CastFromBytes(to[at:])
	for i, v := range from {
		wide[i] = int64(v)
	}
	return to
}
