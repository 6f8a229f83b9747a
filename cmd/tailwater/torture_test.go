package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/fault"
)

// kills is how often the torture test kills the process; TAILWATER_TEST_KILLS
// overrides it.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TAILWATER_TEST_KILLS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("TAILWATER_TEST_KILLS: %v", err)
	}
	return n
}

// A fleet sends events to a process that may die at any moment, and remembers
// which were acknowledged. A request without an answer is sent again: its
// events have ids.
type fleet struct {
	mu     sync.Mutex
	rng    *rand.Rand
	next   int
	acked  map[string]sentEvent
	unsure map[string]sentEvent // sent, not acknowledged
}

type sentEvent struct {
	hour     string // window_start, RFC 3339
	merchant string
	cents    int64
	line     string
}

func newFleet(seed uint64) *fleet {
	return &fleet{rng: rand.New(rand.NewPCG(seed, 7)), acked: map[string]sentEvent{}, unsure: map[string]sentEvent{}}
}

// request makes the next body: events sent without an answer before, then new ones.
func (f *fleet) request() (ids []string, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var sb strings.Builder
	for id, e := range f.unsure {
		if len(ids) == 20 {
			break
		}
		if f.rng.IntN(2) == 0 {
			ids = append(ids, id)
			sb.WriteString(e.line)
		}
	}
	for range 1 + f.rng.IntN(120) {
		id := fmt.Sprintf("k%d", f.next)
		f.next++
		at := time.Date(2024, 3, 1, f.rng.IntN(48), f.rng.IntN(60), f.rng.IntN(60), 0, time.UTC)
		e := sentEvent{hour: at.Truncate(time.Hour).Format(time.RFC3339), merchant: merchants[f.rng.IntN(3)], cents: f.rng.Int64N(100_000)}
		e.line = fmt.Sprintf(`{"id":%q,"ts":%q,"merchant":%q,"amount":%d.%02d,"code":"7","weight":1.5}`+"\n", id, at.Format(time.RFC3339), e.merchant, e.cents/100, e.cents%100)
		f.unsure[id] = e
		ids = append(ids, id)
		sb.WriteString(e.line)
	}
	return ids, sb.String()
}

func (f *fleet) acknowledge(ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if e, ok := f.unsure[id]; ok {
			f.acked[id] = e
			delete(f.unsure, id)
		}
	}
}

// load sends with several clients until ctx ends or the process is gone.
func (f *fleet) load(ctx context.Context, p *process) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond) // 200 kills long, what is there stays readable at once
			defer pace.Stop()
			for ctx.Err() == nil && !p.gone() {
				<-pace.C
				ids, body := f.request()
				answer, err := p.post(ctx, "payments", body)
				if err == nil && len(answer.Rejected) == 0 {
					f.acknowledge(ids)
				}
			}
		})
	}
	return &wg
}

// verify proves from outside that every acknowledged event is there once, that
// nothing is there that was not sent, and that no cell of a view is wrong.
func (f *fleet) verify(t *testing.T, p *process) {
	t.Helper()
	got := p.mustGet("/v1/sql", "SELECT id FROM payments")
	present := map[string]int{}
	for _, r := range got.Data {
		present[r["id"].(string)]++
	}
	f.judge(t, present, "answers")
	cells := map[string][2]int64{}
	for id := range present {
		e, ok := f.acked[id]
		if !ok {
			e = f.unsure[id]
		}
		k := e.hour + "|" + e.merchant
		c := cells[k]
		cells[k] = [2]int64{c[0] + 1, c[1] + e.cents}
	}
	// Nothing was sent between the two questions.
	view := p.mustGet("/v1/views/hourly", "")
	if len(view.Data) != len(cells) {
		t.Fatalf("hourly has %d rows, want %d", len(view.Data), len(cells))
	}
	for _, r := range view.Data {
		k := r["window_start"].(string) + "|" + r["merchant"].(string)
		total := strings.Replace(r["total"].(json.Number).String(), ".", "", 1)
		if want := cells[k]; r["n"].(json.Number).String() != fmt.Sprint(want[0]) || strings.TrimLeft(total, "0") != strings.TrimLeft(fmt.Sprint(want[1]), "0") {
			t.Fatalf("hourly %s: n %v total %v, want %v", k, r["n"], r["total"], want)
		}
	}
	for name := range worldViews {
		if d, text := p.difference(name); d != 0 {
			t.Fatalf("difference of %s is %d: %s", name, d, text)
		}
	}
}

// glance is verify by counting: cheap enough to follow every kill of a long test.
func (f *fleet) glance(t *testing.T, p *process) {
	t.Helper()
	got := p.mustGet("/v1/sql", "SELECT count(*)::BIGINT AS n, count(DISTINCT id) AS ids, (SELECT n FROM overall) AS view FROM payments").Data[0]
	n, _ := got["n"].(json.Number).Int64()
	if got["n"] != got["ids"] || got["n"] != got["view"] || n < int64(len(f.acked)) || n > int64(len(f.acked)+len(f.unsure)) {
		t.Fatalf("counts are %v; %d events are acknowledged, %d are without an answer", got, len(f.acked), len(f.unsure))
	}
}

