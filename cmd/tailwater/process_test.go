package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var binary = struct {
	sync.Once
	path string
	err  error
}{}

// builtBinary builds the real program once, with fault points in it.
func builtBinary(t *testing.T) string {
	t.Helper()
	binary.Do(func() {
		dir, err := os.MkdirTemp("", "tailwater-test-")
		if err != nil {
			binary.err = err
			return
		}
		binary.path = filepath.Join(dir, "tailwater")
		out, err := exec.Command("go", "build", "-tags", "failpoints", "-o", binary.path, ".").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatalf("build the program: %v", binary.err)
	}
	return binary.path
}

// A process is the real program, seen from outside.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	done chan struct{} // closed when the process is gone
	err  error
	mu   sync.Mutex
	log  bytes.Buffer
}

var servingLine = regexp.MustCompile(`msg=serving http=(\S+)`)

// startProcess starts `tailwater serve` and waits until it listens; nil if the
// process ended before (an armed fault point may do that).
func startProcess(t *testing.T, project, data string, env []string, args ...string) *process {
	t.Helper()
	return startCommand(t, env, append([]string{"serve", project, "--data", data, "--http", "127.0.0.1:0"}, args...)...)
}

// startCommand starts a command line that serves.
func startCommand(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{})}
	p.cmd = exec.Command(builtBinary(t), args...)
	p.cmd.Env = append(os.Environ(), env...)
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	go func() {
		sc := bufio.NewScanner(pipe)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			p.mu.Lock()
			p.log.WriteString(sc.Text() + "\n")
			p.mu.Unlock()
			if m := servingLine.FindStringSubmatch(sc.Text()); m != nil {
				listening <- m[1]
			}
		}
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	select {
	case p.url = <-listening:
		return p
	case <-p.done:
		t.Logf("the process ended:\n%s", p.output())
		return nil
	case <-time.After(60 * time.Second):
		t.Fatalf("not listening after 60 s:\n%s", p.output())
		return nil
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to stop, and expects it to exit with 0.
func (p *process) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		p.t.Fatalf("still running 60 s after SIGTERM:\n%s", p.output())
	}
	if p.err != nil {
		p.t.Fatalf("exit after SIGTERM: %v\n%s", p.err, p.output())
	}
}

// awaitReady waits until answers are given; false if the process ended.
func (p *process) awaitReady() bool {
	p.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		if p.gone() {
			return false
		}
		if resp, err := http.Get(p.url + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.t.Fatalf("not ready after 60 s:\n%s", p.output())
	return false
}

// ingested is the answer to a request of events.
type ingested struct {
	Accepted int               `json:"accepted"`
	Rejected []json.RawMessage `json:"rejected"`
	Position string            `json:"position"`
}

// post sends NDJSON; an error means that it is not known what was stored.
func (p *process) post(ctx context.Context, stream, body string) (ingested, error) {
	var out ingested
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/streams/"+stream+"/events", strings.NewReader(body))
	if err != nil {
		return out, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return out, err
	}
	if resp.StatusCode != http.StatusOK {
		return out, fmt.Errorf("%s: %s", resp.Status, text)
	}
	return out, json.Unmarshal(text, &out)
}

// An answered is a JSON answer.
type answered struct {
	Meta     []struct{ Name, Type string }
	Data     []map[string]any `json:"data"`
	Rows     int              `json:"rows"`
	Complete bool             `json:"complete"`
	Cut      map[string]int64 `json:"cut"`
}

// get asks a path, or posts SQL if sql is given.
func (p *process) get(path, sql string) (answered, error) {
	var out answered
	var resp *http.Response
	var err error
	if sql != "" {
		body, _ := json.Marshal(map[string]string{"sql": sql})
		resp, err = http.Post(p.url+path, "application/json", bytes.NewReader(body))
	} else {
		resp, err = http.Get(p.url + path)
	}
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return out, err
	}
	if resp.StatusCode != http.StatusOK {
		return out, fmt.Errorf("%s: %s", resp.Status, text)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return out, dec.Decode(&out)
}

// mustGet fails the test on an error, and on an incomplete answer.
func (p *process) mustGet(path, sql string) answered {
	p.t.Helper()
	a, err := p.get(path, sql)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", path, sql, err, p.output())
	}
	if !a.Complete {
		p.t.Fatalf("%s %s: incomplete answer", path, sql)
	}
	return a
}

// difference asks for the parity check of a view.
func (p *process) difference(view string) (int64, string) {
	p.t.Helper()
	resp, err := http.Get(p.url + "/v1/views/" + view + "/check")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	var c struct {
		Difference *int64 `json:"difference"`
	}
	if err := json.Unmarshal(text, &c); err != nil || c.Difference == nil {
		p.t.Fatalf("check %s: %s", view, text)
	}
	return *c.Difference, string(text)
}

// writeFiles makes a folder of the files, by their names.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
