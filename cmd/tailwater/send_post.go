package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/tailwater/tailwater/event"
)

// rejectionsShown is how many rejected events are printed: enough to see what
// they have in common.
const rejectionsShown = 10

// A rejection is why an event was not accepted. Line is its number in the file.
type rejection struct {
	Line   int64  `json:"line"`
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// A sendTally is what became of the events so far. Senders share it.
type sendTally struct {
	unit string // of rejection.Line

	mu       sync.Mutex
	accepted int64
	rejected int64
	retries  int64
	first    []rejection
	last     event.Position
}

// A sendAnswer is what the server answers a request for ingestion; an error has
// the members too if a part of the request was stored.
type sendAnswer struct {
	Accepted      int64       `json:"accepted"`
	Rejected      []rejection `json:"rejected"`
	RejectedTotal int64       `json:"rejected_total"`
	Position      string      `json:"position"`
}

// add counts the answer to a batch, whose lines become the file's.
func (t *sendTally) add(a *sendAnswer, b *sendBatch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted += a.Accepted
	t.rejected += max(a.RejectedTotal, int64(len(a.Rejected)))
	for _, r := range a.Rejected {
		if len(t.first) == rejectionsShown {
			break
		}
		if r.Line >= 1 && r.Line <= int64(len(b.lines)) {
			r.Line = b.lines[r.Line-1]
		}
		t.first = append(t.first, r)
	}
	if a.Position == "" {
		return nil
	}
	p, err := event.ParsePosition(a.Position)
	if err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if t.last.Stream == "" || t.last.Epoch < p.Epoch || t.last.Epoch == p.Epoch && t.last.Seq < p.Seq {
		t.last = p
	}
	return nil
}

// position gives the last position that was answered, "" if there is none.
func (t *sendTally) position() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.Stream == "" {
		return ""
	}
	return t.last.String()
}

func (t *sendTally) counts() (accepted, rejected, retries int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accepted, t.rejected, t.retries
}

// attemptsMax bounds how often a batch is sent: with waits that double to 10 s
// and those the server asks for, some five minutes, in which a log that is full
// can land.
const attemptsMax = 40

// post sends a batch until the server has it. It is sent again when the server
// says that it stored nothing, when no connection was made, and, for a stream
// with ids, when it is not known whether it was stored: the ids then keep it
// from counting twice.
func (c *SendCmd) post(ctx context.Context, b *sendBatch, hasID bool, t *sendTally) error {
	r := request{method: http.MethodPost, path: "/v1/streams/" + url.PathEscape(c.Stream) + "/events", contentType: "application/x-ndjson", body: b.body}
	wait := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		var answer sendAnswer
		_, err := c.getJSON(ctx, r, &answer)
		if err == nil {
			return t.add(&answer, b)
		}
		again, retryAfter, err := c.judge(err, b, hasID, t)
		if !again || attempt == attemptsMax || ctx.Err() != nil {
			return err
		}
		t.mu.Lock()
		t.retries++
		t.mu.Unlock()
		if err := sleep(ctx, max(wait, retryAfter)); err != nil {
			return err
		}
		wait = min(2*wait, 10*time.Second)
	}
}

// judge decides whether a batch may be sent again after err, and when.
func (c *SendCmd) judge(err error, b *sendBatch, hasID bool, t *sendTally) (again bool, after time.Duration, _ error) {
	var refused *apiError
	if errors.As(err, &refused) {
		var part sendAnswer
		if json.Unmarshal(refused.body, &part) == nil && part.Accepted+int64(len(part.Rejected)) > 0 && !hasID {
			return false, 0, errors.Join(fmt.Errorf("%w; of the batch of records %d to %d, %d were stored, and without ids (`-- id: column`) sending it again would double them", err, b.lines[0], b.lines[len(b.lines)-1], part.Accepted), t.add(&part, b))
		}
		again = refused.Status == http.StatusServiceUnavailable || refused.Status == http.StatusTooManyRequests
		return again, refused.RetryAfter, err
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		accepted, rejected, _ := t.counts()
		return accepted+rejected > 0, 0, err // a server that was there is awaited, one that never was is reported
	}
	if hasID {
		return true, 0, err
	}
	return false, 0, fmt.Errorf("%w; whether records %d to %d were stored is not known, and without ids (`-- id: column`) they are not sent again", err, b.lines[0], b.lines[len(b.lines)-1])
}
