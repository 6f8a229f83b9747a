package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// A pin is one moment held for one query: a State taken before the warehouse
// transaction, and that transaction. Every relation of the query is read at the
// cut of the State.
type pin struct {
	core     *Core
	state    *speed.State
	tx       *warehouse.Txn
	cut      event.Cut
	atPast   bool // the cut was asked for, and may lie before the State's
	handles  []*duckdb.Handle
	problems []string // holes and overlaps in the coverage; empty if complete
	stats    map[string]any
	release  func()      // gives the slot back
	stopped  atomic.Bool // by the watch over the memory
	holder   *holder     // of memory; nil if nobody watches
	turn     *turn       // among those that compute
	once     sync.Once
}

// query takes a slot and waits until it may begin, then takes a pin, which gives both
// back. What those ask who come while it waits, the pin covers.
func (c *Core) query(ctx context.Context, at event.Cut) (*pin, error) {
	for _, src := range at.Sources() { // whoever waits for events must not keep others from beginning
		if err := c.wait(ctx, event.Position{Source: src, Seq: at[src]}); err != nil {
			return nil, err
		}
	}
	release, err := takeSlot(ctx)
	if err != nil {
		return nil, err
	}
	q := new(turn)
	if err := c.turns.begin(ctx, q); err != nil {
		release()
		return nil, err
	}
	p, err := c.pin(ctx, at)
	if err != nil {
		c.turns.rest(q)
		release()
		return nil, err
	}
	p.release, p.turn = release, q
	c.held.enter(ctx, p)
	p.tx.Conn.Keep(sharedPace{pace{c.turns, q}, c.held, p})
	c.memory.enter(p)
	return p, nil
}

// pin takes a State, then begins. If a batch run has passed the State (S > A),
// it waits for a newer one: the speed layer is on its way there.
//
// With at, to which the State has come, the pin is read at that cut instead of the
// State's: facts, landed files and the tail hold every event since the first.
func (c *Core) pin(ctx context.Context, at event.Cut) (*pin, error) {
	return c.pinBy(ctx, at, c.warehouse.Begin)
}

// pinBy is pin with the transaction that begin opens.
func (c *Core) pinBy(ctx context.Context, at event.Cut, begin func(context.Context) (*warehouse.Txn, error)) (*pin, error) {
	if err := c.Ready(); err != nil {
		return nil, err
	}
	for {
		changed := c.speed.Changed()
		st := c.speed.State()
		tx, err := begin(ctx)
		if err != nil {
			return nil, err
		}
		cut := st.Applied()
		if !ahead(tx.Marks(), cut) {
			p := &pin{core: c, state: st, tx: tx, cut: cut, stats: map[string]any{}, turn: new(turn)}
			if at != nil && !maps.Equal(at, cut) {
				p.cut, p.atPast = at, true
			}
			return p, nil
		}
		tx.Close()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// plan gives a view as it is defined at the pin's moment; nil if there is none.
func (p *pin) plan(name string) *view.Plan { return p.state.Definitions.Plans[name] }

// wait returns when answers cover the position.
func (c *Core) wait(ctx context.Context, p event.Position) error {
	_, err := c.speed.Wait(ctx, p)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, speed.ErrPositionLost):
		return fmt.Errorf("%w: %v", ErrPositionLost, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: position %s is not applied yet", ErrTimeout, p)
	}
	return &Refusal{Code: "position", Message: err.Error()}
}

// ahead reports whether some S is beyond the cut.
func ahead(marks map[string]event.Cut, cut event.Cut) bool {
	for _, s := range marks {
		for src, through := range s {
			if at, ok := cut[src]; ok && through > at {
				return true
			}
		}
	}
	return false
}

// close lets everything go. It is idempotent.
func (p *pin) close() {
	p.once.Do(func() {
		p.core.memory.leave(p) // before the connection ends, which it may interrupt
		p.core.held.leave(p)
		p.core.turns.rest(p.turn)
		p.tx.Close()
		p.core.held.forget(p)
		for _, h := range p.handles {
			h.Close()
		}
		if p.release != nil {
			p.release()
		}
	})
}

// run executes the statement in the pin's transaction; the answer owns the pin.
func (p *pin) run(ctx context.Context, sql string) (*Answer, error) {
	rows, err := p.tx.Conn.Query(ctx, sql)
	return p.answered(ctx, rows, err)
}

// answered gives an answer that reads the rows, or says why there are none; the answer
// owns the rows and the pin.
func (p *pin) answered(ctx context.Context, rows *duckdb.Rows, err error) (*Answer, error) {
	p.core.turns.rest(p.turn)
	if err != nil {
		p.close()
		return nil, p.failed(ctx, err)
	}
	a := p.blank(ctx, rows.Columns())
	a.Close = func() { rows.Close(); p.close() }
	a.Reuse = rows.Reuse
	a.Next = func(ctx context.Context) (arrow.RecordBatch, error) {
		b, err := rows.Next(ctx)
		p.core.turns.rest(p.turn)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, p.failed(ctx, err)
		}
		return b, err
	}
	return a, nil
}

// blank gives an answer of the pin's moment without rows.
func (p *pin) blank(ctx context.Context, columns []event.Column) *Answer {
	if len(p.problems) > 0 {
		p.stats["incomplete"] = p.problems
	}
	return &Answer{
		Columns:    columns,
		Complete:   len(p.problems) == 0,
		Cut:        p.cut,
		Redefined:  p.state.Definitions.Number,
		Head:       p.core.Heads(ctx),
		Watermark:  p.watermark(),
		Statistics: p.stats,
	}
}

// failed classifies what ended the pin's query.
func (p *pin) failed(ctx context.Context, err error) error {
	if p.holder != nil && ctx.Err() == nil {
		if over := p.holder.verdict.Load(); over != nil {
			return *over
		}
	}
	if p.stopped.Load() && ctx.Err() == nil {
		return fmt.Errorf("%w: the process has none left for it", ErrMemory)
	}
	return p.core.queryError(ctx, err)
}

// queryError tells the end of a query's time from a failure, and has a damaged
// warehouse mended.
func (c *Core) queryError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if warehouse.Damaged(err) {
		c.Mend(err)
		return fmt.Errorf("%w: the warehouse's file is damaged and is being made anew from the lake", ErrNotReady)
	}
	return err
}

func (p *pin) watermark() map[string]time.Time {
	w := map[string]time.Time{}
	for name, s := range p.state.Streams {
		if at, ok := s.Watermark(); ok {
			w[name] = at
		}
	}
	return w
}
