package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// Questions for one group of a view are answered together: all that wait when a
// connection becomes free are one execution of a prepared statement, at one cut. Planned
// and run one by one, most of the time of each went into its plan.
const (
	maxPoints       = 64    // in one execution
	maxPointWindows = 1_000 // of one question
	// pointTimeout ends an execution for whose answers nobody may wait any more.
	pointTimeout = time.Minute
)

// points are the lines of the views that are asked so.
type points struct {
	mu      sync.Mutex
	ended   bool
	lines   map[*view.Plan]*pointLine
	running sync.WaitGroup
	held    heldBatches
}

// A pointLine is where questions for a view wait. Its connection, statement and
// relations are run's.
type pointLine struct {
	core *Core
	plan *view.Plan

	mu      sync.Mutex
	waiting []*point
	running bool

	holding atomic.Bool               // hold is at work
	tried   atomic.Pointer[heldBatch] // what hold has read last, without its rows
	batch   *heldBatch                // guarded by heldBatches.mu

	made   uint64 // of the warehouse when the reader was opened
	reader *warehouse.Reader
	stmts  map[string]*duckdb.Stmt // by text: it differs by which tables have rows
	groups *duckdb.Handle          // what is asked for
	held   *duckdb.Handle          // the speed layer's partial rows
}

// A point is one question: all keys have a value each, and the windows are few.
type point struct {
	keys     []string // as texts that a value has one of, in the order of the plan's
	from, to int64    // of panes, [from, to) in µs since 1970
	hash     speed.KeyHash
	left     atomic.Bool // nobody waits for the answer
	answered chan pointAnswer
}

type pointAnswer struct {
	answer *Answer
	err    error
}

// errRedefined is for those who asked for a definition that answers no more.
var errRedefined = errors.New("the view was redefined meanwhile")

// point answers a request that is for one group; it gives nothing for any other, which is
// then answered by itself.
func (c *Core) point(ctx context.Context, r ViewRequest) (*Answer, error) {
	plan := c.definitions().Plans[r.Name]
	q := pointOf(plan, r)
	if q == nil {
		return nil, nil
	}
	release, err := takeSlot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if !c.points.ask(c, plan, q) {
		return nil, nil // the server is stopping: it is answered by itself
	}
	select {
	case a := <-q.answered:
		if errors.Is(a.err, errRedefined) {
			return nil, nil
		}
		return a.answer, a.err
	case <-ctx.Done():
		q.left.Store(true)
		return nil, context.Cause(ctx)
	}
}

// pointOf reads a request as a point; nil if it is none.
func pointOf(plan *view.Plan, r ViewRequest) *point {
	f := r.Filter
	if plan == nil || !plan.Local() || len(plan.References) > 0 || len(plan.Keys) == 0 || len(f.Where) != len(plan.Keys) || r.At != nil ||
		f.Among != nil || f.Bounds != nil || f.By != nil || f.Fill != "" || f.Top != nil || f.Paged || f.Cursor != nil || f.Order != nil || f.Limit != 0 || f.Offset != 0 {
		return nil
	}
	q := &point{from: math.MinInt64, to: math.MaxInt64, answered: make(chan pointAnswer, 1)}
	if w := plan.Window; w != nil {
		if w.Size <= 0 || w.Unit != "" || f.From == nil || f.To == nil || f.To.Sub(*f.From) > maxPointWindows*w.Size {
			return nil
		}
		q.from, q.to = f.From.UnixMicro(), f.To.UnixMicro()
	} else if f.From != nil || f.To != nil {
		return nil // an error, which the statement words
	}
	for _, k := range plan.Keys {
		i := slices.IndexFunc(f.Where, func(w view.Equal) bool { return strings.EqualFold(w.Key, k.Name) })
		if i < 0 || f.Where[i].Null {
			return nil
		}
		value := f.Where[i].Value
		if bits := integerBits(k.Type.Kind); bits > 0 {
			n, err := strconv.ParseInt(value, 10, bits)
			if err != nil || strconv.FormatInt(n, 10) != value {
				return nil
			}
			q.hash = q.hash.WithInt(n)
		} else if k.Type.Kind == event.Varchar {
			q.hash = q.hash.WithText(value)
		} else {
			return nil
		}
		q.keys = append(q.keys, value)
	}
	return q
}

// integerBits is the width of the integers that points have as keys; 0 for others.
func integerBits(k event.Kind) int {
	switch k {
	case event.Integer:
		return 32
	case event.BigInt:
		return 64
	}
	return 0
}

