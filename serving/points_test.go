package serving

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// pointRequest asks a view for one group, of a, b, c and one that there is not.
func pointRequest(r *rand.Rand) ViewRequest {
	q := ViewRequest{Name: []string{"hourly", "positive", "values_of"}[r.IntN(3)]}
	q.Filter.Where = []view.Equal{{Key: "K", Value: []string{"a", "b", "c", "it's"}[r.IntN(4)]}}
	if q.Name != "positive" {
		from := time.Unix(r.Int64N(20_000), 0)
		to := from.Add(time.Duration(r.Int64N(int64(4 * time.Hour))))
		q.Filter.From, q.Filter.To = &from, &to
	}
	return q
}

// linesOf are the rows of an answer, sorted.
func linesOf(a *Answer, err error) ([]string, error) {
	text, err := textOf(a, err)
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return lines, err
}

// Whoever asks for one group gets the rows that the events of its cut make, whoever
// asks at the same time, and whatever the layers do meanwhile.
func TestPointsAnsweredTogetherAreExact(t *testing.T) {
	r := newRig(t)
	r.send(200)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var together, held, asked atomic.Int64
	var clients sync.WaitGroup
	for client := range uint64(6) {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(client, 3))
			for ctx.Err() == nil {
				q := pointRequest(random)
				a, err := r.view(t.Context(), q)
				if err != nil {
					t.Errorf("%+v: %v", q, err)
					return
				}
				if n, ok := a.Statistics["together"].(int); !ok {
					t.Errorf("%+v was not answered as a point", q)
				} else if n > 1 {
					together.Add(1)
				}
				if n, _ := a.Statistics["held_rows"].(int); n > 0 {
					held.Add(1)
				}
				if !a.Complete || !a.Repeatable {
					t.Errorf("%+v: complete %t, repeatable %t", q, a.Complete, a.Repeatable)
				}
				q.At = a.Cut
				got, err := linesOf(a, nil)
				must(t, err)
				want, err := linesOf(r.view(t.Context(), q))
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%+v: %q, want %q, %v", q, got, want, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for range 6 {
		for range 4 {
			r.send(37)
		}
		r.land()
		r.send(50)
		r.batch()
		before := asked.Load()
		waitFor(t, func() bool { return asked.Load() > before+30 || t.Failed() })
	}
	cancel()
	clients.Wait()
	if together.Load() == 0 {
		t.Error("no two questions were answered together")
	}
	if n := held.Load(); n == 0 || n == asked.Load() {
		t.Errorf("%d of %d answers were from partial rows in memory", n, asked.Load())
	}
}

func TestWhatIsNoPoint(t *testing.T) {
	r := newRig(t)
	plans := r.definitions().Plans
	from, to, far := time.Unix(0, 0), time.Unix(7200, 0), time.Unix(1e8, 0)
	is := ViewRequest{Name: "hourly", Filter: view.Filter{Where: []view.Equal{{Key: "k", Value: "a"}}, From: &from, To: &to}}
	if pointOf(plans["hourly"], is) == nil {
		t.Fatal("a point is none")
	}
	for what, change := range map[string]func(*ViewRequest){
		"an absent key":        func(q *ViewRequest) { q.Filter.Where[0].Null = true },
		"another key":          func(q *ViewRequest) { q.Filter.Where[0].Key = "n" },
		"no key":               func(q *ViewRequest) { q.Filter.Where = nil },
		"no beginning":         func(q *ViewRequest) { q.Filter.From = nil },
		"very many windows":    func(q *ViewRequest) { q.Filter.To = &far },
		"a page":               func(q *ViewRequest) { q.Filter.Paged, q.Filter.Limit = true, 5 },
		"one row of all":       func(q *ViewRequest) { q.Filter.By = []view.Group{} },
		"an earlier cut":       func(q *ViewRequest) { q.At = event.Cut{} },
		"windows of panes":     func(q *ViewRequest) { q.Name = "rolling" },
		"ranks among all":      func(q *ViewRequest) { q.Name = "ranked" },
		"no groups":            func(q *ViewRequest) { q.Name = "total" },
		"computed from events": func(q *ViewRequest) { q.Name = "above" },
	} {
		q := is
		q.Filter.Where = slices.Clone(is.Filter.Where)
		change(&q)
		if pointOf(plans[q.Name], q) != nil {
			t.Errorf("%s is a point", what)
		}
	}
}