func (f *fleet) judge(t *testing.T, present map[string]int, where string) {
	t.Helper()
	for id, n := range present {
		if n != 1 {
			t.Fatalf("%s: event %s is there %d times", where, id, n)
		}
		_, acked := f.acked[id]
		if _, unsure := f.unsure[id]; !acked && !unsure {
			t.Fatalf("%s: event %s was never sent", where, id)
		}
	}
	var missing []string
	for id := range f.acked {
		if present[id] == 0 {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		t.Fatalf("%s: %d of %d acknowledged events are missing, such as %s", where, len(missing), len(f.acked), missing[0])
	}
}

// lakeIDs replays the Delta log by hand and reads the active files with an engine
// of its own: it shares no code with the lake room.
func lakeIDs(t *testing.T, table string) map[string]int {
	t.Helper()
	commits, err := filepath.Glob(filepath.Join(table, "_delta_log", "*.json"))
	if err != nil || len(commits) == 0 {
		t.Fatalf("no commits in %s: %v", table, err)
	}
	sort.Strings(commits)
	active := map[string]bool{}
	for i, path := range commits {
		if want := fmt.Sprintf("%020d.json", i); filepath.Base(path) != want {
			t.Fatalf("commit %s where %s should be", path, want)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var a struct{ Add, Remove *struct{ Path string } }
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if a.Add != nil {
				active[filepath.Join(table, a.Add.Path)] = true
			}
			if a.Remove != nil {
				delete(active, filepath.Join(table, a.Remove.Path))
			}
		}
	}
	ids := map[string]int{}
	if len(active) == 0 {
		return ids
	}
	var files []string
	for path := range active {
		files = append(files, duckdb.Literal(path))
	}
	db, err := duckdb.Open(t.Context(), duckdb.Options{AllowedDirs: []string{table}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rel, err := conn.Collect(t.Context(), "SELECT id FROM read_parquet(["+strings.Join(files, ", ")+"])")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range rel.Batches {
		col := b.Column(0).(*array.String)
		for i := range col.Len() {
			ids[col.Value(i)]++
		}
	}
	return ids
}

func worldFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{"streams/payments.sql": worldStream} {
		putFile(t, filepath.Join(dir, path), text)
	}
	for name, sql := range worldViews {
		putFile(t, filepath.Join(dir, "views", name+".sql"), sql)
	}
	return dir
}

func putFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// often makes everything happen often, so that kills hit every step, and lets the
// test read every id back at once.
var often = []string{"--land-age", "300ms", "--batch-schedule", "@every 1s", "--query-max-rows", "100000000", "--query-timeout", "5m"}

func TestEveryAcknowledgedEventSurvivesKillsUnderLoad(t *testing.T) {
	t.Parallel()
	project, data := worldFolder(t), t.TempDir()
	f := newFleet(seed(t))
	for round := range kills(t) {
		p := startProcess(t, project, data, nil, often...)
		if p == nil || !p.awaitReady() {
			t.Fatalf("round %d: the process ended by itself", round)
		}
		switch {
		case round == 0:
		case round <= 20 || round%20 == 0:
			f.verify(t, p)
		default:
			f.glance(t, p)
		}
		ctx, cancel := context.WithCancel(t.Context())
		wg := f.load(ctx, p)
		time.Sleep(time.Duration(50+f.rng.IntN(1500)) * time.Millisecond) // the moment of the kill is what is random
		p.kill()
		cancel()
		wg.Wait()
	}
	p := startProcess(t, project, data, nil, often...)
	if p == nil || !p.awaitReady() {
		t.Fatal("the process ended by itself")
	}
	f.verify(t, p)
	p.stop()
	f.judge(t, lakeIDs(t, filepath.Join(data, "lake", "payments")), "lake")
	t.Logf("%d kills, %d events acknowledged, %d without an answer", kills(t), len(f.acked), len(f.unsure))
}

func TestEveryFaultPointLeavesEveryAcknowledgedEventCountedOnce(t *testing.T) {
	t.Parallel()
	project, data := worldFolder(t), t.TempDir()
	f := newFleet(seed(t))
	for _, point := range fault.Points {
		for _, action := range []string{"panic", "error", "exit"} {
			arm := fmt.Sprintf("TAILWATER_FAILPOINTS=%s=%s:%d", point, action, 1+f.rng.IntN(3))
			if p := startProcess(t, project, data, []string{arm}, often...); p != nil {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // a point of the batch run is met once a second
				wg := f.load(ctx, p)
				fired := func() bool { return p.gone() || strings.Contains(p.output(), "failpoint fired") }
				await(t, ctx, fired)
				cancel()
				wg.Wait()
				if !fired() {
					t.Fatalf("%s: never fired\n%s", arm, p.output())
				}
				if action != "panic" && action != "exit" && p.gone() {
					t.Fatalf("%s: the process ended\n%s", arm, p.output())
				}
				p.kill()
			}
			p := startProcess(t, project, data, nil, often...)
			if p == nil || !p.awaitReady() {
				t.Fatalf("after %s: the process ended by itself", arm)
			}
			f.verify(t, p)
			p.stop()
		}
	}
	f.judge(t, lakeIDs(t, filepath.Join(data, "lake", "payments")), "lake")
}

// await polls until ok or ctx ends.
func await(t *testing.T, ctx context.Context, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
