package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/tailwater/tailwater/event"
)

// contents decodes the whole log.
func contents(t *testing.T, log Log) []*Envelope {
	t.Helper()
	first, last, err := log.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []*Envelope
	d := NewDecoder(payments())
	for seq := first; seq <= last; seq++ {
		m, err := log.Get(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		env, err := d.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, env)
	}
	return out
}

func TestRequestsThatWaitForASyncShareTheNext(t *testing.T) {
	log := NewMemoryLog(0)
	log.Hold()
	p := startPublisher(t, log, PublisherConfig{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	seen := map[event.Position]string{}
	publish := func(id string, refused ...event.Refused) {
		clients.Go(func() {
			at, err := p.Publish(context.Background(), rows(1, id+"x", id), refused)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			seen[at] = id
			mu.Unlock()
		})
	}
	publish("first")
	eventually(t, "the first is in flight", func() bool { return log.Held() == 1 })
	for i := range 50 {
		if i%2 == 0 {
			publish(fmt.Sprint(i), event.Refused{Reason: fmt.Sprint("refused ", i)})
		} else {
			publish(fmt.Sprint(i))
		}
	}
	eventually(t, "all wait", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.queue) == 50
	})
	if log.Held() != 1 {
		t.Errorf("%d small envelopes in flight", log.Held())
	}
	log.Resume()
	clients.Wait()
	envs := contents(t, log)
	if len(envs) != 2 || envs[1].Rows.NumRows() != 100 || len(envs[1].Refused) != 25 {
		t.Fatalf("got %d envelopes", len(envs))
	}
	if len(seen) != 51 {
		t.Errorf("%d positions for 51 requests", len(seen))
	}
	for at, id := range seen {
		env := envs[at.Seq-1]
		if n := uint32(env.Rows.NumRows()); at.Idx < n {
			if got := env.Rows.Column(0).ValueStr(int(at.Idx)); got != id {
				t.Errorf("%s: is %s, want %s", at, got, id)
			}
		} else if got := env.Refused[at.Idx-n].Reason; got != "refused "+id {
			t.Errorf("%s: is %s, want that of %s", at, got, id)
		}
	}
}

func TestLargeRequestsFlyTogether(t *testing.T) {
	log := NewMemoryLog(0)
	log.Hold()
	p := startPublisher(t, log, PublisherConfig{TargetBytes: 1000, LargeBytes: 500})
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			if _, err := p.Publish(context.Background(), rows(1, strings.Repeat("x", 800)), nil); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "four are in flight", func() bool { return log.Held() == 4 })
	log.Resume()
	clients.Wait()
	if n := len(contents(t, log)); n != 10 {
		t.Errorf("got %d envelopes", n)
	}
}

func TestLargeSubmissionIsCutByRows(t *testing.T) {
	log := NewMemoryLog(0)
	p := startPublisher(t, log, PublisherConfig{TargetBytes: 4000, MaxPendingBytes: 8000, Handoff: func(h Handed) {
		for i := range batchRows(h.Rows) {
			if got := h.Rows.Column(0).ValueStr(i); i == 0 && got < "id-0000" || h.Rows.Column(0).Data().Offset() != 0 {
				t.Errorf("handed rows start with %s at offset %d", got, h.Rows.Column(0).Data().Offset())
				break
			}
		}
	}})
	var ids []string
	for i := range 1000 {
		ids = append(ids, fmt.Sprintf("id-%04d", i))
	}
	var refused []event.Refused
	for range 100 {
		refused = append(refused, event.Refused{Reason: "r", Raw: make([]byte, 100)})
	}
	at, err := p.Publish(t.Context(), rows(1, ids...), refused)
	if err != nil {
		t.Fatal(err)
	}
	envs := contents(t, log)
	row, dead := 0, 0
	for _, env := range envs {
		for i := range batchRows(env.Rows) {
			if got := env.Rows.Column(0).ValueStr(i); got != ids[row] {
				t.Fatalf("row %d is %s", row, got)
			}
			row++
		}
		dead += len(env.Refused)
	}
	if row != 1000 || dead != 100 || len(envs) < 10 {
		t.Errorf("%d rows and %d refused in %d envelopes", row, dead, len(envs))
	}
	if at.Seq != uint64(len(envs)) || int(at.Idx) != len(envs[len(envs)-1].Refused)-1 {
		t.Errorf("last position is %s of %d envelopes", at, len(envs))
	}
}

func TestFullLogRefusesAtOnceUntilALittleLater(t *testing.T) {
	log := NewMemoryLog(10)
	var asked atomic.Int32
	log.SetFault(func(string) Fault { asked.Add(1); return NoFault })
	p := startPublisher(t, log, PublisherConfig{})
	var full *FullError
	for range 20 {
		_, err := p.Publish(t.Context(), rows(1, "a"), nil)
		if !errors.Is(err, ErrFull) || !errors.As(err, &full) || full.RetryAfter() <= 0 || full.RetryAfter() > fullRetry {
			t.Fatalf("got %v", err)
		}
	}
	if n := asked.Load(); n != 1 {
		// 250 ms may pass on a machine that is busy, but not 19 times.
		t.Logf("the log was asked %d times", n)
		if n > 10 {
			t.Error("a full log is asked every time")
		}
	}
}

