package lake

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/fault"
)

// A table gains columns by one commit of its metadata, before anything writes rows with
// them. Files from before have no such columns: every reader goes by names, and takes
// what a file lacks as NULL.

// addColumns commits the schema with the missing columns on top of s. The caller reads
// the log again whatever the outcome: that a commit is there is told by its columns, so
// that a crash behind it, or a lost answer, needs no further care.
func (t *Table) addColumns(ctx context.Context, s *Snapshot, missing []event.Column) error {
	text, err := schemaString(t.schema)
	if err != nil {
		return err
	}
	meta := s.meta
	meta.SchemaString = text
	marks := make(map[string]Mark, len(s.Marks))
	for src, m := range s.Marks {
		marks[src.String()] = m
	}
	names := make([]string, len(missing))
	for i, c := range missing {
		names[i] = c.Name
	}
	data, err := encodeActions([]action{
		{CommitInfo: &commitInfo{
			Timestamp: t.lake.cfg.Now().UnixMilli(), Operation: "ADD COLUMNS", OperationParameters: map[string]any{"columns": names},
			EngineInfo: engineInfo, TxnID: uuid.NewString(), Tailwater: &commitTailwater{marks},
		}},
		{MetaData: &meta},
	})
	if err != nil {
		return err
	}
	if err := fault.Hit(fault.BeforeCommitPut); err != nil {
		return err
	}
	// The commit point.
	if err := t.lake.bucket.PutIfAbsent(ctx, t.root+commitKey(s.Version+1), data); err != nil {
		return fmt.Errorf("commit version %d: %w", s.Version+1, err)
	}
	if err := fault.Hit(fault.CommitResponseLost); err != nil {
		return fmt.Errorf("commit version %d: %w: %w", s.Version+1, ErrAmbiguous, err)
	}
	t.lake.cfg.Log.Info("lake: the table has new columns; they are NULL in what has landed", "table", t.schema.Stream, "columns", names)
	return fault.Hit(fault.AfterCommitPut)
}

// columnsOf gives the names of a data file's columns. A file never changes, so that its
// footer is read once.
func (l *Lake) columnsOf(path string) (map[string]int, error) {
	if known, ok := l.columns.Load(path); ok {
		return known.(map[string]int), nil
	}
	fr, err := openFile(path)
	if err != nil {
		return nil, err
	}
	_ = fr.f.Close() // opened for reading: nothing can be lost
	l.columns.Store(path, fr.leaves)
	return fr.leaves, nil
}

// A layout is files that lack the same columns of the stream.
type layout struct {
	lacks map[string]bool
	files []File
	paths []string
}

// layouts groups files, of which paths has the local copies. What the statistics know
// no count of NULLs of may be missing: then the file itself tells. Other writers keep
// statistics of some columns only.
func (s *Snapshot) layouts(files []File, paths []string) ([]*layout, error) {
	var out []*layout
	by := map[string]*layout{}
	for i, f := range files {
		lacks, key := map[string]bool{}, ""
		if !f.whole {
			have, err := s.lake.columnsOf(paths[i])
			if err != nil {
				return nil, fmt.Errorf("lake table %s: file %s: %w", s.Schema.Stream, f.Path, err)
			}
			for _, c := range s.Schema.Columns {
				if _, ok := have[c.Name]; !ok && !c.NotNull {
					lacks[c.Name] = true
					key += quote(c.Name)
				}
			}
		}
		l := by[key]
		if l == nil {
			l = &layout{lacks: lacks}
			by[key] = l
			out = append(out, l)
		}
		l.files, l.paths = append(l.files, f), append(l.paths, paths[i])
	}
	return out, nil
}
