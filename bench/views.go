package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// measureViews holds what views of each kind cost against the engine alone.
func measureViews(ctx context.Context, b *bench) error {
	if b.wants("views/many") {
		if err := b.many(ctx); err != nil {
			return err
		}
	}
	if b.wants("views/live") {
		if err := b.live(ctx); err != nil {
			return err
		}
	}
	return b.kinds(ctx)
}

// many is freshness with many views: each event that is sent is asked for at once.
func (b *bench) many(ctx context.Context) error {
	s := b.sizes
	limit, err := b.manyLimit(ctx)
	if err != nil {
		return err
	}
	b.progress.say("views/many")
	f, err := b.probeFreshness(ctx, s.manyRate, s.manyViews)
	if err != nil {
		return err
	}
	p99 := Result{Name: "views/many/p99", Value: quantile(f.whole, 0.99), Unit: "ms", Limit: limit, ServerCPU: f.serverCPU, Target: atMost(1000),
		LimitIs: "the views' SQL over a table of one second's events, one thread", More: append(latencies("", f.whole)[2:], latencies("answer_", f.asked)...)}
	if f.background < 0.95*float64(s.manyRate) {
		p99.Target.Broken = "the background was slower"
	}
	b.add(Result{Name: "views/many/p50", Value: quantile(f.whole, 0.5), Unit: "ms", Limit: limit, LimitIs: p99.LimitIs,
		More: []Figure{{"views", float64(s.manyViews)}, {"background_events_per_s", f.background}, {"others_cores", f.others}}})
	b.add(p99)
	return nil
}

// manyLimit gives the ms in which the engine computes all views over one second's
// events.
func (b *bench) manyLimit(ctx context.Context) (float64, error) {
	blocks, err := makeBlocks(payments(), 1, b.sizes.manyRate, 1, time.Second)
	if err != nil {
		return 0, err
	}
	ps, err := plans(ctx, payments(), definitions(b.sizes.manyViews))
	if err != nil {
		return 0, err
	}
	rate, err := b.plainViews(ctx, payments(), blocks, len(ps), func(i int, from string) string { return ps[i].PlainSQL(from) })
	return float64(b.sizes.manyRate) / rate * 1000, err
}

// accountsSQL has a group for each event of a fill: the number of an event's request,
// and of its row in it.
const accountsSQL = `SELECT right(event_id, 12) AS account, count(*) AS payments, sum(amount) AS total, max(amount) AS largest
FROM payments GROUP BY account`

// account is one of those that were filled, in requests of so many rows.
func account(r *rand.Rand, groups int) string {
	rows := min(5_000, groups)
	return fmt.Sprintf("%07d%05d", 1+r.IntN(groups/rows), r.IntN(rows))
}

// live measures a view with many groups, none of which ever ends: their memory while
// the speed layer holds them all, their size in the warehouse after a batch, and the
// answer of one of them while events come.
func (b *bench) live(ctx context.Context) error {
	dir, remove, err := b.scratch("live")
	if err != nil {
		return err
	}
	defer remove()
	if err := writeProject(dir, false, false); err != nil {
		return err
	}
	def := view.Definition{Name: "accounts", SQL: accountsSQL}
	if err := writeViews(dir, []view.Definition{def}); err != nil {
		return err
	}
	ps, err := plans(ctx, payments(), []view.Definition{def})
	if err != nil {
		return err
	}
	b.progress.say("views/live: sending %d events", b.sizes.liveGroups)
	p, err := b.serve(ctx, dir, dir+"/data", "--land-age", "1s", "--batch-schedule", "off")
	if err != nil {
		return err
	}
	defer p.kill()
	memory, err := b.liveMemory(ctx, p)
	if err != nil {
		return err
	}
	if err := p.batch(ctx); err != nil {
		return err
	}
	raw, err := rawTable(ctx, dir)
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := b.livePoint(ctx, p, raw, ps[0]); err != nil {
		return err
	}
	p.kill()
	stored, err := partialBytes(ctx, filepath.Join(dir, "data", "warehouse", "warehouse.duckdb"))
	if err != nil {
		return err
	}
	r := Result{Name: "views/live/memory", Value: memory / 1e6, Unit: "MB", Target: atMost(250), More: []Figure{{"warehouse_mb", stored / 1e6}, {"groups", float64(b.sizes.liveGroups)}}}
	if stored > 250e6 {
		r.Target.Broken = "the warehouse has more"
	}
	b.add(r)
	return nil
}

