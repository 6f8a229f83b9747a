package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/ingest"
	"github.com/tailwater/tailwater/view"
)

// The stream of all measurements: payments in 12 columns. All rows have the same
// width, so that a request is changed in place.
const paymentsSQL = `-- time: ts
%sCREATE TABLE payments (
  event_id VARCHAR NOT NULL,
  ts TIMESTAMP NOT NULL,
  merchant VARCHAR NOT NULL,
  customer_id BIGINT,
  amount DECIMAL(12,2) NOT NULL,
  currency VARCHAR,
  status VARCHAR,
  country VARCHAR,
  card VARCHAR,
  latency_ms DOUBLE,
  attempt INTEGER,
  test BOOLEAN
);
`

// idLines make the stream drop duplicates. The window is short, because ids are
// kept for its length: at these rates the memory of an hour of them is all that
// one would measure.
const idLines = "-- id: event_id\n-- dedup-window: 10s\n"

// The two views: one with a window, one without.
const (
	revenueSQL = `SELECT window_start, window_end, merchant, count(*) AS payments, sum(amount) AS revenue, max(amount) AS largest
FROM payments GROUP BY tumble(ts, INTERVAL '1 minute'), merchant`
	countriesSQL = `SELECT country, count(*) AS payments, avg(amount) AS mean, count(*) FILTER (WHERE amount >= 500) AS large
FROM payments GROUP BY country`
)

const merchants = 1_000

