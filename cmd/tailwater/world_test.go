package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/stream"
	"github.com/tailwater/tailwater/view"
)

// The state machine that the tests of this file drive:
//
//	vars   log, H · acked ⊆ log · seals · lake: commits, L · wh[v] = (S, partials) in
//	       one transaction · State = (A, segments, tail), immutable · up, ready
//	Send, Retry     append, and acknowledge only what is stored
//	Land            a seal x, L < x ≤ H; files; commit(rows (L, x], txn = x)
//	Batch, Rebuild  x = L of the latest snapshot; wh[v] = (x, partials of (0, x])
//	Query, Check    take State; begin; if S > A take again; answer at Q = A
//	Crash, Restart  State is lost, the rest stays
//	Rollback        the log loses a suffix → a new epoch
//	LoseWarehouse   the file is deleted or broken → made anew from the lake
//
//	invariants      every answer at Q = the recount of the accepted events through Q,
//	                each id once · Q never decreases · S ≤ L ≤ H, A ≤ H · difference 0
//	liveness        in the end A = H and S = L = H, and the answer counts everything
//
// The recount is plain Go over what was acknowledged; it shares nothing with
// the program.

// A world is a node on parts that survive its crashes, and the recount.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	project *project.Project
	ground  ground
	node    *node

	sent   []record // acknowledged, in the order of positions
	ids    map[string]bool
	nextID int
	lastQ  event.Cut
	last   event.Position
	dead   int // refused records acknowledged
	trace  []string

	followers map[string]*follower // of live views
}

// ground is what a node stands on: the in-memory parts, or real ones.
type ground interface {
	parts(t *testing.T) parts
	down()                                                         // after the node is gone, before the next start
	rollback(t *testing.T, r *rand.Rand) (through uint64, ok bool) // the log loses what comes after; only while down
	warehouse() string                                             // the file, empty if it cannot be harmed
}

// A record is an acknowledged event.
type record struct {
	event.Position
	id       string
	ts       int64 // µs
	merchant string
	cents    int64
	code     int64 // negative: no number was sent
	weight   float64
	null     bool // merchant is NULL
	first    bool // no event of an earlier position has the id
}

const worldStream = `-- time: ts
-- id: id
-- dedup-window: 24h
CREATE TABLE payments (
  id VARCHAR NOT NULL,
  ts TIMESTAMP NOT NULL,
  merchant VARCHAR,
  amount DECIMAL(10,2) NOT NULL,
  code VARCHAR NOT NULL,
  weight DOUBLE NOT NULL
);
`

var worldViews = map[string]string{
	"hourly": `SELECT window_start, window_end, merchant, count(*) AS n, sum(amount) AS total, min(amount) AS lo, max(amount) AS hi,
  avg(amount) AS mean, stddev_pop(weight) AS spread, count(*) FILTER (WHERE amount > 50) AS big
FROM payments GROUP BY tumble(ts, INTERVAL '1 hour'), merchant`,
	"overall": `SELECT count(*) AS n, sum(amount) AS total FROM payments`,
	"coded":   `SELECT merchant, count(*) AS n, sum(CAST(code AS INTEGER)) AS codes FROM payments GROUP BY merchant`,
	"busy":    `SELECT merchant, count(*) AS n FROM payments WHERE amount >= 10 GROUP BY merchant HAVING count(*) > 3`,
	"rolling": `SELECT window_start, merchant, count(*) AS n, sum(amount) AS total, var_pop(weight) AS spread FROM payments GROUP BY hop(ts, INTERVAL '2 hours', INTERVAL '30 minutes'), merchant`,
	"visits":  `SELECT window_start, window_end, merchant, count(*) AS n, max(amount) AS hi FROM payments GROUP BY session(ts, INTERVAL '4 minutes'), merchant`,
	"moving":  `SELECT window_end, merchant, sum(amount) AS total FROM payments GROUP BY slide(ts, INTERVAL '1 minute'), merchant`,
	"values": `SELECT window_start, count(DISTINCT merchant) AS merchants, quantile_disc(amount, 0.9) AS high, mode(merchant) AS most, last(amount) AS latest, arg_max(merchant, amount) AS highest
FROM payments GROUP BY tumble(ts, INTERVAL '3 hours')`,
}

