package stream

import (
	"cmp"
	"slices"
	"sync"
)

// A handoffQueue holds envelopes that were handed over in process and are not
// delivered yet. It is bounded by dropping: what it lacks the tap reads from
// the log.
type handoffQueue struct {
	limit int64
	ready chan struct{} // signals a change, capacity 1

	mu    sync.Mutex
	items []Handed // ascending by Seq
	bytes int64
	head  uint64 // highest sequence offered, dropped ones included
}

func (q *handoffQueue) offer(h Handed) {
	q.mu.Lock()
	q.head = max(q.head, h.Seq)
	if q.bytes+int64(h.Size) <= q.limit {
		i, found := slices.BinarySearchFunc(q.items, h.Seq, func(x Handed, seq uint64) int { return cmp.Compare(x.Seq, seq) })
		if !found {
			q.items = slices.Insert(q.items, i, h)
			q.bytes += int64(h.Size)
		}
	}
	q.mu.Unlock()
	signal(q.ready)
}

// take removes the envelope with the sequence given, if it is there, and what
// lies before it. stale is the latest stamp of those before.
func (q *handoffQueue) take(seq uint64) (h Handed, ok bool, stale int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) > 0 && q.items[0].Seq < seq {
		stale = max(stale, q.items[0].Stamp)
		q.drop()
	}
	if len(q.items) > 0 && q.items[0].Seq == seq {
		h = q.items[0]
		q.drop()
		return h, true, stale
	}
	return Handed{}, false, stale
}

func (q *handoffQueue) drop() {
	q.bytes -= int64(q.items[0].Size)
	q.items[0] = Handed{}
	q.items = q.items[1:]
}

// offered is the highest sequence that was ever offered.
func (q *handoffQueue) offered() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.head
}
