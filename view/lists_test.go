package view

import (
	"fmt"
	"testing"

	"github.com/tailwater/tailwater/event"
)

// every is a stream with a column of each type.
func every() *event.Schema {
	s := &event.Schema{Stream: "every", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{{Name: "ts", Type: event.Type{Kind: event.Timestamp}}}}
	for i, typ := range []event.Type{{Kind: event.Boolean}, {Kind: event.TinyInt}, {Kind: event.BigInt}, {Kind: event.HugeInt}, {Kind: event.Decimal, Precision: 38, Scale: 9}, {Kind: event.Float},
		{Kind: event.Double}, {Kind: event.Varchar}, {Kind: event.JSON}, {Kind: event.Blob}, {Kind: event.Date}, {Kind: event.Timestamp}} {
		s.Columns = append(s.Columns, event.Column{Name: fmt.Sprintf("c%d", i), Type: typ})
	}
	return s
}

// everyValue is what such a stream may hold, as SQL, by column.
var everyValue = [][]string{
	{"true", "false", "NULL"},
	{"-128", "127", "0"},
	{"9223372036854775807", "-9223372036854775808", "NULL"},
	{"170141183460469231731687303715884105727", "-1", "0"},
	{"12345678901234567890123456789.000000001", "-0.000000001", "NULL"},
	{"0.1", "'nan'", "'-inf'", "3.4028235e38", "1e-45"},
	{"0.1", "'nan'", "'inf'", "-0.0", "1.7976931348623157e308", "5e-324", "NULL"},
	{"''", "'a,b'", "chr(31)", "chr(27)", "chr(27) || 's'", "chr(27) || 'e' || chr(31)", "chr(0) || 'x'", "':'", "'日本' || chr(10) || '''\"\\'", "NULL"},
	{`'{"a": "' || chr(92) || 'u001f"}'`, "'null'", "'[1, 2]'", "NULL"},
	{"'\\x00\\x1F\\x1B\\xFF'", "'\\x5C'", "''", "NULL"},
	{"'0044-03-15 (BC)'", "'9999-12-31'", "'infinity'", "NULL"},
	{"'1969-12-31 23:59:59.999999'", "'290000-01-01 (BC)'", "'-infinity'", "NULL"},
}

// everyEvents is a FROM item of n events, some of one instant, some without a time.
func everyEvents(n int) string {
	s, sql := every(), ""
	for i := range n {
		ts := fmt.Sprintf("make_timestamp(%d)", i%3*1_000_000)
		if i%7 == 6 {
			ts = "CAST(NULL AS TIMESTAMP)"
		}
		row := "SELECT " + ts + " AS ts"
		for c, values := range everyValue {
			row += fmt.Sprintf(", CAST(%s AS %s) AS c%d", values[i%len(values)], s.Columns[c+1].Type, c)
		}
		sql += []string{"", " UNION ALL "}[min(i, 1)] + row + fmt.Sprintf(", CAST(%d AS INTEGER) AS _epoch, CAST(0 AS INTEGER) AS _partition, CAST(%d AS BIGINT) AS _seq, CAST(%d AS INTEGER) AS _idx", 1+i/16, 1+i%16/4, i%4)
	}
	return "(" + sql + ")"
}

func TestListsHoldEveryValueOfEveryType(t *testing.T) {
	b := newBench(t)
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	if err := b.conn.Exec(t.Context(), "CREATE TEMP TABLE every AS FROM "+everyEvents(40)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cap   int
		order string
	}{{5, ""}, {1000, " ORDER BY ts"}, {5, " ORDER BY ts DESC"}} {
		sql := fmt.Sprintf("-- cap: %d\nSELECT ", c.cap)
		for i := range everyValue {
			sql += fmt.Sprintf("list(c%[1]d%[2]s) AS l%[1]d, ", i, c.order)
		}
		p, err := planner.Plan(t.Context(), annotated(sql+"string_agg(c7, '; '"+c.order+") AS s FROM every"), map[string]*event.Schema{"every": every()})
		if err != nil {
			t.Fatal(err)
		}
		// The later events are merged first.
		parts := ""
		for _, where := range []string{"_epoch = 3", "_epoch = 2 AND _seq > 2", "_epoch < 2 OR _epoch = 2 AND _seq <= 2", "false"} {
			parts += []string{"", " UNION ALL "}[min(len(parts), 1)] + "(" + p.PartialSQL("(SELECT * FROM every WHERE "+where+")") + ")"
		}
		got := b.over(p.Partial, nil, func(string) string { return answer(t, p, Filter{})("(" + parts + ")") })
		want := b.over(p.Partial, nil, func(string) string { return p.PlainSQL("every") })
		if _, d := diff(got, want, true); d != "" {
			t.Errorf("cap %d%s: %s", c.cap, c.order, d)
		}
		for i, column := range got.Columns {
			if column.Type.Kind == event.Boolean && got.Value(0, i) != (c.cap == 5) {
				t.Errorf("cap %d%s: %s is %v", c.cap, c.order, column.Name, got.Value(0, i))
			}
		}
	}
}

func TestListsOfNothingAreNullAndWhole(t *testing.T) {
	p, ask := counts(t, "SELECT k, list(n) FILTER (n > 5) AS l, string_agg(n, '+') AS s, list(n)[1] AS f FROM counts GROUP BY k", `
		(TIMESTAMP '2024-05-01 01:10:00', 'a', 2), (TIMESTAMP '2024-05-01 01:10:00', 'b', NULL), (TIMESTAMP '2024-05-01 01:10:00', 'b', 7)`)
	if got, want := ask(Filter{Order: []string{"k"}}), "a <nil> false 2 false 2 false|b [7] false 7 false <nil> false"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	names := ""
	for _, c := range p.Output {
		names += c.Name + " " + c.Type.String() + " "
	}
	if want := "k VARCHAR l JSON l_capped BOOLEAN s VARCHAR s_capped BOOLEAN f INTEGER f_capped BOOLEAN "; names != want {
		t.Errorf("columns %s, want %s", names, want)
	}
}

func TestListsOfMissingWindowsAreFilled(t *testing.T) {
	_, ask := counts(t, "SELECT window_start, list(n) AS l FROM counts GROUP BY tumble(ts, INTERVAL '1 hour')", `
		(TIMESTAMP '2024-05-01 01:10:00', 'a', 2), (TIMESTAMP '2024-05-01 03:10:00', 'b', 3)`)
	for fill, want := range map[Fill]string{
		FillZero:     "01:00 [2] false|02:00 <nil> <nil>|03:00 [3] false",
		FillPrevious: "01:00 [2] false|02:00 [2] false|03:00 [3] false",
	} {
		if got := ask(Filter{Fill: fill, Order: []string{"window_start"}}); got != want {
			t.Errorf("fill %s: %s, want %s", fill, got, want)
		}
	}
}

func TestACapIsAVersionOfItsOwn(t *testing.T) {
	plans := planAll(t, []string{"SELECT list(n) AS l FROM trades", "-- cap: 1000\nSELECT list(n) AS l FROM trades", "-- cap: 999\nSELECT list(n) AS l FROM trades"})
	if plans[0].Version != plans[1].Version || plans[0].Version == plans[2].Version {
		t.Errorf("versions %s, %s and %s", plans[0].Version, plans[1].Version, plans[2].Version)
	}
}