// ask puts a question into the view's line, and has the line run. It reports false when
// there are no answers any more.
func (s *points) ask(c *Core, plan *view.Plan, q *point) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	l := s.lines[plan]
	if l == nil {
		for old, line := range s.lines { // of definitions that answer no more
			if c.definitions().Plans[old.Name] != old && line.idle() {
				line.close()
				s.held.forget(line)
				delete(s.lines, old)
			}
		}
		l = &pointLine{core: c, plan: plan}
		s.lines[plan] = l
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, q)
	if !l.running {
		l.running = true
		s.running.Go(l.run)
	}
	return true
}

// end takes no more questions, and returns when those that wait are answered.
func (s *points) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for plan, l := range s.lines {
		l.close()
		delete(s.lines, plan)
	}
}

func (l *pointLine) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.running && !l.holding.Load()
}

// run answers until nobody waits.
func (l *pointLine) run() {
	ctx := context.Background()
	for {
		q := new(turn)
		l.core.turns.begin(ctx, q) // ctx does not end
		batch := l.take()
		if len(batch) > 0 {
			l.answer(ctx, batch)
		}
		l.core.turns.rest(q)
		if len(batch) == 0 {
			return
		}
	}
}

// take gives those whose turn it is; none ends the run.
func (l *pointLine) take() []*point {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(q *point) bool { return q.left.Load() })
	batch := slices.Clone(l.waiting[:min(len(l.waiting), maxPoints)])
	l.waiting = slices.Delete(l.waiting, 0, len(batch))
	l.running = len(batch) > 0
	return batch
}

// answer answers all of the batch, with one error if it cannot.
func (l *pointLine) answer(ctx context.Context, batch []*point) {
	ctx, cancel := context.WithTimeoutCause(ctx, pointTimeout, ErrTimeout)
	defer cancel()
	p, rel, err := l.read(ctx, batch)
	if err == nil {
		l.deal(ctx, p, rel, batch)
	}
	if p != nil {
		if err != nil {
			err = p.failed(ctx, err)
		}
		p.close()
	}
	if err != nil {
		l.close() // whatever failed, the next begins anew
		for _, q := range batch {
			q.answered <- pointAnswer{err: err}
		}
	}
}

// read gives the rows of all that the batch asks for, at the pin's cut. The pin is the
// caller's, unless it is nil.
func (l *pointLine) read(ctx context.Context, batch []*point) (*pin, *duckdb.Relation, error) {
	if made := l.core.warehouse.Made(); l.made != made { // of another file, perhaps, and closed with it
		l.close()
		l.made = made
	}
	if l.reader == nil {
		reader, err := l.core.warehouse.Reader(ctx)
		if err != nil {
			return nil, nil, err
		}
		l.reader, l.stmts = reader, map[string]*duckdb.Stmt{}
		l.groups, l.held = duckdb.Share(l.groupColumns()), duckdb.Share(l.plan.Partial)
	}
	m, err := l.moment(ctx)
	p := m.pin
	if p == nil {
		return nil, nil, err
	}
	l.core.memory.enter(p)
	l.core.held.enter(context.Background(), p) // for no principal: many ask together
	if err != nil {
		return p, nil, err
	}
	text, err := l.plan.PointSQL(m.partials, l.groups.SQL())
	if err != nil {
		return p, nil, err
	}
	stmt := l.stmts[text]
	if stmt == nil {
		if stmt, err = l.reader.Keep(ctx, text); err != nil {
			return p, nil, err
		}
		l.stmts[text] = stmt
	}
	l.groups.Set([]duckdb.Batch{l.asked(batch)})
	l.held.Set(l.search(m.inMemory, batch))
	defer l.held.Set(nil)
	rel, err := stmt.Collect(ctx)
	return p, rel, err
}

// groupColumns are those of the relation of what is asked for.
func (l *pointLine) groupColumns() []event.Column {
	var out []event.Column
	for _, k := range l.plan.Keys {
		out = append(out, event.Column{Name: k.Column, Type: k.Type})
	}
	if l.plan.Window != nil {
		for _, name := range []string{view.PointFrom, view.PointTo} {
			out = append(out, event.Column{Name: name, Type: event.Type{Kind: event.Timestamp}})
		}
	}
	return out
}

