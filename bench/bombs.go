package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tailwater/tailwater/serving/gatecorpus"
)

// What a statement that would take the machine may do to those who send: double the
// time of the slowest hundredth of their requests, be it refused or stopped.
const (
	bombLimit  = 2 * time.Second // its time limit
	bombEnd    = 3_000           // ms after which it must have ended
	bombers    = 2               // ask side by side, one for each core
	bombSlower = 2               // × the p99 of requests without bombs
)

const bombedSQL = `-- time: ts
CREATE TABLE bombed (
  id BIGINT NOT NULL,
  merchant VARCHAR NOT NULL,
  amount DECIMAL(10,2),
  ts TIMESTAMP NOT NULL,
  country VARCHAR,
  ok BOOLEAN,
  doc VARCHAR
);
`

// measureBombs sends at a steady rate, without and with the bombs of the Gate's
// corpus beside it, over a stream of their own.
func measureBombs(ctx context.Context, b *bench) error {
	dir, remove, err := b.scratch("bombs")
	if err != nil {
		return err
	}
	defer remove()
	if err := writeProject(dir, true, true); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "streams", "bombed.sql"), []byte(bombedSQL), 0o644); err != nil {
		return err
	}
	p, err := b.serve(ctx, dir, dir+"/data", "--land-age", "5s", "--batch-schedule", "@every "+b.sizes.batchEvery.String())
	if err != nil {
		return err
	}
	defer p.kill()
	if err := b.fillBombed(ctx, p); err != nil {
		return err
	}
	if err := p.batch(ctx); err != nil {
		return err
	}
	alone, _, err := b.sendBeside(ctx, p, 1, func(ctx context.Context) error { return pause(ctx, b.sizes.bombsAlone) })
	if err != nil {
		return err
	}
	var e explosions
	beside, greatest, err := b.sendBeside(ctx, p, 2, func(ctx context.Context) error { return e.run(ctx, b, p) })
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.output())
	}
	r := Result{Name: "bombs/ingest/p99", Value: quantile(beside, 0.99), Unit: "ms", Limit: quantile(alone, 0.99), LimitIs: "the same requests without bombs, to the same server just before",
		Target: atMost(bombSlower * quantile(alone, 0.99)), More: append(latencies("", beside)[2:], Figure{"p50_ms", quantile(beside, 0.5)}, Figure{"alone_p50_ms", quantile(alone, 0.5)},
			Figure{"requests", float64(len(beside))}, Figure{"greatest_rss_mb", greatest / 1e6})}
	b.add(r)
	b.add(Result{Name: "bombs/end", Value: quantile(e.took, 1), Unit: "ms", Limit: ms(bombLimit), LimitIs: "their time limit", Target: atMost(bombEnd),
		More: []Figure{{"bombs", float64(len(e.took))}, {"refused", float64(e.refused.Load())}, {"stopped", float64(e.stopped.Load())}, {"answered", float64(e.answered.Load())}}, Note: "the slowest: " + e.slowest})
	return nil
}

// sendBeside sends while something is done, and gives the latencies of the requests
// and the most memory that the server had.
func (b *bench) sendBeside(ctx context.Context, p *process, number uint64, do func(context.Context) error) (took []float64, greatest float64, err error) {
	l := background(p.addr, 10_000, number)
	if err := l.open(); err != nil {
		return nil, 0, err
	}
	l.start(ctx)
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	for running := true; running; {
		select {
		case err = <-done:
			running = false
		case <-time.After(50 * time.Millisecond):
			bytes, looked := p.rss()
			greatest, err = max(greatest, bytes), errors.Join(err, looked)
		}
	}
	took, ended := l.finish()
	return took, greatest, errors.Join(err, ended)
}

// fillBombed sends the rows that the bombs read.
func (b *bench) fillBombed(ctx context.Context, p *process) error {
	b.progress.say("bombs: sending %d events", b.sizes.bombRows)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	const chunk = 20_000
	began := time.Now().Add(-time.Hour).UTC()
	for from := 0; from < b.sizes.bombRows; from += chunk {
		var body bytes.Buffer
		for i := from; i < min(from+chunk, b.sizes.bombRows); i++ {
			country := `"de"`
			if i%7 == 0 {
				country = "null"
			}
			fmt.Fprintf(&body, `{"id":%d,"merchant":"m%d","amount":%d.%02d,"ts":"%s","country":%s,"ok":%t,"doc":"{\"k\":%d}"}`+"\n",
				i, i%5000, i*7%100, i%100, began.Add(time.Duration(i)*time.Millisecond).Format(time.RFC3339Nano), country, i%3 == 0, i)
		}
		if err := ask(ctx, client, http.MethodPost, "http://"+p.addr+"/v1/streams/bombed/events", body.Bytes(), nil); err != nil {
			return err
		}
	}
	return nil
}

// explosions is what became of the bombs.
type explosions struct {
	mu                         sync.Mutex
	took                       []float64 // ms
	slowest                    string
	refused, stopped, answered atomic.Uint64
}

var paymentsWord = regexp.MustCompile(`\bpayments\b`)

// run asks every bomb once.
func (e *explosions) run(ctx context.Context, b *bench, p *process) error {
	list := gatecorpus.Bombs()
	list = list[:min(len(list), b.sizes.bombs)]
	var next atomic.Int64
	errs := make([]error, bombers)
	var running sync.WaitGroup
	for i := range bombers {
		running.Go(func() {
			client := &http.Client{Timeout: time.Minute}
			defer client.CloseIdleConnections()
			for errs[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(list) {
					return
				}
				b.progress.say("bombs: %d of %d", n+1, len(list))
				errs[i] = e.one(ctx, client, p, paymentsWord.ReplaceAllString(list[n].SQL, "bombed"))
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func (e *explosions) one(ctx context.Context, client *http.Client, p *process, sql string) error {
	body, err := json.Marshal(map[string]string{"sql": sql, "timeout": bombLimit.String()})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.addr+"/v1/sql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// An answer that is stopped on its way ends without its last chunk.
	_, cut := io.Copy(io.Discard, resp.Body)
	took := ms(time.Since(began))
	switch {
	case resp.StatusCode == http.StatusOK && cut == nil:
		e.answered.Add(1)
	case resp.StatusCode == http.StatusBadRequest:
		e.refused.Add(1)
	default:
		e.stopped.Add(1)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.took) == 0 || took > quantile(e.took, 1) {
		e.slowest = fmt.Sprintf("%.80s", sql)
	}
	e.took = append(e.took, took)
	return nil
}
