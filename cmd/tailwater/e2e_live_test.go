package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A liveClient follows a view as a browser does and keeps what it was told.
type liveClient struct {
	t    *testing.T
	path string

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at each event
	rows      map[string]liveRow
	cut, s    int64 // of the one source
	snapshots int
	complete  bool
}

type liveRow struct {
	Key   string          `json:"key"`
	Row   json.RawMessage `json:"row"`
	Batch json.RawMessage `json:"batch"`
}

// followLive opens a live view; the stream ends with the test.
func (p *process) followLive(path string) *liveClient {
	p.t.Helper()
	c := &liveClient{t: p.t, path: path, changed: make(chan struct{}), rows: map[string]liveRow{}}
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		p.t.Fatalf("%s: %s, %s", path, resp.Status, got)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sc := bufio.NewScanner(resp.Body)
		sc.Buffer(nil, 16<<20)
		kind := ""
		for sc.Scan() {
			name, value, _ := strings.Cut(sc.Text(), ": ")
			switch name {
			case "event":
				kind = value
			case "data":
				c.take(kind, value)
			}
		}
	}()
	p.t.Cleanup(func() { cancel(); <-ended; resp.Body.Close() })
	return c
}

func (c *liveClient) take(kind, data string) {
	var ev struct {
		Rows     []liveRow
		Complete bool
		Cut      map[string]int64
		Batched  map[string]int64
	}
	if err := json.Unmarshal([]byte(data), &ev); err != nil {
		c.t.Errorf("%s: %v: %s", c.path, err, data)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if kind == "snapshot" {
		clear(c.rows)
		c.snapshots++
	}
	for _, r := range ev.Rows {
		if string(r.Row) == "null" {
			delete(c.rows, r.Key)
		} else {
			c.rows[r.Key] = r
		}
	}
	c.cut, c.s, c.complete = ev.Cut["events/1/0"], ev.Batched["events/1/0"], ev.Complete
	close(c.changed)
	c.changed = make(chan struct{})
}

// await waits until the client has been told of the cut and of S.
func (c *liveClient) await(cut, s int64) {
	c.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		there, changed := c.cut == cut && c.s == s, c.changed
		at := fmt.Sprintf("cut %d, S %d", c.cut, c.s)
		c.mu.Unlock()
		if there {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("%s: 30 s, and still at %s, not at cut %d, S %d", c.path, at, cut, s)
		}
	}
}

// texts gives the merged rows in a stable order, or those of the batch layer.
func (c *liveClient) texts(batch bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []string{}
	for _, r := range c.rows {
		switch {
		case !batch:
			out = append(out, string(r.Row))
		case string(r.Batch) != "null":
			out = append(out, string(r.Batch))
		}
	}
	slices.Sort(out)
	return out
}

