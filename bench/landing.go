package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
)

// landBlockRows is the size of the blocks that are landed, and landSealBytes how
// much of them makes a file: the server's default.
const (
	landBlockRows = 10_000
	landSealBytes = 64_000_000
)

// measureLanding brings blocks into a lake, in process, and holds that against the
// engine's own writer of Parquet.
func measureLanding(ctx context.Context, b *bench) error {
	blocks, err := landingBlocks(b.sizes.landRows)
	if err != nil {
		return err
	}
	places := map[string]func(dir string) (lake.Bucket, error){
		"landing/dir": func(dir string) (lake.Bucket, error) { return lake.NewDirBucket(filepath.Join(dir, "lake")) },
	}
	names := []string{"landing/dir"}
	if b.wants("landing/s3") {
		options, err := b.s3(ctx)
		if err != nil {
			return err
		}
		stored := 0
		names = append(names, "landing/s3")
		places["landing/s3"] = func(string) (lake.Bucket, error) {
			stored++
			return lake.OpenBucket(ctx, fmt.Sprintf("s3://lake/%d", stored), options)
		}
	}
	for _, name := range names {
		if !b.wants(name) {
			continue
		}
		if err := b.landingTo(ctx, name, places[name], blocks); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// s3 starts the one S3 server of this process when it is first needed.
func (b *bench) s3(ctx context.Context) (lake.S3Options, error) {
	if b.store.Endpoint != "" {
		return b.store, nil
	}
	dir, _, err := b.scratch("s3")
	if err != nil {
		return b.store, err
	}
	b.store, err = serveS3(ctx, dir)
	return b.store, err
}

// landingBlocks makes blocks with a seal at the server's default size, and at the end.
func landingBlocks(rows int) ([]*event.Block, error) {
	blocks, err := makeBlocks(payments(), max(rows/landBlockRows, 1), min(rows, landBlockRows), 40, 10*time.Second)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, block := range blocks {
		if size += block.Size; size >= landSealBytes {
			block.Seal, size = true, 0
		}
	}
	blocks[len(blocks)-1].Seal = true
	return blocks, nil
}

func rowsOf(blocks []*event.Block) (n float64) {
	for _, b := range blocks {
		n += float64(b.Len())
	}
	return n
}

func (b *bench) landingTo(ctx context.Context, name string, place func(dir string) (lake.Bucket, error), blocks []*event.Block) error {
	r := Result{Name: name, Unit: "rows/s", LimitIs: "the engine's COPY of the same rows to Parquet with zstd, one thread", Target: atLeast(1_000_000)}
	rows := rowsOf(blocks)
	var limits, cpu, copyCPU, bytes, copyBytes []float64
	err := b.alternate(ctx, name, func() error {
		dir, remove, err := b.scratch("landing")
		if err != nil {
			return err
		}
		defer remove()
		bucket, err := place(dir)
		if err != nil {
			return err
		}
		t, err := openTable(ctx, bucket, dir, payments())
		if err != nil {
			return err
		}
		defer t.close()
		used, began := selfCPU(), time.Now()
		if err := t.land(ctx, blocks); err != nil {
			return err
		}
		r.Runs = append(r.Runs, rows/time.Since(began).Seconds())
		cpu = append(cpu, usPerEvent(selfCPU()-used, rows))
		bytes = append(bytes, float64(t.bytes())/rows)
		return nil
	}, func() error {
		seconds, used, size, err := b.copyParquet(ctx, blocks)
		limits, copyCPU, copyBytes = append(limits, rows/seconds), append(copyCPU, usPerEvent(used, rows)), append(copyBytes, float64(size)/rows)
		return err
	})
	if err != nil {
		return err
	}
	r.Limit = median(limits)
	r.More = []Figure{{"cpu_us_per_row", median(cpu)}, {"copy_cpu_us_per_row", median(copyCPU)}, {"bytes_per_row", median(bytes)}, {"copy_bytes_per_row", median(copyBytes)}, {"rows", rows}}
	b.add(r)
	return nil
}

// A table is a lake table with the lander that fills it.
type table struct {
	*lake.Table
	lander  *lake.Lander
	at      uint64
	cancel  context.CancelFunc
	running sync.WaitGroup
	ended   error
}

// openTable opens a lake with one table for a stream of a single epoch.
func openTable(ctx context.Context, bucket lake.Bucket, dir string, schema *event.Schema) (*table, error) {
	l, err := lake.Open(ctx, bucket, lake.Config{CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		return nil, err
	}
	t := &table{}
	if t.Table, err = l.Table(ctx, schema); err != nil {
		return nil, err
	}
	if _, err := t.OpenEpoch(ctx, event.Source{Stream: schema.Stream, Epoch: 1}, lake.Mark{}); err != nil {
		return nil, err
	}
	if t.lander, err = lake.NewLander(t.Table, lake.LanderConfig{SpoolDir: filepath.Join(dir, "spool")}); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	t.cancel = cancel
	t.running.Go(func() { t.ended = t.lander.Run(run) })
	return t, nil
}

// land applies the blocks and waits until they are in the table.
func (t *table) land(ctx context.Context, blocks []*event.Block) error {
	for _, b := range blocks {
		if err := t.lander.Apply(ctx, b); err != nil {
			return err
		}
		t.at = b.Through
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := t.lander.Wait(wait, blocks[0].Source, t.at); err != nil {
		return fmt.Errorf("%w: %s", err, t.lander.Status().Error)
	}
	return nil
}

func (t *table) bytes() (n int64) {
	for _, f := range t.Latest().Files {
		n += f.Size
	}
	return n
}

func (t *table) close() {
	t.cancel()
	t.running.Wait()
	_ = t.lander.Close() // everything has landed
}

// copyParquet lets the engine write the rows from a table of its own.
func (b *bench) copyParquet(ctx context.Context, blocks []*event.Block) (seconds float64, used time.Duration, size int64, err error) {
	dir, remove, err := b.scratch("copy")
	if err != nil {
		return 0, 0, 0, err
	}
	defer remove()
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "8GB", AllowedDirs: []string{dir}, Locked: true})
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Connect()
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	shared := duckdb.Share(blocks[0].Schema.Relation())
	defer shared.Close()
	var batches []duckdb.Batch
	for _, block := range blocks {
		batches = append(batches, block)
	}
	shared.Set(batches)
	if err := conn.Exec(ctx, "CREATE TABLE t AS SELECT * FROM "+shared.SQL()); err != nil {
		return 0, 0, 0, err
	}
	file := filepath.Join(dir, "t.parquet")
	used, began := selfCPU(), time.Now()
	if err := conn.Exec(ctx, "COPY t TO "+duckdb.Literal(file)+" (FORMAT parquet, COMPRESSION zstd)"); err != nil {
		return 0, 0, 0, err
	}
	seconds, used = time.Since(began).Seconds(), selfCPU()-used
	info, err := os.Stat(file)
	if err != nil {
		return 0, 0, 0, err
	}
	return seconds, used, info.Size(), nil
}
