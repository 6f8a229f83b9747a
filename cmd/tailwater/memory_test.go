package main

import (
	"runtime"
	"testing"
)

func TestTheMemoryOfTheProcessIsKnown(t *testing.T) {
	if runtime.GOOS != "linux" {
		if resident() != 0 {
			t.Error("memory that nobody told")
		}
		return
	}
	before := resident()
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = 1
	}
	if after := resident(); before <= 0 || after < before+32<<20 {
		t.Errorf("%d bytes, then %d with 64 MiB more", before, after)
	}
	runtime.KeepAlive(block)
	if limit := memoryLimit(0); limit <= before {
		t.Errorf("the limit is %d bytes", limit)
	}
	if memoryLimit(5) != 5 {
		t.Error("a limit that was set does not hold")
	}
}
