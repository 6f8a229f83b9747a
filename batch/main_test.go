package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var src = event.Source{Stream: "pay", Epoch: 1}

func pay() *event.Schema {
	return &event.Schema{Stream: "pay", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
		{Name: "ts", Type: event.Type{Kind: event.Timestamp}, NotNull: true},
		{Name: "n", Type: event.Type{Kind: event.BigInt}, NotNull: true},
	}}
}

var payViews = []view.Definition{
	{Name: "hourly", SQL: "SELECT window_start, count(*) AS c FROM pay GROUP BY tumble(ts, INTERVAL '1 hour')"},
	{Name: "total", SQL: "SELECT count(*) AS c, sum(n) AS s FROM pay"},
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A rig is a runner on a lake in memory: one stream with two views, landers that
// run, and a history.
type rig struct {
	*Runner
	t      *testing.T
	bucket *lake.MemoryBucket
	lander *lake.Lander
	wh     *warehouse.Warehouse
	plans  []*view.Plan
	at     uint64 // landed through

	mu     sync.Mutex
	loaded []string // what Loaded was told: "view:through"
	times  []time.Time
}

// newRig opens everything on the bucket; change may alter the runner's Config. The
// warehouse is a new one, in memory.
func newRig(t *testing.T, bucket *lake.MemoryBucket, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, bucket: bucket}
	planner, err := view.NewPlanner(t.Context())
	check(t, err)
	for _, d := range payViews {
		p, err := planner.Plan(t.Context(), d, map[string]*event.Schema{"pay": pay()})
		check(t, err)
		r.plans = append(r.plans, p)
	}
	check(t, planner.Close())

	cache := t.TempDir()
	l, err := lake.Open(t.Context(), bucket, lake.Config{CacheDir: cache})
	check(t, err)
	table, lander := r.table(l, pay(), src)
	runs, runLander := r.table(l, HistorySchema(), HistorySource)
	r.lander, r.at = lander, table.Latest().Marks[src].Through
	r.wh, err = warehouse.Open(t.Context(), warehouse.Config{ReadDirs: []string{cache}})
	check(t, err)
	t.Cleanup(func() {
		if err := r.wh.Close(); err != nil {
			t.Error(err)
		}
	})
	clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg := Config{
		Warehouse: r.wh, Streams: []Stream{{Schema: pay(), Plans: r.plans, Table: table, Epoch: src.Epoch}}, History: NewHistory(runs, runLander),
		Loaded: func(name string, through event.Cut) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.loaded = append(r.loaded, fmt.Sprintf("%s:%d", name, through[src]))
			r.times = append(r.times, time.Now())
		},
		Now: func() time.Time { clock = clock.Add(time.Second); return clock }, // called by the one run under way
	}
	if change != nil {
		change(&cfg)
	}
	r.Runner = New(cfg)
	return r
}

// table opens a table with the source's epoch, and a lander that runs until the
// test ends.
func (r *rig) table(l *lake.Lake, schema *event.Schema, source event.Source) (*lake.Table, *lake.Lander) {
	r.t.Helper()
	table, err := l.Table(r.t.Context(), schema)
	check(r.t, err)
	_, err = table.OpenEpoch(r.t.Context(), source, lake.Mark{})
	check(r.t, err)
	lander, err := lake.NewLander(table, lake.LanderConfig{SpoolDir: r.t.TempDir(), RetryMin: time.Millisecond})
	check(r.t, err)
	ctx, cancel := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := lander.Run(ctx); !errors.Is(err, context.Canceled) {
			r.t.Errorf("lander of %s: %v", schema.Stream, err)
		}
	})
	r.t.Cleanup(func() { cancel(); running.Wait(); lander.Close() })
	return table, lander
}

// land lands messages of one row each.
func (r *rig) land(messages int) {
	r.t.Helper()
	rb := array.NewRecordBuilder(memory.DefaultAllocator, pay().Arrow())
	defer rb.Release()
	b := &event.Block{Range: event.Range{Source: src, After: r.at, Through: r.at + uint64(messages)}, Schema: pay(), Seal: true}
	for seq := b.After + 1; seq <= b.Through; seq++ {
		rb.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(seq * 1_000_000_000))
		rb.Field(1).(*array.Int64Builder).Append(int64(seq))
		b.Runs = append(b.Runs, event.Run{Seq: seq, At: int64(seq), Rows: 1})
	}
	b.Batch = rb.NewRecordBatch()
	check(r.t, r.lander.Apply(r.t.Context(), b))
	r.at = b.Through
	check(r.t, r.lander.Wait(r.t.Context(), src, r.at))
}

// total is the answer of the view total: how many events, and their sum.
func (r *rig) total() string {
	r.t.Helper()
	tx, err := r.wh.Begin(r.t.Context())
	check(r.t, err)
	defer tx.Close()
	partials, _ := tx.Partials(r.plans[1])
	sql, err := r.plans[1].AnswerSQL("("+partials+") AS p", view.Filter{})
	check(r.t, err)
	rel, err := tx.Conn.Collect(r.t.Context(), sql)
	check(r.t, err)
	return fmt.Sprint(rel.Value(0, 0), " ", rel.Value(0, 1))
}

// told gives what Loaded was told since the last call.
func (r *rig) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := fmt.Sprint(r.loaded)
	r.loaded = nil
	return out
}

// history gives the runs as JSON, newest first.
func (r *rig) history() []string {
	r.t.Helper()
	runs, err := r.Runs(r.t.Context())
	check(r.t, err)
	out := []string{}
	for _, run := range runs {
		out = append(out, text(run))
	}
	return out
}

func text(run Run) string {
	data, err := json.Marshal(run)
	if err != nil {
		panic(err) // a Run has nothing that cannot be written
	}
	return string(data)
}

// must runs a batch that succeeds.
func (r *rig) must(trigger string, rebuild bool) Run {
	r.t.Helper()
	run, err := r.Run(r.t.Context(), trigger, rebuild)
	check(r.t, err)
	return run
}
