package warehouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/event"
)

func TestAdvanceMovesFactsPartialsAndSTogether(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	l.add(first, 0, 10, 3)
	done := advanceTo(t, w, l.input(plans...))
	if !done.Moved || done.Rows != 30 || done.S[ViewObject(plans[0])].String() != "pay/1/0:10" {
		t.Errorf("the first run: %+v", done)
	}
	if s := consistentNow(t, w, l, plans...); s.String() != "pay/1/0:10" {
		t.Errorf("S = %s", s)
	}
	// A second epoch begins at a floor, and has landed something already.
	l.add(first, 0, 14, 2)
	l.add(second, 14, 20, 4)
	l.asked = nil
	done = advanceTo(t, w, l.input(plans...))
	if !done.Moved || done.Rows != 4*2+6*4 {
		t.Errorf("the second run: %+v", done)
	}
	if s := consistentNow(t, w, l, plans...); s.String() != "pay/1/0:14,pay/2/0:20" {
		t.Errorf("S = %s", s)
	}
	for _, ranges := range l.asked {
		if ranges != "pay/1/0(10,14] pay/2/0(14,20]" {
			t.Errorf("asked for %s: want what is after S alone", ranges)
		}
	}
	origins, err := w.Origins(t.Context())
	if err != nil || len(origins) != 1 || origins["pay"] != (Origin{"table", 3, "commit 3"}) {
		t.Errorf("origins %v, %v", origins, err)
	}
}

func TestAdvanceWithNothingNewMovesNothing(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	if done := advanceTo(t, w, l.input(plans...)); done.Moved || done.Rows != 0 {
		t.Errorf("before anything landed: %+v", done)
	}
	l.add(first, 0, 20, 3)
	want := advanceTo(t, w, l.input(plans...))
	l.asked = nil
	for range 3 {
		done := advanceTo(t, w, l.input(plans...))
		if done.Moved || done.Rows != 0 || fmt.Sprint(done.S) != fmt.Sprint(want.S) {
			t.Errorf("got %+v, S was %v", done, want.S)
		}
	}
	if len(l.asked) > 0 {
		t.Errorf("rows were asked for: %v", l.asked)
	}
	consistentNow(t, w, l, plans...)
}

func TestARangeWithoutRowsMovesS(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	l.add(first, 7, 7, 0) // an epoch that has just begun
	if done := advanceTo(t, w, l.input(plans...)); !done.Moved || done.S[FactsObject("pay")].String() != "pay/1/0:7" {
		t.Errorf("a new epoch: %+v", done)
	}
	l.add(first, 7, 12, 0)
	if done := advanceTo(t, w, l.input(plans...)); !done.Moved || done.Rows != 0 {
		t.Errorf("messages without rows: %+v", done)
	}
	if s := consistentNow(t, w, l, plans...); s[first] != 12 {
		t.Errorf("S = %s", s)
	}
}

func TestAnInputThatFailsChangesNothing(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	l.add(first, 0, 10, 3)
	advanceTo(t, w, l.input(plans...))
	l.add(first, 0, 20, 3)
	away := errors.New("the store is away")
	calls := 0
	in := l.input(plans...)
	for after := range 4 { // facts, then the views one by one
		l.fail, calls = nil, 0
		broken := in
		rows := in.Select
		broken.Select = func(ctx context.Context, ranges []event.Range) (string, error) {
			if calls++; calls > after {
				return "", away
			}
			return rows(ctx, ranges)
		}
		if _, err := w.Advance(t.Context(), []Input{broken}, after%2 == 1); !errors.Is(err, away) || !strings.Contains(err.Error(), "stream pay") {
			t.Fatalf("after %d objects: %v", after, err)
		}
		if s := consistentNow(t, w, l, plans...); s[first] != 10 {
			t.Errorf("after %d objects S moved to %s", after, s)
		}
	}
	advanceTo(t, w, in)
	if s := consistentNow(t, w, l, plans...); s[first] != 20 {
		t.Errorf("S = %s after the retry", s)
	}
}

