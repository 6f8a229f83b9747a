package warehouse

import (
	"errors"
	"testing"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// building is an input whose versions are being built, through some sequences.
func (l *landed) building(through event.Cut, plans ...*view.Plan) Input {
	in := l.input()
	in.Building = plans
	for i, r := range in.Landed {
		in.Landed[i].Through = max(r.After, through[r.Source])
	}
	return in
}

func TestAVersionIsBuiltInStepsBesideTheOneThatAnswers(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	next := plan(t, "total", "SELECT count(*) AS c, max(amount) AS hi FROM pay", "coded", codedSQL+" HAVING count(*) > 1")
	if next[1].Version != plans[2].Version {
		t.Fatal("HAVING makes another version")
	}
	next = next[:1]
	l.add(first, 0, 30, 3)
	l.add(second, 30, 40, 2)
	advanceTo(t, w, l.input(plans...))
	for _, step := range []event.Cut{{first: 12}, {first: 12}, {first: 30, second: 33}} {
		s, err := w.Build(t.Context(), l.building(step, next...))
		check(t, err)
		want := event.Cut{first: step[first], second: max(30, step[second])}
		if got := s[ViewObject(next[0])]; got.String() != want.String() {
			t.Errorf("built through %s, want %s", got, want)
		}
		// A run meanwhile keeps what is built, and does not move it.
		l.add(first, 0, 30, 0)
		in := l.input(plans...)
		in.Building = next
		advanceTo(t, w, in)
		consistentNow(t, w, l, append(next, plans...)...)
	}
	l.add(second, 30, 60, 2)
	advanceTo(t, w, l.input(append(next, plans...)...)) // both versions together
	consistentNow(t, w, l, append(next, plans...)...)
	advanceTo(t, w, l.input(plans[0], next[0], plans[2]))
	consistentNow(t, w, l, plans[0], next[0], plans[2])
	tx := begin(t, w)
	defer tx.Close()
	if tx.Marks()[ViewObject(plans[1])] != nil {
		t.Error("the old version is there still")
	}
}

func TestAStepThatFailsBuildsNothing(t *testing.T) {
	w, l, plans := open(t, ""), newLanded(t), payPlans(t)
	l.add(first, 0, 30, 3)
	advanceTo(t, w, l.input(plans[0]))
	l.fail = errors.New("the lake is away")
	if _, err := w.Build(t.Context(), l.building(event.Cut{first: 30}, plans[1])); !errors.Is(err, l.fail) {
		t.Errorf("got %v", err)
	}
	l.fail = nil
	tx := begin(t, w)
	defer tx.Close()
	if tx.Marks()[ViewObject(plans[1])] != nil {
		t.Error("half a step was kept")
	}
	consistent(t, tx, l, plans[0])
}
