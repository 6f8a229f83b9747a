package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/tailwater/tailwater/demo"
)

const (
	// feedEvery is the least time between two requests: each costs a sync of the
	// log, and nobody sees the wait.
	feedEvery = 40 * time.Millisecond
	// A request becomes one log message, so it is stored whole or not at all, and
	// the newest id tells everything that was sent before it.
	feedPaymentsMax = 2500
	feedBytesMax    = batchBytesMax
	// backfillMax bounds the payments between the newest one and now.
	backfillMax = 200_000
	// behindMax is how far the payments may fall behind the clock before they go
	// on from now: after an outage there would be no end of catching up.
	behindMax = 5 * time.Second
	// repeatWithin is inside the stream's dedup-window, with room for what lies
	// between reading the newest payment and sending it again.
	repeatWithin = time.Minute
	repeated     = 100 // payments
	// feedWaitMax bounds the wait between two tries of one request.
	feedWaitMax = 5 * time.Second
)

// A feeder sends generated payments to a server, in order and one request at a
// time, without leaving one out: a request is tried until it is answered.
type feeder struct {
	remote
	seed    uint64
	rate    float64
	history time.Duration
	logger  *slog.Logger
	now     func() time.Time

	next     uint64       // the first payment that was not answered
	sent     atomic.Int64 // payments that were answered
	rejected atomic.Int64 // records that did not fit
}