// TestAppendFailureMatrix crosses a failing append with {lost, persisted}.
func TestAppendFailureMatrix(t *testing.T) {
	for name, fault := range map[string]Fault{"lost": FailLost, "persisted": FailPersisted} {
		t.Run(name+" and then well", func(t *testing.T) {
			log := NewMemoryLog(0)
			var calls atomic.Int32
			log.SetFault(func(string) Fault {
				if calls.Add(1) <= 2 {
					return fault
				}
				return NoFault
			})
			var handed atomic.Int32
			p := startPublisher(t, log, PublisherConfig{Handoff: func(Handed) { handed.Add(1) }})
			at, err := p.Publish(t.Context(), rows(1, "a"), nil)
			if err != nil || at.Seq != 1 || len(contents(t, log)) != 1 || handed.Load() != 1 {
				t.Errorf("got %s, %v; %d stored, %d handed over", at, err, len(contents(t, log)), handed.Load())
			}
		})
		t.Run(name+" for ever", func(t *testing.T) {
			log := NewMemoryLog(0)
			log.SetFault(func(string) Fault { return fault })
			p := startPublisher(t, log, PublisherConfig{Timeout: 50 * time.Millisecond})
			if _, err := p.Publish(t.Context(), rows(1, "a"), nil); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			if n := len(contents(t, log)); n > 1 {
				t.Errorf("stored %d times", n)
			}
		})
	}
}

func TestStampsRiseThoughTheClockGoesBack(t *testing.T) {
	log := NewMemoryLog(0)
	clock := int64(1000)
	p := startPublisher(t, log, PublisherConfig{LogTime: 998, Now: func() time.Time { clock -= 2; return time.UnixMicro(clock) }})
	for range 5 {
		if _, err := p.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	last := int64(998)
	for _, env := range contents(t, log) {
		if env.Stamp <= last {
			t.Errorf("stamp %d follows %d", env.Stamp, last)
		}
		last = env.Stamp
	}
}

func TestCloseSettlesWhatWasAccepted(t *testing.T) {
	log := NewMemoryLog(0)
	log.Hold()
	p := NewPublisher(log, payments(), source, PublisherConfig{Logger: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	run := make(chan error, 1)
	go func() { run <- p.Run(ctx) }()
	results := make(chan error, 5)
	publish := func(id string) {
		_, err := p.Publish(context.Background(), rows(1, id), nil)
		results <- err
	}
	go publish("first")
	eventually(t, "the first is in flight", func() bool { return log.Held() == 1 })
	for i := range 4 {
		go publish(fmt.Sprint(i))
	}
	eventually(t, "the others wait", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.queue) == 4
	})
	cancel()
	log.Resume()
	for range 5 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(<-run, p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if _, err := p.Publish(t.Context(), rows(1, "late"), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: got %v", err)
	}
}

func TestCloseWithoutRunAnswersWhatWaits(t *testing.T) {
	p := NewPublisher(NewMemoryLog(0), payments(), source, PublisherConfig{})
	result := make(chan error)
	go func() { _, err := p.Publish(context.Background(), rows(1, "a"), nil); result <- err }()
	eventually(t, "it waits", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.queue) == 1
	})
	_ = p.Close()
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestPublisherRefusesWhatNobodyCouldDecode(t *testing.T) {
	p := startPublisher(t, NewMemoryLog(0), PublisherConfig{})
	good := rows(1, "a")
	nulls := rowsWithNullAmount()
	for name, bad := range map[string]arrow.RecordBatch{"nulls": nulls, "columns": twoColumns(good)} {
		if _, err := p.Publish(t.Context(), bad, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := p.Publish(t.Context(), rows(1, strings.Repeat("x", MaxMessageBytes)), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: got %v", err)
	}
	if at, err := p.Publish(t.Context(), nil, nil); at.Seq != 0 || err != nil {
		t.Errorf("nothing: got %s, %v", at, err)
	}
	if at, err := p.Publish(t.Context(), good, nil); at.Seq != 1 || err != nil {
		t.Errorf("good: got %s, %v", at, err)
	}
}

func TestCancelledRequestIsUnavailable(t *testing.T) {
	log := NewMemoryLog(0)
	log.Hold()
	p := startPublisher(t, log, PublisherConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { _, err := p.Publish(ctx, rows(1, "a"), nil); result <- err }()
	eventually(t, "it is in flight", func() bool { return log.Held() == 1 })
	cancel()
	if err := <-result; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	log.Resume()
}

func TestPublisherOnTheEmbeddedServer(t *testing.T) {
	log := brokerStore(t, BrokerConfig{StoreDir: t.TempDir()}).open("payments", 300_000)
	r := newRecorder(0)
	tap := tapOf(log, r, func(c *TapConfig) { c.Schema = withoutIDs() })
	stop := start(t, tap)
	p := startPublisher(t, log, PublisherConfig{Handoff: tap.Handoff})
	accepted, err := 0, error(nil)
	for err == nil && accepted < 1000 {
		if _, err = p.Publish(t.Context(), rows(1, strings.Repeat("x", 5000)), nil); err == nil {
			accepted++
		}
	}
	if !errors.Is(err, ErrFull) || accepted < 10 {
		t.Fatalf("got %v after %d", err, accepted)
	}
	if _, err := tap.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, b := range r.blocks {
		got += b.Len()
	}
	if got != accepted {
		t.Errorf("%d rows delivered, %d accepted", got, accepted)
	}
}
