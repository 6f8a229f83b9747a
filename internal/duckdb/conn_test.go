package duckdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

func TestArguments(t *testing.T) {
	c := open(t, Options{})
	at := time.Date(2026, 11, 20, 1, 2, 3, 4000, time.FixedZone("", 7200))
	got := show(t, c, "SELECT $1, $2, $3, $4 + 1::INTEGER, $5, $6, $7::VARCHAR, $8, $9::INTEGER",
		true, 1, int8(2), uint16(3), 4.5, "it's\x00", []byte{0xff}, at, nil)
	if want := "true,1,2,4,4.5,it's\x00,\\xFF,2026-11-19T23:02:03.000004,-"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []struct {
		args []any
		want string
	}{
		{nil, "has 1 parameters, and 0 arguments"},
		{[]any{1, 2}, "has 1 parameters, and 2 arguments"},
		{[]any{"\xff"}, "not valid UTF-8"},
		{[]any{struct{}{}}, "cannot be an argument"},
	} {
		if _, err := c.Collect(t.Context(), "SELECT $1::VARCHAR", bad.args...); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%q: %v, want %q", bad.args, err, bad.want)
		}
	}
}

func TestExecRunsSeveralStatementsInOrder(t *testing.T) {
	c := open(t, Options{})
	if err := c.Exec(t.Context(), "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1); INSERT INTO t SELECT a + 1 FROM t;"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(t.Context(), "INSERT INTO t VALUES ($1)", 7); err != nil {
		t.Fatal(err)
	}
	if got := show(t, c, "SELECT a FROM t ORDER BY a"); got != "1;2;7" {
		t.Errorf("got %s", got)
	}
	err := c.Exec(t.Context(), "INSERT INTO t VALUES (8); INSERT INTO nowhere VALUES (9); INSERT INTO t VALUES (10)")
	if e := (*Error)(nil); !errors.As(err, &e) || e.Type != "Catalog" || !strings.Contains(e.Message, "nowhere") {
		t.Errorf("got %v, want a Catalog error", err)
	}
	if got := show(t, c, "SELECT max(a) FROM t"); got != "8" {
		t.Errorf("got %s: statements after the failed one must not run", got)
	}
	if err := c.Exec(t.Context(), "SELECT $1; SELECT $1", 1); err == nil {
		t.Error("several statements took arguments")
	}
}

func TestPrepareRefusesSeveralStatementsAndRunsNone(t *testing.T) {
	c := open(t, Options{})
	if err := c.Exec(t.Context(), "CREATE TABLE t (a INTEGER)"); err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(string) error{
		func(q string) error { _, err := c.Prepare(t.Context(), q); return err },
		func(q string) error { _, err := c.Query(t.Context(), q); return err },
		func(q string) error { _, err := c.Collect(t.Context(), q); return err },
		func(q string) error { _, err := c.Describe(t.Context(), q); return err },
	} {
		if run("INSERT INTO t VALUES (1); SELECT 1") == nil {
			t.Error("two statements were taken for one")
		}
	}
	if got := show(t, c, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows were inserted", got)
	}
}

func TestErrorsKeepTheEnginesCandidates(t *testing.T) {
	c := open(t, Options{})
	if err := c.Exec(t.Context(), "CREATE TABLE orders (amount INTEGER)"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Collect(t.Context(), "SELECT amuont FROM orders")
	var e *Error
	if !errors.As(err, &e) || e.Type != "Binder" || !strings.Contains(e.Message, `"amount"`) || !strings.Contains(e.Message, "^") {
		t.Errorf("got %#v", err)
	}
	if _, err := c.Collect(t.Context(), "SELECT 1\x00; DROP TABLE orders"); err == nil || !strings.Contains(err.Error(), "NUL") {
		t.Errorf("a statement with a NUL byte: %v", err)
	}
}

func TestQueryStreams(t *testing.T) {
	c := open(t, Options{Threads: 1})
	rows, err := c.Query(t.Context(), "SELECT i, 'row ' || i AS s FROM range(100000) r(i)")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(t.Context(), "SELECT 1"); err == nil || !strings.Contains(err.Error(), "open rows") {
		t.Errorf("a second statement under open rows: %v", err)
	}
	n := int64(0)
	for {
		b, err := rows.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			if got, want := Value(rows.Columns()[1].Type, b.Column(1), i), fmt.Sprintf("row %d", n); got != want {
				t.Fatalf("row %d is %q", n, got)
			}
			n++
		}
	}
	if n != 100000 {
		t.Errorf("%d rows", n)
	}
	if _, err := rows.Next(t.Context()); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	rows.Close()
	rows.Close()
	if got := show(t, c, "SELECT 1"); got != "1" {
		t.Errorf("after Close: %s", got)
	}
}

func TestAbandonedRowsEndTheirTransaction(t *testing.T) {
	c := open(t, Options{Path: filepath.Join(t.TempDir(), "w.duckdb")})
	if err := c.Exec(t.Context(), "CREATE TABLE t AS SELECT range AS a FROM range(500000)"); err != nil {
		t.Fatal(err)
	}
	reader := connect(t, c.db)
	defer reader.Close()
	rows, err := reader.Query(t.Context(), "SELECT a FROM t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rows.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	write := "UPDATE t SET a = a + 1; CHECKPOINT"
	if err := c.Exec(t.Context(), write); err == nil || !strings.Contains(err.Error(), "CHECKPOINT") {
		t.Errorf("a checkpoint under an open reader: %v", err)
	}
	rows.Close()
	if err := c.Exec(t.Context(), write); err != nil {
		t.Errorf("a checkpoint after the reader: %v", err)
	}
}

func TestQueryFailsInTheMiddle(t *testing.T) {
	c := open(t, Options{Threads: 1})
	rows, err := c.Query(t.Context(), "SELECT (100000 - i)::UTINYINT::INTEGER AS v FROM range(100, 200000) r(i) WHERE i % 2 = 0 AND i > 99800")
	for err == nil {
		_, err = rows.Next(t.Context())
	}
	if rows != nil {
		defer rows.Close()
	}
	var e *Error
	if !errors.As(err, &e) || e.Type != "Conversion" {
		t.Errorf("got %v, want a Conversion error", err)
	}
}

// endless is a statement that runs for minutes and returns one row.
const endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"

func TestEndOfTheContextStopsAStatement(t *testing.T) {
	c := open(t, Options{})
	reason := errors.New("the client hung up")
	for name, run := range map[string]func(context.Context) error{
		"Exec":    func(ctx context.Context) error { return c.Exec(ctx, endless) },
		"Collect": func(ctx context.Context) error { _, err := c.Collect(ctx, endless); return err },
		"Query": func(ctx context.Context) error {
			rows, err := c.Query(ctx, endless)
			if err == nil {
				defer rows.Close()
				_, err = rows.Next(ctx)
			}
			return err
		},
		"Query's own context": func(ctx context.Context) error {
			rows, err := c.Query(ctx, endless)
			if err == nil {
				defer rows.Close()
				_, err = rows.Next(context.Background())
			}
			return err
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		var ended time.Time
		timer := time.AfterFunc(20*time.Millisecond, func() { ended = time.Now(); cancel(reason) })
		err := run(ctx)
		late := time.Since(ended)
		timer.Stop()
		if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
			t.Errorf("%s: %v", name, err)
		}
		if late > 400*time.Millisecond { // a busy machine is slow; the driver's own way takes 500 ms at least
			t.Errorf("%s returned %v after the context's end", name, late)
		}
		if _, err := c.Collect(ctx, "SELECT 1"); !errors.Is(err, reason) {
			t.Errorf("%s: the next statement under the ended context: %v", name, err)
		}
		if got := show(t, c, "SELECT 1"); got != "1" {
			t.Errorf("%s: the next statement answers %s", name, got)
		}
	}
}

func TestCloseStopsWhatIsRunning(t *testing.T) {
	c := open(t, Options{})
	failed := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := c.Collect(context.Background(), endless)
		failed <- err
	}()
	<-started
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	err := <-failed
	var e *Error
	if !errors.Is(err, errConnClosed) && (!errors.As(err, &e) || e.Type != "INTERRUPT") {
		t.Errorf("the statement answers %v", err)
	}
	if err := c.Exec(t.Context(), "SELECT 1"); !errors.Is(err, errConnClosed) {
		t.Errorf("after Close: %v", err)
	}
	c.Interrupt()
	c.Close()
}

func TestCloseTakesRowsAndStatementsAlong(t *testing.T) {
	c := open(t, Options{})
	s, err := c.Prepare(t.Context(), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := c.Query(t.Context(), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := s.Collect(t.Context()); err == nil {
		t.Error("a statement outlived its connection")
	}
	if _, err := rows.Next(t.Context()); err == nil || err == io.EOF {
		t.Errorf("rows outlived their connection: %v", err)
	}
	s.Close()
	rows.Close()
}

func TestCloseRollsBack(t *testing.T) {
	c := open(t, Options{})
	other := connect(t, c.db)
	if err := other.Exec(t.Context(), "CREATE TABLE t (a INTEGER); BEGIN; INSERT INTO t VALUES (1); CREATE TEMP TABLE own (a INTEGER)"); err != nil {
		t.Fatal(err)
	}
	other.Close()
	if got := show(t, c, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows of an open transaction stayed", got)
	}
	if err := c.Exec(t.Context(), "INSERT INTO t VALUES (2); SELECT * FROM own"); err == nil || !strings.Contains(err.Error(), "own") {
		t.Errorf("another connection's temporary table is seen: %v", err)
	}
}

func TestTryHoldsErrorsInside(t *testing.T) {
	const sql = "SELECT TRY(ln(a)), TRY(ln(a) + 1), sum(TRY(ln(a) * 2)) OVER () IS NULL FROM (SELECT i - 1 AS a FROM range(3) r(i)) ORDER BY a"
	if got := show(t, open(t, Options{}), sql); got != "-,-,false;-,-,false;0,1,false" {
		t.Errorf("got %s", got)
	}
	// The reason for the setting: when this works too, the setting can go.
	if _, err := open(t, Options{Settings: map[string]string{"disabled_optimizers": ""}}).Collect(t.Context(), sql); err == nil {
		t.Error("common-subexpression elimination no longer leaks errors out of TRY")
	}
}

func TestStatementsOfSeveralGoroutinesQueueUp(t *testing.T) {
	c := open(t, Options{Threads: 1})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				r, err := c.Collect(context.Background(), fmt.Sprintf("SELECT %d", g*100+i))
				if err != nil || r.Value(0, 0) != int64(g*100+i) {
					t.Errorf("goroutine %d: %v, %v", g, r, err)
				}
			}
		})
	}
	wg.Wait()
}

