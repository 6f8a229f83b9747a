package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tailwater/tailwater/event"
)

// A Mark is how far a table holds one source. The counters are cumulative over
// the source, Floor to Through.
type Mark struct {
	// Floor is where the epoch begins: its first message has a greater sequence.
	Floor uint64 `json:"floor"`
	// FloorTime is the log time with which the epoch began, µs since 1970.
	FloorTime int64 `json:"floorTime"`
	// Through is the last sequence that the table covers, inclusive. It is the
	// version of the source's txn.
	Through uint64 `json:"through"`
	// Stamp is the writer's time stamp of the message at Through, µs since 1970;
	// 0 as long as there was none.
	Stamp int64 `json:"stamp"`
	// LogTime is the running maximum of the log's time through Through, µs
	// since 1970.
	LogTime    int64  `json:"logTime"`
	Accepted   uint64 `json:"accepted"`
	Refused    uint64 `json:"refused"`
	Duplicates uint64 `json:"duplicates"`
	// Commit is the txnId of the commit that set the mark; Append fills it in.
	Commit string `json:"commit"`
}

// A File is an active data file of a snapshot. The pairs are its least and
// greatest values, as wide as can be where the file's statistics do not tell.
type File struct {
	Path       string // below the table's root
	Size       int64  // bytes
	Rows       int64  // -1 if unknown
	Epochs     [2]uint32
	Partitions [2]uint32
	Seqs       [2]uint64
	At         [2]int64 // _ingested_at, µs since 1970, rounded outwards

	times map[string][2]int64 // likewise of the stream's own columns, if it is known
	whole bool                // the statistics know each column of the stream, so the file has them
	add   add
}

// overlaps reports whether the file may hold rows of the range.
func (f *File) overlaps(r event.Range) bool {
	return f.Epochs[0] <= r.Epoch && r.Epoch <= f.Epochs[1] &&
		f.Partitions[0] <= r.Partition && r.Partition <= f.Partitions[1] &&
		f.Seqs[0] <= r.Through && r.After < f.Seqs[1]
}

// within reports whether every row of the file is of the range.
func (f *File) within(r event.Range) bool {
	return f.Epochs == [2]uint32{r.Epoch, r.Epoch} && f.Partitions == [2]uint32{r.Partition, r.Partition} && r.After < f.Seqs[0] && f.Seqs[1] <= r.Through
}

// outside reports whether no row of the file has a value within the bounds.
func (f *File) outside(within Bounds) bool {
	for name, at := range f.times {
		if b, ok := within[strings.ToLower(name)]; ok && (at[1] < b.Least || at[0] > b.Greatest) {
			return true
		}
	}
	return false
}

// A Snapshot is one version of a table. It never changes and may be used by
// several goroutines, for as long as its files are not vacuumed away.
type Snapshot struct {
	Version  int64
	TableID  string
	CommitID string // txnId of the version's commit; empty if another program wrote it
	Schema   *event.Schema
	Marks    map[event.Source]Mark
	Files    []File // by position

	lake        *Lake
	root        string
	protocol    protocol
	meta        metaData
	metaVersion int64             // of the last commit that set protocol or metadata
	txns        map[string]txn    // by appId
	removed     map[string]remove // tombstones, for checkpoints
}

// newestEpoch is the newest epoch of the source's stream and partition; 0 if
// there is none.
func (s *Snapshot) newestEpoch(of event.Source) (epoch uint32) {
	for src := range s.Marks {
		if src.Stream == of.Stream && src.Partition == of.Partition {
			epoch = max(epoch, src.Epoch)
		}
	}
	return epoch
}

// Through gives the cut of everything that the table holds.
func (s *Snapshot) Through() event.Cut {
	cut := event.Cut{}
	for src, m := range s.Marks {
		cut[src] = m.Through
	}
	return cut
}

// Overlapping gives the active files that may hold rows of the ranges, by their
// statistics, each once.
func (s *Snapshot) Overlapping(ranges []event.Range) []File {
	var out []File
	for _, f := range s.Files {
		if slices.ContainsFunc(ranges, func(r event.Range) bool { return !r.Empty() && f.overlaps(r) }) {
			out = append(out, f)
		}
	}
	return out
}

// Rows is how many rows the active files hold together.
func (s *Snapshot) Rows() int64 {
	var n int64
	for _, f := range s.Files {
		n += max(f.Rows, 0)
	}
	return n
}

// tombstoneLife is how long a checkpoint keeps the names of removed files, as
// long as vacuum keeps the files: 7 days, the default of Delta's
// delta.deletedFileRetentionDuration.
const tombstoneLife = 7 * 24 * time.Hour

// next gives the snapshot after one more commit. The receiver is not changed.
func (s *Snapshot) next(version int64, actions []action) (*Snapshot, error) {
	n := *s
	n.Version, n.CommitID = version, ""
	n.Marks, n.txns, n.removed = maps.Clone(s.Marks), maps.Clone(s.txns), maps.Clone(s.removed)
	var info *commitInfo
	added, gone := map[string]*add{}, map[string]bool{}
	for _, a := range actions {
		switch {
		case a.Protocol != nil:
			n.protocol, n.metaVersion = *a.Protocol, version
		case a.MetaData != nil:
			n.meta, n.TableID, n.metaVersion = *a.MetaData, a.MetaData.ID, version
		case a.Txn != nil:
			n.txns[a.Txn.AppID] = *a.Txn
		case a.CommitInfo != nil:
			info = a.CommitInfo
		case a.Add != nil:
			added[a.Add.Path] = a.Add
		case a.Remove != nil:
			gone[a.Remove.Path] = true
			n.removed[a.Remove.Path] = *a.Remove
		}
	}
	if info != nil {
		n.CommitID = info.TxnID
		if err := n.takeMarks(info.Tailwater); err != nil {
			return nil, fmt.Errorf("commit version %d: %w", version, err)
		}
	}
	if err := n.check(); err != nil {
		return nil, fmt.Errorf("commit version %d: %w", version, err)
	}
	if err := n.takeFiles(s.Files, added, gone); err != nil {
		return nil, fmt.Errorf("commit version %d: %w", version, err)
	}
	return &n, nil
}

