package aside

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func nice(t *testing.T) int32 {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return attr.Nice
}

func mask(t *testing.T, thread int) (set unix.CPUSet) {
	if err := unix.SchedGetaffinity(thread, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestARunGivesWayToOthers(t *testing.T) {
	before := nice(t)
	failed := errors.New("it failed")
	within, err := Run(5, func() (int32, error) { return nice(t), failed })
	if want := min(before+5, greatestNice); within != want || !errors.Is(err, failed) {
		t.Errorf("a nice value of %d, want %d; %v", within, want, err)
	}
	if after := nice(t); after != before {
		t.Errorf("the caller's nice value is %d, was %d", after, before)
	}
}

func TestALaneGivesWayAndLeavesAProcessorFree(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, all := nice(t), mask(t, 0)
	l := NewLane(10)
	defer l.Close()
	var thread int
	for range 2 {
		l.Do(func() {
			if got, want := nice(t), min(before+10, greatestNice); got != want {
				t.Errorf("a nice value of %d, want %d", got, want)
			}
			on := mask(t, 0)
			if got, want := on.Count(), max(1, all.Count()-1); got != want {
				t.Errorf("%d processors, want %d", got, want)
			}
			if at := unix.Gettid(); thread == 0 {
				thread = at
			} else if at != thread {
				t.Errorf("it is on thread %d, was on %d", at, thread)
			}
		})
	}
	if nice(t) != before || mask(t, 0) != all {
		t.Error("the caller's thread was changed")
	}
	defer func() {
		if recover() != "oh" {
			t.Error("a panic on the lane did not come to its caller")
		}
	}()
	l.Do(func() { panic("oh") })
}

func TestLongWorkLeavesAProcessorFreeWhileOthersAreInAHurry(t *testing.T) {
	if !spare() {
		t.Log("this machine has one processor: nothing can be kept free")
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all := mask(t, 0)
	for _, hurry := range []bool{true, false} {
		var asked atomic.Bool
		end := After(time.Millisecond, func() bool { asked.Store(true); return hurry })
		deadline := time.Now().Add(10 * time.Second)
		for !asked.Load() || hurry && mask(t, 0) == all {
			if time.Now().After(deadline) {
				t.Fatal("nothing has happened")
			}
			time.Sleep(time.Millisecond)
		}
		if !hurry && mask(t, 0) != all {
			t.Error("it was taken off though nobody is in a hurry")
		}
		end()
		if mask(t, 0) != all {
			t.Error("it was not let back")
		}
	}
	After(0, func() bool { return true })() // whichever is first
	if mask(t, 0) != all {
		t.Error("it was taken off after its end")
	}
}
