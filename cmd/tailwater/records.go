package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A fileFormat is how a file holds events.
type fileFormat string

const (
	formatNDJSON  fileFormat = "ndjson"
	formatJSON    fileFormat = "json" // an array, or objects one behind the other
	formatCSV     fileFormat = "csv"
	formatParquet fileFormat = "parquet"
)

// recordBytesMax is the longest line that is read: far beyond the 1 MiB that the
// server takes, so that the server refuses what is merely too large.
const recordBytesMax = 16 << 20

// A recordSource gives a file's events one by one as JSON objects.
type recordSource interface {
	// next gives the next record and its number in the file, from 1; io.EOF
	// at the end. The bytes are the caller's.
	next(ctx context.Context) (record []byte, number int64, err error)
	// unit is what number counts: line or record.
	unit() string
	// fraction is how much of the file is read, 0 to 1; negative if unknown.
	fraction() float64
	close() error
}

// openRecords opens a file, or stdin for "-", whose format is given or else told
// by its name and first bytes.
func openRecords(ctx context.Context, path string, format fileFormat, stdin io.Reader) (recordSource, error) {
	counted := &countingReader{r: stdin}
	closer := func() error { return nil }
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s is a folder; give a file", path)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		counted = &countingReader{r: f, size: info.Size()}
		closer = f.Close
	}
	in, err := decompress(bufio.NewReaderSize(counted, 256<<10))
	if err != nil {
		return nil, errors.Join(err, closer())
	}
	if format == "" {
		format = detectFormat(path, in)
	}
	switch format {
	case formatCSV, formatParquet:
		err := closer() // the engine opens it by itself
		if path == "-" {
			return nil, fmt.Errorf("%s cannot be read from standard input: it is not JSON; save it as a file and send that", format)
		}
		if err != nil {
			return nil, err
		}
		return openTable(ctx, path, format)
	case formatJSON:
		s, err := newJSONSource(in, counted, closer)
		if err != nil {
			return nil, errors.Join(err, closer())
		}
		return s, nil
	}
	return &lineSource{in: in, counted: counted, closer: closer}, nil
}

// decompress undoes gzip and zstd, told by their first bytes.
func decompress(in *bufio.Reader) (*bufio.Reader, error) {
	magic, _ := in.Peek(4) // a shorter file is neither
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return bufio.NewReaderSize(z, 256<<10), nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return bufio.NewReaderSize(z, 256<<10), nil
	}
	return in, nil
}

// detectFormat goes by the file's name, and for JSON and unknown names by its
// first bytes: a first line that is one JSON value makes it NDJSON.
func detectFormat(path string, in *bufio.Reader) fileFormat {
	name := strings.ToLower(filepath.Base(path))
	for _, ext := range []string{".gz", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, ext)
	}
	switch filepath.Ext(name) {
	case ".parquet", ".pq":
		return formatParquet
	case ".csv", ".tsv":
		return formatCSV
	case ".ndjson", ".jsonl":
		return formatNDJSON
	}
	head, _ := in.Peek(64 << 10) // what is there is enough
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case bytes.HasPrefix(head, []byte("PAR1")):
		return formatParquet
	case bytes.HasPrefix(head, []byte("[")):
		return formatJSON
	case bytes.HasPrefix(head, []byte("{")):
		if line, _, whole := bytes.Cut(head, []byte("\n")); whole && !json.Valid(line) {
			return formatJSON
		}
		return formatNDJSON
	case len(head) == 0:
		return formatNDJSON
	}
	return formatCSV
}

// countingReader knows how much of a file was read.
type countingReader struct {
	r          io.Reader
	read, size int64 // size is 0 if unknown
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += int64(n)
	return n, err
}

func (c *countingReader) fraction() float64 {
	if c.size == 0 {
		return -1
	}
	return float64(c.read) / float64(c.size)
}

// lineSource passes the lines of NDJSON through as they are.
type lineSource struct {
	in      *bufio.Reader
	counted *countingReader
	closer  func() error
	line    int64
}