func TestRebuildEqualsIncremental(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	for range 25 {
		l.add(first, 0, l.marks[first]+uint64(rng.IntN(9)), rng.IntN(4))
		if rng.IntN(4) > 0 {
			continue
		}
		l.add(second, 3, max(3, l.marks[second])+uint64(rng.IntN(9)), 1+rng.IntN(3))
		advanceTo(t, w, l.input(plans...))
		consistentNow(t, w, l, plans...)
	}
	incremental := advanceTo(t, w, l.input(plans...))
	all := func() string {
		tx := begin(t, w)
		defer tx.Close()
		facts, _ := tx.Facts(pay())
		out := query(t, tx.Conn, facts)
		for _, p := range plans {
			partials, _ := tx.Partials(p)
			failed, _ := tx.Errors(p)
			out += "\n\n" + query(t, tx.Conn, p.MergeSQL("("+partials+") AS p")) + "\n\n" + query(t, tx.Conn, failed)
		}
		return out
	}
	before := all()
	done, err := w.Advance(t.Context(), []Input{l.input(plans...)}, true)
	check(t, err)
	if !done.Moved || fmt.Sprint(done.S) != fmt.Sprint(incremental.S) {
		t.Errorf("rebuilt %+v, incremental S %v", done, incremental.S)
	}
	if after := all(); after != before {
		t.Errorf("rebuilt\n%s\nincremental\n%s", after, before)
	}
}

// tables lists everything that the file holds for streams and views.
func tables(t testing.TB, w *Warehouse) string {
	t.Helper()
	tx := begin(t, w)
	defer tx.Close()
	return strings.Join(ordered(t, tx.Conn, `
		SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema IN ('facts', 'partials', 'loose', 'errors')
		UNION ALL SELECT DISTINCT 'mark ' || object FROM tw.marks ORDER BY 1`), "\n")
}

