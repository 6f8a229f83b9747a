package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/robfig/cron/v3"

	"github.com/tailwater/tailwater/view"
)

// Views are compared with their SQL on a schedule too: a difference that nobody looks
// for is found before somebody decides by it.
const (
	// checkTime bounds one scheduled check: its warehouse transaction keeps the file
	// from being checkpointed.
	checkTime = 10 * time.Minute
	// restMax bounds the rest behind a check, which is as long as the check took: half
	// of one query's turn at most goes into checks.
	restMax = time.Minute
)

// Parity is what the checks of one view at the newest cut came to, whoever asked.
type Parity struct {
	// Checked is when the last one ended that could be made; zero if there was none.
	Checked    time.Time
	Difference int64 // that it found
	Took       time.Duration
	// Differences counts the checks since the start that found one; Failures those of
	// the schedule that could not be made.
	Differences, Failures uint64
	// Err is why the schedule's last check could not be made; nil if it was.
	Err error
}

// parity keeps the Parity of each view, and shows them as metrics.
type parity struct {
	mu     sync.Mutex
	byView map[string]Parity
}

func newParity() *parity { return &parity{byView: map[string]Parity{}} }

// checked notes a comparison.
func (p *parity) checked(check *Check, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.byView[check.View]
	known.Checked, known.Difference, known.Err = at, check.Difference, nil
	known.Took = time.Duration(check.ElapsedMS * float64(time.Millisecond))
	if check.Difference != 0 {
		known.Differences++
	}
	p.byView[check.View] = known
}

// failed notes that a comparison could not be made.
func (p *parity) failed(view string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.byView[view]
	known.Failures++
	known.Err = err
	p.byView[view] = known
}

// keep forgets the views that are gone.
func (p *parity) keep(plans map[string]*view.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.byView, func(name string, _ Parity) bool { return plans[name] == nil })
}

// Parity tells what the checks of a view came to.
func (c *Core) Parity(view string) Parity {
	c.parity.mu.Lock()
	defer c.parity.mu.Unlock()
	return c.parity.byView[view]
}

// ParityMetrics shows what the checks came to.
func (c *Core) ParityMetrics() prometheus.Collector { return c.parity }

var (
	descDifference  = prometheus.NewDesc("tailwater_view_check_difference", "Rows by which the view and its SQL over the raw events differed at the last check.", []string{"view"}, nil)
	descChecked     = prometheus.NewDesc("tailwater_view_check_last_success_timestamp_seconds", "When the last check of the view ended that could be made, whatever it found.", []string{"view"}, nil)
	descTook        = prometheus.NewDesc("tailwater_view_check_duration_seconds", "How long the last check of the view took.", []string{"view"}, nil)
	descDifferences = prometheus.NewDesc("tailwater_view_check_differences_total", "Checks of the view that found a difference.", []string{"view"}, nil)
	descFailures    = prometheus.NewDesc("tailwater_view_check_failures_total", "Scheduled checks of the view that could not be made.", []string{"view"}, nil)
)

// Describe implements prometheus.Collector.
func (p *parity) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDifference, descChecked, descTook, descDifferences, descFailures} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p *parity) Collect(ch chan<- prometheus.Metric) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for view, known := range p.byView {
		ch <- prometheus.MustNewConstMetric(descDifferences, prometheus.CounterValue, float64(known.Differences), view)
		ch <- prometheus.MustNewConstMetric(descFailures, prometheus.CounterValue, float64(known.Failures), view)
		if known.Checked.IsZero() {
			continue // 0 would read as no difference
		}
		ch <- prometheus.MustNewConstMetric(descDifference, prometheus.GaugeValue, float64(known.Difference), view)
		ch <- prometheus.MustNewConstMetric(descChecked, prometheus.GaugeValue, float64(known.Checked.UnixMilli())/1000, view)
		ch <- prometheus.MustNewConstMetric(descTook, prometheus.GaugeValue, known.Took.Seconds(), view)
	}
}

// CheckLoop compares all views with their SQL whenever they are due (nil: never), one
// after the other, until ctx ends.
func (c *Core) CheckLoop(ctx context.Context, schedule cron.Schedule) {
	for schedule != nil {
		now := time.Now()
		next := schedule.Next(now)
		// The zero time means never, as for the 30th of February.
		if next.IsZero() || !rest(ctx, next.Sub(now)) {
			return
		}
		c.checkAll(ctx)
	}
}

// checkAll makes one round.
func (c *Core) checkAll(ctx context.Context) {
	plans := c.definitions().Plans
	c.parity.keep(plans)
	for _, name := range sortedKeys(plans) {
		began := time.Now()
		limited, cancel := context.WithTimeoutCause(ctx, checkTime, fmt.Errorf("%w: a scheduled check has %s", ErrTimeout, checkTime))
		check, err := c.Check(limited, CheckRequest{View: name})
		cancel()
		switch {
		case ctx.Err() != nil, errors.Is(err, ErrNotReady):
			return // the next round will do
		case errors.Is(err, ErrNotFound): // it has just been taken away
		case err != nil:
			c.parity.failed(name, err)
			c.logger.Error("a view could not be compared with its SQL over the raw events; `tailwater view NAME --check` tries again", "view", name, "error", err)
		case check.Difference != 0:
			c.logger.Error("a view DIFFERS from its SQL over the raw events; keep this line, then `tailwater batch run --rebuild` makes the views anew from the lake",
				"view", name, "difference", check.Difference, "cut", check.Cut.String(), "missing", first(check.Missing), "extra", first(check.Extra))
		}
		if !rest(ctx, min(time.Since(began), restMax)) {
			return
		}
	}
}

// first gives one example of differing rows.
func first(rows []json.RawMessage) string {
	if len(rows) == 0 {
		return ""
	}
	return string(rows[0])
}

// rest waits, and reports whether ctx goes on.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
