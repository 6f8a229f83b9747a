package duckdb

import (
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open gives a connection to a database of the test's own.
func open(t testing.TB, o Options) *Conn {
	t.Helper()
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, db)
	t.Cleanup(func() {
		c.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func connect(t testing.TB, db *DB) *Conn {
	t.Helper()
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// show collects a statement as text: values with "," between them, rows with
// ";", NULL as "-".
func show(t testing.TB, c *Conn, sql string, args ...any) string {
	t.Helper()
	r, err := c.Collect(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text(r)
}

func text(r *Relation) string {
	var rows []string
	for i := range r.Len() {
		var values []string
		for j := range r.Columns {
			values = append(values, valueText(r.Value(i, j)))
		}
		rows = append(rows, strings.Join(values, ","))
	}
	return strings.Join(rows, ";")
}

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case time.Time:
		return v.Format("2006-01-02T15:04:05.999999")
	case *big.Int:
		return v.String()
	case []byte:
		return fmt.Sprintf("%x", v)
	}
	return fmt.Sprint(v)
}

func TestResultsOfEveryType(t *testing.T) {
	c := open(t, Options{})
	for _, tc := range []struct{ sql, column, want string }{
		{"true", "BOOLEAN", "true"},
		{"(-128)::TINYINT", "TINYINT", "-128"},
		{"(-32768)::SMALLINT", "SMALLINT", "-32768"},
		{"2147483647", "INTEGER", "2147483647"},
		{"(-9223372036854775808)::BIGINT", "BIGINT", "-9223372036854775808"},
		{"(-170141183460469231731687303715884105728)::HUGEINT", "HUGEINT", "-170141183460469231731687303715884105728"},
		{"170141183460469231731687303715884105727::HUGEINT", "HUGEINT", "170141183460469231731687303715884105727"},
		{"1.5::FLOAT", "FLOAT", "1.5"},
		{"'-inf'::DOUBLE", "DOUBLE", "-Inf"},
		{"(-99.99)::DECIMAL(4,2)", "DECIMAL(4,2)", "-99.99"},
		{"(-9999999.99)::DECIMAL(9,2)", "DECIMAL(9,2)", "-9999999.99"},
		{"999999999999999.999::DECIMAL(18,3)", "DECIMAL(18,3)", "999999999999999.999"},
		{"(-9999999999999999999999999999.9999999999)::DECIMAL(38,10)", "DECIMAL(38,10)", "-9999999999999999999999999999.9999999999"},
		{"''", "VARCHAR", ""},
		{"'twelve bytes'", "VARCHAR", "twelve bytes"},
		{"'thirteen byte'", "VARCHAR", "thirteen byte"},
		{"'größer als zwölf'", "VARCHAR", "größer als zwölf"},
		{`'{"a": 1}'::JSON`, "JSON", `{"a": 1}`},
		{`'\x00\xFF'::BLOB`, "BLOB", "00ff"},
		{"DATE '1969-12-31'", "DATE", "1969-12-31T00:00:00"},
		{"TIMESTAMP '2026-11-20 01:02:03.000004'", "TIMESTAMP", "2026-11-20T01:02:03.000004"},
		{"TIMESTAMPTZ '2026-11-20 01:02:03+02'", "TIMESTAMP", "2026-11-19T23:02:03"},
	} {
		// One value alone, one NULL alone, and both alternating over more
		// than one vector.
		for _, from := range []string{
			"SELECT " + tc.sql + " v, 0 i",
			"SELECT if(i = 0, NULL, " + tc.sql + ") v, i FROM range(1) r(i)",
			"SELECT if(i % 3 = 0, NULL, " + tc.sql + ") v, i FROM range(5000) r(i)",
			"SELECT if(i < 4000, " + tc.sql + ", NULL) v, i FROM range(5000) r(i)",
		} {
			r, err := c.Collect(t.Context(), from)
			if err != nil {
				t.Fatalf("%s: %v", from, err)
			}
			if got := r.Columns[0].Type.String(); got != tc.column {
				t.Errorf("%s: column of type %s, want %s", from, got, tc.column)
			}
			for i := range r.Len() {
				want := tc.want
				if n := r.Len(); n == 1 && strings.Contains(from, "range(1)") || n == 5000 && strings.Contains(from, "% 3") && i%3 == 0 || strings.Contains(from, "4000") && i >= 4000 {
					want = "-"
				}
				if got := valueText(r.Value(i, 0)); got != want {
					t.Fatalf("%s: row %d is %q, want %q", from, i, got, want)
				}
			}
		}
	}
}

func TestUnsupportedResultTypesNameTheColumnAndTheCast(t *testing.T) {
	c := open(t, Options{})
	for sql, want := range map[string]string{
		"SELECT [1] AS l":                        `column "l" has type LIST, which results cannot carry: cast it, to JSON`,
		"SELECT {a: 1} AS s":                     `column "s" has type STRUCT`,
		"SELECT 1::UBIGINT AS u":                 `column "u" has type UBIGINT, which results cannot carry: cast it, to DECIMAL(20,0)`,
		"SELECT uuid() AS u":                     `column "u" has type UUID`,
		"SELECT INTERVAL 1 DAY AS i":             `column "i" has type INTERVAL`,
		"SELECT 'a'::ENUM('a') AS e":             `column "e" has type ENUM`,
		"SELECT TIME '01:02:03' AS t":            `column "t" has type TIME`,
		"SELECT '2026-01-01'::TIMESTAMP_NS AS n": `column "n" has type TIMESTAMP_NS, which results cannot carry: cast it, to TIMESTAMP`,
	} {
		if _, err := c.Collect(t.Context(), sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Collect answers %v, want %q", sql, err, want)
		}
		if _, err := c.Query(t.Context(), sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Query answers %v, want %q", sql, err, want)
		}
	}
	if got := show(t, c, "SELECT 1"); got != "1" {
		t.Errorf("after refused results: %s", got)
	}
}

func TestDatabaseFileIsHeldUntilTheLastConnectionCloses(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "w.duckdb"), Locked: true}
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, db)
	if err := c.Exec(t.Context(), "CREATE TABLE t AS SELECT 42 AS a; CHECKPOINT; INSERT INTO t VALUES (43)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err == nil || !strings.Contains(err.Error(), "1 connections") {
		t.Errorf("closing under a connection: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := db.Connect(); err == nil {
		t.Error("a closed database gave a connection")
	}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "this process has it open") {
		t.Errorf("a second instance on the same file: %v", err)
	}
	c.Close()
	o.ReadOnly = true
	again := open(t, o)
	if got := show(t, again, "SELECT a FROM t ORDER BY a"); got != "42;43" {
		t.Errorf("got %s", got)
	}
	if err := again.Exec(t.Context(), "INSERT INTO t VALUES (1)"); err == nil {
		t.Error("a read-only database took a row")
	}
}

