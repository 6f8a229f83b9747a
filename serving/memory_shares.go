package serving

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/warehouse"
)

// The engine accounts the memory of all queries together. What one of them holds is
// told by whose computing made it rise.
const (
	// sharesPeriod is the time between two samples. One takes some 80 µs of the engine,
	// and a query takes up to some 10 MB meanwhile.
	sharesPeriod = 15 * time.Millisecond
	// sharesAfter is how much a query computes before it is told from noise; nothing
	// is sampled while all that are limited have computed less.
	sharesAfter = 20 * time.Millisecond
	// contested is the part of its limit that a query may seem to hold before the
	// principals whose queries compute beside it take turns, of turnSamples samples each.
	contested   = 0.25
	turnSamples = 2
	// provenPart is what a query must have proven to take of what it seems to hold, before
	// it is stopped. After settleAfter of computing alone one that has is believed to
	// hold it all, and what another has not proven is given to the others.
	provenPart  = 0.2
	settleAfter = 300 * time.Millisecond
)

// heldSQL sums what queries hold. Left out are the engine's caches, which it empties
// when a query needs memory, and the tables and indexes themselves. Blocks that were
// written to disk are not in memory and do not count.
const heldSQL = `SELECT coalesce(sum(memory_usage_bytes), 0)::BIGINT AS held FROM duckdb_memory()
WHERE tag NOT IN ('BASE_TABLE', 'METADATA', 'ART_INDEX', 'IN_MEMORY_TABLE', 'OVERFLOW_STRINGS', 'TRANSACTION', 'OBJECT_CACHE', 'EXTERNAL_FILE_CACHE')`

// memoryShares stops the largest query of a principal whose queries hold more of the
// engine's memory than it may. It works while queries with such a limit run.
type memoryShares struct {
	server    int64 // the limit of each principal, 0 = none
	warehouse *warehouse.Warehouse
	turns     *turns

	// sampling is held while a sample is taken, and by those with a limit when they
	// end: the engine is not closed under a sample.
	sampling sync.Mutex
	reader   *warehouse.Reader // nil until there is one
	held     *duckdb.Stmt

	mu      sync.Mutex
	running map[*pin]*holder
	limited int // of them
	timer   *time.Timer
	others  holding // of what computes for no query, such as a batch run
	gone    float64 // what those held who have ended since the last sample
	seen    map[*duckdb.Conn]duckdb.Work
	sampled time.Time // when; zero before the first sample

	contest atomic.Pointer[contest] // nil if there is none; mu is held to change it
	turned  map[string]time.Time    // when each principal in the contest had its last turn
}

// A holder is a query that runs. memoryShares.mu guards it, but for what is atomic.
type holder struct {
	holding
	limit   int64         // 0 = none
	before  time.Duration // what its connection had computed when it began
	seen    duckdb.Work
	sum     time.Duration // of what it has computed
	ended   bool          // its memory is on its way back
	waits   atomic.Bool   // for its turn in a contest
	verdict atomic.Pointer[error]
}

// A contest decides whose memory it is that grew while several principals' queries
// computed: they compute in turns. Each turn is a contest of its own.
type contest struct {
	turn    string // the principal's
	over    chan struct{}
	samples int // since it began
}

func newMemoryShares(server int64, w *warehouse.Warehouse, t *turns) *memoryShares {
	return &memoryShares{server: server, warehouse: w, turns: t, running: map[*pin]*holder{}, turned: map[string]time.Time{}}
}

// enter begins to watch a query. All are: what one without a limit holds must not be
// taken for another's.
func (w *memoryShares) enter(ctx context.Context, p *pin) {
	limit, name := int64(0), anonymous
	if who := access.From(ctx); who != nil {
		limit, name = who.Within(access.Limits{Memory: w.server}).Memory, who.Name
	} else if ctx.Value(slotsKey{}) != nil { // a client's, and not the server's own
		limit = w.server
	}
	p.holder = &holder{holding: holding{principal: name}, limit: limit, before: p.tx.Conn.Work().Computed()}
	p.holder.seen.Done = p.holder.before
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[p] = p.holder
	if limit == 0 {
		return
	}
	if w.limited++; w.timer == nil {
		w.timer = time.AfterFunc(sharesPeriod, w.look)
	}
}

