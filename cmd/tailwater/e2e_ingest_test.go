package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const paymentsPath = "/v1/streams/payments/events"

// compressed gives the body under an encoding.
func compressed(t *testing.T, encoding string, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&out)
	default:
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A rejected is a record refused, as the answer names it.
type rejected struct {
	Line   int64  `json:"line"`
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

func TestARefusedRecordIsNamedAndKept(t *testing.T) {
	project, data := worldFolder(t), t.TempDir()
	p := startReady(t, project, data, nil, quiet...)
	lines := []string{
		strings.TrimSpace(payment("good1", 1, "acme", 100, "7")),
		`this is no JSON`,
		`{"id":"a","ts":"2024-03-01T12:00:00Z","merchant":"x","amount":"much","code":"7","weight":1}`,
		``,
		`{"id":"b","ts":"yesterday","amount":1,"code":"7","weight":1}`,
		`{"id":"c","ts":"2024-03-01T12:00:00Z","amount":1,"code":"7"}`,
		`{"id":"d","ts":"2024-03-01T12:00:00Z","amount":123456789012,"code":"7","weight":1}`,
		`[1,2,3]`,
		`{"id":"e","ts":"2024-03-01T12:00:00Z","amount":1,"code":"7","weight":1`,
		`{"id":"f","deep":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
		strings.TrimSpace(payment("good2", 2, "acme", 200, "7")),
	}
	want := []struct {
		line  int64
		field string
	}{{2, ""}, {3, "amount"}, {5, "ts"}, {6, "weight"}, {7, "amount"}, {8, ""}, {9, ""}, {10, "deep"}}
	r := p.call(http.MethodPost, paymentsPath, strings.NewReader(strings.Join(lines, "\n")), "Content-Type", typeNDJSON)
	answer := mustDecode[struct {
		Accepted int
		Rejected []rejected
		Position string
	}](t, r.must(t))
	if answer.Accepted != 2 || len(answer.Rejected) != len(want) {
		t.Fatalf("accepted %d, rejected %d, want 2 and %d: %s", answer.Accepted, len(answer.Rejected), len(want), r.body)
	}
	for i, w := range want {
		if got := answer.Rejected[i]; got.Line != w.line || got.Field != w.field || got.Reason == "" {
			t.Errorf("rejected %+v, want line %d and field %q", got, w.line, w.field)
		}
	}
	judge := func(when string, p *process) {
		t.Helper()
		a := p.mustGet("/v1/sql", "SELECT line, field, reason, raw, _seq FROM payments_dead ORDER BY line")
		if len(a.Data) != len(want) {
			t.Fatalf("%s: %d dead letters, want %d", when, len(a.Data), len(want))
		}
		for i, d := range a.Data {
			raw, err := base64.StdEncoding.DecodeString(fmt.Sprint(d["raw"]))
			if err != nil || string(raw) != lines[want[i].line-1] {
				t.Errorf("%s: line %v is kept as %q, sent was %q", when, d["line"], raw, lines[want[i].line-1])
			}
			if fmt.Sprint(d["line"]) != fmt.Sprint(want[i].line) || d["field"] != want[i].field || d["reason"] != answer.Rejected[i].Reason || answer.Position != fmt.Sprintf("payments/1/0/%v", d["_seq"]) {
				t.Errorf("%s: dead letter %v, the answer was %+v at %s", when, d, answer.Rejected[i], answer.Position)
			}
		}
		if n := p.count("payments"); n != "2" {
			t.Errorf("%s: %s good events", when, n)
		}
	}
	p.caughtUp()
	judge("before landing", p)
	p.batch("")
	judge("after landing", p)
	p.stop()
	p = startReady(t, project, data, nil, quiet...)
	judge("after a restart", p)
}

func TestRequestsThatAreRefusedWhole(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, append(quiet, "--max-body", "1MB")...)
	good := []byte(payments("x", 5))
	large := bytes.Repeat([]byte(" "), 1_000_001)
	bomb := append(bytes.Repeat([]byte(" "), 70<<20), good...)
	for name, c := range map[string]struct {
		body    io.Reader
		headers []string
		status  int
		code    string
	}{
		"too large":                 {bytes.NewReader(large), nil, 413, "too_large"},
		"too large, length untold":  {io.MultiReader(bytes.NewReader(large), bytes.NewReader(good)), nil, 413, "too_large"},
		"a gzip bomb":               {bytes.NewReader(compressed(t, "gzip", bomb)), []string{"Content-Encoding", "gzip"}, 413, "too_large"},
		"a zstd bomb":               {bytes.NewReader(compressed(t, "zstd", bomb)), []string{"Content-Encoding", "zstd"}, 413, "too_large"},
		"gzip that breaks off":      {bytes.NewReader(compressed(t, "gzip", good)[:60]), []string{"Content-Encoding", "gzip"}, 400, "bad_body"},
		"zstd that breaks off":      {bytes.NewReader(compressed(t, "zstd", good)[:60]), []string{"Content-Encoding", "zstd"}, 400, "bad_body"},
		"gzip that is none":         {bytes.NewReader(good), []string{"Content-Encoding", "gzip"}, 400, "bad_body"},
		"an unknown encoding":       {bytes.NewReader(good), []string{"Content-Encoding", "br"}, 415, "unsupported_encoding"},
		"two encodings":             {bytes.NewReader(good), []string{"Content-Encoding", "gzip, zstd"}, 415, "unsupported_encoding"},
		"an unknown type":           {bytes.NewReader(good), []string{"Content-Type", "text/csv"}, 415, "unsupported_type"},
		"another charset":           {bytes.NewReader(good), []string{"Content-Type", "application/json; charset=utf-16"}, 415, "unsupported_type"},
		"an array that breaks off":  {strings.NewReader(`[{"id":"a"},`), []string{"Content-Type", typeJSON}, 400, "bad_body"},
		"an array nested too deep":  {strings.NewReader(strings.Repeat("[", 100_000)), []string{"Content-Type", typeJSON}, 400, "bad_body"},
		"an array of no end inside": {strings.NewReader(`[{"id":` + strings.Repeat(`{"a":`, 100_000)), []string{"Content-Type", typeJSON}, 400, "bad_body"},
	} {
		t.Run(name, func(t *testing.T) {
			f := p.call(http.MethodPost, paymentsPath, c.body, c.headers...).refusal(t, c.status, c.code)
			if f.Hint == "" {
				t.Errorf("no hint: %+v", f)
			}
		})
	}
	if l := p.state().Ledger; l.Received != 0 || p.count("payments_dead") != "0" {
		t.Errorf("something was stored: %+v", l)
	}
}

func TestACompressedBodyIsTakenAsAPlainOne(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	want := 0
	for _, encoding := range []string{"gzip", "zstd"} {
		for _, contentType := range []string{typeNDJSON, typeJSON, ""} {
			body := payments(fmt.Sprintf("%s%d-", encoding, want), 500)
			if contentType == typeJSON {
				body = "[" + strings.ReplaceAll(strings.TrimSpace(body), "\n", ",") + "]"
			}
			headers := []string{"Content-Encoding", encoding}
			if contentType != "" {
				headers = append(headers, "Content-Type", contentType)
			}
			r := p.call(http.MethodPost, paymentsPath, bytes.NewReader(compressed(t, encoding, []byte(body))), headers...)
			if a := mustDecode[ingested](t, r.must(t)); a.Accepted != 500 || len(a.Rejected) != 0 {
				t.Errorf("%s %s: %s", encoding, contentType, r.body)
			}
			want += 500
		}
	}
	p.caughtUp()
	if n := p.count("payments"); n != fmt.Sprint(want) {
		t.Errorf("%s events, sent were %d", n, want)
	}
}

func TestADuplicateCountsOnceAndTheLedgerAddsUp(t *testing.T) {
	project, data := worldFolder(t), t.TempDir()
	p := startReady(t, project, data, nil, quiet...)
	received := int64(0)
	send := func(body string) {
		t.Helper()
		received += int64(strings.Count(body, "\n"))
		p.mustPost("payments", body)
	}
	judge := func(when string, accepted, dead, duplicates int64) {
		t.Helper()
		p.caughtUp()
		s := p.state()
		if l := s.Ledger; l.Received != received || l.Accepted != accepted || l.Refused != dead || l.Duplicates != duplicates || l.Received != l.Accepted+l.Refused+l.Duplicates {
			t.Errorf("%s: ledger %+v, want %d = %d + %d + %d", when, l, received, accepted, dead, duplicates)
		}
		r := p.sqlRow("SELECT count(*) AS n, count(DISTINCT id) AS ids, (SELECT n FROM overall) AS overall, (SELECT count(*) FROM payments_dead) AS dead FROM payments")
		for name, want := range map[string]int64{"n": accepted, "ids": accepted, "overall": accepted, "dead": dead} {
			if fmt.Sprint(r[name]) != fmt.Sprint(want) {
				t.Errorf("%s: %s is %v, want %d", when, name, r[name], want)
			}
		}
	}
	send(payments("a", 50) + payments("a", 50)) // in one request
	judge("one request", 50, 0, 50)
	send(payments("a", 60) + "broken\n") // in another request
	judge("two requests", 60, 1, 100)
	p.batch("")
	send(payments("a", 10)) // of what has landed and is in the warehouse
	judge("after a batch run", 60, 1, 110)
	p.kill()
	p = startReady(t, project, data, nil, quiet...)
	judge("after a kill", 60, 1, 110)
	send(payments("a", 70))
	judge("after a kill, sent again", 70, 1, 170)
	p.batch("?rebuild=true")
	judge("after a rebuild", 70, 1, 170)
	p.stop()
	p = startReady(t, project, data, nil, quiet...)
	send(payments("a", 70) + "{}\n")
	judge("after a restart", 70, 2, 240)
	if l := p.state().Ledger; l.LandedRows != 70 {
		t.Errorf("landed rows: %+v", l)
	}
	p.stop()
	for id, n := range lakeIDs(t, filepath.Join(data, "lake", "payments")) {
		if n != 1 {
			t.Errorf("lake: event %s is there %d times", id, n)
		}
	}
}

func TestRowsOnWhichAViewFailsAreLeftOutAndListed(t *testing.T) {
	project, data := worldFolder(t), t.TempDir()
	p := startReady(t, project, data, nil, quiet...)
	judge := func(when string, good, bad int) {
		t.Helper()
		p.caughtUp()
		r := p.sqlRow(`SELECT (SELECT sum(n) FROM coded) AS n, (SELECT sum(codes) FROM coded) AS codes, (SELECT count(*) FROM payments) AS events,
  (SELECT count(*) FROM tailwater.view_errors WHERE view = 'coded' AND stream = 'payments' AND reason <> '') AS errors,
  (SELECT count(*) FROM tailwater.view_errors) AS all_errors,
  (SELECT count(*) FROM tailwater.view_errors e JOIN payments p ON p._epoch = e._epoch AND p._seq = e._seq AND p._idx = e._idx WHERE p.code = 'none') AS found`)
		for name, want := range map[string]int{"n": good, "codes": 7 * good, "events": good + bad, "errors": bad, "all_errors": bad, "found": bad} {
			if fmt.Sprint(r[name]) != fmt.Sprint(want) {
				t.Errorf("%s: %s is %v, want %d", when, name, r[name], want)
			}
		}
		for view := range worldViews {
			if d, text := p.difference(view); d != 0 {
				t.Errorf("%s: difference of %s: %s", when, view, text)
			}
		}
	}
	p.mustPost("payments", payments("a", 20)+payment("bad1", 1, "acme", 100, "none")+payment("bad2", 2, "bolt", 100, "none"))
	judge("in the speed layer", 20, 2)
	p.batch("")
	judge("in the warehouse", 20, 2)
	p.mustPost("payments", payment("bad3", 3, "acme", 100, "none")+payments("b", 5))
	judge("in both", 25, 3)
	p.stop()
	p = startReady(t, project, data, nil, quiet...)
	judge("after a restart", 25, 3)
	p.batch("?rebuild=true")
	judge("after a rebuild", 25, 3)
}

func TestBatchRunsAreListedAndAgreeWithARebuild(t *testing.T) {
	project, data := worldFolder(t), t.TempDir()
	p := startReady(t, project, data, nil, quiet...)
	p.mustPost("payments", payments("a", 100))
	first := p.batch("")
	if first.Rows != 100 || first.Through["payments/1/0"] != 1 || first.Trigger != "demand" || first.Rebuild {
		t.Errorf("first run: %+v", first)
	}
	p.mustPost("payments", payments("b", 50))
	second := p.batch("?rebuild=false")
	if second.Rows != 50 || second.ID <= first.ID {
		t.Errorf("second run: %+v", second)
	}
	const question = "/v1/views/hourly?order=window_start,merchant"
	before := p.mustGet(question, "")
	rebuilt := p.batch("?rebuild=true")
	if rebuilt.Rows != 150 || !rebuilt.Rebuild {
		t.Errorf("rebuild: %+v", rebuilt)
	}
	after := p.mustGet(question, "")
	if fmt.Sprint(before.Data) != fmt.Sprint(after.Data) || len(after.Data) == 0 {
		t.Errorf("before the rebuild %v, after it %v", before.Data, after.Data)
	}
	if s := p.state(); s.Batched != s.Head || s.Landed != s.Head {
		t.Errorf("after a run: %+v", s)
	}
	list := func() []batchAnswer {
		return mustDecode[struct{ Runs []batchAnswer }](t, p.call(http.MethodGet, "/v1/batch/runs", nil).must(t)).Runs
	}
	for range 2 {
		runs := list()
		if len(runs) != 3 || runs[0].ID != rebuilt.ID || !runs[0].Rebuild || runs[2].ID != first.ID || runs[2].Rows != 100 {
			t.Errorf("runs: %+v", runs)
		}
		p.stop() // the history outlives the process
		p = startReady(t, project, data, nil, quiet...)
	}
}

func TestHealthReadinessAndMetrics(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	p.mustPost("payments", payments("a", 30)+payments("a", 10)+"broken\n")
	p.mustPost("payments", payments("b", 5))
	p.caughtUp()
	p.mustGet("/v1/views/hourly", "")
	for path, want := range map[string]string{"/healthz": "alive", "/readyz": "ready"} {
		if m := mustDecode[map[string]bool](t, p.call(http.MethodGet, path, nil).must(t)); !m[want] {
			t.Errorf("%s: %v", path, m)
		}
	}
	metrics := func() map[string]string {
		out := map[string]string{}
		for _, line := range strings.Split(string(p.call(http.MethodGet, "/metrics", nil).must(t)), "\n") {
			if name, value, ok := strings.Cut(line, "} "); ok {
				out[name+"}"] = value
			} else if name, value, ok := strings.Cut(line, " "); ok {
				out[name] = value
			}
		}
		return out
	}
	judge := func(when string, want map[string]string) {
		t.Helper()
		got := metrics()
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %q, want %s", when, name, got[name], value)
			}
		}
	}
	judge("before landing", map[string]string{
		"tailwater_ready": "1", `tailwater_lag_messages{stream="payments"}`: "0", `tailwater_view_complete{view="hourly"}`: "1",
		`tailwater_position{mark="head",stream="payments"}`: "2", `tailwater_position{mark="applied",stream="payments"}`: "2", `tailwater_position{mark="landed",stream="payments"}`: "0",
		`tailwater_events_total{outcome="accepted",stream="payments"}`: "35", `tailwater_events_total{outcome="refused",stream="payments"}`: "1", `tailwater_events_total{outcome="duplicate",stream="payments"}`: "10",
		`tailwater_http_request_seconds_count{code="200",route="/v1/views/{view}"}`: "1",
	})
	p.batch("")
	judge("after a batch run", map[string]string{
		`tailwater_position{mark="landed",stream="payments"}`: "2", `tailwater_position{mark="batched",stream="payments"}`: "2",
		`tailwater_landing_pending_bytes{stream="payments"}`: "0", `tailwater_view_complete{view="hourly"}`: "1",
		`tailwater_events_total{outcome="accepted",stream="payments"}`: "35",
	})
	views := mustDecode[any](t, p.call(http.MethodGet, "/v1/views", nil).must(t))
	text, _ := json.Marshal(views)
	mustContain(t, "/v1/views", string(text), `"hourly"`, `"coded"`, `"DECIMAL(38,2)"`)
	stream := p.call(http.MethodGet, "/v1/streams/payments", nil).must(t)
	mustContain(t, "/v1/streams/payments", string(stream), `"time":"ts"`, `"id":"id"`, `"DECIMAL(10,2)"`)
	p.stop()
	if strings.Contains(p.output(), "level=ERROR") {
		t.Errorf("an error was logged by a server that nothing happened to:\n%s", p.output())
	}
}
