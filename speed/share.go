package speed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// From so many statements on a stream's views have two lanes, and from so many events
// on a micro-batch uses both. With fewer events two lanes were no faster, and the other
// processor is better left to those who send and ask.
const (
	lanesFrom  = 6
	eventsFrom = 5_000
)

// A lane is a connection with the statements that run on it in turn. Lanes may run
// side by side: they share nothing but the events.
type lane struct {
	conn     *duckdb.Conn
	partials []*partialWorker
}

// A partialWorker holds the prepared statements of views that share a partial.
type partialWorker struct {
	view.SharedPartial
	partial *duckdb.Stmt
	errors  []*duckdb.Stmt // of Plans; nil where no expression of the view can fail
}

// share prepares the statements of w.views, and lets go those that were there.
// If it fails, what was there stays.
func (w *worker) share(ctx context.Context) error {
	var plans []*view.Plan
	for _, v := range w.views {
		plans = append(plans, v.plan)
	}
	shared := view.Share(plans)
	next := &worker{engine: w.engine, events: w.events}
	for i, s := range shared {
		if i == 0 || i == 1 && len(shared) >= lanesFrom {
			conn, err := w.engine.cfg.DB.Connect()
			if err != nil {
				return errors.Join(fmt.Errorf("speed: connect: %w", err), next.closeLanes())
			}
			next.lanes = append(next.lanes, &lane{conn: conn})
		}
		if err := next.lanes[i%len(next.lanes)].prepare(ctx, s, w.events.SQL()); err != nil {
			return errors.Join(err, next.closeLanes())
		}
	}
	w.lanes, next.lanes = next.lanes, w.lanes
	return next.closeLanes()
}

func (l *lane) prepare(ctx context.Context, s view.SharedPartial, events string) (err error) {
	p := &partialWorker{SharedPartial: s, errors: make([]*duckdb.Stmt, len(s.Plans))}
	l.partials = append(l.partials, p)
	if p.partial, err = l.conn.Prepare(ctx, s.PartialSQL(events)); err != nil {
		return fmt.Errorf("speed: prepare view %s: %w", s.Plans[0].Name, err)
	}
	for i, plan := range s.Plans {
		if text := plan.ErrorsSQL(events); text != "" {
			if p.errors[i], err = l.conn.Prepare(ctx, text); err != nil {
				return fmt.Errorf("speed: prepare errors of view %s: %w", plan.Name, err)
			}
		}
	}
	return nil
}

// closeLanes closes the connections, and their statements with them.
func (w *worker) closeLanes() error {
	var errs []error
	for _, l := range w.lanes {
		errs = append(errs, l.conn.Close())
	}
	w.lanes = nil
	return errors.Join(errs...)
}

// computed is what a micro-batch gave for a view that is due: a result or an error.
type computed struct {
	result
	err error
}

// run computes the views that are due over the rows, which w.events holds. Each lane
// writes to the views of its own.
func (w *worker) run(ctx context.Context, rows []duckdb.Batch, due map[*view.Plan]*computed) {
	lane := func(l *lane) {
		for _, p := range l.partials {
			p.run(ctx, l.conn, w.events.SQL(), due)
		}
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	large := (&duckdb.Relation{Batches: rows}).Len() >= eventsFrom
	for i, l := range w.lanes {
		if large && i > 0 {
			beside.Go(func() { lane(l) })
		}
	}
	for i, l := range w.lanes {
		if !large || i == 0 {
			lane(l)
		}
	}
}

func (p *partialWorker) run(ctx context.Context, conn *duckdb.Conn, events string, due map[*view.Plan]*computed) {
	if !slices.ContainsFunc(p.Plans, func(plan *view.Plan) bool { return due[plan] != nil }) {
		return
	}
	rows, err := p.partial.Collect(ctx)
	for i, plan := range p.Plans {
		c := due[plan]
		if c == nil {
			continue
		}
		own := rows
		switch c.err = err; {
		case err == nil:
			own = p.Of(i, rows)
		case len(p.Plans) > 1 && ctx.Err() == nil:
			// The state of one view fails, as a sum that overflows does: that is
			// no matter of the others.
			own, c.err = conn.Collect(ctx, plan.PartialSQL(events))
		}
		if c.err == nil && p.errors[i] != nil {
			var failed *duckdb.Relation
			if failed, c.err = p.errors[i].Collect(ctx); c.err == nil && failed.Len() > 0 {
				c.errors = failed.Batches
			}
		}
		if c.err == nil {
			c.partial = pieceOf(own, 0)
		}
	}
}
