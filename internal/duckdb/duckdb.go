// Package duckdb is a thin layer over the DuckDB engine: open a database with
// settings that are the same everywhere, run statements that stop when their
// context ends, copy results into Go memory as Arrow arrays, let SQL see data
// that Go holds, and parse, print and describe statements.
//
// The package sits directly on the driver's mapping of DuckDB's C interface and
// leaves out database/sql, for three reasons. A pooled connection hands its
// temporary tables and open transaction to the next user. Cancelling through
// the driver costs half a second. And Arrow records that the driver imports
// live in C memory, which Go's collector neither sees nor frees.
//
// Go-held data reaches SQL through one table function, tw_scan(id), which
// copies Arrow buffers into DuckDB's vectors (see Share). DuckDB's own way of
// registering an Arrow view is not used: it pushes filters and projections into
// a stream that ignores both, and answers wrongly.
package duckdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Options say how a database is opened. The zero value is an in-memory
// database without access to any file.
type Options struct {
	// Path is the database file, created if it does not exist; "" is a
	// database in memory.
	Path string
	// ReadOnly opens Path for reading alone; the file must exist.
	ReadOnly bool
	// Threads is how many threads one statement may use, the calling thread
	// included; 0 leaves it to DuckDB, which takes one per core.
	Threads int
	// MemoryLimit bounds the buffer manager, for example "1GB"; "" leaves it
	// to DuckDB, which takes 80 % of the machine. Results and the
	// engine's own small structures come on top.
	MemoryLimit string
	// TempDir is where large operators spill. "" switches spilling off in
	// memory databases, and is Path + ".tmp" for files.
	TempDir string
	// AllowedDirs are the only directories that SQL may read or write;
	// none means no files at all. The database file itself, its
	// write-ahead log and TempDir are always reachable.
	AllowedDirs []string
	// Settings are further global settings, by name, set before the lock.
	Settings map[string]string
	// Init are statements run in order while files are still reachable and
	// settings still open: ATTACH belongs here.
	Init []string
	// Locked forbids any change of a setting once the database is open.
	Locked bool
}

// A DB is one DuckDB instance. Its methods may be called from several
// goroutines.
type DB struct {
	mu     sync.Mutex
	db     mapping.Database // zero once closed
	closed bool
	conns  map[*Conn]struct{} // not closed yet
	syntax []*syntaxConn      // that nobody uses
	file   string             // claimed until closed with no connection left; "" in memory
}

