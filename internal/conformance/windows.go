package conformance

import (
	"fmt"
	"strings"
)

// A windowCase is one way to cut time: the call as a definition writes it, and the
// same by hand, as a SELECT over the table e of events that gives each row of e once
// for each window it is in, with window_start and window_end.
type windowCase struct {
	name, call       string
	bounds, timezone string
	rows             func(keys []string) string
}

const (
	second = 1_000_000
	minute = 60 * second
	hour   = 60 * minute
)

var windowCases = []windowCase{
	{name: "none", rows: func([]string) string { return "SELECT * FROM e" }},
	{name: "tumble", call: "tumble(ts, INTERVAL '10 minutes')", rows: tumbled(10*minute, 0, "[)")},
	{name: "tumble, shifted", call: "tumble(ts, INTERVAL '7 minutes', INTERVAL '-90 seconds')", rows: tumbled(7*minute, -90*second, "[)")},
	{name: "tumble (]", call: "tumble(ts, INTERVAL '10 minutes')", bounds: "(]", rows: tumbled(10*minute, 0, "(]")},
	{name: "hop", call: "hop(ts, INTERVAL '1 hour', INTERVAL '10 minutes')", rows: hopped(hour, 10*minute, 0, "[)")},
	{name: "hop, uneven", call: "hop(ts, INTERVAL '25 minutes', INTERVAL '10 minutes', INTERVAL '3 minutes')", rows: hopped(25*minute, 10*minute, 3*minute, "[)")},
	{name: "hop, with gaps", call: "hop(ts, INTERVAL '4 minutes', INTERVAL '10 minutes')", rows: hopped(4*minute, 10*minute, 0, "[)")},
	{name: "hop (]", call: "hop(ts, INTERVAL '30 minutes', INTERVAL '10 minutes')", bounds: "(]", rows: hopped(30*minute, 10*minute, 0, "(]")},
	{name: "slide", call: "slide(ts, INTERVAL '10 minutes')", rows: slid(10 * minute)},
	{name: "session", call: "session(ts, INTERVAL '2 minutes')", rows: sessions(2*minute, 0)},
	{name: "session, cut", call: "session(ts, INTERVAL '2 minutes', INTERVAL '5 minutes')", rows: sessions(2*minute, 5*minute)},
	{name: "snapshot", call: "snapshot(ts)", rows: snapped},
	{name: "day", call: "tumble(ts, 'day')", rows: dated("day", "UTC")},
	{name: "day in Berlin", call: "tumble(ts, 'day')", timezone: "Europe/Berlin", rows: dated("day", "Europe/Berlin")},
	{name: "day in New York", call: "tumble(ts, 'day')", timezone: "America/New_York", rows: dated("day", "America/New_York")},
	{name: "day in Havana", call: "tumble(ts, 'day')", timezone: "America/Havana", rows: dated("day", "America/Havana")},
	{name: "week on Lord Howe", call: "tumble(ts, 'week')", timezone: "Australia/Lord_Howe", rows: dated("week", "Australia/Lord_Howe")},
	{name: "month in Kathmandu", call: "tumble(ts, 'month')", timezone: "Asia/Kathmandu", rows: dated("month", "Asia/Kathmandu")},
	{name: "day in Monrovia", call: "tumble(ts, 'day')", timezone: "Africa/Monrovia", rows: dated("day", "Africa/Monrovia")},
}

// tumbled and hopped count in whole microseconds since 1970, with a remainder that is
// never negative.
func tumbled(size, shift int64, bounds string) func([]string) string {
	return hopped(size, size, shift, bounds)
}

// hopped tries every window that begins at most size before the event.
func hopped(size, slide, shift int64, bounds string) func([]string) string {
	in := "s <= us AND us < s + %[1]d"
	if bounds == "(]" {
		in = "s < us AND us <= s + %[1]d"
	}
	return func([]string) string {
		return fmt.Sprintf(`SELECT * EXCLUDE (us, i, s), make_timestamp(s) AS window_start, make_timestamp(s + %[1]d) AS window_end FROM (
			SELECT *, us - ((us - %[3]d) %% %[2]d + %[2]d) %% %[2]d - i * %[2]d AS s
			FROM (SELECT *, epoch_us(ts) AS us FROM e), (SELECT unnest(range(%[4]d)) AS i)) WHERE `+in, size, slide, shift, size/slide+2)
	}
}

