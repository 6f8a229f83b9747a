package lake

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// windowRows is how many rows a block of Read holds at most, unless one message
// has more. It bounds the memory of a read: some tens of megabytes of wide rows.
const windowRows = 64 << 10

// A place is where a file keeps one row, and which event that is.
type place struct {
	seq         uint64
	at          int64
	idx         uint32
	file, group int32
	row         int32 // in the group
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.idx, b.idx))
}

// Read yields the accepted events of r as an event.Reader. r must be covered by
// the snapshot. It needs nothing of how rows are laid out: files may overlap,
// and rows may be in any order, as a compaction that clusters by time leaves
// them. The block that ends at the source's mark is a seal.
func (s *Snapshot) Read(ctx context.Context, r event.Range, yield func(*event.Block) error) error {
	all := make([]int, len(s.Schema.Columns))
	for i := range all {
		all[i] = i
	}
	return s.read(ctx, r, all, yield)
}

// Only is a Reader of the same blocks for whoever looks at no other columns of the
// stream than those named: the others are not read, and are NULL in every row.
func (s *Snapshot) Only(names []string) event.Reader {
	n := narrowed{snapshot: s}
	for i, c := range s.Schema.Columns {
		if slices.Contains(names, c.Name) {
			n.columns = append(n.columns, i)
		}
	}
	return n
}

type narrowed struct {
	snapshot *Snapshot
	columns  []int
}

func (n narrowed) Read(ctx context.Context, r event.Range, yield func(*event.Block) error) error {
	return n.snapshot.read(ctx, r, n.columns, yield)
}

func (s *Snapshot) read(ctx context.Context, r event.Range, own []int, yield func(*event.Block) error) error {
	mark, err := s.covered(r)
	if err != nil {
		return err
	}
	logTime := int64(0)
	last := r.After
	err = s.windows(ctx, r, math.MinInt64, own, func(through uint64, rows []place, columns []arrow.Array) error {
		b := &event.Block{Range: event.Range{Source: r.Source, After: last, Through: through}, Schema: s.Schema, Size: 64}
		if len(rows) > 0 {
			b.Batch = array.NewRecordBatch(s.Schema.Arrow(), s.padded(own, columns, len(rows)), int64(len(rows)))
			b.Runs = runs(rows)
			logTime = max(logTime, rows[len(rows)-1].at)
			b.Size += blockSize(columns)
		}
		b.LogTime = logTime
		if through == mark.Through {
			b.Seal, b.LogTime, b.Stamp = true, mark.LogTime, mark.Stamp
		}
		last = through
		return yield(b)
	})
	if err != nil {
		return err
	}
	return ctx.Err()
}

// padded gives all columns of the stream, of which own were read.
func (s *Snapshot) padded(own []int, columns []arrow.Array, rows int) []arrow.Array {
	if len(own) == len(s.Schema.Columns) {
		return columns
	}
	out := make([]arrow.Array, len(s.Schema.Columns))
	for k, i := range own {
		out[i] = columns[k]
	}
	for i, c := range s.Schema.Columns {
		if out[i] == nil {
			out[i] = array.MakeArrayOfNull(memory.DefaultAllocator, c.Arrow(), rows)
		}
	}
	return out
}

// covered gives the mark of the range's source, which must reach to its end.
func (s *Snapshot) covered(r event.Range) (Mark, error) {
	m, ok := s.Marks[r.Source]
	if !ok {
		return m, fmt.Errorf("lake table %s: version %d does not know source %s", s.Schema.Stream, s.Version, r.Source)
	}
	if r.Through > m.Through {
		return m, fmt.Errorf("lake table %s: version %d covers %s through %d, not %d; take a newer snapshot", s.Schema.Stream, s.Version, r.Source, m.Through, r.Through)
	}
	return m, nil
}

// runs groups the rows of each message.
func runs(rows []place) []event.Run {
	var out []event.Run
	for from := 0; from < len(rows); {
		to, plain := from, true
		for to < len(rows) && rows[to].seq == rows[from].seq {
			plain = plain && rows[to].idx == uint32(to-from)
			to++
		}
		run := event.Run{Seq: rows[from].seq, At: rows[from].at, Rows: to - from}
		if !plain {
			for _, p := range rows[from:to] {
				run.Idx = append(run.Idx, p.idx)
			}
		}
		out = append(out, run)
		from = to
	}
	return out
}

func blockSize(columns []arrow.Array) int {
	n := 0
	for _, c := range columns {
		n += int(c.Data().SizeInBytes())
	}
	return n
}

// A ScanQuery asks for some columns of the rows of a range.
type ScanQuery struct {
	Range   event.Range
	Since   int64    // leave out rows with _ingested_at before it, µs since 1970
	Columns []string // the stream's own, in the order of ScanBatch.Columns
}

// RowsWithin is at most how many rows Scan yields, as far as the files' statistics
// tell.
func (s *Snapshot) RowsWithin(q ScanQuery) int {
	n := int64(0)
	for _, f := range s.Overlapping([]event.Range{q.Range}) {
		if f.At[1] >= q.Since {
			n += max(f.Rows, 0)
		}
	}
	return int(n)
}

// A ScanBatch is a run of rows in the order of their positions.
type ScanBatch struct {
	Seq     []uint64
	Idx     []uint32
	At      []int64 // _ingested_at, µs since 1970
	Columns []arrow.Array
}

