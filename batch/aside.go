package batch

import "runtime"

// aside runs f on a thread that queries and ingest go before, and which ends with it:
// without a privilege, a thread's priority cannot be raised again. On a machine with
// time to spare f is as quick as ever.
func aside[T any](f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ended := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		lowerPriority()
		value, err := f()
		ended <- result{value, err}
	}()
	r := <-ended
	return r.value, r.err
}
