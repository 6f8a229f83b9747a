package duckdb

import (
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
)

// maxGiven bounds the batches that are remembered: one that is sent, one that waits, and
// what was given before them to somebody who hands none back.
const maxGiven = 4

// reusable is memory of batches that goes round: from Next to its caller, and by Reuse
// back. A long answer would be as much garbage as it has bytes.
type reusable struct {
	mu    sync.Mutex
	given []arrow.RecordBatch // by Next, and not handed back yet
	spare []arrow.RecordBatch // handed back
}

func (u *reusable) give(b arrow.RecordBatch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.given) == maxGiven {
		u.given = slices.Delete(u.given, 0, 1)
	}
	u.given = append(u.given, b)
}

// take gives a batch whose memory may be filled again, nil if there is none.
func (u *reusable) take() arrow.RecordBatch {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.spare) == 0 {
		return nil
	}
	b := u.spare[0]
	u.spare = slices.Delete(u.spare, 0, 1)
	return b
}

// Reuse hands a batch of Next back, at which nobody looks any more: not at its columns, nor
// at slices or strings of it either. Its memory is that of a later batch. One that Next
// did not give, or that was handed back already, is left alone. It may be called while
// Next runs.
func (r *Rows) Reuse(b arrow.RecordBatch) {
	u := &r.memory
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := slices.Index(u.given, b); i >= 0 {
		u.given = slices.Delete(u.given, i, i+1)
		u.spare = append(u.spare, b)
	}
}

// refill has the rows to come filled into the memory of a batch of the same columns.
func (d *decoder) refill(b arrow.RecordBatch) {
	for i := range d.data {
		c, buffers := &d.data[i], b.Column(i).Data().Buffers()
		if len(buffers) == 3 {
			c.offsets = arrow.Int32Traits.CastFromBytes(buffers[1].Buf())[:1] // which is 0 always
		}
		c.values = buffers[len(buffers)-1].Buf()[:0]
	}
}