// liveMemory fills the groups and gives the bytes of their partials, once the raw
// events have left the memory.
func (b *bench) liveMemory(ctx context.Context, p *process) (float64, error) {
	if err := fill(ctx, p.addr, 1, uint64(b.sizes.liveGroups), nil); err != nil {
		return 0, err
	}
	if _, err := p.caughtUp(ctx, time.Minute); err != nil {
		return 0, err
	}
	err := until(ctx, time.Minute, 50*time.Millisecond, func() (bool, error) {
		s, err := p.status(ctx)
		return err == nil && s.Streams[0].Tail == 0, err
	})
	if err != nil {
		return 0, fmt.Errorf("wait for the events to land: %w", err)
	}
	return p.metric(ctx, "tailwater_speed_bytes")
}

// livePoint asks for one group after the other while events come, most of them of
// groups that are there.
func (b *bench) livePoint(ctx context.Context, p *process, raw *duckdb.DB, plan *view.Plan) error {
	l := background(p.addr, 10_000, 2)
	if err := l.open(); err != nil {
		return err
	}
	l.start(ctx)
	r := Result{Name: "views/live/point", Unit: "ms", Target: atMost(5), LimitIs: "the view's SQL for that group over a table of the events, asked in process"}
	share := b.sizes.queryFor / time.Duration(b.sizes.repeats)
	var whole, inside, limits []float64
	err := b.alternate(ctx, r.Name, func() error {
		took, elapsed, err := askAll(ctx, "http://"+p.addr, func(r *rand.Rand) string {
			return "/v1/views/accounts?" + url.Values{"where.account": {account(r, b.sizes.liveGroups)}}.Encode()
		}, 1, share, true)
		whole, inside = append(whole, took...), append(inside, elapsed...)
		r.Runs = append(r.Runs, median(took))
		return err
	}, func() error {
		took, err := askTable(ctx, raw, func(r *rand.Rand) string {
			return plan.PlainSQL("(SELECT * FROM raw WHERE right(event_id, 12) = '" + account(r, b.sizes.liveGroups) + "')")
		}, 1, share/2)
		limits = append(limits, took...)
		return err
	})
	_, ended := l.finish()
	if err := errors.Join(err, ended); err != nil {
		return fmt.Errorf("%w\n%s", err, p.output())
	}
	r.Limit = quantile(limits, 0.5)
	r.More = append(latencies("", whole), Figure{"server_elapsed_p50_ms", quantile(inside, 0.5)})
	b.add(r)
	return nil
}

