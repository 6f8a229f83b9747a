package serving

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

func TestAViewIsItsSQLInEveryLayer(t *testing.T) {
	r := newRig(t)
	r.sameAt(nil)
	for _, step := range []func(){
		func() { r.send(700) }, r.land, func() { r.send(300) }, r.batch, func() { r.send(50) },
		r.land, r.batch, func() { r.send(5) }, r.land, r.batch, r.batch, func() { r.send(1) },
	} {
		step()
		r.sameAt(nil)
	}
}

func TestAPastCutIsAnsweredAsItWas(t *testing.T) {
	r := newRig(t)
	const sql = "SELECT (SELECT c FROM total), (SELECT count(*) FROM pay), (SELECT sum(c) FROM hourly WHERE k = 'a'), (SELECT count(*) FROM tailwater.view_errors)"
	was := map[uint64]string{}
	step := func(n int, then ...func()) {
		r.send(n)
		for _, f := range then {
			f()
		}
		was[r.at] = r.ask(sql)
	}
	step(100)
	step(80, r.land)
	step(60, r.land, r.batch)
	step(40, r.land)
	step(20)
	for at, want := range was {
		cut := event.Cut{paySource: at}
		a, err := r.SQL(t.Context(), SQLRequest{SQL: sql, At: cut, Timeout: time.Minute})
		must(t, err)
		if a.Cut[paySource] != at {
			t.Errorf("asked at %d, the answer says %s", at, a.Cut)
		}
		if got, err := textOf(a, nil); err != nil || got != want {
			t.Errorf("at %d: %s%v, and it was %s", at, got, err, want)
		}
		r.sameAt(cut)
		text, err := event.ParseCut(cut.String())
		if err != nil || text[paySource] != at {
			t.Errorf("%s reads back as %v (%v)", cut, text, err)
		}
	}
	if _, err := r.SQL(t.Context(), SQLRequest{SQL: sql, At: event.Cut{{Stream: "pay", Epoch: 7}: 3}, Timeout: time.Minute}); err == nil {
		t.Error("an epoch that never was has an answer")
	}
}

func TestParametersAreValuesAndNothingElse(t *testing.T) {
	r := newRig(t)
	r.send(300)
	for _, c := range []struct {
		sql        string
		parameters []Parameter
		literal    string
	}{
		{"SELECT count(*) FROM pay WHERE k = $1", []Parameter{{Name: "1", Value: "a"}}, "SELECT count(*) FROM pay WHERE k = 'a'"},
		{"SELECT count(*) FROM pay WHERE k = ?", []Parameter{{Name: "1", Value: "a' OR true --"}}, "SELECT count(*) FROM pay WHERE k = 'a'' OR true --'"},
		{"SELECT count(*) FROM pay WHERE ts >= $from AND n < $limit", []Parameter{{Name: "from", Value: "1970-01-01 02:00:00"}, {Name: "limit", Value: int64(10)}}, "SELECT count(*) FROM pay WHERE ts >= '1970-01-01 02:00:00' AND n < 10"},
		{"SELECT k FROM pay WHERE k IS NOT DISTINCT FROM $1 LIMIT $2", []Parameter{{Name: "1", Value: nil, Type: "VARCHAR"}, {Name: "2", Value: int64(2)}}, "SELECT k FROM pay WHERE k IS NULL LIMIT 2"},
		{"SELECT $1 + 1, $1", []Parameter{{Name: "1", Value: 1.5}}, "SELECT 1.5::DOUBLE + 1, 1.5::DOUBLE"},
		{"SELECT $1", []Parameter{{Name: "1", Value: "12", Type: "INTEGER"}}, "SELECT 12"},
		{"SELECT sum(r) FROM range($1) AS t(r)", []Parameter{{Name: "1", Value: int64(10)}}, "SELECT sum(r) FROM range(10) AS t(r)"},
		{"SELECT count(*) FROM pay WHERE n = ANY([$1, $2])", []Parameter{{Name: "1", Value: int64(3)}, {Name: "2", Value: int64(4)}}, "SELECT count(*) FROM pay WHERE n = ANY([3, 4])"},
	} {
		if got, want := r.ask(c.sql, c.parameters...), r.ask(c.literal); got != want {
			t.Errorf("%s: %s, with literals %s", c.sql, got, want)
		}
	}
	for sql, want := range map[string]string{
		"SELECT $1":                      "parameter $1 has no value",
		"SELECT sum(n) FROM range($2)":   "parameter $2 has no value",
		"SELECT repeat('x', $9)":         "repeat makes more than",
		"SELECT count(*) FROM range($9)": "makes more than",
		"SELECT 1":                       "no parameter $9",
	} {
		var values []Parameter
		if strings.Contains(want, "more") || sql == "SELECT 1" {
			values = []Parameter{{Name: "9", Value: int64(1e12)}}
		}
		_, err := r.SQL(t.Context(), SQLRequest{SQL: sql, Parameters: values, Timeout: time.Minute})
		var refusal *Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, want) {
			t.Errorf("%s: %v, want %q", sql, err, want)
		}
	}
}

