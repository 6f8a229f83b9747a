package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// arrowFormat is its index in formats.
var arrowFormat = negotiate([]string{"application/vnd.apache.arrow.stream"})

// longSQL has rows of a number, a text of some length or NULL, and a DECIMAL.
const longSQL = "SELECT i, CASE WHEN i %% 5 <> 0 THEN left('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', (i %% 37)::INTEGER) || i END AS s, (i / 4)::DECIMAL(12,2) AS d FROM range(%d) AS t(i)"

// readLong reads what longSQL gives, as far as it goes.
func readLong(t *testing.T, body *httptest.ResponseRecorder) (rows int64, err error) {
	t.Helper()
	reader, err := ipc.NewReader(body.Body)
	if err != nil {
		return 0, err
	}
	defer reader.Release()
	for reader.Next() {
		b := reader.RecordBatch()
		numbers, texts, decimals := b.Column(0).(*array.Int64), b.Column(1).(*array.String), b.Column(2).(*array.Decimal128)
		for i := range int(b.NumRows()) {
			want := ""
			if rows%5 != 0 {
				want = strings.Repeat("x", int(rows%37)) + fmt.Sprint(rows)
			}
			if numbers.Value(i) != rows || texts.IsNull(i) != (rows%5 == 0) || texts.Value(i) != want || int64(decimals.Value(i).LowBits()) != rows*25 {
				t.Fatalf("row %d: %d, %q, %s", rows, numbers.Value(i), texts.Value(i), decimals.ValueStr(i))
			}
			rows++
		}
	}
	return rows, reader.Err()
}

// A long Arrow answer is made in the memory of its own first batches, one batch ahead of
// what is written: each row must come as it is, and exactly as many as are allowed.
func TestLongArrowAnswersAreExact(t *testing.T) {
	r := newRig(t)
	const rows = 300_000
	for _, c := range []struct {
		maxRows int64
		fails   bool
	}{{0, false}, {rows, false}, {rows - 1, true}, {100_000, true}} {
		a, err := r.SQL(t.Context(), SQLRequest{SQL: fmt.Sprintf(longSQL, rows), Timeout: time.Minute})
		must(t, err)
		body := httptest.NewRecorder()
		_, err = send(t.Context(), body, a, arrowFormat, Config{MaxRows: c.maxRows}, time.Now())
		a.Close()
		if c.fails != errors.Is(err, ErrTooLarge) || !c.fails && err != nil {
			t.Fatalf("at most %d rows: %v", c.maxRows, err)
		}
		if n, err := readLong(t, body); !c.fails && (n != rows || err != nil) || n > rows {
			t.Errorf("at most %d rows: %d came, %v", c.maxRows, n, err)
		}
	}
}

// An answer that is kept for others is not written over while it is sent.
func TestKeptArrowAnswersStayAsTheyAre(t *testing.T) {
	r := newRig(t)
	var first []byte
	for range 3 {
		a, err := r.SQL(t.Context(), SQLRequest{SQL: fmt.Sprintf(longSQL, 20_000), Timeout: time.Minute})
		must(t, err)
		body := httptest.NewRecorder()
		_, err = send(t.Context(), body, a, arrowFormat, Config{}, time.Now())
		must(t, err)
		a.Close()
		if first == nil {
			first = slices.Clone(body.Body.Bytes())
		}
		if !slices.Equal(first, body.Body.Bytes()) {
			t.Fatal("the same answer has other bytes")
		}
		if n, err := readLong(t, body); n != 20_000 || err != nil {
			t.Fatalf("%d rows, %v", n, err)
		}
	}
}

// A statement that fails in the middle, or whose client goes away while a batch is
// computed ahead, ends the answer as cut off.
func TestLongArrowAnswersThatEndEarlyAreCut(t *testing.T) {
	r := newRig(t)
	a, err := r.SQL(t.Context(), SQLRequest{SQL: "SELECT i, CAST(CASE WHEN i = 250000 THEN 'no more' ELSE '7' END AS INTEGER) AS n FROM range(300000) AS t(i)", Timeout: time.Minute})
	must(t, err)
	_, err = send(t.Context(), httptest.NewRecorder(), a, arrowFormat, Config{}, time.Now())
	a.Close()
	if !errors.Is(err, errCut) || !strings.Contains(err.Error(), "no more") {
		t.Errorf("a failure in the middle: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, err = r.SQL(ctx, SQLRequest{SQL: fmt.Sprintf(longSQL, 900_000), Timeout: time.Minute})
	must(t, err)
	rows, err := send(ctx, &goingAway{ResponseRecorder: httptest.NewRecorder(), after: 1 << 20, leave: cancel}, a, arrowFormat, Config{}, time.Now())
	a.Close()
	if !errors.Is(err, errCut) || !errors.Is(err, context.Canceled) || rows == 0 || rows > 500_000 {
		t.Errorf("a client that went away: %d rows, %v", rows, err)
	}
}

// goingAway is a client that leaves after some bytes; what is written then gets lost.
type goingAway struct {
	*httptest.ResponseRecorder
	after int
	leave func()
}

func (g *goingAway) Write(p []byte) (int, error) {
	if g.after -= len(p); g.after < 0 {
		g.leave()
	}
	return len(p), nil
}
