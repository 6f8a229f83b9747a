package speed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var src = event.Source{Stream: "pay", Epoch: 1}

func pay() *event.Schema {
	return &event.Schema{Stream: "pay", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
		{Name: "ts", Type: event.Type{Kind: event.Timestamp}, NotNull: true},
		{Name: "k", Type: event.Type{Kind: event.Varchar}},
		{Name: "n", Type: event.Type{Kind: event.BigInt}, NotNull: true},
		{Name: "word", Type: event.Type{Kind: event.Varchar}, NotNull: true},
	}}
}

// The views of most tests: one with a window and a key, one with neither, and
// one that fails on every ninth message.
var payViews = []view.Definition{
	{Name: "hourly", SQL: "SELECT window_start, k, count(*) AS c, sum(n) AS s, max(n) AS hi FROM pay GROUP BY tumble(ts, INTERVAL '1 hour'), k"},
	{Name: "total", SQL: "SELECT count(*) AS c, sum(n) AS s FROM pay"},
	{Name: "coded", SQL: "SELECT k, count(*) AS c, sum(CAST(word AS BIGINT)) AS w FROM pay GROUP BY k"},
}

// A bench is an engine over the stream pay, and a connection to ask with.
type bench struct {
	*Engine
	t     testing.TB
	plans []*view.Plan
	conn  *duckdb.Conn
}

