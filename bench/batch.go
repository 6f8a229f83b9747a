package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// measureBatch runs batches in process: a first half of the rows, then the second
// half, then all of them anew.
func measureBatch(ctx context.Context, b *bench) error {
	if !b.wants("batch/incremental") && !b.wants("batch/rebuild") {
		return nil
	}
	blocks, err := landingBlocks(b.sizes.batchRows)
	if err != nil {
		return err
	}
	half := len(blocks) / 2
	blocks[half-1].Seal = true
	ps, err := plans(ctx, payments(), definitions(2))
	if err != nil {
		return err
	}
	incremental := Result{Name: "batch/incremental", Unit: "rows/s", LimitIs: "the engine's INSERT of the same Parquet rows into a file and its GROUP BY of each view over them, one thread"}
	rebuild := Result{Name: "batch/rebuild", Unit: "rows/s", LimitIs: incremental.LimitIs}
	var limits, cpu []float64
	var files []string
	err = b.alternate(ctx, "batch", func() error {
		dir, remove, err := b.scratch("batch")
		if err != nil {
			return err
		}
		defer remove()
		r, err := newBatchRig(ctx, dir, ps)
		if err != nil {
			return err
		}
		defer r.close()
		if _, err := r.run(ctx, blocks[:half], false); err != nil {
			return err
		}
		second, err := r.run(ctx, blocks[half:], false)
		if err != nil {
			return err
		}
		used := selfCPU()
		all, err := r.run(ctx, nil, true)
		if err != nil {
			return err
		}
		cpu = append(cpu, usPerEvent(selfCPU()-used, rowsOf(blocks)))
		incremental.Runs = append(incremental.Runs, rowsOf(blocks[half:])/second.Seconds())
		rebuild.Runs = append(rebuild.Runs, rowsOf(blocks)/all.Seconds())
		// The limit reads the files of this run, while they are there.
		snap := r.events.Latest()
		if files, err = snap.LocalPaths(ctx, snap.Files); err != nil {
			return err
		}
		took, err := plainBatch(ctx, dir, files, ps)
		limits = append(limits, rowsOf(blocks)/took.Seconds())
		return err
	})
	if err != nil {
		return err
	}
	incremental.Limit, rebuild.Limit = median(limits), median(limits)
	incremental.More = []Figure{{"rows", rowsOf(blocks[half:])}, {"rows_before", rowsOf(blocks[:half])}}
	rebuild.More = []Figure{{"rows", rowsOf(blocks)}, {"cpu_us_per_row", median(cpu)}}
	b.add(incremental)
	b.add(rebuild)
	return nil
}

// A batchRig is a runner on a lake in a directory, with the server's own threads.
type batchRig struct {
	*batch.Runner
	wh           *warehouse.Warehouse
	events, runs *table
}

func newBatchRig(ctx context.Context, dir string, ps []*view.Plan) (r *batchRig, err error) {
	r = &batchRig{}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	bucket, err := lake.NewDirBucket(filepath.Join(dir, "lake"))
	if err != nil {
		return r, err
	}
	if r.events, err = openTable(ctx, bucket, dir, payments()); err != nil {
		return r, err
	}
	if r.runs, err = openTable(ctx, bucket, dir, batch.HistorySchema()); err != nil {
		return r, err
	}
	r.wh, err = warehouse.Open(ctx, warehouse.Config{Path: filepath.Join(dir, "warehouse", "warehouse.duckdb"), ReadDirs: []string{filepath.Join(dir, "lake")}})
	if err != nil {
		return r, err
	}
	r.Runner = batch.New(batch.Config{
		Warehouse: r.wh, Streams: []batch.Stream{{Schema: payments(), Plans: ps, Table: r.events.Table, Epoch: 1}},
		History: batch.NewHistory(r.runs.Table, r.runs.lander),
	})
	return r, nil
}

// run lands blocks, which is not measured, and runs a batch, which is.
func (r *batchRig) run(ctx context.Context, blocks []*event.Block, rebuild bool) (time.Duration, error) {
	if len(blocks) > 0 {
		if err := r.events.land(ctx, blocks); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	_, err := r.Run(ctx, batch.OnDemand, rebuild)
	return time.Since(began), err
}

func (r *batchRig) close() {
	for _, t := range []*table{r.events, r.runs} {
		if t != nil {
			t.close()
		}
	}
	if r.wh != nil {
		r.wh.Close()
	}
}

// plainBatch does with the engine alone what nobody can leave out: the rows into a
// file of the engine, and each view's groups.
func plainBatch(ctx context.Context, dir string, files []string, ps []*view.Plan) (took time.Duration, err error) {
	db, err := duckdb.Open(ctx, duckdb.Options{Path: filepath.Join(dir, "plain.duckdb"), Threads: 1, MemoryLimit: "1GB", AllowedDirs: []string{dir}, Locked: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Connect()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	from := parquet(files)
	if err := conn.Exec(ctx, "CREATE TABLE facts AS SELECT * FROM "+from+" LIMIT 0"); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := conn.Exec(ctx, "INSERT INTO facts SELECT * FROM "+from); err != nil {
		return 0, err
	}
	for i, p := range ps {
		if err := conn.Exec(ctx, fmt.Sprintf("CREATE TABLE v%d AS %s", i, p.PlainSQL(from))); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// parquet gives the rows of data files, as an item of FROM. The lake's times are in
// UTC with a zone; the views want them without.
func parquet(files []string) string {
	var names []string
	for _, f := range files {
		names = append(names, duckdb.Literal(f))
	}
	return "(SELECT * REPLACE (make_timestamp(epoch_us(ts)) AS ts) FROM read_parquet([" + strings.Join(names, ", ") + "])) AS e"
}
