package serving

import (
	"sync"
	"time"
)

// The engine's limit covers its buffers. Some aggregates (median, quantile_cont, mad)
// keep their values beside them, where only the process as a whole can be watched.
const (
	memoryPeriod = 100 * time.Millisecond
	// memoryPause is how long a query that was stopped has to give its memory back
	// before another is.
	memoryPause = 500 * time.Millisecond
)

// A memoryWatch stops the query that has run for the longest time while the process
// takes more memory than it may. It works while queries run.
type memoryWatch struct {
	limit    int64
	resident func() int64 // what the process takes now, in bytes; 0 if that is not known

	mu      sync.Mutex
	running map[*pin]time.Time
	pause   time.Time // nobody is stopped before
	timer   *time.Timer
}

// newMemoryWatch watches nothing without a limit.
func newMemoryWatch(limit int64, resident func() int64) *memoryWatch {
	return &memoryWatch{limit: limit, resident: resident, running: map[*pin]time.Time{}}
}

// enter begins to watch a query, leave ends it.
func (w *memoryWatch) enter(p *pin) {
	if w.limit <= 0 || w.resident == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[p] = time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(memoryPeriod, w.look)
	}
}

func (w *memoryWatch) leave(p *pin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, p)
	if len(w.running) == 0 && w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// look stops one query if the memory is over the limit.
func (w *memoryWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		return // the last one has left meanwhile
	}
	w.timer.Reset(memoryPeriod)
	now := time.Now()
	if now.Before(w.pause) || w.resident() <= w.limit {
		return
	}
	var longest *pin
	for p, since := range w.running {
		if !p.stopped.Load() && (longest == nil || since.Before(w.running[longest])) {
			longest = p
		}
	}
	if longest == nil {
		return
	}
	w.pause = now.Add(memoryPause)
	longest.stopped.Store(true)
	longest.tx.Conn.Interrupt()
}
