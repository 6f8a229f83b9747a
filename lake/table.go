package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/tailwater/tailwater/event"
)

// A Table is a stream's Delta table, opened for reading and committing. One
// Table per table and process commits; should there be another, the store's
// condition lets one of them win each version.
type Table struct {
	lake   *Lake
	schema *event.Schema
	root   string // key prefix, ends with a slash

	// mu lets one goroutine at a time read or write the log's end.
	mu     sync.Mutex
	latest atomic.Pointer[Snapshot]
	// metaVersion is the version whose protocol and metadata the table was
	// opened with; a later one was set by another hand.
	metaVersion int64
}

// Schema is the schema that the table was opened with.
func (t *Table) Schema() *event.Schema { return t.schema }

// Latest is the newest snapshot that this process knows, without asking the store.
func (t *Table) Latest() *Snapshot { return t.latest.Load() }

// Snapshot reads the commits since the last call and gives the table's newest
// version. It costs one request if there are none.
func (t *Table) Snapshot(ctx context.Context) (*Snapshot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.refresh(ctx)
	if err != nil {
		return nil, fmt.Errorf("lake table %s: %w", t.schema.Stream, err)
	}
	return s, nil
}

// refresh replays the commits behind latest. It ends at the first version that is
// not there, because versions have no gaps. The caller holds mu.
func (t *Table) refresh(ctx context.Context) (*Snapshot, error) {
	s := t.latest.Load()
	for {
		actions, err := t.readCommit(ctx, s.Version+1)
		if errors.Is(err, ErrNotExist) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		if s, err = t.take(s, s.Version+1, actions); err != nil {
			return nil, err
		}
	}
}

// take makes the snapshot after a commit the latest.
func (t *Table) take(s *Snapshot, version int64, actions []action) (*Snapshot, error) {
	n, err := s.next(version, actions)
	if err != nil {
		return nil, err
	}
	if n.metaVersion == version {
		// Rows of other columns than the table's must not be committed.
		if missing, err := missingColumns(n.meta.SchemaString, t.schema); err != nil || len(missing) > 0 {
			return nil, &ConflictError{version, event.Source{}, "it changed the columns"}
		}
	}
	t.latest.Store(n)
	return n, nil
}

func (t *Table) readCommit(ctx context.Context, version int64) ([]action, error) {
	data, err := readAll(ctx, t.lake.bucket, t.root+commitKey(version))
	if err != nil {
		return nil, fmt.Errorf("read commit version %d: %w", version, err)
	}
	actions, err := decodeActions(data)
	if err != nil {
		return nil, fmt.Errorf("commit version %d: %w", version, err)
	}
	return actions, nil
}

// open finds the newest version, or creates version 0, and gives the table the columns
// that the stream has gained.
func (t *Table) open(ctx context.Context) error {
	for range t.lake.cfg.Attempts {
		s, err := t.load(ctx)
		switch {
		case err == nil:
			missing, err := missingColumns(s.meta.SchemaString, t.schema)
			if err != nil {
				return err
			}
			if len(missing) == 0 {
				t.metaVersion = s.metaVersion
				t.latest.Store(s)
				return nil
			}
			err = t.addColumns(ctx, s, missing)
			if err := uncertain(err); err != nil {
				return err
			}
		case errors.Is(err, errNoTable):
			if err := uncertain(t.create(ctx)); err != nil {
				return err
			}
		default:
			return err
		}
		// Committed by us, by another, or perhaps: the next turn reads which.
	}
	return errors.New("creating the table, or adding its columns, came to no result; check the store and try again")
}

// uncertain leaves out the errors after which a commit may be there.
func uncertain(err error) error {
	if errors.Is(err, ErrExist) || errors.Is(err, ErrAmbiguous) || errors.Is(err, ErrContended) {
		return nil
	}
	return err
}

// errNoTable says that there is no commit at all.
var errNoTable = errors.New("no such table")

