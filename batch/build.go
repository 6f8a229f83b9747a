package batch

import (
	"context"
	"fmt"
	"slices"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/aside"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// stepRows is about how many events one step of a build reads: two seconds' work, so
// that runs of what answers are not kept waiting, and a crash costs no more.
const stepRows = 1_000_000

// Build computes the partials of versions that do not answer yet, from the beginning
// through what has landed, in steps between which runs go on. progress is told after
// each step how many events of how many were read. A build that was cut short goes
// on where it ended; until Define or Abandon is called, runs keep what is built.
func (r *Runner) Build(ctx context.Context, plans []*view.Plan, progress func(done, total int64)) error {
	r.mu.Lock()
	r.building = plans
	r.mu.Unlock()
	for {
		done, total, err := r.step(ctx, plans)
		if err != nil {
			return err
		}
		progress(done, total)
		if done >= total {
			return nil
		}
	}
}

// step builds on for about stepRows events of each stream.
func (r *Runner) step(ctx context.Context, plans []*view.Plan) (done, total int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.cfg.Streams {
		own := over(s.Schema.Stream, plans)
		if len(own) == 0 {
			continue
		}
		snap, err := s.Table.Snapshot(ctx)
		if err != nil {
			return 0, 0, fmt.Errorf("snapshot of %s: %w", s.Schema.Stream, err)
		}
		from, err := r.built(ctx, own)
		if err != nil {
			return 0, 0, err
		}
		in := warehouse.Input{Schema: s.Schema, Building: own, Select: snap.SelectSQL}
		left := int64(stepRows)
		for _, src := range snap.Through().Sources() {
			m := snap.Marks[src]
			span, after := m.Through-m.Floor, max(from[src], m.Floor)
			through := after
			if after < m.Through && left > 0 {
				// The rows of a source lie about evenly over its sequences.
				perRow := float64(span) / float64(max(m.Accepted, 1))
				through = min(m.Through, after+max(1, uint64(float64(left)*perRow)))
				left -= int64(float64(through-after)/perRow) + 1
			}
			in.Landed = append(in.Landed, event.Range{Source: src, After: m.Floor, Through: through})
			total += int64(m.Accepted)
			if span > 0 {
				done += int64(float64(m.Accepted) * float64(through-m.Floor) / float64(span))
			}
		}
		if _, err := aside.Run(runNice, func() (map[string]event.Cut, error) { return r.cfg.Warehouse.Build(ctx, in) }); err != nil {
			return 0, 0, err
		}
	}
	return done, total, nil
}

// built gives the cut through which all of the versions are built.
func (r *Runner) built(ctx context.Context, plans []*view.Plan) (event.Cut, error) {
	tx, err := r.cfg.Warehouse.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Close()
	out := tx.Marks()[warehouse.ViewObject(plans[0])].Clone()
	for _, p := range plans[1:] {
		s := tx.Marks()[warehouse.ViewObject(p)]
		for src := range out {
			out[src] = min(out[src], s[src])
		}
	}
	return out, nil
}

// Abandon gives up what was built: the next run drops it.
func (r *Runner) Abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.building = nil
}

// Define lets runs from now on advance these versions of views; what else there is
// the next run drops.
func (r *Runner) Define(plans []*view.Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.define(plans)
}

func (r *Runner) define(plans []*view.Plan) {
	for i, s := range r.cfg.Streams {
		r.cfg.Streams[i].Plans = over(s.Schema.Stream, plans)
	}
	r.building = nil
}

// Redefine calls f while no run is under way, and then is as after Define if f gives
// no error: whoever takes new versions of views into use does it in f.
func (r *Runner) Redefine(plans []*view.Plan, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := f(); err != nil {
		return err
	}
	r.define(plans)
	return nil
}

// over gives the plans over one stream that have partial rows.
func over(stream string, plans []*view.Plan) []*view.Plan {
	return slices.DeleteFunc(slices.Clone(plans), func(p *view.Plan) bool { return p.Stream != stream || p.Direct })
}
