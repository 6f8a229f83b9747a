package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/stream"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// parts are the places on which a node runs: those of a server, or a test's.
type parts struct {
	// log opens the log of a stream.
	log func(ctx context.Context, name string) (stream.Log, error)
	// bucket holds the lake; cacheDir and spoolDir are on this machine.
	bucket   lake.Bucket
	cacheDir string
	spoolDir string
	// readDirs are where the warehouse engine may read Parquet: the cache, or
	// the directory of the lake itself.
	readDirs      []string
	warehousePath string

	landBytes        int64
	landAge          time.Duration
	warehouseMemory  string
	warehouseThreads int
	speedMemory      string
	maxMemory        int64         // 0: as much as the machine bears
	queryMemory      int64         // 0: no limit but the engine's
	schedule         cron.Schedule // nil: batch runs on demand only
	checks           cron.Schedule // nil: views are compared on demand only
	auth             bool          // requests show keys
	adminKey         string        // the first of them; empty if the lake has others
	logger           *slog.Logger
	progress         func(string) // told what start-up is doing; may be nil
	failed           chan error   // of capacity 1, told what the node cannot go on after; may be nil
	// renew puts another node in this one's place, over the same stores; nil where only
	// a restart does that.
	renew func(*project.Project) (*node, error)
}

// A node is everything between a listener and the disks:
//
//	          ┌────────────── pipeline, one a stream ──────────────┐
//	ingest ──►│ publisher ──► log ──► tap ──┬──► speed engine       │──► State ──┐
//	          │                             └──► landers ──► lake   │            ├──► serving core
//	          └─────────────────────────────────────────┬──────────┘            │
//	                                                    └──► batch ──► warehouse ┘
//
// It is built from the right to the left of the data's way, and closed from the
// left to the right: what is upstream stops first, so that nothing is lost on
// the way down.
type node struct {
	parts      parts
	project    *project.Project
	lake       *lake.Lake
	warehouse  *warehouse.Warehouse
	compute    *duckdb.DB
	gate       *duckdb.DB
	speed      *speed.Engine
	batch      *batch.Runner
	core       *serving.Core
	limiter    *serving.Limiter // of the queries of all listeners; set by handler
	pipelines  map[string]*pipeline
	history    *lander
	keys       *access.Keys // nil: authentication is off
	keyTable   *lander
	versions   *batch.Versions
	versionsOf *lander      // the table of versions'
	initial    []*view.Plan // the views as the node starts with them

	landed       sync.Map // table name → *lake.Snapshot, the latest
	ready        atomic.Bool
	readied      chan struct{} // closed when it is ready for the first time
	starting     atomic.Value  // string: what start-up is doing, for /readyz
	started      time.Time
	failed       chan error      // of capacity 1: something ended that only a restart brings back
	run          context.Context // ends when the node is to stop
	cancel       context.CancelFunc
	landing      atomic.Bool // landSoon is at work
	draining     atomic.Bool // what ends now was told to
	mending      atomic.Bool // Mend is at work
	redefinition redefinition
	running      sync.WaitGroup
	closeOnce    sync.Once
}

// startNode builds a node and recovers it. It returns before the speed layer
// has caught up with the log; Ready tells when it has.
func startNode(ctx context.Context, p *project.Project, pt parts) (_ *node, err error) {
	if pt.logger == nil {
		pt.logger = slog.New(slog.DiscardHandler)
	}
	n := &node{parts: pt, project: p, pipelines: map[string]*pipeline{}, started: time.Now(), readied: make(chan struct{}), failed: pt.failed}
	if n.failed == nil {
		n.failed = make(chan error, 1)
	}
	n.say("opening the lake")
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.run, n.cancel = run, cancel
	defer func() {
		if err != nil {
			n.kill()
		}
	}()
	if err := n.openStores(ctx, run); err != nil {
		return nil, err
	}
	if err := n.openPipelines(ctx, run); err != nil {
		return nil, err
	}
	if err := n.openBatch(ctx, run); err != nil {
		return nil, err
	}
	n.say("recovering the speed layer from the lake")
	for _, pl := range n.pipelines {
		if err := pl.recover(ctx); err != nil {
			return nil, err
		}
	}
	for _, pl := range n.pipelines {
		if err := pl.seeded(ctx); err != nil {
			return nil, err
		}
	}
	n.core = serving.NewCore(serving.CoreConfig{
		Speed: n.speed, Warehouse: n.warehouse, Streams: schemas(p), References: references(p), Macros: p.MacroSet, GateDB: n.gate, Operations: n, Logger: pt.logger,
		MemoryLimit: memoryLimit(pt.maxMemory), Resident: resident, QueryMemory: pt.queryMemory,
	})
	n.say("applying the log")
	for _, pl := range n.pipelines {
		pl.start(run)
	}
	n.running.Go(func() { n.batch.Loop(run, pt.schedule) })
	n.running.Go(func() { n.core.CheckLoop(run, pt.checks) })
	n.running.Go(func() { n.becomeReady(run) })
	return n, nil
}

