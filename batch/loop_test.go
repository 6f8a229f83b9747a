package batch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/tailwater/tailwater/lake"
)

// In these tests time is virtual, and passes when every goroutine waits for it.
// They land no rows and keep no history: the Parquet codec keeps decoders for
// the next user, which may not wander from one bubble of virtual time to another.

func virtual(c *Config) { c.Now, c.History = nil, nil }

// loop starts the runner's loop; stop ends it and gives its error.
func (r *rig) loop(schedule cron.Schedule) (stop func() error) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Loop(ctx, schedule) }()
	return func() error { cancel(); return <-ended }
}

// minutes gives the minutes after start at which a run told of the view total.
func (r *rig) minutes(start time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for i, at := range r.times {
		if strings.HasPrefix(r.loaded[i], "total:") {
			out = append(out, fmt.Sprint(at.Sub(start).Minutes()))
		}
	}
	return strings.Join(out, " ")
}

func TestLoopRunsOnScheduleUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lake.NewMemoryBucket(), virtual)
		start := time.Now()
		stop := r.loop(cron.Every(10 * time.Minute))
		time.Sleep(35 * time.Minute)
		synctest.Wait()
		if got := r.minutes(start); got != "10 20 30" {
			t.Errorf("runs at minutes %s", got)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("the loop ended with %v", err)
		}
		time.Sleep(time.Hour)
		if got := r.minutes(start); got != "10 20 30" {
			t.Errorf("runs at minutes %s: the loop had ended at 35", got)
		}
	})
}

func TestLoopWithoutAScheduleRunsWhenPokedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var landings callTimes
		r := newRig(t, lake.NewMemoryBucket(), func(c *Config) {
			virtual(c)
			c.Land = landings.add
		})
		start := time.Now()
		stop := r.loop(nil)
		time.Sleep(1000 * time.Minute)
		r.Poke()
		time.Sleep(1000 * time.Minute)
		if got := r.minutes(start); got != "1000" || landings.since(start) != "1000" {
			t.Errorf("runs at minutes %q, landings at %q", got, landings.since(start))
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("the loop ended with %v", err)
		}
	})
}

// callTimes is a Land that notes when it was called.
type callTimes struct {
	mu    sync.Mutex
	times []time.Time
}

func (a *callTimes) add(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times = append(a.times, time.Now())
	return nil
}

func (a *callTimes) since(start time.Time) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, at := range a.times {
		out = append(out, fmt.Sprint(at.Sub(start).Minutes()))
	}
	return strings.Join(out, " ")
}

func TestAPokeDoesNotMoveTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lake.NewMemoryBucket(), virtual)
		halves, err := cron.ParseStandard("CRON_TZ=UTC 0,30 * * * *")
		check(t, err)
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour))) // a full hour
		start := time.Now()
		stop := r.loop(halves)
		time.Sleep(20 * time.Minute)
		r.Poke()
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if got := r.minutes(start); got != "20 30 60" {
			t.Errorf("runs at minutes %s", got)
		}
		_ = stop()
	})
}

func TestAScheduleThatNeverComesDueRunsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lake.NewMemoryBucket(), virtual)
		never, err := cron.ParseStandard("CRON_TZ=UTC 0 0 30 2 *")
		check(t, err)
		start := time.Now()
		stop := r.loop(never)
		time.Sleep(1000 * time.Minute)
		r.Poke()
		synctest.Wait()
		if got := r.minutes(start); got != "1000" {
			t.Errorf("runs at minutes %s", got)
		}
		_ = stop()
	})
}

func TestPokesDuringARunAskForOneMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var landings callTimes
		release := make(chan struct{})
		r := newRig(t, lake.NewMemoryBucket(), func(c *Config) {
			virtual(c)
			c.Land = func(ctx context.Context) error { <-release; return landings.add(ctx) }
		})
		stop := r.loop(nil)
		r.Poke()
		synctest.Wait() // the run waits for its landing
		for range 5 {
			r.Poke()
		}
		close(release)
		synctest.Wait()
		if n := len(landings.times); n != 2 {
			t.Errorf("%d runs, want the one under way and one more", n)
		}
		_ = stop()
	})
}

func TestLoopGoesOnAfterAFailedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lake.NewMemoryBucket(), virtual)
		var failures callTimes
		r.bucket.Inject(func(op lake.Op) lake.Fault {
			_ = failures.add(context.Background())
			return lake.Fail
		})
		start := time.Now()
		stop := r.loop(cron.Every(10 * time.Minute))
		time.Sleep(25 * time.Minute)
		synctest.Wait()
		r.bucket.Inject(nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := r.minutes(start); failures.since(start) != "10 20" || got != "30" {
			t.Errorf("runs failed at minutes %s and succeeded at %s", failures.since(start), got)
		}
		_ = stop()
	})
}

func TestLoopEndsInTheMiddleOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lake.NewMemoryBucket(), func(c *Config) {
			virtual(c)
			c.Land = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		stop := r.loop(nil)
		r.Poke()
		synctest.Wait()
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("the loop ended with %v", err)
		}
	})
}

func TestARunDoesNotWaitForTheLakeForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lake.NewMemoryBucket(), func(c *Config) {
			virtual(c)
			c.Land = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		start := time.Now()
		run, err := r.Run(t.Context(), OnDemand, false)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != landTime || run.Status != "failed" {
			t.Errorf("after %v: %v, %s", time.Since(start), err, text(run))
		}
	})
}
