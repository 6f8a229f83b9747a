package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// oneNumber is an answer at a cut with rows of the number n.
func oneNumber(n int64, rows int, cut event.Cut) *Answer {
	columns := []event.Column{{Name: "n", Type: event.Type{Kind: event.BigInt}}}
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	for range rows {
		b.Field(0).(*array.Int64Builder).Append(n)
	}
	batch, sent := b.NewRecordBatch(), false
	return &Answer{Columns: columns, Complete: true, Cut: cut, Statistics: map[string]any{}, Close: func() {}, Next: func(context.Context) (arrow.RecordBatch, error) {
		if sent {
			return nil, io.EOF
		}
		sent = true
		return batch, nil
	}}
}

func TestManyAskAndOneComputes(t *testing.T) {
	s := newShared(1 << 20)
	at := func(n uint64) event.Cut { return event.Cut{paySource: n, {Stream: "other", Epoch: 1}: 100 - n} }
	started, goOn := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	made := 0
	ask := func(cut uint64, block bool) (string, error) {
		return textOf(s.answer(t.Context(), "q", []string{"pay"}, at(cut), func() (*Answer, error) {
			mu.Lock()
			made++
			n := made
			mu.Unlock()
			if block {
				close(started)
				<-goOn
			}
			return oneNumber(int64(n), 1, at(cut)), nil
		}, func(*Answer) {}))
	}
	results := make(chan string, 21)
	var all sync.WaitGroup
	run := func(cut uint64, block bool) {
		all.Go(func() {
			out, err := ask(cut, block)
			results <- fmt.Sprint(cut, "→", strings.TrimSpace(out), err)
		})
	}
	run(5, true)
	<-started
	for range 10 { // while the first is being made: some that it is new enough for, some that it isn't
		run(5, false)
		run(6, false)
	}
	close(goOn)
	all.Wait()
	close(results)
	for r := range results {
		if r != "5→1<nil>" && r != "5→2<nil>" && r != "6→2<nil>" {
			t.Errorf("got %s", r)
		}
	}
	if made != 2 {
		t.Errorf("%d were made for two cuts", made)
	}
	if out, _ := ask(4, false); out != "2\n" || made != 2 {
		t.Errorf("one who asked earlier got %q, %d made", out, made)
	}
}

func TestWhatOneAskerSuffersIsHisAlone(t *testing.T) {
	s := newShared(1 << 20)
	broken := errors.New("broken")
	if _, err := s.answer(t.Context(), "q", nil, nil, func() (*Answer, error) { return nil, broken }, func(*Answer) {}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	a, err := s.answer(t.Context(), "q", nil, nil, func() (*Answer, error) { return oneNumber(7, 1, nil), nil }, func(*Answer) {})
	if out, err := textOf(a, err); out != "7\n" || err != nil {
		t.Fatalf("%q %v", out, err)
	}
	// An answer with a hole in it is not kept.
	hole := func() (*Answer, error) { a := oneNumber(1, 1, nil); a.Complete = false; return a, nil }
	for range 2 {
		a, err := s.answer(t.Context(), "hole", nil, nil, hole, func(*Answer) { t.Error("kept") })
		if out, err := textOf(a, err); out != "1\n" || err != nil {
			t.Fatalf("%q %v", out, err)
		}
	}
	// Nobody waits for ever for an asker who is slow.
	started, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		s.answer(context.Background(), "slow", nil, nil, func() (*Answer, error) { close(started); <-goOn; return nil, broken }, func(*Answer) {})
	}()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.answer(ctx, "slow", nil, nil, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiter whose time is over: %v", err)
	}
	close(goOn)
	<-ended
}

func TestResultsAreKeptWithinBounds(t *testing.T) {
	s := newShared(10_000)
	big := maxSharedBytes/8 + 1
	for range 2 {
		n := 0
		out, err := textOf(s.answer(t.Context(), "big", nil, nil, func() (*Answer, error) { n++; return oneNumber(1, big, nil), nil }, func(*Answer) {}))
		if err != nil || len(out) != 2*big || n != 1 {
			t.Fatalf("a large result: %d bytes, made %d times, %v", len(out), n, err)
		}
	}
	for i := range 100 {
		_, err := textOf(s.answer(t.Context(), fmt.Sprint("q", i), nil, nil, func() (*Answer, error) { return oneNumber(1, 50, nil), nil }, func(*Answer) {}))
		must(t, err)
		if s.bytes > s.maxBytes || len(s.questions) != s.order.Len() {
			t.Fatalf("%d bytes, %d questions, %d in order", s.bytes, len(s.questions), s.order.Len())
		}
	}
	if _, ok := s.reads("q0"); ok {
		t.Error("the oldest question is still there")
	}
}

