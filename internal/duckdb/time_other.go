//go:build !linux

package duckdb

import "time"

var started = time.Now()

// threadTime is the time that passes, for want of a thread's own.
func threadTime() time.Duration { return time.Since(started) }
