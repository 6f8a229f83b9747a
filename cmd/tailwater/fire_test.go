package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
)

// Every request has one event for each of seven merchants, and the amounts of a
// request add up to 100.00: whatever part of the log an answer counts, its totals
// tell whether that is a whole number of requests.
const (
	fireEvents = 7
	fireCents  = 100_00
)

var fireProject = map[string]string{
	"streams/payments.sql": "-- time: ts\n-- id: id\n-- dedup-window: 24h\nCREATE TABLE payments (id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, request BIGINT NOT NULL, merchant VARCHAR NOT NULL, amount DECIMAL(10,2) NOT NULL);\n",
	"views/tally.sql":      "SELECT merchant, count(*) AS n, sum(amount) AS total FROM payments GROUP BY merchant\n",
	"views/hours.sql":      "SELECT window_start, window_end, merchant, count(*) AS n, sum(amount) AS total FROM payments GROUP BY tumble(ts, INTERVAL '1 hour'), merchant\n",
	"views/overall.sql":    "SELECT count(*) AS n, sum(amount) AS total FROM payments\n",
}

// A fire is what goes on around those who ask: requests, batch runs, kills. It
// knows at any moment between which bounds a true total lies.
type fire struct {
	mu sync.Mutex
	p  *process
	// turn grows when a kill begins and when the process is ready again: it is
	// odd while answers are given.
	turn    int
	sent    int            // requests whose sending has begun
	acked   int            // requests that were acknowledged
	last    event.Position // the greatest position of those
	floor   int            // requests that every answer counts that is asked for from now on
	cuts    map[string]bool
	batched map[string]bool // S of every batch run that moved it
	answers map[string]int  // by question and protocol
	broken  error           // the first answer that cannot be true
}

func newFire() *fire {
	return &fire{cuts: map[string]bool{}, batched: map[string]bool{}, answers: map[string]int{}}
}

// up tells everybody of a process that is ready. What was acknowledged before it
// started is in every answer of it.
func (f *fire) up(p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.p, f.floor = p, max(f.floor, f.acked)
	f.turn++
}

func (f *fire) kill() {
	f.mu.Lock()
	f.turn++
	p := f.p
	f.mu.Unlock()
	p.kill()
}

// current gives the process, and the turn by which an error is judged.
func (f *fire) current() (p *process, turn int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.p, f.turn
}

// killed reports whether a kill is to blame for what went wrong since the turn.
func (f *fire) killed(turn int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return turn%2 == 0 || f.turn != turn
}

func (f *fire) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = err
	}
}

// seen gives the number of cuts that answers were at, the number of cuts that
// batch runs moved S to, and what went wrong.
func (f *fire) seen() (cuts, batched int, broken error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.cuts), len(f.batched), f.broken
}

// fireRequest makes a request of this number, with amounts and times at random.
func fireRequest(number int, rng *rand.Rand) string {
	var sb strings.Builder
	rest := fireCents
	for i := range fireEvents {
		cents := rest
		if i < fireEvents-1 {
			cents = 1 + rng.IntN(rest/2)
		}
		rest -= cents
		at := time.Date(2024, 3, 1, rng.IntN(48), rng.IntN(60), 0, 0, time.UTC)
		fmt.Fprintf(&sb, `{"id":"r%d-%d","ts":%q,"request":%d,"merchant":"m%d","amount":%d.%02d}`+"\n", number, i, at.Format(time.RFC3339), number, i, cents/100, cents%100)
	}
	return sb.String()
}

// write sends requests until stop, each until it is acknowledged.
func (f *fire) write(ctx context.Context, stop <-chan struct{}, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	pace := time.NewTicker(80 * time.Millisecond) // what is there stays readable at once
	defer pace.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		f.mu.Lock()
		number := f.sent
		f.sent++
		f.mu.Unlock()
		body := fireRequest(number, rng)
		for !f.send(ctx, body) {
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
			}
		}
	}
}

// send reports whether the request was acknowledged, or nobody waits any more.
func (f *fire) send(ctx context.Context, body string) bool {
	p, turn := f.current()
	answer, err := p.post(ctx, "payments", body)
	if err == nil && len(answer.Rejected) > 0 {
		err = fmt.Errorf("rejected: %s", answer.Rejected[0])
	}
	var at event.Position
	if err == nil {
		at, err = event.ParsePosition(answer.Position)
	}
	if err != nil {
		if ctx.Err() == nil && !f.killed(turn) {
			f.fail(fmt.Errorf("send: %w", err))
		}
		return ctx.Err() != nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked++
	if at.Seq > f.last.Seq {
		f.last = at
	}
	return true
}

// batches lands and runs batches one after the other until stop; one in 300 makes
// everything anew.
func (f *fire) batches(ctx context.Context, stop <-chan struct{}) {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		p, turn := f.current()
		through, err := runBatch(ctx, p.url, n%300 == 150)
		switch {
		case err == nil:
			f.mu.Lock()
			f.batched[through] = true
			f.mu.Unlock()
		case !f.killed(turn) && ctx.Err() == nil:
			f.fail(fmt.Errorf("batch: %w", err))
		}
	}
}

