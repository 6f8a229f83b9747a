package batch

import (
	"errors"
	"syscall"
	"testing"
)

func TestRunsGiveWayToOthers(t *testing.T) {
	before, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("it failed")
	within, err := aside(func() (int, error) {
		p, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
		return p, errors.Join(err, failed)
	})
	// The system call gives 20 less the nice value.
	if want := min(before, 20-runNice); within != want || !errors.Is(err, failed) {
		t.Errorf("priority %d, want %d; %v", within, want, err)
	}
	if after, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err != nil || after != before {
		t.Errorf("the caller's priority is %d, was %d", after, before)
	}
}
