package lake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tailwater/tailwater/event"
)

// LanderConfig holds what a Lander can be told.
type LanderConfig struct {
	// SpoolDir is where files are written before they are stored. Best on the
	// file system of a directory lake, so that storing is linking. What an
	// earlier process left of the table's spool is removed: its rows are still
	// in the log.
	SpoolDir string
	// SpoolBytes bounds the files that wait for the store; Apply blocks at it.
	// 4 GB: at 40 bytes a row, a store may be away for 100 million events.
	SpoolBytes int64
	// FileBytes is the size over which a file is finished and another begun.
	// 128 MB is what readers of Delta tables plan for.
	FileBytes int64
	// RetryMin and RetryMax bound the pause between attempts, which doubles:
	// 100 ms, because most faults of a store are single; 30 s, because more
	// would delay the recovery from an outage for no gain.
	RetryMin, RetryMax time.Duration
	// Landed is called after each commit, in order, by Run's goroutine.
	Landed func(*Snapshot)
}

func (c LanderConfig) withDefaults() LanderConfig {
	if c.SpoolBytes <= 0 {
		c.SpoolBytes = 4 << 30
	}
	if c.FileBytes <= 0 {
		c.FileBytes = 128 << 20
	}
	if c.RetryMin <= 0 {
		c.RetryMin = 100 * time.Millisecond
	}
	if c.RetryMax <= 0 {
		c.RetryMax = 30 * time.Second
	}
	if c.Landed == nil {
		c.Landed = func(*Snapshot) {}
	}
	return c
}

// LanderStatus is what an operator sees of a Lander.
type LanderStatus struct {
	Error        string // why the last attempt failed; empty after a success
	PendingBytes int64  // finished files that are not landed yet
	PendingSeals int
}

// A Lander is the event.Applier that brings blocks to a table. Apply writes rows
// into a local Parquet file; a seal hands the file to Run, which stores and
// commits it. The two meet in a queue bounded by bytes on disk, so that an outage of
// the store stops nobody before the disk's share is used up.
//
// A crash loses the local files and nothing else: the table's mark says from
// where the log must be applied again.
type Lander struct {
	table *Table
	cfg   LanderConfig
	spool string

	apply  sync.Mutex // one Apply or Close at a time; guards lanes and closed
	lanes  map[event.Source]*lane
	closed bool

	mu      sync.Mutex // guards what follows; never held during I/O
	queue   []*sealed
	pending int64
	fault   string
	changed chan struct{} // closed and replaced when the queue changes
}

// A lane is what was applied of one source.
type lane struct {
	base  uint64      // landed before this Lander began
	mark  Mark        // through what was applied last
	last  Mark        // through the last seal
	file  *FileWriter // open; nil between files
	files []DataFile  // finished since the last seal
}

// A sealed is a run of blocks that ends at a seal, on its way to a commit.
type sealed struct {
	rng   event.Range
	files []DataFile
	mark  Mark
	bytes int64
}

