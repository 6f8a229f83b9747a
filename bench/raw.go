package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// rawTarget is what a statement over a stream may take by what it takes over one
// table with the same rows, the geometric mean over the statements.
const rawTarget = 1.15

// rawStatements are asked over the table payments of both sides. Each is another
// one each time, $n, so that no answer is one that was given before; $from and $to
// are a hundredth of the time.
var rawStatements = []struct{ name, sql string }{
	{"count", "SELECT count(*) AS n$n FROM payments"},
	{"sum", "SELECT sum(amount) AS s$n, max(latency_ms) AS m FROM payments"},
	{"group", "SELECT country, status, count(*) AS n$n, sum(amount) AS s FROM payments GROUP BY country, status ORDER BY ALL"},
	{"merchants", "SELECT merchant, sum(amount) AS s$n FROM payments GROUP BY merchant ORDER BY s$n DESC LIMIT 20"},
	{"key", "SELECT count(*) AS n$n, sum(amount) AS s FROM payments WHERE merchant = 'merchant-00001$n'"},
	{"range", "SELECT count(*) AS n$n, avg(latency_ms) AS l FROM payments WHERE ts >= '$from' AND ts < '$to'"},
	{"newest", "SELECT event_id, ts, merchant, amount AS a$n FROM payments ORDER BY ts DESC, event_id LIMIT 20"},
}

// queryRaw asks SQL over a stream, most of which batches have taken, some of which
// has landed since, and a little of which has not, and over one table.
func (b *bench) queryRaw(ctx context.Context) error {
	dir, remove, err := b.scratch("raw")
	if err != nil {
		return err
	}
	defer remove()
	if err := writeProject(dir, true, false); err != nil {
		return err
	}
	began := time.Now().Add(-querySpread).Truncate(time.Second)
	p, err := b.rawServer(ctx, dir, began)
	if err != nil {
		return err
	}
	defer p.kill()
	plain, parts, err := b.plainTable(ctx, dir, p)
	if err != nil {
		return err
	}
	defer plain.Close()
	conn, err := plain.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	from := began.Add(querySpread / 2).UTC()
	times := []string{"$from", from.Format(timeLayout), "$to", from.Add(querySpread / 100).Format(timeLayout)}
	product, ours, limits, asked := 1.0, 0.0, 0.0, 0
	for _, s := range rawStatements {
		name := "query/raw/" + s.name
		if !b.wants(name) && !b.wants("query/raw/all") {
			continue
		}
		took, limit, err := b.rawOne(ctx, name, s.sql, times, p, conn)
		if err != nil {
			return err
		}
		product, ours, limits, asked = product*took/limit, ours+took, limits+limit, asked+1
	}
	r := Result{Name: "query/raw/all", Value: math.Pow(product, 1/float64(asked)), Unit: "× one table", More: append(parts, Figure{"by_total_time", ours / limits}), Note: "geometric mean of the ratios"}
	if asked == len(rawStatements) {
		r.Target = atMost(rawTarget)
	}
	b.add(r)
	return nil
}