func (s *lineSource) next(context.Context) ([]byte, int64, error) {
	for {
		line, err := s.read()
		if len(line) > 0 || err == nil {
			s.line++
		}
		if s.line == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, s.line, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
}

func (s *lineSource) read() (line []byte, err error) {
	for {
		part, err := s.in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > recordBytesMax {
			return nil, fmt.Errorf("line %d is longer than %d bytes; is the file NDJSON? --format names another", s.line+1, recordBytesMax)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (s *lineSource) unit() string      { return "line" }
func (s *lineSource) fraction() float64 { return s.counted.fraction() }
func (s *lineSource) close() error      { return s.closer() }

// jsonSource gives the elements of a JSON array, or objects that stand one
// behind the other over any number of lines.
type jsonSource struct {
	d      *json.Decoder
	array  bool
	in     *countingReader
	closer func() error
	number int64
}

func newJSONSource(in *bufio.Reader, counted *countingReader, closer func() error) (*jsonSource, error) {
	s := &jsonSource{d: json.NewDecoder(in), in: counted, closer: closer}
	head, _ := in.Peek(64 << 10) // what is there is enough
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		head = head[3:]
		_, _ = in.Discard(3) // it was peeked
	}
	if s.array = bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("[")); !s.array {
		return s, nil
	}
	_, err := s.d.Token()
	return s, err
}

func (s *jsonSource) next(context.Context) ([]byte, int64, error) {
	if s.array && !s.d.More() {
		if _, err := s.d.Token(); err != nil { // the end of the array
			return nil, 0, s.fail(err)
		}
		return nil, 0, io.EOF
	}
	var raw json.RawMessage
	switch err := s.d.Decode(&raw); {
	case err == nil:
	case errors.Is(err, io.EOF) && !s.array:
		return nil, 0, io.EOF
	default:
		return nil, 0, s.fail(err)
	}
	s.number++
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, 0, s.fail(err)
	}
	return b.Bytes(), s.number, nil
}

func (s *jsonSource) fail(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("JSON after record %d: %w", s.number, err)
}

func (s *jsonSource) unit() string      { return "record" }
func (s *jsonSource) fraction() float64 { return s.in.fraction() }
func (s *jsonSource) close() error      { return s.closer() }

// A tableSource lets the engine read CSV and Parquet and write each row as JSON.
type tableSource struct {
	db     *duckdb.DB
	conn   *duckdb.Conn
	rows   *duckdb.Rows
	batch  *array.String
	at     int
	number int64
	total  int64
}

// tableFunction gives the FROM item that reads a file; path must be absolute.
// CSV is read as text: what a value means is for the stream's schema to say.
func tableFunction(path string, format fileFormat) string {
	if format == formatParquet {
		return "read_parquet(" + duckdb.Literal(path) + ")"
	}
	return "read_csv(" + duckdb.Literal(path) + ", all_varchar = true)"
}

func openTable(ctx context.Context, path string, format fileFormat) (_ *tableSource, err error) {
	s := &tableSource{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", path, err), s.close())
		}
	}()
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if s.db, err = openFileEngine(ctx, path); err != nil {
		return nil, err
	}
	if s.conn, err = s.db.Connect(); err != nil {
		return nil, err
	}
	from := tableFunction(path, format)
	columns, err := s.conn.Describe(ctx, "SELECT * FROM "+from)
	if err != nil {
		return nil, err
	}
	if format == formatParquet {
		count, err := s.conn.Collect(ctx, "SELECT count(*) FROM "+from) // from the file's footer
		if err != nil {
			return nil, err
		}
		s.total = count.Value(0, 0).(int64)
	}
	fields := make([]string, len(columns))
	for i, c := range columns {
		fields[i] = duckdb.Ident(c.Name) + " := " + jsonExact(duckdb.Ident(c.Name), c.SQLType)
	}
	s.rows, err = s.conn.Query(ctx, "SELECT to_json(struct_pack("+strings.Join(fields, ", ")+"))::VARCHAR FROM "+from)
	return s, err
}

// openFileEngine opens an engine that reads the directory of one file alone.
func openFileEngine(ctx context.Context, path string) (*duckdb.DB, error) {
	return duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "512MB", AllowedDirs: []string{filepath.Dir(path)}, Locked: true})
}

// jsonExact gives the expression that reaches JSON without loss. Ingest reads
// numbers from strings too, and a JSON number would round a DECIMAL to a double.
func jsonExact(column, sqlType string) string {
	name, _, _ := strings.Cut(sqlType, "(")
	switch {
	case strings.HasSuffix(sqlType, "]"):
		return column
	case slices.Contains([]string{"DECIMAL", "HUGEINT", "UHUGEINT", "UBIGINT", "FLOAT", "DOUBLE", "UUID", "ENUM"}, name):
		return column + "::VARCHAR"
	case name == "TIMESTAMP WITH TIME ZONE":
		return column + "::TIMESTAMP::VARCHAR" // the engine's zone is UTC
	case name == "BLOB":
		return "to_base64(" + column + ")"
	}
	return column
}

func (s *tableSource) next(ctx context.Context) ([]byte, int64, error) {
	for s.batch == nil || s.at == s.batch.Len() {
		batch, err := s.rows.Next(ctx)
		if err != nil {
			return nil, 0, err // io.EOF at the end
		}
		s.batch, s.at = batch.Column(0).(*array.String), 0
	}
	record := []byte(s.batch.Value(s.at))
	s.at++
	s.number++
	return record, s.number, nil
}

func (s *tableSource) unit() string { return "record" }

func (s *tableSource) fraction() float64 {
	if s.total == 0 {
		return -1
	}
	return float64(s.number) / float64(s.total)
}

// close is called once.
func (s *tableSource) close() error {
	var errs []error
	if s.rows != nil {
		errs = append(errs, s.rows.Close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}
