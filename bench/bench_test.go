package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/ingest"
)

// TestMain lets this binary be one of the bench's own servers.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := run(context.Background(), nil, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// tinySizes show that everything runs; their figures mean nothing.
var tinySizes = sizes{
	name: "tiny", repeats: 1, warm: 50 * time.Millisecond, window: 100 * time.Millisecond,
	batches: []int{1, 1_000}, heldFor: 200 * time.Millisecond,
	blockRows: []int{1_000}, views: []int{1, 10}, compute: 50 * time.Millisecond,
	landRows: 20_000, batchRows: 40_000,
	backgrounds: []int{10_000}, samples: 20, probeFor: 200 * time.Millisecond, batchEvery: time.Second,
	queryRows: 20_000, queryFor: 200 * time.Millisecond,
	users: 2, dashboardFor: 1500 * time.Millisecond, rawRows: 60_000, rawTimes: 2, transportRows: 20_000,
	bombRows: 20_000, bombs: 3, bombsAlone: 300 * time.Millisecond,
	restarts:  []int{20_000},
	manyViews: 10, manyRate: 20_000, liveGroups: 20_000,
	memoryRate: 20_000, memoryEarly: 500 * time.Millisecond, memoryLate: time.Second, memoryBatch: time.Second,
}

func TestEveryMeasurementRuns(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "tailwater")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/tailwater").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	c := commandLine{Program: program, Dir: filepath.Join(dir, "data"), Out: filepath.Join(dir, "out", "bench.json"), JSON: true}
	var out, log bytes.Buffer
	if err := c.measure(t.Context(), tinySizes, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	var printed report
	if err := json.Unmarshal(out.Bytes(), &printed); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	got := map[string]Result{}
	for _, r := range printed.Results {
		got[r.Name] = r
	}
	for _, name := range []string{
		"ingest/alone/1", "ingest/alone/1000", "ingest/all/400k", "ingest/all/flat-out", "speed/1000/views-1", "speed/1000/views-10",
		"landing/dir", "landing/s3", "batch/incremental", "batch/rebuild", "freshness/10k/p50", "freshness/10k/p99",
		"query/point/clients-1/p50", "query/point/clients-8/p99", "query/top20/clients-1/p50", "query/dashboard/p99",
		"query/raw/count", "query/raw/newest", "query/raw/all", "transport/arrow", "transport/ndjson", "transport/csv", "transport/json", "postgres/text", "postgres/binary", "bombs/ingest/p99", "bombs/end", "restart/20k", "memory/20k",
		"views/many/p50", "views/many/p99", "views/live/point", "views/live/memory", "views/hop", "views/distinct", "views/distinct-approx", "views/median", "views/quantile-approx",
	} {
		if r := got[name]; r.Value <= 0 || r.Unit == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, name := range []string{"ingest/alone/1000", "speed/1000/views-10", "landing/s3", "batch/rebuild", "freshness/10k/p50", "query/point/clients-1/p50", "query/dashboard/p50", "query/raw/key", "transport/arrow", "postgres/text", "views/many/p99", "views/live/point", "views/hop"} {
		if r := got[name]; r.Ratio <= 0 || r.LimitIs == "" {
			t.Errorf("%s has no limit: %+v", name, r)
		}
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
	saved, err := readReport(c.Out)
	if err != nil {
		t.Fatal(err)
	}
	var table, markdown bytes.Buffer
	if err := saved.table(&table); err != nil {
		t.Fatal(err)
	}
	if err := saved.markdown(&markdown); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{table.String(), markdown.String()} {
		if strings.Count(text, "landing/s3") != 1 || !strings.Contains(text, printed.Machine.CPU) {
			t.Errorf("incomplete:\n%s", text)
		}
	}
}

func TestRenewedBodiesHaveNewIdsAndAreAccepted(t *testing.T) {
	d, err := ingest.NewDecoder(payments(), ingest.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for client := range uint64(2) {
		b := newBody(100, 1, client)
		for request := range uint64(3) {
			b.renew(3*client+request, time.Now())
			out, err := d.Decode(b.text, false)
			if err != nil || out.Accepted() != 100 {
				t.Fatal(out.Accepted(), out.Refused, err)
			}
			for i := range 100 {
				ids[out.Rows.Column(0).ValueStr(i)] = true
			}
		}
	}
	if len(ids) != 600 {
		t.Errorf("%d ids of 600 events", len(ids))
	}
}

func TestQuantileLiesBetweenItsNeighbours(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if values[0] != 4 {
		t.Error("the values were sorted in place")
	}
}

func TestUnknownMeasurementIsRefused(t *testing.T) {
	err := run(t.Context(), []string{"ingest", "speeed"}, &bytes.Buffer{}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "speeed") {
		t.Error(err)
	}
}
