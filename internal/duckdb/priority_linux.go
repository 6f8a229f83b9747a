package duckdb

import "syscall"

// patientNice is the nice value of threads that others go before: they get about a tenth
// of a contended processor, so whatever they hold is given back soon.
const patientNice = 10

// lowerPriority is of the calling thread: on Linux a nice value is a thread's own. Where
// it is not allowed, nothing changes.
func lowerPriority() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, patientNice) }
