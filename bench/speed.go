package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
)

// measureSpeed applies blocks to the speed layer, in process, and holds it against
// the engine alone: the views' own SQL over the same rows in a table of its own.
func measureSpeed(ctx context.Context, b *bench) error {
	for _, rows := range b.sizes.blockRows {
		blocks, err := makeBlocks(payments(), 8, rows, 8, time.Second)
		if err != nil {
			return err
		}
		for _, views := range b.sizes.views {
			name := fmt.Sprintf("speed/%d/views-%d", rows, views)
			if !b.wants(name) {
				continue
			}
			if err := b.speedOf(ctx, name, blocks, views); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// definitions gives n different views: windows of several sizes and groups
// without one, some with a condition.
func definitions(n int) []view.Definition {
	defs := []view.Definition{{Name: "revenue", SQL: revenueSQL}, {Name: "countries", SQL: countriesSQL}}
	for i := len(defs); i < n; i++ {
		d := view.Definition{Name: fmt.Sprintf("v%d", i)}
		switch i % 4 {
		case 0:
			d.SQL = fmt.Sprintf("SELECT window_start, merchant, count(*) AS n, sum(amount) AS s FROM payments GROUP BY tumble(ts, INTERVAL '%d minutes'), merchant", i)
		case 1:
			d.SQL = fmt.Sprintf("SELECT currency, status, count(*) AS n, avg(latency_ms) AS l FROM payments WHERE amount >= %d GROUP BY currency, status", i)
		case 2:
			d.SQL = fmt.Sprintf("SELECT window_start, country, count(*) AS n, max(amount) AS m FROM payments GROUP BY tumble(ts, INTERVAL '%d seconds'), country", i)
		case 3:
			d.SQL = fmt.Sprintf("SELECT country, currency, count(*) FILTER (WHERE attempt > 1) AS n, stddev_pop(latency_ms) AS d FROM payments WHERE amount < %d GROUP BY country, currency", 100+i*9)
		}
		defs = append(defs, d)
	}
	return defs[:n]
}

// plans compiles views over the stream.
func plans(ctx context.Context, schema *event.Schema, defs []view.Definition) ([]*view.Plan, error) {
	planner, err := view.NewPlanner(ctx)
	if err != nil {
		return nil, err
	}
	defer planner.Close()
	var out []*view.Plan
	for _, d := range defs {
		p, err := planner.Plan(ctx, d, map[string]*event.Schema{schema.Stream: schema})
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (b *bench) speedOf(ctx context.Context, name string, blocks []*event.Block, views int) error {
	schema, rows := blocks[0].Schema, blocks[0].Len()
	ps, err := plans(ctx, schema, definitions(views))
	if err != nil {
		return err
	}
	r := Result{Name: name, Unit: "events/s/core", LimitIs: "the views' SQL over the same rows in a table of the engine, one thread"}
	if rows == 20_000 && views == 1 {
		r.Target = atLeast(10_000_000)
	}
	var limits, partials, wall, millis []float64
	err = b.alternate(ctx, name, func() error {
		core, clock, times, err := b.applyBlocks(ctx, schema, ps, blocks)
		r.Runs, wall, millis = append(r.Runs, core), append(wall, clock), append(millis, times...)
		return err
	}, func() error {
		rate, err := b.plainViews(ctx, schema, blocks, len(ps), func(i int, from string) string { return ps[i].PlainSQL(from) })
		limits = append(limits, rate)
		return err
	}, func() error {
		rate, err := b.plainViews(ctx, schema, blocks, len(ps), func(i int, from string) string { return ps[i].PartialSQL(from) })
		partials = append(partials, rate)
		return err
	})
	if err != nil {
		return err
	}
	r.Limit = median(limits)
	r.More = append(latencies("apply_", millis), Figure{"wall_events_per_s", median(wall)}, Figure{"partial_on_table_per_s", median(partials)})
	b.add(r)
	return nil
}

// trimEvery is how many blocks are applied before the engine is told that all of
// them have landed and are batched.
const trimEvery = 32

// applyBlocks applies the blocks again and again. The rate for a core counts all CPU
// time of the process, compaction and garbage collection with it.
func (b *bench) applyBlocks(ctx context.Context, schema *event.Schema, ps []*view.Plan, blocks []*event.Block) (core, wall float64, took []float64, err error) {
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "2GB", Locked: true})
	if err != nil {
		return 0, 0, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	engine, err := speed.New(ctx, speed.Config{DB: db, Streams: []speed.StreamConfig{{Schema: schema, Plans: ps}}})
	if err != nil {
		return 0, 0, nil, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	src := blocks[0].Source
	if err := engine.Begin(ctx, src, speed.Base{MaxTime: math.MinInt64}, nil); err != nil {
		return 0, 0, nil, err
	}
	applier := engine.Applier(schema.Stream)
	var events float64
	cpu, began, seq := selfCPU(), time.Now(), uint64(0)
	for time.Since(began) < b.sizes.compute {
		seq++
		at := time.Now()
		if err := applier.Apply(ctx, renumbered(blocks[seq%uint64(len(blocks))], seq)); err != nil {
			return 0, 0, nil, err
		}
		took = append(took, ms(time.Since(at)))
		events += float64(blocks[0].Len())
		if seq%trimEvery == 0 {
			engine.Landed(src, seq)
			for _, p := range ps {
				engine.Loaded(p.Name, event.Cut{src: seq})
			}
		}
	}
	return events / (selfCPU() - cpu).Seconds(), events / time.Since(began).Seconds(), took, nil
}

// renumbered is the block's rows as another message; every trimEvery-th ends at a seal.
func renumbered(m *event.Block, seq uint64) *event.Block {
	at := m.LogTime + int64(seq)
	return &event.Block{
		Range: event.Range{Source: m.Source, After: seq - 1, Through: seq}, Schema: m.Schema, Batch: m.Batch, Size: m.Size,
		Runs: []event.Run{{Seq: seq, At: at, Rows: m.Len()}}, LogTime: at, Stamp: at, Seal: seq%trimEvery == 0,
	}
}

// plainViews runs a statement for each view over tables of one block each.
func (b *bench) plainViews(ctx context.Context, schema *event.Schema, blocks []*event.Block, views int, sql func(i int, from string) string) (core float64, err error) {
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "2GB", Locked: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Connect()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	rows := duckdb.Share(schema.Relation())
	defer rows.Close()
	var statements []*duckdb.Stmt
	defer func() {
		for _, s := range statements {
			err = errors.Join(err, s.Close())
		}
	}()
	for i, block := range blocks {
		rows.Set([]duckdb.Batch{block})
		if err := conn.Exec(ctx, fmt.Sprintf("CREATE TABLE t%d AS SELECT * FROM %s", i, rows.SQL())); err != nil {
			return 0, err
		}
		for v := range views {
			s, err := conn.Prepare(ctx, sql(v, fmt.Sprintf("t%d", i)))
			if err != nil {
				return 0, err
			}
			statements = append(statements, s)
		}
	}
	var events float64
	cpu, began := selfCPU(), time.Now()
	for i := 0; time.Since(began) < b.sizes.compute; i = (i + 1) % len(blocks) {
		for _, s := range statements[i*views : (i+1)*views] {
			if _, err := s.Collect(ctx); err != nil {
				return 0, err
			}
		}
		events += float64(blocks[0].Len())
	}
	return events / (selfCPU() - cpu).Seconds(), nil
}
