package serving

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// fakeQueries answers by the name that is asked for, and echoes what it was asked.
type fakeQueries struct {
	mu       sync.Mutex
	ready    error
	closed   int
	blocking chan struct{} // View("slow") waits for it
	entered  chan struct{} // and says here that it does
}

func (f *fakeQueries) echo(text string) *Answer {
	columns := []event.Column{{Name: "asked", Type: kind(event.Varchar)}}
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	b.Field(0).(*array.StringBuilder).Append(text)
	a := answerOf(columns, b.NewRecordBatch())
	a.Statistics = map[string]any{"elapsed_ms": 0}
	a.Close = f.count
	a.Repeatable = true
	return a
}

func (f *fakeQueries) count() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
}

// View takes a slot for as long as its answer is open, as a core does.
func (f *fakeQueries) View(ctx context.Context, r ViewRequest) (*Answer, error) {
	release, err := takeSlot(ctx)
	if err != nil {
		return nil, err
	}
	a, err := f.view(ctx, r)
	if err != nil {
		release()
		return nil, err
	}
	end := a.Close
	a.Close = func() {
		if end != nil {
			end()
		}
		release()
	}
	return a, nil
}

func (f *fakeQueries) view(ctx context.Context, r ViewRequest) (*Answer, error) {
	switch r.Name {
	case "slow":
		f.entered <- struct{}{}
		select {
		case <-f.blocking:
		case <-ctx.Done():
			return nil, fmt.Errorf("view slow: %w", ctx.Err())
		}
	case "absent":
		return nil, notFound("view", r.Name, []string{"daily"})
	case "lost":
		return nil, fmt.Errorf("position payments/1/0/9: %w", ErrPositionLost)
	case "broken":
		return nil, errors.New("open /secret/path: no such file")
	case "panics":
		panic("at the disco")
	case "binder":
		return nil, fmt.Errorf("query: %w", &duckdb.Error{Type: "Binder", Message: "no column \"x\"\n\nLINE 1: SELECT x FROM '/secret/path'\n ^"})
	case "memory":
		return nil, &duckdb.Error{Type: "Out of Memory", Message: "could not allocate at /secret"}
	case "cut", "failing":
		rows := map[string]int{"cut": 100_000, "failing": 10}[r.Name]
		a := manyRows(rows, errors.New("the disk of /secret/path broke"))
		a.Close = f.count
		return a, nil
	case "long":
		a := manyRows(20_000, io.EOF)
		a.Close = f.count
		return a, nil
	case "incomplete":
		a := f.echo("x")
		a.Complete = false
		return a, nil
	}
	var parts []string
	if r.Filter.From != nil {
		parts = append(parts, "from="+r.Filter.From.Format(timeLayout))
	}
	if r.Filter.To != nil {
		parts = append(parts, "to="+r.Filter.To.Format(timeLayout))
	}
	if len(r.Filter.Among)+len(r.Filter.Bounds) > 0 {
		parts = append(parts, fmt.Sprintf("among=%v bounds=%v", r.Filter.Among, r.Filter.Bounds))
	}
	if r.Filter.By != nil || r.Filter.Fill != "" || r.Filter.Top != nil {
		parts = append(parts, fmt.Sprintf("by=%v fill=%s top=%v", r.Filter.By, r.Filter.Fill, r.Filter.Top))
	}
	if r.At != nil {
		parts = append(parts, "at="+r.At.String())
	}
	for _, w := range r.Filter.Where {
		parts = append(parts, fmt.Sprintf("where %s=%q null=%t", w.Key, w.Value, w.Null))
	}
	parts = append(parts, fmt.Sprintf("order=%q limit=%d offset=%d", r.Filter.Order, r.Filter.Limit, r.Filter.Offset))
	if r.After != nil {
		parts = append(parts, "after="+r.After.String())
	}
	return f.echo(strings.Join(parts, "; ")), nil
}

func (f *fakeQueries) Prepare(context.Context, string) (*Prepared, error) { return &Prepared{}, nil }
func (f *fakeQueries) SQL(ctx context.Context, r SQLRequest) (*Answer, error) {
	if r.SQL == "refused" {
		return nil, &Refusal{Code: "unknown_table", Message: `there is no table "x"`, Hint: "did you mean y?", Position: 15}
	}
	text := fmt.Sprintf("%s; timeout=%s", r.SQL, r.Timeout)
	if r.After != nil {
		text += "; after=" + r.After.String()
	}
	if r.At != nil {
		text += "; at=" + r.At.String()
	}
	for _, p := range r.Parameters {
		text += fmt.Sprintf("; $%s=%T %v", p.Name, p.Value, p.Value)
	}
	return f.echo(text), nil
}