// run sends until ctx ends, which is no error. It goes on after the newest
// payment that the server has: first the time from then until now is filled, then
// begun is called, then payments come as their time comes.
func (f *feeder) run(ctx context.Context, begun func()) error {
	err := f.feed(ctx, begun)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (f *feeder) feed(ctx context.Context, begun func()) error {
	if err := f.awaitReady(ctx); err != nil {
		return err
	}
	have, err := f.newest(ctx)
	if err != nil {
		return err
	}
	now := f.now()
	since := now.Add(-f.history)
	if have.some {
		f.next = have.n + 1
		if have.ts.After(since) {
			since = have.ts
		}
		if err := f.repeat(ctx, have, now); err != nil {
			return err
		}
	}
	if err := f.backfill(ctx, since, now); err != nil {
		return err
	}
	if !have.some && f.next > 0 {
		if err := f.batch(ctx); err != nil {
			return err
		}
	}
	begun()
	return f.live(ctx, now)
}

// newestPayment is the last one that the server has, if it has some.
type newestPayment struct {
	some   bool
	n      uint64
	ts     time.Time
	stored time.Time
}

// awaitReady waits until the server gives answers.
func (f *feeder) awaitReady(ctx context.Context) error {
	for {
		_, err := f.getJSON(ctx, request{method: http.MethodGet, path: "/readyz"}, &struct{}{})
		if err == nil {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// newest asks a server that is ready, and so has applied everything that was
// stored before it started: no payment with a greater number exists.
func (f *feeder) newest(ctx context.Context) (have newestPayment, _ error) {
	body, err := json.Marshal(map[string]string{
		"sql": "SELECT max(id) AS id, max(ts) AS ts, max(_ingested_at) AS stored FROM " + demo.Stream + " WHERE regexp_full_match(id, '" + demo.IDPattern + "')",
	})
	if err != nil {
		return have, err
	}
	var answer struct {
		Data []struct {
			ID         *string
			TS, Stored *time.Time
		}
	}
	r := request{method: http.MethodPost, path: "/v1/sql", query: url.Values{"timeout": {"5m"}}, contentType: "application/json", body: body}
	if err := f.insist(ctx, r, &answer); err != nil {
		return have, fmt.Errorf("ask for the newest payment: %w", err)
	}
	if len(answer.Data) != 1 || answer.Data[0].ID == nil {
		return have, nil
	}
	row := answer.Data[0]
	have = newestPayment{some: true, ts: *row.TS, stored: *row.Stored}
	have.n, err = demo.Number(*row.ID)
	return have, err
}

// repeat sends the newest payments once more, as a client must that died before
// its request was answered. Their ids make them one.
func (f *feeder) repeat(ctx context.Context, have newestPayment, now time.Time) error {
	if now.Sub(have.stored) > repeatWithin {
		return nil
	}
	g := demo.New(f.seed, f.rate, have.ts, f.next)
	var body []byte
	for n := f.next - min(repeated, f.next); n < f.next; n++ {
		body = g.AppendPayment(body, n) // without what did not fit: it has no id that would make it one
	}
	f.logger.Info("demo: going on", "after", demo.ID(have.n), "repeated", min(repeated, f.next))
	return f.post(ctx, body)
}

// backfill sends payments for the time between, more thinly if that is long, as
// fast as the server takes them.
func (f *feeder) backfill(ctx context.Context, since, until time.Time) error {
	passed := until.Sub(since).Seconds()
	if passed <= 0 {
		return nil
	}
	g := demo.New(f.seed, min(f.rate, backfillMax/passed), since, f.next)
	end := g.Due(until)
	f.logger.Info("demo: filling the time until now", "since", since.UTC().Format(time.RFC3339), "payments", end-f.next)
	for f.next < end {
		if err := f.request(ctx, g, end); err != nil {
			return err
		}
	}
	return nil
}

// batch lands the history and runs batch, so that the first look finds it in the
// warehouse. A run that fails is the schedule's to repeat.
func (f *feeder) batch(ctx context.Context) error {
	var run batchRun
	_, err := f.getJSON(ctx, request{method: http.MethodPost, path: "/v1/batch/run"}, &run)
	if err == nil && run.Error != "" {
		err = errors.New(run.Error)
	}
	if err != nil && ctx.Err() == nil {
		f.logger.Warn("demo: the batch run over the history; the next scheduled run repeats it", "error", err)
	}
	return ctx.Err()
}

// live sends each payment when its time has come.
func (f *feeder) live(ctx context.Context, start time.Time) error {
	g := demo.New(f.seed, f.rate, start, f.next)
	for {
		began := f.now()
		if behind := began.Sub(g.At(f.next)); behind > behindMax {
			f.logger.Warn("demo: the server takes less than the rate; payments go on from now", "rate", f.rate, "behind", behind.Round(time.Millisecond))
			g = demo.New(f.seed, f.rate, began, f.next)
		}
		for end := g.Due(began); f.next < end; {
			if err := f.request(ctx, g, end); err != nil {
				return err
			}
		}
		due := g.At(f.next)
		if next := began.Add(feedEvery); due.Before(next) {
			due = next
		}
		if err := sleep(ctx, due.Sub(f.now())); err != nil {
			return err
		}
	}
}

// request sends the next payments before end that fit into one.
func (f *feeder) request(ctx context.Context, g *demo.Generator, end uint64) error {
	n := f.next
	var body []byte
	for n < end && n-f.next < feedPaymentsMax && len(body) < feedBytesMax-4<<10 {
		body = g.Append(body, n)
		n++
	}
	if err := f.post(ctx, body); err != nil {
		return err
	}
	f.sent.Add(int64(n - f.next))
	f.next = n
	return nil
}

func (f *feeder) post(ctx context.Context, body []byte) error {
	var answer sendAnswer
	r := request{method: http.MethodPost, path: "/v1/streams/" + demo.Stream + "/events", contentType: "application/x-ndjson", body: body}
	if err := f.insist(ctx, r, &answer); err != nil {
		return fmt.Errorf("send payments: %w", err)
	}
	if answer.Accepted == 0 {
		why := ""
		if len(answer.Rejected) > 0 {
			why = printable(answer.Rejected[0].Field + ": " + answer.Rejected[0].Reason)
		}
		return fmt.Errorf("send payments: none of them fits the stream %s (%s); give it its columns back, or remove the data directory", demo.Stream, why)
	}
	f.rejected.Add(max(answer.RejectedTotal, int64(len(answer.Rejected))))
	return nil
}

// insist sends the same request until it is answered with a success, or refused
// for good. Whatever else happens, the server may have stored it: only payments
// and questions may be sent so.
func (f *feeder) insist(ctx context.Context, r request, into any) error {
	wait := 50 * time.Millisecond
	for {
		_, err := f.getJSON(ctx, r, into)
		var refused *apiError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && !passing(refused.Status):
			return err
		}
		after := wait
		if refused != nil {
			after = max(wait, refused.RetryAfter)
		}
		if wait >= time.Second {
			f.logger.Warn("demo: no answer yet; trying again", "path", r.path, "error", err)
		}
		if err := sleep(ctx, after); err != nil {
			return err
		}
		wait = min(2*wait, feedWaitMax)
	}
}

// passing tells of a status whether the same request may be answered later.
func passing(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}
