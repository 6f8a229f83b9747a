package layers

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/conformance"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/stream"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// A node is one life of a server's parts, put together as the program does it, but
// that the speed layer applies when the test says so.
type node struct {
	world     *world
	source    event.Source
	table     *lake.Table
	lander    *lake.Lander
	warehouse *warehouse.Warehouse
	compute   *duckdb.DB
	gate      *duckdb.DB
	speed     *speed.Engine
	batch     *batch.Runner
	core      *serving.Core
	tap       *stream.Tap
	publisher *stream.Publisher
	queue     *queue

	landed  atomic.Pointer[lake.Snapshot]
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// startNode opens everything on what the world has kept, and recovers: what the
// warehouse lacks comes from the lake, what the lake lacks from the log. The log's part
// waits in the queue.
func startNode(w *world) *node {
	n := &node{world: w}
	ctx := w.t.Context()
	l, err := lake.Open(ctx, w.bucket, lake.Config{CacheDir: w.path("cache")})
	w.must(err)
	n.table, err = l.Table(ctx, conformance.Schema())
	w.must(err)
	after, stamp := n.openEpoch()
	n.queue = &queue{through: after, changed: make(chan struct{})}
	n.landed.Store(n.table.Latest())
	n.lander, err = lake.NewLander(n.table, lake.LanderConfig{SpoolDir: w.path("spool"), RetryMin: time.Millisecond, Landed: n.tellLanded})
	w.must(err)
	n.warehouse, err = warehouse.Open(ctx, warehouse.Config{Path: w.warehousePath(), MemoryLimit: "512MB", ReadDirs: []string{w.path("cache")}})
	w.must(err)
	n.compute, err = duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "512MB", Locked: true})
	w.must(err)
	n.gate, err = duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "128MB", Locked: true})
	w.must(err)
	n.speed, err = speed.New(ctx, speed.Config{DB: n.compute, Streams: []speed.StreamConfig{{Schema: conformance.Schema(), Plans: w.plans()}}})
	w.must(err)
	n.batch = batch.New(batch.Config{
		Warehouse: n.warehouse, Streams: []batch.Stream{{Schema: conformance.Schema(), Plans: kept(w.plans()), Table: n.table, Epoch: n.source.Epoch}},
		Land: n.land, Loaded: n.speed.Loaded,
	})
	n.fill()
	n.recover()
	n.core = serving.NewCore(serving.CoreConfig{
		Speed: n.speed, Warehouse: n.warehouse, Streams: []*event.Schema{conformance.Schema()}, GateDB: n.gate, Operations: operations{n},
		References:  []serving.Reference{{Name: "names", Version: "v1", Rows: conformance.Names()}},
		ResultBytes: 1, MinMergedRows: 1, // nothing is answered from memory, and small views are merged as large ones are
	})
	logTime := n.logTime()
	n.tap = stream.NewTap(stream.TapConfig{
		Log: w.log, Schema: conformance.Schema(), Source: n.source, After: after, LogTime: logTime, Stamp: stamp,
		Appliers: []event.Applier{n.queue, n.lander}, SealAge: sealAge,
	})
	n.publisher = stream.NewPublisher(w.log, conformance.Schema(), n.source, stream.PublisherConfig{LogTime: logTime, Handoff: n.tap.Handoff, Now: w.now})
	n.run(n.lander.Run, n.tap.Run, n.publisher.Run)
	return n
}

// patience is for what takes milliseconds, on a machine that does much else.
const patience = 5 * time.Minute

// sealAge is in the log's time, which the test makes: no wall clock comes so far.
const sealAge = time.Hour

func (n *node) run(parts ...func(context.Context) error) {
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(n.world.t.Context())
	for _, part := range parts {
		n.running.Go(func() {
			if err := part(ctx); err != nil && !errors.Is(err, context.Canceled) {
				n.world.t.Errorf("%s: %v", n.world, err)
			}
		})
	}
}