func (f *fakeQueries) Live(_ context.Context, r LiveRequest) (*Subscription, error) {
	return nil, notFound("view", r.Name, []string{"daily"})
}

func (f *fakeQueries) Check(_ context.Context, r CheckRequest) (*Check, error) {
	if r.View == "hole" {
		return nil, fmt.Errorf("view hole: %w: payments/1/0(3,5] is in no layer", ErrIncomplete)
	}
	cut := event.Cut{{Stream: "payments", Epoch: 1}: 9}
	if r.At != nil {
		cut = r.At
	}
	return &Check{View: r.View, Rows: 3, Cut: cut, Missing: []json.RawMessage{json.RawMessage(`{"a":1}`)}, Difference: 1, ElapsedMS: 1.5}, nil
}

func (f *fakeQueries) Views(context.Context) (any, error)  { return []string{"daily"}, nil }
func (f *fakeQueries) Status(context.Context) (any, error) { return map[string]int{"lag": 0}, nil }
func (f *fakeQueries) Runs(context.Context) (any, error)   { return []int{2, 1}, nil }
func (f *fakeQueries) RunBatch(_ context.Context, rebuild bool) (any, error) {
	return map[string]bool{"rebuild": rebuild}, nil
}

func (f *fakeQueries) Redefined() uint64 { return 0 }

func (f *fakeQueries) Apply(_ context.Context, dryRun bool) (any, error) {
	return map[string]bool{"dry_run": dryRun}, nil
}
func (f *fakeQueries) Applying(context.Context) (any, error) {
	return map[string]bool{"applying": false}, nil
}
func (f *fakeQueries) History(_ context.Context, view string) (any, error) {
	if view != "daily" {
		return nil, notFound("view", view, []string{"daily"})
	}
	return map[string]any{"versions": []int{}}, nil
}

func (f *fakeQueries) Cut(context.Context) (event.Cut, error) {
	return answerOf(nil).Cut, nil
}

func (f *fakeQueries) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready
}

func (f *fakeQueries) setReady(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = err
}

func (f *fakeQueries) Streams() []*event.Schema {
	return []*event.Schema{{
		Stream:     "payments",
		Columns:    []event.Column{{Name: "id", Type: kind(event.BigInt), NotNull: true}, {Name: "at", Type: kind(event.Timestamp)}, {Name: "seen", Type: kind(event.Timestamp)}},
		TimeColumn: 1, IDColumn: 0, Formats: map[int]string{1: "%d.%m.%Y", 2: "%s"},
	}, {Stream: "plain", Columns: []event.Column{{Name: "x", Type: event.Type{Kind: event.Decimal, Precision: 9, Scale: 2}}}, TimeColumn: -1, IDColumn: -1}}
}

// TestScripts runs testdata/http/*.txt. A script holds exchanges: "> METHOD /path",
// "> Header: value" and "| body" send; then come the status line, the headers that
// "? Header" asked for, and the body, which UPDATE_GOLDEN rewrites. "! not ready" and
// "! ready" set the state.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/http/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(script))
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(script) {
				t.Errorf("the script plays as\n%s", got)
			}
		})
	}
}

