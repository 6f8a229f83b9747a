package duckdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/event"
)

func TestParsedStatementsPrintBack(t *testing.T) {
	c := open(t, Options{Locked: true})
	if err := c.Exec(t.Context(), "CREATE TABLE t AS SELECT i AS a, i % 3 AS b, 'x' || i AS s FROM range(20) r(i)"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"SELECT b, sum(a)::BIGINT AS n FROM t WHERE a < 15 AND s LIKE 'x%' GROUP BY b HAVING count(*) > 1 ORDER BY n DESC LIMIT 2",
		"SELECT b, s, count(*) FROM t GROUP BY GROUPING SETS ((b, s), (b), ()) ORDER BY ALL",
		"WITH w AS (SELECT a, row_number() OVER (PARTITION BY b ORDER BY a DESC) AS r FROM t) SELECT a FROM w WHERE r = 1 ORDER BY a",
		"SELECT CASE WHEN a > 3 THEN 'größer <&>' ELSE '''' END, 12345678901234567890, 1.10 FROM t ORDER BY a LIMIT 5",
		"SELECT count(*) FILTER (a > 3), TRY(ln(0)) FROM t",
		"FROM t SELECT a, date_trunc('hour', TIMESTAMP '2026-01-01 01:30:00' + INTERVAL 90 MINUTE) ORDER BY a",
	} {
		tree, err := c.Parse(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		printed, err := c.Print(t.Context(), tree)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		cast := func(q string) string { return "SELECT COLUMNS(*)::VARCHAR FROM (" + q + ")" }
		if got, want := show(t, c, cast(printed)), show(t, c, cast(sql)); got != want {
			t.Errorf("%s\nprinted %s\nanswers %s, not %s", sql, printed, got, want)
		}
		again, err := c.Parse(t.Context(), printed)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := c.Print(t.Context(), again); err != nil || twice != printed {
			t.Errorf("printed twice: %s, %v, not %s", twice, err, printed)
		}
	}
}

func TestTreeKeepsNumbersAndEmptyMembers(t *testing.T) {
	c := open(t, Options{})
	tree, err := c.Parse(t.Context(), "SELECT 1 FROM t")
	if err != nil {
		t.Fatal(err)
	}
	node := Statements(tree)[0].(map[string]any)["node"].(map[string]any)
	if groups, ok := node["group_sets"].([]any); !ok || len(groups) != 0 {
		t.Errorf("group_sets is %v", node["group_sets"])
	}
	item := node["select_list"].([]any)[0].(map[string]any)
	if _, ok := item["query_location"].(json.Number); !ok {
		t.Errorf("query_location is a %T", item["query_location"])
	}
}

func TestParseCountsStatements(t *testing.T) {
	c := open(t, Options{})
	for sql, want := range map[string]int{"": 0, " -- nothing": 0, "SELECT 1": 1, "SELECT 1;": 1, "SELECT 1; SELECT 2;": 2, "SELECT ';'": 1} {
		tree, err := c.Parse(t.Context(), sql)
		if err != nil || len(Statements(tree)) != want {
			t.Errorf("%q: %d statements, %v", sql, len(Statements(tree)), err)
		}
	}
}

func TestParseErrorsSayWhereInCharacters(t *testing.T) {
	c := open(t, Options{})
	for _, tc := range []struct {
		sql, message string
		position     int
	}{
		{"SELECT a b c", `syntax error at or near "c"`, 11},
		{"SELECT 'größer' b c", `syntax error at or near "c"`, 18},
		{"SELECT a FROM", "end of input", 13},
		{"DELETE FROM t", "Only SELECT", -1},
		{"PIVOT t ON a USING sum(b)", "Only SELECT", -1},
		{"SELECT 1; DROP TABLE t", "Only SELECT", -1},
		{"SELECT \xff", "UTF-8", -1},
		{"SELECT 1\x00", "NUL", -1},
	} {
		_, err := c.Parse(t.Context(), tc.sql)
		var e *ParseError
		if !errors.As(err, &e) || !strings.Contains(e.Message, tc.message) || e.Position != tc.position {
			t.Errorf("%q: %#v", tc.sql, err)
		}
	}
}

func TestQuoting(t *testing.T) {
	c := open(t, Options{})
	for _, s := range []string{"plain", `a"b`, "it's", `'; DROP TABLE t; --`, `back\slash`, "größer", "new\nline", "select"} {
		r, err := c.Collect(t.Context(), "SELECT "+Literal(s)+" AS "+Ident(s))
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if r.Columns[0].Name != s || r.Value(0, 0) != s {
			t.Errorf("%q came back as %q, named %q", s, r.Value(0, 0), r.Columns[0].Name)
		}
	}
}

func TestDescribeGivesPrintedTypes(t *testing.T) {
	c := open(t, Options{})
	h := share(t, everyType())
	for _, end := range []string{"", ";", " ; -- done", " -- done"} {
		got, err := c.Describe(t.Context(), "SELECT *, [1] AS l FROM "+h.SQL()+end)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(everyType())+1 || got[len(got)-1] != (DescribedColumn{"l", "INTEGER[]"}) {
			t.Fatalf("got %v", got)
		}
		for i, want := range everyType() {
			if typ, err := ParseType(got[i].SQLType); got[i].Name != want.Name || typ != want.Type || err != nil {
				t.Errorf("%v is read as %v, %v", got[i], typ, err)
			}
		}
	}
	if _, err := c.Describe(t.Context(), "WITH w AS (SELECT 1 AS a) FROM w"); err != nil {
		t.Error(err)
	}
	_, err := c.Describe(t.Context(), "SELECT nope FROM "+h.SQL())
	if err == nil || !strings.Contains(err.Error(), "LINE 1: SELECT nope FROM tw_scan") {
		t.Errorf("the error does not show the query as it was given: %v", err)
	}
	for _, sql := range []string{"CREATE TABLE x (a INTEGER)", "", "SELECT 1; SELECT 2", "EXPLAIN ANALYZE SELECT 1"} {
		if d, err := c.Describe(t.Context(), sql); err == nil {
			t.Errorf("%q is described as %v", sql, d)
		}
	}
}

func TestTypesThatTablesCannotHoldNameTheirSubstitute(t *testing.T) {
	for text, want := range map[string]string{
		"UINTEGER": "use BIGINT", "UBIGINT": "use DECIMAL(20,0)", "UUID": "use VARCHAR",
		"INTERVAL": "use BIGINT microseconds", "INTEGER[]": "use JSON", "STRUCT(a INTEGER)": "use JSON",
		"MAP(VARCHAR, INTEGER)": "use JSON", "DECIMAL(4,2)[3]": "use JSON", "ENUM('a', 'b')": "use VARCHAR",
		"TIMESTAMP_NS": "use TIMESTAMP", "TIME": "use BIGINT", "DECIMAL(39,0)": "through 38", "DECIMAL": "want DECIMAL",
		"WIDGET": "is not supported",
	} {
		if typ, err := ParseType(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, typ, err)
		}
	}
	for text, want := range map[string]event.Type{
		"TIMESTAMP WITH TIME ZONE": {Kind: event.Timestamp}, " decimal(10, 2)": {Kind: event.Decimal, Precision: 10, Scale: 2}, "json": {Kind: event.JSON},
	} {
		if typ, err := ParseType(text); typ != want || err != nil {
			t.Errorf("%s: %v, %v", text, typ, err)
		}
	}
}

func TestFingerprintIsStable(t *testing.T) {
	var prints []string
	for threads := 1; threads <= 2; threads++ {
		p, err := open(t, Options{Threads: threads, Locked: true}).EngineFingerprint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, p)
	}
	if prints[0] != prints[1] || !strings.HasPrefix(prints[0], "v") || len(prints[0]) < len("v1.0.0/0123456789abcdef") {
		t.Error(fmt.Sprint(prints))
	}
}
