package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// TestTheCheckTellsRoundingFromADifference adds doubles whose sum is nearly all
// rounding, in an order that the layers do not share; and then makes a real
// difference that is smaller than that rounding, in a view without such doubles.
func TestTheCheckTellsRoundingFromADifference(t *testing.T) {
	project := writeFiles(t, map[string]string{
		"streams/m.sql":   "CREATE TABLE m (k VARCHAR, x DOUBLE, d DECIMAL(12,2))",
		"views/sums.sql":  "SELECT k, sum(x) AS s, avg(x) AS a, stddev_samp(x) AS sd, var_pop(x) AS v, sum(x) / count(*) AS q, min(x) AS lo, sum(x) FILTER (WHERE d > 1) AS f FROM m GROUP BY k",
		"views/exact.sql": "SELECT k, sum(d) AS s, avg(d) AS a, count(*) AS n FROM m GROUP BY k",
		"views/pair.sql":  "SELECT k, max(x) AS hi, sum(x) AS s FROM m WHERE abs(x) < 100 GROUP BY k",
	})
	data := t.TempDir()
	start := func() *process {
		p := startProcess(t, project, data, nil, "--batch-schedule", "off")
		if !p.awaitReady() {
			t.Fatal("ended before it was ready")
		}
		return p
	}
	p := start()
	for round, xs := range []string{"1e16 1 1 1 0.1", "1 1 0.3 1e9 1e9", "-1e16 1 1 0.1 1e308", "-1e308 1e9 0.7 1 1", "0.1 0.2 0.3 1e16 -1e16"} {
		var body strings.Builder
		for i, x := range strings.Fields(xs) {
			fmt.Fprintf(&body, `{"k":"all","x":%s,"d":"%d.37"}`+"\n"+`{"k":"k%d","x":%s,"d":1}`+"\n", x, round, i, x)
		}
		if _, err := p.post(t.Context(), "m", body.String()); err != nil {
			t.Fatal(err)
		}
		if round == 2 {
			resp, err := http.Post(p.url+"/v1/batch/run", "", nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("batch: %v, %v", resp, err)
			}
			resp.Body.Close()
		}
		for _, view := range []string{"sums", "exact", "pair"} {
			if n, text := p.difference(view); n != 0 {
				t.Errorf("round %d: %s", round, text)
			}
		}
	}
	p.stop()

	db, err := duckdb.Open(t.Context(), duckdb.Options{Path: filepath.Join(data, "warehouse", "warehouse.duckdb"), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := conn.Collect(t.Context(), "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'partials' AND (table_name LIKE 'exact%' OR table_name LIKE 'pair%') ORDER BY 1")
	if err != nil || tables.Len() != 2 {
		t.Fatalf("the partials: %v, %v", tables, err)
	}
	exact, pair := tables.Value(0, 0).(string), tables.Value(1, 0).(string)
	for _, sql := range []string{
		`UPDATE partials."` + exact + `" SET s0 = s0 + 0.01 WHERE k0 = 'all'`,
		`UPDATE partials."` + pair + `" SET s1 = s1 + 1e-6 WHERE k0 = 'all'`,
	} {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	db.Close()

	p = start()
	for view, want := range map[string]int64{"exact": 2, "pair": 2, "sums": 0} {
		if n, text := p.difference(view); n != want {
			t.Errorf("%s: difference %d, want %d: %s", view, n, want, text)
		}
	}
	p.stop()
}
