package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tailwater/tailwater/demo"
)

// startDemo starts the demo, landing and batching often.
func startDemo(t *testing.T, data string, args ...string) *process {
	t.Helper()
	p := startCommand(t, nil, append([]string{"demo", "--data", data, "--http", "127.0.0.1:0", "--land-age", "300ms", "--batch-schedule", "@every 1s"}, args...)...)
	if p == nil || !p.awaitReady() {
		t.Fatal("the demo ended by itself")
	}
	return p
}

// demoFacts are what the stream holds of the payments sent.
type demoFacts struct {
	Payments, IDs  uint64
	Least, Most    *string
	Dead, DeadRaws uint64
}

func (p *process) demoFacts() (f demoFacts) {
	p.t.Helper()
	row, err := json.Marshal(p.sqlRow("SELECT count(*) AS payments, count(DISTINCT id) AS ids, min(id) AS least, max(id) AS most," +
		" (SELECT count(*) FROM payments_dead) AS dead, (SELECT count(DISTINCT raw) FROM payments_dead) AS deadRaws FROM payments"))
	if err != nil {
		p.t.Fatal(err)
	}
	return mustDecode[demoFacts](p.t, row)
}

// exact fails unless every payment from the first to the newest is there once, and
// every record that did not fit is a dead letter once.
func (f demoFacts) exact(t *testing.T, seed uint64) (payments uint64) {
	t.Helper()
	if f.Most == nil {
		t.Fatal("there is no payment")
	}
	newest, err := demo.Number(*f.Most)
	if err != nil {
		t.Fatal(err)
	}
	if *f.Least != demo.ID(0) || f.Payments != newest+1 || f.IDs != newest+1 {
		t.Errorf("%d payments with %d ids from %s to %s: they are not each there once", f.Payments, f.IDs, *f.Least, *f.Most)
	}
	g, malformed := demo.New(seed, 1, time.Time{}, 0), uint64(0)
	for n := range newest + 1 {
		if g.Malformed(n) {
			malformed++
		}
	}
	if f.Dead != malformed || f.DeadRaws != malformed {
		t.Errorf("%d dead letters, %d of them different, and %d records did not fit", f.Dead, f.DeadRaws, malformed)
	}
	return f.Payments
}

var demoViews = []string{"merchants", "revenue", "suspicious_cards"}

func TestTheDemoGoesOnExactlyAfterEveryKill(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	random := rand.New(rand.NewPCG(seed(t), 11))
	var before uint64
	for round := range 6 {
		p := startDemo(t, data, "--rate", "8000", "--history", "10s", "--seed", "5")
		// The first round is killed within the history, the others somewhere later.
		enough := before + 1 + random.Uint64N(12_000)
		p.eventually(fmt.Sprintf("round %d: %d payments", round, enough), 60*time.Second, func() bool {
			a, err := p.get("/v1/views/merchants", "")
			return err == nil && sumOf(t, a, "payments") >= enough
		})
		p.kill()
		before = enough
	}
	p := startDemo(t, data, "--rate", "100", "--seed", "5") // slow enough to be looked at
	for _, view := range demoViews {
		if d, text := p.difference(view); d != 0 {
			t.Errorf("while payments come, the difference of %s is %d: %s", view, d, text)
		}
	}
	p.stop()
	// Nothing is sent now, so that several answers are about the same payments.
	p = startReady(t, filepath.Join(data, "project"), data, nil, quiet...)
	p.caughtUp()
	payments := p.demoFacts().exact(t, 5)
	if payments < before {
		t.Errorf("%d payments, and %d were there before", payments, before)
	}
	for _, view := range demoViews {
		if d, text := p.difference(view); d != 0 {
			t.Errorf("the difference of %s is %d: %s", view, d, text)
		}
	}
	if got := sumOf(t, p.mustGet("/v1/views/revenue", ""), "payments"); got != payments {
		t.Errorf("the minutes sum up to %d payments, there are %d", got, payments)
	}
	if s := p.state(); s.Ledger.Duplicates == 0 {
		t.Errorf("no payment was sent twice: %+v", s.Ledger)
	}
}

