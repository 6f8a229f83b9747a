package serving

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tailwater/tailwater/internal/access"
)

// series is the numbers i from 0 to n million.
func series(n int) string {
	return fmt.Sprintf("(SELECT a.range * 1000 + b.range AS i FROM range(%d) AS a, range(1000) AS b)", n*1000)
}

// hungry is a statement that holds some 230 MB.
func hungry(n int) string {
	return fmt.Sprintf("SELECT count(*) + %d FROM (SELECT i %% 3000000 AS k, count(*) AS c FROM %s GROUP BY k)", n, series(4))
}

func (r *rig) as(name string, memory int64, sql string) error {
	ctx := as(r.t.Context(), name, access.Limits{Memory: memory})
	_, err := textOf(r.SQL(ctx, SQLRequest{SQL: sql, Timeout: time.Minute}))
	return err
}

func (r *rig) isAtRest() {
	r.t.Helper()
	r.held.mu.Lock()
	defer r.held.mu.Unlock()
	if len(r.held.running) != 0 || r.held.limited != 0 || r.held.timer != nil || r.held.contest.Load() != nil {
		r.t.Errorf("%d are still watched, %d with a limit; timer %v", len(r.held.running), r.held.limited, r.held.timer)
	}
}

func TestAQueryOverItsKeysMemoryIsStopped(t *testing.T) {
	r := newRig(t)
	r.send(1000)
	if err := r.as("free", 0, hungry(0)); err != nil {
		t.Fatalf("without a limit: %v", err)
	}
	if r.held.reader != nil {
		t.Error("memory was sampled though nobody has a limit")
	}
	for name, sql := range map[string]string{
		"hash table": hungry(1), "sort": "SELECT i, md5(i::VARCHAR) AS m FROM " + series(4) + " ORDER BY m OFFSET 3999990",
		"list": "SELECT max(len(l)) FROM (SELECT list(i) AS l FROM " + series(20) + " GROUP BY i % 200)",
	} {
		if err := r.as("narrow", 100e6, sql); !errors.Is(err, ErrKeyMemory) || !strings.Contains(err.Error(), "key narrow may hold 100 MB") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f, _ := failureOf(r.as("narrow", 100e6, hungry(2))); f.status != 422 || f.code != "out_of_memory" || f.hint != KeyMemoryHint {
		t.Errorf("the client is told %+v", f)
	}
	if err := r.as("wide", 2e9, hungry(3)); err != nil {
		t.Errorf("with room enough: %v", err)
	}
	r.isAtRest()
}

func TestAServersLimitOfMemoryHoldsForAllItsKeys(t *testing.T) {
	r := newRig(t)
	r.send(1)
	r.held.server = 100e6
	if err := r.as("wide", 2e9, hungry(0)); !errors.Is(err, ErrKeyMemory) || !strings.Contains(err.Error(), "key wide may hold 100 MB") {
		t.Errorf("a key: %v", err)
	}
	if _, err := textOf(r.SQL(NewLimiter(LimiterConfig{}).Lend(t.Context()), SQLRequest{SQL: hungry(1), Timeout: time.Minute})); !errors.Is(err, ErrKeyMemory) || !strings.Contains(err.Error(), "all queries together may hold 100 MB") {
		t.Errorf("without a key: %v", err)
	}
	if out := r.ask(hungry(2)); out == "" {
		t.Error("the server's own query has no answer")
	}
	r.isAtRest()
}

// beside runs f again and again until done.
func (r *rig) beside(wait *sync.WaitGroup, done <-chan struct{}, f func(n int)) {
	wait.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				f(n)
			}
		}
	})
}

func TestOthersAreNotStoppedForAHungryQuery(t *testing.T) {
	r := newRig(t)
	r.send(1000)
	var wait sync.WaitGroup
	done := make(chan struct{})
	r.beside(&wait, done, func(n int) {
		if err := r.as("small", 20e6, fmt.Sprintf("SELECT k, sum(n) + %d FROM pay GROUP BY k", n)); err != nil {
			t.Errorf("a small query: %v", err)
		}
	})
	r.beside(&wait, done, func(n int) {
		if err := r.as("long", 30e6, fmt.Sprintf("SELECT max(sin(i + %d)) FROM %s", n, series(10))); err != nil {
			t.Errorf("a long query that holds nothing: %v", err)
		}
	})
	if err := r.as("narrow", 100e6, hungry(0)); !errors.Is(err, ErrKeyMemory) {
		t.Errorf("the hungry query: %v", err)
	}
	if err := r.as("free", 0, hungry(1)); err != nil {
		t.Errorf("a hungry query without a limit: %v", err)
	}
	close(done)
	wait.Wait()
	r.isAtRest()
}

func TestTheQueriesOfAKeyCountTogether(t *testing.T) {
	r := newRig(t)
	r.send(1)
	// Each holds some 100 MB.
	var wait sync.WaitGroup
	ends := make([]error, 3)
	for i := range ends {
		wait.Go(func() {
			ends[i] = r.as("many", 180e6, fmt.Sprintf("SELECT count(*) + %d FROM (SELECT i %% 1500000 AS k, count(*) AS c FROM %s GROUP BY k)", i, series(4)))
		})
	}
	wait.Wait()
	stopped := 0
	for _, err := range ends {
		if errors.Is(err, ErrKeyMemory) {
			stopped++
		} else if err != nil {
			t.Error(err)
		}
	}
	if stopped == 0 || stopped == len(ends) {
		t.Errorf("%d of %d were stopped: %v", stopped, len(ends), ends)
	}
	r.isAtRest()
}

func TestTheEnginesAccountsAreKnown(t *testing.T) {
	r := newRig(t)
	conn, err := r.wh.DB().Connect()
	must(t, err)
	defer conn.Close()
	rel, err := conn.Collect(context.Background(), "SELECT string_agg(tag, ' ' ORDER BY tag) FROM duckdb_memory()")
	must(t, err)
	const known = "ALLOCATOR ART_INDEX BASE_TABLE COLUMN_DATA CSV_READER EXTENSION EXTERNAL_FILE_CACHE HASH_TABLE IN_MEMORY_TABLE METADATA OBJECT_CACHE ORDER_BY OVERFLOW_STRINGS PARQUET_READER TRANSACTION WINDOW"
	if got := rel.Value(0, 0); got != known {
		t.Errorf("the engine's accounts are\n%s\nknown are\n%s\ndecide for each new one whether heldSQL counts it", got, known)
	}
}
