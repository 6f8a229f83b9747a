package serving

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tailwater/tailwater/internal/aside"
)

// Queries begin one after the other, as many at once as there are processors. All at
// once they would end together, each as late as the last; and whoever asks the same as
// one that waits takes part in it, but must wait for the end of one that has begun.
//
// While events come, long queries leave a processor to those who send them and to short
// queries: they take turns on the others, at a lower priority, and so do steps that are
// long by themselves (package aside). On the system's own scheduling, two long queries on
// two cores made the slowest hundredth of ingest requests ten times as slow: each of the
// few wake-ups behind a synced append waited for a processor, up to 37 ms.
const (
	// turnsAfter is how much processor time a query takes before it takes turns. Short
	// ones take a few milliseconds, and on a busy machine many times as long by the clock.
	turnsAfter = 30 * time.Millisecond
	// youth is how long by the clock a query may keep others from beginning: it may wait
	// for a file.
	youth = 250 * time.Millisecond
	// turnLength is how long a turn lasts at least when somebody waits.
	turnLength = 20 * time.Millisecond
	// idleAfter is how long no event must have come for all processors to be given to
	// long queries.
	idleAfter = time.Second
)

// turns is who may compute.
type turns struct {
	seats int                  // for long queries while events come
	cores int                  // for them while none do, and for those that begin
	state func() (version any) // another value whenever events have come

	mu      sync.Mutex
	begun   int     // queries that have begun, and are not long yet
	queue   []*turn // to begin
	taken   int     // seats of long queries
	waiting []*turn // for one
	seen    any
	since   time.Time // seen has been the state since then
}

func newTurns(state func() any) *turns {
	cores := aside.Processors()
	return &turns{seats: max(1, cores-1), cores: cores, state: state}
}

// A turn is one query's. Its fields are guarded by turns.mu, but for age.
type turn struct {
	age    *time.Timer   // ends its youth
	young  bool          // it counts among the begun
	seated time.Time     // zero while it has no seat
	ready  chan struct{} // closed when it may go on
}

// begin returns when the query may begin, or with ctx's cause.
func (t *turns) begin(ctx context.Context, q *turn) error {
	t.mu.Lock()
	q.ready = make(chan struct{})
	t.queue = append(t.queue, q)
	t.next()
	ready := q.ready
	t.mu.Unlock()
	if err := t.await(ctx, q, ready); err != nil {
		return err
	}
	q.age = time.AfterFunc(youth, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.grown(q)
		t.next()
	})
	return nil
}

// await returns when the query's turn has come. When ctx ends first, the query gives
// up what it waits for.
func (t *turns) await(ctx context.Context, q *turn, ready chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		t.rest(q)
		return context.Cause(ctx)
	}
}

// busy reports whether events come. mu is held.
func (t *turns) busy() bool {
	now := time.Now()
	if state := t.state(); state != t.seen {
		t.seen, t.since = state, now
	}
	return now.Sub(t.since) <= idleAfter
}

// free is how many seats may be given. mu is held.
func (t *turns) free() int {
	if t.busy() {
		return t.seats - t.taken
	}
	return t.cores - t.taken
}

// A pace is that of one query's steps. It implements duckdb.Pace.
type pace struct {
	turns *turns
	q     *turn
}

// Step returns when the query may go on, or with ctx's cause. A long one gives way to
// others while events come.
func (p pace) Step(ctx context.Context, computed time.Duration) (giveWay bool, err error) {
	if computed < turnsAfter {
		return false, nil
	}
	if err := p.turns.take(ctx, p.q); err != nil {
		return false, err
	}
	return p.Hurry(), nil
}

// Hurry reports whether events come.
func (p pace) Hurry() bool {
	p.turns.mu.Lock()
	defer p.turns.mu.Unlock()
	return p.turns.busy()
}

// take returns when a long query has a seat.
func (t *turns) take(ctx context.Context, q *turn) error {
	t.mu.Lock()
	t.grown(q)
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
	return t.await(ctx, q, ready)
}

// rest gives up what the query has until its next step: whoever waits for a client, or
// for nothing any more, must not keep a processor.
func (t *turns) rest(q *turn) {
	if q.age != nil {
		q.age.Stop()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range []*[]*turn{&t.queue, &t.waiting} {
		if i := slices.Index(*line, q); i >= 0 {
			*line = slices.Delete(*line, i, i+1)
		}
	}
	t.grown(q)
	t.leave(q)
	t.next()
}

// grown, seat, leave and next move queries; mu is held.
func (t *turns) grown(q *turn) {
	if q.young {
		q.young = false
		t.begun--
	}
}

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
	for len(t.queue) > 0 && t.begun < t.cores {
		q := t.queue[0]
		t.queue = t.queue[1:]
		q.young = true
		t.begun++
		close(q.ready)
	}
	for len(t.waiting) > 0 && t.free() > 0 {
		q := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.seat(q)
		close(q.ready)
	}
}