// asked gives a row for each group that the batch asks for, with all panes that
// somebody asks for.
func (l *pointLine) asked(batch []*point) duckdb.Batch {
	groups := map[string]*point{}
	for _, q := range batch {
		key := joined(q.keys)
		if g := groups[key]; g != nil {
			g.from, g.to = min(g.from, q.from), max(g.to, q.to)
			continue
		}
		groups[key] = &point{keys: q.keys, from: q.from, to: q.to}
	}
	columns := l.groupColumns()
	build := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	defer build.Release()
	for _, g := range groups {
		for i, k := range l.plan.Keys {
			switch field := build.Field(i).(type) {
			case *array.StringBuilder:
				field.Append(g.keys[i])
			case *array.Int64Builder:
				n, _ := strconv.ParseInt(g.keys[i], 10, 64) // pointOf has read it
				field.Append(n)
			case *array.Int32Builder:
				n, _ := strconv.ParseInt(g.keys[i], 10, 32)
				field.Append(int32(n))
			default:
				panic(fmt.Sprintf("a point has a key of type %s", k.Type))
			}
		}
		if n := len(l.plan.Keys); n < len(columns) {
			build.Field(n).(*array.TimestampBuilder).Append(arrow.Timestamp(g.from))
			build.Field(n + 1).(*array.TimestampBuilder).Append(arrow.Timestamp(g.to))
		}
	}
	return duckdb.RecordBatch(build.NewRecordBatch())
}

// joined makes one text of several, of no others.
func joined(keys []string) string {
	if len(keys) == 1 {
		return keys[0]
	}
	var sb strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&sb, "%d:%s", len(k), k)
	}
	return sb.String()
}

// search gives those of the partial rows that the batch may need.
func (l *pointLine) search(pieces []speed.Piece, batch []*point) (out []duckdb.Batch) {
	columns := l.keyColumns()
	hashes := make([]speed.KeyHash, len(batch))
	for i, q := range batch {
		hashes[i] = q.hash
	}
	for i := range pieces {
		for b, rows := range pieces[i].Search(columns, hashes) {
			if len(rows) > 0 {
				out = append(out, take(l.plan.Partial, pieces[i].Batches[b], rows))
			}
		}
	}
	return out
}

// deal gives everybody his rows of the relation, in its order.
func (l *pointLine) deal(ctx context.Context, p *pin, rel *duckdb.Relation, batch []*point) {
	by := map[string][]*point{}
	for _, q := range batch {
		by[joined(q.keys)] = append(by[joined(q.keys)], q)
	}
	shown := rel.Columns[:len(rel.Columns)-len(l.plan.Groups())]
	rows := map[*point][]arrow.RecordBatch{}
	for _, b := range rel.Batches {
		taken := map[*point][]int{}
		groupOf := l.groupOf(b, len(shown))
		for row := range b.Len() {
			key, pane := groupOf(row)
			for _, q := range by[key] {
				if pane >= q.from && pane < q.to {
					taken[q] = append(taken[q], row)
				}
			}
		}
		for q, of := range taken {
			columns := make([]arrow.Array, len(shown))
			for i := range shown {
				columns[i] = event.Take(b.Column(i), of)
			}
			rows[q] = append(rows[q], array.NewRecordBatch(event.ArrowSchema(shown), columns, int64(len(of))))
		}
	}
	p.stats["together"] = len(batch)
	for _, q := range batch {
		a := p.blank(ctx, shown)
		a.Cut, a.Statistics, a.Repeatable = a.Cut.Clone(), maps.Clone(a.Statistics), true
		mine := rows[q]
		a.Next = func(context.Context) (arrow.RecordBatch, error) {
			if len(mine) == 0 {
				return nil, io.EOF
			}
			next := mine[0]
			mine = mine[1:]
			return next, nil
		}
		a.Close = func() {}
		q.answered <- pointAnswer{answer: a}
	}
}

// groupOf gives what tells the group of a row: joined keys, and the pane. The columns of
// groups begin at some column of the batch.
func (l *pointLine) groupOf(b duckdb.Batch, at int) func(row int) (key string, pane int64) {
	var panes *array.Timestamp
	if l.plan.Window != nil {
		panes = b.Column(at).(*array.Timestamp)
		at++
	}
	keys := make([]string, len(l.plan.Keys))
	return func(row int) (string, int64) {
		for i := range keys {
			switch column := b.Column(at + i).(type) {
			case *array.Int64:
				keys[i] = strconv.FormatInt(column.Value(row), 10)
			case *array.Int32:
				keys[i] = strconv.FormatInt(int64(column.Value(row)), 10)
			case *array.String:
				keys[i] = column.Value(row)
			}
		}
		if panes == nil {
			return joined(keys), 0
		}
		return joined(keys), int64(panes.Value(row))
	}
}

// close lets everything go that run made; it makes it anew.
func (l *pointLine) close() {
	if l.reader == nil {
		return
	}
	l.reader.Close()
	l.groups.Close()
	l.held.Close()
	l.reader = nil
}
