package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/parquet-go/parquet-go"

	"github.com/tailwater/tailwater/event"
)

// maxOpenFiles bounds the descriptors that one read holds. A read of landed files
// has one or two open; 64 is for tables whose files overlap.
const maxOpenFiles = 64

// openFiles are the data files of one read, opened when first needed.
type openFiles struct {
	snapshot *Snapshot
	files    []File // by least sequence
	readers  map[int]*fileReader
}

func (o *openFiles) reader(ctx context.Context, i int) (*fileReader, error) {
	if fr := o.readers[i]; fr != nil {
		return fr, nil
	}
	if len(o.readers) >= maxOpenFiles {
		o.close()
	}
	paths, err := o.snapshot.LocalPaths(ctx, o.files[i:i+1])
	if err != nil {
		return nil, err
	}
	fr, err := openFile(paths[0])
	if err != nil {
		return nil, fmt.Errorf("lake table %s: file %s: %w", o.snapshot.Schema.Stream, o.files[i].Path, err)
	}
	o.readers[i] = fr
	return fr, nil
}

// release closes the files that hold nothing behind a position.
func (o *openFiles) release(through uint64) {
	for i, fr := range o.readers {
		if o.files[i].Seqs[1] <= through {
			_ = fr.f.Close() // opened for reading: nothing can be lost
			delete(o.readers, i)
		}
	}
}

func (o *openFiles) close() { o.release(math.MaxUint64) }

// collect reads columns of the rows, in the rows' order.
func (o *openFiles) collect(ctx context.Context, rows []place, columns []int) ([]arrow.Array, error) {
	if len(rows) == 0 || len(columns) == 0 {
		return nil, nil
	}
	// Read in the files' order, then put into the rows' order if that differs.
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := rows[a], rows[b]
		return cmp.Or(cmp.Compare(x.file, y.file), cmp.Compare(x.group, y.group), cmp.Compare(x.row, y.row))
	})
	out := make([]arrow.Array, len(columns))
	for k, c := range columns {
		b := newColumnBuilder(o.snapshot.Schema.Columns[c], memory.DefaultAllocator)
		for from := 0; from < len(order); {
			first := rows[order[from]]
			to := from
			for to < len(order) && rows[order[to]].file == first.file && rows[order[to]].group == first.group {
				to++
			}
			fr, err := o.reader(ctx, int(first.file))
			if err == nil {
				err = fr.column(int(first.group), b, order[from:to], rows)
			}
			if err != nil {
				return nil, fmt.Errorf("lake table %s: file %s: column %q: %w", o.snapshot.Schema.Stream, o.files[first.file].Path, b.column.Name, err)
			}
			from = to
		}
		out[k] = b.finish()
	}
	if slices.IsSorted(order) {
		return out, nil
	}
	slot := make([]int, len(order)) // where a row was read to
	for at, row := range order {
		slot[row] = at
	}
	for k := range out {
		out[k] = event.Take(out[k], slot)
	}
	return out, nil
}

// A fileReader reads columns of one Parquet file, ours or rewritten by another
// program: it goes by the columns' names and the values' physical types.
type fileReader struct {
	f      *os.File
	file   *parquet.File
	leaves map[string]int
	cached int // the row group that pos holds; -1 if none
	pos    positions
}

