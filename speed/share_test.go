package speed

import (
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// manyViews are so many that they are computed by two lanes, some of them sharing.
func manyViews() []view.Definition {
	defs := append([]view.Definition(nil), payViews...)
	for i := range lanesFrom {
		defs = append(defs,
			view.Definition{Name: fmt.Sprintf("window%d", i), SQL: fmt.Sprintf("SELECT window_start, k, count(*) AS c, avg(n) AS a FROM pay GROUP BY tumble(ts, INTERVAL '%d minutes'), k", i+1)},
			view.Definition{Name: fmt.Sprintf("beside%d", i), SQL: fmt.Sprintf("SELECT k, min(n) AS m, max(word) AS w, count(*) AS c FROM pay GROUP BY k, tumble(ts, INTERVAL '%d minutes')", i+1)})
	}
	return defs
}

func TestManyViewsAnswerAsTheirSQLDoes(t *testing.T) {
	b := begun(t, nil, manyViews()...)
	w := b.workers["pay"]
	if n := len(w.lanes[0].partials) + len(w.lanes[1].partials); len(w.lanes) != 2 || n != len(payViews)-1+lanesFrom+1 {
		t.Errorf("%d lanes, %d statements", len(w.lanes), n)
	}
	var events []*event.Block
	for at := uint64(0); at < 45; at += 5 {
		events = append(events, block(src, at, at+5, 40))
	}
	events = append(events, block(src, 45, 50, eventsFrom/5)) // by both lanes at once
	b.apply(events...)
	check(t, b.Compact(t.Context()))
	for _, p := range b.plans {
		b.same(b.State(), p.Name, events...)
	}
}

func TestViewsAreComputedAloneWhenWhatTheyShareFails(t *testing.T) {
	b := begun(t, nil,
		view.Definition{Name: "fine", SQL: "SELECT k, count(*) AS c FROM pay GROUP BY k"},
		view.Definition{Name: "bad", SQL: "SELECT k, sum(n) AS s FROM pay GROUP BY k"})
	p := b.workers["pay"].lanes[0].partials[0]
	if len(p.Plans) != 2 {
		t.Fatalf("%d views share", len(p.Plans))
	}
	check(t, p.partial.Close())
	events := block(src, 0, 5, 3)
	b.apply(events)
	b.same(b.State(), "fine", events)
	b.same(b.State(), "bad", events)
}

func TestPartialsAreSharedWithoutCopies(t *testing.T) {
	b := begun(t, nil,
		view.Definition{Name: "one", SQL: "SELECT k, count(*) AS c FROM pay GROUP BY k"},
		view.Definition{Name: "two", SQL: "SELECT k, sum(n) AS s, count(*) AS c FROM pay GROUP BY k"})
	b.apply(block(src, 0, 5, 3))
	column := func(name string, i int) *array.Int64 {
		return mustView(b, name).Segments[0].Pieces[0].Batches[0].Column(i).(*array.Int64)
	}
	if one, two := column("one", 1).Int64Values(), column("two", 2).Int64Values(); &one[0] != &two[0] {
		t.Error("the count stands in two arrays")
	}
}
