package speed

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// A view is redefined while the old version answers. Add begins the new one at a
// cut X, between two micro-batches: from there on every event is counted for both.
// The warehouse counts the new version from the beginning; once its S has passed X,
// S and what Add keeps tile everything, and Redefine lets the new version answer, in
// one publication.

// Add begins to keep another version of a view, or a new view, beside those that
// answer: it counts the events after the cut that is returned. One version of a
// name is added at a time; Discard takes it back.
func (e *Engine) Add(ctx context.Context, p *view.Plan) (event.Cut, error) {
	w := e.workers[p.Stream]
	if w == nil {
		return nil, fmt.Errorf("speed: add view %s: no stream %s", p.Name, p.Stream)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := e.State().Streams[p.Stream]
	if v := s.Views[p.Name]; s.Next[p.Name] != nil || v != nil && same(v.Plan, p) {
		return nil, fmt.Errorf("speed: view %s has the version %s, or another is being built", p.Name, p.Version)
	}
	since := event.Cut{}
	for src, m := range s.Marks {
		since[src] = m.Applied // nothing is applied while mu is held
	}
	w.views = append(w.views, &viewWorker{plan: p, since: maps.Clone(since)})
	if err := w.share(ctx); err != nil {
		w.views = w.views[:len(w.views)-1]
		return nil, err
	}
	e.publish(p.Stream, func(s *Stream) bool { s.Next[p.Name] = &View{Plan: p}; return true })
	return since, nil
}

// Discard takes back what Add began. It is idempotent.
func (e *Engine) Discard(p *view.Plan) {
	w := e.workers[p.Stream]
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := e.State().Streams[p.Stream].Next[p.Name]; v == nil || !same(v.Plan, p) {
		return
	}
	w.remove(p)
	e.publish(p.Stream, func(s *Stream) bool {
		s.forget(s.Next[p.Name])
		delete(s.Next, p.Name)
		return true
	})
}

// Redefine lets the views be as the plans say, in one publication: those that were
// added, those with the partial rows of before and another finish, and none but
// these. It gives the States on both sides of that moment; their cuts are equal. A
// plan whose partial rows nobody keeps is an error, and then nothing has changed.
func (e *Engine) Redefine(plans []*view.Plan) (before, after *State, err error) {
	for _, name := range slices.Sorted(maps.Keys(e.workers)) { // no micro-batch on either side of it
		w := e.workers[name]
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	before = e.state.Load()
	after = &State{Streams: map[string]*Stream{}, Definitions: &Definitions{Number: before.Definitions.Number + 1, Plans: map[string]*view.Plan{}}}
	for name, s := range before.Streams {
		after.Streams[name] = s.clone()
		after.Streams[name].Views = map[string]*View{}
	}
	for _, p := range plans {
		after.Definitions.Plans[p.Name] = p
		if p.Direct {
			continue // it has no partial rows
		}
		_, v := before.Of(p)
		if v == nil {
			return nil, nil, fmt.Errorf("speed: nothing is kept for version %s of view %s", p.Version, p.Name)
		}
		s := after.Streams[p.Stream]
		s.Views[p.Name] = &View{Plan: p, Segments: v.Segments}
		if next := s.Next[p.Name]; next != nil && same(next.Plan, p) {
			delete(s.Next, p.Name)
		}
	}
	for name, s := range before.Streams {
		for _, v := range s.Views {
			if now := after.Streams[name].Views[v.Plan.Name]; now == nil || !same(now.Plan, v.Plan) {
				e.workers[name].remove(v.Plan)
				after.Streams[name].forget(v)
			}
		}
	}
	e.state.Store(after)
	close(e.changed)
	e.changed = make(chan struct{})
	return before, after, nil
}

// remove ends one version of a view; w.mu is held. Statements that cannot be made
// anew stay: nothing is due in them for it any more.
func (w *worker) remove(p *view.Plan) {
	w.views = slices.DeleteFunc(w.views, func(v *viewWorker) bool { return same(v.plan, p) })
	if err := w.share(context.Background()); err != nil {
		w.engine.cfg.Logger.Warn("the statements of a view that ended stay prepared", "view", p.Name, "error", err)
	}
}

// forget no longer counts the memory of a view.
func (s *Stream) forget(v *View) {
	for _, seg := range v.Segments {
		s.viewBytes -= seg.bytes()
	}
}

func (seg *Segment) bytes() int64 {
	var n int64
	for _, p := range seg.Pieces {
		n += p.bytes
	}
	return n
}