func worldProject(t *testing.T) *project.Project {
	t.Helper()
	files := map[string]string{"streams/payments.sql": worldStream}
	for name, sql := range worldViews {
		files["views/"+name+".sql"] = sql
	}
	dir := writeFiles(t, files)
	planner, err := view.NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	p, err := project.Load(t.Context(), dir, planner)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newWorld(t *testing.T, seed uint64, g ground) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), project: worldProject(t), ground: g, ids: map[string]bool{}, lastQ: event.Cut{}, followers: map[string]*follower{}}
	w.start()
	t.Cleanup(func() {
		if w.node != nil {
			w.node.kill()
		}
		g.down()
	})
	return w
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	tail := w.trace[max(0, len(w.trace)-30):]
	w.t.Fatalf("%s\nlast operations: %v", fmt.Sprintf(format, args...), tail)
}

func (w *world) start() {
	w.t.Helper()
	for {
		n, err := startNode(w.t.Context(), w.project, w.ground.parts(w.t))
		if injected(err) {
			w.ground.down() // a failure while starting: start again
			continue
		}
		if err != nil {
			w.fatalf("start: %v", err)
		}
		w.node = n
		w.awaitReady()
		return
	}
}

// injected reports whether an armed fault point made the error.
func injected(err error) bool {
	return err != nil && strings.Contains(err.Error(), "injected failure")
}

// An operation of the state machine, and how often it is drawn.
type operation struct {
	name   string
	weight int
	do     func()
}

func (w *world) awaitReady() {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for w.node.Ready() != nil {
		if time.Now().After(deadline) {
			w.fatalf("not ready after 30 s: %v", w.node.Ready())
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// step does one random operation.
func (w *world) step() {
	w.t.Helper()
	ops := append(faultOperations(w), []operation{
		{"send", 380, func() { w.send(1 + w.rng.IntN(20)) }},
		{"send-much", 6, func() { w.send(500 + w.rng.IntN(3000)) }},
		{"retry", 40, w.retry},
		{"query", 280, w.query},
		{"count", 60, w.countSQL},
		{"filter", 60, w.filtered},
		{"check", 30, func() { w.check(w.someViews()...) }},
		{"live", 20, w.live},
		{"land", 50, w.land},
		{"batch", 40, func() { w.batch(batch.OnDemand, false) }},
		{"scheduled", 20, func() { w.batch(batch.OnSchedule, false) }},
		{"rebuild", 4, func() { w.batch(batch.OnDemand, true) }},
		{"compact", 10, w.compact},
		{"crash", 6, w.crash},
		{"restart", 3, w.restart},
		{"lose-warehouse", 2, w.loseWarehouse},
		{"rollback", 2, w.rollback},
	}...)
	total := 0
	for _, op := range ops {
		total += op.weight
	}
	at := w.rng.IntN(total)
	for _, op := range ops {
		if at -= op.weight; at < 0 {
			w.trace = append(w.trace, op.name)
			op.do()
			return
		}
	}
}

var merchants = []string{"acme", "bolt", "a merchant with a name longer than twelve bytes", "", "düner"}

// make gives a new event: mostly fresh, sometimes late by days, sometimes with
// the id of an earlier one.
func (w *world) make() record {
	r := record{id: fmt.Sprintf("e%d", w.nextID), merchant: merchants[w.rng.IntN(len(merchants))], null: w.rng.IntN(12) == 0}
	w.nextID++
	if len(w.sent) > 0 && w.rng.IntN(15) == 0 {
		r.id = w.sent[w.rng.IntN(len(w.sent))].id
	}
	base := time.Date(2024, 2, 28, 22, 0, 0, 0, time.UTC).UnixMicro()
	r.ts = base + int64(w.nextID)*50_000_000 - w.rng.Int64N(3_600_000_000)
	if w.rng.IntN(10) == 0 {
		r.ts -= w.rng.Int64N(40 * 86_400_000_000)
	}
	r.cents = w.rng.Int64N(20_000) - 4_000
	r.code = w.rng.Int64N(1000)
	if w.rng.IntN(20) == 0 {
		r.code = -1
	}
	r.weight = w.rng.NormFloat64() + 1e6
	return r
}

func (w *world) send(n int) {
	w.t.Helper()
	records := make([]record, n)
	for i := range records {
		records[i] = w.make()
	}
	w.publish(records)
}

func (w *world) retry() {
	w.t.Helper()
	if len(w.sent) == 0 {
		return
	}
	from := w.rng.IntN(len(w.sent))
	w.publish(append([]record(nil), w.sent[from:min(len(w.sent), from+10)]...))
}

// publish sends the records as one request, with a refused record now and then.
func (w *world) publish(records []record) {
	w.t.Helper()
	var refused []event.Refused
	if w.rng.IntN(10) == 0 {
		refused = append(refused, event.Refused{Line: 1, Field: "amount", Reason: "not a number", Raw: []byte("{\"amount\":\"\xff\"}")})
	}
	pos, err := w.node.pipelines["payments"].Publish(w.t.Context(), rowsOf(w.project.Streams[0].Schema, records), refused)
	if err != nil {
		w.fatalf("publish: %v", err)
	}
	for i := range records {
		records[i].Position = event.Position{Source: pos.Source, Seq: pos.Seq, Idx: uint32(i)}
		records[i].first = !w.ids[records[i].id]
		w.ids[records[i].id] = true
	}
	w.sent = append(w.sent, records...)
	w.dead += len(refused)
	w.last = pos
}

func rowsOf(s *event.Schema, records []record) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, s.Arrow())
	defer b.Release()
	for _, r := range records {
		b.Field(0).(*array.StringBuilder).Append(r.id)
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(r.ts))
		if r.null {
			b.Field(2).AppendNull()
		} else {
			b.Field(2).(*array.StringBuilder).Append(r.merchant)
		}
		b.Field(3).(*array.Int64Builder).Append(r.cents)
		code := "none"
		if r.code >= 0 {
			code = strconv.FormatInt(r.code, 10)
		}
		b.Field(4).(*array.StringBuilder).Append(code)
		b.Field(5).(*array.Float64Builder).Append(r.weight)
	}
	return b.NewRecordBatch()
}

