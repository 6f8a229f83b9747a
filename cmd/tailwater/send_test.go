package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeServer answers as the API does, and keeps the events it was sent.
type fakeServer struct {
	mu      sync.Mutex
	events  []string
	info    string
	refuse  func(request int) (status int, body string) // 0 lets it pass
	calls   int
	arrived []time.Time
}

func (f *fakeServer) start(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/streams/s", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, f.info) })
	mux.HandleFunc("POST /v1/streams/s/events", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls++
		f.arrived = append(f.arrived, time.Now())
		if f.refuse != nil {
			if status, text := f.refuse(f.calls); status != 0 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(status)
				io.WriteString(w, text)
				return
			}
		}
		var rejected []string
		accepted := 0
		for i, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
			if strings.Contains(line, "bad") {
				rejected = append(rejected, fmt.Sprintf(`{"line":%d,"field":"x","reason":"no good"}`, i+1))
				continue
			}
			accepted++
			f.events = append(f.events, line)
		}
		fmt.Fprintf(w, `{"accepted":%d,"rejected":[%s],"position":"s/1/0/%d"}`, accepted, strings.Join(rejected, ","), f.calls)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestSendReadsEveryFormat(t *testing.T) {
	for name, c := range map[string]struct {
		file, stdin string
		want        []string
	}{
		"ndjson raw":     {file: tempFile(t, "a.ndjson", "\ufeff{\"x\": 1.10}\r\n\n {\"x\":2}"), want: []string{`{"x": 1.10}`, `{"x":2}`}},
		"array":          {file: tempFile(t, "a.json", "[{\"x\":\n 1.10},\n{\"x\":2}]\n"), want: []string{`{"x":1.10}`, `{"x":2}`}},
		"empty array":    {file: tempFile(t, "a.json", " [ ]"), want: nil},
		"pretty objects": {file: tempFile(t, "a.json", "{\n \"x\": 1\n}\n{\n\"x\": 2}"), want: []string{`{"x":1}`, `{"x":2}`}},
		"stdin":          {file: "-", stdin: "{\"x\":1}\n", want: []string{`{"x":1}`}},
		"empty":          {file: "-", want: nil},
		"csv": {file: "testdata/rides.csv", want: []string{
			`{"picked up":"2001/01/01 00:47","station":"Harbour","minutes":"12","fare":"7.50","note":null}`,
			`{"picked up":"2001/01/01 01:10","station":"Old, Town","minutes":"7","fare":"4.00","note":"a \"b\""}`,
			`{"picked up":"2001/01/13 23:59","station":"Harbour","minutes":"-3","fare":"0.00","note":"x"}`}},
		"parquet": {file: parquetOf(t, "SELECT 1 AS a, 12345678901234567890.12::DECIMAL(38,2) AS d, TIMESTAMP '2001-01-01 00:47:00' AS ts, TIMESTAMPTZ '2001-01-01 00:47:00+01' AS tz, 'x' AS s, NULL::INT AS n, 'inf'::DOUBLE AS f, true AS b, [1,2] AS l"),
			want: []string{`{"a":1,"d":"12345678901234567890.12","ts":"2001-01-01 00:47:00","tz":"2000-12-31 23:47:00","s":"x","n":null,"f":"inf","b":true,"l":[1,2]}`}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeServer{info: `{"stream":"s"}`}
			code, out, err := runCLI(t, c.stdin, "send", "s", c.file, "--url", f.start(t), "--clients", "1")
			if code != 0 || !slices.Equal(f.events, c.want) {
				t.Errorf("%d %s %s\ngot  %q\nwant %q", code, out, err, f.events, c.want)
			}
		})
	}
}

