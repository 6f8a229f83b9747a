package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/tailwater/tailwater/demo"
	"github.com/tailwater/tailwater/internal/config"
)

// DemoCmd serves the built-in project and feeds it. Its settings are those of
// serve; the project's folder lies in the data directory.
type DemoCmd struct {
	Rate    float64       `help:"Payments a second." default:"50" group:"Payments"`
	Seed    uint64        `help:"Another number makes other payments." default:"1" group:"Payments"`
	History time.Duration `help:"Begin with the payments of the last hours." default:"1h" group:"Payments"`
	Open    bool          `help:"Open the page in a browser." group:"Payments"`
	config.Settings
}

// demoPostgres is where Postgres clients find the demo, if nobody else is there.
const demoPostgres = "127.0.0.1:5433"

// demoData is where everything is without --data.
const demoData = "tailwater-demo"

// Help is shown by --help.
func (c *DemoCmd) Help() string {
	return `Serves a project of card payments and sends them itself, over HTTP: late, twice, and some that do not fit. The payments are made up, the same ones for the same seed. Everything is in the directory --data, ` + demoData + ` by default: remove it to begin anew. The project's folder is project in it, made at the first start and yours from then on: edit a view and start again.

Kill the process at any moment and start it again: the views' difference from a recount stays 0.

Examples:

    tailwater demo
    tailwater demo --rate 5000 --history 15m --http 127.0.0.1:9090`
}

// Bounds of the payments: a slower demo shows nothing, and a faster one nothing
// but this machine's limit.
const (
	demoRateMin, demoRateMax = 0.1, 100_000
	demoHistoryMax           = 30 * 24 * time.Hour
)

// Validate is called by kong.
func (c *DemoCmd) Validate() error {
	var errs []error
	if !(c.Rate >= demoRateMin && c.Rate <= demoRateMax) {
		errs = append(errs, fmt.Errorf("--rate must be %g to %d", demoRateMin, demoRateMax))
	}
	if c.History < 0 || c.History > demoHistoryMax {
		errs = append(errs, fmt.Errorf("--history must be 0s to %s", demoHistoryMax))
	}
	if c.TLSCert != "" {
		errs = append(errs, errors.New("--tls-cert: the demo sends to itself without TLS; serve its folder instead: tailwater serve "+demoData+"/project"))
	}
	return errors.Join(append(errs, c.Settings.Validate())...)
}

// BeforeResolve makes the project, unless it is there, so that kong can look up
// its settings file.
func (c *DemoCmd) BeforeResolve(k *kong.Context) error {
	data := demoData
	for _, flag := range k.Flags() {
		if flag.Name != "data" {
			continue
		}
		for _, env := range flag.Envs {
			data = firstOf(os.Getenv(env), data)
		}
		if given, ok := k.FlagValue(flag).(string); ok {
			data = firstOf(given, data)
		}
	}
	c.Data = data
	if err := demo.WriteProject(c.project()); err != nil {
		return err
	}
	file, err := config.Open(c.project())
	if err != nil {
		return err
	}
	k.AddResolver(file)
	return nil
}

func (c *DemoCmd) project() string { return filepath.Join(c.Data, "project") }

// Run serves and feeds until SIGTERM or SIGINT; then everything lands.
func (c *DemoCmd) Run(ctx context.Context, out *output) error {
	c.Data = firstOf(c.Data, demoData)
	if err := c.Complete(c.project()); err != nil {
		return err
	}
	logger := newLogger(c.Settings, aboveCount(out))
	if c.Postgres == "" {
		c.Postgres = free(demoPostgres)
	}
	return runServer(ctx, c.project(), c.Settings, logger, func(ctx context.Context, srv *server) error {
		f := &feeder{
			remote: remote{URL: "http://" + reachable(srv.addr), key: c.AdminKey},
			seed:   c.Seed, rate: c.Rate, history: c.History, logger: logger, now: time.Now,
		}
		show := newDemoDisplay(out, logger, f)
		err := f.run(ctx, func() {
			show.begin()
			if c.Open {
				openBrowser(logger, f.URL)
			}
		})
		show.end()
		return err
	})
}

// free gives the address if it can be listened on, and off otherwise: a demo that
// runs already is no reason not to start.
func free(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return config.Off
	}
	l.Close()
	return addr
}

// reachable gives an address at which this machine's own listener answers.
func reachable(at net.Addr) string {
	tcp, ok := at.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("localhost", fmt.Sprint(tcp.Port))
	}
	return at.String()
}