// accepted gives the events through the cut, each id once: the first position.
// w.sent is in the order of positions.
func (w *world) accepted(cut event.Cut) []record {
	out := make([]record, 0, len(w.sent))
	for _, r := range w.sent {
		if r.first && cut.Covers(r.Position) {
			out = append(out, r)
		}
	}
	return out
}

// markFirst decides which of the events acknowledged is the first of its id.
func (w *world) markFirst() {
	w.ids = map[string]bool{}
	for i := range w.sent {
		w.sent[i].first = !w.ids[w.sent[i].id]
		w.ids[w.sent[i].id] = true
	}
}

// after is a position that the answer must cover, half of the time.
func (w *world) after() *event.Position {
	if w.last.Seq == 0 || w.rng.IntN(2) == 0 {
		return nil
	}
	p := w.last
	return &p
}

// judge checks what every answer says of itself.
func (w *world) judge(a *serving.Answer, after *event.Position) {
	w.t.Helper()
	if !a.Complete {
		w.fatalf("incomplete answer: %v", a.Statistics)
	}
	if after != nil && !a.Cut.Covers(*after) {
		w.fatalf("the answer at %s does not cover %s", a.Cut, after)
	}
	if w.lastQ.Beyond(a.Cut) {
		w.fatalf("Q went back from %s to %s", w.lastQ, a.Cut)
	}
	w.lastQ = a.Cut
}

// rows reads an answer to its end, each row as values by column name.
func rows(ctx context.Context, a *serving.Answer) ([]map[string]any, error) {
	var out []map[string]any
	for {
		b, err := a.Next(ctx)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range int(b.NumRows()) {
			m := map[string]any{}
			for c, col := range a.Columns {
				m[col.Name] = value(b.Column(c), i)
			}
			out = append(out, m)
		}
	}
}

func value(col arrow.Array, i int) any {
	if col.IsNull(i) {
		return nil
	}
	switch c := col.(type) {
	case *array.Int64:
		return c.Value(i)
	case *array.Decimal128:
		return c.Value(i).BigInt().Int64()
	case *array.Float64:
		return c.Value(i)
	case *array.Timestamp:
		return int64(c.Value(i))
	case *array.String:
		return c.Value(i)
	}
	return col.ValueStr(i)
}

func (w *world) ask(name string, f view.Filter) (*serving.Answer, []map[string]any) {
	w.t.Helper()
	after := w.after()
	a, err := w.node.core.View(w.t.Context(), serving.ViewRequest{Name: name, Filter: f, After: after})
	if err != nil {
		w.fatalf("view %s: %v", name, err)
	}
	defer a.Close()
	got, err := rows(w.t.Context(), a)
	if err != nil {
		w.fatalf("view %s: %v", name, err)
	}
	w.judge(a, after)
	return a, got
}