// newBench makes an engine that has begun nothing; change may alter its Config.
func newBench(t testing.TB, change func(*Config), defs ...view.Definition) *bench {
	t.Helper()
	if defs == nil {
		defs = payViews
	}
	planner, err := view.NewPlanner(t.Context())
	check(t, err)
	defer planner.Close()
	b := &bench{t: t}
	for _, d := range defs {
		p, err := planner.Plan(t.Context(), d, map[string]*event.Schema{"pay": pay()})
		check(t, err)
		b.plans = append(b.plans, p)
	}
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1, Locked: true})
	check(t, err)
	b.conn, err = db.Connect()
	check(t, err)
	cfg := Config{DB: db, Streams: []StreamConfig{{Schema: pay(), Plans: b.plans}}}
	if change != nil {
		change(&cfg)
	}
	b.Engine, err = New(t.Context(), cfg)
	check(t, err)
	t.Cleanup(func() {
		if err := errors.Join(b.Engine.Close(), b.conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// begun makes an engine whose source begins at 0, with nothing landed.
func begun(t testing.TB, change func(*Config), defs ...view.Definition) *bench {
	t.Helper()
	b := newBench(t, change, defs...)
	check(t, b.Begin(t.Context(), src, Base{MaxTime: math.MinInt64}, nil))
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// base is the log time of sequence 0, µs since 1970.
const base = 1_700_000_000_000_000

// block makes the messages (after, through] of a source, with perMsg rows each;
// values follow from the position. Every tenth message has a refused record.
func block(s event.Source, after, through uint64, perMsg int) *event.Block {
	b := &event.Block{Range: event.Range{Source: s, After: after, Through: through}, Schema: pay(), LogTime: base + int64(through), Size: 100 * perMsg * int(through-after)}
	rb := array.NewRecordBuilder(memory.DefaultAllocator, pay().Arrow())
	defer rb.Release()
	for seq := after + 1; seq <= through; seq++ {
		for i := range perMsg {
			x := int64(seq)*7919 + int64(i)*104_729 + int64(s.Epoch)
			rb.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(base + x%40_000*1_000_000))
			if x%11 == 0 {
				rb.Field(1).AppendNull()
			} else {
				rb.Field(1).(*array.StringBuilder).Append([]string{"a", "b", "a key longer than twelve bytes", ""}[x%4])
			}
			rb.Field(2).(*array.Int64Builder).Append(x%1000 - 300)
			word := fmt.Sprint(x % 100)
			if seq%9 == 0 && i == 0 {
				word = "none"
			}
			rb.Field(3).(*array.StringBuilder).Append(word)
		}
		if perMsg > 0 {
			b.Runs = append(b.Runs, event.Run{Seq: seq, At: base + int64(seq), Rows: perMsg})
		}
		if seq%10 == 0 {
			b.Refused = append(b.Refused, event.Refused{Seq: seq, Idx: uint32(perMsg), Reason: "refused", Raw: []byte("x")})
		}
	}
	if perMsg > 0 && through > after {
		b.Batch = rb.NewRecordBatch()
	}
	return b
}

func sealed(b *event.Block) *event.Block { b.Seal = true; return b }

// apply applies blocks one by one.
func (b *bench) apply(blocks ...*event.Block) {
	b.t.Helper()
	for _, blk := range blocks {
		check(b.t, b.Applier("pay").Apply(b.t.Context(), blk))
	}
}

func (b *bench) plan(name string) *view.Plan {
	return b.plans[slices.IndexFunc(b.plans, func(p *view.Plan) bool { return p.Name == name })]
}

// over runs a statement over batches and gives its rows, sorted.
func (b *bench) over(columns []event.Column, batches []duckdb.Batch, sql func(from string) string) string {
	b.t.Helper()
	h := duckdb.Share(columns)
	defer h.Close()
	h.Set(batches)
	rel, err := b.conn.Collect(b.t.Context(), sql(h.SQL()))
	check(b.t, err)
	var rows []string
	for row := range rel.Len() {
		var values []string
		for c := range rel.Columns {
			values = append(values, fmt.Sprint(rel.Value(row, c)))
		}
		rows = append(rows, strings.Join(values, "|"))
	}
	slices.Sort(rows)
	return strings.Join(rows, "\n")
}

// answer merges and finishes segments of a view.
func (b *bench) answer(name string, segments []*Segment) string {
	b.t.Helper()
	var parts []duckdb.Batch
	for _, seg := range segments {
		for _, p := range seg.Pieces {
			parts = append(parts, p.Batches...)
		}
	}
	p := b.plan(name)
	return b.over(p.Partial, parts, func(from string) string {
		sql, err := p.AnswerSQL(from, view.Filter{})
		check(b.t, err)
		return sql
	})
}

// plain is what the answer must be: the view's own SQL over the events.
func (b *bench) plain(name string, events ...*event.Block) string {
	b.t.Helper()
	var batches []duckdb.Batch
	for _, e := range events {
		if e.Len() > 0 {
			batches = append(batches, e)
		}
	}
	return b.over(pay().Relation(), batches, b.plan(name).PlainSQL)
}

// same compares the answer of a State's whole view with its SQL over the events.
func (b *bench) same(st *State, name string, events ...*event.Block) {
	b.t.Helper()
	_, v := st.View(name)
	if got, want := b.answer(name, v.Segments), b.plain(name, events...); got != want {
		b.t.Errorf("view %s answers\n%s\nits SQL over the events\n%s", name, got, want)
	}
}

// ranges gives the segments' ranges: "0-5 5-9*", with a star for the open one.
func ranges(v *View) string {
	var out []string
	for _, seg := range v.Segments {
		text := fmt.Sprintf("%d-%d", seg.After, seg.Through)
		if !seg.Sealed {
			text += "*"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func (b *bench) wantRanges(name, want string) {
	b.t.Helper()
	_, v := b.State().View(name)
	if got := ranges(v); got != want {
		b.t.Errorf("segments of %s: %s, want %s", name, got, want)
	}
}

func (b *bench) stream() *Stream { return b.State().Streams["pay"] }

// A memoryLog is an event.Reader over messages of a fixed size, in blocks of five.
type memoryLog struct {
	perMsg int
	asked  []string
}

func (l *memoryLog) Read(_ context.Context, r event.Range, yield func(*event.Block) error) error {
	l.asked = append(l.asked, fmt.Sprintf("%d-%d", r.After, r.Through))
	for after := r.After; after < r.Through; after += 5 {
		if err := yield(block(r.Source, after, min(after+5, r.Through), l.perMsg)); err != nil {
			return err
		}
	}
	return nil
}
