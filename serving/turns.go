package serving

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Long queries leave a processor to those who send events and to short queries: they
// take turns on the others. On the system's own scheduling, two long queries on two
// cores made the slowest hundredth of ingest requests ten times as slow, because each
// of the few wake-ups behind a synced append waits for a time slice to end.
const (
	// turnsAfter is how long a query runs before it takes turns.
	turnsAfter = 100 * time.Millisecond
	// turnLength is how long a turn lasts at least when somebody waits.
	turnLength = 20 * time.Millisecond
	// idleAfter is how long no event must have come for all processors to be given to
	// long queries.
	idleAfter = time.Second
)

// turns is who may compute among the long queries.
type turns struct {
	seats int                  // at once while events come
	cores int                  // at once while none do
	state func() (version any) // another value whenever events have come

	mu      sync.Mutex
	taken   int
	waiting []*turn
	seen    any
	since   time.Time // seen has been the state since then
}

func newTurns(state func() any) *turns {
	cores := runtime.GOMAXPROCS(0)
	return &turns{seats: max(1, cores-1), cores: cores, state: state}
}

// A turn is one query's. Its fields are guarded by turns.mu, but for began.
type turn struct {
	began  time.Time     // the query's
	seated time.Time     // zero while it has no seat
	ready  chan struct{} // closed when it gets one
}

// free is how many seats may be given. mu is held.
func (t *turns) free() int {
	now := time.Now()
	if state := t.state(); state != t.seen {
		t.seen, t.since = state, now
	}
	if now.Sub(t.since) > idleAfter {
		return t.cores - t.taken
	}
	return t.seats - t.taken
}

// step is called between two steps of a query. It returns when the query may go on,
// or with ctx's cause.
func (t *turns) step(ctx context.Context, q *turn) error {
	if time.Since(q.began) < turnsAfter {
		return nil
	}
	t.mu.Lock()
	if !q.seated.IsZero() {
		if len(t.waiting) == 0 || time.Since(q.seated) < turnLength {
			t.mu.Unlock()
			return nil
		}
		t.leave(q)
	}
	if len(t.waiting) == 0 && t.free() > 0 {
		t.seat(q)
		t.mu.Unlock()
		return nil
	}
	q.ready = make(chan struct{})
	t.waiting = append(t.waiting, q)
	t.next()
	ready := q.ready
	t.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		t.rest(q)
		return context.Cause(ctx)
	}
}

// rest gives up what the query has until its next step: whoever waits for a client, or
// for nothing any more, must not keep a processor.
func (t *turns) rest(q *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, q); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.leave(q)
	t.next()
}

// seat, leave and next move queries; mu is held.
func (t *turns) seat(q *turn) {
	q.seated = time.Now()
	t.taken++
}

func (t *turns) leave(q *turn) {
	if !q.seated.IsZero() {
		q.seated = time.Time{}
		t.taken--
	}
}

func (t *turns) next() {
	for len(t.waiting) > 0 && t.free() > 0 {
		q := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.seat(q)
		close(q.ready)
	}
}
