package serving

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// A LiveRequest asks for a view's rows and then for what becomes of them. Of the
// filter only the window's bounds and the keys count.
type LiveRequest struct {
	Name   string
	Filter view.Filter
}

// A LiveEvent is a view at one cut: all of its rows, or those that changed since
// the event before.
type LiveEvent struct {
	View     string
	Snapshot bool // Rows are all there are
	Columns  []event.Column
	// Rows are JSON objects {"key","row","batch"}: key names the row, row is the
	// merged answer, or null if the view has no such row any more, and batch is
	// what the warehouse alone would answer, or null.
	Rows     [][]byte
	Complete bool
	// Cut is where the answer was given; Batched is S, the part of it that the
	// warehouse counts; Head is how far the log had grown.
	Cut, Batched, Head event.Cut
	// BatchedWatermark is the greatest event time through S; nil if there is none.
	BatchedWatermark *time.Time
	Watermark        map[string]time.Time
}

// A Subscription follows one view. It is used by one goroutine.
type Subscription struct {
	feed       *feed
	generation uint64 // of the snapshot that the subscriber has; 0 before the first
	version    uint64 // that it has seen
	once       sync.Once
}

// Bounds of the live feeds, together for all subscribers. A feed is one view
// under one filter; those who ask for the same share it.
const (
	liveMaxFeeds = 64
	// liveMaxRows is more than a page can show and little enough to hold.
	liveMaxRows = 20_000
	// livePace is the least time between two computations of a feed, and
	// liveShare what part of the time one may take: four parts of five stay for
	// others.
	livePace  = 40 * time.Millisecond
	liveShare = 4
	liveRetry = time.Second
)

// liveFeeds are the feeds that have subscribers.
type liveFeeds struct {
	ctx     context.Context // ends with the core
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	feeds  map[string]*feed
}

func newLiveFeeds() *liveFeeds {
	l := &liveFeeds{feeds: map[string]*feed{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// errLiveClosed ends subscriptions when the server stops.
var errLiveClosed = fmt.Errorf("%w: the server is stopping", ErrNotReady)

// StopLive ends every subscription and takes no new ones, and ends what is read for
// several questions together. It returns when nothing of them reads any more, and is
// idempotent.
func (c *Core) StopLive() {
	c.live.mu.Lock()
	c.live.closed = true
	c.live.mu.Unlock()
	c.live.stop()
	c.live.running.Wait()
	c.points.end()
}

// Live subscribes to a view. The caller closes the subscription.
func (c *Core) Live(ctx context.Context, r LiveRequest) (*Subscription, error) {
	redefined, plan := c.Redefined(), c.plan(ctx, r.Name)
	if plan == nil {
		return nil, c.noView(ctx, r.Name)
	}
	if err := c.Ready(); err != nil {
		return nil, err
	}
	if err := c.checkFilter(ctx, plan, r.Filter); err != nil {
		return nil, err
	}
	c.live.mu.Lock()
	defer c.live.mu.Unlock()
	if c.live.closed {
		return nil, errLiveClosed
	}
	key := fmt.Sprintf("%d\n%s", redefined, liveKey(r)) // a feed of before may have told of the old definition alone
	f := c.live.feeds[key]
	if f == nil {
		if len(c.live.feeds) == liveMaxFeeds {
			return nil, fmt.Errorf("%w: %d live views with filters of their own are followed already; follow one without a filter", ErrTooMany, liveMaxFeeds)
		}
		f = newFeed(c, plan, r.Filter, key)
		c.live.feeds[key] = f
		run, stop := context.WithCancel(c.live.ctx)
		f.stop = stop
		c.live.running.Go(func() {
			f.run(run)
			c.live.forget(f)
		})
	}
	f.subscribers++
	return &Subscription{feed: f}, nil
}

// checkFilter refuses a filter that names no key, or a value that is none of its
// type, before a feed trips over it again and again.
func (c *Core) checkFilter(ctx context.Context, plan *view.Plan, f view.Filter) error {
	p, err := c.pin(ctx, nil)
	if err != nil {
		return err
	}
	defer p.close()
	if _, err = plan.KeyedSQL("partials", f); err == nil {
		err = p.readable(ctx, plan, f)
	}
	if err != nil {
		return &Refusal{Code: "filter", Message: err.Error()}
	}
	return nil
}

// liveKey is one text for equal requests.
func liveKey(r LiveRequest) string {
	parts := []string{r.Name}
	for _, t := range []*time.Time{r.Filter.From, r.Filter.To} {
		if t == nil {
			parts = append(parts, "-")
		} else {
			parts = append(parts, t.Format(timeLayout))
		}
	}
	for _, w := range r.Filter.Where {
		parts = append(parts, fmt.Sprintf("%q %q %t", w.Key, w.Value, w.Null))
	}
	parts = append(parts, fmt.Sprintf("%q %q", r.Filter.Among, r.Filter.Bounds))
	return strings.Join(parts, "\n")
}

// forget takes a feed that has ended off the list.
func (l *liveFeeds) forget(f *feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.feeds[f.key] == f {
		delete(l.feeds, f.key)
	}
}

// Close ends the subscription, and the feed with its last one. It is idempotent.
func (s *Subscription) Close() {
	s.once.Do(func() {
		l := s.feed.core.live
		l.mu.Lock()
		defer l.mu.Unlock()
		if s.feed.subscribers--; s.feed.subscribers > 0 {
			return
		}
		if l.feeds[s.feed.key] == s.feed {
			delete(l.feeds, s.feed.key)
		}
		s.feed.stop()
	})
}

// Next waits for the next event: a snapshot first and after each batch run that
// moved the view, changes otherwise. After an error the subscription is over.
func (s *Subscription) Next(ctx context.Context) (*LiveEvent, error) {
	for {
		s.feed.mu.Lock()
		ev, err, changed := s.take(), s.feed.err, s.feed.changed
		s.feed.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if ev != nil {
			return s.feed.core.scoped(ctx, ev), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take gives what the subscriber has not seen; nil if there is nothing. feed.mu
// is held.
func (s *Subscription) take() *LiveEvent {
	f := s.feed
	if f.err != nil || f.version == s.version {
		return nil
	}
	ev := f.facts
	ev.Snapshot = s.generation != f.generation
	for e := f.order.Back(); e != nil; e = e.Prev() {
		row := e.Value.(*liveRow)
		if !ev.Snapshot && row.version <= s.version {
			break // older ones are further in front
		}
		if row.row != nil || !ev.Snapshot {
			ev.Rows = append(ev.Rows, row.json())
		}
	}
	s.generation, s.version = f.generation, f.version
	return &ev
}

// run computes until ctx ends, or until the feed cannot be computed.
func (f *feed) run(ctx context.Context) {
	for {
		changed := f.core.speed.Changed()
		started := time.Now()
		err := f.refresh(ctx)
		pause := max(livePace, liveShare*time.Since(started))
		switch {
		case ctx.Err() != nil:
			f.end(errLiveClosed)
			return
		case errors.Is(err, ErrTooLarge), errors.Is(err, ErrNotFound), refused(err):
			f.end(err)
			return
		case err != nil:
			f.core.logger.Warn("a live view could not be computed; trying again", "view", f.plan.Name, "error", err)
			pause, changed = liveRetry, nil
		}
		rest := time.NewTimer(pause)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
		}
		if changed == nil {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// end gives every subscriber the error.
func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	close(f.changed)
	f.changed = make(chan struct{})
}
