package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/ingest"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/stream"
	"github.com/tailwater/tailwater/warehouse"
)

// purgeMargin is how many messages through L stay in the log: the one at L tells
// at start whether the log is still the same. More would only fill a small log.
const purgeMargin = 1

// A pipeline is one stream's way from the log to State and lake.
type pipeline struct {
	node      *node
	schema    *event.Schema
	log       stream.Log
	source    event.Source // of the present epoch
	events    *lander
	dead      *lander
	publisher *stream.Publisher
	tap       *stream.Tap
	speed     *skipping
	seeding   chan error // has the end of the seeding of ids

	headAtStart uint64
	published   atomic.Uint64 // the greatest sequence acknowledged to a client
	running     sync.WaitGroup
}

// A lander with the table it fills.
type lander struct {
	*lake.Lander
	table   *lake.Table
	running sync.WaitGroup
	cancel  context.CancelFunc
}

// newLander makes the lander of a table; landed is told of each commit after
// the node knows the snapshot.
func (n *node) newLander(ctx context.Context, table *lake.Table, landed func(*lake.Snapshot)) (*lander, error) {
	name := table.Schema().Stream
	snap, err := table.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	n.landed.Store(name, snap)
	l, err := lake.NewLander(table, lake.LanderConfig{SpoolDir: n.parts.spoolDir, Landed: func(s *lake.Snapshot) {
		n.landed.Store(name, s)
		if landed != nil {
			landed(s)
		}
	}})
	if err != nil {
		return nil, err
	}
	return &lander{Lander: l, table: table}, nil
}

func (l *lander) start(ctx context.Context, n *node) {
	ctx, l.cancel = context.WithCancel(ctx)
	l.running.Go(func() { n.ended(ctx, "lander of "+l.table.Schema().Stream, l.Run(ctx)) })
}

func (l *lander) close() {
	if l.cancel != nil {
		l.cancel()
	}
	l.running.Wait()
	l.Close()
}

// openPipeline opens tables and log, and decides the epoch.
func openPipeline(ctx context.Context, n *node, schema *event.Schema) (*pipeline, error) {
	pl := &pipeline{node: n, schema: schema}
	events, err := n.lake.Table(ctx, schema)
	if err != nil {
		return nil, err
	}
	dead, err := n.lake.Table(ctx, event.DeadSchema(schema.Stream))
	if err != nil {
		return nil, err
	}
	if pl.log, err = n.parts.log(ctx, schema.Stream); err != nil {
		return nil, err
	}
	if err := pl.resolveEpoch(ctx, events, dead); err != nil {
		return nil, err
	}
	if pl.events, err = n.newLander(ctx, events, pl.eventsLanded); err != nil {
		return nil, err
	}
	if pl.dead, err = n.newLander(ctx, dead, pl.deadLanded); err != nil {
		return nil, err
	}
	mark := n.Landed(schema.Stream).Marks[pl.source]
	after := min(mark.Through, n.Landed(event.DeadName(schema.Stream)).Marks[pl.source].Through)
	logTime := lastLogTime(n.Landed(schema.Stream))
	dedup := pl.startSeeding(after, logTime)
	pl.speed = newSkipping(n.speed.Applier(schema.Stream), after, mark.Through)
	pl.tap = stream.NewTap(stream.TapConfig{
		Log: pl.log, Schema: schema, Source: pl.source, After: after, LogTime: logTime, Stamp: stampAt(after, mark), Dedup: dedup,
		Appliers:  []event.Applier{pl.speed, &landing{pl: pl}},
		SealBytes: n.parts.landBytes, SealAge: n.parts.landAge, Logger: n.parts.logger,
	})
	pl.publisher = stream.NewPublisher(pl.log, schema, pl.source, stream.PublisherConfig{
		LogTime: logTime, Handoff: pl.tap.Handoff, Logger: n.parts.logger,
	})
	_, pl.headAtStart, err = pl.log.Bounds(ctx)
	return pl, err
}

// startSeeding makes the memory of ids, nil if the stream has none, and fills it
// beside the rest of start-up: reading the ids of millions of events takes as long as
// recovering the views from them. seeded waits for the end.
func (pl *pipeline) startSeeding(after uint64, logTime int64) *stream.Dedup {
	pl.seeding = make(chan error, 1)
	if pl.schema.IDColumn < 0 {
		pl.seeding <- nil
		return nil
	}
	d := stream.NewDedup(pl.schema.DedupWindow, 0)
	snap := pl.node.Landed(pl.schema.Stream)
	pl.node.running.Go(func() { pl.seeding <- pl.seed(pl.node.run, d, snap, after, logTime) })
	return d
}