// Open opens a database. Time zone UTC holds on every connection, extensions
// are neither installed nor loaded from outside, and the elimination of common
// subexpressions is off, because it leaks errors out of TRY.
//
// Opening a file that another process holds, or that is damaged, is an *Error
// with DuckDB's text.
func Open(ctx context.Context, o Options) (*DB, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if strings.ContainsRune(o.Path, 0) {
		return nil, fmt.Errorf("open database %q: the path holds a NUL byte", o.Path)
	}
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	defer mapping.DestroyConfig(&config)

	path, file := o.Path, ""
	if path == "" {
		path = ":memory:"
	} else if file, err = claim(path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	var handle mapping.Database
	var message string
	if mapping.OpenExt(path, &handle, config, &message) == mapping.StateError {
		mapping.Close(&handle)
		unclaim(file)
		return nil, fmt.Errorf("open database %s: %w", path, newError(message))
	}
	db := &DB{db: handle, file: file, conns: map[*Conn]struct{}{}}
	if err := db.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// config makes the open configuration: what must hold before the first
// connection exists. The caller destroys it.
func (o Options) config() (mapping.Config, error) {
	settings := [][2]string{
		{"autoinstall_known_extensions", "false"},
		{"autoload_known_extensions", "false"},
	}
	if o.ReadOnly {
		settings = append(settings, [2]string{"access_mode", "READ_ONLY"})
	}
	if o.Threads > 0 {
		settings = append(settings, [2]string{"threads", strconv.Itoa(o.Threads)})
	}
	if o.MemoryLimit != "" {
		settings = append(settings, [2]string{"memory_limit", o.MemoryLimit})
	}
	if o.TempDir != "" || o.Path == "" {
		settings = append(settings, [2]string{"temp_directory", o.TempDir})
	}
	var config mapping.Config
	if mapping.CreateConfig(&config) == mapping.StateError {
		return config, errors.New("open database: no memory for its configuration")
	}
	for _, s := range settings {
		if mapping.SetConfig(config, s[0], s[1]) == mapping.StateError {
			mapping.DestroyConfig(&config)
			return config, fmt.Errorf("open database: %s = %q is not a value DuckDB takes", s[0], s[1])
		}
	}
	return config, nil
}

// setUp brings a fresh database into its final state. The order matters:
// secrets can be switched off only before anything asks for one, directories can be
// allowed only while external access is on, and the lock comes last.
func (db *DB) setUp(ctx context.Context, o Options) error {
	c, err := db.Connect()
	if err != nil {
		return err
	}
	defer c.Close()

	statements := []string{
		"SET GLOBAL allow_persistent_secrets = false",
		"SET GLOBAL TimeZone = 'UTC'",
		"SET GLOBAL disabled_optimizers = 'common_subexpressions'",
	}
	for _, name := range slices.Sorted(maps.Keys(o.Settings)) {
		statements = append(statements, "SET GLOBAL "+Ident(name)+" = "+Literal(o.Settings[name]))
	}
	statements = append(statements, o.Init...)
	if len(o.AllowedDirs) > 0 {
		quoted := make([]string, len(o.AllowedDirs))
		for i, d := range o.AllowedDirs {
			quoted[i] = Literal(d)
		}
		statements = append(statements, "SET GLOBAL allowed_directories = ["+strings.Join(quoted, ", ")+"]")
	}
	statements = append(statements, "SET GLOBAL enable_external_access = false")
	if o.Locked {
		statements = append(statements, "SET GLOBAL lock_configuration = true")
	}
	// The functions go into the instance's system catalog, so that every
	// connection sees them.
	if err := errors.Join(c.registerScan(), c.registerWithin()); err != nil {
		return err
	}
	for _, s := range statements {
		if err := c.Exec(ctx, s); err != nil {
			return fmt.Errorf("open database: %s: %w", s, err)
		}
	}
	return nil
}

// Connect makes a fresh connection: temporary tables, transactions and session
// settings are its own. It takes some 10 µs; connections are never pooled.
func (db *DB) Connect() (*Conn, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, errors.New("connect: the database is closed")
	}
	c := &Conn{db: db}
	if mapping.Connect(db.db, &c.conn) == mapping.StateError {
		return nil, errors.New("connect: DuckDB refused a connection")
	}
	db.conns[c] = struct{}{}
	return c, nil
}

// Close closes the database; a second call does nothing. DuckDB holds the file
// for as long as a connection is open, so Close returns an error that tells how
// many are: they should be closed first.
func (db *DB) Close() error {
	idle := db.closeSyntax()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	mapping.Close(&db.db)
	if n := len(db.conns); n > 0 {
		return errors.Join(idle, fmt.Errorf("close database: %d connections are still open and hold it", n))
	}
	unclaim(db.file)
	return idle
}

func (db *DB) disconnected(c *Conn) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if delete(db.conns, c); len(db.conns) == 0 && db.closed {
		unclaim(db.file)
	}
}

// claimed are the files that this process has open. DuckDB relies on POSIX
// locks, which do not stop a second instance in the same process: two writers
// would destroy the file.
var claimed = struct {
	sync.Mutex
	files map[string]bool
}{files: map[string]bool{}}

// claim takes a file for one DB; file is its name without links.
func claim(path string) (file string, err error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real // else DuckDB says what is wrong with the directory
	}
	file = filepath.Join(dir, filepath.Base(path))
	claimed.Lock()
	defer claimed.Unlock()
	if claimed.files[file] {
		return "", &Error{Type: "IO", Message: fmt.Sprintf("Could not set lock on file %q: this process has it open, or did not close all its connections", file)}
	}
	claimed.files[file] = true
	return file, nil
}

func unclaim(file string) {
	claimed.Lock()
	defer claimed.Unlock()
	delete(claimed.files, file)
}

// checkText refuses statements that the C interface would cut or misread.
func checkText(sql string) error {
	if strings.ContainsRune(sql, 0) {
		return &Error{Type: "Parser", Message: "the statement holds a NUL byte"}
	}
	if !utf8.ValidString(sql) {
		return &Error{Type: "Parser", Message: "the statement is not valid UTF-8"}
	}
	return nil
}
