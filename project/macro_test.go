package project

import (
	"errors"
	"strings"
	"testing"
)

const sales = "-- time: ts\nCREATE TABLE sales (ts TIMESTAMP NOT NULL, amount DECIMAL(18,2), paid BOOLEAN)"

func TestMacrosAreReadWithTheirForms(t *testing.T) {
	p, err := load(t, map[string]string{"streams/sales.sql": sales,
		"macros/net.sql":   "-- description: Without VAT; the rate is Germany's\nCREATE OR REPLACE MACRO net(amount, rate := 0.19) AS\n  amount / (1 + rate);\n",
		"macros/Clamp.sql": "create macro \"Clamp\"(x, hi) as least(x, hi), (x, lo, hi) as greatest(least(x, hi), lo)",
		"macros/pi2.sql":   "CREATE FUNCTION pi2() AS pi() * 2 -- twice", "macros/notes.txt": "not a macro"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range p.Macros {
		got = append(got, m.File+" "+m.Usage+" "+m.Description)
	}
	want := "macros/Clamp.sql Clamp(x, hi) or Clamp(x, lo, hi) \nmacros/net.sql net(amount, rate := …) Without VAT; the rate is Germany's\nmacros/pi2.sql pi2() "
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

// A view over macros is the view with them written out, its version included.
func TestAViewIsPlannedWithItsMacrosWrittenOut(t *testing.T) {
	view := func(macros map[string]string, sql string) *View {
		t.Helper()
		files := map[string]string{"streams/sales.sql": sales, "views/v.sql": sql}
		for name, text := range macros {
			files[name] = text
		}
		p, err := load(t, files)
		if err != nil {
			t.Fatal(err)
		}
		return p.Views[0]
	}
	macros := map[string]string{
		"macros/net.sql":  "CREATE MACRO net(amount, rate := 1e-1) AS amount / (1 + rate)",
		"macros/paid.sql": "CREATE MACRO paid(x) AS sum(x) FILTER (WHERE x > 0)",
		"macros/per.sql":  "CREATE MACRO per(a, b) AS a / nullif(b, 0)",
	}
	const called = "SELECT window_start, per(paid(net(amount)), count(*)), net(1) AS one FROM sales WHERE net(amount) < 10 GROUP BY tumble(ts, INTERVAL '1 hour')"
	const written = "SELECT window_start, sum(amount / (1 + 1e-1)) FILTER (WHERE amount / (1 + 1e-1) > 0) / nullif(count(*), 0) AS x, 1 / (1 + 1e-1) AS one FROM sales WHERE amount / (1 + 1e-1) < 10 GROUP BY tumble(ts, INTERVAL '1 hour')"
	v, w := view(macros, called), view(nil, written)
	if v.Version != w.Version || v.PartialSQL("e") != w.PartialSQL("e") {
		t.Errorf("version %s, written out %s\n%s\n%s", v.Version, w.Version, v.PartialSQL("e"), w.PartialSQL("e"))
	}
	if v.Output[1].Name != "per(paid(net(amount)), count_star())" && v.Output[1].Name != "per(paid(net(amount)), count(*))" || v.SQL != called {
		t.Errorf("column %q", v.Output[1].Name)
	}
	const calledOver, writtenOver = "SELECT ts, net(amount) AS n FROM sales WHERE net(amount) > 1", "SELECT ts, amount / (1 + 1e-1) AS n FROM sales WHERE amount / (1 + 1e-1) > 1"
	if v, w := view(macros, calledOver), view(nil, writtenOver); v.Version != w.Version || v.PlainSQL("e") != w.PlainSQL("e") || !v.Direct {
		t.Errorf("over the stream: %s\nwritten out: %s", v.PlainSQL("e"), w.PlainSQL("e"))
	}
	macros["macros/net.sql"] = "CREATE MACRO net(amount, rate := 2e-1) AS amount / (1 + rate)"
	if view(macros, called).Version == v.Version {
		t.Error("another macro, and the same version")
	}
	macros["macros/unused.sql"] = "CREATE MACRO unused(x) AS x"
	if other := view(macros, called); other.Version == v.Version || other.Version != view(macros, called).Version {
		t.Error("the version does not follow from the macros that the view calls")
	}
}

func TestProblemsOfAMacroHavePlaceAndRemedy(t *testing.T) {
	for sql, want := range map[string]string{
		"-- nothing\n":                                    "m.sql: the file is empty; a macro's file holds one statement",
		"SELECT 1":                                        "m.sql:1:1: want CREATE, found SELECT",
		"CREATE TABLE m (a INT)":                          "m.sql:1:8: want MACRO, found TABLE",
		"CREATE MACRO n(a) AS a":                          "m.sql:1:14: the file is called m and the macro n; name the macro as the file",
		"CREATE MACRO m AS 1":                             "m.sql:1:16: want (, found AS",
		"CREATE MACRO m(a) a":                             "m.sql:1:19: want AS, found a",
		"CREATE MACRO m(a":                                "m.sql:1:16: ",
		"CREATE MACRO m(a) AS":                            "m.sql:1:19: want an expression",
		"CREATE MACRO m(a INTEGER) AS a":                  "m.sql:1:18: the parameter a has no type here",
		"CREATE MACRO m(a) AS TABLE SELECT 1":             "m.sql:1:22: a macro gives a value, and no table; make the query a view",
		"CREATE MACRO m(a) AS a FROM sales":               "m.sql:1:22: a macro is one expression, without FROM",
		"CREATE MACRO m(a) AS a; SELECT 1":                "m.sql:1:25: the statement goes on",
		"-- Größe\nCREATE MACRO m(a)\nAS  a +* 2":         "m.sql:3:",
		"-- Größe\nCREATE MACRO m(\"ä\")\nAS  \"ä\" + b":  "m.sql:3:11: b is no parameter of the macro",
		"CREATE MACRO m(a) AS a + now()":                  "m.sql:1:26: a macro gives the same for the same arguments",
		"CREATE MACRO m(a) AS m(a)":                       "m.sql:1:22: the macro m calls itself",
		"CREATE MACRO m(a) AS 'x":                         "m.sql:1:22: the text that begins here has no end",
		"-- param: x INT\nCREATE MACRO m(a) AS a":         "m.sql:1:4: unknown annotation",
		"CREATE MACRO m(a) AS a, (b) AS b":                "m.sql:1:32: two forms of m take 1 arguments",
		"CREATE MACRO m(a, b := (SELECT 1)) AS a":         "m.sql:1:24: a macro cannot hold a query",
		"CREATE MACRO m(a) AS list_sum([x for x in a]) -": "m.sql:1:",
	} {
		_, err := load(t, map[string]string{"streams/sales.sql": sales, "macros/m.sql": sql, "views/v.sql": "SELECT m(sum(amount)) FROM sales"})
		var problems Problems
		if !errors.As(err, &problems) || len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "macros/"+want) {
			t.Errorf("%s: got %v, want %s", sql, err, want)
		}
	}
	taken := []string{"sum", "lower", "tumble", "moving_avg", "coalesce", "case", "read_csv", "list_transform", "Upper", "range"}
	files := map[string]string{"streams/sales.sql": sales}
	for _, name := range taken {
		files["macros/"+name+".sql"] = "CREATE MACRO " + name + "(x) AS x"
	}
	_, err := load(t, files)
	for _, name := range taken {
		if err == nil || !strings.Contains(err.Error(), "macros/"+name+".sql:1:14: "+name+" is a function or a word of SQL's own; rename the macro") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = load(t, map[string]string{"streams/sales.sql": sales, "macros/m.sql": "CREATE MACRO m(a) AS a", "views/v.sql": "-- x\nSELECT count(*),\n  m(sum(amount), 2) FROM sales"})
	if err == nil || !strings.HasPrefix(err.Error(), "views/v.sql:3:3: m does not take 2 arguments; it is m(a)") {
		t.Errorf("%v", err)
	}
	_, err = load(t, map[string]string{"streams/sales.sql": sales, "macros/m.sql": "CREATE MACRO m(a) AS upper(a) + 1", "views/v.sql": "SELECT count(*),\n  sum(m(amount)) FROM sales"})
	if err == nil || !strings.HasPrefix(err.Error(), "views/v.sql:2:") {
		t.Errorf("an error within the macro: %v", err)
	}
}