func TestSettingsHoldOnEveryConnection(t *testing.T) {
	db, err := Open(t.Context(), Options{Threads: 1, MemoryLimit: "200MB", Locked: true, Settings: map[string]string{"default_null_order": "nulls_first"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 2 {
		c := connect(t, db)
		for name, want := range map[string]string{
			"TimeZone": "UTC", "disabled_optimizers": "common_subexpressions", "threads": "1",
			"enable_external_access": "false", "autoload_known_extensions": "false", "autoinstall_known_extensions": "false",
			"allow_persistent_secrets": "false", "lock_configuration": "true", "memory_limit": "190.7 MiB",
			"default_null_order": "nulls_first", "temp_directory": "",
		} {
			if got := show(t, c, "SELECT current_setting($1)::VARCHAR", name); !strings.EqualFold(got, want) {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		for _, sql := range []string{
			"SET threads = 4", "SET TimeZone = 'Asia/Tokyo'", "RESET TimeZone", "SET enable_external_access = true", "SET disabled_optimizers = ''",
		} {
			if err := c.Exec(t.Context(), sql); err == nil {
				t.Errorf("%s was let through", sql)
			}
		}
		c.Close()
	}
	for _, o := range []Options{{MemoryLimit: "plenty"}, {Settings: map[string]string{"no_such": "1"}}, {Path: filepath.Join(t.TempDir(), "no", "such", "dir")}} {
		if db, err := Open(t.Context(), o); err == nil {
			db.Close()
			t.Errorf("%+v was opened", o)
		}
	}
}

func TestOnlyAllowedDirectoriesAreReadable(t *testing.T) {
	yes, no := t.TempDir(), t.TempDir()
	attached := filepath.Join(t.TempDir(), "attached.duckdb")
	for _, d := range []string{yes, no} {
		if err := os.WriteFile(filepath.Join(d, "f.csv"), []byte("a\n1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(dir string) string { return "SELECT a FROM read_csv(" + Literal(filepath.Join(dir, "f.csv")) + ")" }
	for _, tc := range []struct {
		allowed []string
		yes, no bool
	}{{nil, false, false}, {[]string{yes}, true, false}} {
		c := open(t, Options{AllowedDirs: tc.allowed, Locked: true, Init: []string{"ATTACH " + Literal(attached) + " AS w"}})
		if _, err := c.Collect(t.Context(), read(yes)); (err == nil) != tc.yes {
			t.Errorf("allowed %v: reading there: %v", tc.allowed, err)
		}
		if _, err := c.Collect(t.Context(), read(no)); (err == nil) != tc.no {
			t.Errorf("allowed %v: reading elsewhere: %v", tc.allowed, err)
		}
		if _, err := c.Collect(t.Context(), read(yes+"/../"+filepath.Base(no))); err == nil {
			t.Error("a path with .. got out")
		}
		for _, sql := range []string{"LOAD httpfs", "INSTALL httpfs", "ATTACH '" + no + "/x.duckdb'", "COPY (SELECT 1) TO '" + no + "/out.csv'"} {
			if err := c.Exec(t.Context(), sql); err == nil {
				t.Errorf("%s was let through", sql)
			}
		}
		// The attached file stays writable, checkpoints included.
		if err := c.Exec(t.Context(), "CREATE OR REPLACE TABLE w.t AS SELECT 1 AS a; CHECKPOINT w; INSERT INTO w.t VALUES (2)"); err != nil {
			t.Errorf("writing the attached database: %v", err)
		}
	}
}

func TestSpillingNeedsADirectory(t *testing.T) {
	for _, tc := range []struct {
		o     Options
		works bool
	}{
		{Options{}, false},
		{Options{TempDir: filepath.Join(t.TempDir(), "spill")}, true},
		{Options{Path: filepath.Join(t.TempDir(), "w.duckdb")}, true},
	} {
		tc.o.Threads, tc.o.MemoryLimit, tc.o.Locked = 1, "30MB", true
		c := open(t, tc.o)
		err := c.Exec(t.Context(), "CREATE TEMP TABLE x AS SELECT md5(range::VARCHAR) AS m FROM range(600000) ORDER BY m")
		var e *Error
		if tc.works && err != nil || !tc.works && (!errors.As(err, &e) || e.Type != "Out of Memory") {
			t.Errorf("%+v: %v", tc.o, err)
		}
	}
}
