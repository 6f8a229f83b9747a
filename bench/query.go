package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// querySpread is over how much event time the landed events lie, and querySpan how
// much of it a point query asks for.
const (
	querySpread = 100 * time.Minute
	querySpan   = 30 * time.Minute
)

// A question is a kind of query: as the server is asked, and as SQL over a table that
// holds the same final rows.
type question struct {
	name string
	url  func(r *rand.Rand) string
	sql  func(r *rand.Rand) string
}

func questions(began time.Time) []question {
	point := func(r *rand.Rand) (merchant, from, to string) {
		at := began.Add(time.Duration(r.Int64N(int64(querySpread - querySpan))))
		skew := r.Float64()
		return fmt.Sprintf("merchant-%06d", int(skew*skew*merchants)), at.UTC().Format(timeLayout), at.Add(querySpan).UTC().Format(timeLayout)
	}
	return []question{{
		name: "point",
		url: func(r *rand.Rand) string {
			m, from, to := point(r)
			return "/v1/views/revenue?" + url.Values{"where.merchant": {m}, "from": {from}, "to": {to}}.Encode()
		},
		sql: func(r *rand.Rand) string {
			m, from, to := point(r)
			return fmt.Sprintf("SELECT * FROM final WHERE merchant = '%s' AND window_start >= '%s' AND window_start < '%s'", m, from, to)
		},
	}, {
		name: "top20",
		url:  func(*rand.Rand) string { return "/v1/views/revenue?order=-revenue&limit=20" },
		sql:  func(*rand.Rand) string { return "SELECT * FROM final ORDER BY revenue DESC LIMIT 20" },
	}}
}

func measureQuery(ctx context.Context, b *bench) error {
	if b.wants("query/point") || b.wants("query/top20") || b.wants("query/dashboard") {
		if err := b.queryMerged(ctx); err != nil {
			return err
		}
	}
	if b.wants("query/raw") {
		return b.queryRaw(ctx)
	}
	return nil
}

// queryMerged asks views over landed events while more are sent.
func (b *bench) queryMerged(ctx context.Context) error {
	dir, remove, err := b.scratch("query")
	if err != nil {
		return err
	}
	defer remove()
	if err := writeProject(dir, true, true); err != nil {
		return err
	}
	b.progress.say("query: sending %d events", b.sizes.queryRows)
	p, err := b.serve(ctx, dir, dir+"/data", "--land-age", "5s", "--batch-schedule", "@every "+b.sizes.batchEvery.String())
	if err != nil {
		return err
	}
	defer p.kill()
	began := time.Now().Add(-querySpread)
	spread := func(sent uint64) time.Time {
		return began.Add(time.Duration(float64(querySpread) * float64(sent) / float64(b.sizes.queryRows)))
	}
	if err := fill(ctx, p.addr, 1, uint64(b.sizes.queryRows), spread); err != nil {
		return err
	}
	if err := p.batch(ctx); err != nil {
		return err
	}
	final, err := b.finalRows(ctx, p, dir)
	if err != nil {
		return err
	}
	defer final.Close()
	null, err := b.child(ctx, nullServer, dir)
	if err != nil {
		return err
	}
	defer null.kill()
	l := background(p.addr, 10_000, 2)
	if err := l.open(); err != nil {
		return err
	}
	l.start(ctx)
	for _, q := range questions(began) {
		for _, clients := range []int{1, 8} {
			if name := fmt.Sprintf("query/%s/clients-%d", q.name, clients); b.wants(name) && err == nil {
				err = b.queryOne(ctx, name, q, clients, p, null, final)
			}
		}
	}
	if b.wants("query/dashboard") && err == nil {
		err = b.dashboard(ctx, p, null)
	}
	_, ended := l.finish()
	return errors.Join(err, ended)
}