func TestSendMapsRejectedEventsToTheFilesLines(t *testing.T) {
	f := &fakeServer{info: `{"stream":"s"}`}
	url := f.start(t)
	file := tempFile(t, "a.ndjson", "{\"x\":1}\n\n{\"x\":2}\n{\"x\":\"bad\"}\n{\"x\":4}\n")
	code, out, err := runCLI(t, "", "send", "s", file, "--url", url, "--batch", "2", "--clients", "1")
	mustContain(t, "stdout", out, "accepted 3, rejected 1, position s/1/0/2")
	mustContain(t, "stderr", err, "rejected: line 4: x: no good", "s_dead", "--allow-rejected")
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	code, out, _ = runCLI(t, "", "send", "s", file, "--url", url, "--allow-rejected", "--json")
	var result struct {
		Accepted, Rejected int
		Records            []rejection `json:"rejected_records"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != 0 || result.Accepted != 3 || result.Rejected != 1 || result.Records[0].Line != 4 {
		t.Errorf("%d %s %v", code, out, err)
	}
}

func TestSendTriesAgainOnlyWhatCannotCountTwice(t *testing.T) {
	const full = `{"code":"full","detail":"the log is full"}`
	const half = `{"code":"full","detail":"the log is full","accepted":1,"rejected":[],"position":"s/1/0/1"}`
	for name, c := range map[string]struct {
		info, body string
		status     int
		code       int
		calls      int
	}{
		"full, then room":            {`{}`, full, 503, 0, 3},
		"too many, then room":        {`{}`, full, 429, 0, 3},
		"half stored, without ids":   {`{}`, half, 503, exitFailure, 1},
		"half stored, with ids":      {`{"id":"x"}`, half, 503, 0, 3},
		"refused for good":           {`{}`, `{"detail":"no such type","hint":"send JSON"}`, 415, exitFailure, 1},
		"an error that is not JSON ": {`{}`, "gone\x1b[31m", 500, exitFailure, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeServer{info: c.info, refuse: func(call int) (int, string) {
				if call <= 2 {
					return c.status, c.body
				}
				return 0, ""
			}}
			code, out, err := runCLI(t, "{\"x\":1}\n{\"x\":2}\n", "send", "s", "-", "--url", f.start(t))
			if code != c.code || f.calls != c.calls || strings.Contains(err, "\x1b") {
				t.Errorf("%d after %d calls: %s %s", code, f.calls, out, err)
			}
		})
	}
}

func TestPacerWaitsByRateAndByEventTime(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	byRate := &pacer{rate: 10}
	for i, want := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond} {
		if got := byRate.wait(nil, start); got != want {
			t.Errorf("record %d by rate: %s", i, got)
		}
	}
	byTime, err := (&SendCmd{Speed: 60}).newPacer(streamInfo{Time: "t", TimeFormat: "%Y/%m/%d %H:%M"})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		record string
		want   time.Duration
	}{
		{`{"t":"2001/01/01 00:47","x":1}`, 0}, {`{"x":1,"t":"2001/01/01 00:50"}`, 3 * time.Second},
		{`{"t":"2001/01/01 00:40"}`, 0}, {`{"t":"soon"}`, 0}, {`not JSON`, 0}, {`{"t":"2001/01/01 01:47"}`, time.Minute},
	} {
		if got := byTime.wait([]byte(c.record), start); got != c.want {
			t.Errorf("record %d by time: %s", i, got)
		}
	}
	if _, err := (&SendCmd{Speed: 1, Stream: "s"}).newPacer(streamInfo{}); err == nil || !strings.Contains(err.Error(), "-- time: column") {
		t.Errorf("no time: %v", err)
	}
}

func TestSendPacedByTimeSplitsBatches(t *testing.T) {
	f := &fakeServer{info: `{"stream":"s","time":"t"}`}
	code, _, err := runCLI(t, "{\"t\":\"2001-01-01T00:00:00Z\"}\n{\"t\":\"2001-01-01T00:00:00Z\"}\n{\"t\":\"2001-01-01T00:01:00Z\"}\n", "send", "s", "-", "--url", f.start(t), "--speed", "1000")
	if code != 0 || f.calls != 2 || f.arrived[1].Sub(f.arrived[0]) < 30*time.Millisecond {
		t.Errorf("%d %s %v", code, err, f.arrived)
	}
}

func TestShuffleKeepsEveryRecordAndItsNumber(t *testing.T) {
	f := &fakeServer{info: `{}`}
	var in []string
	for i := range 100 {
		in = append(in, fmt.Sprintf(`{"x":%d}`, i))
	}
	code, _, err := runCLI(t, strings.Join(in, "\n"), "send", "s", "-", "--url", f.start(t), "--shuffle", "20", "--clients", "1")
	got := slices.Clone(f.events)
	slices.Sort(got)
	want := slices.Sorted(slices.Values(in))
	if code != 0 || !slices.Equal(got, want) || slices.Equal(f.events, in) {
		t.Errorf("%d %s %v", code, err, f.events)
	}
}
