package aside

import (
	"runtime"
	"testing"
)

func TestTheKernelSharesTheProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	t.Setenv("GOMAXPROCS", "1")
	before := runtime.GOMAXPROCS(0)
	ShareByKernel()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("%d at once, although the environment says how many", n)
	}
	t.Setenv("GOMAXPROCS", "")
	ShareByKernel()
	if n := runtime.GOMAXPROCS(0); n != 2*Processors() {
		t.Errorf("%d at once on %d processors", n, Processors())
	}
}