// query asks one view and compares every cell with the recount.
func (w *world) query() {
	w.t.Helper()
	switch w.rng.IntN(4) {
	case 0:
		a, got := w.ask("overall", view.Filter{})
		n, cents := int64(0), int64(0)
		for _, r := range w.accepted(a.Cut) {
			n++
			cents += r.cents
		}
		if len(got) != 1 || got[0]["n"] != n || (n > 0 && got[0]["total"] != cents) || (n == 0 && got[0]["total"] != nil) {
			w.fatalf("overall at %s: got %v, want n=%d total=%d", a.Cut, got, n, cents)
		}
	case 1:
		a, got := w.ask("coded", view.Filter{})
		w.compareCoded(a, got)
	case 2:
		a, got := w.ask("busy", view.Filter{})
		want := map[any]int64{}
		for _, r := range w.accepted(a.Cut) {
			if r.cents >= 1000 {
				want[r.key()]++
			}
		}
		for k, n := range want {
			if n <= 3 {
				delete(want, k)
			}
		}
		w.compareCounts("busy", a, got, want)
	default:
		a, got := w.ask("hourly", view.Filter{})
		w.compareHourly(a, got, w.accepted(a.Cut))
	}
}

func (r record) key() any {
	if r.null {
		return nil
	}
	return r.merchant
}

func (w *world) compareCounts(name string, a *serving.Answer, got []map[string]any, want map[any]int64) {
	w.t.Helper()
	if len(got) != len(want) {
		w.fatalf("%s at %s: %d rows, want %d", name, a.Cut, len(got), len(want))
	}
	for _, g := range got {
		if g["n"] != want[g["merchant"]] {
			w.fatalf("%s at %s: %v has %v, want %d", name, a.Cut, g["merchant"], g["n"], want[g["merchant"]])
		}
	}
}

// compareCoded expects the rows whose code is no number to be left out whole.
func (w *world) compareCoded(a *serving.Answer, got []map[string]any) {
	w.t.Helper()
	counts, sums := map[any]int64{}, map[any]int64{}
	for _, r := range w.accepted(a.Cut) {
		if r.code < 0 {
			continue
		}
		counts[r.key()]++
		sums[r.key()] += r.code
	}
	w.compareCounts("coded", a, got, counts)
	for _, g := range got {
		if g["codes"] != sums[g["merchant"]] {
			w.fatalf("coded at %s: %v has %v, want %d", a.Cut, g["merchant"], g["codes"], sums[g["merchant"]])
		}
	}
}

type cell struct {
	hour int64
	key  any
}

type hourTally struct {
	n, sum, lo, hi, big int64
	weights             []float64
}

func tallies(records []record) map[cell]*hourTally {
	out := map[cell]*hourTally{}
	for _, r := range records {
		c := cell{r.ts - mod(r.ts, 3_600_000_000), r.key()}
		t := out[c]
		if t == nil {
			t = &hourTally{lo: math.MaxInt64, hi: math.MinInt64}
			out[c] = t
		}
		t.n++
		t.sum += r.cents
		t.lo, t.hi = min(t.lo, r.cents), max(t.hi, r.cents)
		if r.cents > 5000 {
			t.big++
		}
		t.weights = append(t.weights, r.weight)
	}
	return out
}

func mod(a, b int64) int64 { return ((a % b) + b) % b }

func spread(xs []float64) float64 {
	mean := 0.0
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	m2 := 0.0
	for _, x := range xs {
		m2 += (x - mean) * (x - mean)
	}
	return math.Sqrt(m2 / float64(len(xs)))
}

func (w *world) compareHourly(a *serving.Answer, got []map[string]any, records []record) {
	w.t.Helper()
	want := tallies(records)
	if len(got) != len(want) {
		w.fatalf("hourly at %s: %d rows, want %d", a.Cut, len(got), len(want))
	}
	for _, g := range got {
		c := cell{g["window_start"].(int64), g["merchant"]}
		t := want[c]
		if t == nil {
			w.fatalf("hourly at %s: row %v should not be", a.Cut, g)
		}
		mean, sd := float64(t.sum)/100/float64(t.n), spread(t.weights)
		if g["window_end"] != c.hour+3_600_000_000 || g["n"] != t.n || g["total"] != t.sum || g["lo"] != t.lo || g["hi"] != t.hi || g["big"] != t.big ||
			math.Abs(g["mean"].(float64)-mean) > 1e-9*(1+math.Abs(mean)) || math.Abs(g["spread"].(float64)-sd) > 1e-6 {
			w.fatalf("hourly at %s, %v: got %v, want %+v mean %v spread %v", a.Cut, c, g, *t, mean, sd)
		}
	}
}

