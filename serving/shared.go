package serving

import (
	"container/list"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
)

// Bounds of what is kept. A dashboard's panel is some hundred rows; a result beyond
// maxSharedBytes is streamed to the one who asked.
const (
	maxSharedBytes = 1 << 20
	maxQuestions   = 10_000
	// largeFor is how long a question whose result was too large is not tried again:
	// those who wait for such a result wait in vain.
	largeFor = time.Minute
)

// shared keeps the results of questions by (question, cut), and lets those who ask
// the same at the same time share one computation.
//
// A result may be given to whoever asked when no more than its cut was applied, of
// the streams that it reads: to him it is as new as one made for him alone. Whoever
// asks while a result is being made that is too old for him waits for its end, and
// then one of those who wait makes the next for all of them. So however many ask,
// a question is computed once at a time, and nobody gets an answer from before he
// asked.
type shared struct {
	maxBytes int64

	mu        sync.Mutex
	questions map[string]*list.Element // of *question
	order     list.List                // most recently asked first
	bytes     int64
}

// A question is one request in its canonical form. Its fields are guarded by
// shared.mu.
type question struct {
	key     string
	streams []string      // that it reads; nil until it was computed once
	last    *result       // nil if there is none that can be shared
	making  chan struct{} // closed when the result being made is there; nil if none is
	large   time.Time     // its result was too large then
	// statement is what the Gate made of it, for whoever computes next.
	statement *Statement
}

func (q *question) size() int64 {
	n := 50*int64(len(q.key)) + 200 // a statement's tree is about fifty times its text
	if q.last != nil {
		n += q.last.bytes
	}
	return n
}

// A result is an answer that was read to its end.
type result struct {
	answer  Answer // without Next and Close
	batches []arrow.RecordBatch
	bytes   int64
}

func newShared(maxBytes int64) *shared {
	return &shared{maxBytes: maxBytes, questions: map[string]*list.Element{}}
}

// of keeps the sources of some streams.
func of(cut event.Cut, streams []string) event.Cut {
	out := event.Cut{}
	for src, through := range cut {
		if slices.Contains(streams, src.Stream) {
			out[src] = through
		}
	}
	return out
}

// reads gives the streams that a question reads, if it has been asked before.
func (s *shared) reads(key string) ([]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.questions[key]; e != nil {
		streams := e.Value.(*question).streams
		return streams, streams != nil
	}
	return nil, false
}

// statement takes what the Gate made of a question, if it is there; whoever takes it
// puts it back.
func (s *shared) statement(key string) *Statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.questions[key]
	if e == nil {
		return nil
	}
	q := e.Value.(*question)
	st := q.statement
	q.statement = nil
	return st
}

// putBack keeps what the Gate made of a question.
func (s *shared) putBack(key string, st *Statement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.questions[key]; e != nil {
		e.Value.(*question).statement = st
	}
}

// answer gives the result of a question over some streams, made by compute if there
// is none for the cut asked; asked is nil if the question itself names its cut. now
// restamps a kept answer.
func (s *shared) answer(ctx context.Context, key string, streams []string, asked event.Cut, compute func() (*Answer, error), now func(*Answer)) (*Answer, error) {
	asked = of(asked, streams)
	for {
		q, known, wait := s.take(key, streams, asked)
		switch {
		case known != nil:
			a := known.again()
			now(a)
			return a, nil
		case wait != nil:
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		case q == nil:
			return compute()
		}
		return s.make(ctx, q, compute)
	}
}

// take looks a question up: its result if there is one that is new enough, or what
// to wait for, or the question if the caller is to make the result, which it must
// then do. All nil: the result cannot be shared.
func (s *shared) take(key string, streams []string, asked event.Cut) (*question, *result, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.questions[key]
	if e == nil {
		e = s.order.PushFront(&question{key: key})
		s.questions[key] = e
		s.bytes += e.Value.(*question).size()
	}
	s.order.MoveToFront(e)
	q := e.Value.(*question)
	q.streams = streams
	switch {
	case q.last != nil && !asked.Beyond(q.last.answer.Cut):
		return nil, q.last, nil
	case q.making != nil:
		return nil, nil, q.making
	case time.Since(q.large) < largeFor:
		return nil, nil, nil
	}
	q.making = make(chan struct{})
	return q, nil, nil
}

// make computes an answer, and keeps it if it is small, complete and ended well.
func (s *shared) make(ctx context.Context, q *question, compute func() (*Answer, error)) (*Answer, error) {
	var kept *result
	large := false
	defer func() { s.done(q, kept, large) }()
	a, err := compute()
	if err != nil {
		return nil, err // the asker's time may have ended: that says nothing to others
	}
	r := &result{answer: *a}
	for {
		b, err := a.Next(ctx)
		if errors.Is(err, io.EOF) {
			a.Close()
			if a.Complete {
				kept = r
			}
			return r.again(), nil
		}
		if err != nil {
			a.Close()
			return nil, err
		}
		r.batches = append(r.batches, b)
		if r.bytes += sizeOf(b); r.bytes > maxSharedBytes {
			large = true
			return r.followedBy(a), nil
		}
	}
}

// sizeOf is how much memory a batch takes.
func sizeOf(b arrow.RecordBatch) int64 {
	var n int64
	for _, column := range b.Columns() {
		for _, buffer := range column.Data().Buffers() {
			if buffer != nil {
				n += int64(buffer.Len())
			}
		}
	}
	return n
}

// done tells those who wait.
func (s *shared) done(q *question, kept *result, large bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(q.making)
	q.making = nil
	if large {
		q.large = time.Now()
	}
	e := s.questions[q.key]
	if e == nil || e.Value.(*question) != q {
		return // evicted meanwhile
	}
	s.bytes -= q.size()
	q.last = kept
	s.bytes += q.size()
	for s.bytes > s.maxBytes || s.order.Len() > maxQuestions {
		s.evict()
	}
}

// evict forgets the question that was not asked for the longest time.
func (s *shared) evict() {
	e := s.order.Back()
	q := e.Value.(*question)
	s.order.Remove(e)
	delete(s.questions, q.key)
	s.bytes -= q.size()
}

// again gives the answer once more.
func (r *result) again() *Answer {
	a := r.answer
	a.Cut, a.Statistics = r.answer.Cut.Clone(), maps.Clone(r.answer.Statistics)
	a.Reuse = nil // others are given the same batches
	next := 0
	a.Next = func(context.Context) (arrow.RecordBatch, error) {
		if next == len(r.batches) {
			return nil, io.EOF
		}
		next++
		return r.batches[next-1], nil
	}
	a.Close = func() {}
	return &a
}

// followedBy gives what was read so far, then the rest as it comes.
func (r *result) followedBy(rest *Answer) *Answer {
	a := *rest
	head := r.again().Next
	a.Next = func(ctx context.Context) (arrow.RecordBatch, error) {
		b, err := head(ctx)
		if errors.Is(err, io.EOF) {
			return rest.Next(ctx)
		}
		return b, err
	}
	return &a
}