func TestViewsThatNobodyNamesVanish(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	l.add(first, 0, 10, 3)
	advanceTo(t, w, l.input(plans...))
	done := advanceTo(t, w, l.input(plans[1]))
	if len(done.S) != 2 || done.Moved {
		t.Errorf("got %+v", done)
	}
	name, object := "total_"+plans[1].Version, ViewObject(plans[1])
	want := []string{"errors." + name, "facts.pay", "loose." + name, "mark " + FactsObject("pay"), "mark " + object, "partials." + name}
	if got := tables(t, w); got != strings.Join(want, "\n") {
		t.Errorf("the file holds\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	advanceTo(t, w)
	if got := tables(t, w); got != "" {
		t.Errorf("without any stream the file holds\n%s", got)
	}
}

func TestANewVersionBeginsWithNothingAndReplacesTheOld(t *testing.T) {
	w, l := open(t, ""), newLanded(t)
	old, other := plan(t, "v", totalSQL), plan(t, "v", hourlySQL)
	if ViewObject(old[0]) == ViewObject(other[0]) {
		t.Fatal("two definitions have one version")
	}
	l.add(first, 0, 10, 3)
	advanceTo(t, w, l.input(old...))
	tx := begin(t, w)
	sql, s := tx.Partials(other[0])
	if got := query(t, tx.Conn, sql); len(s) != 0 || got != "" {
		t.Errorf("before its first run S = %s and rows %q", s, got)
	}
	tx.Close()
	l.add(first, 0, 15, 3)
	l.asked = nil
	done := advanceTo(t, w, l.input(other...))
	if got := strings.Join(l.asked, "; "); got != "pay/1/0(10,15]; pay/1/0(0,15]" {
		t.Errorf("asked for %s: want the facts after S, and all for the new version", got)
	}
	consistentNow(t, w, l, other...)
	if !done.Which[ViewObject(other[0])] || !done.Which[FactsObject("pay")] || len(done.Which) != 2 {
		t.Errorf("moved: %v", done.Which)
	}
	if got := tables(t, w); strings.Contains(got, old[0].Version) {
		t.Errorf("the old version stays:\n%s", got)
	}
}

func TestPartialsStayMergedAndSorted(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	tidy := func(when string) (sorted bool) {
		tx := begin(t, w)
		defer tx.Close()
		for _, p := range plans {
			split := tx.Split(p)
			rows := len(ordered(t, tx.Conn, split.Base))
			groups := len(ordered(t, tx.Conn, p.MergeSQL("("+split.Base+") AS p")))
			if rows > 0 && rows != groups { // without groups an empty table merges to one row
				t.Errorf("%s: %s has %d merged rows of %d groups", when, p.Name, rows, groups)
			}
			loose := 0
			if split.Loose != "" {
				loose = len(ordered(t, tx.Conn, split.Loose))
			}
			if int64(loose) != split.LooseRows || loose > max(rows/8, fewRows) {
				t.Errorf("%s: %s has %d loose rows, says %d, beside %d", when, p.Name, loose, split.LooseRows, rows)
			}
			if p.Name != "hourly" {
				continue
			}
			table := partialsTable(p)
			sorted = rows > 0 && loose == 0 && slices.Equal(ordered(t, tx.Conn, "SELECT k0, pane FROM "+table+" ORDER BY rowid"), ordered(t, tx.Conn, "SELECT k0, pane FROM "+table+" ORDER BY k0, pane"))
		}
		return sorted
	}
	times := 0
	for i := range uint64(30) {
		l.add(first, 0, (i+1)*5, 3)
		advanceTo(t, w, l.input(plans...))
		if tidy(fmt.Sprintf("run %d", i)) {
			times++
		}
	}
	if times == 0 {
		t.Error("the rows were never merged and sorted")
	}
	consistentNow(t, w, l, plans...)
	if _, err := w.Advance(t.Context(), []Input{l.input(plans...)}, true); err != nil {
		t.Fatal(err)
	}
	if !tidy("rebuilt") {
		t.Error("a rebuilt view is not sorted by key, then window")
	}
}

func TestATransactionDoesNotSeeALaterRun(t *testing.T) {
	for _, path := range []string{"", filePath(t)} {
		w, l, plans := open(t, path), newLanded(t), payPlans(t)
		l.add(first, 0, 10, 3)
		advanceTo(t, w, l.input(plans...))
		tx := begin(t, w)
		// It has read nothing but S when the runs commit.
		l.add(first, 0, 40, 3)
		advanceTo(t, w, l.input(plans...))
		if _, err := w.Advance(t.Context(), []Input{l.input(plans...)}, true); err != nil {
			t.Fatal(err)
		}
		if s := consistent(t, tx, l, plans...); s[first] != 10 {
			t.Errorf("the transaction sees S = %s", s)
		}
		advanceTo(t, w, l.input()) // drops the views under it
		if s := consistent(t, tx, l, plans...); s[first] != 10 {
			t.Errorf("the transaction sees S = %s after the views were dropped", s)
		}
		if err := tx.Conn.Exec(t.Context(), "DELETE FROM tw.marks"); err == nil {
			t.Error("a read-only transaction deleted rows")
		}
		tx.Close()
		if s := consistentNow(t, w, l); s[first] != 40 {
			t.Errorf("a later transaction sees S = %s", s)
		}
	}
}

func TestEmptySelectHasTheColumnsTypes(t *testing.T) {
	var columns []event.Column
	for k := event.Boolean; k <= event.Timestamp; k++ {
		c := event.Column{Name: fmt.Sprintf("a \"%s\"", k), Type: event.Type{Kind: k}}
		if k == event.Decimal {
			c.Precision, c.Scale = 38, 6
		}
		columns = append(columns, c)
	}
	w := open(t, "")
	tx := begin(t, w)
	defer tx.Close()
	rel, err := tx.Conn.Collect(t.Context(), EmptySelect(columns))
	check(t, err)
	if rel.Len() != 0 || !slices.Equal(rel.Columns, columns) {
		t.Errorf("%d rows of %v, want %v", rel.Len(), rel.Columns, columns)
	}
	p := plan(t, "hourly", hourlySQL)[0]
	for name, c := range map[string]struct {
		sql  func() (string, event.Cut)
		want []event.Column
	}{
		"facts":    {func() (string, event.Cut) { return tx.Facts(pay()) }, pay().Relation()},
		"partials": {func() (string, event.Cut) { return tx.Partials(p) }, p.Partial},
		"errors":   {func() (string, event.Cut) { return tx.Errors(p) }, ErrorColumns},
	} {
		sql, s := c.sql()
		rel, err := tx.Conn.Collect(t.Context(), sql)
		check(t, err)
		if len(s) > 0 || rel.Len() > 0 || !sameTypes(rel.Columns, c.want) {
			t.Errorf("%s of an empty warehouse: S %s, %d rows of %v", name, s, rel.Len(), rel.Columns)
		}
	}
}

func sameTypes(a, b []event.Column) bool {
	return slices.EqualFunc(a, b, func(x, y event.Column) bool { return x.Name == y.Name && x.Type == y.Type })
}
