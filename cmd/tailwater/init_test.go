package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// parquetOf writes a Parquet file with the engine.
func parquetOf(t *testing.T, query string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rides.parquet")
	db, err := openFileEngine(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(t.Context(), "COPY ("+query+") TO "+duckdb.Literal(path)+" (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInitDerivesAProjectThatValidates(t *testing.T) {
	csv, err := os.ReadFile("testdata/rides.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines := `{"id":1,"at":"2001-01-01T00:47:00Z","city":"Kiel","n":5,"tags":["a"],"big":9}` + "\n" +
		`{"id":2,"at":"2001-01-01T01:10:00Z","city":"Köln","n":-7,"tags":[],"big":18446744073709551615}` + "\n" +
		`{"id":3,"at":"2001-01-01T01:11:00Z","city":"Kiel","n":null,"tags":null,"big":1}` + "\n"
	for name, c := range map[string]struct {
		file         string
		stream, view []string
	}{
		"csv": {tempFile(t, "2024 rides.csv", string(csv)),
			[]string{"-- time: picked up\n-- time-format: %Y/%m/%d %H:%M\nCREATE TABLE events_2024_rides (\n", `  "picked up" TIMESTAMP,`, "  station VARCHAR,", "  minutes BIGINT,", "  fare DOUBLE,", "  note VARCHAR\n"},
			[]string{"FROM events_2024_rides\n", `GROUP BY station, tumble("picked up", INTERVAL '1 hour')`, "sum(minutes) AS minutes_sum", "avg(minutes) AS minutes_avg"}},
		"ndjson": {tempFile(t, "trips.ndjson", lines),
			[]string{"-- time: at\nCREATE TABLE trips (\n", `  "at" TIMESTAMP,`, "  n BIGINT,", "  tags JSON,", "  big DECIMAL(38,0)"},
			[]string{"GROUP BY city, tumble(\"at\", INTERVAL '1 hour')", "sum(n) AS n_sum"}},
		"json array": {tempFile(t, "trips.json", "[\n"+strings.ReplaceAll(strings.TrimSpace(lines), "\n", ",\n")+"]"),
			[]string{"-- time: at\nCREATE TABLE trips (\n"}, []string{"GROUP BY city"}},
		"parquet": {parquetOf(t, "SELECT TIMESTAMP '2001-01-01 00:47:00' AS ts, 'a' || (i % 2) AS key, i::DECIMAL(9,2) AS amount, uuid() AS u FROM range(10) r(i)"),
			[]string{"-- time: ts\nCREATE TABLE rides (\n  ts TIMESTAMP,\n  key VARCHAR,\n  amount DECIMAL(9,2),\n  u VARCHAR\n);\n"}, []string{"GROUP BY key", "sum(amount)"}},
		"seconds": {tempFile(t, "s.csv", "ts,v\n978310020,1\n978310021,2\n"), []string{"-- time-format: %s\n", "  ts TIMESTAMP,"}, []string{"tumble(ts"}},
		"no time": {tempFile(t, "n.csv", "a,b\nx,1\ny,2\n"), []string{"CREATE TABLE n (\n  a VARCHAR,\n  b BIGINT\n);\n"}, []string{"GROUP BY a\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "p")
			code, out, stderr := runCLI(t, "", "init", dir, "--from", c.file)
			if code != 0 {
				t.Fatalf("%d %s %s", code, out, stderr)
			}
			for folder, want := range map[string][]string{"streams": c.stream, "views": c.view} {
				files, err := filepath.Glob(filepath.Join(dir, folder, "*.sql"))
				if err != nil || len(files) != 1 {
					t.Fatal(files, err)
				}
				text, err := os.ReadFile(files[0])
				if err != nil {
					t.Fatal(err)
				}
				mustContain(t, folder, string(text), want...)
			}
			if code, out, stderr := runCLI(t, "", "validate", dir, "--json"); code != 0 || !json.Valid([]byte(out)) {
				t.Errorf("%d %s %s", code, out, stderr)
			}
		})
	}
}

func TestInitOverwritesNothingAndLeavesNothingHalfDone(t *testing.T) {
	dir := filepath.Dir(tempFile(t, "mine.txt", ""))
	code, _, err := runCLI(t, "", "init", dir)
	if code != exitFailure || !strings.Contains(err, "is not empty") {
		t.Errorf("%d %s", code, err)
	}
	fresh := filepath.Join(t.TempDir(), "p")
	code, _, err = runCLI(t, "", "init", fresh, "--from", tempFile(t, "x.parquet", "PAR1 no"))
	if _, stat := os.Stat(fresh); code != exitFailure || !os.IsNotExist(stat) {
		t.Errorf("%d %s %v", code, err, stat)
	}
	if code, out, err := runCLI(t, "", "init", fresh); code != 0 || !strings.Contains(out, "README.md") {
		t.Errorf("%d %s", code, err)
	}
	code, out, _ := runCLI(t, "", "validate", fresh)
	if code != exitFailure || !strings.Contains(out, "streams: the project has no stream") {
		t.Errorf("%d %s", code, out)
	}
}

func TestValidateReportsSettingsStreamsAndFormats(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"tailwater.yaml": "htpp: x\n", "streams/a.sql": "-- tiem: x\nCREATE TABLE a (x TIMESTAMP)",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, err := runCLI(t, "", "validate", dir)
	mustContain(t, "problems", out, "streams/a.sql:1:4", `"time"`, "tailwater.yaml:1:", "http")
	if code != exitFailure || !strings.Contains(err, "2 problems") {
		t.Errorf("%d %s", code, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tailwater.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// %H alone is known, but says no day: ingest's judgement.
	if err := os.WriteFile(filepath.Join(dir, "streams", "a.sql"), []byte("-- time: x\n-- time-format: %H\nCREATE TABLE a (x TIMESTAMP)"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ = runCLI(t, "", "validate", dir, "--json")
	var result struct {
		OK       bool
		Problems []struct{ File, Message string }
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != exitFailure || result.OK || len(result.Problems) != 1 || result.Problems[0].File != "streams/a.sql" {
		t.Errorf("%d %s %v", code, out, err)
	}
}

func TestValidateListsMacrosAndReferenceTables(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"streams/a.sql":  "CREATE TABLE a (x BIGINT)",
		"views/v.sql":    "SELECT spread(x) AS s FROM a",
		"macros/net.sql": "-- description: Without VAT\nCREATE MACRO net(x, rate := 0.19) AS x / (1 + rate)", "macros/spread.sql": "CREATE MACRO spread(x) AS max(net(x)) - min(x)",
		"queries/q.sql": "SELECT net(x) FROM a JOIN doubled USING (x)", "reference/few.csv": "x\n1\n2\n", "reference/doubled.sql": "SELECT x * 2 AS x FROM few",
	})
	code, out, err := runCLI(t, "", "validate", dir)
	mustContain(t, "validate", out, "macro net(x, rate := …)  (macros/net.sql)", "  Without VAT", "macro spread(x)", "reference table doubled  (reference/doubled.sql)  version ", ", 2 rows")
	if code != 0 {
		t.Error(err)
	}
	code, out, _ = runCLI(t, "", "validate", dir, "--json")
	mustContain(t, "validate --json", out, `"macro": "net"`, `"usage": "net(x, rate := …)"`)
	if code != 0 {
		t.Error(out)
	}
}