// An interrupt that came late must not hit the statement after the one that it
// was meant for.
func TestCancellationNeverHitsTheNextStatement(t *testing.T) {
	c := open(t, Options{Threads: 1})
	for i := range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
		_, err := c.Collect(ctx, "SELECT count(*) FROM range(100000)")
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("cancelled statement: %v", err)
		}
		if _, err := c.Collect(t.Context(), "SELECT count(*) FROM range(100000)"); err != nil {
			t.Fatalf("the next statement: %v", err)
		}
	}
}

// The first rows of a stream come in a small batch; the further batches are large, but of
// wide rows no larger than a bound.
func TestBatchesOfAStreamAreBounded(t *testing.T) {
	c := open(t, Options{Threads: 1})
	for text, most := range map[string]int{"'narrow'": streamRows, "repeat('wide', 500)": streamBytes/2000 + 2048} {
		rows, err := c.Query(t.Context(), "SELECT i, "+text+" AS s FROM range(100000) r(i)")
		if err != nil {
			t.Fatal(err)
		}
		var sizes []int
		all := 0
		for err == nil {
			var b arrow.RecordBatch
			if b, err = rows.Next(t.Context()); err == nil {
				sizes = append(sizes, int(b.NumRows()))
				all += int(b.NumRows())
			}
		}
		rows.Close()
		if err != io.EOF || all != 100_000 {
			t.Fatalf("%s: %d rows, then %v", text, all, err)
		}
		if sizes[0] > firstRows || slices.Max(sizes) > most || slices.Max(sizes) < most/2 {
			t.Errorf("%s came in batches of %v rows, want at most %d and then %d", text, sizes, firstRows, most)
		}
	}
}

