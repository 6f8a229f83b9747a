package duckdb

import (
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	bindings "github.com/duckdb/duckdb-go-bindings"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/tailwater/tailwater/event"
)

// vectorRows is the rows that one of DuckDB's vectors holds.
const vectorRows = 2048

// A scan is one execution of tw_scan. The engine calls it from one thread at a
// time.
type scan struct {
	handle  *Handle
	batches []Batch // what the handle held when the execution began
	wanted  []wanted
	batch   int // next to read, with row
	row     int
}

// wanted pairs a column of the relation with one of the engine's chunk.
type wanted struct{ from, to int }

// fill puts the next rows into the chunk and tells how many; none is the end.
func (s *scan) fill(chunk mapping.DataChunk) (int, error) {
	for s.batch < len(s.batches) && s.row >= s.batches[s.batch].Len() {
		s.batch, s.row = s.batch+1, 0
	}
	if s.batch == len(s.batches) {
		return 0, nil
	}
	b := s.batches[s.batch]
	n := min(vectorRows, b.Len()-s.row)
	for _, w := range s.wanted {
		c := s.handle.columns[w.from]
		vec := mapping.DataChunkGetVector(chunk, mapping.IdxT(w.to))
		if err := fillVector(vec, c.Type, b.Column(w.from), s.row, n); err != nil {
			return 0, fmt.Errorf("column %q: %w", c.Name, err)
		}
	}
	s.row += n
	return n, nil
}

// fillVector copies rows [row, row+n) of an array into a vector.
func fillVector(vec mapping.Vector, t event.Type, a arrow.Array, row, n int) error {
	if want := t.Arrow(); a.DataType().ID() != want.ID() {
		return fmt.Errorf("values of %s are stored as %s, not %s", t, want, a.DataType())
	}
	if row+n > a.Len() {
		return fmt.Errorf("the batch has more rows than the column's %d", a.Len())
	}
	data := a.Data()
	row += data.Offset()
	buffers := data.Buffers()
	var valid []byte
	if buffers[0] != nil && buffers[0].Len() > 0 {
		valid = buffers[0].Bytes()
		fillValidity(vec, valid, row, n)
	}
	var values []byte
	if buffers[1] != nil {
		values = buffers[1].Bytes()
	}
	to := mapping.VectorGetData(vec)
	switch {
	case t.Kind == event.Boolean:
		for i, out := 0, unsafe.Slice((*bool)(to), n); i < n; i++ {
			out[i] = bitutil.BitIsSet(values, row+i)
		}
	case t.Kind == event.Varchar, t.Kind == event.JSON, t.Kind == event.Blob:
		var text []byte
		if buffers[2] != nil {
			text = buffers[2].Bytes()
		}
		offsets := arrow.Int32Traits.CastFromBytes(values)[row : row+n+1]
		return fillStrings(vec, unsafe.Slice((*stringT)(to), n), offsets, text, t.Kind != event.Blob)
	case t.Kind == event.Decimal && t.Precision <= 4:
		return narrow(unsafe.Slice((*int16)(to), n), arrow.Int64Traits.CastFromBytes(values)[row:], t)
	case t.Kind == event.Decimal && t.Precision <= 9:
		return narrow(unsafe.Slice((*int32)(to), n), arrow.Int64Traits.CastFromBytes(values)[row:], t)
	default:
		w := width(t)
		copy(unsafe.Slice((*byte)(to), n*w), values[row*w:(row+n)*w])
	}
	return nil
}

// fillValidity marks the NULLs among n rows. Arrow's bitmap and DuckDB's mask
// have the same layout.
func fillValidity(vec mapping.Vector, valid []byte, row, n int) {
	if bitutil.CountSetBits(valid, row, n) == n {
		return
	}
	mapping.VectorEnsureValidityWritable(vec)
	mask := unsafe.Slice((*byte)(mapping.VectorGetValidity(vec)), vectorRows/8)
	bitutil.CopyBitmap(valid, row, n, mask, 0)
}

// narrow copies decimals into the smaller integers that DuckDB keeps them in.
func narrow[T int16 | int32](to []T, from []int64, t event.Type) error {
	for i := range to {
		to[i] = T(from[i])
		if int64(to[i]) != from[i] {
			return fmt.Errorf("the unscaled value %d is no %s", from[i], t)
		}
	}
	return nil
}

// fillStrings writes strings or blobs. When one is too long to stand in its
// slot, the bytes of all of them are given to the vector as one string, in one
// call, and the slots point into it.
func fillStrings(vec mapping.Vector, to []stringT, offsets []int32, text []byte, isText bool) error {
	first, last := offsets[0], offsets[len(to)]
	if isText && !validStrings(offsets, text) {
		return errors.New("a string is not valid UTF-8")
	}
	var heap unsafe.Pointer
	for i := range to {
		if offsets[i+1]-offsets[i] > inlineBytes {
			bindings.UnsafeVectorAssignStringElementLen(vec, 0, text[first:last])
			heap = unsafe.Pointer(unsafe.SliceData(to[0].bytes()))
			break
		}
	}
	for i := range to {
		b := text[offsets[i]:offsets[i+1]]
		if len(b) <= inlineBytes {
			to[i].setInline(b)
		} else {
			to[i].setLong(b, unsafe.Add(heap, offsets[i]-first))
		}
	}
	return nil
}

// validStrings reports whether every string is UTF-8: all bytes are, and no
// string begins inside a character. DuckDB trusts what is in a vector.
func validStrings(offsets []int32, text []byte) bool {
	first, last := offsets[0], offsets[len(offsets)-1]
	if !utf8.Valid(text[first:last]) {
		return false
	}
	for _, o := range offsets {
		if o < last && !utf8.RuneStart(text[o]) {
			return false
		}
	}
	return true
}
