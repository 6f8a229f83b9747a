package stream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/tailwater/tailwater/event"
	"golang.org/x/sync/semaphore"
)

// A PublisherConfig tunes a Publisher. The zero value of a field means its default.
type PublisherConfig struct {
	// LogTime is the log time that the lake has reached, µs since 1970. The
	// publisher stamps every envelope later than this, so no two envelopes
	// of a stream carry one stamp, epochs included; Resolve relies on it.
	LogTime int64
	// Handoff is given every acknowledged envelope before its requests are
	// answered, usually Tap.Handoff. It must not block.
	Handoff func(Handed)
	// TargetBytes is where merging stops. Default 1 MB: from 150 KB on the
	// log runs at full rate, at 4 MB it falls to half.
	TargetBytes int
	// LargeBytes is what must wait to be worth a second envelope in flight.
	// Default 150 KB; smaller ones gain more from being merged.
	LargeBytes int
	// MaxInFlight bounds the envelopes in flight. Default 4.
	MaxInFlight int
	// MaxPendingBytes bounds the requests accepted and not answered. Default
	// 32 MB; the server refuses beyond 128 MB.
	MaxPendingBytes int64
	// Timeout bounds the tries for one envelope. Default 10 s, far inside
	// the two minutes for which the store recognises a retry.
	Timeout time.Duration
	// Now is the clock of the stamps. Default time.Now.
	Now func() time.Time
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

func (c *PublisherConfig) setDefaults() {
	if c.TargetBytes <= 0 {
		c.TargetBytes = 1 << 20
	}
	if c.LargeBytes <= 0 {
		c.LargeBytes = 150 << 10
	}
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 4
	}
	if c.MaxPendingBytes <= 0 {
		c.MaxPendingBytes = 32 << 20
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// A Handed is an acknowledged envelope as a reader of the log would decode it.
type Handed struct {
	Seq     uint64
	Stamp   int64 // µs since 1970
	Rows    arrow.RecordBatch
	Refused []event.Refused
	Size    int // of the message, bytes
}

// A Publisher appends the requests of many clients to a log.
//
// It commits in groups without lingering: while an envelope is being synced,
// the requests that arrive are merged into the next one. So one client waits
// for one sync, and many clients share one.
type Publisher struct {
	log    Log
	schema *event.Schema
	arrow  *arrow.Schema
	source event.Source
	cfg    PublisherConfig
	room   *semaphore.Weighted // of cfg.MaxPendingBytes

	mu         sync.Mutex
	changed    *sync.Cond
	queue      []*request
	queueBytes int
	flying     int // envelopes in flight
	running    bool
	closed     bool
	fullUntil  time.Time
	finished   chan struct{} // closed when Run returned

	lastStamp int64 // owned by Run's goroutine
}

// NewPublisher makes a publisher for events of schema; it answers nothing
// until Run runs.
func NewPublisher(log Log, schema *event.Schema, source event.Source, cfg PublisherConfig) *Publisher {
	cfg.setDefaults()
	p := &Publisher{
		log: log, schema: schema, arrow: schema.Arrow(), source: source, cfg: cfg,
		room:      semaphore.NewWeighted(cfg.MaxPendingBytes),
		finished:  make(chan struct{}),
		lastStamp: cfg.LogTime,
	}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// Publish makes rows and refused records durable and returns the position of
// the last of them; with neither there is nothing to do, and Seq is 0. Rows
// have the columns of the stream's schema, in Go memory, and must not be
// changed any more.
//
// A submission larger than an envelope is cut by rows. When a part fails the
// error is that of the first such part, and the others may be stored.
// Errors: ErrFull with a RetryAfter and ErrTooLarge when the submission, or
// the part, was not stored; ErrUnavailable when it may or may not be, also
// when ctx ends; ErrClosed.
func (p *Publisher) Publish(ctx context.Context, rows arrow.RecordBatch, refused []event.Refused) (event.Position, error) {
	last := event.Position{Source: p.source}
	if err := p.admit(rows); err != nil {
		return last, err
	}
	requests, err := p.cut(rows, refused)
	if err != nil || len(requests) == 0 {
		return last, err
	}
	return p.submit(ctx, requests)
}

// Tick appends an envelope without events, which moves log time on. It is
// for a stream that is idle: log time is the only clock of the data path.
func (p *Publisher) Tick(ctx context.Context) (event.Position, error) {
	return p.submit(ctx, []*request{{bytes: headerBytes, done: make(chan result, 1)}})
}

// admit refuses rows that would make an envelope nobody can decode, lest
// they take the other requests of their group with them.
func (p *Publisher) admit(rows arrow.RecordBatch) error {
	if rows == nil || rows.NumRows() == 0 {
		return nil
	}
	if err := sameColumns(rows.Schema(), p.arrow); err != nil {
		return err
	}
	for i, c := range p.schema.Columns {
		if c.NotNull && rows.Column(i).NullN() > 0 {
			return fmt.Errorf("column %s is NOT NULL and has NULLs", c.Name)
		}
	}
	rows.Retain() // the caller may release its own reference; the blocks live on
	return nil
}

func (p *Publisher) submit(ctx context.Context, requests []*request) (event.Position, error) {
	last := event.Position{Source: p.source}
	for i, r := range requests {
		if err := p.enqueue(ctx, r); err != nil {
			if i > 0 && !errors.Is(err, ErrUnavailable) {
				err = fmt.Errorf("%d of %d parts were submitted: %w (%w)", i, len(requests), ErrUnavailable, err)
			}
			return last, err
		}
	}
	for _, r := range requests {
		select {
		case res := <-r.done:
			if res.err != nil {
				return event.Position{Source: p.source}, res.err
			}
			if res.at.Seq > last.Seq || res.at.Seq == last.Seq && res.at.Idx > last.Idx {
				last = res.at
			}
		case <-ctx.Done():
			return event.Position{Source: p.source}, fmt.Errorf("%w (%w)", ErrUnavailable, ctx.Err())
		}
	}
	return last, nil
}

// enqueue waits for room and puts the request in line.
func (p *Publisher) enqueue(ctx context.Context, r *request) error {
	if err := p.open(); err != nil {
		return err
	}
	weight := min(int64(r.bytes), p.cfg.MaxPendingBytes)
	if err := p.room.Acquire(ctx, weight); err != nil {
		return fmt.Errorf("%w (%w)", ErrUnavailable, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.room.Release(weight)
		return ErrClosed
	}
	p.queue = append(p.queue, r)
	p.queueBytes += r.bytes
	p.changed.Broadcast()
	return nil
}

// open tells whether a request would be taken now.
func (p *Publisher) open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if left := time.Until(p.fullUntil); left > 0 {
		return &FullError{Retry: left}
	}
	return nil
}

// Run commits groups until ctx ends or Close is called; then it takes no
// more requests, settles those it has, and returns nil. It may be called once.
func (p *Publisher) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.running {
		p.mu.Unlock()
		return errors.New("publisher runs already")
	}
	p.running = true
	p.mu.Unlock()
	defer close(p.finished)
	stop := context.AfterFunc(ctx, p.shut)
	defer stop()
	// What was accepted is settled even after ctx ended; Timeout bounds it.
	work := context.WithoutCancel(ctx)
	flying := make(chan *group, p.cfg.MaxInFlight)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		for g := range flying {
			p.finish(g, p.settle(g))
		}
	}()
	for {
		requests := p.next()
		if requests == nil {
			break
		}
		g := p.form(requests)
		if g == nil {
			continue
		}
		g.ctx, g.cancel = context.WithTimeout(work, p.cfg.Timeout)
		g.pending, g.err = p.log.Append(g.ctx, hex.EncodeToString(g.env.ID[:]), g.data)
		flying <- g // never blocks: next admits no more than its capacity
	}
	close(flying)
	<-settled
	return nil
}

// Close makes Run settle what was accepted and return, and waits for it. If
// Run never ran, what was accepted fails with ErrClosed. It is idempotent.
func (p *Publisher) Close() error {
	p.shut()
	p.mu.Lock()
	running, orphans := p.running, p.queue
	if !running {
		p.queue = nil
	}
	p.mu.Unlock()
	if running {
		<-p.finished
		return nil
	}
	for _, r := range orphans {
		r.done <- result{err: ErrClosed}
	}
	return nil
}

func (p *Publisher) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.changed.Broadcast()
}

// next waits until an envelope may start and takes the requests for it; nil
// means that the publisher is closed and drained.
func (p *Publisher) next() []*request {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if len(p.queue) == 0 && p.closed {
			return nil
		}
		if len(p.queue) > 0 && (p.flying == 0 || p.flying < p.cfg.MaxInFlight && p.queueBytes >= p.cfg.LargeBytes) {
			break
		}
		p.changed.Wait()
	}
	n, bytes := 1, p.queue[0].bytes
	for n < len(p.queue) && bytes+p.queue[n].bytes <= p.cfg.TargetBytes {
		bytes += p.queue[n].bytes
		n++
	}
	taken := p.queue[:n:n]
	p.queue = p.queue[n:]
	p.queueBytes -= bytes
	p.flying++
	return taken
}

// newID gives an envelope's id.
func newID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	return id
}