// filtered asks for some hours of one merchant.
func (w *world) filtered() {
	w.t.Helper()
	if len(w.sent) == 0 {
		return
	}
	pick := w.sent[w.rng.IntN(len(w.sent))]
	hour := pick.ts - mod(pick.ts, 3_600_000_000)
	from, to := time.UnixMicro(hour).UTC(), time.UnixMicro(hour+2*3_600_000_000).UTC()
	f := view.Filter{From: &from, To: &to, Where: []view.Equal{{Key: "merchant", Value: pick.merchant, Null: pick.null}}}
	a, got := w.ask("hourly", f)
	var in []record
	for _, r := range w.accepted(a.Cut) {
		if r.key() == pick.key() && r.ts >= hour && r.ts < hour+2*3_600_000_000 {
			in = append(in, r)
		}
	}
	w.compareHourly(a, got, in)
}

// countSQL asks the stream and its dead letters as tables, at one cut.
func (w *world) countSQL() {
	w.t.Helper()
	after := w.after()
	a, err := w.node.core.SQL(w.t.Context(), serving.SQLRequest{
		SQL:   "SELECT count(*) AS n, sum(amount) AS total, count(DISTINCT id) AS ids, (SELECT sum(n)::BIGINT FROM coded) AS coded, (SELECT count(*) FROM tailwater.view_errors WHERE view = 'coded') AS failed, (SELECT count(*) FROM payments_dead) AS dead FROM payments",
		After: after, Timeout: time.Minute,
	})
	if err != nil {
		w.fatalf("sql: %v", err)
	}
	defer a.Close()
	got, err := rows(w.t.Context(), a)
	if err != nil {
		w.fatalf("sql: %v", err)
	}
	w.judge(a, after)
	n, cents, failed := int64(0), int64(0), int64(0)
	for _, r := range w.accepted(a.Cut) {
		n++
		cents += r.cents
		if r.code < 0 {
			failed++
		}
	}
	g := got[0]
	if g["n"] != n || g["ids"] != n || (n > 0 && g["total"] != cents) || g["failed"] != failed || (n > failed && g["coded"] != n-failed) {
		w.fatalf("sql at %s: got %v, want n=%d total=%d failed=%d; counted twice: %v", a.Cut, g, n, cents, failed, w.doubles())
	}
	if after != nil && g["dead"] != int64(w.dead) {
		w.fatalf("sql at %s: %v dead letters, want %d", a.Cut, g["dead"], w.dead)
	}
}

// doubles lists events that the stream has more than once, to explain a failure.
func (w *world) doubles() any {
	a, err := w.node.core.SQL(w.t.Context(), serving.SQLRequest{
		SQL:     "SELECT id, string_agg(concat(_epoch, '/', _seq, '.', _idx, ' at ', _ingested_at), ', ') AS positions FROM payments GROUP BY id HAVING count(*) > 1 LIMIT 5",
		Timeout: time.Minute,
	})
	if err != nil {
		return err
	}
	defer a.Close()
	got, err := rows(w.t.Context(), a)
	return fmt.Sprint(got, err)
}

// someViews gives two views to compare: each comparison reads all events. The one whose
// windows are as many as they are is compared at the end.
func (w *world) someViews() []string {
	names := slices.Sorted(maps.Keys(worldViews))
	names = slices.DeleteFunc(names, func(n string) bool { return n == "moving" })
	w.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:2]
}

func (w *world) check(names ...string) {
	w.t.Helper()
	for _, name := range names {
		c, err := w.node.core.Check(w.t.Context(), serving.CheckRequest{View: name})
		if err != nil {
			w.fatalf("check %s: %v", name, err)
		}
		if c.Difference != 0 {
			w.fatalf("check %s at %s: difference %d, missing %s, extra %s", name, c.Cut, c.Difference, c.Missing, c.Extra)
		}
	}
}

func (w *world) land() {
	w.t.Helper()
	if err := w.node.land(w.t.Context()); err != nil {
		w.fatalf("land: %v", err)
	}
}

func (w *world) batch(trigger string, rebuild bool) {
	w.t.Helper()
	if _, err := w.node.batch.Run(w.t.Context(), trigger, rebuild); err != nil && !injected(err) {
		w.fatalf("batch: %v", err)
	}
	w.bounds()
}

