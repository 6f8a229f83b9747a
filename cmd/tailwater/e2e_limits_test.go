package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// endless is a query that would take hours on some thousand events.
const endless = "SELECT count(*) AS n FROM payments a, payments b, payments c WHERE a.weight + b.weight + c.weight < length(a.id)"

func TestAQueryIsStoppedAtItsLimits(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, append(quiet, "--warehouse-memory", "64MB")...)
	p.mustPost("payments", payments("a", 6000))
	p.caughtUp()
	ask := func(sql string) reply {
		t.Helper()
		return p.call(http.MethodPost, "/v1/sql?timeout=2s", strings.NewReader(sql), "Content-Type", "text/plain")
	}
	t.Run("time", func(t *testing.T) {
		began := time.Now()
		f := ask(endless).refusal(t, http.StatusGatewayTimeout, "timeout")
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("a limit of 2s took %s", took)
		}
		if f.Hint == "" {
			t.Error("no hint")
		}
	})
	t.Run("memory", func(t *testing.T) {
		f := ask("SELECT length(string_agg(rpad('x', 900, 'y'), ',')) AS n FROM payments, range(1000)").refusal(t, http.StatusUnprocessableEntity, "out_of_memory")
		if f.Hint == "" || strings.Contains(f.Message, "SET ") {
			t.Errorf("want a remedy that a client can follow: %+v", f)
		}
	})
	t.Run("afterwards", func(t *testing.T) {
		if n := p.count("payments"); n != "6000" {
			t.Errorf("%s events", n)
		}
	})
}

func TestTooManyQueriesAreTurnedAwayAndTheRestGoesOn(t *testing.T) {
	p := startReady(t, worldFolder(t), t.TempDir(), nil, append(quiet, "--query-concurrency", "1")...)
	p.mustPost("payments", payments("a", 3000))
	p.caughtUp()
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses, retry := map[int]int{}, ""
	ask := func(path, sql string) {
		resp, err := http.Post(p.url+path, "text/plain", strings.NewReader(sql))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		mu.Lock()
		defer mu.Unlock()
		statuses[resp.StatusCode]++
		if resp.StatusCode == http.StatusTooManyRequests {
			retry = resp.Header.Get("Retry-After")
		}
	}
	const crowd = 90 // more than one that runs and those that may wait
	wg.Go(func() { ask("/v1/sql?timeout=4s", endless) })
	probes := 0 // each asks something else: what is known already needs no slot
	p.eventually("it runs", 3*time.Second, func() bool {
		probes++
		r := p.call(http.MethodPost, "/v1/sql?timeout=50ms", strings.NewReader(fmt.Sprint("SELECT ", probes)), "Content-Type", "text/plain")
		return r.status == http.StatusGatewayTimeout
	})
	for i := range crowd {
		wg.Go(func() { ask("/v1/sql", fmt.Sprintf("SELECT count(*) + %d AS n FROM payments", i)) })
	}
	p.eventually("some are turned away", 3*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return statuses[http.StatusTooManyRequests] > 0
	})
	// What is no query does not wait for queries.
	began := time.Now()
	p.call(http.MethodGet, "/healthz", nil).must(t)
	p.call(http.MethodGet, "/v1/status", nil).must(t)
	if _, err := p.post(t.Context(), "payments", payments("b", 10)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("health, status and ingest took %s behind queries", took)
	}
	wg.Wait()
	if statuses[http.StatusOK] == 0 || statuses[http.StatusOK]+statuses[http.StatusTooManyRequests]+statuses[http.StatusGatewayTimeout] != crowd+1 || statuses[http.StatusGatewayTimeout] != 1 {
		t.Errorf("statuses: %v", statuses)
	}
	if retry == "" || retry == "0" {
		t.Errorf("Retry-After: %q", retry)
	}
	if n := p.count("payments"); n != "3010" {
		t.Errorf("%s events", n)
	}
}