// finalRows puts the rows of the view's answer into a table of the engine alone.
func (b *bench) finalRows(ctx context.Context, p *process, dir string) (*duckdb.DB, error) {
	answer, err := p.ask(ctx, http.MethodGet, "/v1/views/revenue", "text/csv")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "final.csv")
	if err := os.WriteFile(file, answer, 0o644); err != nil {
		return nil, err
	}
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, AllowedDirs: []string{dir}, Locked: true})
	if err != nil {
		return nil, err
	}
	conn, err := db.Connect()
	if err == nil {
		err = conn.Exec(ctx, "CREATE TABLE final AS SELECT CAST(window_start AS TIMESTAMP) AS window_start, CAST(window_end AS TIMESTAMP) AS window_end, merchant, payments, CAST(revenue AS DECIMAL(38,2)) AS revenue, CAST(largest AS DECIMAL(12,2)) AS largest FROM read_csv("+duckdb.Literal(file)+", all_varchar = true) ORDER BY merchant, window_start")
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (b *bench) queryOne(ctx context.Context, name string, q question, clients int, p, null *process, final *duckdb.DB) error {
	r := Result{Name: name + "/p50", Unit: "ms", LimitIs: "the same final rows in a table of the engine, asked in process"}
	if q.name == "point" && clients == 1 {
		r.Target = atMost(5)
	}
	var whole, inside, limits, bare []float64
	share := b.sizes.queryFor / time.Duration(b.sizes.repeats)
	err := b.alternate(ctx, name, func() error {
		took, elapsed, err := askAll(ctx, "http://"+p.addr, q.url, clients, share, true)
		whole, inside = append(whole, took...), append(inside, elapsed...)
		r.Runs = append(r.Runs, median(took))
		return err
	}, func() error {
		took, err := askTable(ctx, final, q.sql, clients, share/2)
		limits = append(limits, took...)
		return err
	}, func() error {
		took, _, err := askAll(ctx, "http://"+null.addr, func(*rand.Rand) string { return "/" }, clients, share/4, false)
		bare = append(bare, took...)
		return err
	})
	if err != nil {
		return err
	}
	r.Limit = quantile(limits, 0.5)
	r.More = []Figure{{"bare_http_p50_ms", quantile(bare, 0.5)}, {"without_http_p50_ms", quantile(whole, 0.5) - quantile(bare, 0.5)},
		{"server_elapsed_p50_ms", quantile(inside, 0.5)}, {"queries_per_s", float64(len(whole)) / b.sizes.queryFor.Seconds()}}
	b.add(r)
	tail := Result{Name: name + "/p99", Value: quantile(whole, 0.99), Unit: "ms", Limit: quantile(limits, 0.99), LimitIs: r.LimitIs, More: latencies("", whole)[2:]}
	if q.name == "point" && clients == 8 {
		tail.Target = atMost(20)
	}
	b.add(tail)
	return nil
}

// together runs clients side by side for a while; each asks again and again.
func together(ctx context.Context, clients int, length time.Duration, client func(r *rand.Rand) (once func() error, close func(), err error)) error {
	var running sync.WaitGroup
	errs := make([]error, clients)
	deadline := time.Now().Add(length)
	for i := range clients {
		running.Go(func() {
			once, done, err := client(rand.New(rand.NewPCG(uint64(i), 7)))
			if err != nil {
				errs[i] = err
				return
			}
			defer done()
			for time.Now().Before(deadline) && ctx.Err() == nil {
				if errs[i] = once(); errs[i] != nil {
					return
				}
			}
		})
	}
	running.Wait()
	return errors.Join(append(errs, context.Cause(ctx))...)
}

// askAll asks over HTTP; elapsed is what the server says it took.
func askAll(ctx context.Context, base string, url func(*rand.Rand) string, clients int, length time.Duration, complete bool) (took, elapsed []float64, err error) {
	var mu sync.Mutex
	err = together(ctx, clients, length, func(r *rand.Rand) (func() error, func(), error) {
		client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: time.Minute}
		return func() error {
			var answer struct {
				Complete   bool
				Statistics struct {
					Elapsed float64 `json:"elapsed_ms"`
				}
			}
			var into any
			if complete {
				into = &answer
			}
			began := time.Now()
			if err := ask(ctx, client, http.MethodGet, base+url(r), nil, into); err != nil {
				return err
			}
			d := time.Since(began)
			if complete && !answer.Complete {
				return errors.New("an answer is not complete")
			}
			mu.Lock()
			defer mu.Unlock()
			took, elapsed = append(took, ms(d)), append(elapsed, answer.Statistics.Elapsed)
			return nil
		}, client.CloseIdleConnections, nil
	})
	return took, elapsed, err
}

// askTable asks the engine, planning included, each client on a connection of its own.
func askTable(ctx context.Context, db *duckdb.DB, sql func(*rand.Rand) string, clients int, length time.Duration) (took []float64, err error) {
	var mu sync.Mutex
	err = together(ctx, clients, length, func(r *rand.Rand) (func() error, func(), error) {
		conn, err := db.Connect()
		return func() error {
			began := time.Now()
			if _, err := conn.Collect(ctx, sql(r)); err != nil {
				return err
			}
			d := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, ms(d))
			return nil
		}, func() { conn.Close() }, err
	})
	return took, err
}
