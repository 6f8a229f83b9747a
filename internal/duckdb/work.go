package duckdb

import (
	"sync/atomic"
	"time"
)

// work is what a connection's calls into the engine have taken. Whoever runs the
// connection writes it, anybody may read it.
type work struct {
	done  atomic.Int64 // ns, of the calls that have ended
	since atomic.Int64 // ns after epoch: when the call began that is under way; 0 if none is
}

var epoch = time.Now()

func (w *work) begin() { w.since.Store(int64(time.Since(epoch))) }

// end ends a call that took so much processor time.
func (w *work) end(took time.Duration) {
	w.since.Store(0)
	w.done.Add(int64(took))
}

// leave ends a call whose processor time nobody has taken, if one is under way.
func (w *work) leave() {
	if since := w.since.Load(); since != 0 {
		w.end(time.Since(epoch) - time.Duration(since))
	}
}

// A Work is what a connection has computed.
type Work struct {
	// Done is the time of the calls that have ended: processor time of the steps of
	// Rows, the clock's of all else.
	Done time.Duration
	// Call is how long ago by the clock the call began that is under way; 0 if none is.
	Call time.Duration
}

// Computed is all that the connection has computed. A step that ends may make it
// less: by the clock it took longer than on the processor.
func (w Work) Computed() time.Duration { return w.Done + w.Call }

// Since is what was computed in the interval that began with before. A call that is
// under way counts in full, and its end brings no more than the interval.
func (w Work) Since(before Work, interval time.Duration) time.Duration {
	return min(interval, w.Done-before.Done+min(w.Call, interval))
}

// Work tells what the connection has computed so far, also while it computes.
func (c *Conn) Work() Work {
	out := Work{Done: time.Duration(c.work.done.Load())} // in this order: no call counts twice
	if since := c.work.since.Load(); since != 0 {
		out.Call = max(1, time.Since(epoch)-time.Duration(since))
	}
	return out
}

// Work tells what each open connection has computed so far.
func (db *DB) Work() map[*Conn]Work {
	db.mu.Lock()
	defer db.mu.Unlock()
	out := make(map[*Conn]Work, len(db.conns))
	for c := range db.conns {
		out[c] = c.Work()
	}
	return out
}