// leave is called before the query gives its memory back: from then on nobody
// interrupts its connection. forget is called when it has.
func (w *memoryShares) leave(p *pin) {
	if p.holder == nil {
		return
	}
	if p.holder.limit > 0 {
		w.sampling.Lock()
		defer w.sampling.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p.holder.ended = true
	if p.holder.limit == 0 {
		return
	}
	if w.limited--; w.limited == 0 {
		w.timer.Stop()
		w.timer = nil
		w.rest()
		w.pass("")
	}
}

func (w *memoryShares) forget(p *pin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.running[p]; h != nil {
		w.gone += h.share
		delete(w.running, p)
	}
}

// rest forgets what was attributed. mu is held.
func (w *memoryShares) rest() {
	w.others, w.gone, w.seen, w.sampled = holding{}, 0, nil, time.Time{}
	for _, h := range w.running {
		h.share, h.computed, h.grown, h.alone, h.aloneFor = 0, 0, false, 0, 0
		h.sum, h.seen = 0, duckdb.Work{Done: h.before}
	}
}

// A sharedPace is that of a query whose memory is watched. It implements duckdb.Pace.
type sharedPace struct {
	pace
	held *memoryShares
	p    *pin
}

// Step returns when the query may go on, or with ctx's cause.
func (s sharedPace) Step(ctx context.Context, computed time.Duration) (giveWay bool, err error) {
	if err := s.held.still(ctx, s.p, computed); err != nil {
		return false, err
	}
	return s.pace.Step(ctx, computed)
}

// still is called between two steps of a query. It returns when no other principal has
// its turn.
func (w *memoryShares) still(ctx context.Context, p *pin, computed time.Duration) error {
	if computed < sharesAfter {
		return nil
	}
	for {
		c := w.contest.Load()
		if c == nil || c.turn == p.holder.principal {
			return nil
		}
		w.turns.rest(p.turn) // the other may need the seat
		p.holder.waits.Store(true)
		select {
		case <-c.over:
			p.holder.waits.Store(false)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// look takes a sample and stops who is over the limit.
func (w *memoryShares) look() {
	w.sampling.Lock()
	defer w.sampling.Unlock()
	if !w.due() {
		return
	}
	total, err := w.sample()
	if err != nil {
		// The engine is being closed, or has no memory for a sample and stops somebody itself.
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pass("")
		return
	}
	works := w.warehouse.DB().Work()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.note(works)
	attribute(float64(total), w.gone, all)
	w.gone = 0
	w.stop()
	w.decide(all)
}

// due reports whether a sample is to be taken, and sets the timer for the next.
func (w *memoryShares) due() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		return false // the last one has left meanwhile
	}
	w.timer.Reset(sharesPeriod)
	for p, h := range w.running {
		if h.limit > 0 && !h.ended && h.sum+p.tx.Conn.Work().Computed()-h.seen.Computed() >= sharesAfter {
			return true
		}
	}
	w.rest()
	w.pass("")
	return false
}

// sample reads what all queries hold, on a connection that is kept. sampling is held.
func (w *memoryShares) sample() (int64, error) {
	ctx := context.Background() // it takes no time that is worth an end
	var err error
	if w.reader == nil {
		if w.reader, err = w.warehouse.Reader(ctx); err != nil {
			return 0, err
		}
		w.held = nil
	}
	var rel *duckdb.Relation
	if w.held == nil {
		w.held, err = w.reader.Keep(ctx, heldSQL)
	}
	if err == nil {
		rel, err = w.held.Collect(ctx)
	}
	if err != nil {
		w.reader.Close()
		w.reader = nil
		return 0, err
	}
	return rel.Value(0, 0).(int64), nil
}

// note tells what each has computed since the sample before; at the first sample that
// is all since it began. mu is held.
func (w *memoryShares) note(works map[*duckdb.Conn]duckdb.Work) []*holding {
	now, interval := time.Now(), time.Duration(math.MaxInt64)
	if !w.sampled.IsZero() {
		interval = now.Sub(w.sampled)
	}
	w.sampled = now
	all := []*holding{&w.others}
	queries := map[*duckdb.Conn]bool{w.reader.Conn: true}
	for p, h := range w.running {
		all = append(all, &h.holding)
		queries[p.tx.Conn] = true
		work := p.tx.Conn.Work()
		h.computed = work.Since(h.seen, interval)
		h.seen = work
		h.sum += h.computed
		h.grown = h.sum >= sharesAfter
	}
	w.others.computed, w.others.grown = 0, true
	busy := false
	for c, work := range works {
		if queries[c] {
			continue
		}
		before, known := w.seen[c]
		if !known {
			before.Done = work.Done
		}
		w.others.computed += work.Since(before, interval)
		busy = busy || work.Call > 0
	}
	w.seen = works
	if !busy { // between two of their statements they hold nothing that counts
		w.gone += w.others.share
		w.others.share = 0
	}
	return all
}

// stop looks for a principal over its limit. mu is held.
func (w *memoryShares) stop() {
	type sum struct {
		bytes   float64
		queries int
		largest *pin
	}
	sums := map[string]*sum{}
	for p, h := range w.running {
		if h.limit == 0 || h.ended {
			continue
		}
		if h.verdict.Load() != nil {
			p.tx.Conn.Interrupt() // again: a statement that begins clears it
			continue
		}
		s := sums[h.principal]
		if s == nil {
			s = &sum{}
			sums[h.principal] = s
		}
		s.bytes += h.share
		s.queries++
		if h.grown && (s.largest == nil || h.share > s.largest.holder.share) {
			s.largest = p
		}
	}
	for _, s := range sums {
		if s.largest == nil || s.bytes <= float64(s.largest.holder.limit) {
			continue
		}
		h := s.largest.holder
		if h.share*float64(s.queries) < float64(h.limit) {
			continue // no more than its part: those that hold more are too young yet
		}
		if h.alone >= provenPart*h.share {
			w.convict(s.largest, s.bytes)
		}
	}
}

// convict stops a query. mu is held.
func (w *memoryShares) convict(p *pin, together float64) {
	h := p.holder
	err := fmt.Errorf("%w: %s may hold %d MB of the engine's memory; its queries held some %.0f MB together, this one %.0f MB", ErrKeyMemory, ownerOf(h.principal), h.limit/1e6, together/1e6, h.share/1e6)
	h.verdict.Store(&err)
	p.tx.Conn.Interrupt()
}

func ownerOf(principal string) string {
	if principal == anonymous {
		return "all queries together"
	}
	return "key " + principal
}

// decide begins and ends contests, and gives the turn to the next. mu is held.
func (w *memoryShares) decide(all []*holding) {
	needed := false
	for _, h := range w.running {
		if h.limit == 0 || h.ended || !h.grown || h.share-h.alone <= contested*float64(h.limit) {
			continue
		}
		if h.aloneFor >= settleAfter {
			if h.alone < provenPart*h.share {
				acquit(&h.holding, h.alone, all)
			}
			h.alone, h.aloneFor = h.share, 0
			continue
		}
		needed = true
	}
	c := w.contest.Load()
	switch {
	case !needed:
		w.pass("")
		return
	case c == nil:
		w.pass(w.next(""))
		return
	}
	var computed time.Duration
	for _, h := range w.running {
		if h.principal == c.turn {
			computed += h.computed
		}
	}
	if c.samples++; c.samples > turnSamples || computed == 0 {
		if next := w.next(c.turn); next != "" {
			w.pass(next)
		}
	}
}

// next is whose turn was the longest time ago, of those whose queries wait for one or,
// if nobody has it, compute; empty if there is nobody. mu is held.
func (w *memoryShares) next(now string) string {
	next := ""
	for _, h := range w.running {
		if h.ended || h.principal == now || !h.waits.Load() && (now != "" || h.computed == 0 || !h.grown) {
			continue
		}
		if next == "" || w.turned[h.principal].Before(w.turned[next]) {
			next = h.principal
		}
	}
	return next
}

// pass gives the turn to a principal; to nobody, which ends the contest, if it is empty.
// mu is held.
func (w *memoryShares) pass(principal string) {
	before := w.contest.Load()
	if principal == "" {
		w.contest.Store(nil)
		clear(w.turned)
	} else {
		w.turned[principal] = time.Now()
		w.contest.Store(&contest{turn: principal, over: make(chan struct{})})
	}
	if before != nil {
		close(before.over)
	}
}