func TestAResultIsSharedUntilTheCutMoves(t *testing.T) {
	r := newRig(t)
	r.send(100)
	asked := func(sql string) (string, bool) {
		a, err := r.SQL(t.Context(), SQLRequest{SQL: sql, Timeout: time.Minute})
		must(t, err)
		out, err := textOf(a, nil)
		must(t, err)
		return out, a.Statistics["shared"] == true
	}
	for _, sql := range []string{"SELECT count(*) FROM pay", "SELECT c FROM total", "SELECT count(*) FROM tailwater.view_errors", "SELECT 1"} {
		first, shared := asked(sql)
		if again, sharedAgain := asked(sql); shared || !sharedAgain || again != first {
			t.Errorf("%s: %q, shared %v; again %q, shared %v", sql, first, shared, again, sharedAgain)
		}
	}
	r.send(1)
	if out, shared := asked("SELECT count(*) FROM pay"); out != "101\n" || shared {
		t.Errorf("after another event: %q, shared %v", out, shared)
	}
	if _, shared := asked("SELECT 1"); !shared {
		t.Error("what reads no stream is made again")
	}
	for _, sql := range []string{"SELECT now() > '2000-01-01'", "SELECT random() < 2", "SELECT CURRENT_DATE > '2000-01-01'", "SELECT count(*) <= 101 FROM pay TABLESAMPLE 50%", "SELECT count(*) <= 101 FROM pay USING SAMPLE 10"} {
		for range 2 {
			if out, shared := asked(sql); shared || out != "true\n" {
				t.Errorf("%s: %q, shared %v", sql, out, shared)
			}
		}
	}
	for _, f := range []ViewRequest{{Name: "hourly"}, {Name: "hourly", At: event.Cut{paySource: 50}}} {
		for _, want := range []bool{false, true} {
			a, err := r.View(t.Context(), f)
			must(t, err)
			if a.Close(); (a.Statistics["shared"] == true) != want {
				t.Errorf("%+v: shared %v", f, a.Statistics["shared"])
			}
		}
	}
}

func TestASlotIsTakenForComputingOnly(t *testing.T) {
	r := newRig(t)
	r.send(10)
	limiter := NewLimiter(LimiterConfig{Concurrency: 1, WaitTime: time.Millisecond})
	ctx := limiter.Lend(t.Context())
	ask := func(sql string) error {
		_, err := textOf(r.SQL(ctx, SQLRequest{SQL: sql, Timeout: time.Minute}))
		return err
	}
	must(t, ask("SELECT count(*) FROM pay"))
	release, err := limiter.Acquire(t.Context())
	must(t, err)
	if err := ask("SELECT count(*) FROM pay"); err != nil {
		t.Errorf("what is known already: %v", err)
	}
	if err := ask("SELECT sum(n) FROM pay"); !errors.Is(err, ErrTooMany) {
		t.Errorf("what must be computed: %v", err)
	}
	release()
	must(t, ask("SELECT sum(n) FROM pay"))
	for _, sql := range []string{"SELECT nothing FROM pay", "SELECT 1 // 0 FROM pay WHERE 'x'::INTEGER = n"} {
		if ask(sql) == nil {
			t.Errorf("%s: no error", sql)
		}
	}
	must(t, ask("SELECT max(n) FROM pay")) // those that failed gave their slots back
}

func TestTheLongestQueryIsStoppedWhenMemoryRunsOut(t *testing.T) {
	r := newRig(t)
	r.send(1000)
	var resident atomic.Int64
	r.memory = newMemoryWatch(100, resident.Load)
	resident.Store(50)
	if out := r.ask("SELECT count(*) FROM pay a, pay b"); out != "1000000\n" {
		t.Error(out)
	}
	resident.Store(150)
	for range 2 {
		_, err := textOf(r.SQL(t.Context(), SQLRequest{SQL: "SELECT count(*) FROM pay a, pay b, pay c, pay d, pay e WHERE a.n + b.n + c.n + d.n + e.n = 7", Timeout: time.Minute}))
		if !errors.Is(err, ErrMemory) {
			t.Fatal(err)
		}
	}
	resident.Store(50)
	if out := r.ask("SELECT count(*) FROM pay a, pay b WHERE a.n = 1"); out == "" {
		t.Error("nothing runs any more")
	}
	if len(r.memory.running) != 0 || r.memory.timer != nil {
		t.Errorf("%d are still watched", len(r.memory.running))
	}
}
