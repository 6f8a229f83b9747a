package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/stream"
)

// operations is how many random operations each property test drives;
// TAILWATER_TEST_OPERATIONS overrides it.
func operations(t *testing.T, n int) int {
	t.Helper()
	if text := os.Getenv("TAILWATER_TEST_OPERATIONS"); text != "" {
		v, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("TAILWATER_TEST_OPERATIONS: %v", err)
		}
		return v
	}
	return n
}

// seed is fixed, so that a failure repeats; TAILWATER_TEST_SEED tries another.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("TAILWATER_TEST_SEED")
	if text == "" {
		return 20240229
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("TAILWATER_TEST_SEED: %v", err)
	}
	return v
}

func drive(t *testing.T, w *world, n int) {
	t.Helper()
	for range n {
		w.step()
	}
	w.settle()
	t.Logf("%d operations, %d events acknowledged, %d accepted", n, len(w.sent), len(w.accepted(w.node.speed.State().Applied())))
}

// memoryGround keeps log and lake in memory, where faults are cheap, and the
// warehouse in a file, because DuckDB's recovery is part of what is tested.
type memoryGround struct {
	dir    string
	log    *stream.MemoryLog
	bucket *lake.MemoryBucket
}

func newMemoryGround(t *testing.T) *memoryGround {
	return &memoryGround{dir: t.TempDir(), log: stream.NewMemoryLog(0), bucket: lake.NewMemoryBucket()}
}

func (g *memoryGround) parts(*testing.T) parts {
	return parts{
		log:    func(context.Context, string) (stream.Log, error) { return g.log, nil },
		bucket: g.bucket, cacheDir: filepath.Join(g.dir, "cache"), spoolDir: filepath.Join(g.dir, "spool"),
		readDirs:      []string{filepath.Join(g.dir, "cache"), filepath.Join(g.dir, "spool")},
		warehousePath: g.warehouse(), landBytes: 200_000, landAge: 2 * time.Second,
		warehouseMemory: "512MB", warehouseThreads: 1, speedMemory: "256MB",
	}
}

func (g *memoryGround) down() {}

func (g *memoryGround) warehouse() string {
	return filepath.Join(g.dir, "warehouse", "warehouse.duckdb")
}

func (g *memoryGround) rollback(t *testing.T, r *rand.Rand) (uint64, bool) {
	first, last, err := g.log.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if last < first {
		return 0, false
	}
	through := first - 1 + r.Uint64N(last-first+2)
	through = max(through, last-min(last, 40)) // a suffix, not a history
	g.log.Truncate(through)
	return through, true
}

func TestAnswersEqualARecountAtAnyMomentOnInMemoryParts(t *testing.T) {
	t.Parallel()
	drive(t, newWorld(t, seed(t), newMemoryGround(t)), operations(t, 10_000))
}
