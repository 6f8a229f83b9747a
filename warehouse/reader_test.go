package warehouse

import (
	"strings"
	"testing"
)

func TestAConnectionServesOneTransactionAfterTheOther(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	r, err := w.Reader(t.Context())
	check(t, err)
	count, err := r.Keep(t.Context(), "SELECT count(*) AS n FROM tw.marks")
	check(t, err)
	for round := range uint64(3) {
		l.add(first, 10*round, 10*round+10, 3)
		advanceTo(t, w, l.input(plans...))
		tx, err := r.Begin(t.Context())
		check(t, err)
		if s := tx.Marks()[FactsObject("pay")]; s[first] != 10*round+10 {
			t.Errorf("S = %s in round %d", s, round)
		}
		rel, err := count.Collect(t.Context())
		check(t, err)
		if n := rel.Value(0, 0); n != int64(1+len(plans)) {
			t.Errorf("%v marks", n)
		}
		check(t, tx.Close())
		check(t, tx.Close())
	}
}

// What one query leaves behind, the next on its connection does not see.
func TestATransactionBeginsClean(t *testing.T) {
	w := open(t, "")
	tx, err := w.Begin(t.Context())
	check(t, err)
	conn := tx.Conn
	if _, err := conn.Collect(t.Context(), "SELECT 1 / 'x'"); err == nil {
		t.Fatal("the statement did not fail")
	}
	check(t, tx.Close())
	tx, err = w.Begin(t.Context())
	check(t, err)
	if tx.Conn != conn {
		t.Error("the idle connection was not taken")
	}
	rows, err := tx.Conn.Query(t.Context(), "SELECT * FROM range(1000000)")
	check(t, err)
	check(t, tx.Close())
	if _, err := rows.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("rows of a transaction that has ended: %v", err)
	}
	check(t, w.Close())
	if _, err := w.Begin(t.Context()); err == nil {
		t.Error("a transaction began on a closed warehouse")
	}
}

func TestATransactionThatIsLeftOpenIsTold(t *testing.T) {
	w := open(t, "")
	tx, err := w.Begin(t.Context())
	check(t, err)
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "still open") {
		t.Errorf("got %v", err)
	}
	check(t, tx.Close())
}
