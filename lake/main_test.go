package lake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"github.com/tailwater/tailwater/event"
)

// s3 is where TestMain's S3 server listens: one a process, because the
// server keeps global state.
var s3 S3Options

// readersScript is the path of testdata/readers.py.
var readersScript string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lake-s3-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// The server's backend changes the working directory.
	if readersScript, err = filepath.Abs("testdata/readers.py"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := serveS3(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "s3 server:", err)
		return 1
	}
	return m.Run()
}

// serveS3 starts a real S3 server over a directory, with one bucket.
func serveS3(ctx context.Context, dir string) error {
	data, side := filepath.Join(dir, "data"), filepath.Join(dir, "meta")
	if err := errors.Join(os.MkdirAll(filepath.Join(data, "lake"), 0o755), os.MkdirAll(side, 0o755)); err != nil {
		return err
	}
	store, err := meta.NewSideCar(side)
	if err != nil {
		return err
	}
	be, err := posix.New(data, store, posix.PosixOpts{SideCarDir: side, Concurrency: 64})
	if err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := free.Addr().String()
	free.Close()
	failed := make(chan error, 1)
	go func() {
		failed <- embedgw.RunVersityGW(ctx, be, &embedgw.Config{
			RootUserAccess: "access", RootUserSecret: "secret-key", Region: "us-east-1", Ports: []string{addr},
			MaxConnections: 1000, MaxRequests: 500, MultipartMaxParts: 10000, Quiet: true, KeepAlive: true, IAMDir: side, IAMCacheDisable: true, // its pruner would spin
		})
	}()
	s3 = S3Options{Endpoint: "http://" + addr, AccessKey: "access", SecretKey: "secret-key"}
	for range 200 {
		if b, err := OpenBucket(ctx, "s3://lake", s3); err == nil && b != nil {
			return nil
		}
		select {
		case err := <-failed:
			return fmt.Errorf("ended: %w", err)
		case <-time.After(25 * time.Millisecond):
		}
	}
	return errors.New("does not answer")
}

var src = event.Source{Stream: "pay", Epoch: 1}

// allTypes has a column of every type that a stream or its dead letters can have.
func allTypes() *event.Schema {
	t := func(k event.Kind) event.Type { return event.Type{Kind: k} }
	dec := func(p, s uint8) event.Type { return event.Type{Kind: event.Decimal, Precision: p, Scale: s} }
	return &event.Schema{Stream: "pay", TimeColumn: 0, IDColumn: 1, Columns: []event.Column{
		{Name: "ts", Type: t(event.Timestamp), NotNull: true}, {Name: "id", Type: t(event.Varchar), NotNull: true},
		{Name: "ok", Type: t(event.Boolean)}, {Name: "tiny", Type: t(event.TinyInt)}, {Name: "small", Type: t(event.SmallInt)},
		{Name: "n", Type: t(event.Integer)}, {Name: "big", Type: t(event.BigInt)}, {Name: "f", Type: t(event.Float)},
		{Name: "d", Type: t(event.Double)}, {Name: "d9", Type: dec(9, 2)}, {Name: "d18", Type: dec(18, 4)}, {Name: "d38", Type: dec(38, 6)},
		{Name: "doc", Type: t(event.JSON)}, {Name: "raw", Type: t(event.Blob)}, {Name: "day", Type: t(event.Date)},
		{Name: "seen", Type: t(event.Timestamp)}, {Name: "Wéird name", Type: t(event.Varchar)},
	}}
}

// small is a schema of two columns.
func small() *event.Schema {
	return &event.Schema{Stream: "pay", TimeColumn: -1, IDColumn: -1, Columns: []event.Column{
		{Name: "k", Type: event.Type{Kind: event.Varchar}, NotNull: true}, {Name: "v", Type: event.Type{Kind: event.BigInt}},
	}}
}

// base is the log time of sequence 0 in tests, µs.
const base = 1_700_000_000_000_000

