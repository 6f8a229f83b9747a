package speed

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A piece is indexed by its keys when it has been searched some times and is not small:
// most pieces are merged into larger ones before.
const (
	indexRows     = 4_096
	indexSearches = 4
)

var hashSeed = maphash.MakeSeed()

// A KeyHash is of the keys of a row: equal keys have equal hashes.
type KeyHash uint64

// WithText adds a key to those before it. NULL adds what happens to stand in its place: a
// row of it may be found, and is never looked for.
func (h KeyHash) WithText(key string) KeyHash { return h.with(maphash.String(hashSeed, key)) }

// WithInt is WithText for integers.
func (h KeyHash) WithInt(key int64) KeyHash { return h.with(mix(uint64(key))) }

func (h KeyHash) with(x uint64) KeyHash { return KeyHash(mix(uint64(h)*31 + x)) }

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// index finds rows of a piece by their keys. A small piece has the low halves of the
// hashes of its rows' keys, made at the first search; a larger one gets a table, made
// once, in the background.
type index struct {
	searches atomic.Int32
	hashes   atomic.Pointer[[]uint32]
	table    atomic.Pointer[table]
}

// A table has rows in chains, by the low bits of the hashes of their keys. A row is its
// number in the piece, plus one; 0 ends a chain.
type table struct{ heads, next []uint32 }

// Search gives rows of the piece by batch, each once and in no order: all whose keys are
// among the hashed ones, and some others. columns are those of the keys, always the same
// ones, of the types VARCHAR, BIGINT and INTEGER.
func (p *Piece) Search(columns []int, wanted []KeyHash) [][]int {
	if p.rows < indexRows {
		return p.scan(columns, wanted)
	}
	if t := p.index.table.Load(); t != nil {
		return p.lookUp(t, wanted)
	}
	if p.index.searches.Add(1) == indexSearches {
		go func() {
			p.index.table.Store(p.tabulate(columns))
			p.index.hashes.Store(nil)
		}()
	}
	return p.scan(columns, wanted)
}

func (p *Piece) scan(columns []int, wanted []KeyHash) [][]int {
	var low uint64 // a bit for the lowest bits of each of the hashes
	short := make([]uint32, len(wanted))
	for i, h := range wanted {
		low |= 1 << (h & 63)
		short[i] = uint32(h)
	}
	out := make([][]int, len(p.Batches))
	hashes := p.hashes(columns)
	for i, b := range p.Batches {
		n := b.Len()
		for row, h := range hashes[:n] {
			if low>>(h&63)&1 != 0 && slices.Contains(short, h) {
				out[i] = append(out[i], row)
			}
		}
		hashes = hashes[n:]
	}
	return out
}

// hashes gives the low halves of the hashes of all rows' keys.
func (p *Piece) hashes(columns []int) []uint32 {
	if made := p.index.hashes.Load(); made != nil {
		return *made
	}
	out := make([]uint32, 0, p.rows)
	var hashes []KeyHash
	for _, b := range p.Batches {
		hashes = hashKeys(hashes, b, columns)
		for _, h := range hashes {
			out = append(out, uint32(h))
		}
	}
	p.index.hashes.Store(&out)
	return out
}

func (p *Piece) tabulate(columns []int) *table {
	size := 1
	for size < p.rows {
		size *= 2
	}
	t := &table{heads: make([]uint32, size), next: make([]uint32, p.rows)}
	at := uint32(0)
	var hashes []KeyHash
	for _, b := range p.Batches {
		hashes = hashKeys(hashes, b, columns)
		for _, h := range hashes {
			head := &t.heads[h&KeyHash(size-1)]
			t.next[at] = *head
			at++
			*head = at
		}
	}
	return t
}

func (p *Piece) lookUp(t *table, wanted []KeyHash) [][]int {
	out := make([][]int, len(p.Batches))
	seen := make(map[KeyHash]struct{}, len(wanted))
	for _, h := range wanted {
		h &= KeyHash(len(t.heads) - 1)
		if _, ok := seen[h]; ok {
			continue
		}
		seen[h] = struct{}{}
		for at := t.heads[h]; at != 0; at = t.next[at-1] {
			batch, row := 0, int(at-1)
			for row >= p.Batches[batch].Len() {
				row -= p.Batches[batch].Len()
				batch++
			}
			out[batch] = append(out[batch], row)
		}
	}
	return out
}

// hashKeys gives the hashes of the rows' keys, in the memory of out.
func hashKeys(out []KeyHash, b duckdb.Batch, columns []int) []KeyHash {
	out = slices.Grow(out[:0], b.Len())[:b.Len()]
	clear(out)
	for _, c := range columns {
		switch column := b.Column(c).(type) {
		case *array.String:
			for row, h := range out {
				out[row] = h.WithText(column.Value(row))
			}
		case *array.Int64:
			withInts(out, column.Int64Values())
		case *array.Int32:
			withInts(out, column.Int32Values())
		default: // without its hash, rows would be missed
			panic(fmt.Sprintf("a key of type %s has no hash", column.DataType()))
		}
	}
	return out
}

func withInts[T int32 | int64](out []KeyHash, keys []T) {
	for row, h := range out {
		out[row] = h.WithInt(int64(keys[row]))
	}
}

// IndexedPiece makes a piece of partial rows that come from elsewhere, with its index.
// columns are as for Search.
func IndexedPiece(rel *duckdb.Relation, columns []int) Piece {
	p := pieceOf(rel, 0)
	if p.rows >= indexRows {
		t := p.tabulate(columns)
		p.index.table.Store(t)
		p.bytes += int64(len(t.heads)+len(t.next)) * 4
	}
	return p
}

// Bytes is about how much memory the piece takes.
func (p *Piece) Bytes() int64 { return p.bytes }
