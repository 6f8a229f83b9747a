package lake

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/tailwater/tailwater/event"
)

const (
	// groupRows is how many rows a row group holds. 64 Ki: a reader of a narrow
	// range decodes at most one group more than it needs, and a group is still
	// some megabytes, large enough for one request each column.
	groupRows = 64 << 10
	// dictionaryBytes bounds a text column's dictionary; over it the column goes
	// on as plain text. 1 MB holds the categories that a dictionary pays for.
	dictionaryBytes = 1 << 20
)

// A DataFile is a finished Parquet file that no table refers to yet.
type DataFile struct {
	Path  string // name below the table's root
	Local string // where its bytes are
	Size  int64  // bytes
	Rows  int64
	Stats string // of the Delta add

	epoch, partition uint32
	seqs             [2]uint64 // least and greatest
}

// A FileWriter writes one data file. It holds one row group in memory. The file
// must be finished or aborted; before Finish it is no Parquet file. A FileWriter
// is used by one goroutine.
type FileWriter struct {
	schema  *event.Schema
	columns []*columnWriter
	local   string
	file    *os.File
	buf     *bufio.Writer
	out     *parquet.GenericWriter[any]
	rows    int64
	group   int // rows of the open row group
	epoch   uint32
	part    uint32
	seqs    [2]uint64
}

// NewFileWriter begins a file, with a name that no other file will have, in
// the local directory dir.
func NewFileWriter(schema *event.Schema, dir string) (*FileWriter, error) {
	path := filepath.Join(dir, "part-"+uuid.NewString()+".parquet")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data file: %w", err)
	}
	w := &FileWriter{schema: schema, local: path, file: f, buf: bufio.NewWriterSize(f, 256<<10)}
	options := []parquet.WriterOption{
		parquetSchema(schema),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.DictionaryMaxBytes(dictionaryBytes),
		parquet.CreatedBy("tailwater", "", ""),
	}
	for _, c := range schema.Relation() {
		switch c.Kind {
		case event.Float, event.Double, event.Varchar, event.JSON, event.Blob:
			// Bounds of doubles leave NaN out, and engines to which NaN is the greatest
			// value would skip row groups that hold it. Texts come in any order, so that
			// every page has about the same bounds: finding them is work for nothing, and
			// the add's statistics have the file's.
			options = append(options, parquet.SkipPageBounds(c.Name))
		}
	}
	w.out = parquet.NewGenericWriter[any](w.buf, options...)
	for i, c := range schema.Relation() {
		w.columns = append(w.columns, newColumnWriter(c, i, w.out.ColumnWriters()[i]))
	}
	return w, nil
}

// Rows is how many rows were written.
func (w *FileWriter) Rows() int64 { return w.rows }

// Size is about how many bytes the file takes so far; the open row group is
// counted before compression.
func (w *FileWriter) Size() int64 { return w.out.Size() }

// Write appends the rows of a block. All blocks of a file are of one epoch and
// partition, and follow each other. After an error the file can only be aborted.
func (w *FileWriter) Write(b *event.Block) error {
	n := b.Len()
	if n == 0 {
		return nil
	}
	if w.rows == 0 {
		w.epoch, w.part, w.seqs[0] = b.Epoch, b.Partition, b.Runs[0].Seq
	}
	if b.Epoch != w.epoch || b.Partition != w.part || b.Runs[0].Seq < w.seqs[1] {
		return fmt.Errorf("data file %s: block %s does not belong behind %d/%d seq %d", filepath.Base(w.local), b.Range, w.epoch, w.part, w.seqs[1])
	}
	for from := 0; from < n; {
		to := min(n, from+groupRows-w.group)
		if err := writeColumns(w.columns, b, from, to); err != nil {
			return fmt.Errorf("data file %s: %w", filepath.Base(w.local), err)
		}
		if w.group += to - from; w.group == groupRows {
			if err := w.out.Flush(); err != nil {
				return fmt.Errorf("data file %s: %w", filepath.Base(w.local), err)
			}
			w.group = 0
		}
		from = to
	}
	w.rows += int64(n)
	w.seqs[1] = b.Runs[len(b.Runs)-1].Seq
	return nil
}

// Finish completes the file. Its bytes are handed to the system, not yet synced:
// the bucket's PutFile does that. An empty file is removed and reported as nil.
func (w *FileWriter) Finish() (*DataFile, error) {
	if w.rows == 0 {
		return nil, w.Abort()
	}
	stats, err := encodeStats(w.rows, w.columns)
	if err == nil {
		err = w.out.Close()
	}
	if err == nil {
		err = w.buf.Flush()
	}
	var size int64
	if err == nil {
		var info os.FileInfo
		if info, err = w.file.Stat(); err == nil {
			size = info.Size()
		}
	}
	if err = errors.Join(err, w.file.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("finish data file: %w", err), os.Remove(w.local))
	}
	return &DataFile{
		Path: filepath.Base(w.local), Local: w.local, Size: size, Rows: w.rows, Stats: stats,
		epoch: w.epoch, partition: w.part, seqs: w.seqs,
	}, nil
}

// Abort removes the file.
func (w *FileWriter) Abort() error {
	return errors.Join(w.file.Close(), os.Remove(w.local))
}
