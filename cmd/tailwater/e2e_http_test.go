package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeCSV    = "text/csv"
	typeArrow  = "application/vnd.apache.arrow.stream"
)

// null stands for NULL in the text form of a row.
const null = "∅"

// textRows reads an answer of any format into rows of text, in which the formats
// can be compared.
func textRows(t *testing.T, format string, columns []string, body []byte) [][]string {
	t.Helper()
	switch format {
	case typeJSON:
		var a answered
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if a.Rows != len(a.Data) {
			t.Errorf("rows says %d, there are %d", a.Rows, len(a.Data))
		}
		return textOf(columns, a.Data)
	case typeNDJSON:
		var data []map[string]any
		for sc := bufio.NewScanner(bytes.NewReader(body)); sc.Scan(); {
			var m map[string]any
			d := json.NewDecoder(bytes.NewReader(sc.Bytes()))
			d.UseNumber()
			if err := d.Decode(&m); err != nil {
				t.Fatalf("%v: %s", err, sc.Bytes())
			}
			data = append(data, m)
		}
		return textOf(columns, data)
	case typeCSV:
		rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rows[0], columns) {
			t.Errorf("header %q, want %q", rows[0], columns)
		}
		return rows[1:]
	default:
		return arrowRows(t, columns, body)
	}
}

func textOf(columns []string, data []map[string]any) [][]string {
	var out [][]string
	for _, m := range data {
		var row []string
		for _, c := range columns {
			if v, ok := m[c]; !ok || v == nil {
				row = append(row, null)
			} else {
				row = append(row, fmt.Sprint(v))
			}
		}
		out = append(out, row)
	}
	return out
}

