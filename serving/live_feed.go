package serving

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
)

// A feed keeps one view's rows, as JSON, up to date.
//
// A batch run that moved S begins a new generation: all rows are computed, twice,
// with and without the speed layer. Between two of them the warehouse's part of
// every row stands still, and only the windows and keys in the speed layer's
// pieces behind the last cut can have changed: those alone are computed again. A
// view whose rows depend on each other (see view.Plan.Local) is computed whole
// each time and compared.
type feed struct {
	core        *Core
	plan        *view.Plan
	filter      view.Filter
	key         string
	stop        context.CancelFunc
	subscribers int // guarded by the core's live.mu

	// Owned by run's goroutine.
	seen  *speed.Stream // the part of the State that was computed last
	stale bool          // the view was redefined since
	batch map[string][]byte

	mu         sync.Mutex
	changed    chan struct{} // closed and replaced at each publication
	err        error         // why the feed ended
	generation uint64        // counts snapshots
	version    uint64        // counts publications
	rows       map[string]*list.Element
	order      *list.List // of *liveRow, by version
	facts      LiveEvent  // of the last publication, without rows
}

// A liveRow is one row and when it changed last.
type liveRow struct {
	key        string
	row, batch []byte // JSON objects; nil if there is none
	version    uint64
}

func (r *liveRow) json() []byte {
	out := append([]byte(`{"key":`), appendString(nil, []byte(r.key))...)
	for _, part := range []struct {
		name  string
		value []byte
	}{{`,"row":`, r.row}, {`,"batch":`, r.batch}} {
		out = append(out, part.name...)
		if part.value == nil {
			part.value = []byte("null")
		}
		out = append(out, part.value...)
	}
	return append(out, '}')
}

func newFeed(c *Core, plan *view.Plan, filter view.Filter, key string) *feed {
	return &feed{core: c, plan: plan, filter: view.Filter{From: filter.From, To: filter.To, Where: filter.Where, Among: filter.Among, Bounds: filter.Bounds}, key: key,
		changed: make(chan struct{}), rows: map[string]*list.Element{}, order: list.New()}
}

// refresh brings the rows to the present State.
func (f *feed) refresh(ctx context.Context) error {
	p, err := f.core.pin(ctx, nil)
	if err != nil {
		return err
	}
	defer p.close()
	plan := p.plan(f.plan.Name)
	if plan == f.plan && p.state.Streams[plan.Stream] == f.seen {
		return nil
	}
	if err := f.redefine(ctx, p, plan); err != nil {
		return err
	}
	stream, v := p.state.View(f.plan.Name)
	if f.plan.Direct {
		return f.whole(ctx, p, p.state.Streams[f.plan.Stream])
	}
	fromBatch, s := p.tx.Partials(f.plan)
	partials := p.partials(f.plan, f.filter)
	facts := LiveEvent{View: f.plan.Name, Columns: f.plan.Output, Complete: len(p.problems) == 0,
		Cut: p.cut, Batched: s, Head: f.core.Heads(ctx), Watermark: p.watermark(), BatchedWatermark: f.facts.BatchedWatermark}
	if f.generation == 0 || f.stale || !maps.Equal(s, f.facts.Batched) {
		return f.renew(ctx, p, facts, partials, "("+fromBatch+") AS partials")
	}
	if !f.plan.Local() {
		rows, err := f.read(ctx, p, partials)
		if err == nil {
			err = f.publish(facts, rows, func(key string) bool { return true }, false)
		}
		f.seen = stream
		return err
	}
	pieces := v.Since(f.facts.Cut)
	var rows map[string][]byte
	if len(pieces) > 0 {
		if rows, err = f.read(ctx, p, f.plan.NarrowedSQL(partials, p.share(f.plan.Partial, pieces))); err != nil {
			return err
		}
	}
	touched, err := keysOf(f.plan.Groups(), pieces)
	if err != nil {
		return err
	}
	f.seen = stream
	return f.publish(facts, rows, func(key string) bool { return touched[key] }, false)
}

// whole computes a view that is planned over the stream. No part of it is the batch's.
func (f *feed) whole(ctx context.Context, p *pin, stream *speed.Stream) error {
	events, err := p.stream(ctx, f.plan)
	if err != nil {
		return err
	}
	rows, err := f.read(ctx, p, events)
	if err != nil {
		return err
	}
	renewed := f.generation == 0 || f.stale
	f.seen, f.stale = stream, false
	facts := LiveEvent{View: f.plan.Name, Columns: f.plan.Output, Complete: len(p.problems) == 0,
		Cut: p.cut, Batched: event.Cut{}, Head: f.core.Heads(ctx), Watermark: p.watermark()}
	return f.publish(facts, rows, func(string) bool { return true }, renewed)
}

// renew begins a generation.
func (f *feed) renew(ctx context.Context, p *pin, facts LiveEvent, partials, fromBatch string) (err error) {
	if f.batch, err = f.read(ctx, p, fromBatch); err != nil {
		return err
	}
	rows, err := f.read(ctx, p, partials)
	if err != nil {
		return err
	}
	stream := p.state.Streams[f.plan.Stream]
	if facts.BatchedWatermark, err = p.batchedWatermark(ctx, stream.Schema); err != nil {
		return err
	}
	f.seen, f.stale = stream, false
	return f.publish(facts, rows, nil, true)
}

// redefine follows a view whose definition has changed: its subscribers get a
// snapshot, whose columns may be others. A filter that does not fit any more ends
// the feed.
func (f *feed) redefine(ctx context.Context, p *pin, plan *view.Plan) error {
	if plan == nil {
		return fmt.Errorf("%w: the view %q was dropped", ErrNotFound, f.plan.Name)
	}
	if plan == f.plan {
		return nil
	}
	f.plan, f.stale = plan, true
	if _, err := f.plan.KeyedSQL("partials", f.filter); err != nil {
		return refuseFilter(err)
	}
	return p.readable(ctx, f.plan, f.filter)
}

