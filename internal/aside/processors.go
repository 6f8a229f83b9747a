package aside

import (
	"os"
	"runtime"
)

// processorsFound is what the runtime found at the start: the machine's, or fewer if the
// process may not use all of them.
var processorsFound = runtime.GOMAXPROCS(0)

// Processors is how many processors the process may use, however many goroutines
// ShareByKernel lets run at once.
func Processors() int { return processorsFound }

// ShareByKernel lets twice as many goroutines run at once as there are processors, unless
// GOMAXPROCS is in the environment. Whoever comes back from the engine must then not wait
// until the runtime takes a place from another goroutine, which is 10 ms later if that
// computes: the kernel decides, and gives a thread that has slept its turn much sooner.
func ShareByKernel() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * processorsFound)
	}
}