// openEpoch compares the log with the lake, and begins a new epoch if the log has lost
// what had landed. It gives the position at which the tap starts, with its stamp.
func (n *node) openEpoch() (after uint64, stamp int64) {
	w, snap := n.world, n.table.Latest()
	newest := event.Source{Stream: conformance.Schema().Stream}
	for src := range snap.Marks {
		newest.Epoch = max(newest.Epoch, src.Epoch)
	}
	mark, known := snap.Marks[newest]
	res, err := stream.Resolve(w.t.Context(), w.log, stream.Mark{
		Any: known, Epoch: newest.Epoch, Floor: mark.Floor, Through: mark.Through, Stamp: mark.Stamp, FloorTime: mark.FloorTime,
	}, func(ctx context.Context, after, through uint64) (map[uint64]int64, error) {
		return heldTimes(ctx, snap, newest, after, through)
	})
	w.must(err)
	n.source = event.Source{Stream: newest.Stream, Epoch: res.Epoch}
	if _, open := snap.Marks[n.source]; !open {
		if known {
			w.did("(new epoch)")
		}
		at := n.logTime()
		_, err := n.table.OpenEpoch(w.t.Context(), n.source, lake.Mark{Floor: res.Floor, FloorTime: at, Stamp: res.Stamp, LogTime: at})
		w.must(err)
	}
	return res.After, res.Stamp
}

// heldTimes tells under which log time the lake holds each message that is in force.
func heldTimes(ctx context.Context, s *lake.Snapshot, newest event.Source, after, through uint64) (map[uint64]int64, error) {
	floors := make([]uint64, newest.Epoch)
	for src, m := range s.Marks {
		floors[src.Epoch-1] = m.Floor
	}
	all := map[uint64]int64{}
	for _, r := range stream.Lineage(newest.Stream, newest.Partition, floors, after, through) {
		m := s.Marks[r.Source]
		if r.After, r.Through = max(r.After, m.Floor), min(r.Through, m.Through); r.Empty() {
			continue
		}
		times, err := s.Times(ctx, r)
		if err != nil {
			return nil, err
		}
		for seq, at := range times {
			all[seq] = at
		}
	}
	return all, nil
}

// logTime is the log's clock where the lake ends.
func (n *node) logTime() int64 {
	var at int64
	for _, m := range n.table.Latest().Marks {
		at = max(at, m.LogTime)
	}
	return at
}

// fill runs a batch if something that landed has no S at all, as the program does
// before it answers.
func (n *node) fill() {
	w := n.world
	tx, err := n.warehouse.Begin(w.t.Context())
	w.must(err)
	defer tx.Close()
	objects := []string{warehouse.FactsObject(n.source.Stream)}
	for _, p := range kept(w.plans()) {
		objects = append(objects, warehouse.ViewObject(p))
	}
	for _, o := range objects {
		if len(tx.Marks()[o]) == 0 && len(n.table.Latest().Files) > 0 {
			_, err := n.batch.Run(w.t.Context(), batch.AtStart, false)
			w.must(err)
			return
		}
	}
}

// recover tells the speed layer where the sources stand, and has it replay (S, L].
func (n *node) recover() {
	w, snap := n.world, n.table.Latest()
	tx, err := n.warehouse.Begin(w.t.Context())
	w.must(err)
	defer tx.Close()
	reads := []string{"ts"}
	for _, p := range kept(w.plans()) {
		reads = append(reads, p.Reads...)
	}
	for _, src := range snap.Through().Sources() {
		m := snap.Marks[src]
		base := speed.Base{Floor: m.Floor, Landed: m.Through, DeadLanded: m.Through, Closed: src != n.source, Batched: map[string]uint64{}, LogTime: m.LogTime, MaxTime: math.MinInt64}
		for _, p := range kept(w.plans()) {
			base.Batched[p.Name] = tx.Marks()[warehouse.ViewObject(p)][src]
			if base.Batched[p.Name] < m.Through {
				w.result.Operations["(from the lake)"]++
			}
		}
		w.must(n.speed.Begin(w.t.Context(), src, base, snap.Only(reads)))
	}
}