// takeFiles sets the active files: the old ones, without what the commit
// replaces or removes, and those that it adds.
func (s *Snapshot) takeFiles(old []File, added map[string]*add, gone map[string]bool) error {
	s.Files = make([]File, 0, len(old)+len(added))
	for _, f := range old {
		if !gone[f.add.Path] && added[f.add.Path] == nil {
			s.Files = append(s.Files, f)
		}
	}
	for _, a := range added {
		delete(s.removed, a.Path)
		f, err := s.newFile(a)
		if err != nil {
			return err
		}
		s.Files = append(s.Files, f)
	}
	slices.SortFunc(s.Files, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Epochs[0], b.Epochs[0]), cmp.Compare(a.Partitions[0], b.Partitions[0]),
			cmp.Compare(a.Seqs[0], b.Seqs[0]), strings.Compare(a.Path, b.Path))
	})
	return nil
}

// newFile reads an add. Rows without positions would be counted by nobody, or
// twice: data that another program appended is refused by name.
func (s *Snapshot) newFile(a *add) (File, error) {
	path, err := filePath(a.Path)
	if err != nil {
		return File{}, err
	}
	f := File{Path: path, Size: a.Size, add: *a}
	known, err := f.decodeStats(a.Stats, s.Schema)
	if err != nil {
		return File{}, err
	}
	if a.DataChange && !(known && s.covers(&f)) {
		return File{}, fmt.Errorf("file %s was added by another program and holds rows at no position of the log; restore the table to the version before, and send the rows through the stream", path)
	}
	return f, nil
}

// covers reports whether all positions of the file are landed ones.
func (s *Snapshot) covers(f *File) bool {
	for src, m := range s.Marks {
		if f.Epochs[0] == src.Epoch && f.Epochs[1] == src.Epoch && f.Partitions[0] == src.Partition && f.Partitions[1] == src.Partition {
			return f.Seqs[0] > m.Floor && f.Seqs[1] <= m.Through
		}
	}
	// A rewrite may hold rows of several sources.
	return f.Epochs[0] != f.Epochs[1] || f.Partitions[0] != f.Partitions[1]
}

// takeMarks takes over the marks that a commit carries: those of all sources.
func (s *Snapshot) takeMarks(t *commitTailwater) error {
	if t == nil {
		return nil // written by another program
	}
	s.Marks = make(map[event.Source]Mark, len(t.Sources))
	for text, m := range t.Sources {
		src, err := parseSource(text)
		if err != nil {
			return err
		}
		s.Marks[src] = m
	}
	return nil
}

// check proves that the marks agree with the txns, and that the table is one
// that this program can read.
func (s *Snapshot) check() error {
	if s.protocol.MinReaderVersion > 1 || s.protocol.MinWriterVersion > 2 {
		return fmt.Errorf("the table was raised to reader version %d, writer version %d; this program knows 1 and 2: restore the table to the version before", s.protocol.MinReaderVersion, s.protocol.MinWriterVersion)
	}
	if len(s.meta.PartitionColumns) > 0 {
		return fmt.Errorf("the table is partitioned by %v; restore the table to the version before", s.meta.PartitionColumns)
	}
	ours := 0
	for src, m := range s.Marks {
		t, ok := s.txns[appID(s.TableID, src)]
		if !ok || t.Version < 0 || uint64(t.Version) != m.Through {
			return fmt.Errorf("source %s: the mark says %d and the txn %d (there: %t); the log of the table was changed by hand: restore it", src, m.Through, t.Version, ok)
		}
		ours++
	}
	for id := range s.txns {
		if strings.HasPrefix(id, "tailwater/"+s.TableID+"/") {
			ours--
		}
	}
	if ours != 0 {
		return errors.New("a txn of this table has no mark; the log of the table was changed by hand: restore it")
	}
	return nil
}

// LocalPaths gives a local file for each data file, which nothing will change:
// the file itself in a directory bucket, else a copy that is fetched once.
func (s *Snapshot) LocalPaths(ctx context.Context, files []File) ([]string, error) {
	out := make([]string, len(files))
	for i, f := range files {
		path, ok := s.lake.bucket.LocalPath(s.root + f.Path)
		if !ok {
			path = s.lake.cachePath(s.TableID, f.Path)
			if err := s.fetch(ctx, f, path); err != nil {
				return nil, fmt.Errorf("fetch %s of version %d: %w", f.Path, s.Version, err)
			}
		}
		out[i] = path
	}
	return out, nil
}

// fetch makes the cached copy of a file. The rename at the end makes it whole or
// absent after a crash; two fetches of one file are harmless.
func (s *Snapshot) fetch(ctx context.Context, f File, path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() == f.Size {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	r, err := s.lake.bucket.Get(ctx, s.root+f.Path)
	if err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(path), tempPrefix+uuid.NewString())
	n, err := copyTo(temp, r)
	if err = errors.Join(err, r.Close()); err == nil && n != f.Size {
		err = fmt.Errorf("got %d bytes of %d", n, f.Size)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // what stays of it is never read
		return err
	}
	return nil
}
