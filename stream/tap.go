package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/tailwater/tailwater/event"
	"golang.org/x/sync/errgroup"
)

// A TapConfig says what a tap reads and to whom it delivers. The zero value
// of a field from SealBytes on means its default.
type TapConfig struct {
	Log    Log
	Schema *event.Schema
	Source event.Source
	// After is the seal from which the tap starts; LogTime and Stamp are
	// those of the block that ended there, µs since 1970, 0 if none did.
	After   uint64
	LogTime int64
	Stamp   int64
	// Dedup holds the ids accepted through After. nil makes an empty one if
	// the schema has an id column.
	Dedup    *Dedup
	Appliers []event.Applier

	// SealBytes is how many bytes of messages make a seal. Default 64 MB,
	// which lands as Parquet files of about 10 MB.
	SealBytes int64
	// SealAge is how much log time, or wall time when the stream is idle,
	// an event waits for its seal. Default 30 s: landing more often makes
	// many small files.
	SealAge time.Duration
	// QueueBytes bounds the blocks that wait for one applier, in memory.
	// Default 64 MB. When a queue is full the tap waits.
	QueueBytes int64
	// HandoffBytes bounds the envelopes handed over and not delivered yet.
	// Default 32 MB, what a publisher has in flight. Beyond it they are
	// dropped, and read from the log.
	HandoffBytes int64
	// PollEvery is how often the tap asks for the log's head, to see what
	// other programs appended while nothing is handed over. Default 100 ms.
	PollEvery time.Duration
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

func (c *TapConfig) setDefaults() {
	if c.SealBytes <= 0 {
		c.SealBytes = 64 << 20
	}
	if c.SealAge <= 0 {
		c.SealAge = 30 * time.Second
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = 64 << 20
	}
	if c.HandoffBytes <= 0 {
		c.HandoffBytes = 32 << 20
	}
	if c.PollEvery <= 0 {
		c.PollEvery = 100 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Dedup == nil && c.Schema.IDColumn >= 0 {
		c.Dedup = NewDedup(c.Schema.DedupWindow, 0)
	}
	if c.Schema.IDColumn < 0 {
		c.Dedup = nil
	}
}

// A Tap delivers the messages of a log after its start to its appliers: each
// once, in order, as one block a message, whose ranges tile. It draws the seals.
//
// A message comes to it by one of two ways: handed over by the publisher of
// this process, or read from the log. It takes a handed one only if its
// sequence is the next; otherwise it reads until it has caught up. Both ways
// give the same blocks.
type Tap struct {
	cfg         TapConfig
	fingerprint string // of the schema
	lanes       []*lane
	handed      handoffQueue
	seals       chan sealRequest
	stopped     chan struct{} // closed when Run returned
	started     atomic.Bool

	delivered atomic.Uint64
	logTime   atomic.Int64
	reading   atomic.Bool
	mu        sync.Mutex
	lost      []event.Range
	failures  uint64 // messages that could not be decoded

	follow follower // owned by Run's goroutine
}

// NewTap makes a tap; Run runs it.
func NewTap(cfg TapConfig) *Tap {
	cfg.setDefaults()
	t := &Tap{
		cfg:         cfg,
		fingerprint: cfg.Schema.Fingerprint(),
		handed:      handoffQueue{limit: cfg.HandoffBytes, ready: make(chan struct{}, 1)},
		seals:       make(chan sealRequest),
		stopped:     make(chan struct{}),
	}
	for _, a := range cfg.Appliers {
		t.lanes = append(t.lanes, newLane(a, cfg.QueueBytes, cfg.After, cfg.Logger))
	}
	t.delivered.Store(cfg.After)
	t.logTime.Store(cfg.LogTime)
	t.follow = follower{t: t, decoder: NewDecoder(cfg.Schema, cfg.Schema.Older()...), at: cfg.After, logTime: cfg.LogTime, stamp: cfg.Stamp}
	return t
}

// Run delivers until ctx ends, and then returns nil, or until something
// happens that only a restart can mend: an applier's permanent error (a
// *event.GapError, or one whose method Permanent returns true), or ErrRolledBack.
// An unreachable log is retried for ever. It may be called once.
func (t *Tap) Run(ctx context.Context) error {
	if t.started.Swap(true) {
		return errors.New("tap runs already")
	}
	defer close(t.stopped)
	g, running := errgroup.WithContext(ctx)
	for _, l := range t.lanes {
		g.Go(func() error { return l.run(running) })
	}
	g.Go(func() error { return t.follow.run(running) })
	err := g.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("tap of %s: %w", t.cfg.Source, err)
}

// Handoff offers an acknowledged envelope. It does not block, may be called
// from any goroutine, and may drop the envelope: the log has it.
func (t *Tap) Handoff(h Handed) { t.handed.offer(h) }

// Delivered is the sequence through which blocks were given to the appliers'
// queues.
func (t *Tap) Delivered() uint64 { return t.delivered.Load() }

// Lost lists the ranges that were purged or lost before the tap could read
// them, since it was made.
func (t *Tap) Lost() []event.Range {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]event.Range(nil), t.lost...)
}

// A TapStatus is a tap's state for people and metrics.
type TapStatus struct {
	Delivered   uint64
	LogTime     int64 // µs since 1970
	Reading     bool  // from the log, not handed over
	Undecodable uint64
	Lost        []event.Range
	Appliers    []LaneStatus
}

// Status tells how far the tap and each applier are.
func (t *Tap) Status() TapStatus {
	s := TapStatus{Delivered: t.Delivered(), LogTime: t.logTime.Load(), Reading: t.reading.Load(), Lost: t.Lost()}
	t.mu.Lock()
	s.Undecodable = t.failures
	t.mu.Unlock()
	for _, l := range t.lanes {
		s.Appliers = append(s.Appliers, l.status())
	}
	return s
}

// A sealRequest asks for a seal at or after target.
type sealRequest struct {
	target uint64
	reply  chan sealed // capacity 1
}

// sealed is where the seal was drawn, and how many blocks had been delivered.
type sealed struct{ through, blocks uint64 }

// Seal reads the log's head, draws a seal as soon as everything through it is
// delivered, and returns once every applier has applied it. It does not
// draw a second seal at the place of the last one.
func (t *Tap) Seal(ctx context.Context) (through uint64, err error) {
	_, head, err := t.cfg.Log.Bounds(ctx)
	if err != nil {
		return 0, fmt.Errorf("seal: %w", err)
	}
	req := sealRequest{target: head, reply: make(chan sealed, 1)}
	select {
	case t.seals <- req:
	case <-t.stopped:
		return 0, errTapStopped
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	var s sealed
	select {
	case s = <-req.reply:
	case <-t.stopped:
		return 0, errTapStopped
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for _, l := range t.lanes {
		select {
		case <-l.waitFor(s.blocks):
		case <-t.stopped:
			return 0, errTapStopped
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return s.through, nil
}

var errTapStopped = errors.New("seal: the tap has stopped")

// batchRows is the number of rows of a batch that may be nil.
func batchRows(batch arrow.RecordBatch) int {
	if batch == nil {
		return 0
	}
	return int(batch.NumRows())
}