// NewLander makes a Lander for a table, and empties the table's spool.
func NewLander(t *Table, cfg LanderConfig) (*Lander, error) {
	l := &Lander{table: t, cfg: cfg.withDefaults(), lanes: map[event.Source]*lane{}, changed: make(chan struct{})}
	if cfg.SpoolDir == "" {
		return nil, errors.New("lander: no spool directory")
	}
	l.spool = filepath.Join(cfg.SpoolDir, t.schema.Stream)
	if err := os.MkdirAll(l.spool, 0o755); err != nil {
		return nil, fmt.Errorf("lander spool: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(l.spool, "part-*.parquet"))
	for _, path := range old {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return nil, fmt.Errorf("lander spool %s: %w", l.spool, err)
	}
	return l, nil
}

// Apply takes the next block of its source, whose epoch must be open. Blocks
// that the table held before the Lander began are skipped. A Lander of a
// dead-letter table takes the stream's own blocks and keeps their refused records.
//
// Apply blocks while the spool is full. If the local disk fails it, what was
// applied since the last seal is gone too: the error of the next Apply, an
// *event.GapError, says from where to read the log again.
func (l *Lander) Apply(ctx context.Context, b *event.Block) error {
	l.apply.Lock()
	defer l.apply.Unlock()
	if l.closed {
		return errors.New("lander is closed")
	}
	ln, err := l.lane(b.Source)
	if err != nil {
		return err
	}
	if b.Through <= ln.base && b.After < ln.base {
		return nil // landed by an earlier process
	}
	if rest, ok := b.Behind(ln.base); ok {
		b = rest
	}
	if b.After != ln.mark.Through {
		return &event.GapError{Block: b.Range, Applied: ln.mark.Through}
	}
	if err := l.room(ctx); err != nil {
		return err
	}
	if name := l.table.schema.Stream; b.Schema.Stream != name && name == event.DeadName(b.Schema.Stream) {
		b = b.Dead(l.table.schema)
	}
	if err := l.write(ln, b); err != nil {
		ln.drop()
		return fmt.Errorf("spool %s (make room on its disk): %w", l.spool, err)
	}
	return nil
}

// lane finds the source's lane, or begins it at what the table holds.
func (l *Lander) lane(src event.Source) (*lane, error) {
	if ln := l.lanes[src]; ln != nil {
		return ln, nil
	}
	m, ok := l.table.Latest().Marks[src]
	if !ok {
		return nil, fmt.Errorf("lander of %s: source %s is not open; commit its epoch first", l.table.schema.Stream, src)
	}
	ln := &lane{base: m.Through, mark: m, last: m}
	l.lanes[src] = ln
	return ln, nil
}

// write appends a block's rows, and finishes and queues the files at a seal.
func (l *Lander) write(ln *lane, b *event.Block) error {
	var err error
	if b.Len() > 0 {
		if ln.file == nil {
			if ln.file, err = NewFileWriter(l.table.schema, l.spool); err != nil {
				return err
			}
		}
		if err := ln.file.Write(b); err != nil {
			return err
		}
	}
	if ln.file != nil && (b.Seal || ln.file.Size() >= l.cfg.FileBytes) {
		f, err := ln.file.Finish()
		ln.file = nil
		if err != nil {
			return err
		}
		if f != nil {
			ln.files = append(ln.files, *f)
		}
	}
	ln.advance(b)
	if b.Seal && ln.mark.Through > ln.last.Through {
		l.enqueue(ln.seal(b.Source))
	}
	return nil
}

// advance moves the lane's mark over a block.
func (ln *lane) advance(b *event.Block) {
	ln.mark.Accepted += uint64(b.Len())
	ln.mark.Refused += uint64(len(b.Refused))
	ln.mark.Duplicates += uint64(b.Duplicates)
	ln.mark.LogTime = max(ln.mark.LogTime, b.LogTime)
	if b.Through > ln.mark.Through {
		ln.mark.Through, ln.mark.Stamp = b.Through, b.Stamp
	}
}

func (ln *lane) seal(src event.Source) *sealed {
	s := &sealed{rng: event.Range{Source: src, After: ln.last.Through, Through: ln.mark.Through}, files: ln.files, mark: ln.mark}
	for _, f := range ln.files {
		s.bytes += f.Size
	}
	ln.files, ln.last = nil, ln.mark
	return s
}

// drop forgets what came after the last seal.
func (ln *lane) drop() {
	if ln.file != nil {
		_ = ln.file.Abort() // what stays is removed when the spool is opened next
	}
	for _, f := range ln.files {
		_ = os.Remove(f.Local)
	}
	ln.file, ln.files, ln.mark = nil, nil, ln.last
}

// room waits until the spool has room.
func (l *Lander) room(ctx context.Context) error {
	return l.until(ctx, func() bool { return l.pending < l.cfg.SpoolBytes })
}

// until waits for a condition on what mu guards.
func (l *Lander) until(ctx context.Context, ok func() bool) error {
	for {
		l.mu.Lock()
		done, changed := ok(), l.changed
		l.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// update changes what mu guards, and wakes who waits for it.
func (l *Lander) update(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Lander) enqueue(s *sealed) {
	l.update(func() {
		l.queue = append(l.queue, s)
		l.pending += s.bytes
	})
}

// Wait blocks until the table covers src through a sequence (inclusive).
func (l *Lander) Wait(ctx context.Context, src event.Source, through uint64) error {
	return l.until(ctx, func() bool {
		m, ok := l.table.Latest().Marks[src]
		return ok && m.Through >= through
	})
}

// Status tells how landing goes.
func (l *Lander) Status() LanderStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LanderStatus{Error: l.fault, PendingBytes: l.pending, PendingSeals: len(l.queue)}
}

// Close ends Apply and drops what was not sealed. It lands nothing: what is left
// is in the log. End Run first, by its context. Closing twice is harmless.
func (l *Lander) Close() error {
	l.apply.Lock()
	defer l.apply.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	for _, ln := range l.lanes {
		ln.drop()
	}
	return nil
}
