// Package ingest takes events in from outside: it decodes each one once,
// against its stream's schema and straight into Arrow columns, and answers the
// client when the log has them on disk.
//
// The way of a request:
//
//	body (bounded bytes) → worker slot: decompress, decode → columns + refused
//	   → Publisher (returns when on disk) → answer with a position token
//
// A record that does not fit the schema is refused alone: it travels in the
// same Publish call as the good ones, is kept as a dead letter, and is named in
// the answer. What makes a whole request fail is either the request itself
// (unknown stream, too large, not JSON at all), and then nothing was stored,
// or the log, and then the answer tells how much had been stored before.
//
// The decoder (Decoder) knows nothing of HTTP or of the log; the handler
// (NewHandler) knows the log only as a Publisher.
package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/aside"
)

// A Publisher is what ingest needs of the log.
type Publisher interface {
	// Publish stores rows (nil if there are none) and the records refused
	// with them as one log message, and returns its position when it is on
	// disk. It may be called from many goroutines. The rows are in Go memory
	// and immutable; both arguments may be kept.
	//
	// After an error that wraps ErrFull the message was not stored; after any
	// other one it may have been. An error that passes by itself wraps ErrFull
	// or ErrUnavailable, or implements Temporary.
	Publish(ctx context.Context, rows arrow.RecordBatch, refused []event.Refused) (event.Position, error)
}

// Temporary may be implemented by a Publisher's errors that pass by
// themselves; ok says that this one does, and retryAfter when it is worth
// trying again (0: not known). The message of such an error reaches the client.
type Temporary interface {
	error
	Temporary() (retryAfter time.Duration, ok bool)
}

// The sentinels that a Publisher may wrap.
var (
	// ErrFull says that the log has reached its byte limit.
	ErrFull = errors.New("the log is full")
	// ErrUnavailable says that the log cannot be reached, or is closing.
	ErrUnavailable = errors.New("the log is not available")
)

// A Target is where the events of one stream go.
type Target struct {
	Schema    *event.Schema
	Publisher Publisher
	Tables    []*Table // of Schema.Lookups, in order
}

// Limits bound what one body may cost. A zero field means its default.
type Limits struct {
	// BodyBytes is the largest body after decompression. Default 64 MiB: some
	// 200,000 events, far past the size at which larger requests gain anything.
	BodyBytes int
	// RecordBytes is the largest record. Default 1 MiB: with SliceBytes it
	// keeps a log message under the 2 MB beyond which the log loses half
	// its rate.
	RecordBytes int
	// RawBytes is how much of a refused record is kept. Default 64 KiB.
	RawBytes int
	// Depth is the deepest nesting, the record itself being 1. Default and
	// maximum 64, the width of the validator's stack.
	Depth int
	// Records is how many records, good and bad, a body may have. Default
	// 1,000,000: a record can be as short as "{}", and a row has a fixed cost.
	Records int
	// Refused is how many records of a body may be refused before the body
	// is. Default 100,000: each costs some hundred bytes besides its text.
	Refused int
	// DecodedBytes is the size that the columns of a body may grow to.
	// Default 128 MiB: twice the body, because "{}" is 3 bytes of body and a
	// whole row of columns.
	DecodedBytes int
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.BodyBytes, 64<<20)
	def(&l.RecordBytes, 1<<20)
	def(&l.RawBytes, 64<<10)
	def(&l.Depth, maxDepth)
	def(&l.Records, 1_000_000)
	def(&l.Refused, 100_000)
	def(&l.DecodedBytes, 128<<20)
	l.Depth = min(l.Depth, maxDepth)
	l.BodyBytes = min(l.BodyBytes, 1<<30) // Arrow's string offsets are int32
	return l
}

// Config configures the handler. A zero field means its default.
type Config struct {
	Limits Limits
	// WireBytes is the largest body as received, before decompression.
	// Default 32 MiB.
	WireBytes int
	// InFlightBytes bounds the bytes of all requests between the first byte
	// read and the answer. Default 256 MiB: eight of the largest bodies, or
	// 0.2 s of the highest rate measured.
	InFlightBytes int64
	// Wait is how long a request may wait for its share of InFlightBytes
	// before it is answered 503. Default 5 s, half of a usual client timeout.
	Wait time.Duration
	// ReadTimeout is how long a client may take to send the body. Default
	// 60 s: 32 MiB at 4.5 Mbit/s.
	ReadTimeout time.Duration
	// Workers is how many bodies are decoded at once. Default the processors:
	// decoding does nothing but compute.
	Workers int
	// SliceRows and SliceBytes bound the rows and the column bytes of one
	// Publish call; a larger body is published in several. Defaults 10,000 and
	// 768 KiB: log messages of 150 KB to 1 MB gave the highest rate.
	SliceRows, SliceBytes int
	// RetryAfter is what a 503 asks for when the log names no delay. Default 1 s.
	RetryAfter time.Duration
	// Metrics registers the room's counters; nil for none.
	Metrics prometheus.Registerer
	// Log receives the errors whose text the client is not shown. Default
	// slog.Default().
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Limits = c.Limits.withDefaults()
	if c.WireBytes <= 0 {
		c.WireBytes = 32 << 20
	}
	if c.InFlightBytes <= 0 {
		c.InFlightBytes = 256 << 20
	}
	// One request of the largest size must fit, whatever was configured.
	c.InFlightBytes = max(c.InFlightBytes, int64(c.WireBytes+c.Limits.BodyBytes+c.Limits.DecodedBytes))
	if c.Wait <= 0 {
		c.Wait = 5 * time.Second
	}
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = time.Minute
	}
	if c.Workers <= 0 {
		c.Workers = aside.Processors()
	}
	if c.SliceRows <= 0 {
		c.SliceRows = 10_000
	}
	if c.SliceBytes <= 0 {
		c.SliceBytes = 768 << 10
	}
	if c.RetryAfter <= 0 {
		c.RetryAfter = time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}
