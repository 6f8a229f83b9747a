package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var postgresLine = regexp.MustCompile(`msg="serving Postgres clients" url=(\S+)`)

// TestPostgresClientsReadStreamsAndViews runs the whole program: what an ingest
// acknowledged is in the next answer, streams and views join, and a block answers at
// one cut.
func TestPostgresClientsReadStreamsAndViews(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"streams/pay.sql":   "CREATE TABLE pay (ts TIMESTAMP, shop VARCHAR, amount DECIMAL(10,2))",
		"views/by_shop.sql": "-- description: Revenue by shop\nSELECT shop, count(*) AS n, sum(amount) AS total FROM pay GROUP BY shop",
	})
	p := startProcess(t, dir, t.TempDir(), nil, "--postgres", "127.0.0.1:0", "--batch-schedule", "off")
	if p == nil || !p.awaitReady() {
		t.Fatal("the server ended by itself")
	}
	url := postgresLine.FindStringSubmatch(p.output())
	if url == nil {
		t.Fatalf("the log does not say where Postgres clients connect:\n%s", p.output())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, strings.Replace(url[1], "://", "://ana@", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	send := func(n int) {
		var sb strings.Builder
		for i := range n {
			fmt.Fprintf(&sb, `{"ts":"2024-05-01T00:00:%02dZ","shop":"s%d","amount":"1.50"}`+"\n", i%60, i%3)
		}
		p.mustPost("pay", sb.String())
	}
	count := func(sql string, args ...any) (n int64) {
		t.Helper()
		if err := c.QueryRow(ctx, sql, args...).Scan(&n); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return n
	}
	send(30)
	p.eventually("30 events over Postgres' protocol", 10*time.Second, func() bool { return count("SELECT count(*) FROM public.pay") == 30 })
	p.batch("")
	send(12)
	p.eventually("42 events over Postgres' protocol", 10*time.Second, func() bool {
		return count(`SELECT n FROM "public"."by_shop" WHERE "public"."by_shop"."shop" = $1`, "s1") == 14
	})
	if n := count("SELECT count(*) FROM pay p JOIN by_shop v USING (shop) WHERE p.amount < $1 AND v.n > $2 AND p.ts >= $3", 2.5, 1, time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)); n != 42 {
		t.Errorf("joined %d rows", n)
	}
	if _, err := c.Exec(ctx, "BEGIN"); err != nil {
		t.Fatal(err)
	}
	before := count("SELECT count(*) FROM pay")
	send(5)
	p.eventually("the events over HTTP", 10*time.Second, func() bool { return p.count("pay") == fmt.Sprint(before+5) })
	if n := count("SELECT sum(n)::BIGINT FROM by_shop"); n != before {
		t.Errorf("a block that began at %d events counts %d", before, n)
	}
	if _, err := c.Exec(ctx, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if n := count("SELECT sum(n)::BIGINT FROM by_shop"); n != before+5 {
		t.Errorf("after the block %d events", n)
	}
	if n := count("SELECT count(*) FROM information_schema.columns WHERE table_name = 'pay'"); n != 8 {
		t.Errorf("the catalogue has %d columns of pay", n)
	}
	var comment string
	if err := c.QueryRow(ctx, "SELECT obj_description('by_shop'::regclass, 'pg_class')").Scan(&comment); err != nil || comment != "Revenue by shop" {
		t.Errorf("comment %q, %v", comment, err)
	}
	resp, err := http.Get(p.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, _ := io.ReadAll(resp.Body)
	mustContain(t, "metrics", string(metrics), "tailwater_postgres_connections 1", `tailwater_postgres_statements_total{kind="data",sqlstate="00000"}`)
	p.stop()
}
