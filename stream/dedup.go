package stream

import (
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// DefaultMaxIDs bounds a Dedup: 40 bytes an id, so 670 MB when full.
const DefaultMaxIDs = 16 << 20

// A Dedup remembers the ids of accepted events for a window of log time.
//
// An event is a duplicate if an event with the same id was accepted at most
// the window before it. Duplicates are not remembered, so they do not extend
// the window. NULL ids are never duplicates. When more than the bound is
// remembered, the oldest are forgotten early; that too depends on nothing but
// the order of the log.
//
// It is used by one goroutine at a time: first whoever seeds it, then the tap.
type Dedup struct {
	window  int64 // µs
	maxIDs  int
	ids     *idSet
	newest  int64 // log time of the last call
	evicted uint64
}

// NewDedup remembers ids for the window, at most maxIDs of them (0 means
// DefaultMaxIDs).
func NewDedup(window time.Duration, maxIDs int) *Dedup {
	if maxIDs <= 0 {
		maxIDs = DefaultMaxIDs
	}
	return &Dedup{window: window.Microseconds(), maxIDs: min(maxIDs, placeMask), ids: newIDSet(), newest: math.MinInt64}
}

// Expect makes room for so many ids at once, which saves moving them again and
// again while they are seeded.
func (d *Dedup) Expect(ids int) { d.ids.grow(min(ids, d.maxIDs)) }

// Seed remembers ids as accepted at a log time, µs since 1970. To rebuild the
// state at a position, seed with the ids of all rows that were accepted
// within the window before it, in the order of their positions; earlier ones
// do no harm. Seeding out of order is an error: ids would outlive their window.
func (d *Dedup) Seed(ids arrow.Array, at int64) error {
	if at < d.newest {
		return fmt.Errorf("seed ids of log time %d after those of %d: seed in the order of positions", at, d.newest)
	}
	d.expire(at)
	d.each(ids, func(i int, key *idKey) {
		if key != nil {
			d.remember(*key, at)
		}
	})
	return nil
}

// warmKeys is how many keys are looked up together.
const warmKeys = 64

// each calls f with every row and its key, nil for NULL.
func (d *Dedup) each(ids arrow.Array, f func(i int, key *idKey)) {
	key := keyer(ids)
	var keys [warmKeys]idKey
	for from := 0; from < ids.Len(); from += warmKeys {
		n := min(warmKeys, ids.Len()-from)
		for k := range n {
			if ids.IsValid(from + k) {
				keys[k] = key(from + k)
			}
		}
		d.ids.warm(keys[:n])
		for k := range n {
			if ids.IsValid(from + k) {
				f(from+k, &keys[k])
			} else {
				f(from+k, nil)
			}
		}
	}
}

// Evicted counts the ids that were forgotten before the end of their window.
func (d *Dedup) Evicted() uint64 { return d.evicted }

// Len is the number of ids remembered.
func (d *Dedup) Len() int { return d.ids.count }

// filter accepts the events with these ids at log time now, which must not
// go back. keep has the indexes of those that are no duplicates; nil means
// all of them.
func (d *Dedup) filter(ids arrow.Array, now int64) (keep []uint32, duplicates int) {
	d.expire(now)
	n := ids.Len()
	d.each(ids, func(i int, key *idKey) {
		fresh := key == nil || d.remember(*key, now)
		switch {
		case !fresh && duplicates == 0:
			keep = make([]uint32, 0, n)
			for k := range i {
				keep = append(keep, uint32(k))
			}
			duplicates++
		case !fresh:
			duplicates++
		case duplicates > 0:
			keep = append(keep, uint32(i))
		}
	})
	return keep, duplicates
}

// remember reports whether the key is new, and keeps it if so.
func (d *Dedup) remember(key idKey, at int64) bool {
	isNew, forgot := d.ids.add(key, at, d.maxIDs)
	if forgot {
		d.evicted++
	}
	return isNew
}

// expire forgets what was accepted longer than the window before now.
func (d *Dedup) expire(now int64) {
	d.newest = now
	d.ids.expire(now, d.window)
}

// keyer gives the 128-bit key of row i. Numbers, and texts of up to 15 bytes, are
// their own key; others are hashed with SHA-256, because whoever can find two ids
// with one hash could make another client's event vanish.
func keyer(ids arrow.Array) func(i int) idKey {
	if ids.Len() == 0 {
		return nil // an empty array may lack its buffers
	}
	switch a := ids.(type) {
	case *array.String:
		return func(i int) idKey { return hashKey(a.Value(i)) }
	case *array.Binary:
		return func(i int) idKey { return hashKey(string(a.Value(i))) }
	case *array.Boolean:
		return func(i int) (k idKey) {
			if a.Value(i) {
				k[0] = 1
			}
			return k
		}
	}
	data := ids.Data()
	width := ids.DataType().(arrow.FixedWidthDataType).Bytes()
	values := data.Buffers()[1].Bytes()[data.Offset()*width:]
	return func(i int) (k idKey) {
		copy(k[:], values[i*width:(i+1)*width])
		return k
	}
}

func hashKey(id string) (k idKey) {
	if len(id) < len(k) {
		copy(k[:], id)
		k[len(k)-1] = byte(len(id)) + 1
		return k
	}
	sum := sha256.Sum256([]byte(id))
	copy(k[:], sum[:])
	return k
}
