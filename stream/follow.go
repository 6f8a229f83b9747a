package stream

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tailwater/tailwater/event"
)

// A follower is the part of a tap that one goroutine owns: where it is in the
// log, and what the next block continues.
type follower struct {
	t       *Tap
	decoder *Decoder

	at      uint64 // delivered through
	logTime int64  // running maximum through at, µs since 1970
	stamp   int64  // of the message at at
	schema  string // fingerprint of the schema that the last envelope was written under; empty if there was none
	blocks  uint64 // how many were delivered
	head    uint64 // the log is known to reach this far

	open        bool  // something was delivered since the last seal
	openLogTime int64 // log time of the first of it
	openBytes   int64 // message bytes of it
	age         *time.Timer

	waiting []sealRequest
	sub     *subscription
	subs    sync.WaitGroup
	retryAt time.Time // no new subscription before
	polled  uint64    // at, at the last poll
	away    bool      // the log did not answer the last poll
}

// A subscription reads the log on a goroutine of its own.
type subscription struct {
	messages chan Message
	failed   chan error // capacity 1
	cancel   context.CancelFunc
}

func (f *follower) run(ctx context.Context) error {
	defer f.subs.Wait()
	defer f.unsubscribe()
	f.age = time.NewTimer(time.Hour)
	f.age.Stop()
	defer f.age.Stop()
	poll := time.NewTicker(f.t.cfg.PollEvery)
	defer poll.Stop()
	if err := f.poll(ctx); err != nil {
		return err
	}
	for {
		if err := f.step(ctx, poll.C); err != nil {
			return err
		}
	}
}

// step delivers the next message, or waits for something to happen.
func (f *follower) step(ctx context.Context, poll <-chan time.Time) error {
	if err := f.serveSeals(ctx); err != nil {
		return err
	}
	h, ok, stale := f.t.handed.take(f.at + 1)
	if stale > f.logTime {
		// Every message through at counted towards log time: this one, of
		// an old sequence and a new stamp, was stored in place of another.
		return ErrRolledBack
	}
	if ok {
		f.unsubscribe()
		return f.deliver(ctx, decoded{seq: h.Seq, stamp: h.Stamp, size: h.Size, schema: f.t.fingerprint, rows: h.Rows, refused: h.Refused})
	}
	f.head = max(f.head, f.t.handed.offered())
	if f.sub == nil && f.head > f.at && !time.Now().Before(f.retryAt) {
		f.subscribe(ctx)
	}
	var messages chan Message
	var failed chan error
	if f.sub != nil {
		messages, failed = f.sub.messages, f.sub.failed
	}
	select {
	case m := <-messages:
		return f.read(ctx, m)
	case err := <-failed:
		f.unsubscribe()
		f.retryAt = time.Now().Add(time.Second / 4)
		f.t.cfg.Logger.Warn("reading the log failed; trying again", "source", f.t.cfg.Source.String(), "after", f.at, "error", err)
		return nil
	case <-f.t.handed.ready:
		return nil
	case req := <-f.t.seals:
		f.waiting = append(f.waiting, req)
		f.head = max(f.head, req.target)
		return nil
	case <-f.age.C:
		return f.seal(ctx)
	case <-poll:
		return f.poll(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *follower) subscribe(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	s := &subscription{messages: make(chan Message), failed: make(chan error, 1), cancel: cancel}
	f.sub = s
	f.t.reading.Store(true)
	after := f.at
	f.subs.Go(func() {
		err := f.t.cfg.Log.Subscribe(ctx, after, func(m Message) error {
			select {
			case s.messages <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		s.failed <- err
	})
}

func (f *follower) unsubscribe() {
	if f.sub != nil {
		f.sub.cancel()
		f.sub = nil
		f.t.reading.Store(false)
	}
}

// read delivers a message of the log. One that is no envelope becomes a single
// refused record: its position stays, and nothing behind it is held up.
func (f *follower) read(ctx context.Context, m Message) error {
	if m.Seq <= f.at {
		return nil // a range that was given up as lost overtook the subscription
	}
	if m.Seq > f.at+1 {
		if err := f.skipLost(ctx); err != nil {
			return err
		}
	}
	d := decoded{seq: m.Seq, size: len(m.Data)}
	env, err := f.decoder.Decode(m.Data)
	if err == nil {
		d.stamp, d.schema, d.rows, d.refused = env.Stamp, env.Fingerprint, env.Rows, env.Refused
	} else {
		d.stamp = StampOf(m)
		d.refused = []event.Refused{trimRefused(event.Refused{Reason: "log message: " + err.Error(), Raw: m.Data})}
		f.t.mu.Lock()
		f.t.failures++
		f.t.mu.Unlock()
		f.t.cfg.Logger.Error("log message cannot be decoded; kept as a dead letter", "source", f.t.cfg.Source.String(), "seq", m.Seq, "error", err)
	}
	return f.deliver(ctx, d)
}

// poll asks for the log's head. It finds what nobody handed over, and tells a
// quiet log from one whose next messages are missing.
func (f *follower) poll(ctx context.Context) error {
	first, last, err := f.t.cfg.Log.Bounds(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !f.away { // once an outage, not once a poll
			f.t.cfg.Logger.Warn("the log does not answer; trying again until it does", "source", f.t.cfg.Source.String(), "error", err)
		}
		f.away = true
		return nil
	}
	if f.away {
		f.t.cfg.Logger.Info("the log answers again", "source", f.t.cfg.Source.String())
	}
	f.away = false
	f.head = max(f.head, last)
	stalled := f.polled == f.at
	f.polled = f.at
	switch {
	case last < f.at:
		return ErrRolledBack
	case first > f.at+1:
		return f.lose(ctx, first-1)
	case last > f.at && stalled:
		// Nothing came since the last poll although the log goes on. Were
		// the messages deleted, no reader would ever see one.
		_, err := f.t.cfg.Log.Next(ctx, f.at)
		if errors.Is(err, ErrNotExist) {
			return f.advance(ctx, last)
		}
	}
	return nil
}

// skipLost accounts for purged messages after at, if there are any.
func (f *follower) skipLost(ctx context.Context) error {
	first, _, err := f.t.cfg.Log.Bounds(ctx)
	for err != nil { // bounded by ctx: losses must not pass for a normal gap
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.t.cfg.PollEvery):
		}
		first, _, err = f.t.cfg.Log.Bounds(ctx)
	}
	if first > f.at+1 {
		return f.lose(ctx, first-1)
	}
	return nil
}

// lose records that the messages through the sequence given are gone, and
// goes on behind them. An empty block stands for their range, so that ranges
// still tile; it brings no stamp, as nobody knows that of its end.
func (f *follower) lose(ctx context.Context, through uint64) error {
	r := event.Range{Source: f.t.cfg.Source, After: f.at, Through: through}
	f.t.mu.Lock()
	f.t.lost = append(f.t.lost, r)
	f.t.mu.Unlock()
	f.t.cfg.Logger.Error("events lost: they were removed from the log before they were landed; let nothing but this program purge its log", "range", r.String())
	return f.advance(ctx, through)
}

// advance delivers an empty block for messages that do not exist.
func (f *follower) advance(ctx context.Context, through uint64) error {
	b := f.block(through)
	f.stamp, b.Stamp = 0, 0
	f.opened(0)
	return f.send(ctx, b)
}
