// Command bench measures Tailwater on the machine it runs on: each figure beside
// the limit that the same machine shows in the same run, doing only the part that
// nobody can leave out. docs/performance.md says what each line means.
//
//	main.go      the command line
//	measure.go   runs, medians, results           report.go   table, JSON, markdown
//	process.go   servers, CPU and memory          machine.go  what it ran on
//	events.go    the stream, its views, blocks    client.go   a cheap HTTP client
//
// Each measurement is a file of its name.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type commandLine struct {
	Names    []string `arg:"" optional:"" help:"What to measure; everything if none is named. A name may go on after a slash: ingest/alone."`
	Quick    bool     `help:"Small sizes: every measurement in 4 minutes together."`
	JSON     bool     `name:"json" help:"Print the results as JSON, not as a table."`
	Out      string   `help:"File for the results as JSON." default:"bin/bench.json" placeholder:"FILE"`
	Dir      string   `help:"Directory for data, on the disk that is to be measured. What the bench makes in it is removed." default:"bin" placeholder:"DIR"`
	Program  string   `help:"The program to measure." default:"bin/tailwater" placeholder:"FILE"`
	List     bool     `help:"List the measurements."`
	Markdown string   `help:"Print the table of an earlier run's file, for docs/performance.md." placeholder:"FILE"`
}

// Help is shown by --help.
func (*commandLine) Help() string {
	return `Prints a table and writes it as JSON. Where a target is given the line ends with PASS or MISS; a missed one is no failure of the command.

Example:

    go run ./bench ingest speed --quick
    go run ./bench --markdown bin/bench.json`
}

// A measurement is one file of this command.
type measurement struct {
	name string
	what string
	run  func(context.Context, *bench) error
}

// timeLimit bounds a measurement. The longest, memory, takes ten minutes.
const timeLimit = 15 * time.Minute

func (m measurement) bounded(ctx context.Context, b *bench) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeLimit, fmt.Errorf("not done in %s", timeLimit))
	defer cancel()
	if err := m.run(ctx, b); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

var measurements = []measurement{
	{"ingest", "events a second over HTTP: ingest alone, with everything held at a rate, and flat out", measureIngest},
	{"speed", "events a second and core through the speed layer, by block and number of views", measureSpeed},
	{"landing", "rows a second into a lake in a directory and on S3", measureLanding},
	{"batch", "rows a second through a batch run, what is new and everything anew", measureBatch},
	{"views", "many views, one of many groups, and kinds of windows and aggregates, each against the engine's own answer", measureViews},
	{"freshness", "ms from sending an event to seeing it in a view, others sending beside", measureFreshness},
	{"query", "ms of answers from views, of a dashboard's panels, others sending beside; and of SQL over the raw events", measureQuery},
	{"transport", "rows a second of a long answer, by format", measureTransport},
	{"postgres", "s to send rows to a Postgres client, in text and binary", measurePostgres},
	{"bombs", "ms of requests that send events, statements beside that would take the machine; and until those end", measureBombs},
	{"restart", "s from the start of a killed server to its first answer", measureRestart},
	{"memory", "memory late against early under a steady load", measureMemory},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if child := os.Getenv(childVariable); child != "" {
		return serveChild(ctx, child, stderr)
	}
	var c commandLine
	parser, err := kong.New(&c, kong.Name("bench"), kong.Description("Measures Tailwater against the limits of this machine."),
		kong.Writers(stdout, stderr), kong.Exit(os.Exit))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return err
	}
	switch {
	case c.List:
		for _, m := range measurements {
			fmt.Fprintf(stdout, "%-10s %s\n", m.name, m.what)
		}
		return nil
	case c.Markdown != "":
		r, err := readReport(c.Markdown)
		if err != nil {
			return err
		}
		return r.markdown(stdout)
	}
	s := fullSizes
	if c.Quick {
		s = quickSizes
	}
	return c.measure(ctx, s, stdout, stderr)
}

// measure runs what was asked for and reports it; what was measured before an
// error is reported all the same.
func (c *commandLine) measure(ctx context.Context, s sizes, stdout, stderr io.Writer) (err error) {
	chosen, err := choose(c.Names)
	if err != nil {
		return err
	}
	b := &bench{sizes: s, names: c.Names, progress: newProgress(stderr)}
	// A place that a working directory changes is no place: the S3 server changes it.
	if b.program, err = filepath.Abs(c.Program); err != nil {
		return err
	}
	if _, err := os.Stat(b.program); err != nil {
		return fmt.Errorf("%w: run `make build`, or name the program with --program", err)
	}
	out, err := filepath.Abs(c.Out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(c.Dir, "bench-"); err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	r, err := newReport(ctx, b.dir, s.name)
	if err != nil {
		return err
	}
	for _, m := range chosen {
		if err = m.bounded(ctx, b); err != nil {
			break
		}
	}
	b.progress.end()
	r.Results = b.results
	if len(r.Results) == 0 {
		return err
	}
	write := r.table
	if c.JSON {
		write = r.json
	}
	return errors.Join(err, r.save(out), write(stdout))
}

// choose gives the measurements that the names ask for, in their own order.
func choose(names []string) ([]measurement, error) {
	for _, name := range names {
		room, _, _ := strings.Cut(name, "/")
		if !slices.ContainsFunc(measurements, func(m measurement) bool { return m.name == room }) {
			return nil, fmt.Errorf("no measurement %q; see --list", name)
		}
	}
	if len(names) == 0 {
		return measurements, nil
	}
	return slices.DeleteFunc(slices.Clone(measurements), func(m measurement) bool {
		return !slices.ContainsFunc(names, func(n string) bool { room, _, _ := strings.Cut(n, "/"); return room == m.name })
	}), nil
}
