package stream

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/fault"
)

// A request is one submission, or a part of one, that travels in one envelope.
type request struct {
	rows    arrow.RecordBatch // nil if none
	refused []event.Refused
	bytes   int // about, when encoded
	done    chan result
}

// A result answers a request: the position of its last record.
type result struct {
	at  event.Position
	err error
}

// cut makes the requests of a submission: one, unless it is larger than an
// envelope should be.
func (p *Publisher) cut(rows arrow.RecordBatch, refused []event.Refused) ([]*request, error) {
	var out []*request
	add := func(rows arrow.RecordBatch, refused []event.Refused) error {
		r := &request{rows: rows, refused: refused, done: make(chan result, 1)}
		r.bytes = headerBytes + rowsBytes(rows) + refusedBytes(refused)
		// The metadata of the batch takes some 50 bytes a column.
		if r.bytes+1024+64*len(p.schema.Columns) > MaxMessageBytes {
			return ErrTooLarge
		}
		out = append(out, r)
		return nil
	}
	if rows != nil && rows.NumRows() == 0 {
		rows = nil
	}
	if rowsBytes(rows)+refusedBytes(refused) <= p.cfg.TargetBytes {
		if rows == nil && len(refused) == 0 {
			return nil, nil
		}
		err := add(rows, refused)
		return out, err
	}
	if rows != nil {
		if err := p.halve(rows, add); err != nil {
			return nil, err
		}
	}
	for len(refused) > 0 {
		n := 1
		for n < len(refused) && refusedBytes(refused[:n+1]) <= p.cfg.TargetBytes && n < 4096 {
			n++
		}
		if err := add(nil, refused[:n]); err != nil {
			return nil, err
		}
		refused = refused[n:]
	}
	return out, nil
}

// halve cuts rows until each part fits, and adds the parts in order.
func (p *Publisher) halve(rows arrow.RecordBatch, add func(arrow.RecordBatch, []event.Refused) error) error {
	n := rows.NumRows()
	if n == 1 || rowsBytes(rows) <= p.cfg.TargetBytes {
		return add(rows, nil)
	}
	if err := p.halve(rows.NewSlice(0, n/2), add); err != nil {
		return err
	}
	return p.halve(rows.NewSlice(n/2, n), add)
}

// A group is the requests of one envelope on its way.
type group struct {
	requests []*request
	env      Envelope
	data     []byte
	ctx      context.Context // ends at the group's timeout
	cancel   context.CancelFunc
	pending  Pending // nil if the append failed with err
	err      error
}

// form merges requests into an envelope; nil if that failed, and the
// requests are answered.
func (p *Publisher) form(requests []*request) *group {
	g := &group{requests: requests, cancel: func() {}}
	var batches []arrow.RecordBatch
	for _, r := range requests {
		if r.rows != nil {
			batches = append(batches, r.rows)
		}
		for i := range r.refused {
			g.env.Refused = append(g.env.Refused, trimRefused(r.refused[i]))
		}
	}
	var err error
	if g.env.Rows, err = concat(p.arrow, batches); err == nil {
		p.lastStamp = max(p.cfg.Now().UnixMicro(), p.lastStamp+1)
		g.env.ID, g.env.Stamp = newID(), p.lastStamp
		g.data, err = Encode(&g.env, p.schema)
	}
	if err != nil {
		p.finish(g, outcome{err: fmt.Errorf("form envelope: %w", err)})
		return nil
	}
	return g
}

// An outcome is what became of a group.
type outcome struct {
	seq uint64
	err error
}

// settle waits for the group's append. After an ambiguous failure it appends
// again with the same id until the outcome is known or the group's time is up.
func (p *Publisher) settle(g *group) outcome {
	defer g.cancel()
	backoff := 20 * time.Millisecond
	for {
		err := g.err
		if err == nil {
			var seq uint64
			if seq, err = g.pending.Wait(g.ctx); err == nil {
				if err = fault.Hit(fault.LogAckLost); err == nil {
					return outcome{seq: seq}
				}
			}
		}
		if errors.Is(err, ErrFull) || errors.Is(err, ErrTooLarge) {
			return outcome{err: err}
		}
		p.cfg.Logger.Warn("append to the log failed; trying again", "stream", p.source.Stream, "error", err)
		select {
		case <-g.ctx.Done():
			return outcome{err: fmt.Errorf("%w (%w)", ErrUnavailable, err)}
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, time.Second)
		g.pending, g.err = p.log.Append(g.ctx, hex.EncodeToString(g.env.ID[:]), g.data)
	}
}

// finish hands a stored envelope over, answers the group's requests and
// makes room.
func (p *Publisher) finish(g *group, o outcome) {
	if o.err == nil && p.cfg.Handoff != nil {
		p.cfg.Handoff(Handed{Seq: o.seq, Stamp: g.env.Stamp, Rows: g.env.Rows, Refused: g.env.Refused, Size: len(g.data)})
	}
	p.mu.Lock()
	p.flying--
	var full *FullError
	if errors.As(o.err, &full) {
		p.fullUntil = time.Now().Add(full.Retry)
	}
	p.changed.Broadcast()
	p.mu.Unlock()
	rows := uint32(0)
	if g.env.Rows != nil {
		rows = uint32(g.env.Rows.NumRows())
	}
	nextRow, nextRefused := uint32(0), rows
	for _, r := range g.requests {
		at := event.Position{Source: p.source, Seq: o.seq}
		if r.rows != nil {
			nextRow += uint32(r.rows.NumRows())
			at.Idx = nextRow - 1
		}
		if n := len(r.refused); n > 0 {
			nextRefused += uint32(n)
			at.Idx = nextRefused - 1
		}
		p.room.Release(min(int64(r.bytes), p.cfg.MaxPendingBytes))
		r.done <- result{at: at, err: o.err}
	}
}