// rawServer gives a server whose stream is in three parts: 98 % facts, nearly 2 %
// landed files, and a rest of at most a thousandth in memory.
func (b *bench) rawServer(ctx context.Context, dir string, began time.Time) (*process, error) {
	rows := uint64(b.sizes.rawRows)
	clock := func(from, events uint64) func(uint64) time.Time {
		return func(sent uint64) time.Time {
			return began.Add(time.Duration(float64(querySpread) * float64(from+min(sent, events)) / float64(rows)))
		}
	}
	facts := rows * 98 / 100
	b.progress.say("query/raw: sending %d events", rows)
	p, err := b.serve(ctx, dir, dir+"/data", "--batch-schedule", "off")
	if err != nil {
		return nil, err
	}
	err = fill(ctx, p.addr, 1, facts, clock(0, facts))
	if err == nil {
		err = p.batch(ctx)
	}
	p.kill()
	if err != nil {
		return nil, err
	}
	// What waits when all is sent is less than what lands at once, of which the
	// server asks for 64 KB.
	land := max(rows/1000*300, 64<<10)
	p, err = b.serve(ctx, dir, dir+"/data", "--batch-schedule", "off", "--land-age", "1h", "--land-bytes", fmt.Sprint(land))
	if err != nil {
		return nil, err
	}
	if err := b.fillRest(ctx, p, rows-facts, clock(facts, rows-facts)); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// fillRest sends in small requests, so that a part of it lands, until something
// has landed since the batch and something waits.
func (b *bench) fillRest(ctx context.Context, p *process, events uint64, clock func(uint64) time.Time) error {
	l := &load{addr: p.addr, clients: 1, rows: 100, number: 2, limit: events, clock: clock}
	if err := l.open(); err != nil {
		return err
	}
	l.start(ctx)
	if _, err := l.wait(); err != nil {
		return err
	}
	var s status
	for number := uint64(3); ; number++ {
		err := until(ctx, startTimeout, 20*time.Millisecond, func() (ok bool, err error) {
			s, err = p.status(ctx)
			return err == nil && s.Streams[0].Applied == s.Streams[0].Head, err
		})
		if err != nil || s.Streams[0].Tail > 0 && s.Streams[0].Landed > s.Streams[0].Batched {
			return err
		}
		if number == 30 {
			return fmt.Errorf("landed through %d, batched through %d, %d events wait: want a part of each", s.Streams[0].Landed, s.Streams[0].Batched, s.Streams[0].Tail)
		}
		if err := fill(ctx, p.addr, number, 100, clock); err != nil {
			return err
		}
	}
}

// plainTable puts the server's events into one table of the engine, with the
// server's threads and memory, in the order in which the server took them.
func (b *bench) plainTable(ctx context.Context, dir string, p *process) (db *duckdb.DB, parts []Figure, err error) {
	b.progress.say("query/raw: making one table of the same rows")
	files, landed, err := landedFiles(filepath.Join(dir, "data", "lake", "payments"))
	if err != nil {
		return nil, nil, err
	}
	tail, err := p.sql(ctx, fmt.Sprintf("SELECT * FROM payments WHERE _seq > %d ORDER BY _seq, _idx", landed), "text/csv")
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, "tail.csv")
	if err := os.WriteFile(file, tail, 0o644); err != nil {
		return nil, nil, err
	}
	db, err = duckdb.Open(ctx, duckdb.Options{Path: filepath.Join(dir, "plain.duckdb"), Threads: 1, MemoryLimit: "1GB", AllowedDirs: []string{dir}, Locked: true})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	conn, err := db.Connect()
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	statements := []string{"CREATE TABLE payments AS SELECT * REPLACE (make_timestamp(epoch_us(_ingested_at)) AS _ingested_at) FROM " + parquet(files[:1]) + " LIMIT 0"}
	for _, f := range files {
		statements = append(statements, "INSERT INTO payments SELECT * REPLACE (make_timestamp(epoch_us(_ingested_at)) AS _ingested_at) FROM "+parquet([]string{f}))
	}
	// The columns of an answer are those of the stream, by name.
	statements = append(statements, "INSERT INTO payments BY NAME SELECT * REPLACE (CAST(ts AS TIMESTAMP) AS ts, CAST(_ingested_at AS TIMESTAMP) AS _ingested_at) FROM read_csv("+duckdb.Literal(file)+", all_varchar = true)", "CHECKPOINT")
	for _, sql := range statements {
		if err := conn.Exec(ctx, sql); err != nil {
			return nil, nil, fmt.Errorf("%w\n%s", err, sql)
		}
	}
	parts, err = b.sameRows(ctx, conn, p, landed)
	return db, parts, err
}