// Memory that is handed back goes into later batches, and no other memory does.
func TestBatchesAreReusedOnceTheyAreHandedBack(t *testing.T) {
	c := open(t, Options{Threads: 1})
	rows, err := c.Query(t.Context(), "SELECT i, 'row ' || i AS s, i % 3 = 0 AS b FROM range(400000) r(i)")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var kept []arrow.RecordBatch
	memory := map[*byte]bool{}
	reused, n := 0, int64(0)
	check := func(b arrow.RecordBatch, from int64) {
		for i := range b.NumRows() {
			number, text, third := b.Column(0).(*array.Int64).Value(int(i)), b.Column(1).(*array.String).Value(int(i)), b.Column(2).(*array.Boolean).Value(int(i))
			if want := from + i; number != want || text != fmt.Sprint("row ", want) || third != (want%3 == 0) {
				t.Fatalf("row %d is %d, %q, %v", want, number, text, third)
			}
		}
	}
	for batch := 0; ; batch++ {
		b, err := rows.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		check(b, n)
		n += b.NumRows()
		at := &b.Column(0).Data().Buffers()[1].Buf()[0]
		if memory[at] {
			reused++
		}
		switch batch % 3 {
		case 0:
			kept = append(kept, b)
		default:
			memory[at] = true
			rows.Reuse(b)
			rows.Reuse(b)
			rows.Reuse(kept[0].NewSlice(0, 1)) // not what Next gave
		}
	}
	for _, b := range kept {
		check(b, b.Column(0).(*array.Int64).Value(0))
	}
	if n != 400_000 || reused < 3 {
		t.Errorf("%d rows, in %d batches of memory handed back", n, reused)
	}
}
