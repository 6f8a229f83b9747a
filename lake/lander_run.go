package lake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/fault"
)

// batchFiles bounds the files of one commit: seals that queued up during an
// outage share commits, and a commit stays a few hundred kilobytes of JSON.
const batchFiles = 256

// Run stores and commits sealed runs, in order, until ctx ends. A failure is tried
// again for ever, with growing pauses, and shown by Status. Run returns an error
// only if going on could lose or double rows: a *ConflictError, an
// *event.GapError.
func (l *Lander) Run(ctx context.Context) error {
	for {
		if err := l.until(ctx, func() bool { return len(l.queue) > 0 }); err != nil {
			return err
		}
		if err := l.land(ctx, l.next()); err != nil {
			l.update(func() { l.fault = err.Error() })
			return err
		}
	}
}

// A landing is some seals of one source that share a commit.
type landing struct {
	seals  int
	bytes  int64
	stored int // files that were uploaded
	change change
}

// next takes as many seals of the first one's source as may share a commit. They
// stay in the queue until they are landed.
func (l *Lander) next() *landing {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.queue[0]
	b := &landing{change: change{id: uuid.NewString(), operation: "WRITE", rng: first.rng}}
	for _, s := range l.queue {
		if s.rng.Source != first.rng.Source || b.seals > 0 && len(b.change.files)+len(s.files) > batchFiles {
			break
		}
		b.seals++
		b.bytes += s.bytes
		b.change.rng.Through, b.change.mark = s.rng.Through, s.mark
		b.change.files = append(b.change.files, s.files...)
	}
	return b
}

// land brings one landing to its commit.
func (l *Lander) land(ctx context.Context, b *landing) error {
	wait := l.cfg.RetryMin
	for {
		s, err := l.try(ctx, b)
		if err == nil {
			l.keep(s, b)
			l.update(func() {
				l.queue, l.pending, l.fault = l.queue[b.seals:], l.pending-b.bytes, ""
			})
			l.cfg.Landed(s)
			return nil
		}
		var conflict *ConflictError
		var gap *event.GapError
		if errors.As(err, &conflict) || errors.As(err, &gap) {
			return errors.Join(err, l.discard(ctx, b))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.update(func() { l.fault = err.Error() })
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, l.cfg.RetryMax)
	}
}

// try uploads what is not stored yet, and commits. The change keeps its id over
// all attempts, so that one which succeeded unseen is recognised.
func (l *Lander) try(ctx context.Context, b *landing) (*Snapshot, error) {
	for b.stored < len(b.change.files) {
		if err := l.table.Upload(ctx, b.change.files[b.stored]); err != nil {
			return nil, err
		}
		b.stored++
	}
	if err := fault.Hit(fault.AfterParquetPut); err != nil {
		return nil, err
	}
	return l.table.commit(ctx, &b.change)
}

// keep moves the landed files from the spool to the cache, or drops their second
// names. Failing costs a download or a leftover, which the next start removes.
func (l *Lander) keep(s *Snapshot, b *landing) {
	for _, f := range b.change.files {
		if _, local := l.table.lake.bucket.LocalPath(f.Path); !local {
			path := l.table.lake.cachePath(s.TableID, f.Path)
			if os.MkdirAll(filepath.Dir(path), 0o755) == nil && os.Rename(f.Local, path) == nil {
				continue
			}
		}
		_ = os.Remove(f.Local)
	}
}

// discard removes the stored files of a landing that lost to another program. The
// versions that it tried for are all taken, so that no commit can refer to them.
func (l *Lander) discard(ctx context.Context, b *landing) error {
	s := l.table.Latest()
	known := map[string]bool{}
	for _, f := range s.Files {
		known[f.Path] = true
	}
	var errs error
	for _, f := range b.change.files[:b.stored] {
		if known[f.Path] || s.removed[f.Path].Path != "" {
			continue
		}
		if err := l.table.lake.bucket.Delete(ctx, l.table.root+f.Path); err != nil {
			errs = errors.Join(errs, fmt.Errorf("drop unreferenced file: %w", err))
		}
	}
	return errs
}
