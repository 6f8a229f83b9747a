package duckdb

import (
	"strings"
	"testing"
)

// The statements are refused by whoever takes SQL from outside. If this test fails with
// right rows the engine has been mended, and CorrelatedRecursion can go.
func TestTheEngineIsWrongOnRecursionInCorrelatedSubqueries(t *testing.T) {
	c := open(t, Options{Threads: 1})
	const recursive = "WITH RECURSIVE w AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM w WHERE n < 3) "
	for with, want := range map[string]string{recursive: "1,3;2,4;3,4", "WITH w(n) AS (VALUES (1), (2), (3)) ": "1,1;2,2;3,3"} {
		got := show(t, c, "SELECT i, ("+with+"SELECT max(c) FROM (SELECT (SELECT count(*) FROM w WHERE w.n <= t.n) AS c, n FROM range(1, 4) t(n)) WHERE n <= i) FROM range(1, 4) o(i) ORDER BY ALL")
		if got != want {
			t.Errorf("%s: %s, want %s", with, got, want)
		}
	}
	if got := show(t, c, "SELECT i, ("+recursive+"SELECT sum(w.n) FROM range(1, 4) t(n) ASOF JOIN w ON t.n >= w.n WHERE t.n <= i) FROM range(1, 4) o(i) ORDER BY ALL"); got != "1,1;2,-;3,-" {
		t.Errorf("ASOF: %s; right is 1,1;2,3;3,6", got)
	}
	_, err := c.Collect(t.Context(), "SELECT i, ("+recursive+"SELECT max((SELECT count(*) FROM w WHERE w.n <= t.n)) FROM w t WHERE t.n <= i) FROM range(1, 4) o(i)")
	if err == nil || !strings.Contains(err.Error(), "INTERNAL Error") {
		t.Errorf("no internal error: %v", err)
	}
}

func TestRecursionInACorrelatedSubqueryIsFound(t *testing.T) {
	c := open(t, Options{Threads: 1})
	const w = "WITH RECURSIVE w AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM w WHERE n < 3) "
	for sql, want := range map[string]bool{
		// Correlated, wherever the column from outside is.
		"SELECT i, (" + w + "SELECT count(*) FROM w WHERE n <= i) FROM range(3) o(i)":                                                  true,
		"SELECT i, (" + w + "SELECT count(*) FROM w WHERE w.n <= o.i) FROM range(3) o(i)":                                              true,
		"SELECT i, (WITH RECURSIVE w AS (SELECT i AS n UNION ALL SELECT n + 1 FROM w WHERE n < 3) SELECT n FROM w) FROM range(3) o(i)": true,
		"SELECT i, (WITH RECURSIVE w AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM w WHERE n < i) SELECT n FROM w) FROM range(3) o(i)": true,
		"SELECT i, (" + w + "SELECT max(i) AS i FROM w) FROM range(3) o(i)":                                                            true,
		"SELECT i FROM range(3) o(i) WHERE EXISTS (" + w + "FROM w WHERE n = i)":                                                       true,
		"SELECT i FROM range(3) o(i) WHERE i IN (" + w + "SELECT n FROM w WHERE n <> i)":                                               true,
		"SELECT i FROM range(3) o(i) WHERE i > ANY (" + w + "SELECT n + i FROM w)":                                                     true,
		"SELECT * FROM range(3) o(i), LATERAL (" + w + "SELECT n FROM w WHERE n <= i) x":                                               true,
		"SELECT * FROM range(3) o(i), (" + w + "SELECT n FROM w WHERE n <= o.i) x":                                                     true,
		"SELECT * FROM range(3) o(i) LEFT JOIN (" + w + "SELECT n FROM w WHERE n <= o.i) x ON true":                                    true,
		"SELECT i, (SELECT sum(n) FROM (" + w + "FROM w) v WHERE v.n <= o.i) FROM range(3) o(i)":                                       true,
		"SELECT i, (SELECT max(j) FROM range(3) p(j) WHERE j IN (" + w + "SELECT n FROM w) AND j < i) FROM range(3) o(i)":              true,
		"SELECT i, (SELECT (SELECT max(n) + i FROM w) FROM (" + w + "FROM w) w) FROM range(3) o(i)":                                    true,
		"SELECT i FROM range(3) o(i) ORDER BY (" + w + "SELECT count(*) FROM w WHERE n <= i)":                                          true,
		"SELECT i, (SELECT count(*) FROM looped WHERE n <= i) FROM range(3) o(i)":                                                      true,
		"WITH u AS (SELECT i, (" + w + "SELECT count(*) FROM w WHERE n <= i) FROM range(3) o(i)) FROM u":                               true,
		"SELECT id, (" + w + "SELECT count(*) FROM w, things WHERE n <= x) FROM things":                                                true, // whose x it is nothing tells
		"SELECT o.id, (" + w + "SELECT count(*) FROM w, things o WHERE n <= o.x) FROM things o":                                        true, // the inner o may have no x
		"SELECT 1 FROM a JOIN b ON EXISTS (" + w + "SELECT 1 FROM w, c AS b WHERE b.x = n)":                                            true,
		// Not correlated.
		w + "SELECT i, (SELECT max(c) FROM (SELECT (SELECT count(*) FROM w WHERE w.n <= t.n) AS c, n FROM range(1, 4) t(n)) WHERE n <= i) FROM range(1, 4) o(i)":                      false,
		"SELECT i, (" + w + "SELECT count(*) FROM w) FROM range(3) o(i)":                                                                                                              false,
		"SELECT i, (" + w + "SELECT count(*) AS c FROM w v WHERE v.n <= 2 GROUP BY n ORDER BY c LIMIT 1) FROM range(3) o(i)":                                                          false,
		"SELECT i FROM range(3) o(i) WHERE i IN (" + w + "SELECT n FROM w)":                                                                                                           false,
		"SELECT i FROM range(3) o(i) WHERE i + 1 IN (" + w + "SELECT n FROM w)":                                                                                                       false,
		"SELECT * FROM range(3) o(i) JOIN (" + w + "SELECT n, n * 2 AS m FROM w WHERE n > 1) x ON x.n = o.i":                                                                          false,
		"SELECT (" + w + "SELECT max(x) FROM w, things WHERE n <= x)":                                                                                                                 false,
		"SELECT * FROM (" + w + "SELECT max(x) FROM w, things WHERE n <= x)":                                                                                                          false,
		"SELECT id, (" + w + "SELECT count(*) FROM w, things t WHERE w.n <= t.x) FROM things":                                                                                         false,
		"SELECT i, (SELECT max(j) FROM range(3) p(j) WHERE j < i) FROM range(3) o(i), (" + w + "FROM w) v":                                                                            false,
		"SELECT i, (WITH RECURSIVE r(a, b) AS (SELECT 1, [1] UNION ALL SELECT a + 1, list_transform(b, lambda x: x + a) FROM r WHERE a < 3) SELECT max(a) FROM r) FROM range(3) o(i)": false,
		"SELECT i, (SELECT count(*) FROM looped) FROM range(3) o(i)":                                                                                                                  false,
	} {
		tree, err := c.Parse(t.Context(), sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		if got := CorrelatedRecursion(Statements(tree), func(table string) bool { return table == "looped" }) != nil; got != want {
			t.Errorf("%s: found %t, want %t", sql, got, want)
		}
	}
}
