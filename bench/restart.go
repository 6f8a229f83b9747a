package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// measureRestart kills a server that has events after S, and times its way back.
func measureRestart(ctx context.Context, b *bench) error {
	for _, events := range b.sizes.restarts {
		name := fmt.Sprintf("restart/%dk", events/1000)
		if events%1_000_000 == 0 {
			name = fmt.Sprintf("restart/%dM", events/1_000_000)
		}
		if !b.wants(name) {
			continue
		}
		if err := b.restartAfter(ctx, name, events); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// beforeS is how many events the first batch counts, so that there is an S.
const beforeS = 1_000

func (b *bench) restartAfter(ctx context.Context, name string, events int) error {
	r := Result{Name: name, Unit: "s", LimitIs: "both views' SQL by the engine over the lake's files, one thread",
		Target: map[int]*Target{1_000_000: atMost(2), 10_000_000: atMost(10)}[events]}
	dir, remove, err := b.scratch("restart")
	if err != nil {
		return err
	}
	defer remove()
	if err := writeProject(dir, true, true); err != nil {
		return err
	}
	ps, err := plans(ctx, payments(), []view.Definition{{Name: "revenue", SQL: revenueSQL}, {Name: "countries", SQL: countriesSQL}})
	if err != nil {
		return err
	}
	b.progress.say("%s: sending", name)
	before, err := b.prepareRestart(ctx, dir, events)
	if err != nil {
		return err
	}
	var limits, cpu []float64
	var phases string
	err = b.alternate(ctx, name, func() error {
		p, seen, err := b.restart(ctx, dir)
		if err != nil {
			return err
		}
		defer p.kill()
		r.Runs = append(r.Runs, seen[len(seen)-1].after.Seconds())
		used, err := p.cpu()
		if err != nil {
			return err
		}
		cpu = append(cpu, used.Seconds())
		phases = tell(seen, p)
		s, err := p.status(ctx)
		if err == nil && s.Streams[0].Ledger.Accepted != uint64(events+beforeS) {
			err = fmt.Errorf("%d of %d events are there", s.Streams[0].Ledger.Accepted, events+beforeS)
		}
		return err
	}, func() error {
		rate, err := viewsOverLake(ctx, dir, ps)
		limits = append(limits, float64(events)/rate)
		return err
	})
	if err != nil {
		return err
	}
	marks := before.Streams[0]
	perMessage := float64(events) / float64(marks.Head-1)
	// Next to nothing landed of few events: no rate can be told from that.
	if marks.Landed > 1 {
		r.Limit = median(limits)
	}
	r.More = []Figure{{"server_cpu_s", median(cpu)}, {"of_lake_events", float64(marks.Landed-marks.Batched) * perMessage}, {"of_log_events", float64(marks.Head-marks.Landed) * perMessage}}
	if marks.Batched > 1 {
		r.Note = "S moved while the events were sent; "
	}
	r.Note += "phases: " + phases
	b.add(r)
	return nil
}

var restartArgs = []string{"--batch-schedule", "off"}

// prepareRestart leaves a data directory as kill -9 does, with its marks.
func (b *bench) prepareRestart(ctx context.Context, dir string, events int) (s status, err error) {
	p, err := b.serve(ctx, dir, dir+"/data", restartArgs...)
	if err != nil {
		return s, err
	}
	defer p.kill()
	if err := fill(ctx, p.addr, 1, beforeS, nil); err != nil {
		return s, err
	}
	if err := p.batch(ctx); err != nil {
		return s, err
	}
	if err := fill(ctx, p.addr, 2, uint64(events), nil); err != nil {
		return s, err
	}
	if _, err := p.caughtUp(ctx, time.Minute); err != nil {
		return s, err
	}
	return p.status(ctx)
}

// A phase is what start-up says it does, and when it began to say so.
type phase struct {
	what  string
	after time.Duration // the start of the process
}

// restart starts the server at a known address and asks it whether it is ready, from
// its first moment on; the last phase is that it is.
func (b *bench) restart(ctx context.Context, dir string) (p *process, seen []phase, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	addr := free.Addr().String()
	free.Close()
	p, err = launch(exec.Command(b.program, append([]string{"serve", dir, "--data", dir + "/data", "--http", addr}, restartArgs...)...))
	if err != nil {
		return nil, nil, err
	}
	p.addr = addr
	err = until(ctx, startTimeout, 2*time.Millisecond, func() (bool, error) {
		what, ready, err := p.readiness()
		if err != nil {
			return false, err
		}
		if what != "" && (len(seen) == 0 || seen[len(seen)-1].what != what) {
			seen = append(seen, phase{what, time.Since(p.began)})
		}
		return ready, nil
	})
	if err != nil {
		p.kill()
		return nil, nil, fmt.Errorf("%w\n%s", err, p.output())
	}
	return p, seen, nil
}

// readiness asks what the server is doing; before it listens, nothing is known.
func (p *process) readiness() (what string, ready bool, err error) {
	select {
	case <-p.done:
		return "", false, errors.New("the server ended")
	default:
	}
	resp, err := http.Get("http://" + p.addr + "/readyz")
	if err != nil {
		return "", false, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return "ready", true, nil
	}
	var answer struct{ Detail string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", false, err
	}
	return strings.TrimPrefix(answer.Detail, "not ready: "), false, nil
}

// tell gives the phases, and when each line of the log came, from the start of the
// process.
func tell(seen []phase, p *process) string {
	for _, line := range p.lines() {
		_, message, found := strings.Cut(line.text, "msg=")
		// Asking is what fails while it is not ready.
		if !found || strings.HasPrefix(message, `"request failed"`) {
			continue
		}
		// What follows the message are places on this machine.
		if quoted, err := strconv.QuotedPrefix(message); err == nil {
			message = quoted
		} else {
			message, _, _ = strings.Cut(message, " ")
		}
		seen = append(seen, phase{"log: " + message, line.at.Sub(p.began)})
	}
	slices.SortStableFunc(seen, func(a, b phase) int { return cmp.Compare(a.after, b.after) })
	var out []string
	for _, s := range seen {
		out = append(out, fmt.Sprintf("%.2f s %s", s.after.Seconds(), s.what))
	}
	return strings.Join(out, "; ")
}

// viewsOverLake gives the rows a second at which the engine alone computes the
// views from what has landed.
func viewsOverLake(ctx context.Context, dir string, ps []*view.Plan) (rate float64, err error) {
	files, err := dataFiles(dir)
	if err != nil {
		return 0, err
	}
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, AllowedDirs: []string{dir}, Locked: true})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	for _, p := range ps {
		if _, err := conn.Collect(ctx, p.PlainSQL(parquet(files))); err != nil {
			return 0, err
		}
	}
	took := time.Since(began).Seconds()
	rel, err := conn.Collect(ctx, "SELECT count(*) AS n FROM "+parquet(files))
	if err != nil {
		return 0, err
	}
	return float64(rel.Value(0, 0).(int64)) / took, nil
}