// A question that was put before a redefinition is answered by the new definition.
func TestAPointOfAnOldDefinitionIsAskedAgain(t *testing.T) {
	r := newRig(t)
	r.send(100)
	old := r.definitions().Plans["positive"]
	q := pointOf(old, ViewRequest{Name: "positive", Filter: view.Filter{Where: []view.Equal{{Key: "k", Value: "a"}}}})
	r.redefine(r.planned("positive", "SELECT k, sum(n) + 1 AS s FROM pay GROUP BY k HAVING sum(n) > 0"))
	if !r.points.ask(r.Core, old, q) {
		t.Fatal("the question was not taken")
	}
	if a := <-q.answered; !errors.Is(a.err, errRedefined) {
		t.Errorf("got %v, %v", a.answer, a.err)
	}
	r.StopLive()
	if r.points.ask(r.Core, old, q) {
		t.Error("a question was taken after the end")
	}
}

// heldRows asks for one group until the answer comes from partial rows in memory, or
// not from any, and gives how many there are.
func (r *rig) heldRows(q ViewRequest, wanted bool) (rows int) {
	r.t.Helper()
	waitFor(r.t, func() bool {
		a, err := r.view(r.t.Context(), q)
		must(r.t, err)
		defer a.Close()
		n, ok := a.Statistics["held_rows"].(int)
		rows = n
		return ok == wanted
	})
	return rows
}

func TestHeldPartialRowsAreThoseOfTheWarehouse(t *testing.T) {
	r := newRig(t)
	r.send(300)
	r.land()
	r.batch()
	q := ViewRequest{Name: "positive", Filter: view.Filter{Where: []view.Equal{{Key: "k", Value: "a"}}}}
	before := r.heldRows(q, true)
	if before == 0 || r.PointBytes() == 0 {
		t.Fatalf("%d rows are held in %d bytes", before, r.PointBytes())
	}
	line := r.points.lines[r.definitions().Plans["positive"]]

	// After a batch run the State has let go what is between, and the table answers.
	r.send(300)
	r.land()
	r.batch()
	if _, ok := line.remembered(); ok {
		t.Error("what is held reaches a State that has let segments go")
	}
	r.heldRows(q, true)

	// A rebuild at the same S: nothing tells but the warehouse.
	r.advance(true)
	if _, ok := line.remembered(); ok {
		t.Error("what is held outlives a rebuild")
	}
	r.heldRows(q, true)
	must(t, r.wh.Recreate(t.Context()))
	if _, ok := line.remembered(); ok {
		t.Error("what is held outlives its warehouse")
	}
	a, err := r.view(t.Context(), q) // on a connection to the new file
	must(t, err)
	a.Close()
}

func TestFewPartialRowsAreHeld(t *testing.T) {
	r := newRig(t)
	r.send(300)
	r.land()
	r.batch()
	positive := ViewRequest{Name: "positive", Filter: view.Filter{Where: []view.Equal{{Key: "k", Value: "a"}}}}
	from, to := time.Unix(0, 0), time.Unix(3600, 0)
	hourly := ViewRequest{Name: "hourly", Filter: view.Filter{Where: []view.Equal{{Key: "k", Value: "a"}}, From: &from, To: &to}}
	r.heldRows(positive, true)
	one := r.PointBytes()
	r.heldRows(hourly, true)
	both := r.PointBytes()
	if both <= one {
		t.Fatalf("%d bytes for one view, %d for two", one, both)
	}

	held, plans := &r.points.held, r.definitions().Plans
	held.limit = both - 1 // for one of them at a time
	line := r.points.lines[plans["positive"]]
	held.put(line, held.of(line))
	if n := r.PointBytes(); n != one {
		t.Errorf("%d bytes are held, %d are of the view that was asked for last", n, one)
	}
	if held.of(r.points.lines[plans["hourly"]]) != nil {
		t.Error("the view that nobody asked for since is the one that is held")
	}
	held.limit = one - 1
	held.put(line, held.of(line))
	if n := r.PointBytes(); n != 0 {
		t.Errorf("%d bytes are held, %d are allowed", n, one-1)
	}

	// What is too much is read once for each S.
	for range 2 {
		before := line.tried.Load()
		r.batchAgain()
		for range 20 {
			r.heldRows(positive, false)
		}
		waitFor(t, func() bool { return !line.holding.Load() })
		first := line.tried.Load()
		if first == before {
			t.Error("another S was not tried")
		}
		for range 20 {
			r.heldRows(positive, false)
		}
		if line.holding.Load() || line.tried.Load() != first {
			t.Error("the same was read twice")
		}
	}
}

// batchAgain moves S.
func (r *rig) batchAgain() {
	r.t.Helper()
	r.send(30)
	r.land()
	r.batch()
}
