package stream

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/tailwater/tailwater/event"
)

// varLength is what string and binary arrays have in common.
type varLength interface {
	ValueOffsets() []int32 // of its rows, and the end of the last
	Len() int
}

// rowsBytes is about how many bytes an encoded batch takes, padding and
// metadata aside. A slice counts only its own rows.
func rowsBytes(batch arrow.RecordBatch) int {
	if batch == nil {
		return 0
	}
	total := 0
	for _, col := range batch.Columns() {
		n := col.Len()
		if col.NullN() > 0 {
			total += n/8 + 1
		}
		switch a := col.(type) {
		case *array.String:
			total += 4*(n+1) + valueBytes(a)
		case *array.Binary:
			total += 4*(n+1) + valueBytes(a)
		default:
			total += n*col.DataType().(arrow.FixedWidthDataType).BitWidth()/8 + 1
		}
	}
	return total
}

func valueBytes(a varLength) int {
	if a.Len() == 0 {
		return 0
	}
	offsets := a.ValueOffsets()
	return int(offsets[len(offsets)-1] - offsets[0])
}

func refusedBytes(refused []event.Refused) int {
	total := 0
	for i := range refused {
		r := &refused[i]
		total += 24 + min(len(r.Field), maxTextBytes) + min(len(r.Reason), maxTextBytes) + min(len(r.Raw), MaxRawBytes)
	}
	return total
}

// concat puts batches of one schema one after the other. The columns of the
// result start at offset 0, as those that a reader of the log decodes: native
// code should meet one kind of block.
func concat(schema *arrow.Schema, batches []arrow.RecordBatch) (arrow.RecordBatch, error) {
	switch len(batches) {
	case 0:
		return nil, nil
	case 1:
		for _, col := range batches[0].Columns() {
			if col.Data().Offset() != 0 {
				return takeRows(batches[0], allRows(batches[0])), nil
			}
		}
		return batches[0], nil
	}
	rows := int64(0)
	for _, b := range batches {
		rows += b.NumRows()
	}
	cols := make([]arrow.Array, schema.NumFields())
	parts := make([]arrow.Array, len(batches))
	for i := range cols {
		for k, b := range batches {
			parts[k] = b.Column(i)
		}
		col, err := array.Concatenate(parts, memory.DefaultAllocator)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", schema.Field(i).Name, err)
		}
		cols[i] = col
	}
	return array.NewRecordBatch(schema, cols, rows), nil
}

func allRows(batch arrow.RecordBatch) []uint32 {
	keep := make([]uint32, batch.NumRows())
	for i := range keep {
		keep[i] = uint32(i)
	}
	return keep
}

// takeRows gives the rows of batch at the indexes in keep, which ascend.
func takeRows(batch arrow.RecordBatch, keep []uint32) arrow.RecordBatch {
	cols := make([]arrow.Array, batch.NumCols())
	for i, col := range batch.Columns() {
		cols[i] = takeColumn(col, keep)
	}
	return array.NewRecordBatch(batch.Schema(), cols, int64(len(keep)))
}

func takeColumn(col arrow.Array, keep []uint32) arrow.Array {
	data := col.Data()
	var valid *memory.Buffer
	nulls := 0
	if col.NullN() > 0 {
		bits := make([]byte, bitutil.BytesForBits(int64(len(keep))))
		for k, row := range keep {
			if col.IsValid(int(row)) {
				bitutil.SetBit(bits, k)
			} else {
				nulls++
			}
		}
		valid = memory.NewBufferBytes(bits)
	}
	buffers := []*memory.Buffer{valid}
	switch a := col.(type) {
	case *array.String:
		buffers = append(buffers, takeValues(a, a.ValueBytes(), keep)...)
	case *array.Binary:
		buffers = append(buffers, takeValues(a, a.ValueBytes(), keep)...)
	case *array.Boolean:
		bits := make([]byte, bitutil.BytesForBits(int64(len(keep))))
		for k, row := range keep {
			if a.Value(int(row)) {
				bitutil.SetBit(bits, k)
			}
		}
		buffers = append(buffers, memory.NewBufferBytes(bits))
	default:
		width := col.DataType().(arrow.FixedWidthDataType).Bytes()
		src := data.Buffers()[1].Bytes()[data.Offset()*width:]
		dst := alignedCopy(make([]byte, len(keep)*width))
		for k, row := range keep {
			copy(dst[k*width:(k+1)*width], src[int(row)*width:])
		}
		buffers = append(buffers, memory.NewBufferBytes(dst))
	}
	return array.MakeFromData(array.NewData(col.DataType(), len(keep), buffers, nil, nulls, 0))
}

// takeValues gives the offset and value buffers of the rows kept. values are
// those of a alone: they start at a's first offset.
func takeValues(a varLength, values []byte, keep []uint32) []*memory.Buffer {
	from := a.ValueOffsets()
	total := int32(0)
	for _, row := range keep {
		total += from[row+1] - from[row]
	}
	offsets, out := make([]int32, len(keep)+1), alignedCopy(make([]byte, total))[:0]
	for k, row := range keep {
		out = append(out, values[from[row]-from[0]:from[row+1]-from[0]]...)
		offsets[k+1] = int32(len(out))
	}
	return []*memory.Buffer{memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets)), memory.NewBufferBytes(out)}
}