// block makes a block of the messages (after, through], with perMsg rows each.
// Values follow from the position. Every seventh value of a column that may be NULL is.
func block(schema *event.Schema, s event.Source, after, through uint64, perMsg int) *event.Block {
	b := &event.Block{Range: event.Range{Source: s, After: after, Through: through}, Schema: schema, LogTime: base + int64(through), Stamp: 7 * int64(through), Size: 64}
	if perMsg == 0 || after == through {
		return b
	}
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema.Arrow())
	defer rb.Release()
	for seq := after + 1; seq <= through; seq++ {
		b.Runs = append(b.Runs, event.Run{Seq: seq, At: base + int64(seq), Rows: perMsg})
		for i := range perMsg {
			for c, col := range schema.Columns {
				x := int64(seq)*1000 + int64(i)
				if !col.NotNull && (x+int64(c))%7 == 0 {
					rb.Field(c).AppendNull()
					continue
				}
				appendTestValue(rb.Field(c), col, x)
			}
		}
	}
	b.Batch = rb.NewRecordBatch()
	return b
}

func appendTestValue(b array.Builder, c event.Column, x int64) {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(x%2 == 0)
	case *array.Int8Builder:
		b.Append(int8(x))
	case *array.Int16Builder:
		b.Append(int16(x))
	case *array.Int32Builder:
		b.Append(int32(-x))
	case *array.Int64Builder:
		if c.Kind == event.Decimal && c.Precision <= 9 {
			x %= 999_999_999
		}
		b.Append(x * map[bool]int64{true: 1, false: -1}[x%2 == 0])
	case *array.Float32Builder:
		b.Append(float32(x) / 3)
	case *array.Float64Builder:
		switch x % 5 {
		case 0:
			b.Append(math.NaN())
		default:
			b.Append(float64(x) / 7)
		}
	case *array.Decimal128Builder:
		v := decimal128.FromI64(x).Mul(decimal128.FromI64(math.MaxInt64))
		if x%2 == 1 {
			v = v.Negate()
		}
		b.Append(v)
	case *array.StringBuilder:
		if c.Kind == event.JSON {
			b.Append(fmt.Sprintf(`{"x": %d, "s": "é'\""}`, x))
		} else {
			b.Append(fmt.Sprintf("key-%d with a text that is longer than the statistics keep, é", x))
		}
	case *array.BinaryBuilder:
		b.Append([]byte{0, byte(x), 0xff, byte(x >> 8)})
	case *array.Date32Builder:
		b.Append(arrow.Date32(x%40000 - 20000))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp((x%2000 - 1000) * 86_400_000_001))
	}
}

func sealedBlock(b *event.Block) *event.Block { b.Seal = true; return b }

// must ends the test on an error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func openLake(t *testing.T, b Bucket, every int) *Lake {
	t.Helper()
	return must(Open(t.Context(), b, Config{CacheDir: t.TempDir(), CheckpointEvery: every, Log: slog.New(slog.DiscardHandler)}))(t)
}

func openTable(t *testing.T, b Bucket, schema *event.Schema, every int) *Table {
	t.Helper()
	return must(openLake(t, b, every).Table(t.Context(), schema))(t)
}

// upload writes blocks to one data file and stores it.
func upload(t *testing.T, table *Table, blocks ...*event.Block) DataFile {
	t.Helper()
	w := must(NewFileWriter(table.Schema(), t.TempDir()))(t)
	for _, b := range blocks {
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	f := must(w.Finish())(t)
	if err := table.Upload(t.Context(), *f); err != nil {
		t.Fatal(err)
	}
	return *f
}

// land appends one block as one file.
func land(t *testing.T, table *Table, b *event.Block) *Snapshot {
	t.Helper()
	var files []DataFile
	if b.Len() > 0 {
		files = append(files, upload(t, table, b))
	}
	m := table.Latest().Marks[b.Source]
	m.Through, m.Stamp, m.LogTime, m.Accepted = b.Through, b.Stamp, b.LogTime, m.Accepted+uint64(b.Len())
	return must(table.Append(t.Context(), b.Range, files, m))(t)
}