// runBatch gives S after a run.
func runBatch(ctx context.Context, base string, rebuild bool) (through string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/v1/batch/run?rebuild=%t", base, rebuild), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var run struct {
		Status  string
		Error   json.RawMessage
		Through map[string]uint64
	}
	if err := json.NewDecoder(resp.Body).Decode(&run); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK || run.Status != "succeeded" {
		return "", fmt.Errorf("%s: %s %s", resp.Status, run.Status, run.Error)
	}
	return fmt.Sprint(run.Through), nil
}

// A total is what every question comes down to.
type total struct{ events, cents int64 }

// A bound is what was known when a question was asked.
type bound struct {
	turn  int
	p     *process
	least int    // requests
	after string // the position to ask for; "" if least holds by itself
}

// asking begins a question. With after, the answer must count what is acknowledged
// now; without, what any earlier answer counted.
func (f *fire) asking(after bool) bound {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := bound{turn: f.turn, p: f.p, least: f.floor}
	if after && f.acked > 0 {
		b.least, b.after = max(f.floor, f.acked), f.last.String()
	}
	return b
}

// answered judges what came of a question.
func (f *fire) answered(b bound, question string, got total, err error) {
	if err != nil {
		var torn *tornError
		if errors.As(err, &torn) || !f.killed(b.turn) {
			f.fail(fmt.Errorf("%s: %w", question, err))
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[question]++
	requests := int(got.events / fireEvents)
	switch {
	case got.events%fireEvents != 0 || got.cents != got.events/fireEvents*fireCents:
		err = errors.New("no whole number of requests")
	case requests < b.least:
		err = fmt.Errorf("%d requests were known before", b.least)
	case requests > f.sent:
		err = fmt.Errorf("%d requests were sent", f.sent)
	}
	if err != nil && f.broken == nil {
		f.broken = fmt.Errorf("%s, after %q: %d events of %d requests, %d.%02d: %w", question, b.after, got.events, requests, got.cents/100, got.cents%100, err)
	}
	f.floor = max(f.floor, requests)
}

// at notes the cut of an answer.
func (f *fire) at(cut string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts[cut] = true
}

// TestAnswersAreExactThroughCutMovesAndKills asks in every protocol, without a
// break, while the cut of answers moves 500 times and more, S moves 250 times and the
// process is killed ten times, and judges each answer by what was sent and acknowledged at its time.
// TAILWATER_TEST_KILLS, 20 unless it is set, changes these numbers in proportion.
func TestAnswersAreExactThroughCutMovesAndKills(t *testing.T) {
	t.Parallel()
	rounds := max(kills(t)/2, 1)
	answered, moved := 50*rounds, 25*rounds
	project, data := writeFiles(t, fireProject), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds)*time.Minute)
	defer cancel()
	start := func(round int) *process {
		p := startProcess(t, project, data, nil, "--land-age", "100ms", "--batch-schedule", "off", "--query-concurrency", "32", "--query-timeout", "2m", "--postgres", "127.0.0.1:0")
		if p == nil || !p.awaitReady() {
			t.Fatalf("round %d: the process ended by itself", round)
		}
		await(t, ctx, func() bool { return postgresLine.MatchString(p.output()) })
		return p
	}
	f := newFire()
	f.up(start(0))
	stop, began := make(chan struct{}), time.Now()
	var writing, asking sync.WaitGroup
	for i := range uint64(2) {
		writing.Go(func() { f.write(ctx, stop, seed(t)+i) })
	}
	writing.Go(func() { f.batches(ctx, stop) })
	for _, r := range fireReaders() {
		asking.Go(func() { r.read(ctx, stop, f) })
	}
	// reach waits until both cuts moved so many parts of what is wanted.
	reach := func(parts int) {
		await(t, ctx, func() bool {
			cuts, batched, broken := f.seen()
			return broken != nil || f.p.gone() || cuts*(rounds+1) >= answered*parts && batched*(rounds+1) >= moved*parts
		})
	}
	for round := range rounds {
		reach(round + 1)
		f.check(t)
		f.kill()
		f.up(start(round + 1))
	}
	reach(rounds + 1)
	close(stop)
	writing.Wait()
	asking.Wait()
	f.check(t)
	cuts, batched, _ := f.seen()
	if cuts < answered || batched < moved {
		t.Fatalf("%s: answers at %d cuts, want %d; %d moves of S, want %d; answers: %v", time.Since(began).Round(time.Second), cuts, answered, batched, moved, f.answers)
	}
	f.settle(t)
	t.Logf("%s, %d kills, answers at %d cuts, %d moves of S, %d requests; answers: %v", time.Since(began).Round(time.Second), rounds, cuts, batched, f.sent, f.answers)
}

func (f *fire) check(t *testing.T) {
	t.Helper()
	if _, _, broken := f.seen(); broken != nil {
		t.Fatalf("%v\n%s", broken, f.p.output())
	}
	if f.p.gone() {
		t.Fatalf("the process ended by itself:\n%s", f.p.output())
	}
}

// settle asks everything once more, when all is sent and acknowledged.
func (f *fire) settle(t *testing.T) {
	t.Helper()
	if f.acked != f.sent {
		t.Fatalf("%d of %d requests were acknowledged", f.acked, f.sent)
	}
	for _, r := range fireReaders() {
		for _, q := range r.questions {
			r.once(t.Context(), f, q, true)
		}
	}
	f.check(t)
	for _, name := range fireViews {
		if d, text := f.p.difference(name); d != 0 {
			t.Fatalf("difference of %s is %d: %s", name, d, text)
		}
	}
	f.p.stop()
}
