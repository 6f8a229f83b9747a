package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

var paySource = event.Source{Stream: "pay", Epoch: 1}

func paySchema() *event.Schema {
	return &event.Schema{Stream: "pay", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
		{Name: "ts", Type: event.Type{Kind: event.Timestamp}, NotNull: true},
		{Name: "k", Type: event.Type{Kind: event.Varchar}},
		{Name: "n", Type: event.Type{Kind: event.BigInt}, NotNull: true},
	}}
}

var payViews = []view.Definition{
	{Name: "hourly", SQL: "SELECT window_start, k, count(*) AS c, sum(n) AS s, max(n) AS hi FROM pay GROUP BY tumble(ts, INTERVAL '1 hour'), k"},
	{Name: "total", SQL: "SELECT count(*) AS c, sum(n) AS s FROM pay"},
	{Name: "ranked", SQL: "SELECT k, count(*) AS c, rank() OVER (ORDER BY count(*) DESC, k) AS r FROM pay GROUP BY k"},
	{Name: "positive", SQL: "SELECT k, sum(n) AS s FROM pay GROUP BY k HAVING sum(n) > 0"},
}

// windowViews are those whose windows are made of panes, or of events.
var windowViews = []view.Definition{
	{Name: "rolling", SQL: "SELECT k, window_start, count(*) AS c, sum(n) AS s FROM pay GROUP BY hop(ts, INTERVAL '1 hour', INTERVAL '20 minutes'), k"},
	{Name: "visits", SQL: "SELECT k, window_start, window_end, count(*) AS c, sum(n) AS s FROM pay GROUP BY session(ts, INTERVAL '8 minutes'), k"},
	{Name: "cut", SQL: "SELECT k, window_start, window_end, count(*) AS c, sum(n) AS s FROM pay GROUP BY session(ts, INTERVAL '8 minutes', INTERVAL '15 minutes'), k"},
	{Name: "moving", SQL: "SELECT k, window_end, count(*) AS c, sum(n) AS s FROM pay GROUP BY slide(ts, INTERVAL '2 minutes'), k"},
	{Name: "instants", SQL: "SELECT window_start, count(*) AS c FROM pay GROUP BY snapshot(ts)"},
	{Name: "values_of", SQL: "SELECT k, count(DISTINCT n) AS d, median(n) AS m, mode(n % 7) AS o, last(n) AS l, arg_max(n, ts) AS a, count(*) AS c FROM pay GROUP BY k, tumble(ts, INTERVAL '1 hour')"},
	{Name: "rates", SQL: "SELECT k, approx_count_distinct(n) AS d, quantile_disc(n, 0.9) AS q FROM pay GROUP BY hop(ts, INTERVAL '2 hours', INTERVAL '1 hour'), k"},
	{Name: "kept", Cap: "3", SQL: "SELECT k, list(n) AS l, string_agg(n, '/' ORDER BY ts DESC) FILTER (n > 0) AS s FROM pay GROUP BY session(ts, INTERVAL '8 minutes'), k"},
	{Name: "above", SQL: "SELECT p.k, count(*) AS c FROM pay AS p WHERE n > (SELECT avg(n) FROM pay) GROUP BY ALL ORDER BY c DESC, k"},
	{Name: "named", SQL: "SELECT n.name, count(*) AS c, sum(p.n) AS s FROM pay AS p LEFT JOIN names AS n USING (k) GROUP BY ALL"},
	{Name: "named_hourly", SQL: "SELECT window_start, upper(name) AS name, count(*) AS c, sum(p.n) AS s, count(DISTINCT n) AS d FROM pay AS p JOIN names AS m ON p.k = m.k AND m.name <> 'x' GROUP BY tumble(ts, INTERVAL '1 hour'), upper(name)"},
	{Name: "lengths", SQL: "SELECT p.k, sum(length(m.name)) AS s FROM pay AS p JOIN names AS m ON p.k = m.k GROUP BY p.k"},
}

