//go:build failpoints

// Package fault names the places at which tests make the program fail.
package fault

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// ErrInjected is what a point armed with Error returns, wrapped with its name.
var ErrInjected = errors.New("injected failure")

// An Action is what an armed point does.
type Action string

// The actions.
const (
	Error Action = "error"
	Panic Action = "panic"
	Exit  Action = "exit" // os.Exit(137), as after kill -9
)

type arm struct {
	action Action
	skip   int // hits to let pass first
	times  int // hits to fire at, then disarmed
}

var (
	mu    sync.Mutex
	armed = map[Point]*arm{}
	fired = map[Point]int{}
)

// init arms from TAILWATER_FAILPOINTS: "point=action[:skip],…".
func init() {
	for _, part := range strings.Split(os.Getenv("TAILWATER_FAILPOINTS"), ",") {
		name, what, ok := strings.Cut(part, "=")
		if !ok {
			continue
		}
		action, skip, _ := strings.Cut(what, ":")
		n, _ := strconv.Atoi(skip)
		Arm(Point(name), Action(action), n, 1)
	}
}

// Arm makes the point act at times hits after the first skip.
func Arm(p Point, a Action, skip, times int) {
	mu.Lock()
	defer mu.Unlock()
	armed[p] = &arm{a, skip, times}
}

// Disarm makes every point pass and forgets how often points fired.
func Disarm() {
	mu.Lock()
	defer mu.Unlock()
	armed, fired = map[Point]*arm{}, map[Point]int{}
}

// Fired tells how often the point acted since the last Disarm.
func Fired(p Point) int {
	mu.Lock()
	defer mu.Unlock()
	return fired[p]
}

// Hit returns an error, panics, or kills the process if the point is armed.
func Hit(p Point) error {
	mu.Lock()
	a := armed[p]
	if a == nil {
		mu.Unlock()
		return nil
	}
	if a.skip > 0 {
		a.skip--
		mu.Unlock()
		return nil
	}
	if a.times--; a.times == 0 {
		delete(armed, p)
	}
	fired[p]++
	mu.Unlock()
	// For whoever watches the process from outside.
	fmt.Fprintf(os.Stderr, "failpoint fired: %s %s\n", p, a.action)
	switch a.action {
	case Panic:
		panic(fmt.Sprintf("%v at %s", ErrInjected, p))
	case Exit:
		os.Exit(137)
	}
	return fmt.Errorf("%s: %w", p, ErrInjected)
}
