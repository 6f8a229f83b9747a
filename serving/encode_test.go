package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

func kind(k event.Kind) event.Type { return event.Type{Kind: k} }

// everyKind has one column of each kind, and one name twice.
var everyKind = []event.Column{
	{Name: "bool", Type: kind(event.Boolean)}, {Name: "i8", Type: kind(event.TinyInt)}, {Name: "i16", Type: kind(event.SmallInt)},
	{Name: "i32", Type: kind(event.Integer)}, {Name: "i64", Type: kind(event.BigInt)}, {Name: "huge", Type: kind(event.HugeInt)},
	{Name: "f32", Type: kind(event.Float)}, {Name: "f64", Type: kind(event.Double)},
	{Name: "dec", Type: event.Type{Kind: event.Decimal, Precision: 10, Scale: 2}},
	{Name: "wide", Type: event.Type{Kind: event.Decimal, Precision: 38, Scale: 10}},
	{Name: "text", Type: kind(event.Varchar)}, {Name: "doc", Type: kind(event.JSON)}, {Name: "blob", Type: kind(event.Blob)},
	{Name: "day", Type: kind(event.Date)}, {Name: "ts", Type: kind(event.Timestamp)}, {Name: "TS", Type: kind(event.Timestamp)},
}

func wideNum(t *testing.T, digits string) decimal128.Num {
	t.Helper()
	n, err := decimal128.FromString(digits, 38, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// everyKindRows are three rows of values at their limits, and a row of NULLs.
func everyKindRows(t *testing.T) arrow.RecordBatch {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(everyKind))
	add := func(values ...any) {
		for i, v := range values {
			switch f := b.Field(i).(type) {
			case *array.BooleanBuilder:
				f.Append(v.(bool))
			case *array.Int8Builder:
				f.Append(int8(v.(int)))
			case *array.Int16Builder:
				f.Append(int16(v.(int)))
			case *array.Int32Builder:
				f.Append(int32(v.(int)))
			case *array.Int64Builder:
				f.Append(int64(v.(int)))
			case *array.Decimal128Builder:
				f.Append(v.(decimal128.Num))
			case *array.Float32Builder:
				f.Append(float32(v.(float64)))
			case *array.Float64Builder:
				f.Append(v.(float64))
			case *array.StringBuilder:
				f.Append(v.(string))
			case *array.BinaryBuilder:
				f.Append([]byte(v.(string)))
			case *array.Date32Builder:
				f.Append(arrow.Date32(v.(int)))
			case *array.TimestampBuilder:
				f.Append(arrow.Timestamp(v.(int)))
			default:
				t.Fatalf("no builder for column %d", i)
			}
		}
	}
	noon := int(time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	add(true, -128, -32768, -2147483648, math.MinInt64, wideNum(t, "-99999999999999999999999999999999999999"), 1.5, 0.1,
		-5, wideNum(t, "-12345678901234567890123456789012345678"), "a,\"b\"\r\n\tü\x01", `{"a": [1, 2.50],`+"\n"+` "b": null}`, "\x00\xff", -1, noon, noon+1)
	add(false, 127, 32767, 2147483647, math.MaxInt64, wideNum(t, "18446744073709551616"), math.Inf(1), math.NaN(),
		1234567890, wideNum(t, "5"), "", "not json", "", 19844, noon+120_000, -1)
	add(false, 0, 0, 0, 0, decimal128.Num{}, 1e-7, -1e300, 0, decimal128.Num{}, "bad \xff utf8", `"x"`, "b", math.MaxInt32, math.MaxInt64, -math.MaxInt64)
	for i := range everyKind {
		b.Field(i).AppendNull()
	}
	return b.NewRecordBatch()
}

// answerOf gives batches as an answer with facts.
func answerOf(columns []event.Column, batches ...arrow.RecordBatch) *Answer {
	source := event.Source{Stream: "payments", Epoch: 1}
	return &Answer{
		Columns: columns, Complete: true,
		Cut:       event.Cut{source: 41, {Stream: "orders", Epoch: 2, Partition: 1}: 7},
		Head:      event.Cut{source: 43},
		Watermark: map[string]time.Time{"payments": time.Date(2024, 5, 1, 11, 59, 30, 500_000_000, time.UTC)},
		Next: func(context.Context) (arrow.RecordBatch, error) {
			if len(batches) == 0 {
				return nil, io.EOF
			}
			batch := batches[0]
			batches = batches[1:]
			return batch, nil
		},
		Close: func() {},
	}
}

func TestFormatsAreAsWrittenDown(t *testing.T) {
	rows := everyKindRows(t)
	for i, file := range []string{"every_kind.json", "every_kind.ndjson", "every_kind.csv"} {
		// In two batches, the second one a slice that does not begin at 0.
		a := answerOf(everyKind, rows.NewSlice(0, 1), rows.NewSlice(1, 4))
		a.Statistics = map[string]any{"elapsed_ms": 1.5, "segments": 3}
		w := httptest.NewRecorder()
		if n, err := send(t.Context(), w, a, i, Config{}, time.Now()); n != 4 || err != nil {
			t.Fatalf("%s: %d rows, %v", file, n, err)
		}
		golden := "testdata/" + file
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, w.Body.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Body.String(); got != string(want) {
			t.Errorf("%s is\n%s", file, got)
		}
		if i == 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s is no JSON", file)
		}
		for i, line := range strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n") {
			if file == "every_kind.ndjson" && !json.Valid([]byte(line)) {
				t.Errorf("line %d of %s is no JSON", i+1, file)
			}
		}
		h := w.Header()
		if h.Get(headerRows) != "4" || h.Get(headerComplete) != "true" || h.Get(headerCut) != "orders/2/1:7,payments/1/0:41" ||
			h.Get(headerHead) != "payments/1/0:43" || h.Get(headerWatermark) != "payments=2024-05-01T11:59:30.5Z" {
			t.Errorf("%s: headers %v", file, h)
		}
	}
}