// say notes what start-up is doing, for those who wait.
func (n *node) say(what string) {
	n.starting.Store(what)
	if n.parts.progress != nil {
		n.parts.progress(what)
	}
}

func schemas(p *project.Project) []*event.Schema {
	var out []*event.Schema
	for _, s := range p.Streams {
		out = append(out, s.Schema)
	}
	return out
}

func references(p *project.Project) []serving.Reference {
	var out []serving.Reference
	for _, r := range p.References {
		out = append(out, serving.Reference{Name: r.Name, Version: r.Version, Rows: r.Rows})
	}
	return out
}

// openStores opens lake, warehouse and engines.
func (n *node) openStores(ctx, run context.Context) (err error) {
	pt := n.parts
	if n.lake, err = lake.Open(ctx, pt.bucket, lake.Config{CacheDir: pt.cacheDir, Log: pt.logger}); err != nil {
		return err
	}
	n.warehouse, err = warehouse.Open(ctx, warehouse.Config{
		Path: pt.warehousePath, Threads: pt.warehouseThreads, MemoryLimit: pt.warehouseMemory, ReadDirs: pt.readDirs, Logger: pt.logger,
	})
	if err != nil {
		return err
	}
	if why := n.warehouse.Recreated(); why != "" {
		pt.logger.Warn("the warehouse could not be opened and is made anew from the lake", "reason", why)
	}
	if err := n.openVersions(ctx, run); err != nil {
		return err
	}
	if n.compute, err = duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: pt.speedMemory, Locked: true}); err != nil {
		return fmt.Errorf("compute engine: %w", err)
	}
	if n.gate, err = duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "128MB", Locked: true}); err != nil {
		return fmt.Errorf("gate engine: %w", err)
	}
	cfg := speed.Config{DB: n.compute, Logger: pt.logger, Pressure: func() { n.batch.Poke() }}
	for _, s := range n.project.Streams {
		cfg.Streams = append(cfg.Streams, speed.StreamConfig{Schema: s.Schema, Plans: slices.DeleteFunc(slices.Clone(n.initial), func(p *view.Plan) bool { return p.Stream != s.Name })})
	}
	n.speed, err = speed.New(ctx, cfg)
	return err
}

// plans gives the views as they answer now, by name.
func (n *node) plans() []*view.Plan {
	if n.speed == nil {
		return n.initial
	}
	return slices.SortedFunc(maps.Values(n.speed.State().Definitions.Plans), func(a, b *view.Plan) int { return strings.Compare(a.Name, b.Name) })
}

// plansOf gives the views over the stream that have partial rows.
func (n *node) plansOf(stream string) []*view.Plan {
	var out []*view.Plan
	for _, p := range n.plans() {
		if p.Stream == stream && !p.Direct {
			out = append(out, p)
		}
	}
	return out
}

// openPipelines opens tables and logs and decides the epochs. New epochs are in
// the lake when it returns: before any tap starts and any listener opens.
func (n *node) openPipelines(ctx, run context.Context) error {
	for _, s := range n.project.Streams {
		pl, err := openPipeline(ctx, n, s.Schema)
		if err != nil {
			return fmt.Errorf("stream %s: %w", s.Name, err)
		}
		n.pipelines[s.Name] = pl
	}
	table, err := n.lake.Table(ctx, batch.HistorySchema())
	if err != nil {
		return err
	}
	if _, err := table.OpenEpoch(ctx, batch.HistorySource, lake.Mark{}); err != nil {
		return err
	}
	n.history, err = n.newLander(ctx, table, nil)
	if err != nil {
		return err
	}
	n.history.start(run, n)
	return n.openKeys(ctx, run)
}

