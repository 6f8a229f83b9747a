// Package batch moves what has landed into the warehouse, on a schedule and on
// demand, one run at a time, and keeps the history of the runs.
//
// A run pins the latest snapshot of every table, hands the rows in (S, L] to one
// warehouse transaction, and tells the speed layer what it need not hold any
// more. A crash at any moment leaves the warehouse at the old S or at the new.
package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/aside"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// A Stream is one stream as batch runs see it.
type Stream struct {
	Schema *event.Schema
	Plans  []*view.Plan
	Table  *lake.Table
	// Epoch is the one that this server writes. A table with a newer one belongs
	// to another server, whose events this one cannot answer for.
	Epoch uint32
}

// Config says what a Runner works on.
type Config struct {
	Warehouse *warehouse.Warehouse
	Streams   []Stream
	History   *History
	// Land lands everything accepted so far, before a run on demand. May be nil.
	Land func(ctx context.Context) error
	// Loaded is told what the warehouse counts through, by view, once it is
	// committed. May be nil.
	Loaded func(view string, through event.Cut)
	// Batched is told the same of a stream's events. May be nil.
	Batched func(stream string, through event.Cut)
	Logger  *slog.Logger
	Now     func() time.Time
}

// landTime bounds how long a run waits for the lake: a store that is away does
// not come back while a client waits.
const landTime = 30 * time.Second

// runNice is the nice value of batch runs: beside work that takes all processors they
// get a quarter of one, enough to hold off the files that pile up meanwhile.
const runNice = 5

// The reasons for a run.
const (
	OnSchedule = "schedule"
	OnDemand   = "demand"
	AtStart    = "start"
	OnPressure = "pressure"
)

