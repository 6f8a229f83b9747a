package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a server that runs beside the bench.
type process struct {
	cmd   *exec.Cmd
	began time.Time
	addr  string        // host:port, once it listens
	done  chan struct{} // closed when it is gone
	told  chan string   // gets addr from the log
	mu    sync.Mutex
	log   []logLine
}

// A logLine is a line of a process's log, and when it was read.
type logLine struct {
	text string
	at   time.Time
}

var listening = regexp.MustCompile(`http=http://(\S+)`)

// startTimeout bounds a start; the largest one replays 10 M events.
const startTimeout = 3 * time.Minute

// serve starts the program on a project, and waits until it answers.
func (b *bench) serve(ctx context.Context, project, data string, args ...string) (*process, error) {
	p, err := startProcess(ctx, exec.Command(b.program, append([]string{"serve", project, "--data", data, "--http", "127.0.0.1:0"}, args...)...))
	if err != nil {
		return nil, err
	}
	if err := p.awaitReady(ctx); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// startProcess starts a command and waits until it tells where it listens.
func startProcess(ctx context.Context, cmd *exec.Cmd) (*process, error) {
	p, err := launch(cmd)
	if err != nil {
		return nil, err
	}
	select {
	case p.addr = <-p.told:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended:\n%s", filepath.Base(cmd.Path), p.output())
	case <-time.After(startTimeout):
		err = errors.New("does not listen")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.kill()
	return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, p.output())
}

// launch starts a command and reads its log.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{}), told: make(chan string, 1)}
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p.began = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.log = append(p.log, logLine{lines.Text(), time.Now()})
			p.mu.Unlock()
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case p.told <- m[1]:
				default: // said before
				}
			}
		}
		_ = cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

func (p *process) lines() []logLine {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

func (p *process) output() string {
	var text strings.Builder
	for _, line := range p.lines() {
		text.WriteString(line.text + "\n")
	}
	return text.String()
}

// kill ends the process as kill -9 does, and waits for its end. It is idempotent.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails if it is gone already
	<-p.done
}

// awaitReady waits until answers are given.
func (p *process) awaitReady(ctx context.Context) error {
	err := until(ctx, startTimeout, time.Millisecond, func() (bool, error) {
		resp, err := http.Get("http://" + p.addr + "/readyz")
		if err != nil {
			return false, err
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the server: %w\n%s", err, p.output())
	}
	return nil
}

// until asks again and again whether something is so.
func until(ctx context.Context, limit, pause time.Duration, ask func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := ask()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s", limit)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A status is what the bench needs of /v1/status.
type status struct {
	Streams []struct {
		Stream                         string
		Head, Applied, Landed, Batched uint64
		Tail                           uint64 `json:"tail_events"`
		Ledger                         struct{ Accepted, Duplicates uint64 }
	}
}

// status asks for the marks of the one stream.
func (p *process) status(ctx context.Context) (status, error) {
	var s status
	err := p.getJSON(ctx, "/v1/status", &s)
	if err == nil && len(s.Streams) != 1 {
		err = fmt.Errorf("status has %d streams", len(s.Streams))
	}
	return s, err
}

func (p *process) getJSON(ctx context.Context, path string, into any) error {
	body, err := p.ask(ctx, http.MethodGet, path, "")
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// ask makes a request whose cost does not matter.
func (p *process) ask(ctx context.Context, method, path, accept string) ([]byte, error) {
	return p.send(ctx, method, path, "", accept)
}

// send is ask with a body of text.
func (p *process) send(ctx context.Context, method, path, text, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.addr+path, strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	if text != "" {
		req.Header.Set("Content-Type", "text/plain")
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.output())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
	}
	return body, err
}

// batch runs a batch and waits for it.
func (p *process) batch(ctx context.Context) error {
	_, err := p.ask(ctx, http.MethodPost, "/v1/batch/run", "")
	return err
}

// caughtUp waits until what is in the log is in the answers, and tells how long
// that took.
func (p *process) caughtUp(ctx context.Context, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	err := until(ctx, limit, 5*time.Millisecond, func() (bool, error) {
		s, err := p.status(ctx)
		return err == nil && s.Streams[0].Applied >= s.Streams[0].Head, err
	})
	return time.Since(began), err
}

// ticksPerSecond is the unit of /proc/PID/stat on Linux.
const ticksPerSecond = 100

// cpu is what the process has used so far, from the kernel's accounts.
func (p *process) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("CPU of the server: %w", err)
	}
	// The name of the command, in parentheses, may hold spaces.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} { // utime and stime; the third field of all is the first here
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU of the server: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// othersCPU is what all processes but the given ones have used so far; a window in
// which it grows fast was measured on a busy machine.
func othersCPU(ours ...time.Duration) time.Duration {
	data, _ := os.ReadFile("/proc/stat") // without it nobody else is seen
	line, _, _ := strings.Cut(string(data), "\n")
	var busy int64
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, iowait, and guests, which are in user
			continue
		}
		n, _ := strconv.ParseInt(f, 10, 64)
		busy += n
	}
	others := time.Duration(busy) * time.Second / ticksPerSecond
	for _, d := range ours {
		others -= d
	}
	return others
}

// rss is the memory that the process holds, bytes.
func (p *process) rss() (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory of the server: %w", err)
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(data))[1], 64)
	return pages * float64(os.Getpagesize()), err
}

// metric reads one value of /metrics, the sum over its labels.
func (p *process) metric(ctx context.Context, name string) (sum float64, err error) {
	body, err := p.ask(ctx, http.MethodGet, "/metrics", "")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += v
	}
	return sum, nil
}

// selfCPU is what the bench itself has used.
func selfCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it fails for a bad argument alone
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
