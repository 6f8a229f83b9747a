package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// quiet leaves landing and batch runs to the test.
var quiet = []string{"--land-age", "1h", "--batch-schedule", "off"}

// startReady starts the program and waits until it answers.
func startReady(t *testing.T, project, data string, env []string, args ...string) *process {
	t.Helper()
	p := startProcess(t, project, data, env, args...)
	switch {
	case p == nil:
		t.Fatal("the process ended by itself, before it listened")
	case !p.awaitReady():
		p.mu.Lock()
		defer p.mu.Unlock()
		t.Fatalf("the process ended by itself:\n%s", p.log.String())
	}
	return p
}

// A reply is an HTTP response, read to its end.
type reply struct {
	status int
	header http.Header // trailers included
	body   []byte
}

// call sends a request; headers are names and values in turn.
func (p *process) call(method, path string, body io.Reader, headers ...string) reply {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", method, path, err, p.output())
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", method, path, err, p.output())
	}
	for name, values := range resp.Trailer {
		resp.Header[name] = values
	}
	return reply{resp.StatusCode, resp.Header, text}
}

// A refused is an error as a client gets it.
type refused struct {
	Code     string `json:"code"`
	Message  string `json:"detail"`
	Hint     string `json:"hint"`
	Position any    `json:"position"` // a place in the SQL, or of ingest a token
}

// refusal reads an error of the expected status and code; "" is any code.
func (r reply) refusal(t *testing.T, status int, code string) refused {
	t.Helper()
	var f refused
	if err := json.Unmarshal(r.body, &f); err != nil {
		t.Errorf("status %d, and the body is no JSON: %s", r.status, r.body)
	}
	if r.status != status || r.header.Get("Content-Type") != "application/problem+json" || code != "" && f.Code != code || f.Code == "" || f.Message == "" {
		t.Errorf("want status %d and code %q, got %d: %s", status, code, r.status, r.body)
	}
	return f
}

// must gives the body of a success.
func (r reply) must(t *testing.T) []byte {
	t.Helper()
	if r.status != http.StatusOK {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	return r.body
}

func mustDecode[T any](t *testing.T, text []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// mustPost sends events that must be answered, and waits until answers count them.
func (p *process) mustPost(stream, body string) ingested {
	p.t.Helper()
	a, err := p.post(p.t.Context(), stream, body)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.output())
	}
	p.mustGet("/v1/sql?after="+a.Position, "SELECT 1 AS one")
	return a
}

// sqlRow asks for one row.
func (p *process) sqlRow(sql string) map[string]any {
	p.t.Helper()
	a := p.mustGet("/v1/sql", sql)
	if len(a.Data) != 1 {
		p.t.Fatalf("%s: %d rows", sql, len(a.Data))
	}
	return a.Data[0]
}

// batch lands everything and runs batch.
func (p *process) batch(query string) batchAnswer {
	p.t.Helper()
	run := mustDecode[batchAnswer](p.t, p.call(http.MethodPost, "/v1/batch/run"+query, nil).must(p.t))
	if run.Status != "succeeded" {
		p.t.Fatalf("batch run: %+v", run)
	}
	return run
}

type batchAnswer struct {
	ID      int64            `json:"id"`
	Trigger string           `json:"trigger"`
	Rebuild bool             `json:"rebuild"`
	Status  string           `json:"status"`
	Rows    int64            `json:"rows"`
	Through map[string]int64 `json:"through"`
}

// A streamState is what /v1/status says of a stream.
type streamState struct {
	Stream  string   `json:"stream"`
	Epoch   int64    `json:"epoch"`
	Head    int64    `json:"head"`
	Applied int64    `json:"applied"`
	Landed  int64    `json:"landed"`
	Batched int64    `json:"batched"`
	Lost    []string `json:"lost"`
	Ledger  struct {
		Received   int64 `json:"received"`
		Accepted   int64 `json:"accepted"`
		Refused    int64 `json:"refused"`
		Duplicates int64 `json:"duplicates"`
		LandedRows int64 `json:"landed_rows"`
	} `json:"ledger"`
}

// state asks how far the only stream of the project is.
func (p *process) state() streamState {
	p.t.Helper()
	s := mustDecode[struct {
		Streams []streamState `json:"streams"`
	}](p.t, p.call(http.MethodGet, "/v1/status", nil).must(p.t))
	if len(s.Streams) != 1 {
		p.t.Fatalf("status lists %d streams", len(s.Streams))
	}
	return s.Streams[0]
}

// eventually polls until ok.
func (p *process) eventually(what string, limit time.Duration, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
		if p.gone() {
			break
		}
	}
	if p.gone() {
		p.t.Fatalf("the process ended before: %s\n%s", what, p.output())
	}
	p.t.Fatalf("not within %s: %s\n%s\n%s", limit, what, p.call(http.MethodGet, "/v1/status", nil).body, p.output())
}

// payment makes an event of the stream payments at noon plus minutes.
func payment(id string, minutes int, merchant string, cents int, code string) string {
	at := time.Date(2024, 3, 1, 12, minutes, 0, 0, time.UTC).Format(time.RFC3339)
	return fmt.Sprintf(`{"id":%q,"ts":%q,"merchant":%q,"amount":%d.%02d,"code":%q,"weight":0.5}`+"\n", id, at, merchant, cents/100, cents%100, code)
}

// payments makes n events with ids that begin with prefix.
func payments(prefix string, n int) string {
	var sb strings.Builder
	for i := range n {
		sb.WriteString(payment(fmt.Sprintf("%s%d", prefix, i), i%180, merchants[i%3], 100+i, "7"))
	}
	return sb.String()
}

// count gives the number of rows of a table.
func (p *process) count(table string) string {
	p.t.Helper()
	return fmt.Sprint(p.sqlRow("SELECT count(*) AS n FROM " + table)["n"])
}

// trigger posts nothing to a path and gives the status; unlike call it may be
// used by any goroutine.
func (p *process) trigger(path string) (status int, err error) {
	resp, err := http.Post(p.url+path, "", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// caughtUp waits until everything acknowledged is applied: an answer that was
// not asked for with after= may be behind.
func (p *process) caughtUp() {
	p.t.Helper()
	p.eventually("everything applied", 30*time.Second, func() bool { s := p.state(); return s.Applied == s.Head })
}
