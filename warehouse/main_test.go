package warehouse

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// holdFile names the environment variable that makes the test binary a process
// that holds the file it names, until its standard input ends.
const holdFile = "TAILWATER_TEST_HOLD_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdFile); path != "" {
		os.Exit(hold(path))
	}
	goleak.VerifyTestMain(m)
}

var (
	first  = event.Source{Stream: "pay", Epoch: 1}
	second = event.Source{Stream: "pay", Epoch: 2}
)

func pay() *event.Schema {
	return &event.Schema{Stream: "pay", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
		{Name: "ts", Type: event.Type{Kind: event.Timestamp}, NotNull: true},
		{Name: "k", Type: event.Type{Kind: event.Varchar}},
		{Name: "amount", Type: event.Type{Kind: event.Decimal, Precision: 10, Scale: 2}, NotNull: true},
		{Name: "word", Type: event.Type{Kind: event.Varchar}, NotNull: true},
	}}
}

const (
	hourlySQL = "SELECT window_start, k, count(*) AS c, sum(amount) AS s, max(amount) AS hi FROM pay GROUP BY tumble(ts, INTERVAL '1 hour'), k"
	totalSQL  = "SELECT count(*) AS c, sum(amount) AS s FROM pay"
	codedSQL  = "SELECT k, count(*) AS c, sum(CAST(word AS BIGINT)) AS w FROM pay GROUP BY k"
)

// plan makes the views' plans from names and SQL in turn.
func plan(t testing.TB, namesAndSQL ...string) []*view.Plan {
	t.Helper()
	planner, err := view.NewPlanner(t.Context())
	check(t, err)
	defer planner.Close()
	var plans []*view.Plan
	for i := 0; i < len(namesAndSQL); i += 2 {
		p, err := planner.Plan(t.Context(), view.Definition{Name: namesAndSQL[i], SQL: namesAndSQL[i+1]}, map[string]*event.Schema{"pay": pay()})
		check(t, err)
		plans = append(plans, p)
	}
	return plans
}

func payPlans(t testing.TB) []*view.Plan {
	return plan(t, "hourly", hourlySQL, "total", totalSQL, "coded", codedSQL)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A landed is what a lake table holds: rows that SQL sees, and marks.
type landed struct {
	t      testing.TB
	rows   *duckdb.Handle
	blocks []duckdb.Batch
	floors event.Cut
	marks  event.Cut
	asked  []string // the ranges of each Select
	fail   error    // what Select returns
}

func newLanded(t testing.TB) *landed {
	l := &landed{t: t, rows: duckdb.Share(pay().Relation()), floors: event.Cut{}, marks: event.Cut{}}
	t.Cleanup(l.rows.Close)
	return l
}

// add lands messages through a sequence, with perMsg rows each. A source that is
// new begins after floor.
func (l *landed) add(src event.Source, floor, through uint64, perMsg int) {
	after, known := l.marks[src]
	if !known {
		after, l.floors[src] = floor, floor
	}
	l.marks[src] = through
	if perMsg > 0 && through > after {
		l.blocks = append(l.blocks, block(src, after, through, perMsg))
		l.rows.Set(l.blocks)
	}
}

// block makes messages whose values follow from their positions. The word of
// each ninth message is no number.
func block(src event.Source, after, through uint64, perMsg int) *event.Block {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, pay().Arrow())
	defer rb.Release()
	b := &event.Block{Range: event.Range{Source: src, After: after, Through: through}, Schema: pay()}
	for seq := after + 1; seq <= through; seq++ {
		for i := range perMsg {
			x := int64(seq)*7919 + int64(i)*104_729 + int64(src.Epoch)
			rb.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(1_700_000_000_000_000 + x%40_000*1_000_000))
			if x%11 == 0 {
				rb.Field(1).AppendNull()
			} else {
				rb.Field(1).(*array.StringBuilder).Append([]string{"a", "b", "a key longer than twelve bytes", ""}[x%4])
			}
			rb.Field(2).(*array.Int64Builder).Append(x%10_000 - 3000)
			word := fmt.Sprint(x % 100)
			if seq%9 == 0 && i == 0 {
				word = "none"
			}
			rb.Field(3).(*array.StringBuilder).Append(word)
		}
		b.Runs = append(b.Runs, event.Run{Seq: seq, At: int64(seq), Rows: perMsg})
	}
	b.Batch = rb.NewRecordBatch()
	return b
}