// openBrowser shows the page; a machine without a browser is no failure.
func openBrowser(logger *slog.Logger, url string) {
	opener := "xdg-open"
	if runtime.GOOS == "darwin" {
		opener = "open"
	}
	cmd := exec.Command(opener, url)
	err := cmd.Start()
	if err != nil {
		logger.Warn("no browser could be opened; open the address yourself", "url", url, "error", err)
		return
	}
	go func() { _ = cmd.Wait() }() // what the browser makes of it is seen on the screen
}

// A demoDisplay tells what to watch and how many payments were sent: to people on
// a terminal, in lines of the log elsewhere.
type demoDisplay struct {
	feeder *feeder
	logger *slog.Logger
	screen io.Writer // nil if there is no terminal
	stop   chan struct{}
	ended  chan struct{}
}

func newDemoDisplay(out *output, logger *slog.Logger, f *feeder) *demoDisplay {
	d := &demoDisplay{feeder: f, logger: logger}
	if onTerminal(out.out) {
		d.screen = out.out
	}
	return d
}

func onTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// clearLine makes the next text take the place of the count.
const clearLine = "\r\x1b[K"

// A clearing writer takes the count away before each line of the log: the next
// one is written soon.
type clearing struct{ w io.Writer }

func (c clearing) Write(p []byte) (int, error) {
	n, err := c.w.Write(append([]byte(clearLine), p...))
	return max(0, n-len(clearLine)), err
}

// aboveCount gives where the log goes.
func aboveCount(out *output) io.Writer {
	if onTerminal(out.out) && onTerminal(out.err) {
		return clearing{out.err}
	}
	return out.err
}

// watch are command lines that show the demo at work, and what for.
func (d *demoDisplay) watch() [][2]string {
	at, self := "", os.Args[0]
	if d.feeder.URL != "http://127.0.0.1:8080" {
		at = " --url " + d.feeder.URL
	}
	return [][2]string{
		{"revenue, minute by minute", self + " view revenue --order=-window_start,country --limit 12" + at},
		{"cards that look stolen", self + " view suspicious_cards --order=-window_start --limit 5" + at},
		{"the view against a recount", self + " view revenue --check" + at},
		{"what did not fit", self + ` sql "SELECT field, count(*) AS n, min(reason) AS such_as FROM payments_dead GROUP BY ALL"` + at},
		{"how far every layer is", self + " status" + at},
	}
}

// begin shows what to watch, then counts until end.
func (d *demoDisplay) begin() {
	pid := os.Getpid()
	if d.screen == nil {
		for _, w := range d.watch() {
			d.logger.Info("demo: watch", "what", w[0], "command", w[1])
		}
		d.logger.Info("demo", "url", d.feeder.URL, "invitation", fmt.Sprintf("kill -9 %d, start me again: the difference stays 0", pid))
	} else {
		fmt.Fprintf(d.screen, "\n  Tailwater is counting card payments:  %s\n\n", d.feeder.URL)
		for _, w := range d.watch() {
			fmt.Fprintf(d.screen, "  %-27s %s\n", w[0], w[1])
		}
		fmt.Fprintf(d.screen, "\n  kill -9 %d, start me again: the difference stays 0.\n\n", pid)
	}
	d.stop, d.ended = make(chan struct{}), make(chan struct{})
	go d.count()
}

func (d *demoDisplay) count() {
	defer close(d.ended)
	every := time.Second
	if d.screen == nil {
		every = 30 * time.Second // a log that is read later needs no more
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	sent, dead := d.feeder.sent.Load(), int64(0)
	for {
		select {
		case <-tick.C:
		case <-d.stop:
			return
		}
		before := sent
		sent, dead = d.feeder.sent.Load(), d.feeder.rejected.Load()
		rate := float64(sent-before) / every.Seconds()
		if d.screen == nil {
			d.logger.Info("demo: fed", "payments", sent, "a_second", int64(rate), "did_not_fit", dead)
		} else {
			fmt.Fprintf(d.screen, clearLine+"  %d payments sent, %.0f a second; %d records did not fit ", sent, rate, dead)
		}
	}
}

// end stops counting.
func (d *demoDisplay) end() {
	if d.stop == nil {
		return // it never began
	}
	close(d.stop)
	<-d.ended
	if d.screen != nil {
		fmt.Fprintln(d.screen)
	}
}
