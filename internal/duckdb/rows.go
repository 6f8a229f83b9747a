package duckdb

import (
	"context"
	"errors"
	"io"
	"runtime"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	bindings "github.com/duckdb/duckdb-go-bindings"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/aside"
)

// Rows is the streaming result of a Query. Whoever made it closes it.
type Rows struct {
	conn     *Conn
	ctx      context.Context // of Query: ends the statement until Close
	prepared mapping.PreparedStatement
	result   mapping.Result
	decoder  *decoder
	end      error         // what Next returns from now on: io.EOF, or why it failed
	computed time.Duration // the processor time that its steps have taken
	lane     *aside.Lane   // on which it is computed since it gives way; nil until then
	batches  int           // that Next has given
	memory   reusable      // of them
	closed   bool
}

// Batch sizes, in rows. The first batch of a stream is a few of the engine's vectors,
// because aggregates hand out vectors of some ten rows each; the further ones are of
// more, so that what a batch costs by itself is nothing by the row, but end with
// streamBytes: whoever sends one has two more made meanwhile. A collected batch is one
// of DuckDB's row groups.
const (
	firstRows   = 8_192
	streamRows  = 32_768
	streamBytes = 2 << 20
	collectRows = 122_880
)

// start executes the prepared statement; conn.run is held.
func (r *Rows) start() (*Rows, error) {
	if err := r.execute(); err != nil {
		r.release()
		return nil, err
	}
	if err := r.open(); err != nil {
		r.release()
		return nil, err
	}
	r.conn.rows = r
	return r, nil
}

// execute runs the statement's tasks, until its first rows are there. A task is some
// ten thousand rows of one operator.
func (r *Rows) execute() error {
	var pending mapping.PendingResult
	defer mapping.DestroyPending(&pending)
	if bindings.PendingPreparedStreaming(r.prepared, &pending) == mapping.StateError {
		return failure(r.ctx, mapping.PendingError(pending))
	}
	err := r.steps(func() (done bool, err error) {
		state := mapping.PendingExecuteTask(pending)
		if state == mapping.PendingStateError {
			return false, failure(r.ctx, mapping.PendingError(pending))
		}
		return state != mapping.PendingStateResultNotReady, nil // ready, or waiting for another thread's task
	})
	if err != nil {
		return err
	}
	r.conn.work.begin() // other threads may still be at it
	if mapping.ExecutePending(pending, &r.result) == mapping.StateError {
		return failure(r.ctx, mapping.ResultError(&r.result))
	}
	return nil
}

// A long step gives way from longStep on; who is asked to, has asideNice added to the nice
// value: it gets a tenth of a processor that others want as well.
const (
	longStep  = 5 * time.Millisecond
	asideNice = 10
)

// steps repeats a step until it is done, at the connection's pace.
func (r *Rows) steps(step func() (done bool, err error)) (err error) {
	if r.lane == nil {
		giveWay, err := r.stepsHere(step)
		if err != nil || !giveWay {
			return err
		}
		r.lane = aside.NewLane(asideNice)
	}
	r.lane.Do(func() { _, err = r.stepsHere(step) })
	return err
}

// stepsHere takes the steps on the calling thread, until it is to give way but is none
// of those that do.
func (r *Rows) stepsHere(step func() (done bool, err error)) (giveWay bool, err error) {
	runtime.LockOSThread() // whose time is taken
	defer runtime.UnlockOSThread()
	pace := r.conn.pace
	if pace != nil && r.lane == nil {
		defer aside.After(longStep, pace.Hurry)()
	}
	for {
		began := threadTime()
		r.conn.work.begin()
		done, err := step()
		took := threadTime() - began
		r.conn.work.end(took)
		r.computed += took
		if done || err != nil {
			return false, err
		}
		if pace == nil {
			continue
		}
		giveWay, err := pace.Step(r.ctx, r.computed)
		if err != nil || giveWay && r.lane == nil {
			return giveWay, err
		}
	}
}

func (r *Rows) open() error {
	columns, err := resultColumns(&r.result)
	if err != nil {
		return err
	}
	r.decoder = newDecoder(columns)
	return nil
}

// Columns describes the rows. The slice is not to be changed.
func (r *Rows) Columns() []event.Column { return r.decoder.columns }

// Schema is the Arrow schema of the batches.
func (r *Rows) Schema() *arrow.Schema { return r.decoder.schema }

// Next gives the next rows, at least one, in Go memory; io.EOF at the end. It
// stops when ctx ends, or the context that Query was given.
func (r *Rows) Next(ctx context.Context) (arrow.RecordBatch, error) {
	r.conn.run.Lock()
	defer r.conn.run.Unlock()
	if r.closed {
		return nil, errors.New("the rows are closed")
	}
	if r.end != nil {
		return nil, r.end
	}
	for _, ctx := range []context.Context{r.ctx, ctx} {
		if ctx.Err() != nil {
			return nil, failure(ctx, "")
		}
		defer r.conn.watch(ctx)()
	}
	r.end = r.steps(func() (done bool, err error) { return r.fetch(ctx) })
	if r.end != nil && r.end != io.EOF {
		return nil, r.end
	}
	if r.decoder.rows == 0 {
		return nil, io.EOF
	}
	r.batches++
	batch := r.decoder.flush(r.end == nil && r.batches > 1)
	r.memory.give(batch)
	if old := r.memory.take(); old != nil {
		r.decoder.refill(old)
	}
	return batch, nil
}

// fetch adds some rows, and is done when they make a batch. The error is io.EOF behind
// the last.
func (r *Rows) fetch(ctx context.Context) (done bool, err error) {
	rows := streamRows
	if r.batches == 0 {
		rows = firstRows
	}
	if r.decoder.full(rows, streamBytes) {
		return true, nil
	}
	more, err := r.decoder.fetch(ctx, &r.result)
	switch {
	case err != nil && r.ctx.Err() != nil:
		return true, failure(r.ctx, "")
	case err != nil:
		return true, err
	case !more:
		return true, io.EOF
	}
	return false, nil
}

// Close ends the statement, whether or not all rows were read. A second call
// does nothing. A Next that is running is waited for.
func (r *Rows) Close() error {
	r.conn.run.Lock()
	defer r.conn.run.Unlock()
	r.release()
	return nil
}

// release frees the engine's part; conn.run is held.
func (r *Rows) release() {
	if r.closed {
		return
	}
	r.closed = true
	if r.lane != nil {
		r.lane.Close()
	}
	mapping.DestroyResult(&r.result)
	mapping.DestroyPrepare(&r.prepared)
	if r.conn.rows == r {
		r.conn.rows = nil
	}
	if r.end != io.EOF {
		// DuckDB keeps a statement that was not read to its end, with
		// its snapshot and the batches that it scans, until the
		// connection is used next. An open snapshot stops checkpoints,
		// so use it.
		var nothing mapping.PreparedStatement
		mapping.Prepare(r.conn.conn, "SELECT 1", &nothing)
		mapping.DestroyPrepare(&nothing)
	}
}
