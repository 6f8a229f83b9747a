package stream

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"time"
)

// A Fault is what a MemoryLog does to an append.
type Fault int

// The faults: an append can fail, or fail although it was stored, as when the
// answer of a remote store is lost.
const (
	NoFault Fault = iota
	FailLost
	FailPersisted
)

// A MemoryLog is a Log without a disk, for tests and for trying things out. It
// keeps every rule of Log, panics on a caller that breaks one, and can be
// made to fail.
type MemoryLog struct {
	maxBytes int64

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	messages []stored      // ascending by Seq
	last     uint64
	bytes    int64
	ids      map[string]uint64
	fault    func(id string) Fault
	held     bool
	waiting  []*memoryPending // in order, while held
	now      func() time.Time
}

type stored struct {
	Message
	sum uint32
}

var _ Log = (*MemoryLog)(nil)

// NewMemoryLog makes an empty log that holds maxBytes of data; 0 means no limit.
func NewMemoryLog(maxBytes int64) *MemoryLog {
	return &MemoryLog{maxBytes: maxBytes, changed: make(chan struct{}), ids: map[string]uint64{}, now: time.Now}
}

// SetClock sets the store's clock.
func (l *MemoryLog) SetClock(now func() time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
}

// SetFault asks f about every append from now on; nil ends it.
func (l *MemoryLog) SetFault(f func(id string) Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

// Hold keeps appends from becoming durable until Resume.
func (l *MemoryLog) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
}

// Resume stores what was held, in order.
func (l *MemoryLog) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	for _, p := range l.waiting {
		l.store(p)
	}
	l.waiting = nil
}

// Held is the number of appends that wait for Resume.
func (l *MemoryLog) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Truncate loses every message after seq, as a power loss does.
func (l *MemoryLog) Truncate(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = slices.DeleteFunc(l.messages, func(m stored) bool { return m.Seq > seq })
	l.last = min(l.last, seq)
	l.recount()
}

// Recreate forgets everything; the next message gets last+1.
func (l *MemoryLog) Recreate(last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages, l.last = nil, last
	l.recount()
}

// Delete removes one message and leaves a gap.
func (l *MemoryLog) Delete(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = slices.DeleteFunc(l.messages, func(m stored) bool { return m.Seq == seq })
	l.recount()
}

func (l *MemoryLog) recount() {
	l.bytes = 0
	for _, m := range l.messages {
		l.bytes += int64(len(m.Data))
	}
	for id, seq := range l.ids {
		if seq > l.last {
			delete(l.ids, id)
		}
	}
	l.wake()
}

func (l *MemoryLog) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

type memoryPending struct {
	id   string
	data []byte
	done chan struct{}
	seq  uint64
	err  error
}

// Append implements Log.
func (l *MemoryLog) Append(ctx context.Context, id string, data []byte) (Pending, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if id == "" {
		panic("stream: append without an id")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &memoryPending{id: id, data: data, done: make(chan struct{})}
	if l.held {
		l.waiting = append(l.waiting, p)
	} else {
		l.store(p)
	}
	return p, nil
}

// store decides an append's outcome; l.mu is held.
func (l *MemoryLog) store(p *memoryPending) {
	defer close(p.done)
	fault := NoFault
	if l.fault != nil {
		fault = l.fault(p.id)
	}
	unavailable := fmt.Errorf("append %s: injected fault: %w", p.id, ErrUnavailable)
	if fault == FailLost {
		p.err = unavailable
		return
	}
	if seq, known := l.ids[p.id]; known {
		p.seq = seq
	} else {
		size := int64(len(p.data))
		switch {
		case size > MaxMessageBytes:
			p.err = ErrTooLarge
			return
		case l.maxBytes > 0 && l.bytes+size > l.maxBytes:
			p.err = &FullError{Retry: fullRetry}
			return
		}
		l.last++
		l.bytes += size
		l.ids[p.id] = l.last
		l.messages = append(l.messages, stored{Message{l.last, l.now(), p.data}, crc32.Checksum(p.data, castagnoli)})
		p.seq = l.last
		l.wake()
	}
	if fault == FailPersisted {
		p.err = unavailable
	}
}

// Wait implements Pending.
func (p *memoryPending) Wait(ctx context.Context) (uint64, error) {
	select {
	case <-p.done:
		if p.err != nil {
			return 0, p.err
		}
		return p.seq, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// after returns the first message after seq, if there is one, and a channel
// that is closed when that may have changed.
func (l *MemoryLog) after(seq uint64) (Message, bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.messages, seq+1, func(m stored, s uint64) int {
		return int(int64(m.Seq) - int64(s))
	})
	if i == len(l.messages) {
		return Message{}, false, l.changed
	}
	m := l.messages[i]
	if crc32.Checksum(m.Data, castagnoli) != m.sum {
		panic("stream: a message was changed after it was appended")
	}
	return m.Message, true, nil
}

// Subscribe implements Log.
func (l *MemoryLog) Subscribe(ctx context.Context, after uint64, yield func(Message) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, ok, changed := l.after(after)
		if !ok {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if err := yield(m); err != nil {
			return err
		}
		after = m.Seq
	}
}

// Get implements Log.
func (l *MemoryLog) Get(ctx context.Context, seq uint64) (Message, error) {
	m, err := l.Next(ctx, max(seq, 1)-1)
	if err != nil || m.Seq != seq {
		return Message{}, fmt.Errorf("message %d: %w", seq, ErrNotExist)
	}
	return m, nil
}

// Next implements Log.
func (l *MemoryLog) Next(ctx context.Context, after uint64) (Message, error) {
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	m, ok, _ := l.after(after)
	if !ok {
		return Message{}, fmt.Errorf("message after %d: %w", after, ErrNotExist)
	}
	return m, nil
}

// Bounds implements Log.
func (l *MemoryLog) Bounds(ctx context.Context) (first, last uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.messages) == 0 {
		return l.last + 1, l.last, nil
	}
	return l.messages[0].Seq, l.last, nil
}

// Purge implements Log.
func (l *MemoryLog) Purge(ctx context.Context, through uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = slices.DeleteFunc(l.messages, func(m stored) bool { return m.Seq <= through })
	l.recount()
	return nil
}
