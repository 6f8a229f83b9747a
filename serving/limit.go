package serving

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/internal/access"
)

// LimiterConfig bounds the queries of all protocols together. The zero value means
// the defaults.
type LimiterConfig struct {
	// Concurrency is how many queries run at once. 8: a merged view answer takes
	// some 4 ms of one core, and a heavy query must not keep the light ones out.
	Concurrency int
	// Waiting is how many more may queue (64), and for at most WaitTime (5 s, as
	// long as a dashboard's refresh), before a client is told to come back.
	Waiting  int
	WaitTime time.Duration
	// Register is where the metrics go; it may be nil.
	Register prometheus.Registerer
}

func (c LimiterConfig) withDefaults() LimiterConfig {
	c.Concurrency = cmp.Or(c.Concurrency, 8)
	c.Waiting = cmp.Or(c.Waiting, 64)
	c.WaitTime = cmp.Or(c.WaitTime, 5*time.Second)
	return c
}

// share bounds one principal, unless its own limits are tighter: a quarter of the
// slots is left for others, since a query that runs is not stopped for a fairer one,
// and so is half of the queue.
func (c LimiterConfig) share() access.Limits {
	return access.Limits{Concurrency: max(1, c.Concurrency-c.Concurrency/4), Queue: max(1, c.Waiting/2)}
}

// A Limiter lets a few queries run, some wait, and turns the rest away at once: a
// queue without an end only adds waiting to an overload. Those who wait have one
// lane for each principal, and a slot that becomes free goes to the lanes in turn:
// a crowd under one key waits behind itself, not before everybody else. Without
// authentication all share one lane.
type Limiter struct {
	cfg LimiterConfig

	mu      sync.Mutex
	running int
	waiting int
	lanes   map[string]*lane
	turns   []*lane // those in which somebody waits, in the order of their turns

	slots   *prometheus.GaugeVec
	refused *prometheus.CounterVec
	waits   prometheus.Histogram
}

// A lane is what one principal has running and waiting.
type lane struct {
	name        string
	running     int
	concurrency int
	waiters     []*waiter // first come, first served
}

// A waiter is one query that waits. The limiter's mutex guards it.
type waiter struct {
	decided chan struct{} // closed when it may run or has been turned away
	err     error         // why it was turned away
}

// NewLimiter makes a limiter for the listeners of one server.
func NewLimiter(cfg LimiterConfig) *Limiter {
	l := &Limiter{cfg: cfg.withDefaults(), lanes: map[string]*lane{}}
	l.slots = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tailwater_queries", Help: "Queries that run and that wait, by principal."}, []string{"principal", "state"})
	l.refused = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tailwater_queries_turned_away_total", Help: "Queries that found no slot, by principal."}, []string{"principal"})
	l.waits = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tailwater_query_wait_seconds", Help: "Time that a query waited for its slot.",
		Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 2, 5},
	})
	if cfg.Register != nil {
		cfg.Register.MustRegister(l.slots, l.refused, l.waits)
	}
	return l
}

type slotsKey struct{}

// Lend gives a context under which a query takes a slot of the limiter when it begins
// to compute: an answer that is there already, or that another is computing, needs
// none.
func (l *Limiter) Lend(ctx context.Context) context.Context {
	return context.WithValue(ctx, slotsKey{}, l)
}

// takeSlot waits for a slot of the limiter that was lent to the query, if one was.
func takeSlot(ctx context.Context) (release func(), err error) {
	if l, ok := ctx.Value(slotsKey{}).(*Limiter); ok {
		return l.Acquire(ctx)
	}
	return func() {}, nil
}

// Acquire waits for a slot for the principal of ctx. Whoever gets one calls release
// when the query has ended; that is idempotent. The error is ErrTooMany, or ctx's
// cause.
func (l *Limiter) Acquire(ctx context.Context) (release func(), err error) {
	began := time.Now()
	p := access.From(ctx)
	own, name := access.Limits{Concurrency: l.cfg.Concurrency, Queue: l.cfg.Waiting}, anonymous
	if p != nil {
		own, name = p.Within(l.cfg.share()), p.Name
	}
	l.mu.Lock()
	at := l.lane(name)
	at.concurrency = own.Concurrency
	var w *waiter
	if l.running < l.cfg.Concurrency && at.running < at.concurrency {
		l.run(at)
	} else {
		w, err = l.queue(at, own.Queue)
	}
	l.mu.Unlock()
	if err == nil && w != nil {
		err = l.wait(ctx, at, w)
	}
	if err != nil {
		l.refused.WithLabelValues(name).Inc()
		return nil, err
	}
	l.waits.Observe(time.Since(began).Seconds())
	return sync.OnceFunc(func() { l.release(at) }), nil
}