// sameRows makes sure that both sides hold the same, and gives the parts of ours.
func (b *bench) sameRows(ctx context.Context, conn *duckdb.Conn, p *process, landed uint64) ([]Figure, error) {
	const sql = "SELECT count(*) AS n, sum(amount) AS s, count(*) FILTER (WHERE _seq <= %[1]d) AS facts, count(*) FILTER (WHERE _seq > %[1]d AND _seq <= %[2]d) AS landed FROM payments"
	s, err := p.status(ctx)
	if err != nil {
		return nil, err
	}
	statement := fmt.Sprintf(sql, s.Streams[0].Batched, landed)
	rel, err := conn.Collect(ctx, statement)
	if err != nil {
		return nil, err
	}
	text, err := p.sql(ctx, statement, "application/json")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data []struct{ N, S, Facts, Landed json.Number }
	}
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Data) != 1 {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	ours := answer.Data[0]
	if plain := fmt.Sprint(rel.Value(0, 0)); plain != ours.N.String() {
		return nil, fmt.Errorf("the server has %s events, one table has %s", ours.N, plain)
	}
	n, _ := ours.N.Float64()
	facts, _ := ours.Facts.Float64()
	files, _ := ours.Landed.Float64()
	return []Figure{{"rows", n}, {"facts_percent", 100 * facts / n}, {"landed_percent", 100 * files / n}, {"tail_rows", n - facts - files}}, nil
}

// landedFiles reads the log of a table that nobody has compacted: its data files in
// the order in which they were committed, and L.
func landedFiles(table string) (files []string, landed uint64, err error) {
	commits, err := filepath.Glob(filepath.Join(table, "_delta_log", "*.json"))
	if err != nil {
		return nil, 0, err
	}
	slices.Sort(commits)
	for _, commit := range commits {
		text, err := os.ReadFile(commit)
		if err != nil {
			return nil, 0, err
		}
		for line := range strings.Lines(string(text)) {
			var action struct {
				Add *struct{ Path string }
				Txn *struct{ Version uint64 }
			}
			if err := json.Unmarshal([]byte(line), &action); err != nil {
				return nil, 0, fmt.Errorf("%s: %w", commit, err)
			}
			switch {
			case action.Add != nil:
				files = append(files, filepath.Join(table, action.Add.Path))
			case action.Txn != nil:
				landed = action.Txn.Version
			}
		}
	}
	if len(files) == 0 {
		err = errors.New("nothing has landed in " + table)
	}
	return files, landed, err
}

// rawOne asks both sides one statement, in turn, and gives the medians in ms. The first
// time brings what it reads into memory, and does not count.
func (b *bench) rawOne(ctx context.Context, name, sql string, times []string, p *process, conn *duckdb.Conn) (took, limit float64, err error) {
	r := Result{Name: name, Unit: "ms", LimitIs: "the same rows in one table of the engine, asked in process with as many threads and as much memory"}
	var limits []float64
	for i := range b.sizes.rawTimes + 1 {
		b.progress.say("%s, %d of %d", name, i, b.sizes.rawTimes)
		statement := strings.NewReplacer(append(times, "$n", fmt.Sprint(i%10))...).Replace(sql)
		began := time.Now()
		if _, err := p.sql(ctx, statement, "application/vnd.apache.arrow.stream"); err != nil {
			return 0, 0, err
		}
		ours := ms(time.Since(began))
		began = time.Now()
		if _, err := conn.Collect(ctx, statement); err != nil {
			return 0, 0, fmt.Errorf("%w\n%s", err, statement)
		}
		if i > 0 {
			r.Runs, limits = append(r.Runs, ours), append(limits, ms(time.Since(began)))
		}
	}
	r.Limit = median(limits)
	b.add(r)
	return median(r.Runs), r.Limit, nil
}

// sql asks a statement whose answer fits into memory.
func (p *process) sql(ctx context.Context, statement, accept string) ([]byte, error) {
	return p.send(ctx, http.MethodPost, "/v1/sql", statement, accept)
}
