package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/tailwater/tailwater/event"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("STREAM_TEST_WRITER"); dir != "" {
		writeUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

// payments is a schema with an id and every width of storage.
func payments() *event.Schema {
	return &event.Schema{
		Stream: "payments",
		Columns: []event.Column{
			{Name: "id", Type: event.Type{Kind: event.Varchar}},
			{Name: "amount", Type: event.Type{Kind: event.BigInt}, NotNull: true},
			{Name: "ok", Type: event.Type{Kind: event.Boolean}},
			{Name: "small", Type: event.Type{Kind: event.SmallInt}},
			{Name: "wide", Type: event.Type{Kind: event.Decimal, Precision: 30, Scale: 2}},
			{Name: "note", Type: event.Type{Kind: event.Varchar}},
		},
		TimeColumn: -1, IDColumn: 0, DedupWindow: 10 * time.Second,
	}
}

var source = event.Source{Stream: "payments", Epoch: 1}

// rows makes a row for each id; "" is NULL. The other columns follow from the
// amount, which counts up from first.
func rows(first int64, ids ...string) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, payments().Arrow())
	defer b.Release()
	for i, id := range ids {
		n := first + int64(i)
		if id == "" {
			b.Field(0).AppendNull()
		} else {
			b.Field(0).(*array.StringBuilder).Append(id)
		}
		b.Field(1).(*array.Int64Builder).Append(n)
		if n%3 == 0 {
			for _, k := range []int{2, 3, 4, 5} {
				b.Field(k).AppendNull()
			}
			continue
		}
		b.Field(2).(*array.BooleanBuilder).Append(n%2 == 0)
		b.Field(3).(*array.Int16Builder).Append(int16(n))
		b.Field(4).(*array.Decimal128Builder).AppendValueFromString(fmt.Sprintf("%d.25", n))
		b.Field(5).(*array.StringBuilder).Append(fmt.Sprintf("note %d", n*n))
	}
	return b.NewRecordBatch()
}

func envelope(t testing.TB, stamp int64, batch arrow.RecordBatch, refused ...event.Refused) []byte {
	t.Helper()
	data, err := Encode(&Envelope{ID: newID(), Stamp: stamp, Rows: batch, Refused: refused}, payments())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func appendTo(t testing.TB, log Log, data []byte) uint64 {
	t.Helper()
	p, err := log.Append(t.Context(), fmt.Sprintf("%x", newID()), data)
	if err != nil {
		t.Fatal(err)
	}
	seq, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// A recorder is an applier that checks that blocks tile and keeps them.
type recorder struct {
	mu      sync.Mutex
	through uint64
	blocks  []*event.Block
	fail    error // returned once
	changed chan struct{}
}

func newRecorder(after uint64) *recorder {
	return &recorder{through: after, changed: make(chan struct{}, 1)}
}

func (r *recorder) Apply(_ context.Context, b *event.Block) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer signal(r.changed)
	if err := r.fail; err != nil {
		r.fail = nil
		return err
	}
	if b.After != r.through {
		return &event.GapError{Block: b.Range, Applied: r.through}
	}
	r.through = b.Through
	r.blocks = append(r.blocks, b)
	return nil
}

// until waits for a condition on the recorder.
func (r *recorder) until(t testing.TB, what string, ok func(r *recorder) bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		good := ok(r)
		r.mu.Unlock()
		if good {
			return
		}
		select {
		case <-r.changed:
		case <-limit:
			t.Fatalf("%s: not reached; applied through %d", what, r.through)
		}
	}
}

func (r *recorder) reaches(t testing.TB, seq uint64) {
	t.Helper()
	r.until(t, fmt.Sprintf("position %d", seq), func(r *recorder) bool { return r.through >= seq })
}

// lines prints what the blocks hold, one line a row or record, and a line for each seal.
func (r *recorder) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, b := range r.blocks {
		out = append(out, blockLines(b)...)
	}
	return out
}

func blockLines(b *event.Block) []string {
	var out []string
	row := 0
	for _, run := range b.Runs {
		for k := range run.Rows {
			idx := uint32(k)
			if run.Idx != nil {
				idx = run.Idx[k]
			}
			line := fmt.Sprintf("%d.%d at %d:", run.Seq, idx, run.At)
			for _, c := range b.Batch.Columns() {
				line += " " + c.ValueStr(row)
			}
			out = append(out, line)
			row++
		}
	}
	for _, x := range b.Refused {
		out = append(out, fmt.Sprintf("%d.%d at %d: refused line %d %q %q %q", x.Seq, x.Idx, x.At, x.Line, x.Field, x.Reason, x.Raw))
	}
	out = append(out, fmt.Sprintf("(%d,%d] dup %d stamp %d time %d", b.After, b.Through, b.Duplicates, b.Stamp, b.LogTime))
	return out
}

// start runs a tap until the test ends or stop is called.
func start(t testing.TB, tap *Tap) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tap.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// publish runs a publisher until the test ends.
func startPublisher(t testing.TB, log Log, cfg PublisherConfig) *Publisher {
	cfg.Logger = quiet
	p := NewPublisher(log, payments(), source, cfg)
	done := make(chan error, 1)
	go func() { done <- p.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return p
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not reached", what)
		}
	}
}

// withoutIDs is the payments schema without deduplication.
func withoutIDs() *event.Schema {
	s := payments()
	s.IDColumn = -1
	return s
}

// rowsWithNullAmount breaks the schema's NOT NULL.
func rowsWithNullAmount() arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, payments().Arrow())
	defer b.Release()
	for _, f := range b.Fields() {
		f.AppendNull()
	}
	return b.NewRecordBatch()
}

// twoColumns is a batch that lacks columns of the schema.
func twoColumns(batch arrow.RecordBatch) arrow.RecordBatch {
	return array.NewRecordBatch(arrow.NewSchema(batch.Schema().Fields()[:2], nil), batch.Columns()[:2], batch.NumRows())
}