// Scan yields the rows that q asks for, in the order of their positions, reading
// only its columns and only files whose statistics let them hold such rows.
func (s *Snapshot) Scan(ctx context.Context, q ScanQuery, yield func(ScanBatch) error) error {
	if _, err := s.covered(q.Range); err != nil {
		return err
	}
	var columns []int
	for _, name := range q.Columns {
		i := s.Schema.Index(name)
		if i < 0 {
			return fmt.Errorf("lake table %s has no column %q", s.Schema.Stream, name)
		}
		columns = append(columns, i)
	}
	return s.windows(ctx, q.Range, q.Since, columns, func(_ uint64, rows []place, columns []arrow.Array) error {
		if len(rows) == 0 {
			return nil
		}
		b := ScanBatch{make([]uint64, len(rows)), make([]uint32, len(rows)), make([]int64, len(rows)), columns}
		for i, p := range rows {
			b.Seq[i], b.Idx[i], b.At[i] = p.seq, p.idx, p.at
		}
		return yield(b)
	})
}

// Times gives _ingested_at, µs since 1970, of each message of the range that has
// rows.
func (s *Snapshot) Times(ctx context.Context, r event.Range) (map[uint64]int64, error) {
	out := map[uint64]int64{}
	err := s.Scan(ctx, ScanQuery{Range: r, Since: math.MinInt64}, func(b ScanBatch) error {
		for i, seq := range b.Seq {
			out[seq] = b.At[i]
		}
		return nil
	})
	return out, err
}

// windows cuts r into runs of whole messages of at most windowRows rows, and
// yields each with its rows in the order of their positions. The last window
// ends at r.Through, with or without rows.
//
// A window is found first, by the positions alone, and its other columns are read
// afterwards, from just the pages that hold its rows. So the memory is bounded by
// the window however the rows are laid out; where files overlap widely, their
// position columns are read once a window.
func (s *Snapshot) windows(ctx context.Context, r event.Range, since int64, columns []int, yield func(through uint64, rows []place, columns []arrow.Array) error) error {
	files := slices.DeleteFunc(s.Overlapping([]event.Range{r}), func(f File) bool { return f.At[1] < since })
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Seqs[0], b.Seqs[0]) })
	open := &openFiles{snapshot: s, files: files, readers: map[int]*fileReader{}}
	defer open.close()
	for at := r.After; at < r.Through; {
		if err := ctx.Err(); err != nil {
			return err
		}
		rest := event.Range{Source: r.Source, After: at, Through: r.Through}
		rows, through, err := open.window(ctx, rest, since, windowRows)
		if err != nil {
			return err
		}
		data, err := open.collect(ctx, rows, columns)
		if err != nil {
			return err
		}
		if err := yield(through, rows, data); err != nil {
			return err
		}
		open.release(through)
		at = through
	}
	return nil
}

// window gives the places of the first rows of the range, in order, and the last
// message that they cover: all of the range, if it has no more than limit rows.
func (o *openFiles) window(ctx context.Context, r event.Range, since int64, limit int) ([]place, uint64, error) {
	rows, err := o.smallest(ctx, r, since, limit+1)
	if err != nil {
		return nil, 0, err
	}
	through := r.Through
	if len(rows) > limit {
		// The message of the last place may be cut: leave it to the next window.
		next := rows[limit].seq
		n, _ := slices.BinarySearchFunc(rows, next, func(p place, seq uint64) int { return cmp.Compare(p.seq, seq) })
		rows, through = rows[:n], next-1
		if n == 0 {
			// It is the first one, and larger than a window: take it alone.
			r.Through, through = next, next
			if rows, err = o.smallest(ctx, r, since, math.MaxInt); err != nil {
				return nil, 0, err
			}
		}
	}
	for i := 1; i < len(rows); i++ {
		if a, b := rows[i-1], rows[i]; a.seq == b.seq && a.idx == b.idx {
			return nil, 0, fmt.Errorf("lake table %s: version %d holds position %s/%d.%d twice, in %s and %s; restore the version before the commit that doubled it",
				o.snapshot.Schema.Stream, o.snapshot.Version, r.Source, a.seq, a.idx, o.files[a.file].Path, o.files[b.file].Path)
		}
	}
	return rows, through, nil
}

// smallest gives the n first places of the range, in order, or all if there are
// fewer.
func (o *openFiles) smallest(ctx context.Context, r event.Range, since int64, n int) ([]place, error) {
	found := make([]place, 0, 2*min(n, windowRows+1)) // what trim lets it grow to
	last := r.Through                                 // places beyond it are not among the n first
	trim := func() {
		slices.SortFunc(found, comparePlaces)
		if len(found) > n {
			found = found[:n]
		}
		if len(found) == n {
			last = found[n-1].seq
		}
	}
	for i := range o.files {
		f := &o.files[i]
		if f.Seqs[0] > last {
			break // so are all files after it
		}
		if !f.overlaps(event.Range{Source: r.Source, After: r.After, Through: last}) {
			continue
		}
		fr, err := o.reader(ctx, i)
		if err != nil {
			return nil, err
		}
		for g := range fr.file.RowGroups() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if !fr.groupOverlaps(g, event.Range{Source: r.Source, After: r.After, Through: last}) {
				continue
			}
			pos, err := fr.positions(g)
			if err != nil {
				return nil, fmt.Errorf("lake table %s: file %s: %w", o.snapshot.Schema.Stream, f.Path, err)
			}
			for row, seq := range pos.seq {
				if seq > last || seq <= r.After || pos.at[row] < since || !pos.of(row, r.Source) {
					continue
				}
				found = append(found, place{seq, pos.at[row], pos.idx[row], int32(i), int32(g), int32(row)})
				if n < math.MaxInt/2 && len(found) >= 2*n {
					trim()
				}
			}
			trim()
		}
	}
	return found, nil
}
