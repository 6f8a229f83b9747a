package layers

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tailwater/tailwater/internal/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Variables of the environment. TAILWATER_TEST_OPERATIONS is how many random operations
// are done in all, TAILWATER_TEST_SEED draws others, and TAILWATER_TEST_SEQUENCE repeats
// one sequence, under the TZ that its failure names.
const (
	operationsVar = "TAILWATER_TEST_OPERATIONS"
	seedVar       = "TAILWATER_TEST_SEED"
	sequenceVar   = "TAILWATER_TEST_SEQUENCE"
	resultVar     = "TAILWATER_TEST_LAYERS_RESULT" // a child's: the file for its result
	shareVar      = "TAILWATER_TEST_LAYERS_SHARE"  // a child's: which sequences
)

const (
	usualOperations = 60
	minCells        = 50_000 // of the usual operations
	handful         = 4      // kinds of windows in one sequence
)

var zones = []string{"UTC", "America/New_York", "Australia/Lord_Howe"}

// A result is what sequences have compared.
type result struct {
	Cells      int
	Pairs      map[string]int // windows and aggregates that had rows, with their cells
	Operations map[string]int
}

func newResult() result { return result{Pairs: map[string]int{}, Operations: map[string]int{}} }

func (r *result) add(c *conformance.Case, rows, cells int) {
	r.Cells += cells
	for _, a := range c.Aggregates() {
		if rows > 0 {
			r.Pairs[c.Window+" | "+a] += rows
		}
	}
}

func (r *result) merge(o result) {
	r.Cells += o.Cells
	for pair, n := range o.Pairs {
		r.Pairs[pair] += n
	}
	for op, n := range o.Operations {
		r.Operations[op] += n
	}
}

func number(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Every kind of window with every aggregate, through the parts of a whole server: what
// serving answers must be plain SQL over the accepted events through the cut, whatever
// micro-batches, landings, batch runs, crashes, rebuilds, new epochs and redefinitions
// there were before; under several zones of the process. A sequence has a handful of
// kinds of windows with all aggregates.
func TestEveryWindowWithEveryAggregateSurvivesTheLayers(t *testing.T) {
	operations, seed := number(t, operationsVar, usualOperations), number(t, seedVar, 20240229)
	perRound := (len(conformance.Windows()) + handful - 1) / handful
	rounds := max(1, operations/usualOperations)
	sequences := rounds * perRound
	steps := max(1, operations/sequences)
	if file := os.Getenv(resultVar); file != "" {
		all := newResult()
		for i := number(t, shareVar, 0); i < sequences; i += len(zones) {
			all.merge(sequence(t, seed, i, steps))
		}
		data, err := json.Marshal(all)
		if err == nil {
			err = os.WriteFile(file, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Getenv(sequenceVar) != "" {
		r := sequence(t, seed, number(t, sequenceVar, 0), steps)
		t.Logf("%d cells equal: %v", r.Cells, r.Operations)
		return
	}
	began, all := time.Now(), newResult()
	for _, r := range children(t) {
		all.merge(r)
	}
	t.Logf("%d cells equal in %v: %v", all.Cells, time.Since(began).Round(time.Millisecond), all.Operations)
	if operations < usualOperations {
		return
	}
	if all.Cells < minCells {
		t.Errorf("%d cells compared, want %d", all.Cells, minCells)
	}
	for _, rare := range []string{"rebuild", "purge", "restart", "rollback", "(new epoch)", "(given up)", "(crash)", "(swap)", "(earlier cut)", "(lake ahead)", "(from the lake)", "(from the log)"} {
		if all.Operations[rare] == 0 {
			t.Errorf("%s was never drawn", rare)
		}
	}
	for _, c := range cases(0) {
		for _, a := range c.Aggregates() {
			if all.Pairs[c.Window+" | "+a] == 0 {
				t.Errorf("%s with window %s had no row in any comparison", a, c.Window)
			}
		}
	}
}

// children runs the shares of the sequences side by side, each in a process with a zone
// of its own.
func children(t *testing.T) []result {
	dir, results := t.TempDir(), make([]result, len(zones))
	var running sync.WaitGroup
	for i, zone := range zones {
		running.Go(func() {
			file := filepath.Join(dir, strconv.Itoa(i))
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
			child.Env = append(os.Environ(), "TZ="+zone, fmt.Sprintf("%s=%d", shareVar, i), resultVar+"="+file)
			out, err := child.CombinedOutput()
			var data []byte
			if err == nil {
				data, err = os.ReadFile(file)
			}
			if err == nil {
				err = json.Unmarshal(data, &results[i])
			}
			if err != nil {
				t.Errorf("with TZ=%s: %v\n%s", zone, err, out)
			}
		})
	}
	running.Wait()
	return results
}

// sequence does the operations of one sequence. Each round deals all kinds of windows.
func sequence(t *testing.T, seed, number, steps int) result {
	windows := conformance.Windows()
	perRound := (len(windows) + handful - 1) / handful
	deal := rand.New(rand.NewPCG(uint64(seed), uint64(number/perRound)))
	deal.Shuffle(len(windows), func(i, j int) { windows[i], windows[j] = windows[j], windows[i] })
	first := number % perRound * handful
	windows = windows[first:min(first+handful, len(windows))]

	name := fmt.Sprintf("TZ=%s %s=%d %s=%d, windows %s", zones[number%len(zones)], seedVar, seed, sequenceVar, number, strings.Join(windows, ", "))
	w := newWorld(t, name, rand.New(rand.NewPCG(uint64(seed), uint64(1_000_000+number))), number, windows)
	for range steps {
		w.step()
	}
	w.end()
	return w.result
}