func refused(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

// publish takes over the rows, and the absence of those that are gone: held rows
// that are not among rows and that are touched. A renewal replaces everything.
func (f *feed) publish(facts LiveEvent, rows map[string][]byte, touched func(key string) bool, renewed bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.version
	f.version++
	changed := renewed || facts.Complete != f.facts.Complete || !maps.Equal(facts.Cut, f.facts.Cut)
	if renewed {
		f.generation++
		clear(f.rows)
		f.order.Init()
	}
	for key, row := range rows {
		changed = f.put(key, row) || changed
	}
	if !renewed {
		for key, e := range f.rows {
			if _, stays := rows[key]; !stays && e.Value.(*liveRow).row != nil && touched(key) {
				changed = f.put(key, nil) || changed
			}
		}
	}
	if len(f.rows) > liveMaxRows {
		f.err = errTooLive
		return errTooLive
	}
	f.facts = facts
	if !changed { // a merge of pieces, or a landing: nothing that a subscriber sees
		f.version = before
		return nil
	}
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

var errTooLive = fmt.Errorf("%w: more than %d rows to follow; narrow them with from, to or where", ErrTooLarge, liveMaxRows)

// put notes a row and reports whether it changed; one that is what it was keeps
// its version.
func (f *feed) put(key string, row []byte) bool {
	e, known := f.rows[key]
	if !known {
		f.rows[key] = f.order.PushBack(&liveRow{key: key, row: row, batch: f.batch[key], version: f.version})
		return true
	}
	held := e.Value.(*liveRow)
	if string(held.row) == string(row) {
		return false
	}
	e.Value = &liveRow{key: key, row: row, batch: held.batch, version: f.version}
	f.order.MoveToBack(e)
	return true
}

// read gives the view's rows over the partial rows, as JSON by key.
func (f *feed) read(ctx context.Context, p *pin, partials string) (map[string][]byte, error) {
	sql, err := p.over(f.plan).KeyedSQL(partials, f.filter)
	if err != nil {
		return nil, err
	}
	rows, err := p.tx.Conn.Query(ctx, sql)
	if err != nil {
		return nil, f.core.queryError(ctx, err)
	}
	defer rows.Close()
	out := map[string][]byte{}
	groups := f.plan.Groups()
	for {
		batch, err := rows.Next(ctx)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, f.core.queryError(ctx, err)
		}
		own := len(f.plan.Output)
		keys := array.NewRecordBatch(arrow.NewSchema(batch.Schema().Fields()[own:], nil), batch.Columns()[own:], batch.NumRows())
		values := array.NewRecordBatch(arrow.NewSchema(batch.Schema().Fields()[:own], nil), batch.Columns()[:own], batch.NumRows())
		names, err := keyTexts(groups, duckdb.RecordBatch(keys))
		if err != nil {
			return nil, err
		}
		objects, err := rowObjects(f.plan.Output, values)
		if err != nil {
			return nil, err
		}
		for i, name := range names {
			out[name] = objects[i]
		}
		if len(out) > liveMaxRows {
			return nil, errTooLive
		}
	}
}

// rowObjects gives each row of a batch as a JSON object of its own.
func rowObjects(columns []event.Column, batch arrow.RecordBatch) ([][]byte, error) {
	enc := newRowsJSON(columns, "", "")
	cells, err := cellsOf(columns, batch)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, batch.NumRows())
	for i := range out {
		enc.buf = nil
		enc.object(cells, batch, i)
		out[i] = enc.buf
	}
	return out, nil
}

// keyTexts gives the first columns of each row as a JSON array.
func keyTexts(groups []event.Column, rows duckdb.Batch) ([]string, error) {
	enc := newRowsJSON(groups, "", "")
	cells := make([]cell, len(groups))
	for i, g := range groups {
		var err error
		if cells[i], err = cellOf(g.Type, rows.Column(i)); err != nil {
			return nil, err
		}
	}
	out := make([]string, rows.Len())
	for i := range out {
		enc.buf = append(enc.buf[:0], '[')
		for k, c := range cells {
			if k > 0 {
				enc.buf = append(enc.buf, ',')
			}
			enc.value(c, groups[k].Kind, rows.Column(k), i)
		}
		out[i] = string(append(enc.buf, ']'))
	}
	return out, nil
}

// keysOf gives the keys that occur in partial rows.
func keysOf(groups []event.Column, pieces []duckdb.Batch) (map[string]bool, error) {
	out := map[string]bool{}
	for _, b := range pieces {
		names, err := keyTexts(groups, b)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			out[name] = true
		}
	}
	return out, nil
}

// batchedWatermark gives the greatest event time that the warehouse counts.
func (p *pin) batchedWatermark(ctx context.Context, s *event.Schema) (*time.Time, error) {
	if s.TimeColumn < 0 {
		return nil, nil
	}
	facts, _ := p.tx.Facts(s)
	rel, err := p.tx.Conn.Collect(ctx, "SELECT epoch_us(CAST(max("+duckdb.Ident(s.Columns[s.TimeColumn].Name)+") AS TIMESTAMP)) FROM ("+facts+")")
	if err != nil {
		return nil, p.core.queryError(ctx, err)
	}
	us, ok := rel.Value(0, 0).(int64)
	if !ok {
		return nil, nil
	}
	at := time.UnixMicro(us).UTC()
	return &at, nil
}