// partitionBy is the clause of window functions over the rows of the same keys. Each
// stands in a list: DuckDB 1.5.5 gives a column by which it has sorted back from the sort
// key, in which 0.0 and -0.0 are one.
func partitionBy(keys []string, more ...string) string {
	var all []string
	for _, k := range append(append([]string{}, keys...), more...) {
		all = append(all, "["+k+"]")
	}
	if len(all) == 0 {
		return ""
	}
	return "PARTITION BY " + strings.Join(all, ", ")
}

// sameKeys is the condition that two rows have the same keys, of which NULL is one.
func sameKeys(a, b string, keys []string) string {
	parts := []string{"true"}
	for _, k := range keys {
		parts = append(parts, a+"."+k+" IS NOT DISTINCT FROM "+b+"."+k)
	}
	return strings.Join(parts, " AND ")
}

// slid joins each key's instants with the events of (t − size, t].
func slid(size int64) func([]string) string {
	return func(keys []string) string {
		columns := strings.Join(append([]string{"t"}, keys...), ", ")
		return fmt.Sprintf(`SELECT e.*, t - to_microseconds(%[1]d) AS window_start, t AS window_end FROM e JOIN (
			SELECT DISTINCT %[2]s FROM (SELECT *, ts AS t FROM e UNION ALL SELECT *, ts + to_microseconds(%[1]d) AS t FROM e)) AS instants
			ON e.ts > t - to_microseconds(%[1]d) AND e.ts <= t AND %[3]s`, size, columns, sameKeys("e", "instants", keys))
	}
}

// sessions walks each key's times one by one: a session is what its own definition
// says, whatever its length. longest 0 cuts none.
func sessions(gap, longest int64) func([]string) string {
	return func(keys []string) string {
		columns, inner := "", ""
		for _, k := range keys {
			columns += k + ", "
			inner += "n." + k + ", "
		}
		opens := fmt.Sprintf("n.ts - to_microseconds(%d) >= p.ts", gap)
		end := fmt.Sprintf("max(e.ts) OVER w + to_microseconds(%d)", gap)
		if longest > 0 {
			opens += fmt.Sprintf(" OR n.ts >= p.first + to_microseconds(%d)", longest)
			end = fmt.Sprintf("least(%s, first + to_microseconds(%d))", end, longest)
		}
		return fmt.Sprintf(`WITH RECURSIVE t AS (SELECT *, row_number() OVER (%[1]s ORDER BY ts) AS nth FROM (SELECT DISTINCT %[2]sts FROM e)),
			walk AS (SELECT *, ts AS first FROM t WHERE nth = 1 UNION ALL
				SELECT %[3]sn.ts, n.nth, CASE WHEN %[4]s THEN n.ts ELSE p.first END FROM walk AS p JOIN t AS n ON n.nth = p.nth + 1 AND %[5]s)
			SELECT e.*, first AS window_start, %[6]s AS window_end FROM e JOIN walk ON e.ts = walk.ts AND %[7]s WINDOW w AS (%[8]s)`,
			partitionBy(keys), columns, inner, opens, sameKeys("p", "n", keys), end, sameKeys("e", "walk", keys),
			partitionBy(keysOf("e", keys), "first"))
	}
}

func keysOf(table string, keys []string) []string {
	var out []string
	for _, k := range keys {
		out = append(out, table+"."+k)
	}
	return out
}

func snapped([]string) string { return "SELECT *, ts AS window_start, ts AS window_end FROM e" }

// dated takes the local day, week or month in a zone of the engine's own calendar.
func dated(unit, zone string) func([]string) string {
	return func([]string) string {
		local := func(utc string) string {
			return fmt.Sprintf("date_trunc('%s', (%s AT TIME ZONE 'UTC') AT TIME ZONE '%s')", unit, utc, zone)
		}
		// Where clocks go back at midnight there are two of it, and the engine takes
		// the second.
		first := func(day string) string {
			utc := fmt.Sprintf("(((%s) AT TIME ZONE '%s') AT TIME ZONE 'UTC')", day, zone)
			earlier := utc + " - INTERVAL '1 hour'"
			return "CASE WHEN " + local("("+earlier+")") + " = " + day + " THEN " + earlier + " ELSE " + utc + " END"
		}
		start := local("ts")
		return fmt.Sprintf("SELECT *, %s AS window_start, %s AS window_end FROM e", first(start), first(start+" + INTERVAL '1 "+unit+"'"))
	}
}
