package macro

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tailwater/tailwater/internal/duckdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T) *duckdb.Conn {
	t.Helper()
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1, Locked: true})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); db.Close() })
	return conn
}

// expr parses one expression.
func expr(t *testing.T, conn *duckdb.Conn, sql string) map[string]any {
	t.Helper()
	tree, err := conn.Parse(t.Context(), "SELECT "+sql)
	if err != nil {
		t.Fatal(err)
	}
	return duckdb.Statements(tree)[0].(node)["node"].(node)["select_list"].([]any)[0].(node)
}

// define reads "name(a, b := 1) = body"; forms of one name follow each other.
func define(t *testing.T, conn *duckdb.Conn, lines ...string) (*Set, []*Error) {
	t.Helper()
	var list []*Macro
	for _, line := range lines {
		head, body, _ := strings.Cut(line, " = ")
		name, rest, _ := strings.Cut(strings.TrimSuffix(head, ")"), "(")
		f := Form{Body: expr(t, conn, body)}
		for _, p := range strings.Split(rest, ", ") {
			if p == "" {
				continue
			}
			own, value, has := strings.Cut(p, " := ")
			parameter := Parameter{Name: own}
			if has {
				parameter.Default = expr(t, conn, value)
			}
			f.Parameters = append(f.Parameters, parameter)
		}
		if len(list) > 0 && list[len(list)-1].Name == name {
			list[len(list)-1].Forms = append(list[len(list)-1].Forms, f)
			continue
		}
		list = append(list, &Macro{Name: name, Forms: []Form{f}})
	}
	return New(list)
}

func mustDefine(t *testing.T, conn *duckdb.Conn, lines ...string) *Set {
	t.Helper()
	s, errs := define(t, conn, lines...)
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	return s
}

var shop = []string{
	"net(amount, rate := 0.19) = amount / (1 + rate)",
	"share(flag) = count(*) FILTER (WHERE flag) / count(*)",
	"clamp(x, lo, hi) = least(greatest(x, lo), hi)",
	"clamp(x, hi) = least(greatest(x, 0), hi)",
	"scaled(l, f) = list_transform(l, lambda x: x * f)",
	"pairs(l) = list_reduce(l, lambda x, y: x + y)",
	"first_name(s) = (s).name",
	"tag(j) = j -> 'tag' ->> 'n'",
	"boxed(x) = struct_pack(value := x, twice := net(x, rate := 1e0))",
	"big() = 1e3",
	"within(x) = clamp(net(x), 10)",
	"ranked(x) = rank() OVER (ORDER BY x)",
	`"Größe"("Maß") = upper("Maß")`,
}