// sumOf adds up a column of whole numbers.
func sumOf(t *testing.T, a answered, column string) (sum uint64) {
	t.Helper()
	for _, row := range a.Data {
		var n uint64
		if _, err := fmt.Sscan(fmt.Sprint(row[column]), &n); err != nil {
			t.Fatalf("%s: %v", column, err)
		}
		sum += n
	}
	return sum
}

func TestTheFirstLookAtTheDemoHasHistoryInTheWarehouse(t *testing.T) {
	t.Parallel()
	p := startCommand(t, nil, "demo", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--batch-schedule", "off", "--rate", "20", "--history", "1h")
	if p == nil {
		t.Fatal("the demo ended by itself")
	}
	p.eventually("the invitation", 60*time.Second, func() bool { return strings.Contains(p.output(), "start me again: the difference stays 0") })
	mustContain(t, "log", p.output(), "msg=demo url="+p.url, "view revenue --check --url "+p.url)
	if s := p.state(); s.Batched == 0 {
		t.Errorf("nothing is batched: %+v", s)
	}
	if minutes := p.count("(SELECT DISTINCT window_start FROM revenue)"); len(minutes) < 2 {
		t.Errorf("%s minutes of history", minutes)
	}
	p.stop()
}

// A feedServer answers as a server that is in trouble, and keeps what it took.
type feedServer struct {
	mu      sync.Mutex
	random  *rand.Rand
	newest  string // answered to the question for it, JSON
	tries   [][]byte
	taken   []byte
	wanted  int // payments after which done is called
	done    context.CancelFunc
	trouble func(w http.ResponseWriter) (handled bool)
}

func (s *feedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.URL.Path {
	case "/readyz":
		io.WriteString(w, `{"status":"ready"}`)
		return
	case "/v1/sql":
		io.WriteString(w, `{"data":[`+s.newest+`]}`)
		return
	case "/v1/batch/run":
		io.WriteString(w, `{"id":1,"status":"succeeded"}`)
		return
	}
	s.tries = append(s.tries, body)
	if s.random.IntN(2) == 0 && s.trouble(w) {
		return
	}
	s.taken = append(s.taken, body...)
	if bytes.Count(s.taken, []byte("\n")) >= s.wanted {
		s.done()
	}
	io.WriteString(w, `{"accepted":1,"rejected":[],"position":"payments/1/0/1"}`)
}

// feed runs a feeder against the server until the server has had enough.
func (s *feedServer) feed(t *testing.T, wanted int, f *feeder) error {
	t.Helper()
	srv := httptest.NewServer(s)
	defer srv.Close()
	var ctx context.Context
	ctx, s.done = context.WithTimeout(t.Context(), 60*time.Second)
	defer s.done()
	s.random, s.wanted = rand.New(rand.NewPCG(1, 1)), wanted
	f.URL, f.logger, f.now = srv.URL, slog.New(slog.DiscardHandler), time.Now
	return f.run(ctx, func() {})
}

// numbers gives the payments of a body, in order.
func numbers(body []byte) (out []uint64) {
	for _, line := range bytes.Split(body, []byte("\n")) {
		var r struct{ ID string }
		if json.Unmarshal(line, &r) == nil {
			if n, err := demo.Number(r.ID); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

func TestTheDemoTriesTheSameRequestUntilItIsAnswered(t *testing.T) {
	troubles := map[string]func(w http.ResponseWriter) bool{
		"the log is full": func(w http.ResponseWriter) bool {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"code":"log_full","detail":"full"}`)
			return true
		},
		"the connection breaks": func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) },
		"an internal error": func(w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		},
	}
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &feedServer{newest: `{"id":null,"ts":null,"stored":null}`, trouble: trouble}
			if err := s.feed(t, 10_000, &feeder{seed: 1, rate: 20_000, history: time.Second / 10}); err != nil {
				t.Fatal(err)
			}
			got := numbers(s.taken)
			slices.Sort(got)
			got = slices.Compact(got) // the generator itself sends some twice
			for i, n := range got {
				if n != uint64(i) {
					t.Fatalf("payment %d follows %d", n, i-1)
				}
			}
			distinct := map[string]bool{}
			for _, body := range s.tries {
				distinct[string(body)] = true
			}
			if len(got) < 9000 || len(distinct) == len(s.tries) {
				t.Errorf("%d payments in %d tries of %d requests", len(got), len(s.tries), len(distinct))
			}
		})
	}
}

func TestTheDemoGoesOnAfterTheNewestPaymentAndRepeatsTheLast(t *testing.T) {
	none := func(http.ResponseWriter) bool { return false }
	at := func(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format(time.RFC3339Nano) }
	for name, c := range map[string]struct {
		newest string
		first  uint64
	}{
		"soon": {fmt.Sprintf(`{"id":"p000000000500","ts":%q,"stored":%q}`, at(time.Second), at(time.Second)), 401},
		"few":  {fmt.Sprintf(`{"id":"p000000000007","ts":%q,"stored":%q}`, at(time.Second), at(time.Second)), 0},
		// Later than the window within which an id makes two payments one.
		"late": {fmt.Sprintf(`{"id":"p000000000500","ts":%q,"stored":%q}`, at(time.Hour), at(time.Hour)), 501},
	} {
		t.Run(name, func(t *testing.T) {
			s := &feedServer{newest: c.newest, trouble: none}
			if err := s.feed(t, 1000, &feeder{seed: 1, rate: 2000, history: time.Minute}); err != nil {
				t.Fatal(err)
			}
			if got := numbers(s.taken); len(got) < 900 || slices.Min(got) != c.first {
				t.Errorf("%d payments from %d, want from %d", len(got), slices.Min(got), c.first)
			}
		})
	}
}

func TestTheDemoEndsIfItsPaymentsDoNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		status int
	}{
		"refused":  {`{"code":"bad_body","detail":"next to nothing fits"}`, http.StatusBadRequest},
		"rejected": {`{"accepted":0,"rejected":[{"line":1,"field":"card","reason":"unknown field"}]}`, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			s := &feedServer{newest: `{"id":null}`}
			s.trouble = func(w http.ResponseWriter) bool {
				w.WriteHeader(c.status)
				io.WriteString(w, c.answer)
				return true
			}
			err := s.feed(t, 1<<30, &feeder{seed: 1, rate: 2000, history: time.Minute})
			if err == nil || !strings.Contains(err.Error(), "send payments") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTheDemoIsTheUsersProjectAfterTheFirstStart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startDemo(t, data, "--history", "0s")
	p.stop()
	putFile(t, filepath.Join(data, "project", "views", "mine.sql"), "SELECT status, count(*) AS payments FROM payments GROUP BY status")
	putFile(t, filepath.Join(data, "project", "tailwater.yaml"), "query-max-rows: 7\n")
	p = startDemo(t, data, "--history", "0s")
	p.eventually("payments of the new view", 30*time.Second, func() bool { return len(p.mustGet("/v1/views/mine", "").Data) > 0 })
	p.call(http.MethodPost, "/v1/sql", strings.NewReader("SELECT * FROM range(8)"), "Content-Type", "text/plain").refusal(t, http.StatusUnprocessableEntity, "result_too_large")
	p.stop()
}

func TestTheFolderOfTheDemoIsAProjectLikeAnyOther(t *testing.T) {
	t.Parallel()
	p := startReady(t, "../../demo", t.TempDir(), nil, quiet...)
	for range 2 { // the second time they are duplicates
		code, out, stderr := runCLI(t, "", "send", "payments", "../../demo/sample.ndjson", "--url", p.url)
		if code != 0 || !strings.HasPrefix(out, "accepted 400, rejected 0") {
			t.Fatalf("%d %s %s", code, out, stderr)
		}
	}
	p.caughtUp()
	if n := p.count("payments"); n != "400" {
		t.Errorf("%s payments of 400", n)
	}
	for _, view := range demoViews {
		if d, text := p.difference(view); d != 0 {
			t.Errorf("the difference of %s is %d: %s", view, d, text)
		}
	}
	if len(p.mustGet("/v1/views/suspicious_cards", "").Data) == 0 {
		t.Error("no card of the sample looks stolen")
	}
}

func TestDemoCommandLinesThatMakeNoSense(t *testing.T) {
	for args, want := range map[string]string{
		"--rate 0":        "--rate",
		"--rate 1000000":  "--rate",
		"--history -1s":   "--history",
		"--land-age soon": "--land-age",
	} {
		code, _, stderr := runCLI(t, "", append([]string{"demo", "--data", t.TempDir()}, strings.Fields(args)...)...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s", args, code, stderr)
		}
	}
}