// anonymous is the principal's name in metrics when there is none.
const anonymous = "-"

// lane gives the lane of a name. mu is held.
func (l *Limiter) lane(name string) *lane {
	at := l.lanes[name]
	if at == nil {
		at = &lane{name: name}
		l.lanes[name] = at
	}
	return at
}

// run takes a slot. mu is held.
func (l *Limiter) run(at *lane) {
	l.running++
	at.running++
	l.show(at)
}

// show updates the metrics of a lane, and forgets one that nobody uses. mu is held.
func (l *Limiter) show(at *lane) {
	l.slots.WithLabelValues(at.name, "running").Set(float64(at.running))
	l.slots.WithLabelValues(at.name, "waiting").Set(float64(len(at.waiters)))
	if at.running == 0 && len(at.waiters) == 0 {
		delete(l.lanes, at.name)
	}
}

// queue adds to a lane. When the whole queue is full, the longest lane gives up its
// last place to a shorter one: a crowd must not keep others from waiting either. mu
// is held.
func (l *Limiter) queue(at *lane, most int) (*waiter, error) {
	defer l.show(at)
	if len(at.waiters) >= most {
		return nil, fmt.Errorf("%w: %d queries run and %d wait", ErrTooMany, at.running, len(at.waiters))
	}
	if l.waiting >= l.cfg.Waiting {
		longest := slices.MaxFunc(l.turns, func(a, b *lane) int { return cmp.Compare(len(a.waiters), len(b.waiters)) })
		if len(longest.waiters) <= len(at.waiters)+1 {
			return nil, fmt.Errorf("%w: %d queries run and %d wait", ErrTooMany, l.running, l.waiting)
		}
		last := longest.waiters[len(longest.waiters)-1]
		last.err = fmt.Errorf("%w: %d queries run and %d wait, and others had their turn", ErrTooMany, l.running, l.waiting)
		l.leave(longest, last)
		close(last.decided)
	}
	w := &waiter{decided: make(chan struct{})}
	if len(at.waiters) == 0 {
		l.turns = append(l.turns, at)
	}
	at.waiters = append(at.waiters, w)
	l.waiting++
	return w, nil
}

// leave takes a waiter out of its lane. mu is held.
func (l *Limiter) leave(at *lane, w *waiter) {
	i := slices.Index(at.waiters, w)
	at.waiters = slices.Delete(at.waiters, i, i+1)
	l.waiting--
	if len(at.waiters) == 0 {
		l.turns = slices.DeleteFunc(l.turns, func(t *lane) bool { return t == at })
	}
	l.show(at)
}

// wait returns nil when w has a slot.
func (l *Limiter) wait(ctx context.Context, at *lane, w *waiter) error {
	timer := time.NewTimer(l.cfg.WaitTime)
	defer timer.Stop()
	var err error
	select {
	case <-w.decided:
		return w.err
	case <-timer.C:
		err = fmt.Errorf("%w: no query finished within %s", ErrTooMany, l.cfg.WaitTime)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.decided: // in the same moment
		if w.err == nil && ctx.Err() != nil {
			l.free(at)
			return err
		}
		return w.err
	default:
		l.leave(at, w)
		return err
	}
}

func (l *Limiter) release(at *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free(at)
}

// free gives a slot back, and hands on what is free to the lanes in turn. mu is held.
func (l *Limiter) free(at *lane) {
	l.running--
	at.running--
	l.show(at)
	for l.running < l.cfg.Concurrency {
		i := slices.IndexFunc(l.turns, func(t *lane) bool { return t.running < t.concurrency })
		if i < 0 {
			return
		}
		next := l.turns[i]
		l.turns = slices.Delete(l.turns, i, i+1)
		w := next.waiters[0]
		next.waiters = next.waiters[1:]
		l.waiting--
		if len(next.waiters) > 0 {
			l.turns = append(l.turns, next)
		}
		l.run(next)
		close(w.decided)
	}
}
