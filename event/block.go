package event

import (
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A Block is a decoded run of accepted events of one source, with the range of
// messages that it stands for. It is immutable once handed on, lives in Go
// memory alone, and is freed by the garbage collector.
type Block struct {
	Range
	Schema *Schema
	// Batch holds the rows, with the stream's own columns (Schema.Arrow);
	// nil when there are none.
	Batch arrow.RecordBatch
	// Runs tells the position of each row of Batch, in order.
	Runs []Run
	// Refused are the records of the range that were not accepted.
	Refused []Refused
	// Duplicates counts the events of the range that were left out because
	// their id had been accepted before.
	Duplicates int
	// Seal says that the block ends at a seal: micro-batches, segments and
	// files end here. A seal may come alone, as a block of an empty range.
	Seal bool
	// LogTime is the running maximum of the log's timestamps through the
	// block's end, µs since 1970.
	LogTime int64
	// Stamp is the time stamp of the message at Through as its writer gave it, µs
	// since 1970; with Through it tells one log from a rolled-back other.
	Stamp int64
	// Size is about how many bytes the block holds in memory.
	Size int

	meta     sync.Once
	metaCols [5]arrow.Array
}

// A Run is the position of Rows consecutive rows of a batch, all of one message.
type Run struct {
	Seq  uint64
	At   int64    // _ingested_at of the message, µs since 1970
	Rows int      // how many rows
	Idx  []uint32 // the rows' indexes in the message; nil means 0, 1, 2, …
}

// Refused is a record that was not accepted, as a dead letter keeps it.
type Refused struct {
	Seq    uint64
	Idx    uint32 // follows the indexes of the message's good events
	At     int64  // µs since 1970, as Run.At
	Line   int64  // in the request, from 1; 0 if unknown
	Field  string // empty if no one field is to blame
	Reason string
	Raw    []byte
}

// Len is the number of rows.
func (b *Block) Len() int {
	if b.Batch == nil {
		return 0
	}
	return int(b.Batch.NumRows())
}

// Behind gives the part of a block without events that lies behind a position
// inside it: a range of lost messages can reach over the place where an applier
// stands. false for a block that cannot be cut there.
func (b *Block) Behind(after uint64) (*Block, bool) {
	if b.Len() > 0 || len(b.Refused) > 0 || after <= b.After || after >= b.Through {
		return nil, false
	}
	rest := &Block{Range: b.Range, Schema: b.Schema, Seal: b.Seal, LogTime: b.LogTime, Stamp: b.Stamp, Size: b.Size}
	rest.After = after
	return rest, true
}

// Column gives column i of Schema.Relation: the stream's own columns, then the
// position columns, which are made when first asked for. It may be called from
// several goroutines.
func (b *Block) Column(i int) arrow.Array {
	own := len(b.Schema.Columns)
	if i < own {
		return b.Batch.Column(i)
	}
	b.meta.Do(b.buildMeta)
	return b.metaCols[i-own]
}

func (b *Block) buildMeta() {
	n := b.Len()
	epoch, part, idx := make([]int32, n), make([]int32, n), make([]int32, n)
	seq, at := make([]int64, n), make([]int64, n)
	row := 0
	for _, run := range b.Runs {
		for k := range run.Rows {
			epoch[row], part[row] = int32(b.Epoch), int32(b.Partition)
			seq[row], at[row] = int64(run.Seq), run.At
			if run.Idx != nil {
				idx[row] = int32(run.Idx[k])
			} else {
				idx[row] = int32(k)
			}
			row++
		}
	}
	if row != n {
		panic(fmt.Sprintf("event: block %s has %d rows and %d positions", b.Range, n, row))
	}
	b.metaCols = [5]arrow.Array{
		fixed(arrow.PrimitiveTypes.Int32, n, arrow.Int32Traits.CastToBytes(epoch)),
		fixed(arrow.PrimitiveTypes.Int32, n, arrow.Int32Traits.CastToBytes(part)),
		fixed(arrow.PrimitiveTypes.Int64, n, arrow.Int64Traits.CastToBytes(seq)),
		fixed(arrow.PrimitiveTypes.Int32, n, arrow.Int32Traits.CastToBytes(idx)),
		fixed(&arrow.TimestampType{Unit: arrow.Microsecond}, n, arrow.Int64Traits.CastToBytes(at)),
	}
}

// fixed makes an array without NULLs over Go memory.
func fixed(t arrow.DataType, n int, values []byte) arrow.Array {
	d := array.NewData(t, n, []*memory.Buffer{nil, memory.NewBufferBytes(values)}, nil, 0, 0)
	return array.MakeFromData(d)
}

// Dead gives the block's refused records as a block of the stream's dead-letter
// schema over the same range.
func (b *Block) Dead(dead *Schema) *Block {
	out := &Block{Range: b.Range, Schema: dead, Seal: b.Seal, LogTime: b.LogTime, Stamp: b.Stamp, Size: 64}
	if len(b.Refused) == 0 {
		return out
	}
	bld := array.NewRecordBuilder(memory.DefaultAllocator, dead.Arrow())
	defer bld.Release()
	for i, r := range b.Refused {
		bld.Field(0).(*array.Int64Builder).Append(r.Line)
		bld.Field(1).(*array.StringBuilder).Append(r.Field)
		bld.Field(2).(*array.StringBuilder).Append(r.Reason)
		bld.Field(3).(*array.BinaryBuilder).Append(r.Raw)
		out.Size += len(r.Raw) + len(r.Reason) + len(r.Field) + 32
		if i > 0 && b.Refused[i-1].Seq == r.Seq {
			last := &out.Runs[len(out.Runs)-1]
			last.Rows++
			last.Idx = append(last.Idx, r.Idx)
			continue
		}
		out.Runs = append(out.Runs, Run{Seq: r.Seq, At: r.At, Rows: 1, Idx: []uint32{r.Idx}})
	}
	out.Batch = bld.NewRecordBatch()
	return out
}
