package warehouse

import (
	"context"
	"testing"

	"github.com/tailwater/tailwater/event"
)

func TestFactsGainColumnsAndViewsKeepTheirRows(t *testing.T) {
	path, l, plans := filePath(t), newLanded(t), payPlans(t)
	w := open(t, path)
	wide := pay()
	wide.Columns = append(wide.Columns,
		event.Column{Name: "a new one", Type: event.Type{Kind: event.Varchar}},
		event.Column{Name: "big", Type: event.Type{Kind: event.Decimal, Precision: 30, Scale: 2}})
	check(t, w.Widen(t.Context(), wide)) // without facts there is nothing to do
	l.add(first, 0, 10, 3)
	advanceTo(t, w, l.input(plans...))
	for range 2 { // again, as after a crash behind it
		check(t, w.Widen(t.Context(), wide))
		check(t, w.Close())
		w = open(t, path)
	}
	l.add(first, 0, 14, 2)
	in := l.input(plans...)
	in.Schema = wide
	in.Select = func(_ context.Context, ranges []event.Range) (string, error) {
		return `SELECT *, 'of ' || _seq AS "a new one", _seq + 0.25 AS big FROM ` + l.rows.SQL() + where(ranges), nil
	}
	if done := advanceTo(t, w, in); done.Rows != 8 {
		t.Errorf("%d rows were added", done.Rows)
	}
	consistentNow(t, w, l, plans...)
	tx := begin(t, w)
	defer tx.Close()
	facts, _ := tx.Facts(wide)
	got := query(t, tx.Conn, `SELECT count(*), count("a new one"), min("a new one"), max(big), min(_seq) FILTER (big IS NOT NULL), count(_ingested_at) FROM (`+facts+`)`)
	if want := query(t, tx.Conn, `SELECT 38, 8, 'of 11', 14.25::DECIMAL(30,2), 11, 38`); got != want {
		t.Errorf("facts: %s, want %s", got, want)
	}
}
