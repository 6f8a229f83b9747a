// Package warehouse keeps the batch layer's results in a DuckDB file: the facts
// (every event through S), each view's partials through S, and S itself, moved
// together in one transaction.
//
// The file is a cache of the lake. It remembers which commit of which table it
// was made from; on any mismatch, loss or corruption it is made anew.
//
// The package does not know the lake: a batch run hands it Inputs, SELECT texts
// over files that lie on this machine.
package warehouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// format is the version of the file's own tables; a file with another one is
// made anew.
const format = "2"

// Config says where the warehouse is and what it may use.
type Config struct {
	// Path is the database file; its directory is made if needed. Empty keeps
	// the warehouse in memory, for tests.
	Path string
	// Threads for batch runs and queries together. Default 1: measured on two
	// cores, two threads shorten a large batch run by a third and double the
	// time of the queries beside it.
	Threads int
	// MemoryLimit of the engine's buffers, such as "1GB", the default.
	MemoryLimit string
	// ReadDirs are the directories whose Parquet files inputs may name.
	ReadDirs []string
	Logger   *slog.Logger
}

// A Warehouse is an open file. Its methods may be called by several goroutines.
type Warehouse struct {
	cfg Config
	db  *duckdb.DB

	readers   readers
	pieces    pieces
	advancing sync.Mutex // one writer at a time
	recreated string     // why the file was made anew at Open; empty if it was not
	made      atomic.Uint64
}

// Open opens the file, or makes it. A file that cannot be opened, or that has
// another format, is moved aside to <path>.broken and made anew; Recreated then
// tells why. The caller fills it again by a batch run.
func Open(ctx context.Context, cfg Config) (*Warehouse, error) {
	if cfg.Threads == 0 {
		cfg.Threads = 1
	}
	if cfg.MemoryLimit == "" {
		cfg.MemoryLimit = "1GB"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Warehouse{cfg: cfg, pieces: defaultPieces}
	if cfg.Path != "" {
		if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o755); err != nil {
			return nil, fmt.Errorf("warehouse: %w", err)
		}
	}
	err := w.open(ctx)
	if err == nil {
		return w, nil
	}
	if cfg.Path == "" || ctx.Err() != nil || errors.Is(err, errInUse) {
		return nil, fmt.Errorf("warehouse %s: %w", cfg.Path, err)
	}
	w.recreated = err.Error()
	if err := w.Recreate(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// errInUse is kept apart from corruption: a file that another process holds
// must not be moved away under it.
var errInUse = errors.New("the file is in use by another process; stop it, or choose another --data directory")

func (w *Warehouse) open(ctx context.Context) error {
	db, err := duckdb.Open(ctx, duckdb.Options{
		Path: w.cfg.Path, Threads: w.cfg.Threads, MemoryLimit: w.cfg.MemoryLimit,
		TempDir: tempDir(w.cfg.Path), AllowedDirs: w.cfg.ReadDirs, Locked: true,
		// Landed files lie on this machine, where the system caches them already.
		// Their footers are not read again for each query: no file ever changes.
		Settings: map[string]string{"enable_external_file_cache": "false", "parquet_metadata_cache": "true"},
	})
	if err != nil {
		if inUse(err) {
			return errInUse
		}
		return err
	}
	if err := prepareFile(ctx, db); err != nil {
		return errors.Join(err, db.Close())
	}
	w.db = db
	return nil
}

func tempDir(path string) string {
	if path == "" {
		return ""
	}
	return path + ".tmp"
}

// Recreate moves the file aside and makes an empty one: S is ∅ for everything.
// No transaction may be open.
func (w *Warehouse) Recreate(ctx context.Context) error {
	w.advancing.Lock()
	defer w.advancing.Unlock()
	if w.db != nil {
		if err := errors.Join(w.readers.close(), w.db.Close()); err != nil {
			return fmt.Errorf("warehouse: close before it is made anew: %w", err)
		}
		w.db = nil
	}
	if w.cfg.Path != "" {
		for _, suffix := range []string{"", ".wal"} {
			if err := os.Rename(w.cfg.Path+suffix, w.cfg.Path+".broken"+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("warehouse: move the old file aside: %w", err)
			}
		}
	}
	w.made.Add(1)
	if err := w.open(ctx); err != nil {
		return fmt.Errorf("warehouse %s: make it anew: %w", w.cfg.Path, err)
	}
	return nil
}

// Made is another number whenever everything was computed anew. Until then, what was
// read through some S is what any transaction reads through it.
func (w *Warehouse) Made() uint64 { return w.made.Load() }

// Recreated tells why Open made the file anew; empty if it did not.
func (w *Warehouse) Recreated() string { return w.recreated }

// DB is the engine, for those who parse or describe statements on it.
func (w *Warehouse) DB() *duckdb.DB { return w.db }

// Close closes the file. It is idempotent.
func (w *Warehouse) Close() error {
	w.advancing.Lock()
	defer w.advancing.Unlock()
	if w.db == nil {
		return nil
	}
	err := errors.Join(w.readers.close(), w.db.Close())
	w.db = nil
	return err
}

// FactsObject and ViewObject name what has an S of its own.
func FactsObject(stream string) string { return "facts:" + stream }

// ViewObject names a version of a view.
func ViewObject(p *view.Plan) string { return "view:" + p.Name + ":" + p.Version }

func factsTable(stream string) string { return "facts." + duckdb.Ident(stream) }

// A view's partial rows are in two tables: those merged, one for each window and
// keys, and those added since.
func partialsTable(p *view.Plan) string { return "partials." + duckdb.Ident(p.Name+"_"+p.Version) }

func looseTable(p *view.Plan) string { return "loose." + duckdb.Ident(p.Name+"_"+p.Version) }

func errorsTable(p *view.Plan) string { return "errors." + duckdb.Ident(p.Name+"_"+p.Version) }

// ErrorColumns are the columns of a view's failed rows.
var ErrorColumns = []event.Column{
	{Name: event.ColEpoch, Type: event.Type{Kind: event.Integer}},
	{Name: event.ColPartition, Type: event.Type{Kind: event.Integer}},
	{Name: event.ColSeq, Type: event.Type{Kind: event.BigInt}},
	{Name: event.ColIdx, Type: event.Type{Kind: event.Integer}},
	{Name: "reason", Type: event.Type{Kind: event.Varchar}},
}
