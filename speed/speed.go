// Package speed is the speed layer: it keeps every view's partials for the
// events that no batch run has counted yet, and the raw events that have not
// landed yet.
//
// DuckDB computes, Go holds. A micro-batch runs each view's partial as a
// prepared SELECT over the block's own column buffers; what comes back is
// copied into immutable Go columns and appended to the view's open segment; then
// a new immutable State is published. A query that holds a State can take its
// time: nothing that it sees changes, and the garbage collector frees what the
// last holder let go.
//
// The package does not know the lake, the log or the warehouse. It is told what
// they have by Begin, Landed and Loaded, and fed by Apply.
package speed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// Config says what an Engine keeps.
type Config struct {
	// DB is the compute instance; the engine opens connections on it and does
	// not close it.
	DB *duckdb.DB
	// Streams are the streams and the views over each.
	Streams []StreamConfig
	// MaxBytes bounds the memory of partials and raw tail together; beyond it
	// Pressure is called once for each crossing. Default 512 MiB: a quarter of
	// what a small machine has.
	MaxBytes int64
	// KeptBytes bounds the memory of landed events that are kept until a batch run has
	// taken them, all streams' together. Default 32 MiB; negative keeps none.
	KeptBytes int64
	// Pressure asks for landing and a batch run ahead of time. It must not
	// block. May be nil.
	Pressure func()
	Logger   *slog.Logger
}

// StreamConfig is one stream with its views.
type StreamConfig struct {
	Schema *event.Schema
	Plans  []*view.Plan
}

// An Engine applies blocks and publishes States.
type Engine struct {
	cfg       Config
	workers   map[string]*worker // by stream; immutable after New
	compactor *compactor

	state    atomic.Pointer[State]
	pressing atomic.Bool

	mu      sync.Mutex    // held while a new State is derived from the last one
	changed chan struct{} // closed and replaced at each publication; guarded by mu
}

// New prepares the statements of every view. Nothing is applied until Begin
// told the engine where each stream stands.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 512 << 20
	}
	if cfg.KeptBytes == 0 {
		cfg.KeptBytes = keptBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{cfg: cfg, workers: map[string]*worker{}, changed: make(chan struct{})}
	st := &State{Streams: map[string]*Stream{}, Definitions: &Definitions{Plans: map[string]*view.Plan{}}}
	for _, sc := range cfg.Streams {
		w, err := newWorker(ctx, e, sc)
		if err != nil {
			e.Close()
			return nil, err
		}
		e.workers[sc.Schema.Stream] = w
		st.Streams[sc.Schema.Stream] = emptyStream(sc)
		for _, p := range sc.Plans {
			st.Definitions.Plans[p.Name] = p
		}
	}
	e.state.Store(st)
	c, err := startCompactor(e)
	if err != nil {
		e.Close()
		return nil, err
	}
	e.compactor = c
	return e, nil
}

// Close stops compaction and frees the statements. States that are held stay
// readable. It is idempotent; no Apply may be under way.
func (e *Engine) Close() error {
	var errs []error
	if e.compactor != nil {
		e.compactor.close()
	}
	for _, w := range e.workers {
		errs = append(errs, w.close())
	}
	return errors.Join(errs...)
}

// State gives the State published last. It is immutable.
func (e *Engine) State() *State { return e.state.Load() }

// Applier gives the applier of one stream; it panics for a stream that was not
// configured. Apply may be called by one goroutine at a time.
func (e *Engine) Applier(stream string) *Applier {
	w := e.workers[stream]
	if w == nil {
		panic("speed: no stream " + stream)
	}
	return &Applier{w}
}

// Changed gives a channel that is closed when a State newer than the present
// one is published.
func (e *Engine) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// Wait returns when the position is applied, with the first State that covers
// it, or with ctx's error. ErrPositionLost is returned for a position of an
// epoch that ended before it, which nothing will ever cover.
func (e *Engine) Wait(ctx context.Context, p event.Position) (*State, error) {
	for {
		changed := e.Changed()
		st := e.State()
		if covered, err := st.covers(p); err != nil || covered {
			return st, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", p, context.Cause(ctx))
		}
	}
}

// ErrPositionLost says that a position token names an event that the log lost
// before it was landed: ask again without it, and send the event again.
var ErrPositionLost = errors.New("the position was lost when the log was rolled back")

// publish derives a new State from the last one. change gets a copy of the
// stream that it may alter (but not what hangs below it) and reports whether it
// did.
func (e *Engine) publish(stream string, change func(*Stream) bool) {
	e.mu.Lock()
	old := e.state.Load()
	s := old.Streams[stream].clone()
	if !change(s) {
		e.mu.Unlock()
		return
	}
	next := &State{Streams: maps.Clone(old.Streams), Definitions: old.Definitions}
	next.Streams[stream] = s
	e.state.Store(next)
	close(e.changed)
	e.changed = make(chan struct{})
	e.mu.Unlock()
	e.checkPressure(next)
}

// checkPressure calls Pressure when memory crosses the bound upwards.
func (e *Engine) checkPressure(st *State) {
	over := st.Bytes() > e.cfg.MaxBytes
	if e.pressing.Swap(over) == over || !over || e.cfg.Pressure == nil {
		return
	}
	e.cfg.Logger.Warn("speed layer over its memory bound: landing and batching early", "bytes", st.Bytes(), "bound", e.cfg.MaxBytes)
	e.cfg.Pressure()
}
