package serving

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// alwaysReady is a program of which nothing but Ready is asked.
type alwaysReady struct{ Operations }

func (alwaysReady) Ready() error { return nil }

// scopedCore has the streams payments and orders, and the view daily over payments.
func scopedCore(t *testing.T) *Core {
	t.Helper()
	planner, err := view.NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	schemas := map[string]*event.Schema{}
	for _, name := range []string{"payments", "orders"} {
		schemas[name] = &event.Schema{Stream: name, TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
			{Name: "ts", Type: kind(event.Timestamp)}, {Name: "secret_" + name, Type: kind(event.Varchar)},
		}}
	}
	plan, err := planner.Plan(t.Context(), view.Definition{Name: "daily", SQL: "SELECT window_start, count(*) AS n FROM payments GROUP BY tumble(ts, INTERVAL '1 day')"}, schemas)
	if err != nil {
		t.Fatal(err)
	}
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1, Locked: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return NewCore(CoreConfig{Streams: []*event.Schema{schemas["payments"], schemas["orders"]}, Plans: []*view.Plan{plan}, GateDB: db, Operations: alwaysReady{}})
}

func TestAKeySeesItsTablesAndNoHintOfOthers(t *testing.T) {
	c := scopedCore(t)
	ctx := access.With(t.Context(), &access.Principal{Name: "p", Tables: []string{"daily", "orders_dead"}})
	if got := c.Tables(ctx); !slices.Equal(got, []string{"daily", "orders_dead"}) {
		t.Errorf("tables %v", got)
	}
	if got := c.Tables(t.Context()); len(got) != 7 {
		t.Errorf("without authentication: %v", got)
	}
	for _, sql := range []string{"SELECT * FROM payments", "SELECT * FROM payment", "SELECT * FROM nothing", "SELECT * FROM daily JOIN main.orders USING (n)", "WITH a AS (SELECT * FROM tailwater.view_errors) SELECT * FROM a"} {
		var refusal *Refusal
		_, err := c.SQL(ctx, SQLRequest{SQL: sql})
		if !errors.As(err, &refusal) || refusal.Code != "unknown_table" {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		if strings.Contains(refusal.Hint, "payments") || strings.Contains(refusal.Hint, "orders,") {
			t.Errorf("%s hints at %s", sql, refusal.Hint)
		}
	}
	if err := c.ownError(ctx, "SELECT secret_payment FROM payments"); err == nil || strings.Contains(err.Error(), "secret_payments") {
		t.Errorf("the engine's candidates: %v", err)
	}
}

func TestAViewOfAnotherScopeIsLikeNone(t *testing.T) {
	c := scopedCore(t)
	ctx := access.With(t.Context(), &access.Principal{Name: "p", Tables: []string{"orders"}})
	for what, ask := range map[string]func(context.Context, string) error{
		"view": func(ctx context.Context, name string) error {
			_, err := c.View(ctx, ViewRequest{Name: name})
			return err
		},
		"live": func(ctx context.Context, name string) error {
			_, err := c.Live(ctx, LiveRequest{Name: name})
			return err
		},
		"check": func(ctx context.Context, name string) error {
			_, err := c.Check(ctx, CheckRequest{View: name})
			return err
		},
	} {
		hidden, absent := ask(ctx, "daily"), ask(ctx, "absent")
		if !errors.Is(hidden, ErrNotFound) || strings.ReplaceAll(hidden.Error(), "daily", "absent") != absent.Error() {
			t.Errorf("%s: %v, but of one that is not there: %v", what, hidden, absent)
		}
	}
	for scope, want := range map[string]string{"orders": `[]`, "daily": `"sql":""`, "daily,payments": `"sql":"SELECT`} {
		ctx := access.With(t.Context(), &access.Principal{Name: "p", Tables: strings.Split(scope, ",")})
		list, err := c.Views(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := json.Marshal(list); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s lists %s", scope, text)
		}
	}
}

func TestACutNamesOnlyWhatTheKeyMayKnow(t *testing.T) {
	c := scopedCore(t)
	payments, orders := event.Source{Stream: "payments", Epoch: 1}, event.Source{Stream: "orders", Epoch: 1}
	whole := event.Cut{payments: 3, orders: 4}
	marks := map[string]time.Time{"payments": time.Unix(1, 0), "orders": time.Unix(2, 0)}
	for scope, want := range map[string]event.Cut{"daily": {payments: 3}, "orders_dead": {orders: 4}, "payments,orders": whole, "tailwater.view_errors": {}} {
		ctx := access.With(t.Context(), &access.Principal{Name: "p", Tables: strings.Split(scope, ",")})
		if got := c.known(ctx, whole); !maps.Equal(got, want) {
			t.Errorf("%s: %v", scope, got)
		}
		if got := c.knownMarks(ctx, marks); len(got) != len(want) {
			t.Errorf("%s: %v", scope, got)
		}
		ev := c.scoped(ctx, &LiveEvent{Cut: whole, Head: whole, Batched: whole, Watermark: marks})
		if !maps.Equal(ev.Cut, want) || !maps.Equal(ev.Head, want) || !maps.Equal(ev.Batched, want) || len(ev.Watermark) != len(want) {
			t.Errorf("%s: %+v", scope, ev)
		}
		var refusal *Refusal
		if err := c.mayWait(ctx, &event.Position{Source: orders, Seq: 1}, nil); (err == nil) != (want[orders] > 0) || err != nil && !errors.As(err, &refusal) {
			t.Errorf("%s may wait: %v", scope, err)
		}
		if err := c.mayWait(ctx, nil, event.Cut{orders: 1}); (err == nil) != (want[orders] > 0) {
			t.Errorf("%s may ask for the past: %v", scope, err)
		}
	}
	if len(whole) != 2 || len(marks) != 2 {
		t.Error("what others share was changed")
	}
	if got := c.known(t.Context(), whole); !maps.Equal(got, whole) {
		t.Errorf("without authentication: %v", got)
	}
}

// Results are shared between those who ask the same; what they may see is not.
func TestSharedResultsAreHeldToTheScopeOfWhoAsks(t *testing.T) {
	r := newRig(t)
	r.send(20)
	scoped := func(tables ...string) context.Context {
		return access.With(t.Context(), &access.Principal{Name: "p", Tables: tables})
	}
	const total, raw = "SELECT c FROM total", "SELECT count(*) AS c FROM pay"
	for range 2 { // computed, then shared
		for _, ctx := range []context.Context{t.Context(), scoped("total")} {
			if text, err := textOf(r.SQL(ctx, SQLRequest{SQL: total})); err != nil || text != "20\n" {
				t.Errorf("%q %v", text, err)
			}
			if text, err := textOf(r.View(ctx, ViewRequest{Name: "total", Filter: view.Filter{Limit: 1}})); err != nil || !strings.HasPrefix(text, "20|") {
				t.Errorf("%q %v", text, err)
			}
		}
		if text, err := textOf(r.SQL(scoped("pay"), SQLRequest{SQL: raw})); err != nil || text != "20\n" {
			t.Errorf("%q %v", text, err)
		}
		var refusal *Refusal
		if _, err := r.SQL(scoped("total"), SQLRequest{SQL: raw}); !errors.As(err, &refusal) || refusal.Code != "unknown_table" {
			t.Errorf("a known result of a hidden table: %v", err)
		}
		if _, err := r.Prepare(scoped("total"), raw); !errors.As(err, &refusal) || refusal.Code != "unknown_table" {
			t.Errorf("prepared over a hidden table: %v", err)
		}
		if _, err := r.View(scoped("hourly"), ViewRequest{Name: "total"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a known result of a hidden view: %v", err)
		}
	}
	a, err := r.SQL(scoped("tailwater.view_errors"), SQLRequest{SQL: "SELECT 1 AS one"})
	if err != nil || len(a.Cut) != 0 || len(a.Head) != 0 || len(a.Watermark) != 0 {
		t.Errorf("%+v %v", a, err)
	}
	a.Close()
	if a, err = r.SQL(t.Context(), SQLRequest{SQL: "SELECT 1 AS one"}); err != nil || a.Cut[paySource] != 20 {
		t.Errorf("%+v %v", a, err)
	}
	a.Close()
}
