package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/tailwater/tailwater/lake"
)

// A bench is one run of the command.
type bench struct {
	sizes    sizes
	names    []string
	dir      string // scratch, removed at the end
	program  string
	progress *progress
	results  []Result
	dirs     int
	store    lake.S3Options // of the S3 server, once it runs
}

// sizes say how long and how much is measured. The tests have tiny ones.
type sizes struct {
	name    string
	repeats int           // of each alternation; medians are reported
	warm    time.Duration // load before the measured part of a run
	window  time.Duration // the measured part
	batches []int         // events a request
	heldFor time.Duration // each run of everything at once

	blockRows []int         // of a block that is applied
	views     []int         // how many
	compute   time.Duration // each run in process

	landRows, batchRows int

	backgrounds []int         // events a second beside the probes
	samples     int           // probes at least, if they fit into twice probeFor
	probeFor    time.Duration // and for so long at least, so that batches run beside them
	batchEvery  time.Duration

	queryRows int
	queryFor  time.Duration // each kind of query

	users        int // of the dashboard
	dashboardFor time.Duration
	rawRows      int
	rawTimes     int // each statement

	transportRows int

	bombRows, bombs int           // events that they read, and how many there are at most
	bombsAlone      time.Duration // sending without them

	restarts []int // events after S

	manyViews, manyRate int // views of one server, and events a second that it gets
	liveGroups          int // of one view

	memoryRate              int
	memoryEarly, memoryLate time.Duration
	memoryBatch             time.Duration
}

var fullSizes = sizes{
	name: "full", repeats: 3, warm: time.Second, window: 5 * time.Second,
	batches: []int{1, 100, 1_000, 10_000}, heldFor: 10 * time.Second,
	blockRows: []int{1_000, 10_000, 20_000, 100_000}, views: []int{1, 10, 100}, compute: 1500 * time.Millisecond,
	landRows: 2_000_000, batchRows: 2_000_000,
	backgrounds: []int{10_000, 50_000}, samples: 1_000, probeFor: 45 * time.Second, batchEvery: 20 * time.Second,
	queryRows: 1_000_000, queryFor: 10 * time.Second,
	users: 50, dashboardFor: 20 * time.Second, rawRows: 10_000_000, rawTimes: 9, transportRows: 1_000_000,
	bombRows: 2_000_000, bombs: 1_000, bombsAlone: 20 * time.Second,
	restarts:  []int{1_000_000, 10_000_000},
	manyViews: 100, manyRate: 20_000, liveGroups: 1_000_000,
	memoryRate: 20_000, memoryEarly: 2 * time.Minute, memoryLate: 10 * time.Minute, memoryBatch: time.Minute,
}

var quickSizes = sizes{
	name: "quick", repeats: 1, warm: 300 * time.Millisecond, window: 1500 * time.Millisecond,
	batches: []int{1, 100, 1_000, 10_000}, heldFor: 4 * time.Second,
	blockRows: []int{1_000, 10_000, 20_000, 100_000}, views: []int{1, 10, 100}, compute: 300 * time.Millisecond,
	landRows: 300_000, batchRows: 400_000,
	backgrounds: []int{10_000, 50_000}, samples: 1_000, probeFor: 6 * time.Second, batchEvery: 5 * time.Second,
	queryRows: 1_000_000, queryFor: 1500 * time.Millisecond,
	users: 50, dashboardFor: 4 * time.Second, rawRows: 1_000_000, rawTimes: 5, transportRows: 1_000_000,
	bombRows: 500_000, bombs: 20, bombsAlone: 5 * time.Second,
	restarts:  []int{100_000, 1_000_000},
	manyViews: 100, manyRate: 20_000, liveGroups: 1_000_000,
	memoryRate: 20_000, memoryEarly: 20 * time.Second, memoryLate: 60 * time.Second, memoryBatch: 10 * time.Second,
}

// A Result is one line of the table. Fields that do not apply are absent.
type Result struct {
	Name  string    `json:"name"`
	Value float64   `json:"value"` // the median of Runs
	Unit  string    `json:"unit"`
	Runs  []float64 `json:"runs,omitempty"`
	// Limit is what the same machine did in the same run without Tailwater;
	// Ratio is Value/Limit.
	Limit     float64 `json:"limit,omitempty"`
	LimitIs   string  `json:"limit_is,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`
	ServerCPU float64 `json:"server_cpu_us_per_event,omitempty"`
	ClientCPU float64 `json:"client_cpu_us_per_event,omitempty"`
	Target    *Target `json:"target,omitempty"`
	// More has what else was seen, each name with its unit.
	More figures `json:"more,omitempty"`
	Note string  `json:"note,omitempty"`
}