// A rig is a core over layers in memory: one stream with views, events that a test
// applies, lands and batches as it likes.
type rig struct {
	*Core
	t      *testing.T
	engine *speed.Engine
	wh     *warehouse.Warehouse
	table  *lake.Table
	lander *lake.Lander
	plans  []*view.Plan
	at     uint64 // applied through
	landed atomic.Pointer[lake.Snapshot]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rigKeptBytes keeps landings of up to 60 messages in memory, four of them; larger ones
// are read from their files.
const rigKeptBytes = 24_000

func newRig(t *testing.T) *rig {
	t.Helper()
	ctx := t.Context()
	r := &rig{t: t}
	planner, err := view.NewPlanner(ctx)
	must(t, err)
	for _, d := range slices.Concat(payViews, windowViews) {
		d.References = map[string][]event.Column{"names": rigReferences()[0].Rows.Columns}
		p, err := planner.Plan(ctx, d, map[string]*event.Schema{"pay": paySchema()})
		must(t, err)
		r.plans = append(r.plans, p)
	}
	must(t, planner.Close())
	cache := t.TempDir()
	l, err := lake.Open(ctx, lake.NewMemoryBucket(), lake.Config{CacheDir: cache})
	must(t, err)
	r.table, err = l.Table(ctx, paySchema())
	must(t, err)
	_, err = r.table.OpenEpoch(ctx, paySource, lake.Mark{})
	must(t, err)
	r.lander, err = lake.NewLander(r.table, lake.LanderConfig{SpoolDir: t.TempDir(), RetryMin: time.Millisecond})
	must(t, err)
	r.wh, err = warehouse.Open(ctx, warehouse.Config{ReadDirs: []string{cache}})
	must(t, err)
	compute, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, Locked: true})
	must(t, err)
	r.engine, err = speed.New(ctx, speed.Config{DB: compute, KeptBytes: rigKeptBytes, Streams: []speed.StreamConfig{{Schema: paySchema(), Plans: r.plans}}})
	must(t, err)
	must(t, r.engine.Begin(ctx, paySource, speed.Base{MaxTime: math.MinInt64}, nil))
	gateDB, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, Locked: true})
	must(t, err)
	r.Core = NewCore(CoreConfig{Speed: r.engine, Warehouse: r.wh, Streams: []*event.Schema{paySchema()}, Plans: r.plans, GateDB: gateDB, Operations: rigOperations{r}, References: rigReferences()})
	r.minMerged = 0

	running, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := r.lander.Run(running); !errors.Is(err, context.Canceled) {
			t.Errorf("lander: %v", err)
		}
	})
	t.Cleanup(func() {
		r.StopLive()
		cancel()
		wait.Wait()
		r.lander.Close()
		if err := errors.Join(r.engine.Close(), compute.Close(), r.wh.Close(), gateDB.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// rigReferences is the reference table names: a long name of k, none for c. rigNames are
// others.
func rigReferences() []Reference { return rigNames("v1", "Anna's", "Ben's") }

func rigNames(version, a, b string) []Reference {
	columns := []event.Column{{Name: "k", Type: event.Type{Kind: event.Varchar}}, {Name: "name", Type: event.Type{Kind: event.Varchar}}}
	rows := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	rows.Field(0).(*array.StringBuilder).AppendValues([]string{"a", "b"}, nil)
	rows.Field(1).(*array.StringBuilder).AppendValues([]string{a, b}, nil)
	return []Reference{{Name: "names", Version: version, Rows: &duckdb.Relation{Columns: columns, Batches: []duckdb.Batch{duckdb.RecordBatch(rows.NewRecordBatch())}}}}
}

// rigOperations is what the program around a core does.
type rigOperations struct{ r *rig }

func (o rigOperations) Landed(table string) *lake.Snapshot {
	if table == "pay" {
		return o.r.landed.Load()
	}
	return nil
}
func (o rigOperations) Heads(context.Context) event.Cut              { return o.r.engine.State().Applied() }
func (o rigOperations) Status(context.Context) (any, error)          { return nil, nil }
func (o rigOperations) Ready() error                                 { return nil }
func (o rigOperations) RunBatch(context.Context, bool) (any, error)  { return nil, nil }
func (o rigOperations) Runs(context.Context) (any, error)            { return nil, nil }
func (o rigOperations) Apply(context.Context, bool) (any, error)     { return nil, nil }
func (o rigOperations) Applying(context.Context) (any, error)        { return nil, nil }
func (o rigOperations) History(context.Context, string) (any, error) { return nil, nil }
func (o rigOperations) Mend(why error)                               { o.r.t.Errorf("the warehouse is damaged: %v", why) }

// send applies messages of one event each, and gives them to the lander. Values
// follow from the position: k is one of a, b, c and NULL, n is -50 to 50.
func (r *rig) send(messages int) {
	r.t.Helper()
	rb := array.NewRecordBuilder(memory.DefaultAllocator, paySchema().Arrow())
	defer rb.Release()
	b := &event.Block{Range: event.Range{Source: paySource, After: r.at, Through: r.at + uint64(messages)}, Schema: paySchema(), Seal: true, Size: 100 * messages}
	for seq := b.After + 1; seq <= b.Through; seq++ {
		x := int64(seq) * 7919
		rb.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(x % 20_000 * 1_000_000))
		if x%5 == 0 {
			rb.Field(1).AppendNull()
		} else {
			rb.Field(1).(*array.StringBuilder).Append([]string{"a", "b", "c"}[x%3])
		}
		rb.Field(2).(*array.Int64Builder).Append(x%101 - 50)
		b.Runs = append(b.Runs, event.Run{Seq: seq, At: int64(seq), Rows: 1})
	}
	b.Batch = rb.NewRecordBatch()
	must(r.t, r.engine.Applier("pay").Apply(r.t.Context(), b))
	must(r.t, r.lander.Apply(r.t.Context(), b))
	r.at = b.Through
}

// land waits until all that was sent has landed.
func (r *rig) land() {
	r.t.Helper()
	must(r.t, r.lander.Wait(r.t.Context(), paySource, r.at))
	r.landed.Store(r.table.Latest())
	r.engine.Landed(paySource, r.at)
}

// batch advances the warehouse through what landed.
func (r *rig) batch() {
	r.t.Helper()
	r.advance(false)
}

func (r *rig) advance(rebuild bool) {
	r.t.Helper()
	snap := r.table.Latest()
	done, err := r.wh.Advance(r.t.Context(), []warehouse.Input{{Schema: paySchema(), Plans: r.kept(), Origin: warehouse.Origin{TableID: "t", Version: 1, CommitID: "c"},
		Landed: []event.Range{{Source: paySource, Through: snap.Marks[paySource].Through}}, Select: snap.SelectSQL}}, rebuild)
	must(r.t, err)
	for _, p := range r.kept() {
		r.engine.Loaded(p.Name, done.S[warehouse.ViewObject(p)])
	}
	r.engine.Batched("pay", done.S[warehouse.FactsObject("pay")])
}

// textOf reads an answer to its end, one line a row.
func textOf(a *Answer, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer a.Close()
	var sb strings.Builder
	for {
		b, err := a.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return sb.String(), nil
		}
		if err != nil {
			return "", err
		}
		for i := range int(b.NumRows()) {
			for c := range int(b.NumCols()) {
				if c > 0 {
					sb.WriteByte('|')
				}
				sb.WriteString(b.Column(c).ValueStr(i))
			}
			sb.WriteByte('\n')
		}
	}
}

// ask runs a statement that succeeds.
func (r *rig) ask(sql string, parameters ...Parameter) string {
	r.t.Helper()
	out, err := textOf(r.SQL(r.t.Context(), SQLRequest{SQL: sql, Parameters: parameters, Timeout: time.Minute}))
	if err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return out
}

// kept are the views that have partial rows.
func (r *rig) kept() []*view.Plan {
	return slices.DeleteFunc(slices.Clone(r.plans), func(p *view.Plan) bool { return p.Direct })
}

// cutNow is the cut of what was sent.
func (r *rig) cutNow() event.Cut { return event.Cut{paySource: r.at} }

// sameAt compares every view with its own SQL at a cut.
func (r *rig) sameAt(at event.Cut) {
	r.t.Helper()
	for _, p := range r.plans[:len(payViews)] {
		request := SQLRequest{SQL: "SELECT * FROM " + p.Name + " ORDER BY ALL", Timeout: time.Minute, At: at}
		got, err := textOf(r.SQL(r.t.Context(), request))
		must(r.t, err)
		request.SQL = fmt.Sprintf("SELECT * FROM (%s) AS v ORDER BY ALL", strings.Replace(p.SQL, "window_start", "time_bucket(INTERVAL '1 hour', ts, TIMESTAMP '1970-01-01') AS window_start", 1))
		request.SQL = strings.Replace(request.SQL, "tumble(ts, INTERVAL '1 hour')", "1", 1)
		want, err := textOf(r.SQL(r.t.Context(), request))
		must(r.t, err)
		if got != want {
			r.t.Fatalf("view %s at %s:\n%s\nits SQL over the events:\n%s", p.Name, at, got, want)
		}
		check, err := r.Check(r.t.Context(), CheckRequest{View: p.Name, At: at})
		must(r.t, err)
		if check.Difference != 0 || at != nil && !maps.Equal(check.Cut, at) {
			r.t.Fatalf("the check of view %s at %s: %+v", p.Name, at, check)
		}
	}
}
