// Package serving answers: it merges what batch runs have stored with what the
// speed layer holds, at one cut, and hands the rows out over HTTP.
//
//	request ──► Handler ──► Queries ──► Answer ──► Encoder ──► response
//	            http.go     (the core)              encode*.go
//	                           │
//	            Gate ◄─────────┘  SQL from outside is parsed, checked node by
//	            gate.go           node and rewritten before an engine sees it
//
// Two layers are merged by position, never by time: the warehouse counts events
// through S, the speed layer those after S through Q, and every answer says at
// which cut it was given and whether the two ranges met without a hole.
package serving

import (
	"context"
	"encoding/json"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// An Answer is the rows of one query and the facts by which a client can judge
// them. The facts are fixed before the first row is read; only Statistics may
// be read after the last. An Answer is used by one goroutine.
type Answer struct {
	// Columns are the rows' columns in order. Names may repeat.
	Columns []event.Column
	// Next gives the next rows in the storage types of Columns
	// (event.Type.Arrow), io.EOF after the last. A batch is valid for as long as
	// the caller likes. Any error but io.EOF means that the answer is unusable,
	// the rows given so far included.
	Next func(ctx context.Context) (arrow.RecordBatch, error)
	// Reuse, unless nil, may be told of a batch of Next at which nobody will look any
	// more, so that a later one takes its memory.
	Reuse func(batch arrow.RecordBatch)
	// Ordering is how many of the last columns are not the answer's but a page's: the
	// texts by which its rows are ordered (view.Filter.Paged).
	Ordering int
	// Following, unless empty, is the cursor of the page behind this one.
	Following string
	// Complete says that the layers covered every position through Cut without a
	// hole. If it is false the numbers may be low.
	Complete bool
	// Repeatable says that the same request at the same cut has the same rows.
	Repeatable bool
	// Cut is the position the answer was given at; Head is how far the log had
	// grown when the question was taken. The difference is the lag in messages.
	Cut, Head event.Cut
	// Redefined is Queries.Redefined of the definitions that the answer is given by.
	Redefined uint64
	// Watermark tells, by stream, the event time before which nothing is expected
	// any more; a stream that has none is absent.
	Watermark map[string]time.Time
	// Statistics are further facts for people, such as "segments" or
	// "speed_rows". The encoders add "elapsed_ms". It may be nil.
	Statistics map[string]any
	// Close lets go of the transaction and the State behind the answer. It is
	// idempotent, and must be called whatever Next returned.
	Close func()
}

// A ViewRequest asks for the rows of a view.
type ViewRequest struct {
	Name   string
	Filter view.Filter
	// After, unless nil, is a position that the answer must cover: it waits.
	After *event.Position
	// At, unless nil, is the cut that the answer is given at, instead of the
	// newest. A source that it does not name is not counted.
	At event.Cut
}

// A SQLRequest asks for the rows of a statement over streams and views.
type SQLRequest struct {
	SQL        string
	Parameters []Parameter
	// After and At are as for a view.
	After *event.Position
	At    event.Cut
	// Timeout bounds the whole query, waiting included; always set.
	Timeout time.Duration
}

// A CheckRequest asks to compare a view with its own SQL over the raw events.
type CheckRequest struct {
	View string
	// MaxAge is how old an earlier comparison may be that will do as well.
	MaxAge time.Duration
	// At is as for a view; an earlier comparison then never does.
	At event.Cut
}

// A Check is what comparing a view's answer with the same SQL over the raw
// events at one cut came to. Difference counts rows that only one side has.
type Check struct {
	View       string
	Difference int64
	Rows       int64 // of the view
	Cut        event.Cut
	Missing    []json.RawMessage // first rows that the raw events give and the view lacks
	Extra      []json.RawMessage // first rows of the view that the raw events do not give
	ElapsedMS  float64
	AgeMS      float64 // since the comparison was made
}

// Queries is what the handler asks of the core. Every method may be called by
// many goroutines, stops soon after ctx ends, and returns errors as errors.go
// classifies them: wrap a sentinel, or return a *Refusal; whatever else comes
// back is logged and hidden from the client.
type Queries interface {
	// View answers with the rows of a view; ErrNotFound if there is none of
	// that name. The caller closes the answer.
	View(ctx context.Context, r ViewRequest) (*Answer, error)
	// Views lists the views for people and programs.
	Views(ctx context.Context) (any, error)
	// SQL answers with the rows of a statement that it passes through the Gate.
	SQL(ctx context.Context, r SQLRequest) (*Answer, error)
	// Prepare tells what a statement needs and gives, without running it.
	Prepare(ctx context.Context, sql string) (*Prepared, error)
	// Check compares a view with its own SQL over the raw events at one cut, or
	// gives an earlier comparison that is not older than asked.
	Check(ctx context.Context, r CheckRequest) (*Check, error)
	// Live follows a view. The caller closes the subscription.
	Live(ctx context.Context, r LiveRequest) (*Subscription, error)
	// Status tells operators how far every layer is; it answers before Ready.
	Status(ctx context.Context) (any, error)
	// Cut is the cut at which an answer would be given now.
	Cut(ctx context.Context) (event.Cut, error)
	// Redefined counts how often views were redefined: at one cut and one count the
	// same question has the same answer.
	Redefined() uint64
	// Streams lists the streams in a stable order.
	Streams() []*event.Schema
	// Ready returns why no answers can be given yet, or nil.
	Ready() error
	// RunBatch advances the warehouse now, from nothing if rebuild is set, and
	// returns the run.
	RunBatch(ctx context.Context, rebuild bool) (any, error)
	// Runs lists the latest batch runs, newest first.
	Runs(ctx context.Context) (any, error)
	// Apply brings the views to what the project's files say and returns what it did,
	// or with dryRun what it would do.
	Apply(ctx context.Context, dryRun bool) (any, error)
	// Applying tells how far Apply is, if it is at work.
	Applying(ctx context.Context) (any, error)
	// History lists the versions that a view has had; ErrNotFound if it never was.
	History(ctx context.Context, view string) (any, error)
}