// A Run is one batch run, as history keeps it.
type Run struct {
	ID       int64     `json:"id"` // counts from 1
	Trigger  string    `json:"trigger"`
	Rebuild  bool      `json:"rebuild"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Status   string    `json:"status"`  // "succeeded" or "failed"
	Rows     int64     `json:"rows"`    // facts added
	Views    []string  `json:"views"`   // views that moved
	Through  event.Cut `json:"through"` // L of the tables, S after a success
	Error    string    `json:"error,omitempty"`
}

// A Runner runs batches, one at a time.
type Runner struct {
	cfg      Config     // the plans of its streams change with Define; guarded by mu
	mu       sync.Mutex // held during a run
	building []*view.Plan
	poke     chan string
}

// New makes a runner.
func New(cfg Config) *Runner {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Streams = slices.Clone(cfg.Streams) // their plans are the runner's
	return &Runner{cfg: cfg, poke: make(chan string, 1)}
}

// Loop runs batches on the schedule (nil: never) and when Poke asks, until ctx
// ends. A failed run is recorded and the next one tries again.
func (r *Runner) Loop(ctx context.Context, schedule cron.Schedule) error {
	for {
		var due <-chan time.Time
		var timer *time.Timer
		if schedule != nil {
			now := r.cfg.Now()
			// The zero time means never, as for the 30th of February.
			if next := schedule.Next(now); !next.IsZero() {
				timer = time.NewTimer(next.Sub(now))
				due = timer.C
			}
		}
		trigger := OnSchedule
		select {
		case <-ctx.Done():
		case <-due:
		case trigger = <-r.poke:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := r.Run(ctx, trigger, false); err != nil && ctx.Err() == nil {
			r.cfg.Logger.Error("batch run", "error", err)
		}
	}
}

// Poke asks the loop for a run soon; it does not block.
func (r *Runner) Poke() {
	select {
	case r.poke <- OnPressure:
	default: // one is asked for already
	}
}

// Run advances the warehouse through what has landed; on demand and under
// pressure it lands first what was accepted. It returns when the run is
// recorded. A run that found nothing new is not recorded unless it was demanded.
func (r *Runner) Run(ctx context.Context, trigger string, rebuild bool) (Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := Run{Trigger: trigger, Rebuild: rebuild, Started: r.cfg.Now().UTC(), Views: []string{}, Through: event.Cut{}}
	var err error
	if r.cfg.Land != nil && (trigger == OnDemand || trigger == OnPressure) {
		limited, cancel := context.WithTimeout(ctx, landTime)
		if err = r.cfg.Land(limited); err != nil {
			err = fmt.Errorf("land before the run: %w; is the lake's store reachable?", err)
		}
		cancel()
	}
	moved := false
	if err == nil {
		moved, err = r.advance(ctx, &run)
	}
	run.Finished = r.cfg.Now().UTC()
	run.Status = "succeeded"
	if err != nil {
		run.Status, run.Error = "failed", err.Error()
	}
	if r.cfg.History != nil && (moved || err != nil || trigger == OnDemand) {
		limited, cancel := context.WithTimeout(ctx, landTime)
		defer cancel()
		var recordErr error
		if run, recordErr = r.cfg.History.Append(limited, run); recordErr != nil {
			// The run itself stands: say so, and do not fail it afterwards.
			r.cfg.Logger.Error("batch run not recorded", "error", recordErr)
		}
	}
	if err == nil && moved {
		r.cfg.Logger.Info("batch run", "id", run.ID, "trigger", trigger, "rows", run.Rows, "through", run.Through.String(), "took", run.Finished.Sub(run.Started))
	}
	return run, err
}

// advance pins the snapshots and runs the transaction.
func (r *Runner) advance(ctx context.Context, run *Run) (moved bool, err error) {
	inputs, through, err := r.inputs(ctx)
	if err != nil {
		return false, err
	}
	run.Through = through
	done, err := aside.Run(runNice, func() (warehouse.Advanced, error) { return r.cfg.Warehouse.Advance(ctx, inputs, run.Rebuild) })
	if warehouse.Damaged(err) && !run.Rebuild {
		r.cfg.Logger.Error("the warehouse is damaged: the run becomes a rebuild", "error", err)
		run.Rebuild = true
		done, err = aside.Run(runNice, func() (warehouse.Advanced, error) { return r.cfg.Warehouse.Advance(ctx, inputs, true) })
	}
	if err != nil {
		return false, err
	}
	run.Rows = done.Rows
	for _, in := range inputs {
		for _, p := range in.Plans {
			if done.Which[warehouse.ViewObject(p)] {
				run.Views = append(run.Views, p.Name)
			}
			if r.cfg.Loaded != nil {
				r.cfg.Loaded(p.Name, done.S[warehouse.ViewObject(p)])
			}
		}
		if r.cfg.Batched != nil {
			r.cfg.Batched(in.Schema.Stream, done.S[warehouse.FactsObject(in.Schema.Stream)])
		}
	}
	return done.Moved, nil
}

// inputs pins the latest snapshot of every stream.
func (r *Runner) inputs(ctx context.Context) ([]warehouse.Input, event.Cut, error) {
	var inputs []warehouse.Input
	through := event.Cut{}
	for _, s := range r.cfg.Streams {
		snap, err := s.Table.Snapshot(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("snapshot of %s: %w", s.Schema.Stream, err)
		}
		in := warehouse.Input{
			Schema: s.Schema, Plans: s.Plans, Building: over(s.Schema.Stream, r.building), Select: snap.SelectSQL,
			Origin: warehouse.Origin{TableID: snap.TableID, Version: snap.Version, CommitID: snap.CommitID},
		}
		for src, m := range snap.Marks {
			if src.Epoch > s.Epoch {
				return nil, nil, fmt.Errorf("another server has opened epoch %d of stream %s: one server a lake; stop one of the two and start the other again", src.Epoch, s.Schema.Stream)
			}
			in.Landed = append(in.Landed, event.Range{Source: src, After: m.Floor, Through: m.Through})
			through[src] = m.Through
		}
		inputs = append(inputs, in)
	}
	return inputs, through, nil
}

// Runs lists the latest runs, newest first.
func (r *Runner) Runs(ctx context.Context) ([]Run, error) {
	if r.cfg.History == nil {
		return nil, errors.New("batch: no history is kept")
	}
	return r.cfg.History.Latest(ctx, 100)
}
