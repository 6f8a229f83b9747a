package aside

import (
	"sync"

	"golang.org/x/sys/unix"
)

// slice is how long a thread of a lower priority computes before the scheduler looks
// whether another is due, from Linux 6.12 on: whoever wakes up does not wait for the
// whole slice of a few milliseconds. It is the least that the scheduler takes.
const sliceNS = 100_000

const greatestNice = 19

// lower is of the calling thread: on Linux a nice value is a thread's own. Where it is not
// allowed, nothing changes.
func lower(by int) {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return
	}
	attr.Nice = min(attr.Nice+int32(by), greatestNice)
	attr.Runtime = sliceNS
	if unix.SchedSetAttr(0, attr, 0) != nil { // the slice is refused, perhaps
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, int(attr.Nice))
	}
}

func threadID() int { return unix.Gettid() }

// processors are those that the process was given when it began, and those of them on
// which long work runs.
var processors = sync.OnceValue(func() *struct{ all, long unix.CPUSet } {
	p := new(struct{ all, long unix.CPUSet })
	if unix.SchedGetaffinity(unix.Getpid(), &p.all) != nil || p.all.Count() < 2 {
		return p
	}
	p.long = p.all
	for i := 0; ; i++ {
		if p.long.IsSet(i) {
			p.long.Clear(i)
			return p
		}
	}
})

// spare reports whether there is a processor that can be kept free.
func spare() bool { return processors().all.Count() > 1 }

// keepOff takes a thread off the processor that is kept free; letBack takes that back.
// Where it is not allowed, nothing changes.
func keepOff(thread int) {
	if spare() {
		_ = unix.SchedSetaffinity(thread, &processors().long)
	}
}

func letBack(thread int) { _ = unix.SchedSetaffinity(thread, &processors().all) }