// openKeys reads the keys from the lake, if requests have to show one.
func (n *node) openKeys(ctx, run context.Context) error {
	if !n.parts.auth {
		return nil
	}
	table, err := n.lake.Table(ctx, serving.KeysSchema())
	if err != nil {
		return err
	}
	if _, err := table.OpenEpoch(ctx, serving.KeysSource, lake.Mark{}); err != nil {
		return err
	}
	if n.keyTable, err = n.newLander(ctx, table, nil); err != nil {
		return err
	}
	n.keyTable.start(run, n)
	n.keys, err = access.Open(ctx, access.Config{Store: serving.NewKeysTable(table, n.keyTable.Lander), Admin: n.parts.adminKey})
	return err
}

// openBatch checks that the warehouse belongs to this lake, and lets a batch run
// fill what is missing: a warehouse made anew, or a view without any S.
func (n *node) openBatch(ctx, run context.Context) error {
	n.say("checking the warehouse against the lake")
	if err := n.verifyWarehouse(ctx); err != nil {
		return err
	}
	cfg := batch.Config{
		Warehouse: n.warehouse, History: batch.NewHistory(n.history.table, n.history.Lander),
		Land: n.land, Loaded: n.speed.Loaded, Batched: n.speed.Batched, Logger: n.parts.logger,
	}
	for name, pl := range n.pipelines {
		cfg.Streams = append(cfg.Streams, batch.Stream{Schema: pl.schema, Plans: n.plansOf(name), Table: pl.events.table, Epoch: pl.source.Epoch})
	}
	n.batch = batch.New(cfg)
	behind, err := n.behind(ctx)
	if err != nil || !behind {
		return err
	}
	n.say("rebuilding the warehouse from the lake")
	n.parts.logger.Info("filling the warehouse from the lake")
	if _, err := n.batch.Run(ctx, batch.AtStart, false); err != nil {
		return fmt.Errorf("fill the warehouse: %w", err)
	}
	return nil
}

// verifyWarehouse makes the warehouse anew if it was not made from this lake:
// another table, a commit that this table does not have, or an S beyond L. Else it
// gives the facts the columns that their streams have gained.
func (n *node) verifyWarehouse(ctx context.Context) error {
	why, err := n.mismatch(ctx)
	for _, pl := range n.pipelines {
		if err == nil && why == "" {
			err = n.warehouse.Widen(ctx, pl.schema)
		}
	}
	if err != nil && (ctx.Err() != nil || !warehouse.Damaged(err)) {
		return err
	}
	if err != nil {
		why = err.Error()
	}
	if why == "" {
		return nil
	}
	n.parts.logger.Warn("the warehouse is damaged, or is not of this lake, and is made anew from it", "reason", why)
	return n.warehouse.Recreate(ctx)
}

// mismatch tells why the warehouse is not of this lake; empty if it is.
func (n *node) mismatch(ctx context.Context) (why string, err error) {
	origins, err := n.warehouse.Origins(ctx)
	if err != nil {
		return "", err
	}
	tx, err := n.warehouse.Begin(ctx)
	if err != nil {
		return "", err
	}
	marks := tx.Marks()
	tx.Close()
	for name, pl := range n.pipelines {
		snap := n.Landed(name)
		origin, known := origins[name]
		switch {
		case known && origin.TableID != snap.TableID:
			why = fmt.Sprintf("it was made from another table of %s", name)
		case known && origin.Version > snap.Version:
			why = fmt.Sprintf("it was made from version %d of %s, the lake has %d", origin.Version, name, snap.Version)
		case known:
			id, err := pl.events.table.CommitID(ctx, origin.Version)
			if err != nil {
				return "", fmt.Errorf("compare the warehouse with the lake: %w", err)
			}
			if id != origin.CommitID {
				why = fmt.Sprintf("version %d of %s is another commit than the one it was made from", origin.Version, name)
			}
		}
		for object, s := range marks {
			for src, through := range s {
				if src.Stream == name && through > snap.Marks[src].Through {
					why = fmt.Sprintf("%s is batched through %s/%d, which has not landed", object, src, through)
				}
			}
		}
	}
	return why, nil
}

