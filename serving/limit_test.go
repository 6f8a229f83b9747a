package serving

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/internal/access"
)

func as(ctx context.Context, name string, limits access.Limits) context.Context {
	return access.With(ctx, &access.Principal{Name: name, Limits: limits})
}

// acquire takes a slot that must be free.
func acquire(t *testing.T, l *Limiter, ctx context.Context) (release func()) {
	t.Helper()
	release, err := l.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestMoreQueriesThanMayWaitAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 1, Waiting: 1, WaitTime: time.Second})
		first := acquire(t, l, t.Context())
		second := make(chan func(), 1)
		go func() { release, _ := l.Acquire(t.Context()); second <- release }()
		synctest.Wait() // the second waits now
		if _, err := l.Acquire(t.Context()); !errors.Is(err, ErrTooMany) || !strings.Contains(err.Error(), "1 wait") {
			t.Errorf("the third got %v", err)
		}
		first()
		first() // idempotent
		if release := <-second; release == nil {
			t.Error("the second got nothing")
		}
		started := time.Now()
		if _, err := l.Acquire(t.Context()); !errors.Is(err, ErrTooMany) || time.Since(started) != time.Second {
			t.Errorf("after %s the fourth got %v", time.Since(started), err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, ErrTimeout)
		defer cancel()
		if _, err := l.Acquire(ctx); !errors.Is(err, ErrTimeout) {
			t.Errorf("the fifth got %v", err)
		}
	})
}

func TestACrowdOfOneKeyDoesNotStarveAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 1, Waiting: 60, WaitTime: time.Hour})
		blocker := acquire(t, l, as(t.Context(), "first", access.Limits{}))
		var mu sync.Mutex
		var order []string
		var group sync.WaitGroup
		join := func(name string, n int) {
			for range n {
				group.Go(func() {
					release, err := l.Acquire(as(t.Context(), name, access.Limits{}))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					order = append(order, name)
					mu.Unlock()
					release()
				})
			}
		}
		join("crowd", 20)
		synctest.Wait()
		join("one", 2) // both came after all of the crowd
		synctest.Wait()
		blocker()
		group.Wait()
		if got := strings.Join(order[:4], " "); got != "crowd one crowd one" {
			t.Errorf("served in the order %s", got)
		}
	})
}

func TestAKeyLeavesSlotsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 4, WaitTime: time.Second})
		greedy, narrow := as(t.Context(), "greedy", access.Limits{Concurrency: 100}), as(t.Context(), "narrow", access.Limits{Concurrency: 1})
		for range 3 {
			acquire(t, l, greedy)
		}
		if _, err := l.Acquire(greedy); !errors.Is(err, ErrTooMany) {
			t.Errorf("the fourth of one key: %v", err)
		}
		release := acquire(t, l, narrow)
		release()
		acquire(t, l, narrow)
		if _, err := l.Acquire(narrow); !errors.Is(err, ErrTooMany) {
			t.Errorf("the second of a key that may run one: %v", err)
		}
	})
}

func TestWithoutAuthenticationAllSlotsAreThere(t *testing.T) {
	l := NewLimiter(LimiterConfig{Concurrency: 4})
	for range 4 {
		acquire(t, l, t.Context())
	}
}

func TestAFullQueueStillTakesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 1, Waiting: 4, WaitTime: time.Hour})
		blocker := acquire(t, l, as(t.Context(), "x", access.Limits{}))
		outcome := func(name string) chan error {
			c := make(chan error, 1)
			go func() {
				release, err := l.Acquire(as(t.Context(), name, access.Limits{}))
				if err == nil {
					release()
				}
				c <- err
			}()
			synctest.Wait()
			return c
		}
		a1, a2, b1, b2 := outcome("a"), outcome("a"), outcome("b"), outcome("b")
		if err := <-outcome("a"); !errors.Is(err, ErrTooMany) {
			t.Errorf("a third of a, which has half of the queue: %v", err)
		}
		c := outcome("c") // takes the place of the last of a or b
		var turned int
		for _, waiting := range []chan error{a2, b2} {
			select {
			case err := <-waiting:
				turned++
				if !errors.Is(err, ErrTooMany) {
					t.Error(err)
				}
			default:
			}
		}
		if turned != 1 {
			t.Errorf("%d of the longest lanes were turned away, want 1", turned)
		}
		blocker()
		for _, waiting := range []chan error{a1, b1, c} {
			if err := <-waiting; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestASlotIsNeverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		l := NewLimiter(LimiterConfig{Concurrency: 3, Waiting: 20, WaitTime: 7 * time.Millisecond, Register: registry})
		var group sync.WaitGroup
		for i := range 300 {
			group.Go(func() {
				time.Sleep(time.Duration(i%17) * time.Millisecond) // the bubble's time, which costs none
				ctx, cancel := context.WithTimeout(as(t.Context(), string(rune('a'+i%5)), access.Limits{Concurrency: 1 + i%3}), time.Duration(i%9)*time.Millisecond)
				defer cancel()
				release, err := l.Acquire(ctx)
				if err != nil {
					return
				}
				time.Sleep(time.Duration(i%4) * time.Millisecond)
				release()
			})
		}
		group.Wait()
		if l.running != 0 || l.waiting != 0 || len(l.lanes) != 0 || len(l.turns) != 0 {
			t.Errorf("%d run, %d wait, lanes %v, turns %v", l.running, l.waiting, l.lanes, l.turns)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "tailwater_queries" && m.GetGauge().GetValue() != 0 {
					t.Errorf("the metric says %v", m)
				}
			}
		}
		for range 3 {
			acquire(t, l, t.Context())
		}
	})
}
