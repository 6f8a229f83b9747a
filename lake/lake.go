// Package lake keeps every accepted event for good: one Delta Lake table per
// stream, in a directory or on S3-compatible storage, readable by anything that
// speaks Delta (minReaderVersion 1, minWriterVersion 2, no table features).
//
//	Bucket    bytes by key: directory, S3, memory       bucket*.go
//	Table     the Delta log, and the one commit         table.go, commit.go, log.go, checkpoint.go
//	Snapshot  an immutable version of a table           snapshot.go, read.go, select.go
//	Lander    sealed blocks → Parquet files → commits   lander.go, writer.go
//
// The commit point is one PutIfAbsent of _delta_log/<version>.json. Its txn
// carries the position through which the table holds the log, so rows and
// position can never disagree. Before it, data files are unreferenced bytes;
// after it, a crash loses nothing.
package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tailwater/tailwater/event"
)

// Config holds what a Lake can be told.
type Config struct {
	// CacheDir is where files of a remote bucket are kept once read or
	// written. It may be removed while the program is down. A directory bucket
	// needs none.
	CacheDir string
	// CheckpointEvery is how many versions lie between two checkpoints:
	// 64, because a restart then replays at most 64 small files, and at a
	// landing every 30 s a checkpoint is written every half an hour.
	CheckpointEvery int
	// Attempts is how often a commit tries to become the next version before
	// it gives up with what it knows. 20: with one committer a table,
	// even a few losses in a row mean that something else is wrong.
	Attempts int
	// Now stamps commits, for people; nothing is decided by it. time.Now.
	Now func() time.Time
	// Log takes what an operator should know. slog.Default().
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.CheckpointEvery <= 0 {
		c.CheckpointEvery = 64
	}
	if c.Attempts <= 0 {
		c.Attempts = 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// A Lake is a bucket of tables.
type Lake struct {
	bucket Bucket
	cfg    Config
	// columns has, by local path, the columns of files whose statistics do not tell
	// them: a few hundred bytes a file.
	columns sync.Map
}

// Open opens a lake. It proves that the store honours PutIfAbsent, because
// without that two writers overwrite each other's commits unseen, and refuses
// one that does not.
func Open(ctx context.Context, b Bucket, cfg Config) (*Lake, error) {
	cfg = cfg.withDefaults()
	if _, local := b.LocalPath("x"); !local {
		if cfg.CacheDir == "" {
			return nil, errors.New("lake: a remote store needs a cache directory")
		}
		if err := os.MkdirAll(cfg.CacheDir, 0o755); err != nil {
			return nil, fmt.Errorf("lake cache: %w", err)
		}
	}
	if err := probe(ctx, b); err != nil {
		return nil, err
	}
	return &Lake{bucket: b, cfg: cfg}, nil
}

// probe writes one object twice under a condition and reads which won.
func probe(ctx context.Context, b Bucket) error {
	key := "_tailwater/probe-" + uuid.NewString()
	first, second := []byte("first"), []byte("second")
	defer func() {
		// A leftover is 5 bytes that nothing reads, so that failing to remove it
		// is not worth refusing the store.
		_ = b.Delete(context.WithoutCancel(ctx), key)
	}()
	if err := b.PutIfAbsent(ctx, key, first); err != nil {
		return fmt.Errorf("lake: the store refuses a conditional write (check its address, bucket and keys): %w", err)
	}
	err := b.PutIfAbsent(ctx, key, second)
	if err == nil {
		return errors.New("lake: the store ignores If-None-Match, so that commits could be lost; use one that honours conditional writes, or a directory")
	}
	if !errors.Is(err, ErrExist) {
		return fmt.Errorf("lake: prove conditional writes: %w", err)
	}
	got, err := readAll(ctx, b, key)
	if err != nil {
		return fmt.Errorf("lake: read back a conditional write: %w", err)
	}
	if !bytes.Equal(got, first) {
		return errors.New("lake: the store answered a conditional write with \"exists\" and overwrote the object; use another store")
	}
	return nil
}

func readAll(ctx context.Context, b Bucket, key string) ([]byte, error) {
	r, err := b.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Table opens the table of a stream, or of its dead letters, and creates it if
// it is missing. A table that lacks columns at the schema's end, which may be NULL, is
// given them; any other difference is refused.
func (l *Lake) Table(ctx context.Context, schema *event.Schema) (*Table, error) {
	if !tableName.MatchString(schema.Stream) {
		return nil, fmt.Errorf("lake: %q cannot name a table; use letters, digits and underscores", schema.Stream)
	}
	t := &Table{lake: l, schema: schema, root: schema.Stream + "/"}
	if err := t.open(ctx); err != nil {
		return nil, fmt.Errorf("lake table %s: %w", schema.Stream, err)
	}
	return t, nil
}

// cachePath is the local name of a table's file of a remote bucket.
func (l *Lake) cachePath(tableID, path string) string {
	return filepath.Join(l.cfg.CacheDir, tableID, filepath.FromSlash(path))
}