// rawTable is the events of the lake in a table of the engine alone.
func rawTable(ctx context.Context, dir string) (*duckdb.DB, error) {
	files, err := dataFiles(dir)
	if err != nil {
		return nil, err
	}
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, AllowedDirs: []string{dir}, Locked: true})
	if err != nil {
		return nil, err
	}
	conn, err := db.Connect()
	if err == nil {
		err = errors.Join(conn.Exec(ctx, "CREATE TABLE raw AS SELECT * FROM "+parquet(files)), conn.Close())
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// dataFiles are the stream's files in the lake of a data directory.
func dataFiles(dir string) (files []string, err error) {
	err = filepath.WalkDir(filepath.Join(dir, "data", "lake", "payments"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".parquet") && !strings.Contains(path, "_delta_log") {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// partialBytes is what partials take of a warehouse that nobody has open.
func partialBytes(ctx context.Context, file string) (bytes float64, err error) {
	db, err := duckdb.Open(ctx, duckdb.Options{Path: file, Threads: 1, Locked: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Connect()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// What the log of the file holds goes into its blocks, which is what is counted.
	if err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
		return 0, err
	}
	tables, err := conn.Collect(ctx, "SELECT '\"' || schema_name || '\".\"' || table_name || '\"' FROM duckdb_tables() WHERE schema_name = 'partials'")
	if err != nil {
		return 0, err
	}
	for i := range tables.Len() {
		blocks, err := conn.Collect(ctx, "SELECT count(DISTINCT block_id) FROM pragma_storage_info("+duckdb.Literal(tables.Value(i, 0).(string))+") WHERE persistent")
		if err != nil {
			return 0, err
		}
		bytes += float64(blocks.Value(0, 0).(int64)) * (256 << 10)
	}
	return bytes, nil
}

// A kind of view is measured through the speed layer, as speed does it.
type kind struct {
	name, sql string
	// atLeast is a target, and ofTumble one that is a share of what a tumbling
	// window does, in the same run.
	atLeast, ofTumble float64
}

const (
	tumbleSQL = "SELECT window_start, merchant, count(*) AS n, sum(amount) AS s FROM payments GROUP BY tumble(ts, INTERVAL '1 minute'), merchant"
	hopSQL    = "SELECT window_start, merchant, count(*) AS n, sum(amount) AS s FROM payments GROUP BY hop(ts, INTERVAL '1 hour', INTERVAL '1 minute'), merchant"
)

var kinds = []kind{
	{name: "hop", sql: hopSQL, ofTumble: 1 / 1.5},
	{name: "distinct", sql: "SELECT country, count(DISTINCT merchant) AS merchants FROM payments GROUP BY country", atLeast: 2_000_000},
	{name: "distinct-approx", sql: "SELECT country, approx_count_distinct(customer_id) AS customers FROM payments GROUP BY country", atLeast: 2_000_000},
	{name: "median", sql: "SELECT country, median(CAST(amount AS DOUBLE)) AS middle FROM payments GROUP BY country", atLeast: 2_000_000},
	{name: "quantile-approx", sql: "SELECT country, approx_quantile(latency_ms, 0.99) AS slow FROM payments GROUP BY country", atLeast: 2_000_000},
}

// kindRows are the events of a block.
const kindRows = 20_000

func (b *bench) kinds(ctx context.Context) error {
	var blocks []*event.Block
	for _, k := range kinds {
		name := "views/" + k.name
		if !b.wants(name) {
			continue
		}
		if blocks == nil {
			var err error
			if blocks, err = makeBlocks(payments(), 8, min(kindRows, b.sizes.batchRows), 8, time.Second); err != nil {
				return err
			}
		}
		if err := b.kindOf(ctx, name, k, blocks); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (b *bench) kindOf(ctx context.Context, name string, k kind, blocks []*event.Block) error {
	schema := blocks[0].Schema
	ps, err := plans(ctx, schema, []view.Definition{{Name: "kind", SQL: k.sql}, {Name: "tumble", SQL: tumbleSQL}})
	if err != nil {
		return err
	}
	r := Result{Name: name, Unit: "events/s/core", LimitIs: "the view's SQL over the same rows in a table of the engine, one thread"}
	var limits, tumble, millis []float64
	err = b.alternate(ctx, name, func() error {
		core, _, times, err := b.applyBlocks(ctx, schema, ps[:1], blocks)
		r.Runs, millis = append(r.Runs, core), append(millis, times...)
		return err
	}, func() error {
		if k.ofTumble == 0 {
			return nil
		}
		core, _, _, err := b.applyBlocks(ctx, schema, ps[1:], blocks)
		tumble = append(tumble, core)
		return err
	}, func() error {
		rate, err := b.plainViews(ctx, schema, blocks, 1, func(_ int, from string) string { return ps[0].PlainSQL(from) })
		limits = append(limits, rate)
		return err
	})
	if err != nil {
		return err
	}
	r.Limit = median(limits)
	r.More, r.Target = latencies("apply_", millis), atLeast(k.atLeast)
	if k.ofTumble > 0 {
		r.Target = atLeast(k.ofTumble * median(tumble))
		r.More = append(r.More, Figure{"tumble_events_per_s", median(tumble)}, Figure{"by_tumble", median(r.Runs) / median(tumble)})
	}
	b.add(r)
	return nil
}
