package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// arrowByNDJSON is how much faster a long answer must be as Arrow than as NDJSON.
const arrowByNDJSON = 5

// transports are the formats of a long answer, each under its own name.
var transports = []struct{ name, mediaType string }{
	{"ndjson", "application/x-ndjson"},
	{"arrow", "application/vnd.apache.arrow.stream"},
	{"csv", "text/csv"},
	{"json", "application/json"},
}

// transportSQL gives an integer, a double and a text a row. It is another statement
// each time: none is answered from memory.
const transportSQL = "SELECT customer_id, latency_ms, merchant AS m%d FROM payments LIMIT %d"

// measureTransport has a million rows sent in each format, and holds that against
// the engine's own reading of them.
func measureTransport(ctx context.Context, b *bench) (err error) {
	dir, remove, err := b.scratch("transport")
	if err != nil {
		return err
	}
	defer remove()
	if err := writeProject(dir, false, false); err != nil {
		return err
	}
	b.progress.say("transport: sending %d events", b.sizes.transportRows)
	p, err := b.serve(ctx, dir, dir+"/data", "--batch-schedule", "off", "--query-max-rows", fmt.Sprint(b.sizes.transportRows))
	if err != nil {
		return err
	}
	defer p.kill()
	if err := fill(ctx, p.addr, 1, uint64(b.sizes.transportRows), nil); err != nil {
		return err
	}
	if err := p.batch(ctx); err != nil {
		return err
	}
	files, _, err := landedFiles(dir + "/data/lake/payments")
	if err != nil {
		return err
	}
	limit, done, err := threeColumns(ctx, dir, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return b.transportAll(ctx, p, limit)
}

// transportAll asks in all formats in turn. The rows are read and dropped: what it
// costs a client to make something of them is not in the figures.
func (b *bench) transportAll(ctx context.Context, p *process, limit func(context.Context) error) error {
	rows := float64(b.sizes.transportRows)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	results, bytes := map[string]*Result{}, map[string]float64{}
	var limits []float64
	var sides []func() error
	asked := 0
	for _, t := range transports {
		r := &Result{Name: "transport/" + t.name, Unit: "rows/s", LimitIs: "the engine's own reading of the same rows from a table, in process"}
		results[t.name] = r
		sides = append(sides, func() error {
			asked++
			began := time.Now()
			n, err := download(ctx, client, p.addr, fmt.Sprintf(transportSQL, asked, b.sizes.transportRows), t.mediaType, b.sizes.transportRows)
			r.Runs, bytes[t.name] = append(r.Runs, rows/time.Since(began).Seconds()), float64(n)
			return err
		})
	}
	sides = append(sides, func() error {
		began := time.Now()
		err := limit(ctx)
		limits = append(limits, rows/time.Since(began).Seconds())
		return err
	})
	if err := b.alternate(ctx, "transport", sides...); err != nil {
		return err
	}
	ndjson := median(results["ndjson"].Runs)
	results["arrow"].Target = atLeast(arrowByNDJSON * ndjson)
	for _, t := range transports {
		r := results[t.name]
		r.Limit = median(limits)
		r.More = []Figure{{"by_ndjson", median(r.Runs) / ndjson}, {"bytes_per_row", bytes[t.name] / rows}, {"rows", rows}}
		b.add(*r)
	}
	return nil
}

// download reads an answer to its end, and makes sure that it has all rows.
func download(ctx context.Context, client *http.Client, addr, sql, mediaType string, rows int) (bytes int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/sql", strings.NewReader(sql))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("Accept", mediaType)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return 0, errors.Join(fmt.Errorf("%s: %s", resp.Status, text), err)
	}
	if bytes, err = io.Copy(io.Discard, resp.Body); err != nil {
		return bytes, err
	}
	const header = "X-Tailwater-Rows"
	got := resp.Trailer.Get(header)
	if got == "" {
		got = resp.Header.Get(header)
	}
	if got != fmt.Sprint(rows) {
		return bytes, fmt.Errorf("%q of %d rows came as %s", got, rows, mediaType)
	}
	return bytes, nil
}

// threeColumns puts the columns into a table of the engine, and gives what reads
// them all from it.
func threeColumns(ctx context.Context, dir string, files []string) (read func(context.Context) error, done func() error, err error) {
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, AllowedDirs: []string{dir}, Locked: true})
	if err != nil {
		return nil, nil, err
	}
	conn, err := db.Connect()
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	done = func() error { return errors.Join(conn.Close(), db.Close()) }
	if err := conn.Exec(ctx, "CREATE TABLE t AS SELECT customer_id, latency_ms, merchant FROM "+parquet(files)); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return func(ctx context.Context) error {
		rows, err := conn.Query(ctx, "SELECT customer_id, latency_ms, merchant FROM t")
		if err != nil {
			return err
		}
		defer rows.Close()
		for err == nil {
			_, err = rows.Next(ctx)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}, done, nil
}
