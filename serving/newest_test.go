package serving

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// The newest rows of a stream are the same whether the engine is told where they end or
// not: a second use of the table keeps it from being told.
func TestTheNewestRowsAreTheSameFromAllLayers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 9))
	r := newRig(t)
	narrowed := 0
	for step := range 16 {
		switch random.IntN(6) {
		case 0, 1:
			r.send(10 + random.IntN(40))
			r.land()
		case 2:
			r.send(70 + random.IntN(40))
			r.land()
		case 3:
			if r.landed.Load() != nil {
				r.batch()
			}
		default:
			r.send(1 + random.IntN(6))
		}
		if r.at == 0 {
			continue
		}
		for _, s := range []string{
			"SELECT ts, k, n AS a%[1]d FROM pay%[2]s ORDER BY ts DESC, n DESC, _seq LIMIT 7",
			"SELECT *, %[1]d AS x FROM pay AS p%[2]s ORDER BY p.TS DESC NULLS LAST, _seq LIMIT 3 OFFSET 2",
			"SELECT _seq AS a%[1]d FROM pay%[2]s ORDER BY ts DESC, _seq LIMIT 60",
			"SELECT _seq AS a%[1]d FROM pay%[2]s ORDER BY ts, _seq LIMIT 6",
			"SELECT _seq AS a%[1]d FROM pay%[2]s ORDER BY n DESC, ts DESC, _seq LIMIT 6",
			"SELECT _seq AS a%[1]d FROM pay%[2]s ORDER BY ts DESC NULLS FIRST, _seq LIMIT 6",
			"SELECT a%[1]d FROM (SELECT _seq AS a%[1]d, ts FROM pay%[2]s ORDER BY ts DESC, _seq LIMIT 5) ORDER BY 1",
			"SELECT -epoch(ts) AS ts, _seq + 0 * %[1]d AS s FROM pay%[2]s ORDER BY ts DESC, _seq LIMIT 4",
			"SELECT _seq AS a%[1]d FROM pay%[2]s ORDER BY ts DESC, _seq LIMIT 0",
		} {
			got := r.ask(fmt.Sprintf(s, step, ""))
			want := r.ask(fmt.Sprintf(s, step, " WHERE (SELECT count(*) FROM pay) > 0"))
			if got != want {
				t.Fatalf("step %d, %s:\n%swant\n%s", step, s, got, want)
			}
		}
		if plan := r.ask(fmt.Sprintf("EXPLAIN SELECT n AS a%d FROM pay ORDER BY ts DESC LIMIT 2", step)); strings.Contains(plan, "newest") || strings.Contains(plan, "ts>=") || strings.Contains(plan, "ts >=") {
			narrowed++
		}
		if step%4 == 0 { // at a past cut what is newer is in memory, and does not count
			at := r.cutNow()
			at[paySource] = max(1, at[paySource]/2)
			sql := fmt.Sprintf("SELECT _seq AS a%d FROM pay ORDER BY ts DESC, _seq LIMIT 5", step)
			got, err := textOf(r.SQL(t.Context(), SQLRequest{SQL: sql, At: at}))
			must(t, err)
			want := r.ask(fmt.Sprintf("SELECT _seq AS a%d FROM (SELECT * FROM pay WHERE _seq <= %d) ORDER BY ts DESC, _seq LIMIT 5", step, at[paySource]))
			if got != want {
				t.Fatalf("step %d at %s:\n%swant\n%s", step, at, got, want)
			}
		}
	}
	if narrowed == 0 {
		t.Error("nothing was narrowed: the test has lost its point")
	}
}

// A SELECT list that gives no row for some of the table's is no list of the first rows.
func TestFirstRowsOfAListThatDropsSome(t *testing.T) {
	r := newRig(t)
	r.send(40)
	r.land()
	r.batch()
	r.send(20)
	const list = "SELECT unnest(CASE WHEN n % 7 = 0 THEN [n] ELSE [] END) AS u, _seq FROM pay"
	got := r.ask(list + " ORDER BY ts DESC, _seq LIMIT 3")
	want := r.ask("SELECT u, _seq FROM (SELECT unnest(CASE WHEN n % 7 = 0 THEN [n] ELSE [] END) AS u, _seq, ts FROM pay) ORDER BY ts DESC, _seq LIMIT 3")
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