// seeded waits until the ids are known; the tap must not run before.
func (pl *pipeline) seeded(ctx context.Context) error {
	select {
	case err := <-pl.seeding:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// seed reads the ids that were accepted within the window before the position at
// which the tap starts.
func (pl *pipeline) seed(ctx context.Context, d *stream.Dedup, snap *lake.Snapshot, after uint64, logTime int64) error {
	since := logTime - pl.schema.DedupWindow.Microseconds()
	for _, src := range snap.Through().Sources() {
		m := snap.Marks[src]
		r := event.Range{Source: src, After: m.Floor, Through: m.Through}
		if src == pl.source {
			r.Through = min(r.Through, after)
		}
		q := lake.ScanQuery{Range: r, Since: since, Columns: []string{pl.schema.Columns[pl.schema.IDColumn].Name}}
		d.Expect(d.Len() + snap.RowsWithin(q))
		err := snap.Scan(ctx, q, func(b lake.ScanBatch) error {
			return seedRuns(d, b)
		})
		if err != nil {
			return fmt.Errorf("stream %s: read the ids of the last %s: %w", pl.schema.Stream, pl.schema.DedupWindow, err)
		}
	}
	return nil
}

// seedRuns seeds with runs of rows of one log time.
func seedRuns(d *stream.Dedup, b lake.ScanBatch) error {
	for from := 0; from < len(b.At); {
		to := from + 1
		for to < len(b.At) && b.At[to] == b.At[from] {
			to++
		}
		ids := array.NewSlice(b.Columns[0], int64(from), int64(to))
		if err := d.Seed(ids, b.At[from]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// lastLogTime is the log's clock where the lake ends. It goes on from epoch to
// epoch: one that has just been opened has no time of its own yet.
func lastLogTime(s *lake.Snapshot) int64 {
	var at int64
	for _, m := range s.Marks {
		at = max(at, m.LogTime)
	}
	return at
}

// stampAt is the stamp of the message at which the tap starts; 0 if it is not
// known, and then the next message brings its own.
func stampAt(after uint64, m lake.Mark) int64 {
	if after == m.Through {
		return m.Stamp
	}
	return 0
}

// recover tells the speed layer where the sources stand and replays (S, L].
func (pl *pipeline) recover(ctx context.Context) error {
	n := pl.node
	snap, deadSnap := n.Landed(pl.schema.Stream), n.Landed(event.DeadName(pl.schema.Stream))
	tx, err := n.warehouse.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Close()
	maxTime, err := pl.maxTime(ctx, tx)
	if err != nil {
		return err
	}
	for _, src := range snap.Through().Sources() {
		m := snap.Marks[src]
		base := speed.Base{
			Floor: m.Floor, Landed: m.Through, DeadLanded: deadSnap.Marks[src].Through,
			Closed: src != pl.source, Batched: map[string]uint64{}, LogTime: m.LogTime, MaxTime: maxTime,
		}
		for _, p := range n.plansOf(pl.schema.Stream) {
			base.Batched[p.Name] = tx.Marks()[warehouse.ViewObject(p)][src]
		}
		if err := n.speed.Begin(ctx, src, base, snap.Only(pl.readColumns())); err != nil {
			return err
		}
	}
	return nil
}

// readColumns are the columns that the speed layer looks at in events that have
// landed: it keeps none of them.
func (pl *pipeline) readColumns() []string {
	var names []string
	for _, p := range pl.node.plansOf(pl.schema.Stream) {
		names = append(names, p.Reads...)
	}
	if i := pl.schema.TimeColumn; i >= 0 {
		names = append(names, pl.schema.Columns[i].Name)
	}
	return names
}

// maxTime gives the greatest event time of the facts, µs since 1970.
func (pl *pipeline) maxTime(ctx context.Context, tx *warehouse.Txn) (int64, error) {
	if pl.schema.TimeColumn < 0 {
		return math.MinInt64, nil
	}
	facts, _ := tx.Facts(pl.schema)
	rel, err := tx.Conn.Collect(ctx, fmt.Sprintf("SELECT epoch_us(max(%s)::TIMESTAMP) FROM (%s)", duckdb.Ident(pl.schema.Columns[pl.schema.TimeColumn].Name), facts))
	if err != nil {
		return 0, fmt.Errorf("read the watermark: %w", err)
	}
	for _, b := range rel.Batches {
		if col := b.Column(0).(*array.Int64); col.Len() > 0 && col.IsValid(0) {
			return col.Value(0), nil
		}
	}
	return math.MinInt64, nil
}

// start runs landers, tap and publisher until ctx ends.
func (pl *pipeline) start(ctx context.Context) {
	pl.events.start(ctx, pl.node)
	pl.dead.start(ctx, pl.node)
	pl.running.Go(func() { pl.node.ended(ctx, "tap of "+pl.schema.Stream, pl.tap.Run(ctx)) })
	pl.running.Go(func() { pl.node.ended(ctx, "publisher of "+pl.schema.Stream, pl.publisher.Run(ctx)) })
}

// close stops the pipeline; the node's context has ended already.
func (pl *pipeline) close() {
	if pl.publisher != nil {
		pl.publisher.Close()
	}
	pl.running.Wait()
	for _, l := range []*lander{pl.events, pl.dead} {
		if l != nil {
			l.close()
		}
	}
}

// Publish stores a request's events; it makes the pipeline ingest's Publisher.
func (pl *pipeline) Publish(ctx context.Context, rows arrow.RecordBatch, refused []event.Refused) (event.Position, error) {
	p, err := pl.publisher.Publish(ctx, rows, refused)
	switch {
	case err == nil:
		raise(&pl.published, p.Seq)
		return p, nil
	case errors.Is(err, stream.ErrFull):
		pl.node.landSoon()
		return p, fullLog{err}
	case errors.Is(err, stream.ErrUnavailable), errors.Is(err, stream.ErrClosed):
		return p, fmt.Errorf("%w: %w", ingest.ErrUnavailable, err)
	}
	return p, err
}

// fullLog tells ingest when a retry makes sense.
type fullLog struct{ error }

func (f fullLog) Unwrap() []error { return []error{f.error, ingest.ErrFull} }

// Temporary implements ingest.Temporary.
func (f fullLog) Temporary() (time.Duration, bool) {
	var full *stream.FullError
	if errors.As(f.error, &full) {
		return full.Retry, true
	}
	return time.Second, true
}

func raise(v *atomic.Uint64, to uint64) {
	for {
		old := v.Load()
		if old >= to || v.CompareAndSwap(old, to) {
			return
		}
	}
}

// head is H: what this process knows of it without asking the log. What is applied
// counts too: a block can be before its client is answered and the tap has noted it.
func (pl *pipeline) head() uint64 {
	applied := pl.node.speed.State().Streams[pl.schema.Stream].Marks[pl.source].Applied
	return max(pl.published.Load(), pl.tap.Delivered(), pl.headAtStart, applied)
}

// land seals what was accepted so far and waits until both tables have it.
func (pl *pipeline) land(ctx context.Context) error {
	through, err := pl.tap.Seal(ctx)
	if err != nil {
		return err
	}
	return errors.Join(pl.events.Wait(ctx, pl.source, through), pl.dead.Wait(ctx, pl.source, through))
}

// eventsLanded runs after each commit of the stream's table.
func (pl *pipeline) eventsLanded(s *lake.Snapshot) {
	pl.node.speed.Landed(pl.source, s.Marks[pl.source].Through)
	pl.purge()
}

// deadLanded runs after each commit of the dead-letter table.
func (pl *pipeline) deadLanded(s *lake.Snapshot) {
	pl.node.speed.DeadLanded(pl.source, s.Marks[pl.source].Through)
	pl.purge()
}

// purge removes from the log what both tables hold, but for a margin. It is
// best effort: the next landing tries again.
func (pl *pipeline) purge() {
	through := min(pl.node.Landed(pl.schema.Stream).Marks[pl.source].Through, pl.node.Landed(event.DeadName(pl.schema.Stream)).Marks[pl.source].Through)
	if through <= purgeMargin {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := pl.log.Purge(ctx, through-purgeMargin); err != nil {
		pl.node.parts.logger.Warn("purge the log", "stream", pl.schema.Stream, "error", err)
	}
}
