package serving

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func busyTurns(cores int) *turns {
	events := new(atomic.Int64)
	return &turns{seats: max(1, cores-1), cores: cores, state: func() any { return events.Add(1) }}
}

func TestShortQueriesTakeNoTurns(t *testing.T) {
	all := busyTurns(2)
	held := new(turn)
	must(t, all.take(t.Context(), held))
	if giveWay, err := (pace{all, new(turn)}).Step(t.Context(), turnsAfter-1); giveWay || err != nil { // a long one would wait
		t.Error(giveWay, err)
	}
	if all.taken != 1 {
		t.Errorf("%d seats are taken", all.taken)
	}
}

func TestQueriesBeginOneAfterTheOther(t *testing.T) {
	all := busyTurns(2)
	all.begun = 2
	leaves, begins := new(turn), new(turn)
	cause := errors.New("his time is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- all.begin(ctx, leaves) }()
	queued := func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		return len(all.queue) == 1
	}
	waitFor(t, queued)
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	go func() { ended <- all.begin(t.Context(), begins) }()
	waitFor(t, queued)
	all.rest(&turn{young: true}) // one of the two
	must(t, <-ended)
	all.rest(begins)
	if all.begun != 1 || len(all.queue) > 0 {
		t.Errorf("%d have begun, %d wait", all.begun, len(all.queue))
	}
}

func TestALongStepKeepsNobodyFromBeginning(t *testing.T) {
	all := busyTurns(2)
	var held [2]turn
	for i := range held {
		must(t, all.begin(t.Context(), &held[i]))
	}
	must(t, all.begin(t.Context(), new(turn))) // after their youth, though nobody rests
}

func TestLongQueriesTakeTurnsAndLeaveACore(t *testing.T) {
	for cores, most := range map[int]int64{1: 1, 2: 1, 4: 3} {
		all := busyTurns(cores)
		var computing, greatest atomic.Int64
		var steps [5]atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		var running sync.WaitGroup
		for i := range steps {
			running.Go(func() {
				q := new(turn)
				defer all.rest(q)
				for steps[i].Load() < 10 {
					if err := all.take(ctx, q); err != nil {
						t.Error(err)
						return
					}
					now := computing.Add(1)
					for was := greatest.Load(); now > was && !greatest.CompareAndSwap(was, now); was = greatest.Load() {
					}
					time.Sleep(turnLength) // what a step computes
					computing.Add(-1)
					steps[i].Add(1)
				}
			})
		}
		running.Wait()
		cancel()
		if greatest.Load() != most {
			t.Errorf("%d cores: %d long queries computed at once, want %d", cores, greatest.Load(), most)
		}
		if all.taken != 0 || len(all.waiting) > 0 {
			t.Errorf("%d cores: %d seats are taken, %d wait", cores, all.taken, len(all.waiting))
		}
	}
}

func TestLongQueriesHaveAllCoresWhileNoEventsCome(t *testing.T) {
	all := &turns{seats: 1, cores: 2, state: func() any { return 7 }, seen: 7, since: time.Now().Add(-2 * idleAfter)}
	for range 2 {
		must(t, all.take(t.Context(), new(turn)))
	}
	if all.taken != 2 {
		t.Errorf("%d seats are taken", all.taken)
	}
}

func TestWhoWaitsForATurnCanEnd(t *testing.T) {
	all := busyTurns(2)
	held, waits := new(turn), new(turn)
	must(t, all.take(t.Context(), held))
	cause := errors.New("his time is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := all.take(ctx, waits); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	all.rest(held)
	must(t, all.take(t.Context(), new(turn)))
	if all.taken != 1 || len(all.waiting) > 0 {
		t.Errorf("%d seats are taken, %d wait", all.taken, len(all.waiting))
	}
}

// Two long statements end on a core that they share, and the slower is answered.
func TestLongStatementsShareACore(t *testing.T) {
	r := newRig(t)
	r.turns = busyTurns(2)
	const sql = "SELECT max(a.range * b.range % 7919) AS m FROM (SELECT count(*) AS range FROM pay) x, range(9000) a, range(9000) b"
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			a, err := r.SQL(t.Context(), SQLRequest{SQL: sql})
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Close()
			if _, err := a.Next(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if n := r.turns.taken; n != 0 {
		t.Errorf("%d seats are taken", n)
	}
}
