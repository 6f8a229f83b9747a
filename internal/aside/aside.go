// Package aside keeps work that takes long out of the way of those who are in a hurry.
// On Linux it has two means: threads of a lower priority, and one processor on which
// long work does not run. Elsewhere work runs as ever.
//
// A processor is kept free because priorities are not enough: the kernel's own threads,
// without which no append is synced, are scheduled beside the process as a whole where
// processes are grouped (a session, a service, a container), whatever its threads' own
// priorities are. One was seen to wait 37 ms while two threads of one process had both
// processors.
package aside

import (
	"runtime"
	"sync"
	"time"
)

// Run runs f on a thread whose nice value is higher by that much and which is off the
// processor that is kept free. The thread ends with f: without a privilege, its priority
// cannot be raised again. On a machine with time to spare f is as quick as ever.
func Run[T any](nice int, f func() (T, error)) (value T, err error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		lower(nice)
		keepOff(threadID())
		value, err = f()
	}()
	<-ended
	return value, err
}

// A Lane is a thread of a lower priority and off the processor that is kept free, for one
// piece of work after the other.
type Lane struct {
	work chan func()
	done chan any // what f panicked with, or nil
}

// NewLane starts a lane, whose thread ends with Close.
func NewLane(nice int) *Lane {
	l := &Lane{work: make(chan func()), done: make(chan any)}
	go func() {
		runtime.LockOSThread()
		lower(nice)
		keepOff(threadID())
		for f := range l.work {
			l.done <- caught(f)
		}
	}()
	return l
}

// Do runs f on the lane. It returns, or panics, when f has.
func (l *Lane) Do(f func()) {
	l.work <- f
	if failed := <-l.done; failed != nil {
		panic(failed)
	}
}

// Close ends the lane. Nothing is done on it any more.
func (l *Lane) Close() { close(l.work) }

func caught(f func()) (failed any) {
	defer func() { failed = recover() }()
	f()
	return nil
}

// After takes the calling thread off the processor that is kept free, if it is still at
// the same work then and others are in a hurry. The caller has locked its goroutine to
// the thread, and calls end when the work is done.
func After(d time.Duration, hurry func() bool) (end func()) {
	if !spare() {
		return func() {}
	}
	var mu sync.Mutex
	ended, off := false, false
	id := threadID()
	timer := time.AfterFunc(d, func() {
		if !hurry() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			keepOff(id)
			off = true
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		ended = true
		if off {
			letBack(id)
		}
	}
}