// A Figure is a named number.
type Figure struct {
	Name  string
	Value float64
}

// figures are one object in JSON, in their own order.
type figures []Figure

// MarshalJSON implements json.Marshaler.
func (f figures) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, figure := range f {
		if i > 0 {
			out = append(out, ',')
		}
		value, err := json.Marshal(figure.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", figure.Name, err)
		}
		out = append(append(strconv.AppendQuote(out, figure.Name), ':'), value...)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *figures) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil { // the brace
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		figure := Figure{Name: fmt.Sprint(name)}
		if err := dec.Decode(&figure.Value); err != nil {
			return err
		}
		*f = append(*f, figure)
	}
	return nil
}

// A Target is what a value is held against.
type Target struct {
	Value  float64 `json:"value"`
	AtMost bool    `json:"at_most,omitempty"` // else at least
	// Broken is a condition besides the number that was not met; empty if all were.
	Broken string `json:"broken,omitempty"`
	Pass   bool   `json:"pass"`
}

func atLeast(v float64) *Target { return &Target{Value: v} }
func atMost(v float64) *Target  { return &Target{Value: v, AtMost: true} }

// add keeps a result, and fills in what follows from the rest.
func (b *bench) add(r Result) {
	if len(r.Runs) > 0 {
		r.Value = median(r.Runs)
	}
	// A busy machine may leave no time for a single sample.
	none := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	r.More = slices.DeleteFunc(r.More, func(f Figure) bool { return none(f.Value) })
	if none(r.Limit) {
		r.Limit = 0
	}
	if none(r.Value) {
		r.Value, r.Target, r.Note = 0, nil, "no sample"
	}
	if r.Limit > 0 {
		r.Ratio = r.Value / r.Limit
	}
	if t := r.Target; t != nil {
		t.Pass = t.Broken == "" && (t.AtMost && r.Value <= t.Value || !t.AtMost && r.Value >= t.Value)
	}
	b.results = append(b.results, r)
	b.progress.line(r.line())
}

// wants reports whether a part of a measurement was asked for.
func (b *bench) wants(part string) bool {
	if len(b.names) == 0 {
		return true
	}
	return slices.ContainsFunc(b.names, func(n string) bool {
		return n == part || strings.HasPrefix(part, n+"/") || strings.HasPrefix(n, part+"/")
	})
}

// scratch makes a directory of its own, and gives what removes it.
func (b *bench) scratch(name string) (dir string, remove func(), err error) {
	b.dirs++
	dir = filepath.Join(b.dir, fmt.Sprintf("%02d-%s", b.dirs, strings.ReplaceAll(name, "/", "-")))
	// What is left is removed with the bench's own directory.
	return dir, func() { _ = os.RemoveAll(dir) }, os.MkdirAll(dir, 0o755)
}

// alternate runs the sides in turn, so that a noisy minute hits all of them.
func (b *bench) alternate(ctx context.Context, name string, sides ...func() error) error {
	for i := range b.sizes.repeats {
		for j, side := range sides {
			b.progress.say("%s, run %d of %d, side %d of %d", name, i+1, b.sizes.repeats, j+1, len(sides))
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := side(); err != nil {
				return err
			}
		}
	}
	return nil
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile gives the value below which a share q of the values lies, without
// changing their order.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// latencies gives p50, p99 and the greatest of some times. p99 of fewer than
// a hundred is their greatest, and says nothing.
func latencies(prefix string, ms []float64) []Figure {
	if len(ms) == 0 {
		return nil
	}
	return []Figure{
		{prefix + "p50_ms", quantile(ms, 0.5)}, {prefix + "p99_ms", quantile(ms, 0.99)},
		{prefix + "max_ms", slices.Max(ms)}, {prefix + "samples", float64(len(ms))},
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// A progress tells on a terminal what is going on, in one line that is
// overwritten, and elsewhere as a log.
type progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
	last     time.Time
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd())), began: time.Now()}
}

// say tells what begins now.
func (p *progress) say(format string, args ...any) {
	text := fmt.Sprintf("%4.0fs  ", time.Since(p.began).Seconds()) + fmt.Sprintf(format, args...)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		return
	}
	// A log that is read later needs no more than one line in five seconds.
	if time.Since(p.last) >= 5*time.Second {
		p.last = time.Now()
		fmt.Fprintln(p.w, text)
	}
}

// line tells a result, for good.
func (p *progress) line(text string) {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	fmt.Fprintln(p.w, text)
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
