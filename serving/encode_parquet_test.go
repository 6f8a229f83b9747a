package serving

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// formatNamed gives the index of a format.
func formatNamed(t testing.TB, mediaType string) int {
	for i, f := range formats {
		if f.mediaType == mediaType {
			return i
		}
	}
	t.Fatalf("no format %s", mediaType)
	return -1
}

const mediaParquet = "application/vnd.apache.parquet"

// readParquet lets the engine read a file's bytes.
func readParquet(t *testing.T, body []byte) *duckdb.Relation {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "answer.parquet")
	must(t, os.WriteFile(path, body, 0o644))
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1, AllowedDirs: []string{dir}})
	must(t, err)
	conn, err := db.Connect()
	must(t, err)
	t.Cleanup(func() { conn.Close(); db.Close() })
	rel, err := conn.Collect(t.Context(), "SELECT * FROM read_parquet("+duckdb.Literal(path)+")")
	must(t, err)
	return rel
}

func takeRows(batch arrow.RecordBatch, rows ...int) (out []arrow.Array) {
	for _, column := range batch.Columns() {
		out = append(out, event.Take(column, rows))
	}
	return out
}

func TestParquetReadsBackInAnotherReader(t *testing.T) {
	all := everyKindRows(t) // the third row has what no engine gives: text that is no UTF-8
	rows := array.NewRecordBatch(all.Schema(), takeRows(all, 0, 1, 3), 3)
	w := httptest.NewRecorder()
	if _, err := send(t.Context(), w, answerOf(everyKind, rows.NewSlice(0, 1), rows.NewSlice(1, 3)), formatNamed(t, mediaParquet), Config{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	rel := readParquet(t, w.Body.Bytes())
	if rel.Len() != 3 || len(rel.Columns) != len(everyKind) {
		t.Fatalf("%d rows of %v", rel.Len(), rel.Columns)
	}
	stored := duckdb.RecordBatch(rows)
	for k, name := range uniqueNames(everyKind) {
		if rel.Columns[k].Name != name {
			t.Errorf("column %d is %q, want %q", k, rel.Columns[k].Name, name)
		}
		typ := everyKind[k].Type
		if typ.Kind == event.JSON {
			typ.Kind = event.Varchar
		}
		want, err := cellOf(typ, stored.Column(k))
		must(t, err)
		at := 0
		for _, batch := range rel.Batches {
			got, err := cellOf(rel.Columns[k].Type, batch.Column(k))
			must(t, err)
			for i := range batch.Len() {
				if null := stored.Column(k).IsNull(at); null != batch.Column(k).IsNull(i) {
					t.Errorf("row %d, column %s: NULL differs", at, name)
				} else if !null {
					a, _ := got(nil, i)
					b, _ := want(nil, at)
					if string(a) != string(b) {
						t.Errorf("row %d, column %s: %s, want %s", at, name, a, b)
					}
				}
				at++
			}
		}
	}
}

func TestParquetWithoutRowsAndOfManyRowGroups(t *testing.T) {
	format := formatNamed(t, mediaParquet)
	w := httptest.NewRecorder()
	if _, err := send(t.Context(), w, answerOf([]event.Column{{Name: "i", Type: kind(event.BigInt)}}), format, Config{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if rel := readParquet(t, w.Body.Bytes()); rel.Len() != 0 || rel.Columns[0].Name != "i" {
		t.Errorf("%d rows, %v", rel.Len(), rel.Columns)
	}
	w = httptest.NewRecorder()
	if n, err := send(t.Context(), w, manyRows(200_000, io.EOF), format, Config{}, time.Now()); err != nil || n != 200_000 {
		t.Fatal(n, err)
	}
	if rel := readParquet(t, w.Body.Bytes()); rel.Len() != 200_000 {
		t.Errorf("%d rows", rel.Len())
	}
	columns := []event.Column{{Name: "h", Type: kind(event.HugeInt)}}
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	b.Field(0).(*array.Decimal128Builder).Append(decimal128.New(math.MinInt64, 0))
	if _, err := send(t.Context(), httptest.NewRecorder(), answerOf(columns, b.NewRecordBatch()), format, Config{}, time.Now()); err == nil {
		t.Error("a number of 39 digits is written")
	}
}

// measured are a million rows of a time, a text and a number, as dashboards ask for.
func measured() ([]event.Column, []arrow.RecordBatch) {
	columns := []event.Column{{Name: "at", Type: kind(event.Timestamp)}, {Name: "country", Type: kind(event.Varchar)}, {Name: "amount", Type: event.Type{Kind: event.Decimal, Precision: 12, Scale: 2}}}
	var batches []arrow.RecordBatch
	for len(batches) < 123 {
		b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
		for i := range 8192 {
			n := int64(len(batches)*8192 + i)
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(1_767_225_600_000_000 + n*1_000_003))
			b.Field(1).(*array.StringBuilder).Append([]string{"DE", "FR", "ES", "PT"}[n%4])
			b.Field(2).(*array.Int64Builder).Append(n * 7919 % 1_000_000)
		}
		batches = append(batches, b.NewRecordBatch())
	}
	return columns, batches
}

// discard is a response that nobody reads.
type discard struct{ *httptest.ResponseRecorder }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkFormats(b *testing.B) {
	columns, batches := measured()
	for i, f := range formats {
		b.Run(strings.ReplaceAll(f.mediaType, "/", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a := answerOf(columns, batches...)
				if n, err := send(context.Background(), discard{httptest.NewRecorder()}, a, i, Config{}, time.Now()); err != nil || n < 1_000_000 {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func TestArrowIsManyTimesFasterThanNDJSON(t *testing.T) {
	columns, batches := measured()
	took := func(mediaType string) time.Duration {
		format, best := formatNamed(t, mediaType), time.Duration(math.MaxInt64)
		for range 3 { // the machine does other things too
			began := time.Now()
			if _, err := send(t.Context(), discard{httptest.NewRecorder()}, answerOf(columns, batches...), format, Config{}, began); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	arrow, lines := took("application/vnd.apache.arrow.stream"), took("application/x-ndjson")
	t.Logf("1 M rows: Arrow %s, NDJSON %s", arrow.Round(time.Millisecond), lines.Round(time.Millisecond))
	if lines < 5*arrow {
		t.Errorf("Arrow %s is not five times faster than NDJSON, %s", arrow, lines)
	}
}

func TestTimesAreWrittenAsTheStandardLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	check := func(micros int64) {
		if got, want := string(appendTime(nil, micros)), time.UnixMicro(micros).UTC().Format(timeLayout); got != want {
			t.Fatalf("%d: %s, want %s", micros, got, want)
		}
	}
	for _, day := range []int64{0, -1, 719_468, -719_162, -719_163, -719_528, 2_932_896, 2_932_897, 11_016, 11_017, 19_782} {
		for _, rest := range []int64{0, 1, 10, 86_399_999_999, 43_200_120_000} {
			check(day*86_400_000_000 + rest)
		}
	}
	for range 200_000 {
		check(r.Int64N(1<<59) - 1<<58)
	}
}
