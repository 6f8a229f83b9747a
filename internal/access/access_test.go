package access

import (
	"testing"
	"time"
)

func TestNoPrincipalMayEverything(t *testing.T) {
	p := From(t.Context())
	if p != nil || !p.May(Admin) || !p.Sees("anything") || p.Within(Limits{Rows: 7}) != (Limits{Rows: 7}) {
		t.Errorf("%+v", p)
	}
}

func TestRolesAllowWhatTheyName(t *testing.T) {
	for _, has := range Roles {
		p := From(With(t.Context(), &Principal{Name: "p", Roles: []Role{has}}))
		for _, asked := range Roles {
			if want := has == asked || has == Admin; p.May(asked) != want {
				t.Errorf("%s may %s: %t", has, asked, !want)
			}
		}
	}
	if (&Principal{}).May(Ingest) {
		t.Error("a principal without a role may send")
	}
	if _, err := ParseRole("root"); err == nil {
		t.Error("root is a role")
	}
}

func TestAScopeHidesWhatItDoesNotName(t *testing.T) {
	p := &Principal{Tables: []string{"daily"}}
	if !p.Sees("daily") || p.Sees("payments") || p.Sees("Daily") || !(&Principal{}).Sees("payments") || (&Principal{Tables: []string{}}).Sees("payments") {
		t.Error("the scope is not what was named")
	}
}

func TestTheTighterLimitHolds(t *testing.T) {
	server := Limits{Time: time.Minute, Rows: 100, Bytes: 0, Concurrency: 8, Queue: 32}
	got := (&Principal{Limits: Limits{Time: time.Second, Rows: 1000, Bytes: 5}}).Within(server)
	if want := (Limits{Time: time.Second, Rows: 100, Bytes: 5, Concurrency: 8, Queue: 32}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
