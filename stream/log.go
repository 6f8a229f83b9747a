package stream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// MaxMessageBytes is the largest message that a Log accepts.
const MaxMessageBytes = 8<<20 - 64<<10

// A Message is one entry of a Log.
type Message struct {
	Seq uint64
	// Stamp is the store's clock when it accepted the message. It dates only
	// messages that are no envelope; an envelope brings its own stamp.
	Stamp time.Time
	Data  []byte // not to be changed
}

// A Log is one totally ordered, durable sequence of messages. Its methods may
// be called from several goroutines.
//
// Sequences count from 1 and grow by one for each message appended; those of
// purged or deleted messages are missing, which is normal. Every method
// returns an error that wraps ErrUnavailable when the store cannot be reached
// or does not answer; the caller retries.
type Log interface {
	// Append hands data to the store without waiting for it. Appends of one
	// goroutine are stored in order unless one of them fails.
	//
	// id makes a retry safe: while the store remembers it (two minutes), an
	// append with the same id stores nothing and resolves to the sequence of
	// the first one.
	//
	// An error means that nothing was handed over. The data must not be
	// changed until the Pending resolved.
	Append(ctx context.Context, id string, data []byte) (Pending, error)

	// Subscribe calls yield with each message after the sequence given, in order,
	// each once, then follows the head. It skips missing sequences, purged
	// ones included: who cares compares with Bounds. It returns ctx's error
	// when ctx ends, the first error of yield as it is, or an error of the
	// store. yield may keep the message.
	Subscribe(ctx context.Context, after uint64, yield func(Message) error) error

	// Get returns one message, or an error that wraps ErrNotExist.
	Get(ctx context.Context, seq uint64) (Message, error)

	// Next returns the first message after the sequence given, or an error that
	// wraps ErrNotExist when there is none yet.
	Next(ctx context.Context, after uint64) (Message, error)

	// Bounds returns the sequences of the first and the last message. last
	// never goes back, not even when the last message is purged; a log
	// without messages has first = last+1.
	Bounds(ctx context.Context) (first, last uint64, err error)

	// Purge removes the messages through the sequence given, at most through
	// the last. Purging twice is harmless.
	Purge(ctx context.Context, through uint64) error
}

// A Pending is an append whose outcome is not known yet.
type Pending interface {
	// Wait returns the message's sequence once it is durable: fsynced.
	// Of its errors, one that matches ErrFull or ErrTooLarge says that nothing
	// was stored. After any other, the message may be stored or not:
	// only a retry with the same id tells.
	Wait(ctx context.Context) (seq uint64, err error)
}

// Errors of a Log and of a Publisher.
var (
	// ErrFull says that the log is at its byte limit: nothing was stored.
	// What is returned is a *FullError.
	ErrFull = errors.New("log is full: land and purge, or raise its byte limit")
	// ErrUnavailable says that the log did not answer in time. A request that
	// got it may be stored or not; the client retries it, with event ids.
	ErrUnavailable = errors.New("log is unavailable: retry, with event ids if the stream has them")
	// ErrNotExist says that the log has no such message.
	ErrNotExist = errors.New("no such message in the log")
	// ErrTooLarge says that a message is larger than MaxMessageBytes.
	ErrTooLarge = fmt.Errorf("message is larger than %d bytes: send smaller events", MaxMessageBytes)
	// ErrClosed says that the publisher takes no more requests.
	ErrClosed = errors.New("publisher is closed")
	// ErrRolledBack says that the log lost messages that were already
	// delivered. The process has to start again, which opens a new epoch.
	ErrRolledBack = errors.New("log went back: restart to open a new epoch")
)

// A FullError matches ErrFull and tells when a retry makes sense.
type FullError struct {
	Retry time.Duration
}

func (e *FullError) Error() string { return ErrFull.Error() }

// Is makes errors.Is(err, ErrFull) true.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// RetryAfter is how long a client should wait before its next attempt.
func (e *FullError) RetryAfter() time.Duration { return e.Retry }