func TestArrowHasPublicTypesAndReadsBack(t *testing.T) {
	rows := everyKindRows(t)
	w := httptest.NewRecorder()
	if _, err := send(t.Context(), w, answerOf(everyKind, rows.NewSlice(0, 1), rows.NewSlice(1, 4)), 3, Config{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	reader, err := ipc.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	for name, want := range map[string]string{"huge": "decimal(38, 0)", "dec": "decimal(10, 2)", "wide": "decimal(38, 10)", "ts": "timestamp[us, tz=UTC]", "TS_1": "timestamp[us, tz=UTC]", "doc": "utf8", "day": "date32"} {
		if f, ok := reader.Schema().FieldsByName(name); !ok || f[0].Type.String() != want {
			t.Errorf("column %s is %v", name, f)
		}
	}
	var n int64
	for reader.Next() {
		batch := reader.RecordBatch()
		for i := range int(batch.NumRows()) {
			for k := range everyKind {
				stored, shown := rows.Column(k), batch.Column(k)
				if stored.IsNull(int(n)+i) != shown.IsNull(i) {
					t.Errorf("row %d, column %s: NULL differs", int(n)+i, everyKind[k].Name)
				}
			}
		}
		for i := range int(batch.NumRows()) {
			dec := batch.Column(8).(*array.Decimal128)
			if got, want := dec.Value(i).ToString(2), []string{"-0.05", "12345678.90", "0.00", ""}[int(n)+i]; dec.IsValid(i) && got != want {
				t.Errorf("the decimal of row %d is %s", int(n)+i, got)
			}
		}
		if n == 0 && batch.NumRows() > 0 {
			if got := batch.Column(14).(*array.Timestamp).Value(0); got != rows.Column(14).(*array.Timestamp).Value(0) {
				t.Errorf("the timestamp is %d", got)
			}
		}
		n += batch.NumRows()
	}
	if reader.Err() != nil || n != 4 {
		t.Errorf("%d rows, %v", n, reader.Err())
	}
}

func TestArrowRefusesIntegersBeyondItsDecimals(t *testing.T) {
	columns := []event.Column{{Name: "h", Type: kind(event.HugeInt)}}
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	b.Field(0).(*array.Decimal128Builder).Append(decimal128.New(math.MaxInt64, math.MaxUint64))
	rows := b.NewRecordBatch()
	var refusal *Refusal
	if _, err := send(t.Context(), httptest.NewRecorder(), answerOf(columns, rows), 3, Config{}, time.Now()); !errors.As(err, &refusal) {
		t.Errorf("got %v", err)
	}
	w := httptest.NewRecorder()
	if _, err := send(t.Context(), w, answerOf(columns, rows), 1, Config{}, time.Now()); err != nil || w.Body.String() != "{\"h\":170141183460469231731687303715884105727}\n" {
		t.Errorf("JSON gives %s, %v", w.Body, err)
	}
}

func TestAnswersWithoutRowsStillHaveColumns(t *testing.T) {
	for i, want := range []string{`"data":[],`, "", "i,s\r\n", ""} {
		a := answerOf([]event.Column{{Name: "i", Type: kind(event.BigInt)}, {Name: "s", Type: kind(event.Varchar)}})
		w := httptest.NewRecorder()
		if n, err := send(t.Context(), w, a, i, Config{}, time.Now()); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		body := strings.ReplaceAll(w.Body.String(), "\n],", "],")
		if i == 0 && !strings.Contains(strings.ReplaceAll(body, "\n", ""), want) || i == 2 && body != want && w.Body.String() != want {
			t.Errorf("%s: %q", formats[i].mediaType, w.Body)
		}
		if i == 3 {
			if r, err := ipc.NewReader(bytes.NewReader(w.Body.Bytes())); err != nil || r.Schema().NumFields() != 2 {
				t.Errorf("Arrow: %v", err)
			}
		}
	}
}

func TestRepeatedNamesAreToldApart(t *testing.T) {
	var columns []event.Column
	for _, name := range strings.Fields("a A a a_1 b a") {
		columns = append(columns, event.Column{Name: name})
	}
	if got := strings.Join(uniqueNames(columns), " "); got != "a A_2 a_3 a_1 b a_4" {
		t.Errorf("got %s", got)
	}
}

func TestAcceptIsNegotiated(t *testing.T) {
	for header, want := range map[string]int{
		"":                          0,
		"*/*":                       0,
		"text/html, */*;q=0.1":      0,
		"text/csv":                  2,
		"TEXT/CSV; q=0.5":           2,
		"text/*":                    2,
		"application/*":             0,
		"application/json;q=0, */*": 1,
		"application/json;q=0.2, text/csv;q=0.3, application/x-ndjson;q=0.25": 2,
		"application/vnd.apache.arrow.stream, application/json;q=0.9":         3,
		"application/json;q=0":                        -1,
		"text/html":                                   -1,
		"application/json;q=nonsense":                 -1,
		"application/json;q=0.5, application/*;q=0.9": 1,
	} {
		if got := negotiate([]string{header}); got != want {
			t.Errorf("%q gives %d, want %d", header, got, want)
		}
	}
}

// manyRows answers with n rows of one text column, 1,000 a batch, and then err.
func manyRows(n int, fail error) *Answer {
	columns := []event.Column{{Name: "s", Type: kind(event.Varchar)}}
	a, r := answerOf(columns), rand.New(rand.NewPCG(1, 1))
	a.Next = func(context.Context) (arrow.RecordBatch, error) {
		if n <= 0 {
			return nil, fail
		}
		b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
		for range min(n, 1000) {
			// Of 33 characters that do not compress to nothing.
			b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%016x %016x", r.Uint64(), r.Uint64()))
		}
		n -= 1000
		return b.NewRecordBatch(), nil
	}
	return a
}

func TestLimitsAreErrorsAndNotShortAnswers(t *testing.T) {
	for _, c := range []struct {
		rows  int
		limit Config
		cut   bool
	}{
		{1000, Config{MaxRows: 999}, false},
		{1000, Config{MaxBytes: 1000}, false},
		{100_000, Config{MaxRows: 70_000}, true},
		{100_000, Config{MaxBytes: 3 << 19}, true},
	} {
		for i := range formats {
			_, err := send(t.Context(), httptest.NewRecorder(), manyRows(c.rows, io.EOF), i, c.limit, time.Now())
			if !errors.Is(err, ErrTooLarge) || errors.Is(err, errCut) != c.cut {
				t.Errorf("%+v as %s: %v", c, formats[i].mediaType, err)
			}
		}
	}
}

func TestLongAnswersStreamAndTellTheirRowsInATrailer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := send(r.Context(), w, manyRows(20_000, io.EOF), 2, Config{}, time.Now()); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	response, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || bytes.Count(body, []byte("\r\n")) != 20_001 || response.Trailer.Get(headerRows) != "20000" {
		t.Errorf("%d bytes, trailer %v, %v", len(body), response.Trailer, err)
	}
}
