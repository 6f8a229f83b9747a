package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// dashboardEvery is how often a user's dashboard asks anew, and dashboardSpan what
// time it shows: "last 30 minutes", rounded to the minute as now/m is in Grafana.
const (
	dashboardEvery = time.Second
	dashboardSpan  = 30 * time.Minute
)

// dashboardLimit is how long the slowest of a hundred panels may take, ms.
const dashboardLimit = 300

// A panel asks for a view by its address, or for a statement, in which $from and
// $to are the ends of the time shown. Conditions on time are as Grafana's macros
// write them.
type panel struct{ name, path, sql string }

// panels are the 20 of the dashboard: charts over time, single numbers, tables of
// the greatest, and the newest of the stream.
func panels() []panel {
	const (
		windows = " WHERE window_start BETWEEN '$from' AND '$to'"
		latest  = " WHERE ts BETWEEN '$latest' AND '$to'"
		minute  = "floor(extract(epoch from %s)/60)*60 AS \"time\""
	)
	byWindow, byEvent := fmt.Sprintf(minute, "window_start"), fmt.Sprintf(minute, "ts")
	all := []panel{
		{name: "revenue by minute", sql: "SELECT " + byWindow + ", sum(revenue) AS revenue FROM revenue" + windows + " GROUP BY 1 ORDER BY 1"},
		{name: "payments by minute", sql: "SELECT " + byWindow + ", sum(payments) AS payments FROM revenue" + windows + " GROUP BY 1 ORDER BY 1"},
		{name: "largest by minute", sql: "SELECT " + byWindow + ", max(largest) AS largest FROM revenue" + windows + " GROUP BY 1 ORDER BY 1"},
		{name: "merchants by minute", sql: "SELECT " + byWindow + ", count(*) AS merchants FROM revenue" + windows + " GROUP BY 1 ORDER BY 1"},
		{name: "revenue", sql: "SELECT sum(revenue) AS revenue FROM revenue" + windows},
		{name: "mean", sql: "SELECT sum(revenue) / sum(payments) AS mean FROM revenue" + windows},
		{name: "top 10 merchants", sql: "SELECT merchant, sum(revenue) AS revenue FROM revenue" + windows + " GROUP BY merchant ORDER BY revenue DESC LIMIT 10"},
		{name: "busiest 10 merchants", sql: "SELECT merchant, sum(payments) AS payments FROM revenue" + windows + " GROUP BY merchant ORDER BY payments DESC LIMIT 10"},
		{name: "countries", path: "/v1/views/countries?order=-payments"},
		{name: "top 5 countries", path: "/v1/views/countries?order=-large&limit=5"},
		{name: "payments of all time", sql: "SELECT sum(payments) AS payments FROM countries"},
		{name: "share of the large", sql: "SELECT country, large / payments AS share FROM countries ORDER BY share DESC LIMIT 5"},
		{name: "newest", sql: "SELECT ts AS \"time\", merchant, amount, currency, status FROM payments" + latest + " ORDER BY ts DESC LIMIT 20"},
		{name: "statuses by minute", sql: "SELECT " + byEvent + ", status, count(*) AS payments FROM payments" + latest + " GROUP BY 1, 2 ORDER BY 1"},
		{name: "latency by minute", sql: "SELECT " + byEvent + ", avg(latency_ms) AS mean, max(latency_ms) AS greatest FROM payments" + latest + " GROUP BY 1 ORDER BY 1"},
		{name: "currencies", sql: "SELECT currency, count(*) AS payments, sum(amount) AS amount FROM payments" + latest + " GROUP BY currency ORDER BY payments DESC"},
	}
	for i := range 4 {
		all = append(all, panel{name: "one merchant", path: fmt.Sprintf("/v1/views/revenue?where.merchant=merchant-%06d&from=$from&to=$to", i*i*60)})
	}
	return all
}

// request gives the panel's request at a time.
func (p panel) request(host string, now time.Time) []byte {
	to := now.UTC().Truncate(time.Minute).Add(time.Minute)
	text := func(t time.Time) string { return t.Format(time.RFC3339) }
	times := strings.NewReplacer("$from", text(to.Add(-dashboardSpan)), "$to", text(to), "$latest", text(to.Add(-3*time.Minute)))
	if p.path != "" {
		return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", times.Replace(p.path), host)
	}
	sql := times.Replace(p.sql)
	return fmt.Appendf(nil, "POST /v1/sql HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", host, len(sql), sql)
}

