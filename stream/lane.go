package stream

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tailwater/tailwater/event"
)

// minBlockWeight is what a block counts at least in a lane's bound, so that
// empty blocks are bounded too.
const minBlockWeight = 1 << 10

// runBytes bounds what is offered at once to an applier that takes several
// blocks: about 20,000 events, whose micro-batch takes a few milliseconds. So
// micro-batches are single blocks while the applier keeps up, and grow with the
// queue when it does not.
const runBytes = 4 << 20

// A ManyApplier is an event.Applier that takes several blocks as one: blocks of
// one source that follow each other, of which only the last may carry a seal. All
// of them are applied when ApplyMany returns nil, and none when it fails.
type ManyApplier interface {
	event.Applier
	ApplyMany(ctx context.Context, blocks []*event.Block) error
}

// A lane carries blocks to one applier, in order, on a goroutine of its own.
type lane struct {
	applier event.Applier
	limit   int64 // bytes
	logger  *slog.Logger

	mu      sync.Mutex
	queue   []*event.Block // the first is being applied
	bytes   int64
	applied uint64 // how many blocks
	through uint64 // position applied through
	err     error  // of the latest attempt; nil once it succeeded
	waiters []laneWaiter
	filled  chan struct{} // signals a push, capacity 1
	drained chan struct{} // signals a pop, capacity 1
}

type laneWaiter struct {
	blocks uint64
	done   chan struct{}
}

func newLane(a event.Applier, limit int64, after uint64, logger *slog.Logger) *lane {
	return &lane{applier: a, limit: limit, through: after, logger: logger, filled: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func weight(b *event.Block) int64 { return max(int64(b.Size), minBlockWeight) }

// push queues b and waits while the lane is full. A block larger than the
// bound passes when the lane is empty. Only the tap's goroutine pushes.
func (l *lane) push(ctx context.Context, b *event.Block) error {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 || l.bytes+weight(b) <= l.limit {
			l.queue = append(l.queue, b)
			l.bytes += weight(b)
			l.mu.Unlock()
			signal(l.filled)
			return nil
		}
		l.mu.Unlock()
		select {
		case <-l.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run applies blocks until ctx ends or the applier fails for good.
func (l *lane) run(ctx context.Context) error {
	for {
		blocks := l.next()
		if len(blocks) == 0 {
			select {
			case <-l.filled:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := l.apply(ctx, blocks); err != nil {
			return err
		}
		l.pop(blocks)
	}
}

// next gives the blocks to be offered together: one, or for a ManyApplier those
// that wait, through the next seal or the bound.
func (l *lane) next() []*event.Block {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, many := l.applier.(ManyApplier)
	n, bytes := 0, int64(0)
	for n < len(l.queue) && (n == 0 || many && !l.queue[n-1].Seal && bytes+weight(l.queue[n]) <= runBytes) {
		bytes += weight(l.queue[n])
		n++
	}
	return slices.Clone(l.queue[:n])
}

// offer gives the blocks to the applier.
func (l *lane) offer(ctx context.Context, blocks []*event.Block) error {
	if many, ok := l.applier.(ManyApplier); ok && len(blocks) > 1 {
		return many.ApplyMany(ctx, blocks)
	}
	return l.applier.Apply(ctx, blocks[0])
}

// apply offers the blocks until they are taken: an applier that returned an
// error has not applied any of it.
func (l *lane) apply(ctx context.Context, blocks []*event.Block) error {
	for backoff := 10 * time.Millisecond; ; backoff = min(2*backoff, 5*time.Second) {
		err := l.offer(ctx, blocks)
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		if err == nil || isPermanent(err) {
			return err
		}
		l.logger.Error("block was not applied; trying again", "block", blocks[0].Range.String(), "error", err)
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isPermanent reports whether offering the block again is no use.
func isPermanent(err error) bool {
	var gap *event.GapError
	var p interface{ Permanent() bool }
	return errors.As(err, &gap) || errors.As(err, &p) && p.Permanent()
}

func (l *lane) pop(blocks []*event.Block) {
	l.mu.Lock()
	for i, b := range blocks {
		l.queue[i] = nil
		l.bytes -= weight(b)
		l.through = b.Through
	}
	l.queue = l.queue[len(blocks):]
	l.applied += uint64(len(blocks))
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		if w.blocks <= l.applied {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	l.waiters = kept
	l.mu.Unlock()
	signal(l.drained)
}

// waitFor returns a channel that is closed once that many blocks are applied.
func (l *lane) waitFor(blocks uint64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := make(chan struct{})
	if l.applied >= blocks {
		close(done)
	} else {
		l.waiters = append(l.waiters, laneWaiter{blocks, done})
	}
	return done
}

// A LaneStatus tells how far an applier is.
type LaneStatus struct {
	Through     uint64 // position applied through
	QueuedBytes int64
	Err         error // why the next block is not applied yet; nil if nothing is wrong
}

func (l *lane) status() LaneStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LaneStatus{Through: l.through, QueuedBytes: l.bytes, Err: l.err}
}