func TestPrepareTellsParametersAndColumns(t *testing.T) {
	r := newRig(t)
	for sql, want := range map[string]string{
		"SELECT k, n FROM pay WHERE ts > $1 AND n = $2": "1 TIMESTAMP, 2 BIGINT → k VARCHAR, n BIGINT",
		"SELECT $1":                                      "1 VARCHAR → $1 VARCHAR",
		"SELECT k FROM pay WHERE k = ? LIMIT ?":          "1 VARCHAR, 2 BIGINT → k VARCHAR",
		"SELECT * FROM total":                            " → c BIGINT, s HUGEINT",
		"SELECT [1, 2] AS l, {'a': 1} AS s, 1::UTINYINT": " → l JSON, s JSON, CAST(1 AS \"UTINYINT\") BIGINT",
		"SELECT reason FROM tailwater.view_errors":       " → reason VARCHAR",
		"SELECT * FROM generate_series(1, $1) AS g(i)":   "1 VARCHAR → i BIGINT",
		"DESCRIBE pay":                                   " → column_name VARCHAR, column_type VARCHAR, null VARCHAR, key VARCHAR, default VARCHAR, extra VARCHAR",
	} {
		p, err := r.Prepare(t.Context(), sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		list := func(columns []event.Column) string {
			var out []string
			for _, c := range columns {
				out = append(out, c.Name+" "+c.Type.String())
			}
			return strings.Join(out, ", ")
		}
		if got := list(p.Parameters) + " → " + list(p.Columns); got != want {
			t.Errorf("%s:\n  %s\nwant\n  %s", sql, got, want)
		}
	}
	var refusal *Refusal
	if _, err := r.Prepare(t.Context(), "SELECT nn FROM pay WHERE k = $1"); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, `"n"`) {
		t.Errorf("an unknown column: %v", err)
	}
}