// kept are the views that have partial rows.
func kept(plans []*view.Plan) []*view.Plan {
	var out []*view.Plan
	for _, p := range plans {
		if !p.Direct {
			out = append(out, p)
		}
	}
	return out
}

func (n *node) tellLanded(s *lake.Snapshot) {
	n.landed.Store(s)
	n.speed.Landed(n.source, s.Marks[n.source].Through)
}

// land seals what was accepted, and waits until the lake has it and the speed layer
// knows.
func (n *node) land(ctx context.Context) error {
	through, err := n.tap.Seal(ctx)
	if err != nil {
		return err
	}
	if err := n.lander.Wait(ctx, n.source, through); err != nil {
		return err
	}
	for {
		changed := n.speed.Changed()
		if n.speed.State().Streams[n.source.Stream].Marks[n.source].Landed >= through {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// applied is A of the present epoch.
func (n *node) applied() uint64 { return n.speed.State().Applied()[n.source] }

// apply gives the speed layer a micro-batch of some of the blocks that wait, and
// reports whether there were any.
func (n *node) apply(blocks int) bool {
	next := n.queue.take(blocks)
	if len(next) == 0 {
		return false
	}
	w := n.world
	w.must(n.speed.Applier(n.source.Stream).ApplyMany(w.t.Context(), next))
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.must(n.speed.Compact(ctx)) // so that what is merged when follows from the seed
	return true
}

// kill ends the node as a crash does: nothing is landed, nothing is applied.
func (n *node) kill() {
	n.cancel()
	n.publisher.Close()
	n.running.Wait()
	n.world.must(errors.Join(n.lander.Close(), n.speed.Close(), n.compute.Close(), n.gate.Close(), n.warehouse.Close()))
}

// A queue stands before the speed layer. It takes the tap's blocks at once, so that
// the micro-batches, and how far the lake is ahead, are the test's.
type queue struct {
	mu      sync.Mutex
	blocks  []*event.Block
	through uint64
	changed chan struct{} // closed and replaced with each block
}

// Apply implements event.Applier.
func (q *queue) Apply(_ context.Context, b *event.Block) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.blocks, q.through = append(q.blocks, b), b.Through
	close(q.changed)
	q.changed = make(chan struct{})
	return nil
}

// take gives up to n blocks, through the next seal.
func (q *queue) take(n int) []*event.Block {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := 0
	for i < min(n, len(q.blocks)) && (i == 0 || !q.blocks[i-1].Seal) {
		i++
	}
	out := q.blocks[:i:i]
	q.blocks = q.blocks[i:]
	return out
}

// wait returns when the queue has had everything through seq.
func (q *queue) wait(ctx context.Context, seq uint64) error {
	for {
		q.mu.Lock()
		through, changed := q.through, q.changed
		q.mu.Unlock()
		if through >= seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// operations is what the program around a core does.
type operations struct{ n *node }

func (o operations) Landed(table string) *lake.Snapshot {
	if table == o.n.source.Stream {
		return o.n.landed.Load()
	}
	return nil
}
func (o operations) Heads(context.Context) event.Cut              { return o.n.speed.State().Applied() }
func (o operations) Status(context.Context) (any, error)          { return nil, nil }
func (o operations) Ready() error                                 { return nil }
func (o operations) RunBatch(context.Context, bool) (any, error)  { return nil, nil }
func (o operations) Runs(context.Context) (any, error)            { return nil, nil }
func (o operations) Apply(context.Context, bool) (any, error)     { return nil, nil }
func (o operations) Applying(context.Context) (any, error)        { return nil, nil }
func (o operations) History(context.Context, string) (any, error) { return nil, nil }
func (o operations) Mend(why error) {
	o.n.world.t.Errorf("%s: the warehouse is damaged: %v", o.n.world, why)
}