// Mend computes the warehouse's tables again from the lake, once at a time: the
// engine found a damaged block while it served. A damaged block of S itself shows
// at the next start, which makes the file anew.
func (n *node) Mend(why error) {
	if n.mending.Swap(true) {
		return
	}
	n.parts.logger.Error("the warehouse is damaged: rebuilding it from the lake", "error", why)
	n.running.Go(func() {
		defer n.mending.Store(false)
		if _, err := n.batch.Run(n.run, batch.OnDemand, true); err != nil {
			n.ended(n.run, "rebuild of the damaged warehouse", err)
		}
	})
}

// behind reports whether something landed has no S at all.
func (n *node) behind(ctx context.Context) (bool, error) {
	tx, err := n.warehouse.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Close()
	for name := range n.pipelines {
		if len(n.Landed(name).Files) == 0 {
			continue
		}
		objects := []string{warehouse.FactsObject(name)}
		for _, p := range n.plansOf(name) {
			objects = append(objects, warehouse.ViewObject(p))
		}
		for _, o := range objects {
			if len(tx.Marks()[o]) == 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// becomeReady waits until every stream has applied the head that its log had at
// start: until then totals could be lower than a client saw before a restart.
func (n *node) becomeReady(ctx context.Context) {
	for _, pl := range n.pipelines {
		if _, err := n.speed.Wait(ctx, event.Position{Source: pl.source, Seq: pl.headAtStart}); err != nil {
			return // ctx ended
		}
		select {
		case <-pl.speed.passed:
		case <-ctx.Done():
			return
		}
	}
	n.ready.Store(true)
	close(n.readied)
	n.parts.logger.Info("ready", "took", time.Since(n.started).Round(time.Millisecond))
	n.settleViews(ctx)
}

// ended is told when something that runs for ever has ended. If it was not told to,
// the node gives no more answers and says so on failed: a restart recovers from
// log and lake, which is the path that every crash takes.
func (n *node) ended(ctx context.Context, what string, err error) {
	if ctx.Err() != nil || n.draining.Load() {
		return
	}
	if err == nil {
		err = errors.New("ended without an error")
	}
	err = fmt.Errorf("%s: %w", what, err)
	n.starting.Store(err.Error())
	n.ready.Store(false)
	n.parts.logger.Error("stopped for good; a restart recovers", "what", what, "error", err)
	select {
	case n.failed <- err:
	default: // the first one is enough
	}
}

// land draws a seal behind everything accepted so far and waits until it is in
// the lake.
func (n *node) land(ctx context.Context) error {
	var errs []error
	for name, pl := range n.pipelines {
		if err := pl.land(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stream %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// landSoon lands in the background, once at a time: a full log has room again only
// when something has landed.
func (n *node) landSoon() {
	if n.landing.Swap(true) {
		return
	}
	n.running.Go(func() {
		defer n.landing.Store(false)
		ctx, cancel := context.WithTimeout(n.run, drainTime)
		defer cancel()
		if err := n.land(ctx); err != nil && n.run.Err() == nil {
			n.parts.logger.Warn("land to make room in the log", "error", err)
		}
	})
}

// drain stops accepting, lands everything and closes. ctx bounds how long.
func (n *node) drain(ctx context.Context) error {
	n.draining.Store(true)
	var errs []error
	for _, pl := range n.pipelines {
		errs = append(errs, pl.publisher.Close())
	}
	errs = append(errs, n.land(ctx))
	n.kill()
	return errors.Join(errs...)
}

// kill stops everything where it is, as a crash would, but for what the
// operating system would clean up. It is idempotent.
func (n *node) kill() {
	n.closeOnce.Do(func() {
		n.cancel()
		if n.core != nil {
			n.core.StopLive()
		}
		for _, pl := range n.pipelines {
			pl.close()
		}
		for _, l := range []*lander{n.history, n.keyTable, n.versionsOf} {
			if l != nil {
				l.close()
			}
		}
		n.running.Wait()
		if n.speed != nil {
			n.speed.Close()
		}
		if n.warehouse != nil {
			n.warehouse.Close()
		}
		for _, db := range []*duckdb.DB{n.compute, n.gate} {
			if db != nil {
				db.Close()
			}
		}
	})
}

// Landed gives the latest snapshot of a table, from memory.
func (n *node) Landed(table string) *lake.Snapshot {
	if s, ok := n.landed.Load(table); ok {
		return s.(*lake.Snapshot)
	}
	return nil
}
