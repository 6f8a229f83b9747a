package serving

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving/gatecorpus"
)

const (
	bombLimit  = 2 * time.Second
	bombEnd    = 3 * time.Second
	bombMemory = "512MB"
	// What the process may take at most: the engine's limit, what its steps hold
	// beside it, and the rest of the tests. The most is what a quantile keeps of the
	// values that come within the time limit, 1.8 GB; a server watches its memory.
	bombResident = 3 << 30
)

// bombField is an engine like the one that answers queries, with tables that are
// large enough for a bomb to have something to burn.
func bombField(t *testing.T) (*Gate, *duckdb.DB, map[string][]string) {
	t.Helper()
	gateDB, _ := openEngine(t)
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 2, MemoryLimit: bombMemory, Locked: true, Init: []string{
		"CREATE SCHEMA layers",
		"CREATE TABLE layers.payments AS SELECT i AS id, 'm' || (i % 5000) AS merchant, (i * 7 % 100000)::DECIMAL(10,2) AS amount, TIMESTAMP '2024-05-01' + to_seconds(i) AS ts, CASE WHEN i % 7 = 0 THEN NULL ELSE 'de' END AS country, i % 3 = 0 AS ok, '{\"k\":' || i || '}' AS doc FROM range(2000000) r(i)",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return NewGate(gateDB, sampleCatalog), db, map[string][]string{
		"payments": {"SELECT * FROM layers.payments"}, "orders": {"SELECT id, id * 2 AS payment_id, merchant AS customer, ts FROM layers.payments"},
		"daily": {"SELECT merchant, ts AS window_start, id AS n, amount::DOUBLE AS total FROM layers.payments"}, "tailwater.view_errors": {"SELECT 1"},
	}
}

// explode admits, rewrites and runs a statement, and drops its rows.
func explode(ctx context.Context, gate *Gate, db *duckdb.DB, relations map[string][]string, sql string) error {
	statement, err := gate.Admit(ctx, sql)
	if err != nil {
		return err
	}
	if sql, err = statement.Rewrite(relations); err != nil {
		return err
	}
	c, err := db.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	rows, err := c.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for {
		batch, err := rows.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		batch.Release()
	}
}

func TestBombsEndSoonAfterTheirTimeLimit(t *testing.T) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak begins now
		t.Fatalf("%v: the test measures memory on Linux", err)
	}
	gate, db, relations := bombField(t)
	list := gatecorpus.Bombs()
	if len(list) < 25 {
		t.Fatalf("there are %d bombs", len(list))
	}
	for _, s := range list {
		ctx, cancel := context.WithTimeout(t.Context(), bombLimit)
		waited := runDelays(t)
		started := time.Now()
		err := explode(ctx, gate, db, relations, s.SQL)
		took := time.Since(started)
		cancel()
		// Other tests run beside this one: what a thread waited for a processor is
		// not the statement's.
		longest := time.Duration(0)
		for thread, delay := range runDelays(t) {
			longest = max(longest, delay-waited[thread])
		}
		took -= longest
		if resident := peakResident(t); took > bombEnd || resident > bombResident {
			t.Errorf("%s: %.200s\n\tended after %s with %v, the process at %d MiB", s.Section, s.SQL, took, err, resident>>20)
		}
	}
}

// runDelays gives how long each thread of the process has been ready to run and
// waited for a processor.
func runDelays(t *testing.T) map[string]time.Duration {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/schedstat")
	if err != nil || len(files) == 0 {
		t.Fatalf("no /proc/self/task/*/schedstat (%v): the test measures waiting on Linux", err)
	}
	out := map[string]time.Duration{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		fields := strings.Fields(string(data))
		if err != nil || len(fields) < 2 {
			continue // the thread has ended
		}
		if delay, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			out[file] = time.Duration(delay)
		}
	}
	return out
}

// peakResident gives the most memory that the process has had, in bytes.
func peakResident(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatalf("%v: the test measures memory on Linux", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Fatal("/proc/self/status has no VmHWM")
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
