package speed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/fault"
	"github.com/tailwater/tailwater/view"
)

// A worker computes the micro-batches of one stream, for the one goroutine that
// applies the stream's blocks.
type worker struct {
	mu     sync.Mutex // held for a micro-batch, and while views come and go
	engine *Engine
	schema *event.Schema
	dead   *event.Schema
	events *duckdb.Handle // what tw_scan reads: the blocks of the micro-batch
	views  []*viewWorker
	lanes  []*lane // compute the views; see share
}

// A viewWorker is one view, and where it begins.
type viewWorker struct {
	plan  *view.Plan
	since event.Cut // the warehouse counts through here: blocks up to it are skipped
}

func newWorker(ctx context.Context, e *Engine, sc StreamConfig) (*worker, error) {
	w := &worker{engine: e, schema: sc.Schema, dead: event.DeadSchema(sc.Schema.Stream), events: duckdb.Share(sc.Schema.Relation())}
	for _, p := range sc.Plans {
		if !p.Direct {
			w.views = append(w.views, &viewWorker{plan: p, since: event.Cut{}})
		}
	}
	if err := w.share(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *worker) close() error {
	w.events.Close()
	return w.closeLanes()
}

// An Applier feeds one stream's blocks to the engine. It implements
// event.Applier, and takes several blocks as one micro-batch.
type Applier struct{ w *worker }

// Apply applies one block.
func (a *Applier) Apply(ctx context.Context, b *event.Block) error {
	return a.ApplyMany(ctx, []*event.Block{b})
}

// ApplyMany applies consecutive blocks of one source as one micro-batch; only
// the last may carry a seal. All of them are applied when it returns nil, none
// when it returns an error.
func (a *Applier) ApplyMany(ctx context.Context, blocks []*event.Block) error {
	w := a.w
	w.mu.Lock()
	defer w.mu.Unlock()
	first, last := blocks[0], blocks[len(blocks)-1]
	whole := event.Range{Source: first.Source, After: first.After, Through: last.Through}
	mark, ok := w.engine.State().Streams[w.schema.Stream].Marks[whole.Source]
	if !ok {
		return fmt.Errorf("speed: block %s of a source that was not begun", whole)
	}
	if whole.After != mark.Applied {
		return &event.GapError{Block: whole, Applied: mark.Applied}
	}
	rows := make([]duckdb.Batch, 0, len(blocks))
	for i, b := range blocks {
		if i > 0 && (b.Source != first.Source || b.After != blocks[i-1].Through) {
			return &event.GapError{Block: b.Range, Applied: blocks[i-1].Through}
		}
		if b.Seal && i < len(blocks)-1 {
			return fmt.Errorf("speed: seal at %d inside the micro-batch %s", b.Through, whole)
		}
		if b.Len() > 0 {
			rows = append(rows, b)
		}
	}
	results, err := w.compute(ctx, whole, rows)
	if err != nil {
		return err
	}
	maxTime := w.maxTime(blocks)
	w.engine.publish(w.schema.Stream, func(s *Stream) bool {
		s.append(whole, blocks, results, w.dead, maxTime)
		return true
	})
	w.engine.compactor.wake()
	return nil
}

// A result is what one micro-batch gave for one view.
type result struct {
	plan    *view.Plan
	partial Piece
	errors  []duckdb.Batch
}

// compute runs every view's partial over the rows. A view that fails is left
// out: its segments then have a hole, which every answer reports as
// complete=false until a batch run has passed it. Only the end of ctx and an
// injected failure are errors.
func (w *worker) compute(ctx context.Context, r event.Range, rows []duckdb.Batch) ([]result, error) {
	if err := fault.Hit(fault.MidMicroBatch); err != nil {
		return nil, err
	}
	w.events.Set(rows)
	defer w.events.Set(nil)
	due := map[*view.Plan]*computed{}
	for _, v := range w.views {
		since := v.since[r.Source]
		if r.Through <= since {
			continue
		}
		if r.After < since {
			return nil, fmt.Errorf("speed: block %s straddles %d, through which view %s is batched", r, since, v.plan.Name)
		}
		due[v.plan] = &computed{result: result{plan: v.plan}}
	}
	if len(rows) > 0 {
		w.run(ctx, rows, due)
	}
	var out []result
	for _, c := range due {
		if c.err != nil {
			if ctx.Err() != nil {
				return nil, c.err
			}
			w.engine.cfg.Logger.Error("view failed on a micro-batch: its answers are incomplete until a batch run passes it",
				"view", c.plan.Name, "range", r.String(), "error", c.err)
			continue
		}
		out = append(out, c.result)
	}
	return out, nil
}

// maxTime finds the greatest event time of the blocks, µs since 1970.
func (w *worker) maxTime(blocks []*event.Block) int64 {
	greatest := int64(math.MinInt64)
	if w.schema.TimeColumn < 0 {
		return greatest
	}
	for _, b := range blocks {
		if b.Len() == 0 {
			continue
		}
		switch col := b.Batch.Column(w.schema.TimeColumn).(type) {
		case *array.Timestamp:
			for i, t := range col.TimestampValues() {
				if col.IsValid(i) {
					greatest = max(greatest, int64(t))
				}
			}
		case *array.Date32:
			for i, d := range col.Date32Values() {
				if col.IsValid(i) {
					greatest = max(greatest, int64(d)*86_400_000_000)
				}
			}
		}
	}
	return greatest
}

// append adds a micro-batch to the stream; s is a copy that may be changed.
func (s *Stream) append(r event.Range, blocks []*event.Block, results []result, dead *event.Schema, maxTime int64) {
	last := blocks[len(blocks)-1]
	m := s.Marks[r.Source]
	m.Applied = r.Through
	s.Marks[r.Source] = m
	s.MaxTime, s.LogTime = max(s.MaxTime, maxTime), max(s.LogTime, last.LogTime)
	for _, b := range blocks {
		if b.Empty() {
			continue
		}
		if b.Through > m.Landed {
			s.Tail = append(s.Tail, b)
			s.tailBytes += int64(b.Size)
		}
		if b.Through > m.DeadLanded {
			s.Dead = append(s.Dead, b.Dead(dead))
		}
	}
	for _, views := range []map[string]*View{s.Views, s.Next} {
		for name, v := range views {
			i := slices.IndexFunc(results, func(res result) bool { return same(res.plan, v.Plan) })
			if i >= 0 && !r.Empty() {
				v = v.append(r, results[i])
				s.viewBytes += results[i].partial.bytes
			}
			if last.Seal {
				v = v.seal(r.Source)
			}
			views[name] = v
		}
	}
}

// same reports whether two plans have the same partial rows of the same view.
func same(a, b *view.Plan) bool { return a.Name == b.Name && a.Version == b.Version }

// append gives the view with one more micro-batch in its open segment.
func (v *View) append(r event.Range, res result) *View {
	next := &View{Plan: v.Plan, Segments: v.Segments}
	var seg Segment
	if n := len(v.Segments); n > 0 && v.Segments[n-1].follows(r) {
		seg = *v.Segments[n-1]
		next.Segments = append([]*Segment(nil), v.Segments[:n-1]...)
		seg.Through = r.Through
	} else {
		next.Segments = append([]*Segment(nil), v.Segments...)
		seg = Segment{Range: r}
	}
	// Older States share the arrays below but look no further than their own
	// length, so appending in place is safe: there is one writer.
	if res.partial.rows > 0 {
		res.partial.through = r.Through
		seg.Pieces = append(seg.Pieces, res.partial)
	}
	seg.Errors = append(seg.Errors, res.errors...)
	next.Segments = append(next.Segments, &seg)
	return next
}

// follows reports whether the range continues the open segment.
func (seg *Segment) follows(r event.Range) bool {
	return !seg.Sealed && seg.Source == r.Source && seg.Through == r.After
}

// seal closes the open segment of the source.
func (v *View) seal(src event.Source) *View {
	n := len(v.Segments)
	if n == 0 || v.Segments[n-1].Sealed || v.Segments[n-1].Source != src {
		return v
	}
	seg := *v.Segments[n-1]
	seg.Sealed = true
	return &View{Plan: v.Plan, Segments: append(append([]*Segment(nil), v.Segments[:n-1]...), &seg)}
}

// pieceOf keeps a result as a piece.
func pieceOf(rel *duckdb.Relation, level int) Piece {
	p := Piece{Batches: rel.Batches, rows: rel.Len(), level: level, index: new(index)}
	for _, b := range rel.Batches {
		for i := range rel.Columns {
			p.bytes += int64(b.Column(i).Data().SizeInBytes())
		}
	}
	return p
}
