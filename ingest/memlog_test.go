package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
)

// memLog is a log in memory. It asserts what a Publisher may rely on.
type memLog struct {
	stream string
	// before is called with the number of the message about to be stored, from
	// 1; its error is Publish's. nil stores everything.
	before func(seq int) error

	mu       sync.Mutex
	messages []message
}

type message struct {
	rows    arrow.RecordBatch
	refused []event.Refused
}

func (l *memLog) Publish(_ context.Context, rows arrow.RecordBatch, refused []event.Refused) (event.Position, error) {
	if rows == nil && len(refused) == 0 || rows != nil && rows.NumRows() == 0 {
		panic("an empty message")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.before != nil {
		if err := l.before(len(l.messages) + 1); err != nil {
			return event.Position{}, err
		}
	}
	l.messages = append(l.messages, message{rows, refused})
	return event.Position{Source: event.Source{Stream: l.stream, Epoch: 1}, Seq: uint64(len(l.messages))}, nil
}

// stored gives the rows and refused records of all messages.
func (l *memLog) stored() (rows, refused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		rows += Decoded{Rows: m.rows}.Accepted()
		refused += len(m.refused)
	}
	return rows, refused
}

// passing is an error that passes by itself.
type passing struct{ after time.Duration }

func (passing) Error() string                      { return "the log is catching up" }
func (p passing) Temporary() (time.Duration, bool) { return p.after, true }
