package warehouse

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tailwater/tailwater/event"
)

func TestViewsWithListsAreComputedInPieces(t *testing.T) {
	w, l := open(t, ""), newLanded(t)
	plans := plan(t, "kept", "SELECT k, list(word) AS l, string_agg(amount, ' ' ORDER BY ts DESC) AS a FROM pay GROUP BY k, tumble(ts, INTERVAL '1 hour')",
		"whole", "SELECT list(CAST(word AS BIGINT)) AS l, count(*) AS c FROM pay")
	w.pieces = pieces{rows: 20, bytes: 1000}
	for i := range uint64(6) {
		l.add(first, 0, (i+1)*20, 3)
		l.asked = nil
		advanceTo(t, w, l.input(plans...))
		if len(l.asked) < 9 { // for facts and each view the rows, and for each view four pieces
			t.Errorf("run %d read %v", i, l.asked)
		}
		consistentNow(t, w, l, plans...)
	}
	if _, err := w.Advance(t.Context(), []Input{l.input(plans...)}, true); err != nil {
		t.Fatal(err)
	}
	consistentNow(t, w, l, plans...)
}

func TestPartsOfRangesTileThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var ranges []event.Range
		for epoch := range uint32(1 + r.IntN(3)) {
			after := r.Uint64N(10)
			through := after + r.Uint64N(30)
			if r.IntN(10) == 0 {
				through = math.MaxInt64
			}
			ranges = append(ranges, event.Range{Source: event.Source{Stream: "s", Epoch: epoch}, After: after, Through: through})
		}
		at := map[event.Source]uint64{}
		for _, part := range divide(ranges, 1+r.Uint64N(9)) {
			for _, x := range part {
				from := ranges[x.Epoch].After
				if was, ok := at[x.Source]; ok {
					from = was
				}
				if x.After != from || x.Through <= x.After {
					t.Fatalf("%v: part %v begins after %d", ranges, x, from)
				}
				at[x.Source] = x.Through
			}
		}
		for _, x := range ranges {
			if x.After < x.Through && at[x.Source] != x.Through {
				t.Fatalf("%v: the parts end at %d", x, at[x.Source])
			}
		}
	}
}