func TestExplainTellsWhatComesFromWhere(t *testing.T) {
	r := newRig(t)
	r.send(600)
	r.land()
	r.batch()
	r.send(300)
	r.land()
	r.send(100)
	got := r.ask("/* who */ EXPLAIN ANALYZE SELECT k, sum(n) FROM pay GROUP BY k")
	for _, want := range []string{"source|batch|600|600|", "source|lake|300|", "source|speed|100|100|", "|batch|600|", "TW_SCAN|speed|100"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "/tmp/") || strings.Contains(got, t.TempDir()) {
		t.Errorf("names directories:\n%s", got)
	}
	got = r.ask("EXPLAIN SELECT * FROM hourly")
	if !strings.Contains(got, "source|batch|") || !strings.Contains(got, "(null)") {
		t.Errorf("EXPLAIN gave\n%s", got)
	}
	if got := r.ask("DESCRIBE hourly"); !strings.Contains(got, "window_start|TIMESTAMP") {
		t.Errorf("DESCRIBE gave\n%s", got)
	}
	if got := r.ask("SUMMARIZE SELECT n FROM pay"); !strings.Contains(got, "n|BIGINT|-50|50|") {
		t.Errorf("SUMMARIZE gave\n%s", got)
	}
	for _, sql := range []string{"EXPLAIN ANALYZE DELETE FROM pay", "EXPLAIN EXPLAIN SELECT 1", "EXPLAIN SELECT 1; SELECT 2", "EXPLAIN", "DESCRIBE 'a.csv'", "EXPLAIN (FORMAT HTML) SELECT 1"} {
		var refusal *Refusal
		if _, err := r.SQL(t.Context(), SQLRequest{SQL: sql, Timeout: time.Minute}); !errors.As(err, &refusal) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := r.SQL(t.Context(), SQLRequest{SQL: "EXPLAIN SELECT nothere FROM pay", Timeout: time.Minute}); err == nil || strings.Contains(fmt.Sprint(err), "facts") {
		t.Errorf("an unknown column: %v", err)
	}
}

func TestAReferenceTableIsJoinedWithAnyLayer(t *testing.T) {
	r := newRig(t)
	const sql = "SELECT name, n = (SELECT sum(c) FROM hourly h WHERE h.k = t.k) FROM (SELECT k, count(*) AS n FROM pay GROUP BY k) AS t JOIN names USING (k) ORDER BY 1"
	for _, step := range []func(){func() { r.send(300) }, r.land, r.batch, func() { r.send(20) }} {
		step()
		a, err := r.SQL(t.Context(), SQLRequest{SQL: sql, Timeout: time.Minute})
		must(t, err)
		out, err := textOf(a, nil)
		must(t, err)
		if out != "Anna's|true\nBen's|true\n" || fmt.Sprint(a.Statistics["reference_versions"]) != "map[names:v1]" {
			t.Fatalf("%s%v", out, a.Statistics)
		}
	}
	if out := r.ask("FROM tailwater.reference_tables"); out != "names|v1|2\n" {
		t.Errorf("the list is %q", out)
	}
	if p, err := r.Prepare(t.Context(), "FROM names"); err != nil || len(p.Columns) != 2 {
		t.Errorf("%v %v", p, err)
	}
}

// The first rows of a stream are those of its parts: the answer must be what it is
// without that.
func TestTheFirstRowsAreTheSameHoweverTheyAreFound(t *testing.T) {
	r := newRig(t)
	r.send(700)
	r.land()
	r.batch()
	r.send(300)
	r.land()
	r.send(200)
	for sql, pushed := range map[string]bool{
		"SELECT * FROM pay ORDER BY n DESC, _seq LIMIT 20":                                               true,
		"SELECT n, k FROM pay ORDER BY _seq DESC LIMIT 7 OFFSET 5":                                       true,
		"SELECT p.n AS m FROM pay p WHERE p.k = 'a' AND n > 10 ORDER BY p._seq LIMIT 30":                 true,
		"SELECT k, n * 2 AS twice FROM main.pay WHERE n > 1e1 ORDER BY k NULLS FIRST, _seq DESC LIMIT 9": true,
		"WITH pays AS (SELECT * FROM pay ORDER BY n, _seq LIMIT 10) SELECT sum(n) FROM pays":             true,
		"SELECT n AS _seq, k FROM pay ORDER BY _seq, k NULLS FIRST LIMIT 5":                              false, // by what is shown
		"SELECT * REPLACE (-n AS n) FROM pay ORDER BY n, _seq LIMIT 5":                                   false,
		"SELECT k, sum(n) AS s FROM pay GROUP BY k ORDER BY k LIMIT 2":                                   false,
		"SELECT DISTINCT k FROM pay ORDER BY k LIMIT 2":                                                  false,
		"SELECT _seq, sum(n) OVER (ORDER BY _seq) AS run FROM pay ORDER BY _seq DESC LIMIT 3":            false,
		"SELECT sum(n) FROM pay ORDER BY 1 LIMIT 3":                                                      false,
		"SELECT n FROM pay WHERE n = (SELECT max(n) FROM pay) ORDER BY _seq LIMIT 4":                     false,
		"SELECT n FROM pay ORDER BY n + 1, _seq LIMIT 4":                                                 false,
		"SELECT a FROM pay AS p(a, b, c) ORDER BY b, c, a LIMIT 4":                                       false,
		"SELECT n FROM pay, range(2) AS t(i) ORDER BY _seq, i LIMIT 4":                                   false,
	} {
		st, err := r.gate.Admit(t.Context(), sql)
		must(t, err)
		found := false
		for _, u := range st.uses {
			found = found || u.top != nil
		}
		if found != pushed {
			t.Errorf("%s: brought to the parts: %v", sql, found)
		}
		got := r.ask(sql)
		for i := range st.uses {
			st.uses[i].top = nil
		}
		want, err := textOf(r.statement(t.Context(), st, SQLRequest{SQL: sql}))
		if must(t, err); got != want || got == "" {
			t.Errorf("%s gives\n%swant\n%s", sql, got, want)
		}
	}
}

// What WHERE says of the time is brought to the landed files: no row may get lost by
// that, and files outside are not read.
func TestBoundsOfTheTimeReachLandedFiles(t *testing.T) {
	r := newRig(t)
	r.send(500)
	r.land()
	for where, bounded := range map[string]bool{
		"ts >= '1970-01-01 02:00:00'":                                         true,
		"ts >= TIMESTAMP '1970-01-01 02:00:00.5' AND ts < '1970-01-01 03:00'": true,
		"ts BETWEEN '1970-01-01' AND DATE '1970-01-02'":                       true,
		"'1970-01-01 04:00:00' > pay.ts AND n > 0":                            true,
		"ts = '1970-01-01 01:00:00'":                                          true,
		"ts > now() - INTERVAL '1 hour'":                                      true,
		"ts < now() - INTERVAL 3 DAYS":                                        false,
		"ts < now()":                                                          false,
		"ts >= now() - INTERVAL '1 month'":                                    false,
		"ts >= date_trunc('day', now())":                                      false,
		"ts >= '1970-01-01 02:00:00' OR n > 0":                                false,
		"NOT (ts >= '1970-01-01 02:00:00')":                                   true, // the parser turns it round
		"ts IS NULL OR ts > '2001-01-01'":                                     false,
		"ts + INTERVAL '1 hour' > '1970-01-01 02:00:00'":                      false,
		"ts <> '1970-01-01 02:00:00'":                                         false,
		"k >= '1970-01-01 02:00:00'":                                          false,
		"ts >= '1970-01-01 02:00:00+02'":                                      false,
		"ts >= '1970-01-01 02:00:00' AND _seq IN (SELECT _seq FROM pay WHERE ts < '1970-01-02')": false, // read twice
	} {
		sql := "SELECT count(*), sum(n), min(ts), max(ts) FROM pay WHERE " + where
		st, err := r.gate.Admit(t.Context(), sql)
		must(t, err)
		landed, ok := st.bounds("pay")["ts"]
		if ok = ok && (landed.Least != math.MinInt64 || landed.Greatest != math.MaxInt64); ok != bounded {
			t.Errorf("%s: bounds %v", where, st.bounds("pay"))
		}
		got := r.ask(sql)
		for i := range st.uses {
			st.uses[i].bounds = nil
		}
		want, err := textOf(r.statement(t.Context(), st, SQLRequest{SQL: sql}))
		if must(t, err); got != want {
			t.Errorf("%s gives %swithout bounds %s", where, got, want)
		}
	}
	st, err := r.gate.Admit(t.Context(), "SELECT count(*) FROM pay TABLESAMPLE 10 ROWS WHERE ts > '2001-01-01'")
	if must(t, err); len(st.bounds("pay")) != 0 {
		t.Error("a sample is drawn of what the condition keeps")
	}
	plan := r.ask("EXPLAIN ANALYZE SELECT sum(n) FROM pay WHERE ts > '2001-01-01'")
	if !strings.Contains(plan, "source|lake|0|0|") {
		t.Errorf("files of another time are read:\n%s", plan)
	}
}

// A WITH clause of whoever asks must not catch a name in a relation.
func TestRelationsNameNothingThatAStatementCouldDefine(t *testing.T) {
	r := newRig(t)
	r.send(100)
	r.land()
	r.batch()
	r.send(100)
	r.land()
	r.send(10)
	conn, err := r.gateDB.Connect()
	must(t, err)
	defer conn.Close()
	for _, at := range []event.Cut{nil, {paySource: 150}} {
		p, err := r.query(t.Context(), at)
		must(t, err)
		for _, table := range r.Tables(t.Context()) {
			parts, err := p.relation(t.Context(), table, nil)
			must(t, err)
			for _, sql := range parts {
				tree, err := conn.Parse(t.Context(), sql)
				must(t, err)
				defined, read := map[string]bool{}, map[string]bool{}
				collectNames(tree, defined, read)
				for name := range read {
					if !defined[name] {
						t.Errorf("%s reads %q: %s", table, name, sql)
					}
				}
			}
		}
		p.close()
	}
	if out := r.ask("WITH partials AS (SELECT 1), facts AS (SELECT 2), pay AS (SELECT c FROM total) SELECT * FROM pay"); out != "210\n" {
		t.Errorf("with names of its own: %q", out)
	}
}

// collectNames gathers, in lower case, the names that WITH clauses of a tree define
// and the tables without a schema that it reads.
func collectNames(v any, defined, read map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			collectNames(e, defined, read)
		}
	case map[string]any:
		if text(v, "type") == "BASE_TABLE" && text(v, "schema_name") == "" {
			read[strings.ToLower(text(v, "table_name"))] = true
		}
		if ctes, ok := v["cte_map"].(map[string]any); ok {
			entries, _ := ctes["map"].([]any)
			for _, e := range entries {
				defined[strings.ToLower(text(e.(map[string]any), "key"))] = true
			}
		}
		for _, e := range v {
			collectNames(e, defined, read)
		}
	}
}

// What stops an answer is told as what it is: a filter that does not fit is the
// client's fault, the end of his time is not.
func TestTheEndOfTheTimeIsNoFaultOfTheFilter(t *testing.T) {
	r := newRig(t)
	r.send(300)
	r.land()
	r.batch()
	r.send(10)
	r.land()
	r.batch()
	ended, end := context.WithTimeoutCause(t.Context(), 0, ErrTimeout)
	defer end()
	p, err := r.query(t.Context(), nil)
	must(t, err)
	defer p.close()
	if from := p.tx.Split(r.plans[0]); from.Loose == "" {
		t.Fatal("no rows are loose: their windows are not asked for")
	}
	var refusal *Refusal
	if _, err := p.answer(ended, r.plans[0], view.Filter{}); err == nil || errors.As(err, &refusal) {
		t.Errorf("after the end of the time: %v", err)
	}
	if _, err := r.View(t.Context(), ViewRequest{Name: "hourly", Filter: view.Filter{Order: []string{"nothing"}}}); !errors.As(err, &refusal) || refusal.Code != "filter" {
		t.Errorf("an unknown column: %v", err)
	}
}
