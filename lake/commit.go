package lake

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/fault"
)

// A change is what one commit does to one source. It is made once and committed
// until the outcome is known: its id is how the committer recognises it.
type change struct {
	id        string // commitInfo.txnId
	operation string
	rng       event.Range
	files     []DataFile
	mark      Mark
	opens     bool // the change opens the epoch of its source
	// tried says that an attempt may have been stored or may still be, at version
	// first at the earliest.
	tried bool
	first int64
}

// Upload stores a finished file, as yet unreferenced. It may be called again
// after an error. A remote file's local bytes become its cached copy.
func (t *Table) Upload(ctx context.Context, f DataFile) error {
	if err := t.lake.bucket.PutFile(ctx, t.root+f.Path, f.Local); err != nil {
		return fmt.Errorf("lake table %s: %w", t.schema.Stream, err)
	}
	return nil
}

// Append commits uploaded files that hold the accepted rows of the messages of r:
// afterwards the table covers the source through r.Through. Files may be none.
// It is all or nothing, and rows of r can be committed only once: r.After
// must be what the table covers now, else the error is an *event.GapError. A
// *ConflictError says that another program interfered. After any other error
// the outcome may be open; Latest or Snapshot tells it.
func (t *Table) Append(ctx context.Context, r event.Range, files []DataFile, m Mark) (*Snapshot, error) {
	return t.commit(ctx, &change{id: uuid.NewString(), operation: "WRITE", rng: r, files: files, mark: m})
}

// OpenEpoch commits that the table covers a new source through m.Floor, with no
// rows: its first message comes after the floor. Of m it keeps Floor, FloorTime,
// LogTime, and Stamp, that of the message at the floor. That the source is
// already open with this floor is no error.
func (t *Table) OpenEpoch(ctx context.Context, src event.Source, m Mark) (*Snapshot, error) {
	r := event.Range{Source: src, After: m.Floor, Through: m.Floor}
	opened := Mark{Floor: m.Floor, FloorTime: m.FloorTime, Through: m.Floor, Stamp: m.Stamp, LogTime: m.LogTime}
	return t.commit(ctx, &change{id: uuid.NewString(), operation: "OPEN EPOCH", rng: r, mark: opened, opens: true})
}

// unknownMax is how many attempts of one call may end without a known outcome:
// each can take the store's whole time limit, and the caller, who tries again
// anyway, should hear of an outage sooner.
const unknownMax = 3

// commit makes the change the table's next version. Every turn begins with what
// the log holds, so that the normal path, a lost answer and a lost race are
// resolved by the same code: the mark in the log carries the id of its commit.
func (t *Table) commit(ctx context.Context, c *change) (*Snapshot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var last error
	unknown := 0
	for attempt := range t.lake.cfg.Attempts {
		if attempt > 0 && errors.Is(last, ErrContended) {
			if err := pause(ctx, time.Duration(attempt)*20*time.Millisecond); err != nil {
				return nil, t.commitError(c, errors.Join(err, last))
			}
		}
		s, err := t.refresh(ctx)
		if err != nil {
			return nil, t.commitError(c, errors.Join(err, last))
		}
		if done, err := t.settled(ctx, s, c); done || err != nil {
			if err != nil {
				return nil, t.commitError(c, err)
			}
			return s, nil
		}
		actions := t.actions(s, c)
		if last = t.put(ctx, s.Version+1, actions, c); last == nil {
			if s, err = t.take(s, s.Version+1, actions); err != nil {
				return nil, t.commitError(c, err)
			}
			t.checkpoint(ctx, s)
			return s, nil
		}
		if errors.Is(last, ErrAmbiguous) {
			unknown++
		} else if !errors.Is(last, ErrExist) && !errors.Is(last, ErrContended) {
			return nil, t.commitError(c, last)
		}
		if unknown == unknownMax {
			return nil, t.commitError(c, last)
		}
	}
	return nil, t.commitError(c, fmt.Errorf("no result after %d attempts: %w", t.lake.cfg.Attempts, last))
}

