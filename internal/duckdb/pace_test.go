package duckdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

// A slowPace counts steps, and has a statement give way after some.
type slowPace struct {
	steps    int
	after    int
	failAt   int
	failure  error
	computed time.Duration
}

func (p *slowPace) Step(_ context.Context, computed time.Duration) (giveWay bool, err error) {
	p.steps++
	p.computed = computed
	if p.steps == p.failAt {
		return true, p.failure
	}
	return p.steps > p.after, nil
}

func (p *slowPace) Hurry() bool { return true }

// What gives way gives the same rows: it goes on where it was, in the midst of a step of
// the statement or of its rows.
func TestAStatementThatGivesWayGoesOn(t *testing.T) {
	conn := open(t, Options{Threads: 1})
	const sql = "SELECT r FROM (SELECT range AS r, row_number() OVER (ORDER BY range DESC) AS n FROM range(300000)) WHERE n %% 3 = 0 AND r <> %d"
	for after := range 12 {
		p := &slowPace{after: after * 3}
		conn.Keep(p)
		rows, err := conn.Query(t.Context(), fmt.Sprintf(sql, -1-after))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			b, err := rows.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n += int(b.NumRows())
		}
		if n != 100_000 {
			t.Errorf("after %d steps: %d rows", after*3, n)
		}
		if p.steps > p.after && rows.lane == nil || p.steps <= p.after && rows.lane != nil {
			t.Errorf("after %d steps of %d: on a lane is %t", after*3, p.steps, rows.lane != nil)
		}
		if p.computed == 0 {
			t.Error("no time was taken")
		}
		rows.Close()
	}
}

func TestAStatementEndsWhereItsPaceFails(t *testing.T) {
	conn := open(t, Options{Threads: 1})
	for at := 1; at < 8; at++ {
		p := &slowPace{after: 3, failAt: at, failure: errors.New("no more")}
		conn.Keep(p)
		rows, err := conn.Query(t.Context(), "SELECT max(range * 3) FROM range(3000000)")
		if err == nil {
			_, err = rows.Next(t.Context())
			rows.Close()
		}
		if !errors.Is(err, p.failure) {
			t.Errorf("at %d: %v", at, err)
		}
	}
	conn.Keep(nil)
	if _, err := conn.Collect(t.Context(), "SELECT 1"); err != nil {
		t.Error(err)
	}
}
