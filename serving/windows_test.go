package serving

import (
	"fmt"
	"testing"
	"time"

	"github.com/tailwater/tailwater/view"
)

// The windows of views, by hand: over the stream as a table, which knows no windows.
var windowsByHand = map[string]string{
	"rolling": `SELECT k, w AS window_start, count(*) AS c, sum(n)::HUGEINT AS s FROM (SELECT *, unnest([time_bucket(INTERVAL '20 minutes', ts, TIMESTAMP '1970-01-01') - INTERVAL 40 MINUTES, time_bucket(INTERVAL '20 minutes', ts, TIMESTAMP '1970-01-01') - INTERVAL 20 MINUTES, time_bucket(INTERVAL '20 minutes', ts, TIMESTAMP '1970-01-01')]) AS w FROM pay) GROUP BY ALL`,
	"moving": `SELECT k, t AS window_end, count(*) AS c, sum(n)::HUGEINT AS s FROM (SELECT DISTINCT k AS key, t FROM (SELECT k, ts AS t FROM pay UNION ALL SELECT k, ts + INTERVAL 2 MINUTES FROM pay)) AS e
		JOIN pay ON pay.k IS NOT DISTINCT FROM e.key AND ts <= t AND ts > t - INTERVAL 2 MINUTES GROUP BY k, t`,
	"instants":     `SELECT ts AS window_start, count(*) AS c FROM pay GROUP BY ts`,
	"named":        `SELECT name, count(*) AS c, sum(n)::HUGEINT AS s FROM pay LEFT JOIN names ON pay.k = names.k GROUP BY name`,
	"named_hourly": `SELECT time_bucket(INTERVAL '1 hour', ts, TIMESTAMP '1970-01-01') AS window_start, upper(name) AS name, count(*) AS c, sum(n)::HUGEINT AS s, count(DISTINCT n) AS d FROM pay JOIN names ON pay.k = names.k GROUP BY ALL`,
	"lengths":      `SELECT pay.k, sum(length(name)) AS s FROM pay JOIN names ON pay.k = names.k GROUP BY ALL`,
	"visits": `SELECT k, min(ts) AS window_start, max(ts) + INTERVAL 8 MINUTES AS window_end, count(*) AS c, sum(n)::HUGEINT AS s FROM
		(SELECT *, sum(CASE WHEN gap < INTERVAL 8 MINUTES THEN 0 ELSE 1 END) OVER (PARTITION BY k ORDER BY ts, n) AS visit FROM (SELECT *, ts - lag(ts) OVER (PARTITION BY k ORDER BY ts, n) AS gap FROM pay)) GROUP BY k, visit`,
}

func TestWindowsAreExactOnAllLayers(t *testing.T) {
	r := newRig(t)
	same := func() {
		t.Helper()
		for _, p := range r.plans {
			c, err := r.Check(t.Context(), CheckRequest{View: p.Name})
			must(t, err)
			if c.Difference != 0 {
				t.Fatalf("%s at %s: missing %s, extra %s", p.Name, c.Cut, c.Missing, c.Extra)
			}
			byHand := windowsByHand[p.Name]
			if byHand == "" {
				continue
			}
			got, want := r.ask("SELECT * FROM "+p.Name+" ORDER BY ALL"), r.ask("SELECT * FROM ("+byHand+") AS v ORDER BY ALL")
			if got != want {
				t.Fatalf("%s:\n%s\nby hand:\n%s", p.Name, got, want)
			}
		}
	}
	same() // nothing at all
	r.send(150)
	same()
	r.land()
	r.batch()
	same()
	r.send(60)
	r.land()
	r.send(40)
	same()
	r.batch()
	r.send(10)
	same()
}

func TestASessionIsCutAtItsLongest(t *testing.T) {
	r := newRig(t)
	r.send(400)
	const longest = 15 * time.Minute
	if got := r.ask(fmt.Sprintf("SELECT count(*) FROM cut WHERE window_end - window_start > to_microseconds(%d)", longest.Microseconds())); got != "0\n" {
		t.Errorf("%s sessions are too long", got)
	}
	// A session that the other view has whole begins with the first of its cuts.
	if got := r.ask("SELECT count(*) FROM (SELECT k, window_start FROM visits EXCEPT SELECT k, window_start FROM cut)"); got != "0\n" {
		t.Errorf("%s sessions begin with no cut", got)
	}
	if got := r.ask("SELECT (SELECT sum(c) FROM cut), (SELECT sum(c) FROM visits), (SELECT count(*) FROM visits WHERE window_end - window_start > INTERVAL 15 MINUTES) > 0"); got != "400|400|true\n" {
		t.Errorf("events of cut sessions, of whole ones, and whether any was cut: %s", got)
	}
}

func TestWindowsAreFilteredOnAllLayers(t *testing.T) {
	r := newRig(t)
	r.send(200)
	r.land()
	r.batch()
	r.send(50)
	from, to := time.Unix(3_000, 0).UTC(), time.Unix(9_000, 0).UTC()
	for _, name := range []string{"rolling", "visits", "cut", "moving"} {
		for where, f := range map[string]view.Filter{
			"true":                                {},
			"k = 'b'":                             {Where: []view.Equal{{Key: "k", Value: "b"}}},
			"k IS NULL AND start >= '1900-01-01'": {Where: []view.Equal{{Key: "k", Null: true}}},
			"start >= TIMESTAMP '1970-01-01 00:50:00' AND start < TIMESTAMP '1970-01-01 02:30:00' AND k IN ('a', 'c')": {From: &from, To: &to, Among: []view.Among{{Key: "k", Values: []string{"a", "c"}}}},
		} {
			got, err := textOf(r.View(t.Context(), ViewRequest{Name: name, Filter: f}))
			must(t, err)
			start := "window_start AS start"
			if name == "moving" {
				start = "window_end - INTERVAL 2 MINUTES AS start"
			}
			want := r.ask("SELECT * EXCLUDE (start) FROM (SELECT *, " + start + " FROM " + name + ") WHERE " + where)
			if sortedLines(got) != sortedLines(want) {
				t.Errorf("%s where %s:\n%s\nwant:\n%s", name, where, got, want)
			}
		}
	}
}
