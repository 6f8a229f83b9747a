package lake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/tailwater/tailwater/event"
)

const hintKey = logDir + "_last_checkpoint"

// hint is the content of _last_checkpoint (PROTOCOL.md, "Last Checkpoint File").
type hint struct {
	Version int64 `json:"version"`
	Size    int64 `json:"size"` // actions
}

// readHint gives the checkpoint that the hint names. A hint that is missing or
// damaged is as good as none.
func (t *Table) readHint(ctx context.Context) (version int64, ok bool) {
	data, err := readAll(ctx, t.lake.bucket, t.root+hintKey)
	if err != nil {
		return 0, false
	}
	var h hint
	if err := json.Unmarshal(data, &h); err != nil || h.Version < 0 {
		return 0, false
	}
	return h.Version, true
}

// writeCheckpoint stores the snapshot as a single-file V1 checkpoint (PROTOCOL.md,
// "Checkpoints"), then the hint. A crash between the two leaves a checkpoint that
// a listing finds.
func (t *Table) writeCheckpoint(ctx context.Context, s *Snapshot) error {
	rows := []action{{Protocol: &s.protocol}, {MetaData: &s.meta}}
	for _, id := range slices.Sorted(maps.Keys(s.txns)) {
		x := s.txns[id]
		rows = append(rows, action{Txn: &x})
	}
	for i := range s.Files {
		a := s.Files[i].add
		a.DataChange = false // as the protocol asks of a checkpoint's adds
		rows = append(rows, action{Add: &a})
	}
	oldest := t.lake.cfg.Now().Add(-tombstoneLife).UnixMilli()
	for _, path := range slices.Sorted(maps.Keys(s.removed)) {
		if r := s.removed[path]; r.DeletionTimestamp >= oldest {
			r.DataChange = false
			rows = append(rows, action{Remove: &r})
		}
	}
	var out bytes.Buffer
	w := parquet.NewGenericWriter[action](&out, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}))
	_, err := w.Write(rows)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("checkpoint version %d: %w", s.Version, err)
	}
	if err := t.lake.bucket.Put(ctx, t.root+checkpointKey(s.Version), out.Bytes()); err != nil {
		return fmt.Errorf("checkpoint version %d: %w", s.Version, err)
	}
	text, err := json.Marshal(hint{s.Version, int64(len(rows))})
	if err != nil {
		return err
	}
	if err := t.lake.bucket.Put(ctx, t.root+hintKey, text); err != nil {
		return fmt.Errorf("checkpoint hint %d: %w", s.Version, err)
	}
	return nil
}

// loadCheckpoint gives the snapshot of a checkpoint. empty is a snapshot before
// version 0.
func (t *Table) loadCheckpoint(ctx context.Context, empty *Snapshot, version int64) (*Snapshot, error) {
	data, err := readAll(ctx, t.lake.bucket, t.root+checkpointKey(version))
	if err != nil {
		return nil, err
	}
	rows, err := decodeCheckpoint(data)
	if err != nil {
		return nil, fmt.Errorf("checkpoint version %d: %w", version, err)
	}
	info, err := t.lastOwnInfo(ctx, version)
	if err != nil {
		return nil, fmt.Errorf("checkpoint version %d: %w", version, err)
	}
	s, err := empty.next(version, append(rows, action{CommitInfo: info}))
	if err != nil {
		return nil, err
	}
	if s.TableID == "" {
		return nil, fmt.Errorf("checkpoint version %d has no metadata", version)
	}
	return s, nil
}

// decodeCheckpoint reads a checkpoint's actions. The Parquet library panics on some
// damage; a checkpoint can be done without, so that this is an error like others.
func decodeCheckpoint(data []byte) (rows []action, err error) {
	defer func() {
		if p := recover(); p != nil {
			rows, err = nil, fmt.Errorf("damaged: %v", p)
		}
	}()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	r := parquet.NewGenericReader[action](f)
	defer r.Close()
	rows = make([]action, r.NumRows())
	n, err := r.Read(rows)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n != len(rows) {
		return nil, fmt.Errorf("%d actions of %d could be read", n, len(rows))
	}
	return rows, nil
}

// lastOwnInfo gives the newest commitInfo of this program at or before a version:
// it carries the marks, which a checkpoint cannot. Commits of other programs,
// compactions say, are skipped: they leave the marks as they are. Only the commit
// at version itself may lend its txnId.
func (t *Table) lastOwnInfo(ctx context.Context, version int64) (*commitInfo, error) {
	id := ""
	for v := version; v >= 0; v-- {
		actions, err := t.readCommit(ctx, v)
		if errors.Is(err, ErrNotExist) {
			return nil, fmt.Errorf("no commit of this program is left at or before version %d, so that its marks are lost; restore %s", version, commitKey(v))
		}
		if err != nil {
			return nil, err
		}
		for _, a := range actions {
			if a.CommitInfo == nil {
				continue
			}
			if v == version {
				id = a.CommitInfo.TxnID
			}
			if a.CommitInfo.Tailwater != nil {
				info := *a.CommitInfo
				info.TxnID = id
				return &info, nil
			}
		}
	}
	return nil, fmt.Errorf("no commit at or before version %d is of this program", version)
}

// A ConflictError says that another program changed a table under its committer,
// so that to go on could lose or double rows. Restart the program: it then
// begins from what the table holds.
type ConflictError struct {
	Version int64        // the commit that was found
	Source  event.Source // empty if it is about none
	Reason  string
}

func (e *ConflictError) Error() string {
	of := ""
	if e.Source != (event.Source{}) {
		of = fmt.Sprintf(" (source %s)", e.Source)
	}
	return fmt.Sprintf("commit version %d is of another program: %s%s; stop the other one, then restart this one", e.Version, e.Reason, of)
}
