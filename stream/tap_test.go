package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/tailwater/tailwater/event"
)

const second = int64(1_000_000)

func tapOf(log Log, r *recorder, change func(*TapConfig)) *Tap {
	cfg := TapConfig{Log: log, Schema: payments(), Source: source, Appliers: []event.Applier{r}, PollEvery: time.Millisecond, Logger: quiet}
	if change != nil {
		change(&cfg)
	}
	return NewTap(cfg)
}

func TestHandedAndReadMessagesGiveTheSameBlocks(t *testing.T) {
	log := NewMemoryLog(0)
	handed, both, read := newRecorder(0), newRecorder(0), newRecorder(0)
	var offers int
	first := tapOf(log, handed, func(c *TapConfig) { c.PollEvery = time.Hour })
	// The second loses every third envelope, and has room for few.
	second := tapOf(log, both, func(c *TapConfig) { c.HandoffBytes = 8 << 10 })
	start(t, first)
	start(t, second)
	p := startPublisher(t, log, PublisherConfig{Handoff: func(h Handed) {
		first.Handoff(h)
		if offers++; offers%3 != 0 {
			second.Handoff(h)
		}
	}})
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := range int64(40) {
				refused := []event.Refused{{Line: i, Reason: "bad", Raw: []byte("x")}}
				if i%4 != 0 {
					refused = nil
				}
				if _, err := p.Publish(context.Background(), rows(i, fmt.Sprint(c, "-", i), fmt.Sprint(i%5), "", "z"), refused); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	_, last, _ := log.Bounds(t.Context())
	start(t, tapOf(log, read, nil))
	for _, r := range []*recorder{handed, both, read} {
		r.reaches(t, last)
	}
	want := read.lines()
	if first.Status().Reading {
		t.Error("the first tap read the log")
	}
	for name, r := range map[string]*recorder{"handed": handed, "both": both} {
		if got := r.lines(); !slices.Equal(got, want) {
			t.Errorf("%s differs from read:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// seals prints where blocks with a seal end; "+" marks an empty one.
func (r *recorder) seals() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, b := range r.blocks {
		switch {
		case b.Seal && b.Empty():
			out = append(out, fmt.Sprintf("+%d", b.Through))
		case b.Seal:
			out = append(out, fmt.Sprint(b.Through))
		}
	}
	return strings.Join(out, " ")
}

func TestSealsAreDrawnByBytesAndByLogTime(t *testing.T) {
	size := int64(len(envelope(t, 1, rows(1, "a"))))
	for _, c := range []struct {
		name    string
		seconds []int64
		bytes   int64
		want    string
	}{
		{"every two messages", []int64{1, 2, 3, 4, 5}, 2 * size, "2 4"},
		{"at thirty seconds", []int64{1, 10, 31, 32, 60, 61, 62}, 1 << 30, "3 7"},
		{"a long pause alone is no age", []int64{1, 31, 1000, 1001, 1031}, 1 << 30, "2 5"},
		{"time that goes back does not count", []int64{100, 50, 60, 129, 131}, 1 << 30, "5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, r := NewMemoryLog(0), newRecorder(0)
			for i, s := range c.seconds {
				appendTo(t, log, envelope(t, s*second, rows(int64(i), fmt.Sprint(i))))
			}
			start(t, tapOf(log, r, func(cfg *TapConfig) { cfg.SealBytes = c.bytes }))
			r.reaches(t, uint64(len(c.seconds)))
			if got := r.seals(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestIdleStreamIsSealedByTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, r := NewMemoryLog(0), newRecorder(0)
		stop := start(t, tapOf(log, r, func(c *TapConfig) { c.PollEvery = 100 * time.Millisecond }))
		appendTo(t, log, envelope(t, second, rows(1, "a")))
		time.Sleep(29 * time.Second)
		if got := r.seals(); got != "" {
			t.Errorf("after 29 s: got %q", got)
		}
		time.Sleep(2 * time.Second)
		if got := r.seals(); got != "+1" {
			t.Errorf("after 31 s: got %q", got)
		}
		time.Sleep(time.Hour)
		if got := r.seals(); got != "+1" {
			t.Errorf("after an hour of nothing: got %q", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestSealOnRequestIsAppliedWhenItReturns(t *testing.T) {
	log, r := NewMemoryLog(0), newRecorder(0)
	tap := tapOf(log, r, nil)
	stop := start(t, tap)
	for round := range uint64(3) {
		for i := range int64(4) {
			appendTo(t, log, envelope(t, second, rows(i, "")))
		}
		for range 2 {
			through, err := tap.Seal(t.Context())
			if err != nil || through != 4*(round+1) {
				t.Fatalf("got %d, %v", through, err)
			}
			if r.lines(); r.through != through {
				t.Fatalf("applied through %d only", r.through)
			}
		}
	}
	if got := r.seals(); got != "+4 +8 +12" {
		t.Errorf("got %q", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := tap.Seal(t.Context()); err == nil {
		t.Error("a stopped tap sealed")
	}
}

func TestMissingMessages(t *testing.T) {
	for _, c := range []struct {
		name   string
		remove func(l *MemoryLog)
		want   string // ranges of the blocks
		lost   string
	}{
		{"deleted in the middle", func(l *MemoryLog) { l.Delete(3) }, "(0,1] (1,2] (2,4] (4,5]", ""},
		{"deleted at the end", func(l *MemoryLog) { l.Delete(5) }, "(0,1] (1,2] (2,3] (3,4] (4,5]", ""},
		{"purged before they were read", func(l *MemoryLog) { _ = l.Purge(context.Background(), 3) }, "(0,3] (3,4] (4,5]", "(0,3]"},
		{"all purged", func(l *MemoryLog) { _ = l.Purge(context.Background(), 5) }, "(0,5]", "(0,5]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, r := NewMemoryLog(0), newRecorder(0)
			for i := range int64(5) {
				appendTo(t, log, envelope(t, second, rows(i, "")))
			}
			c.remove(log)
			tap := tapOf(log, r, nil)
			start(t, tap)
			if through, err := tap.Seal(t.Context()); through != 5 || err != nil {
				t.Fatalf("seal: got %d, %v", through, err)
			}
			var got, lost []string
			for _, b := range r.blocks {
				if !b.Empty() {
					got = append(got, fmt.Sprintf("(%d,%d]", b.After, b.Through))
				}
			}
			for _, l := range tap.Lost() {
				lost = append(lost, fmt.Sprintf("(%d,%d]", l.After, l.Through))
			}
			if strings.Join(got, " ") != c.want || strings.Join(lost, " ") != c.lost {
				t.Errorf("got %v, lost %v", got, lost)
			}
		})
	}
}

func TestMessageThatIsNoEnvelopeBecomesOneRefusedRecord(t *testing.T) {
	log, r := NewMemoryLog(0), newRecorder(0)
	log.SetClock(func() time.Time { return time.UnixMicro(7 * second) })
	appendTo(t, log, envelope(t, 5*second, rows(1, "a")))
	appendTo(t, log, []byte(strings.Repeat("hello", 100_000)))
	appendTo(t, log, envelope(t, 6*second, rows(2, "b")))
	tap := tapOf(log, r, nil)
	start(t, tap)
	r.reaches(t, 3)
	b := r.blocks[1]
	if len(b.Refused) != 1 || b.Refused[0].Seq != 2 || len(b.Refused[0].Raw) != MaxRawBytes || !strings.Contains(b.Refused[0].Reason, "not an envelope") {
		t.Errorf("got %+v", b.Refused)
	}
	if b.Stamp != 7*second || r.blocks[2].LogTime != 7*second || r.blocks[2].Stamp != 6*second {
		t.Errorf("stamps: %d, %d; log time %d", b.Stamp, r.blocks[2].Stamp, r.blocks[2].LogTime)
	}
	if tap.Status().Undecodable != 1 {
		t.Error("not counted")
	}
}

func TestFailedBlockIsOfferedAgain(t *testing.T) {
	log, r := NewMemoryLog(0), newRecorder(0)
	r.fail = errors.New("disk is full")
	appendTo(t, log, envelope(t, second, rows(1, "a")))
	start(t, tapOf(log, r, nil))
	r.reaches(t, 1)
}

func TestPermanentErrorEndsTheTap(t *testing.T) {
	log, r := NewMemoryLog(0), newRecorder(17)
	appendTo(t, log, envelope(t, second, rows(1, "a")))
	var gap *event.GapError
	if err := tapOf(log, r, nil).Run(t.Context()); !errors.As(err, &gap) {
		t.Errorf("got %v", err)
	}
}

func TestLogThatGoesBackEndsTheTap(t *testing.T) {
	for _, refill := range []bool{false, true} {
		t.Run(fmt.Sprintf("refilled %t", refill), func(t *testing.T) {
			log, r := NewMemoryLog(0), newRecorder(0)
			for i := range int64(5) {
				appendTo(t, log, envelope(t, second+i, rows(i, "")))
			}
			tap := tapOf(log, r, func(c *TapConfig) {
				if refill {
					c.PollEvery = time.Hour
				}
			})
			done := make(chan error, 1)
			go func() { done <- tap.Run(t.Context()) }()
			r.reaches(t, 5)
			log.Truncate(3)
			if refill { // another publisher's message takes the place of 4
				tap.Handoff(Handed{Seq: 4, Stamp: 2 * second, Size: 100})
			}
			if err := <-done; !errors.Is(err, ErrRolledBack) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A gate is an applier that waits before each block.
type gate struct {
	*recorder
	open chan struct{}
}

func (g gate) Apply(ctx context.Context, b *event.Block) error {
	select {
	case <-g.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	return g.recorder.Apply(ctx, b)
}

func TestTapWaitsForASlowApplierWithinItsBound(t *testing.T) {
	log := NewMemoryLog(0)
	g := gate{newRecorder(0), make(chan struct{})}
	for i := range int64(20) {
		appendTo(t, log, envelope(t, second, rows(i, "")))
	}
	tap := tapOf(log, g.recorder, func(c *TapConfig) {
		c.Appliers = []event.Applier{g}
		c.QueueBytes = 5 * minBlockWeight
	})
	start(t, tap)
	eventually(t, "the queue fills", func() bool { return tap.Status().Appliers[0].QueuedBytes >= 5*minBlockWeight })
	if d := tap.Delivered(); d > 5 {
		t.Errorf("delivered through %d before any was applied", d)
	}
	close(g.open)
	g.reaches(t, 20)
	// The applier may be done before the tap has noted that it delivered.
	eventually(t, "all is delivered", func() bool { return tap.Delivered() == 20 })
}

func TestASealIsDrawnWhereTheLogGoesOnWithMoreColumns(t *testing.T) {
	newer := payments()
	newer.Columns = append(newer.Columns, event.Column{Name: "x", Type: event.Type{Kind: event.Varchar}}, event.Column{Name: "y", Type: event.Type{Kind: event.Decimal, Precision: 30}})
	log := NewMemoryLog(0)
	appendTo(t, log, envelope(t, second, rows(1, "a", "b")))
	appendTo(t, log, envelope(t, second, rows(3, "c")))
	for _, at := range []int64{1, 2} {
		var of []string
		if at == 2 {
			of = []string{"a"} // a duplicate of an event with fewer columns
		}
		data, err := Encode(&Envelope{ID: newID(), Stamp: second, Rows: fitted(t, rows(3+at, append(of, fmt.Sprint("n", at))...), newer)}, newer)
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, log, data)
	}
	r := newRecorder(0)
	start(t, tapOf(log, r, func(c *TapConfig) { c.Schema = newer }))
	r.reaches(t, 4)
	if got := r.seals(); got != "+2" {
		t.Errorf("seals at %q", got)
	}
	for _, b := range r.blocks {
		if b.Schema != newer || b.Batch != nil && (int(b.Batch.NumCols()) != len(newer.Columns) || b.Batch.Column(6).NullN() != b.Len()) {
			t.Errorf("block %s: %v", b.Range, b.Batch)
		}
		if b.Through == 4 && (b.Duplicates != 1 || b.Len() != 1) {
			t.Errorf("the last block has %d duplicates, %d rows", b.Duplicates, b.Len())
		}
	}
}

func fitted(t *testing.T, batch arrow.RecordBatch, to *event.Schema) arrow.RecordBatch {
	t.Helper()
	out, err := fit(batch, payments(), to)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
