package speed

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tailwater/tailwater/event"
)

// A Base is where a source stands when the engine begins it.
type Base struct {
	Floor      uint64 // the epoch begins after this sequence
	Landed     uint64 // L of the stream's table
	DeadLanded uint64 // L of its dead-letter table
	Closed     bool   // the epoch has ended; nothing after Landed will come
	// Batched is S by view name; a view that is absent begins at Floor.
	Batched map[string]uint64
	LogTime int64 // µs since 1970, of the table's last commit
	// MaxTime is the greatest event time through S, µs since 1970;
	// math.MinInt64 if there is none.
	MaxTime int64
}

// Begin tells the engine of a source, and applies (S, L] of every view from the
// landed events by the same Apply as live blocks. Afterwards A is L, and the tap
// goes on from there. landed may be nil when no view is behind.
func (e *Engine) Begin(ctx context.Context, src event.Source, base Base, landed event.Reader) error {
	w := e.workers[src.Stream]
	if w == nil {
		return fmt.Errorf("speed: begin %s: no such stream", src)
	}
	stops := []uint64{base.Landed}
	for _, v := range w.views {
		s := max(base.Batched[v.plan.Name], base.Floor)
		if s > base.Landed {
			return fmt.Errorf("speed: begin %s: view %s is batched through %d, beyond the landed %d", src, v.plan.Name, s, base.Landed)
		}
		v.since[src] = s
		stops = append(stops, s)
	}
	slices.Sort(stops)
	stops = slices.Compact(stops)
	e.publish(src.Stream, func(s *Stream) bool {
		s.Marks[src] = Mark{Floor: base.Floor, Applied: stops[0], Landed: base.Landed, DeadLanded: base.DeadLanded, Closed: base.Closed}
		s.LogTime, s.MaxTime = max(s.LogTime, base.LogTime), max(s.MaxTime, base.MaxTime)
		return true
	})
	// Ranges between two stops, so that no block straddles a view's S.
	for i, through := range stops[1:] {
		r := event.Range{Source: src, After: stops[i], Through: through}
		if err := landed.Read(ctx, r, func(b *event.Block) error { return e.Applier(src.Stream).Apply(ctx, b) }); err != nil {
			return fmt.Errorf("speed: recover %s: %w", r, err)
		}
		seal := &event.Block{Range: event.Range{Source: src, After: through, Through: through}, Schema: w.schema, Seal: true}
		if err := e.Applier(src.Stream).Apply(ctx, seal); err != nil {
			return err
		}
	}
	// The stream's table has no refused records: those that are not in the
	// dead-letter table yet come from the log, by ApplyRefused.
	e.publish(src.Stream, func(s *Stream) bool {
		s.Dead = keepAfter(s.Dead, src, base.Landed)
		return true
	})
	return nil
}

// ApplyRefused takes the refused records alone of a block that was applied by
// Begin: after a crash the dead letters may have landed less far than the events.
// Blocks come in order, before the first one that Apply takes.
func (a *Applier) ApplyRefused(b *event.Block) {
	a.w.engine.publish(a.w.schema.Stream, func(s *Stream) bool {
		if b.Empty() || b.Through <= s.Marks[b.Source].DeadLanded {
			return false
		}
		s.Dead = append(s.Dead, b.Dead(a.w.dead))
		return true
	})
}

// Landed tells that the stream's table holds the source through (inclusive):
// the raw tail up to there is dropped in the next State, but for what is kept.
func (e *Engine) Landed(src event.Source, through uint64) {
	// What lies below a landed position does not change any more, so that it is put
	// together before anybody waits for it.
	landed := e.State().Streams[src.Stream].join(src, through, e.keptBound())
	e.publish(src.Stream, func(s *Stream) bool {
		m, ok := s.Marks[src]
		if !ok || through <= m.Landed {
			return false
		}
		m.Landed = through
		s.Marks[src] = m
		s.Tail = keepAfter(s.Tail, src, through)
		s.keep(src, landed, e.keptBound())
		s.tailBytes = sizeOf(s.Tail)
		return true
	})
}

// DeadLanded is Landed for the dead-letter table.
func (e *Engine) DeadLanded(src event.Source, through uint64) {
	e.publish(src.Stream, func(s *Stream) bool {
		m, ok := s.Marks[src]
		if !ok || through <= m.DeadLanded {
			return false
		}
		m.DeadLanded = through
		s.Marks[src] = m
		s.Dead = keepAfter(s.Dead, src, through)
		return true
	})
}

// Loaded tells that the warehouse counts a view through the cut: its segments up
// to there are dropped in the next State. Of two versions of the view both are meant:
// a batch run advances them together.
func (e *Engine) Loaded(viewName string, through event.Cut) {
	for name, s := range e.State().Streams {
		if s.Views[viewName] == nil && s.Next[viewName] == nil {
			continue
		}
		e.publish(name, func(s *Stream) bool {
			answers, next := s.loaded(s.Views, viewName, through), s.loaded(s.Next, viewName, through)
			return answers || next
		})
	}
}

// loaded drops what the warehouse counts of one of the views, and reports whether
// there was something.
func (s *Stream) loaded(views map[string]*View, name string, through event.Cut) bool {
	v := views[name]
	if v == nil {
		return false
	}
	keep := &View{Plan: v.Plan}
	for _, seg := range v.Segments {
		if seg.Through > through[seg.Source] {
			keep.Segments = append(keep.Segments, seg)
			continue
		}
		s.viewBytes -= seg.bytes()
	}
	views[name] = keep
	return len(keep.Segments) != len(v.Segments)
}

// keepAfter copies the blocks that are not of src through the position, so that
// the array of the old slice can be freed.
func keepAfter(blocks []*event.Block, src event.Source, through uint64) []*event.Block {
	var keep []*event.Block
	for _, b := range blocks {
		if b.Source != src || b.Through > through {
			keep = append(keep, b)
		}
	}
	return keep
}

// Sources gives the sources of the stream with their marks, in order.
func (s *Stream) Sources() []event.Source {
	return slices.SortedFunc(maps.Keys(s.Marks), event.Source.Compare)
}
