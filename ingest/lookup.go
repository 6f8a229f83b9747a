package ingest

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
)

// maxLookupText is the longest text that a table may hold: a record of 1 MiB with its
// values has to fit one log message.
const maxLookupText = 64 << 10

const maxLookupRows = 100_000_000

// A Table holds what a lookup of a schema reads: the values by their keys. It is
// immutable and may be shared.
//
// Its index is of its own making: a map's million keys would be a million pointers for
// the garbage collector to follow.
type Table struct {
	seed   maphash.Seed
	slots  []slot // a power of two of them, at least half of them free
	keys   []byte // encoded, those of all rows
	rows   int
	values []column
	nulls  [][]bool // by value and row
}

// A slot holds a key's row, counted from 1, and where the key is; row 0 is free.
type slot struct {
	hash       uint32
	row        int32
	start, end uint32 // in keys
}

// find gives the row of an encoded key, or -1 and the slot where it would be.
func (t *Table) find(key []byte, hash uint32) (row, at int) {
	mask := len(t.slots) - 1
	for at = int(hash) & mask; ; at = (at + 1) & mask {
		s := &t.slots[at]
		if s.row == 0 {
			return -1, at
		}
		if s.hash == hash && string(t.keys[s.start:s.end]) == string(key) {
			return int(s.row - 1), at
		}
	}
}

func (t *Table) hash(key []byte) uint32 { return uint32(maphash.Bytes(t.seed, key)) }

// add takes up the key of the next row, which is NULL if it is not ok; false if it has
// been there.
func (t *Table) add(key []byte, ok bool) bool {
	t.rows++
	if !ok {
		return true
	}
	hash := t.hash(key)
	found, at := t.find(key, hash)
	if found >= 0 {
		return false
	}
	start := len(t.keys)
	t.keys = append(t.keys, key...)
	t.slots[at] = slot{hash, int32(t.rows), uint32(start), uint32(len(t.keys))}
	return true
}

// NewTable takes up the rows of a reference table for a lookup: the columns of a batch
// are the lookup's keys and then its values, in the storage types of the stream's
// columns. Rows with a NULL in their key are left out; a key that comes twice is an
// error.
func NewTable[B interface {
	Len() int
	Column(i int) arrow.Array
}](s *event.Schema, l event.Lookup, batches []B) (*Table, error) {
	keys, t := make([]column, len(l.Keys)), &Table{seed: maphash.MakeSeed(), values: make([]column, len(l.Columns)), nulls: make([][]bool, len(l.Columns))}
	total := 0
	for _, b := range batches {
		total += b.Len()
	}
	if total > maxLookupRows {
		return nil, fmt.Errorf("reference table %s has %d rows, and at most %d can be looked up", l.Reference, total, maxLookupRows)
	}
	t.slots = make([]slot, 1<<bits.Len(uint(2*total)))
	for i, c := range l.Keys {
		keys[i].Column = s.Columns[c]
	}
	for i, c := range l.Columns {
		t.values[i].Column = s.Columns[c]
		t.values[i].reset(total, 0)
		t.nulls[i] = make([]bool, 0, total)
	}
	var scratch []byte
	for _, b := range batches {
		for i := range keys {
			keys[i].reset(b.Len(), 0)
			if err := keys[i].appendArrow(b.Column(i)); err != nil {
				return nil, fmt.Errorf("reference table %s, column %s: %w", l.Reference, l.By[i], err)
			}
		}
		for i := range t.values {
			a := b.Column(len(keys) + i)
			if err := t.values[i].appendArrow(a); err != nil {
				return nil, fmt.Errorf("reference table %s, column %s: %w", l.Reference, l.From[i], err)
			}
			for k := range b.Len() {
				t.nulls[i] = append(t.nulls[i], a.IsNull(k))
			}
		}
		for k := range b.Len() {
			key, ok := encodeKey(scratch[:0], keys, k, func(i int) bool { return b.Column(i).IsNull(k) })
			if !t.add(key, ok) {
				return nil, fmt.Errorf("reference table %s has a key twice, in its row %d", l.Reference, t.rows)
			}
			if scratch = key; len(t.keys) > math.MaxInt32 {
				return nil, fmt.Errorf("the keys of reference table %s have more than 2 GiB", l.Reference)
			}
		}
	}
	return t, nil
}

