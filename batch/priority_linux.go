package batch

import "syscall"

// runNice is the nice value of batch runs: beside work that takes all processors they
// get a quarter of one, enough to hold off the files that pile up meanwhile.
const runNice = 5

// lowerPriority is of the calling thread: on Linux a nice value is a thread's own. Where
// it is not allowed, nothing changes.
func lowerPriority() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, runNice) }