// where is the condition of ranges.
func where(ranges []event.Range) string {
	parts := []string{"false"}
	for _, r := range ranges {
		parts = append(parts, fmt.Sprintf("_epoch = %d AND _partition = %d AND _seq > %d AND _seq <= %d", r.Epoch, r.Partition, r.After, r.Through))
	}
	return " WHERE " + strings.Join(parts, " OR ")
}

// input pins what has landed.
func (l *landed) input(plans ...*view.Plan) Input {
	in := Input{Schema: pay(), Plans: plans, Origin: Origin{TableID: "table", Version: int64(len(l.blocks)), CommitID: fmt.Sprint("commit ", len(l.blocks))}}
	for src, through := range l.marks {
		in.Landed = append(in.Landed, event.Range{Source: src, After: l.floors[src], Through: through})
	}
	in.Select = func(_ context.Context, ranges []event.Range) (string, error) {
		var texts []string
		for _, r := range ranges {
			texts = append(texts, r.String())
		}
		slices.Sort(texts)
		l.asked = append(l.asked, strings.Join(texts, " "))
		return "SELECT * FROM " + l.rows.SQL() + where(ranges), l.fail
	}
	return in
}

// open opens a warehouse that is closed at the end.
func open(t testing.TB, path string) *Warehouse {
	t.Helper()
	w, err := Open(t.Context(), Config{Path: path})
	check(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func filePath(t testing.TB) string { return filepath.Join(t.TempDir(), "wh", "warehouse.duckdb") }

func advanceTo(t testing.TB, w *Warehouse, inputs ...Input) Advanced {
	t.Helper()
	done, err := w.Advance(t.Context(), inputs, false)
	check(t, err)
	return done
}

// query runs a statement in a transaction and gives its rows, sorted.
func query(t testing.TB, conn *duckdb.Conn, sql string) string {
	t.Helper()
	rows := ordered(t, conn, sql)
	slices.Sort(rows)
	return strings.Join(rows, "\n")
}

func ordered(t testing.TB, conn *duckdb.Conn, sql string) []string {
	t.Helper()
	rel, err := conn.Collect(t.Context(), sql)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	var rows []string
	for row := range rel.Len() {
		var values []string
		for c := range rel.Columns {
			values = append(values, fmt.Sprint(rel.Value(row, c)))
		}
		rows = append(rows, strings.Join(values, "|"))
	}
	return rows
}

func begin(t testing.TB, w *Warehouse) *Txn {
	t.Helper()
	tx, err := w.Begin(t.Context())
	check(t, err)
	return tx
}

// consistent checks that facts, partials and failed rows are those of the events
// through S, whatever S is, and gives S of the facts.
func consistent(t testing.TB, tx *Txn, l *landed, plans ...*view.Plan) event.Cut {
	t.Helper()
	events := func(s event.Cut) string {
		var through []event.Range
		for src, seq := range s {
			through = append(through, event.Range{Source: src, Through: seq})
		}
		return "SELECT * FROM " + l.rows.SQL() + where(through)
	}
	same := func(what, got, want string) {
		t.Helper()
		if got, want := query(t, tx.Conn, got), query(t, tx.Conn, want); got != want {
			t.Errorf("%s are\n%s\nand should be\n%s", what, got, want)
		}
	}
	facts, s := tx.Facts(pay())
	same("facts through "+s.String(), facts, events(s))
	for _, p := range plans {
		partials, vs := tx.Partials(p)
		answer, err := p.AnswerSQL("("+partials+") AS p", view.Filter{})
		check(t, err)
		from := "(" + events(vs) + ") AS e"
		same("rows of "+p.Name+" through "+vs.String(), answer, p.PlainSQL(from))
		failed, es := tx.Errors(p)
		if es.String() != vs.String() {
			t.Errorf("S of the failed rows of %s is %s, of its partials %s", p.Name, es, vs)
		}
		if text := p.ErrorsSQL(from); text != "" {
			same("failed rows of "+p.Name, failed, text)
		} else if got := query(t, tx.Conn, failed); got != "" {
			t.Errorf("%s cannot fail and has failed rows %s", p.Name, got)
		}
	}
	return s
}

// consistentNow is consistent in a transaction of its own.
func consistentNow(t testing.TB, w *Warehouse, l *landed, plans ...*view.Plan) event.Cut {
	t.Helper()
	tx := begin(t, w)
	defer tx.Close()
	return consistent(t, tx, l, plans...)
}
