package lake

import (
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/parquet-go/parquet-go"
)

// Reading value by value costs some 40 ns each, most of it in calls. Pages whose
// physical type is the column's storage type, which are all that this program
// writes but for booleans and wide decimals, are taken as slices instead.

// eachPage calls f with the pages of rows [from, to) of a flat column, cut to them.
// The page is valid during the call.
func eachPage(chunk parquet.ColumnChunk, from, to int64, f func(parquet.Page) error) (err error) {
	pages := chunk.Pages()
	defer func() { err = errors.Join(err, pages.Close()) }()
	if from > 0 {
		if err := pages.SeekToRow(from); err != nil {
			return err
		}
	}
	for row := from; row < to; {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("ends at row %d of %d: %w", row, to, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		cut := page
		if n := page.NumRows(); row+n > to {
			cut = page.Slice(0, to-row)
		}
		err = f(cut)
		row += cut.NumRows()
		parquet.Release(page)
		if err != nil {
			return err
		}
	}
	return nil
}

// pageInts appends the integers of a page without NULLs; false if the page is of
// another physical type, or has NULLs.
func pageInts(dst []int64, page parquet.Page) ([]int64, bool) {
	if page.NumNulls() > 0 {
		return dst, false
	}
	switch page.Type().Kind() {
	case parquet.Int64:
		return append(dst, spread(page, nil, int64s)...), true
	case parquet.Int32:
		for _, v := range spread(page, nil, int32s) {
			dst = append(dst, int64(v))
		}
		return dst, true
	}
	return dst, false
}

// page appends a page in bulk; false, with nothing appended, if its values must be
// taken one by one.
func (b *columnBuilder) page(page parquet.Page) bool {
	valid, ok := b.validity(page)
	if !ok {
		return false
	}
	kind := page.Type().Kind()
	switch bld := b.b.(type) {
	case *array.StringBuilder:
		return kind == parquet.ByteArray && b.texts(bld.BinaryBuilder, page, valid)
	case *array.BinaryBuilder:
		return kind == parquet.ByteArray && b.texts(bld, page, valid)
	case *array.Float64Builder:
		if kind != parquet.Double {
			return false
		}
		bld.AppendValues(spread(page, valid, doubles), valid)
		return true
	case *array.Float32Builder:
		if kind != parquet.Float {
			return false
		}
		bld.AppendValues(spread(page, valid, floats), valid)
		return true
	}
	if !b.plain || kind != parquet.Int64 && kind != parquet.Int32 {
		return false
	}
	return b.integers(page, kind, valid)
}

// validity gives which rows of the page have a value; nil means all of them.
func (b *columnBuilder) validity(page parquet.Page) (valid []bool, ok bool) {
	if page.NumNulls() == 0 {
		return nil, true
	}
	levels := page.DefinitionLevels()
	if b.column.NotNull || int64(len(levels)) != page.NumRows() {
		return nil, false
	}
	valid = make([]bool, len(levels))
	for i, l := range levels {
		valid[i] = l > 0
	}
	return valid, true
}

// spread gives the values of the page's rows, with zeros where there is none.
func spread[T float32 | float64 | int32 | int64](page parquet.Page, valid []bool, all func(parquet.Page) []T) []T {
	var values []T
	if dict := page.Dictionary(); dict != nil {
		words := all(dict.Page())
		index := int32s(page)
		values = make([]T, len(index))
		for at, i := range index {
			values[at] = words[i]
		}
	} else {
		values = all(page)
	}
	if valid == nil {
		return values
	}
	out, next := make([]T, len(valid)), 0
	for i, ok := range valid {
		if ok {
			out[i] = values[next]
			next++
		}
	}
	return out
}

func doubles(p parquet.Page) []float64                           { d := p.Data(); return d.Double() }
func floats(p parquet.Page) []float32                            { d := p.Data(); return d.Float() }
func int64s(p parquet.Page) []int64                              { d := p.Data(); return d.Int64() }
func byteArrays(p parquet.Page) (words []byte, offsets []uint32) { d := p.Data(); return d.ByteArray() }
func int32s(p parquet.Page) []int32                              { d := p.Data(); return d.Int32() }

// integers appends a page of integers to a builder of any integer type.
func (b *columnBuilder) integers(page parquet.Page, kind parquet.Kind, valid []bool) bool {
	if kind == parquet.Int64 {
		values := spread(page, valid, int64s)
		switch bld := b.b.(type) {
		case *array.Int64Builder:
			bld.AppendValues(values, valid)
		case *array.TimestampBuilder:
			bld.AppendValues(arrow.TimestampTraits.CastFromBytes(arrow.Int64Traits.CastToBytes(values)), valid)
		default:
			return false
		}
		return true
	}
	values := spread(page, valid, int32s)
	switch bld := b.b.(type) {
	case *array.Int8Builder:
		bld.AppendValues(narrow[int8](values), valid)
	case *array.Int16Builder:
		bld.AppendValues(narrow[int16](values), valid)
	case *array.Int32Builder:
		bld.AppendValues(values, valid)
	case *array.Int64Builder:
		bld.AppendValues(narrow[int64](values), valid)
	case *array.Date32Builder:
		bld.AppendValues(arrow.Date32Traits.CastFromBytes(arrow.Int32Traits.CastToBytes(values)), valid)
	default:
		return false
	}
	return true
}

func narrow[T int8 | int16 | int64](values []int32) []T {
	out := make([]T, len(values))
	for i, v := range values {
		out[i] = T(v)
	}
	return out
}

// texts appends a page of texts.
func (b *columnBuilder) texts(bld *array.BinaryBuilder, page parquet.Page, valid []bool) bool {
	rows := int(page.NumRows())
	bld.Reserve(rows)
	next := 0
	each := func(value func(i int) []byte) {
		for row := range rows {
			if valid != nil && !valid[row] {
				bld.AppendNull()
				continue
			}
			bld.Append(value(next))
			next++
		}
	}
	if dict := page.Dictionary(); dict != nil {
		words, at := byteArrays(dict.Page())
		index := int32s(page)
		each(func(i int) []byte { return words[at[index[i]]:at[index[i]+1]] })
		return true
	}
	words, at := byteArrays(page)
	bld.ReserveData(len(words))
	each(func(i int) []byte { return words[at[i]:at[i+1]] })
	return true
}