// bounds checks S ≤ L ≤ H and A ≤ H.
func (w *world) bounds() {
	w.t.Helper()
	tx, err := w.node.warehouse.Begin(w.t.Context())
	if err != nil {
		w.fatalf("begin: %v", err)
	}
	defer tx.Close()
	landed := w.node.Landed("payments").Through()
	for object, s := range tx.Marks() {
		if s.Beyond(landed) {
			w.fatalf("S of %s is %s, beyond L %s", object, s, landed)
		}
	}
	pl := w.node.pipelines["payments"]
	_, head, err := pl.log.Bounds(w.t.Context())
	if err != nil {
		w.fatalf("bounds: %v", err)
	}
	if l, a := landed[pl.source], w.node.speed.State().Applied()[pl.source]; l > head || a > head {
		w.fatalf("L %d, A %d, H %d", l, a, head)
	}
}

func (w *world) compact() {
	w.t.Helper()
	if err := w.node.speed.Compact(w.t.Context()); err != nil {
		w.fatalf("compact: %v", err)
	}
}

func (w *world) crash() {
	w.t.Helper()
	w.node.kill()
	w.ground.down()
	w.start()
}

func (w *world) restart() {
	w.t.Helper()
	if err := w.node.drain(w.t.Context()); err != nil {
		w.fatalf("drain: %v", err)
	}
	w.ground.down()
	w.start()
}

func (w *world) loseWarehouse() {
	w.t.Helper()
	w.node.kill()
	w.ground.down()
	if path := w.ground.warehouse(); path != "" {
		if w.rng.IntN(2) == 0 {
			os.Remove(path)
			os.Remove(path + ".wal")
		} else if err := os.WriteFile(path, []byte("this is no database"), 0o644); err != nil {
			w.fatalf("%v", err)
		}
	}
	w.start()
}

// rollback makes the log lose a suffix, as a power loss under a disk that lies
// would: events that had not landed are gone, everything else stays.
func (w *world) rollback() {
	w.t.Helper()
	landed := w.node.Landed("payments").Through()
	deadLanded := w.node.Landed("payments_dead").Through()
	if !cutsEqual(landed, deadLanded) {
		return // a landing is under way: which dead letters survive is not known here
	}
	source := w.node.pipelines["payments"].source
	w.node.kill()
	w.ground.down()
	through, ok := w.ground.rollback(w.t, w.rng)
	if ok {
		keep := w.sent[:0]
		for _, r := range w.sent {
			if r.Source != source || r.Seq <= through || r.Seq <= landed[source] {
				keep = append(keep, r)
			}
		}
		w.sent = keep
		w.markFirst()
		w.lastQ, w.last = event.Cut{}, event.Position{}
	}
	w.start()
	if ok {
		w.dead = w.countDead()
	}
}

// countDead takes the dead letters that are there as the truth after a rollback.
func (w *world) countDead() int {
	w.t.Helper()
	a, err := w.node.core.SQL(w.t.Context(), serving.SQLRequest{SQL: "SELECT count(*) AS n FROM payments_dead", Timeout: time.Minute})
	if err != nil {
		w.fatalf("count dead letters: %v", err)
	}
	defer a.Close()
	got, err := rows(w.t.Context(), a)
	if err != nil {
		w.fatalf("count dead letters: %v", err)
	}
	return int(got[0]["n"].(int64))
}

func cutsEqual(a, b event.Cut) bool { return !a.Beyond(b) && !b.Beyond(a) }

// settle lets everything come to rest and compares the whole.
func (w *world) settle() {
	w.t.Helper()
	disarm()
	w.land()
	w.batch(batch.OnDemand, false)
	pl := w.node.pipelines["payments"]
	_, head, err := pl.log.Bounds(w.t.Context())
	if err != nil {
		w.fatalf("bounds: %v", err)
	}
	landed, applied := w.node.Landed("payments").Through()[pl.source], w.node.speed.State().Applied()[pl.source]
	if landed != head || applied != head {
		w.fatalf("at rest H = %d, but L = %d and A = %d", head, landed, applied)
	}
	a, got := w.ask("hourly", view.Filter{})
	w.compareHourly(a, got, w.accepted(a.Cut))
	w.check(slices.Sorted(maps.Keys(worldViews))...)
	w.countSQL()
}

var _ stream.Log = (*stream.MemoryLog)(nil)