// rowTexts asks a view and gives its rows as the server wrote them, sorted.
func (p *process) rowTexts(path string) []string {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct{ Data []json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	out := []string{}
	for _, r := range a.Data {
		var text bytes.Buffer
		if err := json.Compact(&text, r); err != nil {
			p.t.Fatal(err)
		}
		out = append(out, text.String())
	}
	slices.Sort(out)
	return out
}

// TestALiveViewIsTheViewItself follows views of every shape while events come, late
// ones too, and while batch runs move S: what a client has put together from
// snapshots and changes is what the view answers at the same cut.
func TestALiveViewIsTheViewItself(t *testing.T) {
	project := writeFiles(t, map[string]string{
		"streams/events.sql":   "-- time: ts\nCREATE TABLE events (ts TIMESTAMP, k VARCHAR, n INTEGER);",
		"views/minutes.sql":    "SELECT window_start, k, count(*) AS c, sum(n) AS s FROM events GROUP BY tumble(ts, INTERVAL '1 minute'), k",
		"views/totals.sql":     "SELECT k, count(*) AS c, avg(n) AS mean FROM events GROUP BY k",
		"views/some.sql":       "SELECT k, n, count(*) AS c FROM events GROUP BY k, n HAVING count(*) BETWEEN 2 AND 4",
		"views/everything.sql": "SELECT count(*) AS c, sum(n) AS s, max(k) AS last FROM events",
		"views/top.sql":        "SELECT n, count(*) AS c FROM events GROUP BY n ORDER BY c DESC, n LIMIT 3",
	})
	p := startProcess(t, project, t.TempDir(), nil, "--batch-schedule", "off")
	if !p.awaitReady() {
		t.Fatal("ended before it was ready")
	}
	paths := []string{"minutes", "totals", "some", "everything", "top", "minutes?where.k=a", "minutes?isnull=k", "minutes?from=2026-01-01T00:10:00Z"}
	clients := map[string]*liveClient{}
	for _, path := range paths {
		name, filter, _ := strings.Cut(path, "?")
		clients[path] = p.followLive("/v1/views/" + name + "/live?every=50ms&" + filter)
	}
	random := rand.New(rand.NewPCG(7, 7))
	event := func() string {
		k := []string{`"a"`, `"b"`, `"c\"\n"`, "null"}[random.IntN(4)]
		at := time.Date(2026, 1, 1, 0, random.IntN(20), random.IntN(60), 0, time.UTC)
		return fmt.Sprintf(`{"ts":%q,"k":%s,"n":%d}`, at.Format(time.RFC3339), k, random.IntN(6))
	}
	var seq, s int64
	batched := map[string][]string{}
	for step := range 40 {
		if step%8 == 5 {
			resp, err := http.Post(p.url+fmt.Sprintf("/v1/batch/run?rebuild=%t", step == 21), "", nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("batch: %v, %v", resp, err)
			}
			resp.Body.Close()
			s = seq
			for _, path := range paths {
				batched[path] = p.rowTexts("/v1/views/" + path)
			}
		} else {
			var body strings.Builder
			for range 1 + random.IntN(5) {
				body.WriteString(event() + "\n")
			}
			if _, err := p.post(t.Context(), "events", body.String()); err != nil {
				t.Fatal(err)
			}
			seq++
		}
		for path, c := range clients {
			c.await(seq, s)
			if got, want := c.texts(false), p.rowTexts("/v1/views/"+path); !slices.Equal(got, want) {
				t.Fatalf("step %d: %s\n got  %s\n want %s", step, path, got, want)
			}
			// Rows that HAVING or LIMIT hides now have no place for their batch part.
			if path == "some" || path == "top" {
				continue
			}
			if got := c.texts(true); s > 0 && !slices.Equal(got, batched[path]) {
				t.Fatalf("step %d: %s: batch part\n got  %s\n want %s", step, path, got, batched[path])
			}
		}
	}
	for path, c := range clients {
		if c.snapshots < 4 || !c.complete {
			t.Errorf("%s: %d snapshots, complete %t", path, c.snapshots, c.complete)
		}
	}
	p.stop() // with the streams open
}

// TestLiveViewsAreRefusedAsAnyOther asks for what cannot be followed.
func TestLiveViewsAreRefusedAsAnyOther(t *testing.T) {
	project := writeFiles(t, map[string]string{
		"streams/events.sql": "CREATE TABLE events (k INTEGER);",
		"views/totals.sql":   "SELECT k, count(*) AS c FROM events GROUP BY k",
	})
	p := startProcess(t, project, t.TempDir(), nil, "--batch-schedule", "off")
	if !p.awaitReady() {
		t.Fatal("ended before it was ready")
	}
	var many strings.Builder
	for i := range 20_001 {
		fmt.Fprintf(&many, "{\"k\":%d}\n", i)
	}
	sent, err := p.post(t.Context(), "events", many.String())
	if err != nil {
		t.Fatal(err)
	}
	last := p.mustGet("/v1/views/totals?limit=1&after="+sent.Position, "").Cut["events/1/0"]
	want := map[string]string{
		"absent/live":            "404 not_found",
		"totals/live?whre.k=1":   "400 unknown_parameter",
		"totals/live?where.x=1":  "400 filter",
		"totals/live?where.k=x":  "400 filter",
		"totals/live?from=2026":  "400 bad_parameter",
		"totals/live?every=1ms":  "400 bad_parameter",
		"totals/live":            "422 result_too_large",
		"totals/live?limit=10":   "400 unknown_parameter",
		"totals/check?max_age=x": "400 bad_parameter",
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		resp, err := http.Get(p.url + "/v1/views/" + path)
		if err != nil {
			t.Fatal(err)
		}
		var e struct{ Code string }
		err = json.NewDecoder(resp.Body).Decode(&e)
		resp.Body.Close()
		if got := fmt.Sprint(resp.StatusCode, " ", e.Code); err != nil || got != want[path] {
			t.Errorf("%s: %s, want %s (%v)", path, got, want[path], err)
		}
	}
	c := p.followLive("/v1/views/totals/live?where.k=7")
	c.await(last, 0)
	if got := c.texts(false); len(got) != 1 || got[0] != `{"k":7,"c":1}` {
		t.Errorf("one key of many: %s", got)
	}
}