func (t *Table) commitError(c *change, err error) error {
	return fmt.Errorf("lake table %s: commit %s: %w", t.schema.Stream, c.rng, err)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// put is the commit point. It returns nil if and only if the version is stored
// and known to be.
func (t *Table) put(ctx context.Context, version int64, actions []action, c *change) error {
	data, err := encodeActions(actions)
	if err != nil {
		return err
	}
	if err := fault.Hit(fault.BeforeCommitPut); err != nil {
		return err
	}
	if !c.tried {
		c.tried, c.first = true, version
	}
	if err := t.lake.bucket.PutIfAbsent(ctx, t.root+commitKey(version), data); err != nil {
		return fmt.Errorf("commit version %d: %w", version, err)
	}
	if err := fault.Hit(fault.CommitResponseLost); err != nil {
		return fmt.Errorf("commit version %d: %w: %w", version, ErrAmbiguous, err)
	}
	return fault.Hit(fault.AfterCommitPut)
}

// settled tells whether the change is in the log already, and if not, whether it
// may be made. Only a change that was tried before can be told apart from
// another program's: on the first try, a mark that is elsewhere is the
// caller's mistake.
func (t *Table) settled(ctx context.Context, s *Snapshot, c *change) (done bool, err error) {
	m, open := s.Marks[c.rng.Source]
	if open && m.Commit == c.id {
		return true, nil
	}
	if c.tried && open && m.Through != c.rng.After {
		// Somebody moved the mark. It may have been we, and another after us.
		if done, err := t.contains(ctx, c, s.Version); done || err != nil {
			return done, err
		}
	}
	if s.metaVersion != t.metaVersion {
		return false, &ConflictError{s.metaVersion, c.rng.Source, "it set the table's protocol or metadata"}
	}
	if epoch := s.newestEpoch(c.rng.Source); epoch > c.rng.Epoch {
		// Whoever opened it took the stream over: a server that went on would
		// land a log that nobody reads back.
		return false, &ConflictError{s.Version, c.rng.Source, fmt.Sprintf("it opened epoch %d, so that this server is no longer the one of the stream", epoch)}
	}
	switch {
	case c.opens && open && m.Floor == c.mark.Floor:
		return true, nil
	case c.opens && open:
		return false, fmt.Errorf("the epoch is open already, from %d, not %d; choose the next epoch", m.Floor, c.mark.Floor)
	case !c.opens && !open:
		return false, fmt.Errorf("the table does not know source %s; open its epoch first", c.rng.Source)
	case !c.opens && m.Through != c.rng.After && c.tried:
		return false, &ConflictError{s.Version, c.rng.Source, fmt.Sprintf("it moved the position to %d", m.Through)}
	case !c.opens && m.Through != c.rng.After:
		return false, &event.GapError{Block: c.rng, Applied: m.Through}
	case !c.opens && c.rng.Empty() && len(c.files) == 0:
		return true, nil // nothing to say
	}
	return false, c.check(m)
}

// contains looks for the change's commit among the versions at which it can be.
func (t *Table) contains(ctx context.Context, c *change, through int64) (bool, error) {
	for v := c.first; v <= through; v++ {
		actions, err := t.readCommit(ctx, v)
		if err != nil {
			return false, err
		}
		for _, a := range actions {
			if a.CommitInfo != nil && a.CommitInfo.TxnID == c.id {
				return true, nil
			}
		}
	}
	return false, nil
}

// check refuses a change that contradicts itself or the mark m before it.
func (c *change) check(m Mark) error {
	if c.rng.Through > math.MaxInt64 {
		return fmt.Errorf("sequence %d does not fit a txn version", c.rng.Through)
	}
	if c.opens {
		return nil
	}
	if c.mark.Through != c.rng.Through || c.mark.Floor != m.Floor {
		return fmt.Errorf("mark (%d,%d] does not belong to a commit of %s over floor %d", c.mark.Floor, c.mark.Through, c.rng, m.Floor)
	}
	for _, f := range c.files {
		if f.epoch != c.rng.Epoch || f.partition != c.rng.Partition || f.seqs[0] <= c.rng.After || f.seqs[1] > c.rng.Through {
			return fmt.Errorf("file %s holds %d/%d seq %d to %d, which is not in the range", f.Path, f.epoch, f.partition, f.seqs[0], f.seqs[1])
		}
	}
	return nil
}

// actions are the lines of the change's commit on top of a snapshot.
func (t *Table) actions(s *Snapshot, c *change) []action {
	now := t.lake.cfg.Now().UnixMilli()
	marks := make(map[string]Mark, len(s.Marks)+1)
	for src, m := range s.Marks {
		marks[src.String()] = m
	}
	mark := c.mark
	mark.Commit = c.id
	marks[c.rng.Source.String()] = mark
	out := []action{
		{CommitInfo: &commitInfo{
			Timestamp: now, Operation: c.operation, OperationParameters: map[string]any{"range": c.rng.String()},
			EngineInfo: engineInfo, TxnID: c.id, IsBlindAppend: true, Tailwater: &commitTailwater{marks},
		}},
		{Txn: &txn{appID(s.TableID, c.rng.Source), int64(c.rng.Through), now}},
	}
	for _, f := range c.files {
		out = append(out, action{Add: &add{
			Path: url.PathEscape(f.Path), PartitionValues: map[string]string{}, Size: f.Size,
			ModificationTime: now, DataChange: true, Stats: f.Stats,
		}})
	}
	return out
}

// checkpoint writes a checkpoint when it is time. Its failing is no failure of the
// commit: the next one tries again, and until then restarts replay more.
func (t *Table) checkpoint(ctx context.Context, s *Snapshot) {
	if s.Version%int64(t.lake.cfg.CheckpointEvery) != 0 {
		return
	}
	if err := t.writeCheckpoint(ctx, s); err != nil {
		t.lake.cfg.Log.Warn("lake: checkpoint not written", "table", t.schema.Stream, "error", err)
	}
}