func openFile(path string) (*fileReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fr := &fileReader{f: f, leaves: map[string]int{}, cached: -1}
	info, err := f.Stat()
	if err == nil {
		fr.file, err = parquet.OpenFile(f, info.Size(), parquet.SkipBloomFilters(true))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for i, path := range fr.file.Schema().Columns() {
		if len(path) == 1 {
			fr.leaves[path[0]] = i
		}
	}
	return fr, nil
}

// positions are the position columns of a row group.
type positions struct {
	seq              []uint64
	idx              []uint32
	at               []int64
	epoch, partition []int64
}

func (p *positions) of(row int, s event.Source) bool {
	return p.epoch[row] == int64(s.Epoch) && p.partition[row] == int64(s.Partition)
}

// groupOverlaps tells by the group's statistics whether it may hold the range.
func (fr *fileReader) groupOverlaps(g int, r event.Range) bool {
	leaf, ok := fr.leaves[event.ColSeq]
	if !ok {
		return true // the error is found where the column is read
	}
	chunk, ok := fr.file.RowGroups()[g].ColumnChunks()[leaf].(*parquet.FileColumnChunk)
	if !ok {
		return true
	}
	lo, hi, ok := chunk.Bounds()
	if !ok || lo.Kind() != parquet.Int64 {
		return true
	}
	return lo.Int64() <= clampInt(r.Through) && clampInt(r.After) < hi.Int64()
}

func clampInt(v uint64) int64 { return int64(min(v, math.MaxInt64)) }

// positions gives the position columns of a row group; the last one is kept,
// because the next window often begins in it.
func (fr *fileReader) positions(g int) (*positions, error) {
	if fr.cached == g {
		return &fr.pos, nil
	}
	fr.cached = -1
	var cols [5][]int64
	for i, c := range event.PositionColumns {
		leaf, ok := fr.leaves[c.Name]
		if !ok {
			return nil, fmt.Errorf("no column %s: its rows have no positions", c.Name)
		}
		convert, plain, err := toInt(fr.file.Schema(), c)
		if err != nil {
			return nil, err
		}
		rows := fr.file.RowGroups()[g].NumRows()
		out := make([]int64, 0, rows)
		err = eachPage(fr.file.RowGroups()[g].ColumnChunks()[leaf], 0, rows, func(page parquet.Page) error {
			if plain {
				var done bool
				if out, done = pageInts(out, page); done {
					return nil
				}
			}
			return eachValue(page, func(v parquet.Value) error {
				if v.IsNull() {
					return fmt.Errorf("a row without %s", c.Name)
				}
				n, err := convert(v)
				out = append(out, n)
				return err
			})
		})
		if err != nil {
			return nil, err
		}
		cols[i] = out
	}
	n := len(cols[2])
	p := positions{epoch: cols[0], partition: cols[1], at: cols[4], seq: make([]uint64, n), idx: make([]uint32, n)}
	for i := range n {
		p.seq[i], p.idx[i] = uint64(cols[2][i]), uint32(cols[3][i])
	}
	fr.cached, fr.pos = g, p
	return &fr.pos, nil
}

// column appends to b the values of a row group's rows; order indexes rows, and
// is ascending by row in the group.
func (fr *fileReader) column(g int, b *columnBuilder, order []int, rows []place) error {
	leaf, ok := fr.leaves[b.column.Name]
	if !ok {
		if b.column.NotNull {
			return errors.New("is missing from the file")
		}
		for range order {
			b.null() // a file from before the column was added
		}
		return nil
	}
	if err := b.from(fr.file.Schema()); err != nil {
		return err
	}
	next := 0
	first, last := int64(rows[order[0]].row), int64(rows[order[len(order)-1]].row)
	whole := last-first+1 == int64(len(order)) // no row between them is left out
	row := first
	return eachPage(fr.file.RowGroups()[g].ColumnChunks()[leaf], first, last+1, func(page parquet.Page) error {
		if whole && b.page(page) {
			return nil
		}
		return eachValue(page, func(v parquet.Value) error {
			row++
			if !whole && int64(rows[order[next]].row) != row-1 {
				return nil
			}
			next++
			return b.append(v)
		})
	})
}

// eachValue calls f with the values of a flat page. The value is valid during the
// call.
func eachValue(page parquet.Page, f func(v parquet.Value) error) error {
	values := page.Values()
	var buf [256]parquet.Value
	for {
		n, err := values.ReadValues(buf[:])
		for _, v := range buf[:n] {
			if err := f(v); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrNoProgress
		}
	}
}