func arrowRows(t *testing.T, columns []string, body []byte) [][]string {
	t.Helper()
	r, err := ipc.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	for i, f := range r.Schema().Fields() {
		if f.Name != columns[i] {
			t.Errorf("Arrow column %d is %q, want %q", i, f.Name, columns[i])
		}
	}
	var out [][]string
	for r.Next() {
		b := r.RecordBatch()
		for i := range int(b.NumRows()) {
			var row []string
			for _, col := range b.Columns() {
				row = append(row, arrowText(t, col, i))
			}
			out = append(out, row)
		}
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return out
}

func arrowText(t *testing.T, col arrow.Array, i int) string {
	t.Helper()
	if col.IsNull(i) {
		return null
	}
	switch c := col.(type) {
	case *array.Float64:
		return strconv.FormatFloat(c.Value(i), 'f', -1, 64)
	case *array.Decimal128:
		return c.Value(i).ToString(c.DataType().(*arrow.Decimal128Type).Scale)
	case *array.Decimal64:
		return c.Value(i).ToString(c.DataType().(*arrow.Decimal64Type).Scale)
	case *array.Timestamp:
		return c.Value(i).ToTime(c.DataType().(*arrow.TimestampType).Unit).UTC().Format(time.RFC3339Nano)
	case *array.Date32:
		return c.Value(i).ToTime().Format("2006-01-02")
	case *array.Binary:
		return base64.StdEncoding.EncodeToString(c.Value(i))
	case *array.String:
		return c.Value(i)
	case *array.Boolean, *array.Int32, *array.Int64:
		return col.ValueStr(i)
	}
	t.Errorf("unexpected Arrow type %s", col.DataType())
	return ""
}

func TestEveryFormatHasTheSameRows(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	after := p.mustPost("payments", payment("plain", 1, "acme", 150, "7")+
		payment("odd", 2, "quote \" comma , and\nline", 1_000_000, "none")+payment("empty", 3, "", 1, "8")+
		payment("far", 600, "düner – ☃", 99, "9")+
		`{"id":"null","ts":"2024-03-01T12:00:00.000001Z","amount":2,"code":"1","weight":-0.1}`).Position
	values := `SELECT id, ts, merchant, amount, weight, amount > 5 AS big, CAST('2024-02-29' AS DATE) AS day, 9007199254740993 AS wide,
  CAST(sum(9007199254740993) OVER () AS HUGEINT) AS huge, 'NaN'::DOUBLE AS nan, 'ab'::BLOB AS bytes, NULL::INTEGER AS nothing FROM payments ORDER BY id`
	for name, q := range map[string]struct {
		path, sql string
		columns   []string
		rows      int
	}{
		"view": {"/v1/views/hourly?order=window_start,merchant&after=" + after, "", []string{"window_start", "window_end", "merchant", "n", "total", "lo", "hi", "mean", "spread", "big"}, 5},
		"sql":  {"/v1/sql?after=" + after, values, []string{"id", "ts", "merchant", "amount", "weight", "big", "day", "wide", "huge", "nan", "bytes", "nothing"}, 5},
		"none": {"/v1/sql", "SELECT id, amount FROM payments WHERE false", []string{"id", "amount"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var want [][]string
			for _, format := range []string{typeJSON, typeNDJSON, typeCSV, typeArrow} {
				method, body := http.MethodGet, ""
				if q.sql != "" {
					method, body = http.MethodPost, q.sql
				}
				r := p.call(method, q.path, strings.NewReader(body), "Accept", format, "Content-Type", "text/plain")
				rows := textRows(t, format, q.columns, r.must(t))
				if got := r.header.Get("Content-Type"); got != format && !strings.HasPrefix(got, format+";") {
					t.Errorf("asked for %s, got %s", format, got)
				}
				if r.header.Get("X-Tailwater-Rows") != fmt.Sprint(q.rows) || len(rows) != q.rows {
					t.Errorf("%s: %d rows, X-Tailwater-Rows %q, want %d", format, len(rows), r.header.Get("X-Tailwater-Rows"), q.rows)
				}
				if format == typeJSON {
					want = rows
				}
				compareText(t, format, rows, want)
			}
		})
	}
}

// compareText compares rows; a CSV reader cannot tell NULL from an empty text.
func compareText(t *testing.T, format string, rows, want [][]string) {
	t.Helper()
	for i := range min(len(rows), len(want)) {
		for c := range want[i] {
			expected := want[i][c]
			if format == typeCSV && expected == null {
				expected = ""
			}
			if rows[i][c] != expected {
				t.Errorf("%s: row %d, column %d is %q, in JSON %q", format, i, c, rows[i][c], expected)
			}
		}
	}
}

func TestALongAnswerIsTheSameInEveryFormat(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	p.mustPost("payments", payments("a", 4000))
	p.batch("")
	after := p.mustPost("payments", payments("b", 4000)).Position
	var want [][]string
	for _, format := range []string{typeJSON, typeNDJSON, typeCSV, typeArrow} {
		r := p.call(http.MethodPost, "/v1/sql?after="+after, strings.NewReader("SELECT id, ts, amount FROM payments ORDER BY id"), "Accept", format, "Content-Type", "text/plain")
		rows := textRows(t, format, []string{"id", "ts", "amount"}, r.must(t))
		if len(rows) != 8000 || r.header.Get("X-Tailwater-Rows") != "8000" {
			t.Fatalf("%s: %d rows, trailer %q", format, len(rows), r.header.Get("X-Tailwater-Rows"))
		}
		if format == typeJSON {
			want = rows
		}
		compareText(t, format, rows, want)
	}
}

func TestHeadersSayWhatTheAnswerSays(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	after := p.mustPost("payments", payments("h", 10)).Position
	r := p.call(http.MethodGet, "/v1/views/overall?after="+after, nil, "X-Request-Id", "mine-1")
	a := mustDecode[struct {
		Meta      []struct{ Name, Type string }
		Complete  bool
		Cut, Head map[string]int64
		Watermark map[string]string
	}](t, r.must(t))
	for name, want := range map[string]string{
		"X-Tailwater-Complete": "true", "X-Tailwater-Rows": "1", "X-Request-Id": "mine-1", "X-Tailwater-Cut": "payments/1/0:1", "X-Tailwater-Head": "payments/1/0:1",
		"X-Tailwater-Watermark": "payments=2024-03-01T12:09:00Z",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !slices.Contains(r.header.Values("Vary"), "Accept") {
		t.Errorf("Vary: %q", r.header.Values("Vary"))
	}
	if !a.Complete || a.Cut["payments/1/0"] != 1 || a.Head["payments/1/0"] != 1 || a.Watermark["payments"] != "2024-03-01T12:09:00Z" ||
		len(a.Meta) != 2 || a.Meta[0].Name != "n" || a.Meta[0].Type != "BIGINT" || a.Meta[1].Type != "DECIMAL(38,2)" {
		t.Errorf("%+v", a)
	}
}

func TestAfterReadsWhatWasJustAcknowledged(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, "--land-age", "100ms", "--batch-schedule", "@every 1s")
	for i := 1; i <= 200; i++ {
		sent, err := p.post(t.Context(), "payments", payment(fmt.Sprintf("r%d", i), i%60, "acme", 100, "7"))
		if err != nil {
			t.Fatal(err)
		}
		token := sent.Position
		var r reply
		switch i % 3 {
		case 0:
			r = p.call(http.MethodGet, "/v1/views/overall?after="+token, nil)
		case 1:
			body, _ := json.Marshal(map[string]string{"sql": "SELECT count(*) AS n FROM payments", "after": token})
			r = p.call(http.MethodPost, "/v1/sql", bytes.NewReader(body), "Content-Type", typeJSON)
		default:
			r = p.call(http.MethodPost, "/v1/sql?after="+token, strings.NewReader("SELECT n FROM overall"), "Content-Type", "text/plain")
		}
		a := mustDecode[answered](t, r.must(t))
		if len(a.Data) != 1 || fmt.Sprint(a.Data[0]["n"]) != fmt.Sprint(i) || !a.Complete {
			t.Fatalf("after %s: %s, want n = %d", token, r.body, i)
		}
	}
}

func TestAfterAPositionThatIsNotThere(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	p.mustPost("payments", payments("x", 3))
	began := time.Now()
	p.call(http.MethodGet, "/v1/views/overall?timeout=300ms&after=payments/1/0/999999", nil).refusal(t, http.StatusGatewayTimeout, "timeout")
	p.call(http.MethodPost, "/v1/sql?timeout=300ms&after=payments/1/0/999999", strings.NewReader("SELECT 1"), "Content-Type", "text/plain").refusal(t, http.StatusGatewayTimeout, "timeout")
	if took := time.Since(began); took < 600*time.Millisecond || took > 5*time.Second {
		t.Errorf("two limits of 300ms took %s", took)
	}
	for token, code := range map[string]string{"payments/9/0/1": "position", "payments/1/7/1": "position", "nothing/1/0/1": "position", "1": "bad_position", "payments/0/0/1": "bad_position"} {
		p.call(http.MethodGet, "/v1/views/overall?after="+token, nil).refusal(t, http.StatusBadRequest, code)
	}
}

func TestATokenThatTheLogLostIsGone(t *testing.T) {
	project, data := worldFolder(t), t.TempDir()
	log, backup := filepath.Join(data, "log"), filepath.Join(t.TempDir(), "log")
	p := startReady(t, project, data, nil, quiet...)
	p.mustPost("payments", payments("kept", 10))
	p.stop()
	copyDir(t, log, backup)

	p = startReady(t, project, data, nil, quiet...)
	landed := p.mustPost("payments", payments("landed", 20)).Position
	p.batch("")
	lost := p.mustPost("payments", payments("lost", 40)).Position
	p.kill()
	copyDir(t, backup, log) // an operator restores a copy that is too old

	p = startReady(t, project, data, nil, quiet...)
	if s := p.state(); s.Epoch != 2 {
		t.Fatalf("no new epoch: %+v", s)
	}
	p.call(http.MethodGet, "/v1/views/overall?after="+lost, nil).refusal(t, http.StatusGone, "position_lost")
	p.call(http.MethodPost, "/v1/sql?after="+lost, strings.NewReader("SELECT 1"), "Content-Type", "text/plain").refusal(t, http.StatusGone, "position_lost")
	p.call(http.MethodGet, "/v1/views/overall?after="+landed, nil).must(t)
	next := p.mustPost("payments", payments("new", 5)).Position
	if !strings.HasPrefix(next, "payments/2/0/") {
		t.Errorf("position %s after the rollback", next)
	}
	r := p.call(http.MethodGet, "/v1/views/overall?after="+next, nil)
	if a := mustDecode[answered](t, r.must(t)); fmt.Sprint(a.Data[0]["n"]) != "35" || !a.Complete {
		t.Errorf("want the 10 + 20 that had landed and 5 new ones: %s", r.body)
	}
	if d, text := p.difference("hourly"); d != 0 {
		t.Errorf("difference %d: %s", d, text)
	}
	p.stop()
	if n := len(lakeIDs(t, filepath.Join(data, "lake", "payments"))); n != 35 {
		t.Errorf("the lake has %d events", n)
	}
}

func TestFiltersOrderAndPages(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	p.mustPost("payments", payments("a", 180))
	p.batch("")
	after := p.mustPost("payments", payments("b", 180)+`{"id":"null","ts":"2024-03-01T12:30:00Z","amount":7,"code":"1","weight":1}`).Position
	ask := func(query string) []string {
		t.Helper()
		a := mustDecode[answered](t, p.call(http.MethodGet, "/v1/views/hourly?after="+after+query, nil).must(t))
		var out []string
		for _, r := range a.Data {
			merchant := fmt.Sprint(r["merchant"])
			if len(merchant) > 4 {
				merchant = merchant[:2]
			}
			out = append(out, fmt.Sprint(r["window_start"])[11:13]+merchant+fmt.Sprint(r["n"]))
		}
		return out
	}
	for query, want := range map[string]string{
		"&order=window_start,merchant":                                           "12a 40,12acme40,12bolt40,12<n1,13a 40,13acme40,13bolt40,14a 40,14acme40,14bolt40",
		"&where.merchant=acme&order=-window_start":                               "14acme40,13acme40,12acme40",
		"&where.merchant=acme&order=window_start%20desc&limit=1":                 "14acme40",
		"&where.merchant=acme&order=window_start&limit=1&offset=1":               "13acme40",
		"&isnull=merchant":                                                       "12<n1",
		"&from=2024-03-01T13:00:00Z&to=2024-03-01T14:00:00Z&where.merchant=bolt": "13bolt40",
		"&from=2024-03-01T14:00:00Z&order=merchant":                              "14a 40,14acme40,14bolt40",
		"&to=2024-03-01T13:00:00Z&order=n&limit=1":                               "12<n1",
		"&from=2024-03-02":                                                       "",
		"&where.merchant=nobody":                                                 "",
		"&where.merchant=" + url.QueryEscape("x' OR '1'='1"):                     "",
		"&where.window_start=2024-03-01T13:00:00Z&where.merchant=acme":           "13acme40",
	} {
		if got := strings.Join(ask(query), ","); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

func TestWhatIsNotThereAndWhatMakesNoSense(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	for _, c := range []struct {
		method, path string
		status       int
		code, says   string
	}{
		{"GET", "/v1/views/hurly", 404, "not_found", "hourly"},
		{"GET", "/v1/views/hurly/check", 404, "not_found", "hourly"},
		{"GET", "/v1/streams/payment", 404, "not_found", "payments"},
		{"POST", "/v1/streams/payment/events", 404, "unknown_stream", "payments"},
		{"POST", "/v1/streams/payments_dead/events", 404, "unknown_stream", "payments"},
		{"GET", "/v2/nothing", 404, "not_found", ""},
		{"GET", "/v1/streams/payments/events", 405, "method_not_allowed", "POST"},
		{"GET", "/v1/sql", 400, "bad_parameter", "sql"},
		{"PUT", "/v1/sql", 405, "method_not_allowed", "POST"},
		{"DELETE", "/v1/views/hourly", 405, "method_not_allowed", "GET"},
		{"GET", "/v1/views/hourly?wehre.merchant=acme", 400, "unknown_parameter", "where.KEY"},
		{"GET", "/v1/views?limit=1", 400, "unknown_parameter", ""},
		{"GET", "/v1/streams?limit=1", 400, "unknown_parameter", ""},
		{"GET", "/v1/status?verbose=1", 400, "unknown_parameter", ""},
		{"GET", "/v1/views/hourly/check?limit=1", 400, "unknown_parameter", "timeout"},
		{"POST", "/v1/batch/run?rebiuld=true", 400, "unknown_parameter", "rebuild"},
		{"POST", "/v1/batch/run?rebuild=maybe", 400, "bad_parameter", "true"},
		{"POST", "/v1/sql?limit=1", 400, "unknown_parameter", "after"},
		{"GET", "/v1/views/hourly?where.hour=1", 400, "filter", "merchant"},
		{"GET", "/v1/views/hourly?order=sum", 400, "filter", "total"},
		{"GET", "/v1/views/overall?from=2024-03-01", 400, "filter", "window"},
		{"GET", "/v1/views/hourly?from=yesterday", 400, "bad_parameter", "2024-05-01"},
		{"GET", "/v1/views/hourly?from=2024-03-02&to=2024-03-01", 400, "bad_parameter", "before"},
		{"GET", "/v1/views/hourly?limit=-1", 400, "bad_parameter", "limit"},
		{"GET", "/v1/views/hourly?limit=1&limit=2", 400, "bad_parameter", "limit"},
		{"GET", "/v1/views/hourly?timeout=soon", 400, "bad_parameter", "10s"},
		{"GET", "/v1/views/hourly?timeout=9h", 400, "bad_parameter", "5m"},
	} {
		r := p.call(c.method, c.path, nil)
		f := r.refusal(t, c.status, c.code)
		if !strings.Contains(f.Message+f.Hint+r.header.Get("Allow"), c.says) {
			t.Errorf("%s %s does not say %q: %s", c.method, c.path, c.says, r.body)
		}
	}
	p.call(http.MethodGet, "/v1/views/hourly", nil, "Accept", "image/png").refusal(t, http.StatusNotAcceptable, "not_acceptable")
	// A value that is none of the key's type is one whether there are rows or not.
	for range 2 {
		f := p.call(http.MethodGet, "/v1/views/hourly?where.window_start=noon", nil).refusal(t, http.StatusBadRequest, "")
		if strings.Contains(f.Message, "_a.") || strings.Contains(f.Message, "LINE") {
			t.Errorf("shows internals: %s", f.Message)
		}
		p.mustPost("payments", payments("w", 10))
		p.caughtUp()
	}
}

func TestStatementsThatAreRefusedSayWhy(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	p.mustPost("payments", payments("g", 30))
	p.batch("")
	p.mustPost("payments", payments("h", 30))
	outside := filepath.Join(t.TempDir(), "outside")
	for sql, c := range map[string]struct{ code, says string }{
		"":                                                    {"syntax", "SELECT"},
		"SELEC 1":                                             {"syntax", "SELEC"},
		"SELECT 1; SELECT 2":                                  {"one_statement", "one by one"},
		"DROP TABLE payments":                                 {"only_select", "SELECT"},
		"DELETE FROM payments":                                {"only_select", "ingest"},
		"EXPLAIN ANALYZE DELETE FROM payments":                {"only_select", "SELECT"},
		"COPY payments TO '" + outside + "'":                  {"only_select", "SELECT"},
		"ATTACH '" + outside + "'":                            {"only_select", "SELECT"},
		"SET threads = 8":                                     {"only_select", "SELECT"},
		"PRAGMA database_list":                                {"only_select", "SELECT"},
		"INSTALL httpfs":                                      {"only_select", "SELECT"},
		"SELECT * FROM paymets":                               {"unknown_table", "payments"},
		"SELECT * FROM '/etc/hosts'":                          {"unknown_table", "hourly"},
		"SELECT * FROM facts.payments":                        {"unknown_table", "hourly"},
		"SELECT * FROM information_schema.tables":             {"unknown_table", "hourly"},
		"SELECT * FROM read_text('/etc/hosts')":               {"unknown_function", "read_text"},
		"SELECT * FROM query('SELECT 1')":                     {"unknown_function", "query"},
		"SELECT * FROM duckdb_settings()":                     {"unknown_function", "duckdb_settings"},
		"SELECT getenv('HOME')":                               {"unknown_function", "getenv"},
		"SELECT checkpoint()":                                 {"unknown_function", "checkpoint"},
		"SELECT current_setting('threads')":                   {"unknown_function", "current_setting"},
		"SELECT repeat('x', 1000000000)":                      {"too_large", "bytes"},
		"SELECT * FROM range(1000000000000)":                  {"too_large", "values"},
		"SELECT ? + 1":                                        {"bad_parameter", "$1"},
		"SELECT merchnt FROM payments":                        {"", "merchant"},
		"SELECT CAST(merchant AS INTEGER) AS n FROM payments": {"", "INT"},
		"SELECT id FROM payments WHERE amount > 'much'":       {"", "much"},
	} {
		r := p.call(http.MethodPost, "/v1/sql", strings.NewReader(sql), "Content-Type", "text/plain")
		f := r.refusal(t, http.StatusBadRequest, c.code)
		if !strings.Contains(f.Message+f.Hint, c.says) {
			t.Errorf("%s: does not say %q: %s", sql, c.says, r.body)
		}
		for _, internal := range []string{"tw_scan", "LINE 1: ...", "CAST(NULL AS", "partials.", "facts.\"", "_tw", "read_parquet", ".parquet"} {
			if strings.Contains(f.Message+f.Hint, internal) && !strings.Contains(sql, internal) {
				t.Errorf("%s: shows the internal %q: %s", sql, internal, r.body)
			}
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a statement wrote a file")
	}
	p.call(http.MethodPost, "/v1/sql", strings.NewReader(`{"query":"SELECT 1"}`), "Content-Type", typeJSON).refusal(t, http.StatusBadRequest, "bad_body")
	p.call(http.MethodPost, "/v1/sql", strings.NewReader("SELECT 1"), "Content-Type", "image/png").refusal(t, http.StatusUnsupportedMediaType, "unsupported_media_type")
	long := "SELECT id FROM payments WHERE id IN ('" + strings.Repeat("x", 70<<10) + "')"
	p.call(http.MethodPost, "/v1/sql", strings.NewReader(long), "Content-Type", "text/plain").refusal(t, http.StatusBadRequest, "too_long")
	if n := p.count("payments"); n != "60" {
		t.Errorf("%s events after the refusals", n)
	}
}