// A viewing is users who look at the dashboard: each panel of each has a connection
// of its own, as through a proxy, and asks when it is due, not when it is ready:
// what it waits for its own last answer counts.
type viewing struct {
	addr    string
	users   int
	length  time.Duration
	whole   bool // answers must be complete: all but those of the null server
	mu      sync.Mutex
	took    []float64
	byPanel map[string][]float64
	failed  atomic.Uint64
	busy    atomic.Uint64 // of the failed, those that were told to come again later
}

func (v *viewing) run(ctx context.Context) error {
	all := panels()
	v.byPanel = map[string][]float64{}
	var running sync.WaitGroup
	errs := make([]error, v.users*len(all))
	began := time.Now()
	for i := range errs {
		user, p := i/len(all), all[i%len(all)]
		phase := dashboardEvery * time.Duration(user) / time.Duration(v.users)
		running.Go(func() { errs[i] = v.watch(ctx, p, began.Add(phase)) })
	}
	running.Wait()
	return errors.Join(append(errs, context.Cause(ctx))...)
}

// watch asks for one panel of one user from its first refresh on.
func (v *viewing) watch(ctx context.Context, p panel, due time.Time) error {
	c, err := dial(v.addr, 64<<10)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	var took []float64
	for end := due.Add(v.length); due.Before(end); due = due.Add(dashboardEvery) {
		if err := pause(ctx, time.Until(due)); err != nil {
			return err
		}
		code, body, err := c.ask(p.request(v.addr, due))
		switch {
		case err != nil:
			return fmt.Errorf("panel %s: %w", p.name, err)
		case code == 429:
			v.busy.Add(1)
			v.failed.Add(1)
		case code == 400:
			return fmt.Errorf("panel %s: answer %d: %s", p.name, code, body)
		case code != 200 || v.whole && !bytes.Contains(body, []byte(`"complete":true`)):
			v.failed.Add(1)
		}
		took = append(took, ms(time.Since(due)))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.took = append(v.took, took...)
	v.byPanel[p.name] = append(v.byPanel[p.name], took...)
	return nil
}

// slowest gives the panel whose p99 is the greatest.
func (v *viewing) slowest() (name string, p99 float64) {
	for n, took := range v.byPanel {
		if q := quantile(took, 0.99); q > p99 {
			name, p99 = n, q
		}
	}
	return name, p99
}

// dashboard lets users look at a dashboard of the server, and of one that answers
// everything with nothing.
func (b *bench) dashboard(ctx context.Context, p, null *process) error {
	b.progress.say("query/dashboard: %d users for %s", b.sizes.users, b.sizes.dashboardFor)
	bare := &viewing{addr: null.addr, users: b.sizes.users, length: min(b.sizes.dashboardFor, 4*time.Second)}
	if err := bare.run(ctx); err != nil {
		return err
	}
	v := &viewing{addr: p.addr, users: b.sizes.users, length: b.sizes.dashboardFor, whole: true}
	server, err := p.cpu()
	if err != nil {
		return err
	}
	own, began := selfCPU(), time.Now()
	others := othersCPU(server, own)
	if err := v.run(ctx); err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	end, err := p.cpu()
	if err != nil {
		return err
	}
	ownEnd := selfCPU()
	name, p99 := v.slowest()
	more := []Figure{
		{"failed", float64(v.failed.Load())}, {"of_these_429", float64(v.busy.Load())}, {"requests_per_s", float64(len(v.took)) / seconds},
		{"server_cores", (end - server).Seconds() / seconds}, {"client_cores", (ownEnd - own).Seconds() / seconds},
		{"others_cores", (othersCPU(end, ownEnd) - others).Seconds() / seconds}, {"slowest_panel_p99_ms", p99},
	}
	target := atMost(dashboardLimit)
	if n := v.failed.Load(); n > 0 {
		target.Broken = fmt.Sprintf("%d of %d requests failed", n, len(v.took))
	}
	const limitIs = "the same requests to a server that answers nothing"
	b.add(Result{Name: "query/dashboard/p50", Value: quantile(v.took, 0.5), Unit: "ms", Limit: quantile(bare.took, 0.5), LimitIs: limitIs, More: more, Note: "slowest panel: " + name})
	b.add(Result{Name: "query/dashboard/p99", Value: quantile(v.took, 0.99), Unit: "ms", Limit: quantile(bare.took, 0.99), LimitIs: limitIs, Target: target, More: latencies("", v.took)[2:]})
	return nil
}