// What a statement gives with its macros written out is what it gives with the
// engine's own macros, under the same names.
func TestExpansionIsWhatTheEngineMakesOfTheSameMacros(t *testing.T) {
	conn := connect(t)
	lines := append([]string{}, shop[:len(shop)-1]...)
	s := mustDefine(t, conn, lines...)
	statements, err := s.Statements(func(e map[string]any) (string, error) { return Print(t.Context(), conn, e) })
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range append(statements, "CREATE TEMP TABLE t AS SELECT i AS x, i % 3 AS k, [i, i + 1] AS l, {'name': 'n' || i} AS s, json('{\"tag\": {\"n\": ' || i || '}}') AS j FROM range(20) AS r(i)") {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, sql := range []string{
		"SELECT net(x), net(x, 1), net(x, rate := 2), net(amount := x, rate := 0) AS n FROM t",
		"SELECT k, share(x > 10), sum(net(x)) FROM t GROUP BY k HAVING share(x > 4) > 0 ORDER BY share(x > 10), k",
		"SELECT clamp(x, 5), CLAMP(x, 3, 7) FROM t ORDER BY clamp(x, 5), x",
		"SELECT to_json(scaled(l, x)), pairs(scaled(scaled(l, x), pairs(l))) FROM t",
		"SELECT list_sum(list_transform(l, lambda x: clamp(x, 4))) FROM t",
		"SELECT list_sum(scaled(list_transform(l, lambda f: f + x), k)) FROM t",
		"SELECT first_name(s), tag(j)::INTEGER, to_json(boxed(x)), to_json(boxed(net(x))), big() FROM t",
		"SELECT x, ranked(x), within(x) FROM t ORDER BY x",
		"SELECT x, k FROM t WHERE clamp(net(clamp(x, 9)), 5) = 5 AND x IN (SELECT clamp(x, 12) FROM t)",
		"WITH a AS (SELECT net(x) AS n FROM t) SELECT max(n) FROM a UNION ALL SELECT net(7)",
	} {
		tree, err := conn.Parse(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Expand(t.Context(), conn, tree); err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		if s.uses(tree) {
			t.Errorf("%s: a call is left", sql)
		}
		expanded, err := conn.Print(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		want, err := conn.Collect(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		got, err := conn.Collect(t.Context(), expanded)
		if err != nil {
			t.Errorf("%s: %v", expanded, err)
			continue
		}
		if g, w := fmt.Sprint(got.Columns, table(got)), fmt.Sprint(want.Columns, table(want)); g != w {
			t.Errorf("%s\nas %s\ngives %s\nwant  %s", sql, expanded, g, w)
		}
	}
}

func table(rel *duckdb.Relation) (out []any) {
	for i := range rel.Len() {
		for c := range rel.Columns {
			out = append(out, rel.Value(i, c))
		}
	}
	return out
}

func TestCallsThatDoNotFitTheirMacro(t *testing.T) {
	conn := connect(t)
	s := mustDefine(t, conn, shop[:len(shop)-1]...)
	for sql, want := range map[string]string{
		"SELECT net()":                        "7: net does not take 0 arguments; it is net(amount, rate := …)",
		"SELECT 1, net(1, 2, 3)":              "10: net does not take 3 arguments",
		"SELECT net(rate := 1)":               "7: net lacks its argument amount",
		"SELECT net(1, rat := 1)":             "7: net has no parameter rat",
		"SELECT net(1, amount := 1)":          "7: net is given amount twice",
		"SELECT net(amount := 1, 2)":          "7: net has an argument without a name",
		"SELECT clamp(1)":                     "7: clamp does not take 1 arguments; it is clamp(x, lo, hi) or clamp(x, hi)",
		"SELECT share(true) OVER ()":          "7: share is a macro: it takes no OVER",
		"SELECT share(x) FILTER (WHERE true)": "7: share is a macro",
		"SELECT net(DISTINCT 1)":              "7: net is a macro",
		"SELECT * FROM net(1)":                "14: net is a macro that gives a value, and no table",
	} {
		tree, err := conn.Parse(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		var wrong *Error
		if err := s.Expand(t.Context(), conn, tree); !errors.As(err, &wrong) || !strings.HasPrefix(fmt.Sprintf("%d: %v", wrong.Offset, wrong), want) {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
	}
}

func TestMacrosThatCannotBe(t *testing.T) {
	conn := connect(t)
	for lines, want := range map[string]string{
		"m(a) = m(a)":                                  "the macro m calls itself: m → m",
		"a(x) = b(x)\nb(x) = c(x)\nc(x) = a(x)":        "the macro a calls itself: a → b → c → a",
		"m(a) = a + b":                                 "b is no parameter of the macro",
		"m(a) = a.b":                                   "a is a parameter, and no table; write (a).b",
		"m(a, A) = a":                                  "the parameter A is there twice",
		"m(a := 1, b) = a":                             "the parameter b, without a default, stands behind one with a default",
		"m(a := b) = a":                                "the default of a parameter names b",
		"m(a) = (SELECT a)":                            "a macro cannot hold a query",
		"m(a) = a + $1":                                "a macro has no parameters by number",
		"m(a) = a + random()":                          "a macro gives the same for the same arguments, and random is another each time",
		"m(a) = a > now()":                             "a macro gives the same for the same arguments, and now is another",
		"m(a) = a > current_date":                      "a macro gives the same for the same arguments, and current_date is another",
		"m(a) = getenv(a)":                             "there is no function getenv for macros",
		"m(a) = x.lower(a)":                            "x.lower is no function here",
		"m(a) = tumble(a, INTERVAL '1 hour')":          "tumble cannot be used in a macro",
		"m(a) = list_transform(a, lambda a, b: a + b)": "the lambda's variable a has the name of a parameter",
		"m(a) = COLUMNS(*)":                            "a macro cannot hold an expression of kind star",
		"m(a) = a\nm(b, c := 1) = b":                   "two forms of m take 1 arguments",
		"d(x) = x+x+x+x+x+x+x+x\ne(x) = d(d(d(x)))\nf(x) = e(e(x))": "the macros called here make an expression of more than 5000 parts",
	} {
		_, errs := define(t, conn, strings.Split(lines, "\n")...)
		if len(errs) == 0 || !strings.HasPrefix(errs[0].Error(), want) || errs[0].Offset < 7 || errs[0].Macro == "" {
			t.Errorf("%s: %v, want %s", lines, errs, want)
		}
	}
}

func TestAStatementOfManyCallsIsBounded(t *testing.T) {
	conn := connect(t)
	s := mustDefine(t, conn, "d(x) = x+x+x+x+x+x+x+x")
	tree, err := conn.Parse(t.Context(), "SELECT "+strings.Repeat("d(", 12)+"1"+strings.Repeat(")", 12))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Expand(t.Context(), conn, tree); err == nil || !strings.Contains(err.Error(), "more than 20000 parts") {
		t.Errorf("%v", err)
	}
}
