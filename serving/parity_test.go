package serving

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// atOnce is due at once.
type atOnce struct{}

func (atOnce) Next(now time.Time) time.Time { return now.Add(time.Millisecond) }

// lines hands on what is logged, a line at a time.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(bytes.TrimSpace(b))
	return len(b), nil
}

// distort makes the core take other SQL for a view's than what the layers hold the
// partial rows of.
func (r *rig) distort(name, sql string) {
	r.t.Helper()
	planner, err := view.NewPlanner(r.t.Context())
	must(r.t, err)
	defer planner.Close()
	plan, err := planner.Plan(r.t.Context(), view.Definition{Name: name, SQL: sql}, map[string]*event.Schema{"pay": paySchema()})
	must(r.t, err)
	plans := r.engine.State().Definitions.Plans
	plan.Version = plans[name].Version // by which the layers find what they hold
	plans[name] = plan
}

func TestTheScheduleFindsAViewThatDiffersFromItsSQL(t *testing.T) {
	r := newRig(t)
	r.send(50)
	cut := r.cutNow()
	r.send(30)
	r.distort("total", "SELECT count(*) AS c, sum(n + 1) AS s FROM pay")
	logged := make(lines)
	r.Core.logger = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelError}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.CheckLoop(ctx, atOnce{}) }()
	var line string
	for range 2 { // rounds: it goes on behind a difference
		select {
		case line = <-logged:
		case <-time.After(time.Minute):
			t.Fatal("nothing is logged")
		}
	}
	cancel()
	for open := true; open; {
		select {
		case <-logged:
		case <-ended:
			open = false
		}
	}
	for _, want := range []string{"view=total", "difference=2", `cut=pay/1/0:80`, "missing=", "extra=", "--rebuild"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	if known := r.Parity("total"); known.Difference != 2 || known.Differences < 2 || known.Err != nil || time.Since(known.Checked) > time.Minute {
		t.Errorf("total: %+v", known)
	}
	if known := r.Parity("hourly"); known.Difference != 0 || known.Differences != 0 || known.Checked.IsZero() || known.Took <= 0 {
		t.Errorf("hourly: %+v", known)
	}
	// At a past cut the partial rows are made anew, by the SQL that the core has.
	check, err := r.Check(t.Context(), CheckRequest{View: "total", At: cut})
	if err != nil || check.Difference != 0 || check.Cut[paySource] != 50 {
		t.Errorf("at %s: %+v, %v", cut, check, err)
	}
	if r.Parity("total").Difference != 2 {
		t.Error("a check at a past cut counts as one of now")
	}
}

func TestChecksThatCannotBeMadeAreCounted(t *testing.T) {
	r := newRig(t)
	r.send(5)
	ctx, cancel := context.WithCancel(t.Context())
	r.parity.failed("total", ErrIncomplete)
	if known := r.Parity("total"); known.Failures != 1 || known.Err == nil || !known.Checked.IsZero() {
		t.Errorf("%+v", known)
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(r.ParityMetrics())
	if got := valuesOf(t, metrics); got["tailwater_view_check_failures_total"] != 1 || len(got) != 2 {
		t.Errorf("before a check: %v", got)
	}
	_, err := r.Check(ctx, CheckRequest{View: "total"})
	must(t, err)
	got := valuesOf(t, metrics)
	if got["tailwater_view_check_difference"] != 0 || got["tailwater_view_check_duration_seconds"] <= 0 || len(got) != 5 ||
		got["tailwater_view_check_last_success_timestamp_seconds"] < float64(time.Now().Unix()-60) || r.Parity("total").Err != nil {
		t.Errorf("after a check: %v", got)
	}
	cancel()
	r.CheckLoop(ctx, atOnce{}) // returns
	r.CheckLoop(t.Context(), nil)
}

// valuesOf gives the metrics by name; there is one of each.
func valuesOf(t *testing.T, metrics prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := metrics.Gather()
	must(t, err)
	out := map[string]float64{}
	for _, f := range families {
		m := f.Metric[0]
		out[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return out
}