func play(t *testing.T, script string) string {
	fake := &fakeQueries{}
	handler := NewHandler(fake, Config{MaxTimeout: time.Minute, MaxBody: 150})
	var out strings.Builder
	for _, exchange := range strings.Split(strings.TrimSpace(script), "\n\n") {
		var method, path string
		var body, shown []string
		header := http.Header{}
		for _, line := range strings.Split(exchange, "\n") {
			sign, rest, _ := strings.Cut(line, " ")
			switch sign {
			case "#":
			case "!":
				fake.setReady(nil)
				if rest == "not ready" {
					fake.setReady(errors.New("replaying payments/1/0: 3 of 9"))
				}
			case ">":
				if name, value, ok := strings.Cut(rest, ": "); ok {
					header.Add(name, value)
				} else {
					method, path, _ = strings.Cut(rest, " ")
				}
			case "|":
				body = append(body, rest)
			case "?":
				shown = append(shown, rest)
			default:
				continue
			}
			out.WriteString(line + "\n")
		}
		if method != "" {
			r := httptest.NewRequest(method, path, strings.NewReader(strings.Join(body, "\n")))
			r.Header.Set("X-Request-Id", "r1")
			for name, values := range header {
				r.Header[name] = values
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			fmt.Fprintf(&out, "< %d\n", w.Code)
			for _, name := range shown {
				fmt.Fprintf(&out, "< %s: %s\n", name, strings.Join(w.Header().Values(name), ", "))
			}
			for _, line := range strings.Split(strings.TrimRight(w.Body.String(), "\r\n"), "\n") {
				out.WriteString(strings.TrimRight("< "+strings.TrimRight(line, "\r"), " ") + "\n")
			}
		}
		out.WriteString("\n")
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

func serve(t *testing.T, cfg Config) (*fakeQueries, *httptest.Server) {
	t.Helper()
	fake := &fakeQueries{blocking: make(chan struct{}), entered: make(chan struct{})}
	server := httptest.NewServer(NewHandler(fake, cfg))
	t.Cleanup(server.Close)
	return fake, server
}

func TestAnAnswerThatBreaksOffNeverLooksWhole(t *testing.T) {
	fake, server := serve(t, Config{})
	for _, encoding := range []string{"identity", "gzip", "zstd"} {
		for _, format := range formats {
			r, err := http.NewRequest("GET", server.URL+"/v1/views/cut", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", format.mediaType)
			r.Header.Set("Accept-Encoding", encoding)
			response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
			if err != nil {
				continue // not even a header came
			}
			_, err = io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil {
				t.Errorf("%s, %s: the body ends like a whole one", format.mediaType, encoding)
			}
		}
	}
	waitFor(t, func() bool { fake.mu.Lock(); defer fake.mu.Unlock(); return fake.closed == 3*len(formats) })
}

// waitFor polls: the handler finishes after its client has seen the end.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCompressedAnswersReadBack(t *testing.T) {
	_, server := serve(t, Config{})
	defer server.Client().CloseIdleConnections()
	for encoding, open := range map[string]func(io.Reader) (io.Reader, error){
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		r, err := http.NewRequest("GET", server.URL+"/v1/views/long", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", encoding)
		r.Header.Set("Accept", "application/x-ndjson")
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := open(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		scanner := bufio.NewScanner(plain)
		for scanner.Scan() {
			lines++
		}
		response.Body.Close()
		if response.Header.Get("Content-Encoding") != encoding || lines != 20_000 || scanner.Err() != nil || response.Trailer.Get(headerRows) != "20000" {
			t.Errorf("%s: %q, %d lines, trailer %v, %v", encoding, response.Header.Get("Content-Encoding"), lines, response.Trailer, scanner.Err())
		}
	}
}

func status(t *testing.T, server *httptest.Server, path string) (int, string) {
	t.Helper()
	response, err := server.Client().Get(server.URL + path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(body)
}

func TestWaitingForASlotHasAnEnd(t *testing.T) {
	fake, server := serve(t, Config{Limiter: NewLimiter(LimiterConfig{Concurrency: 1, WaitTime: time.Millisecond})})
	var group sync.WaitGroup
	group.Go(func() { status(t, server, "/v1/views/slow") })
	<-fake.entered
	if code, body := status(t, server, "/v1/views/daily"); code != http.StatusTooManyRequests {
		t.Errorf("%d %s", code, body)
	}
	fake.blocking <- struct{}{}
	group.Wait()
}

func TestAQueryOverItsTimeIs504(t *testing.T) {
	fake, server := serve(t, Config{})
	go func() { <-fake.entered }()
	if code, body := status(t, server, "/v1/views/slow?timeout=20ms"); code != http.StatusGatewayTimeout || !strings.Contains(body, "20ms") {
		t.Errorf("%d %s", code, body)
	}
}

func TestUnknownErrorsAreLoggedUnderTheRequestsIDAndHidden(t *testing.T) {
	var mu sync.Mutex
	var log strings.Builder
	registry := prometheus.NewRegistry()
	_, server := serve(t, Config{Metrics: registry, Register: registry, Log: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))})
	for _, view := range []string{"broken", "panics", "failing", "memory", "binder"} {
		r, err := http.NewRequest("GET", server.URL+"/v1/views/"+view, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Request-Id", "id-of-"+view)
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if strings.Contains(string(body), "secret") || strings.Contains(string(body), "disco") {
			t.Errorf("%s shows %s", view, body)
		}
		if response.Header.Get("X-Request-Id") != "id-of-"+view {
			t.Errorf("%s: headers %v", view, response.Header)
		}
	}
	mu.Lock()
	text := log.String()
	mu.Unlock()
	for _, want := range []string{"request_id=id-of-broken", "/secret/path: no such file", "request_id=id-of-panics", "at the disco", "the disk of"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	if code, body := status(t, server, "/metrics"); code != 200 || !strings.Contains(body, `tailwater_http_request_seconds_count{code="500",route="/v1/views/{view}"} 3`) {
		t.Errorf("%d %s", code, body)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
