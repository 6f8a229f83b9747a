package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// firstRunMax is the time in which a stranger should see the first chart.
const (
	firstRunMax         = 60 * time.Second
	firstRunCommandsMax = 6
)

// ordersCSV makes orders from number first on, ten a minute.
func ordersCSV(first, count int) string {
	var sb strings.Builder
	sb.WriteString("order_id,placed_at,shop,country,amount\n")
	for i := first; i < first+count; i++ {
		at := time.Date(2024, 5, 1, 0, 0, 6*i, 0, time.UTC).Format(time.DateTime)
		fmt.Fprintf(&sb, "o%d,%s,%s,%s,%d.%02d\n", i, at, []string{"north", "south", "web"}[i%3], []string{"DE", "FR"}[i%2], i%90+5, i%100)
	}
	return sb.String()
}

var totalLine = regexp.MustCompile(`^total ([0-9.]+) s$`)

// TestFirstRunFromACSVFile runs tools/first-run and looks at its server while it
// waits for Enter.
func TestFirstRunFromACSVFile(t *testing.T) {
	const before, after = 20_000, 3000
	// Not the test's own context: it ends before the cleanup, and a script that is
	// killed leaves its server behind.
	ctx, cancel := context.WithTimeout(context.Background(), 3*firstRunMax)
	cmd := exec.CommandContext(ctx, "../../tools/first-run", builtBinary(t),
		tempFile(t, "orders.csv", ordersCSV(0, before)), tempFile(t, "more.csv", ordersCSV(before, after)))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(cmd.Environ(), "TAILWATER_HTTP=127.0.0.1:0")
	enter, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, done: make(chan struct{})}
	t.Cleanup(func() {
		defer cancel()
		enter.Close() // the script takes that for Enter, and ends the server
		if err := cmd.Wait(); err != nil {
			t.Errorf("the script ended: %v", err)
		}
		if _, err := http.Get(p.url + "/healthz"); err == nil {
			t.Errorf("the server at %s outlives the script", p.url)
		}
	})
	var text strings.Builder
	commands, total := 0, time.Duration(0)
	lines := bufio.NewScanner(output)
	for lines.Scan() && lines.Text() != "Enter ends it" {
		line := lines.Text()
		text.WriteString(line + "\n")
		if strings.HasPrefix(line, "$ ") {
			commands++
		}
		if url, ok := strings.CutPrefix(line, "serving "); ok {
			p.url = url
		}
		if m := totalLine.FindStringSubmatch(line); m != nil {
			seconds, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			total = time.Duration(seconds * float64(time.Second))
		}
	}
	t.Log("\n" + text.String())
	if commands < 1 || commands > firstRunCommandsMax || total <= 0 || total > firstRunMax {
		t.Fatalf("%d commands in %s", commands, total)
	}
	p.seesFirstRun(before, after)
}

// seesFirstRun fails unless the answer is merged from both layers, and live.
func (p *process) seesFirstRun(before, after int) {
	t := p.t
	t.Helper()
	runs := mustDecode[struct{ Runs []batchAnswer }](t, p.call(http.MethodGet, "/v1/batch/runs", nil).must(t))
	if len(runs.Runs) == 0 || runs.Runs[len(runs.Runs)-1].Rows != int64(before) {
		t.Errorf("batch runs: %+v", runs.Runs)
	}
	var answer struct {
		Data       []struct{ Events int }
		Complete   bool
		Statistics struct {
			SpeedRows int `json:"speed_rows"`
		}
	}
	if err := json.Unmarshal(p.call(http.MethodGet, "/v1/views/orders_hourly", nil).must(t), &answer); err != nil {
		t.Fatal(err)
	}
	events := 0
	for _, row := range answer.Data {
		events += row.Events
	}
	if events != before+after || !answer.Complete || answer.Statistics.SpeedRows == 0 {
		t.Errorf("%d events of %d, complete %v, %d rows from the speed layer", events, before+after, answer.Complete, answer.Statistics.SpeedRows)
	}
	if d, text := p.difference("orders_hourly"); d != 0 {
		t.Errorf("the difference is %d: %s", d, text)
	}
	page := p.call(http.MethodGet, "/", nil)
	if page.must(t); !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Errorf("the page is %s", page.header.Get("Content-Type"))
	}
	live := p.followLive("/v1/views/orders_hourly/live")
	p.eventually("a chart of both layers", 30*time.Second, func() bool {
		live.mu.Lock()
		defer live.mu.Unlock()
		layers := map[bool]int{}
		for _, row := range live.rows {
			layers[string(row.Row) == string(row.Batch)]++
		}
		return live.snapshots > 0 && live.complete && layers[true] > 0 && layers[false] > 0
	})
}