// create commits version 0.
func (t *Table) create(ctx context.Context) error {
	text, err := schemaString(t.schema)
	if err != nil {
		return err
	}
	now := t.lake.cfg.Now().UnixMilli()
	data, err := encodeActions([]action{
		{CommitInfo: &commitInfo{Timestamp: now, Operation: "CREATE TABLE", EngineInfo: engineInfo, TxnID: uuid.NewString(), IsBlindAppend: true, Tailwater: &commitTailwater{map[string]Mark{}}}},
		{Protocol: &protocol{MinReaderVersion: 1, MinWriterVersion: 2}},
		{MetaData: &metaData{
			ID: uuid.NewString(), Name: t.schema.Stream, Format: format{"parquet", map[string]string{}},
			SchemaString: text, PartitionColumns: []string{},
			// Others must not clean the log up: the newest commit of ours holds
			// the marks.
			Configuration: map[string]string{"delta.enableExpiredLogCleanup": "false"},
			CreatedTime:   now,
		}},
	})
	if err != nil {
		return err
	}
	return t.lake.bucket.PutIfAbsent(ctx, t.root+commitKey(0), data)
}

// load reads the table from its newest readable checkpoint and the commits
// behind it: first those that the hint points to, and if they do not do, all.
func (t *Table) load(ctx context.Context) (*Snapshot, error) {
	if v, ok := t.readHint(ctx); ok {
		// Sorts before every name of version v, and after those of v-1.
		s, err := t.loadAfter(ctx, t.root+strings.TrimSuffix(commitKey(v), ".json"))
		if err == nil || ctx.Err() != nil {
			return s, err
		}
	}
	return t.loadAfter(ctx, "")
}

// loadAfter reads the table from the names of the log that sort after a key.
func (t *Table) loadAfter(ctx context.Context, startAfter string) (*Snapshot, error) {
	commits, checkpoints, err := t.listLog(ctx, startAfter)
	if err != nil {
		return nil, err
	}
	if len(commits) == 0 {
		return nil, errNoTable
	}
	s := &Snapshot{Version: -1, Schema: t.schema, Marks: map[event.Source]Mark{}, lake: t.lake, root: t.root, txns: map[string]txn{}, removed: map[string]remove{}}
	for _, v := range slices.Backward(checkpoints) {
		c, err := t.loadCheckpoint(ctx, s, v)
		if err == nil {
			s = c
			break
		}
		if ctx.Err() != nil {
			return nil, err
		}
		// A checkpoint is a shortcut: without it more commits are replayed.
		t.lake.cfg.Log.Warn("lake: checkpoint passed over", "table", t.schema.Stream, "version", v, "error", err)
	}
	for _, v := range commits {
		if v <= s.Version {
			continue
		}
		if v != s.Version+1 {
			return nil, fmt.Errorf("commit version %d is missing and no checkpoint covers it; restore %s", s.Version+1, commitKey(s.Version+1))
		}
		actions, err := t.readCommit(ctx, v)
		if err != nil {
			return nil, err
		}
		if s, err = s.next(v, actions); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// listLog gives the versions of commits and of single-file checkpoints, ascending.
func (t *Table) listLog(ctx context.Context, startAfter string) (commits, checkpoints []int64, err error) {
	for o, err := range t.lake.bucket.List(ctx, t.root+logDir, startAfter) {
		if err != nil {
			return nil, nil, err
		}
		switch v, kind, ok := logVersion(strings.TrimPrefix(o.Key, t.root+logDir)); {
		case ok && kind == ".json":
			commits = append(commits, v)
		case ok && kind == ".checkpoint.parquet":
			checkpoints = append(checkpoints, v)
		}
	}
	return commits, checkpoints, nil
}

// copyTo writes what r gives to a new file.
func copyTo(path string, r io.Reader) (int64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	return n, errors.Join(err, f.Close())
}