// encodeKey gives the key that columns have in a row; false if one of them is NULL.
func encodeKey(to []byte, columns []column, row int, null func(int) bool) ([]byte, bool) {
	for i := range columns {
		if null(i) {
			return to, false
		}
		to = columns[i].appendKey(to, row, len(columns) == 1)
	}
	return to, true
}

// appendKey appends the value of a row so that keys of several columns are equal only
// if all values are.
func (c *column) appendKey(to []byte, row int, alone bool) []byte {
	switch n := c.wordsPerRow(); {
	case n > 0:
		for _, w := range c.words[row*n : row*n+n] {
			to = binary.LittleEndian.AppendUint64(to, uint64(w))
		}
	case c.isText():
		text := c.text[c.halves[row]:c.halves[row+1]]
		if !alone {
			to = binary.LittleEndian.AppendUint32(to, uint32(len(text)))
		}
		to = append(to, text...)
	default:
		to = binary.LittleEndian.AppendUint32(to, uint32(c.halves[row]))
	}
	return to
}

// appendArrow appends the values of an array of the column's storage type.
func (c *column) appendArrow(a arrow.Array) error {
	for i := range a.Len() {
		switch a := a.(type) {
		case *array.Boolean:
			v := int32(0)
			if a.Value(i) {
				v = 1
			}
			c.halves = append(c.halves, v)
		case *array.Int8:
			c.halves = append(c.halves, int32(a.Value(i)))
		case *array.Int16:
			c.halves = append(c.halves, int32(a.Value(i)))
		case *array.Int32:
			c.halves = append(c.halves, a.Value(i))
		case *array.Date32:
			c.halves = append(c.halves, int32(a.Value(i)))
		case *array.Float32:
			c.halves = append(c.halves, int32(math.Float32bits(a.Value(i))))
		case *array.Int64:
			c.words = append(c.words, a.Value(i))
		case *array.Timestamp:
			c.words = append(c.words, int64(a.Value(i)))
		case *array.Float64:
			c.words = append(c.words, int64(math.Float64bits(a.Value(i))))
		case *array.Decimal128:
			v := a.Value(i)
			c.words = append(c.words, int64(v.LowBits()), v.HighBits())
		case *array.String:
			text := a.Value(i)
			if a.IsNull(i) {
				text = ""
			}
			if len(text) > maxLookupText {
				return fmt.Errorf("a text has %d bytes, and %d may be looked up", len(text), maxLookupText)
			}
			if len(c.text) > math.MaxInt32-len(text) {
				return fmt.Errorf("its texts have more than 2 GiB")
			}
			c.text = append(c.text, text...)
			c.halves = append(c.halves, int32(len(c.text)))
		default:
			return fmt.Errorf("a %s cannot be looked up", a.DataType())
		}
	}
	return nil
}

// A lookup fills columns of a decoder.
type lookup struct {
	event.Lookup
	table *Table
}

// lookUp gives the columns of a lookup their values in the record just read, and
// gives how many got one.
func (d *Decoder) lookUp(l *lookup) (filled int) {
	var key []byte
	if c := &d.cols[l.Keys[0]]; len(l.Keys) == 1 && c.isText() { // it is encoded as it stands
		if c.got != d.stamp {
			return 0
		}
		key = c.text[c.halves[d.rows]:]
	} else {
		key = d.scratch[:0]
		for _, k := range l.Keys {
			c := &d.cols[k]
			if c.got != d.stamp {
				return 0
			}
			key = c.appendKey(key, d.rows, len(l.Keys) == 1)
		}
		d.scratch = key
	}
	row, _ := l.table.find(key, l.table.hash(key))
	if row < 0 {
		return 0
	}
	for i, to := range l.Columns {
		if l.table.nulls[i][row] {
			continue
		}
		from, c := &l.table.values[i], &d.cols[to]
		switch n := c.wordsPerRow(); {
		case n > 0:
			c.words = append(c.words, from.words[row*n:row*n+n]...)
		case c.isText():
			d.appendText(c, from.text[from.halves[row]:from.halves[row+1]])
		default:
			c.halves = append(c.halves, from.halves[row])
		}
		c.got = d.stamp
		filled++
	}
	return filled
}