// writeProject makes a project of the stream and, if wanted, its views.
func writeProject(dir string, ids, views bool) error {
	stream := fmt.Sprintf(paymentsSQL, "")
	if ids {
		stream = fmt.Sprintf(paymentsSQL, idLines)
	}
	files := map[string]string{"streams/payments.sql": stream, "tailwater.yaml": "# All settings are flags.\n"}
	for name, text := range files {
		if err := writeFile(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	if !views {
		return nil
	}
	return writeViews(dir, definitions(2))
}

// writeViews adds views to a project.
func writeViews(dir string, defs []view.Definition) error {
	for _, d := range defs {
		if err := writeFile(filepath.Join(dir, "views", d.Name+".sql"), d.SQL); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// payments is the schema of the stream, as the project's file gives it.
func payments() *event.Schema {
	col := func(name string, k event.Kind) event.Column {
		return event.Column{Name: name, Type: event.Type{Kind: k}}
	}
	s := &event.Schema{Stream: "payments", TimeColumn: 1, IDColumn: 0, DedupWindow: 10 * time.Second, Columns: []event.Column{
		col("event_id", event.Varchar), col("ts", event.Timestamp), col("merchant", event.Varchar), col("customer_id", event.BigInt),
		{Name: "amount", Type: event.Type{Kind: event.Decimal, Precision: 12, Scale: 2}},
		col("currency", event.Varchar), col("status", event.Varchar), col("country", event.Varchar), col("card", event.Varchar),
		col("latency_ms", event.Double), col("attempt", event.Integer), col("test", event.Boolean),
	}}
	for _, i := range []int{0, 1, 2, 4} {
		s.Columns[i].NotNull = true
	}
	return s
}

const (
	// Random digits, so that ids compress as ids do, and the load's number.
	idTemplate = "%08x-%04x-4%03x-%04x-"
	idPrefix   = len("3f2504e0-4f89-41d3-0000-")
	idDigits   = 7                     // of the request; 5 of the row follow
	timeLayout = "2006-01-02T15:04:05" // the part of a time that changes from request to request
	lateEvery  = 16                    // of so many rows one is late
	lateBy     = 90 * time.Second
)

// A body is a request's rows, made once and changed in place for each request: ids
// are unique and times are new, at the price of copying 26 bytes a row.
type body struct {
	text         []byte
	rows, stride int
	idAt, timeAt int // offsets in a row
}

// newBody makes rows with values of their own; load tells the ids of one load from
// those of another. Few merchants have many payments.
func newBody(rows int, load, seed uint64) *body {
	random := rand.New(rand.NewPCG(load, seed))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	b := &body{rows: rows}
	for i := range rows {
		skew := random.Float64()
		row := fmt.Sprintf(`{"event_id":"%s%07d%05d","ts":"2026-01-01T00:00:00.%06dZ","merchant":"merchant-%06d","customer_id":%d,"amount":%d.%02d,"currency":"%s","status":"%s","country":"%s","card":"%s debit %04d","latency_ms":%d.%03d,"attempt":%d,"test":false}`+"\n",
			fmt.Sprintf(idTemplate, random.Uint32(), random.IntN(1<<16), random.IntN(1<<12), load), 0, i, random.IntN(1_000_000), int(skew*skew*merchants), 700_000_000_000+random.Int64N(100_000_000), 100+random.IntN(900), random.IntN(100),
			pick("EUR", "USD", "GBP", "JPY", "CHF", "SEK"), pick("authorized", "redirected", "challenged"),
			pick("DE", "FR", "US", "GB", "JP", "CH", "SE", "ES", "IT", "NL", "PL", "AT", "BE", "PT", "DK", "NO"),
			pick("Maestro Card", "Visa Classic", "Visa Premium"), random.IntN(10_000), 100+random.IntN(900), random.IntN(1000), 1+random.IntN(3))
		if i == 0 {
			b.stride = len(row)
			b.idAt = len(`{"event_id":"`) + idPrefix
			b.timeAt = b.idAt + 12 + len(`","ts":"`)
		}
		b.text = append(b.text, row...)
	}
	return b
}

// renew gives the rows ids of the request with this number, and a time.
func (b *body) renew(request uint64, at time.Time) {
	var id [idDigits]byte
	for i := range id {
		id[idDigits-1-i] = '0' + byte(request%10)
		request /= 10
	}
	now := at.UTC().AppendFormat(nil, timeLayout)
	late := at.Add(-lateBy).UTC().AppendFormat(nil, timeLayout)
	for i := range b.rows {
		row := b.text[i*b.stride:]
		copy(row[b.idAt:], id[:])
		if i%lateEvery == lateEvery-1 {
			copy(row[b.timeAt:], late)
		} else {
			copy(row[b.timeAt:], now)
		}
	}
}

// makeBlocks gives consecutive blocks of so many rows each, decoded as the server
// decodes them. The blocks share the memory of `distinct` record batches.
func makeBlocks(schema *event.Schema, blocks, rows, distinct int, step time.Duration) ([]*event.Block, error) {
	d, err := ingest.NewDecoder(schema, ingest.Limits{BodyBytes: 1 << 30, DecodedBytes: 1 << 30})
	if err != nil {
		return nil, err
	}
	src := event.Source{Stream: schema.Stream, Epoch: 1}
	began := time.Now().Truncate(time.Minute)
	var made []*event.Block
	for i := range min(distinct, blocks) {
		b := newBody(rows, 0, uint64(i))
		b.renew(uint64(i), began.Add(time.Duration(i)*step))
		out, err := d.Decode(b.text, false)
		if err != nil {
			return nil, err
		}
		if out.Accepted() != rows {
			return nil, fmt.Errorf("%d of %d rows were accepted: %v", out.Accepted(), rows, out.Refused[:1])
		}
		made = append(made, &event.Block{Schema: schema, Batch: out.Rows, Size: out.Size})
	}
	all := make([]*event.Block, blocks)
	for i := range all {
		seq, at := uint64(i+1), began.Add(time.Duration(i)*time.Millisecond).UnixMicro()
		m := made[i%len(made)]
		all[i] = &event.Block{
			Range: event.Range{Source: src, After: seq - 1, Through: seq}, Schema: schema, Batch: m.Batch, Size: m.Size,
			Runs: []event.Run{{Seq: seq, At: at, Rows: rows}}, LogTime: at, Stamp: at,
		}
	}
	return all, nil
}
