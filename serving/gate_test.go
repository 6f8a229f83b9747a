package serving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving/gatecorpus"
)

type tables []string

func (t tables) Tables(context.Context) []string { return t }

var sampleCatalog = tables{"payments", "orders", "daily", "tailwater.view_errors"}

// sampleData makes the tables of the catalogue in a schema.
func sampleData(t *testing.T, c *duckdb.Conn, plain, errors string) {
	t.Helper()
	for _, sql := range []string{
		"CREATE TABLE " + plain + "payments AS SELECT i AS id, 'm' || (i % 5) AS merchant, (i * 7 % 100)::DECIMAL(10,2) AS amount, TIMESTAMP '2024-05-01' + to_minutes(i * 13) AS ts, CASE WHEN i % 7 = 0 THEN NULL ELSE 'de' END AS country, i % 3 = 0 AS ok, '{\"k\":' || i || '}' AS doc FROM range(200) r(i)",
		"CREATE TABLE " + plain + "orders AS SELECT i AS id, i * 2 AS payment_id, 'c' || (i % 4) AS customer, TIMESTAMP '2024-05-01' + to_minutes(i * 29) AS ts FROM range(60) r(i)",
		"CREATE TABLE " + plain + "daily AS SELECT 'm' || (i % 5) AS merchant, TIMESTAMP '2024-05-01' + to_days((i // 5)::INTEGER) AS window_start, i AS n, (i * 1.5)::DOUBLE AS total FROM range(20) r(i)",
		"CREATE TABLE " + errors + "view_errors AS SELECT 'daily' AS \"view\", i AS seq, 'overflow' AS reason FROM range(3) r(i)",
	} {
		if err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func openEngine(t *testing.T) (*duckdb.DB, *duckdb.Conn) {
	t.Helper()
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return db, c
}

func TestGateRefusesTheCorpus(t *testing.T) {
	db, _ := openEngine(t)
	gate := NewGate(db, sampleCatalog)
	list := gatecorpus.Refused()
	if len(list) < 500 {
		t.Fatalf("the corpus has %d statements", len(list))
	}
	for _, s := range list {
		_, err := gate.Admit(t.Context(), s.SQL)
		var refusal *Refusal
		if !errors.As(err, &refusal) {
			t.Errorf("%s\n\tadmitted (%v)", s.SQL, err)
		} else if refusal.Code != s.Section {
			t.Errorf("%s\n\trefused as %s, not %s: %v", s.SQL, refusal.Code, s.Section, err)
		}
	}
}

// carried wraps a statement whose columns have types that results cannot carry.
func carried(t *testing.T, c *duckdb.Conn, sql string) (string, error) {
	t.Helper()
	columns, err := c.Describe(t.Context(), sql)
	if err != nil {
		return "", err
	}
	var names, items []string
	wrap := false
	for i, column := range columns {
		name, item := fmt.Sprintf("c%d", i), fmt.Sprintf("c%d", i)
		if _, err := duckdb.ParseType(column.SQLType); err != nil {
			wrap, item = true, name+"::VARCHAR"
		}
		names, items = append(names, name), append(items, item+" AS "+duckdb.Ident(column.Name))
	}
	if !wrap {
		return sql, nil
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM (" + strings.TrimSuffix(sql, ";") + ") AS answer(" + strings.Join(names, ", ") + ")", nil
}

// sortedText runs a statement and gives its rows, sorted.
func sortedText(t *testing.T, c *duckdb.Conn, sql string) (string, error) {
	t.Helper()
	sql, err := carried(t, c, sql)
	if err != nil {
		return "", err
	}
	r, err := c.Collect(t.Context(), sql)
	if err != nil {
		return "", err
	}
	var lines []string
	for i := range r.Len() {
		var cells []string
		for k := range r.Columns {
			v := r.Value(i, k)
			if d, ok := v.(float64); ok {
				v = fmt.Sprintf("%.12g", d) // sums of doubles depend on the order of rows
			}
			cells = append(cells, fmt.Sprint(v))
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	slices.Sort(lines)
	var heads []string
	for _, column := range r.Columns {
		heads = append(heads, column.Name+" "+column.Type.String())
	}
	return strings.Join(heads, "|") + "\n" + strings.Join(lines, "\n"), nil
}

func TestRewrittenStatementsGiveTheSameRowsAsTheTablesThemselves(t *testing.T) {
	gateDB, _ := openEngine(t)
	gate := NewGate(gateDB, sampleCatalog)
	_, original := openEngine(t)
	if err := original.Exec(t.Context(), "CREATE SCHEMA tailwater"); err != nil {
		t.Fatal(err)
	}
	sampleData(t, original, "", "tailwater.")
	_, rewritten := openEngine(t) // the catalogue's names do not exist here
	if err := rewritten.Exec(t.Context(), "CREATE SCHEMA layers"); err != nil {
		t.Fatal(err)
	}
	sampleData(t, rewritten, "layers.", "layers.")
	relations := map[string][]string{
		"payments":              {"SELECT * FROM layers.payments WHERE id < 100", "SELECT * FROM layers.payments WHERE id >= 100"},
		"orders":                {"WITH o AS (SELECT * FROM layers.orders) SELECT * FROM o"},
		"daily":                 {"SELECT * FROM layers.daily"},
		"tailwater.view_errors": {"SELECT * FROM layers.view_errors"},
	}
	list := gatecorpus.Admitted()
	if len(list) < 200 {
		t.Fatalf("the corpus has %d statements", len(list))
	}
	for _, s := range list {
		want, err := sortedText(t, original, s.SQL)
		if err != nil {
			t.Errorf("%s\n\tdoes not run by itself: %v", s.SQL, err)
			continue
		}
		statement, err := gate.Admit(t.Context(), s.SQL)
		if err != nil {
			t.Errorf("%s\n\trefused: %v", s.SQL, err)
			continue
		}
		sql, err := statement.Rewrite(relations)
		if err != nil {
			t.Errorf("%s\n\trewrite: %v", s.SQL, err)
			continue
		}
		got, err := sortedText(t, rewritten, sql)
		if err != nil {
			t.Errorf("%s\n\trewritten as %s\n\tfails: %v", s.SQL, sql, err)
		} else if got != want {
			t.Errorf("%s\n\trewritten as %s\n\tgives %.300s\n\twant  %.300s", s.SQL, sql, got, want)
		}
	}
}

func TestStatementNamesTheTablesItReads(t *testing.T) {
	db, _ := openEngine(t)
	gate := NewGate(db, sampleCatalog)
	for sql, want := range map[string]string{
		"SELECT 1": "",
		"FROM Payments p JOIN PAYMENTS q USING (id)":                                   "payments",
		"WITH payments AS (FROM orders) FROM payments":                                 "orders",
		"WITH payments AS (FROM payments) FROM payments, daily":                        "payments daily",
		"FROM tailwater.view_errors, main.orders":                                      "tailwater.view_errors orders",
		"WITH x AS (FROM payments), payments AS (FROM orders) FROM x, payments, daily": "payments orders daily",
		"WITH payments AS (FROM orders) FROM main.payments":                            "orders payments",
	} {
		s, err := gate.Admit(t.Context(), sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		} else if got := strings.Join(s.Tables, " "); got != want {
			t.Errorf("%s reads %q, want %q", sql, got, want)
		}
	}
}

func TestStatementCanBeRewrittenForAnotherCut(t *testing.T) {
	db, c := openEngine(t)
	s, err := NewGate(db, sampleCatalog).Admit(t.Context(), "SELECT sum(p.x)::BIGINT AS s FROM payments p")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"3", "5"} {
		sql, err := s.Rewrite(map[string][]string{"payments": {"SELECT " + n + " AS x"}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sortedText(t, c, sql); err != nil || got != "s BIGINT\n"+n {
			t.Errorf("%s gives %q, %v", sql, got, err)
		}
	}
	if _, err := s.Rewrite(nil); err == nil {
		t.Error("a table without a relation was rewritten")
	}
}

func TestRefusalsSayWhereAndWhatInstead(t *testing.T) {
	db, _ := openEngine(t)
	gate := NewGate(db, sampleCatalog)
	for _, c := range []struct {
		sql, hint string
		position  int
	}{
		{"SELECT 'ä', * FROM paymnts", "did you mean payments?", 20},
		{"SELECT * FROM view_errors", "did you mean tailwater.view_errors?", 15},
		{"SELECT * FROM zzzzzzzzz", "the tables are payments, orders, daily, tailwater.view_errors", 15},
		{"SELECT 'ä' FROM payments WHERE", "", 31},
		{"PIVOT payments ON merchant USING sum(amount)", "FILTER", 0},
		{"SELECT getenv('HOME')", "", 8},
	} {
		_, err := gate.Admit(t.Context(), c.sql)
		var refusal *Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Hint, c.hint) || refusal.Position != c.position {
			t.Errorf("%s: %+v", c.sql, refusal)
		}
	}
}

// withRecursion has a view whose SELECT has a recursive CTE.
type withRecursion struct{ tables }

func (withRecursion) Recursive(table string) bool { return table == "daily" }

func TestAViewWithRecursionIsRefusedInACorrelatedSubqueryAlone(t *testing.T) {
	db, _ := openEngine(t)
	gate := NewGate(db, withRecursion{sampleCatalog})
	for sql, refused := range map[string]bool{
		"SELECT id, (SELECT max(n) FROM Daily AS d WHERE d.merchant = p.merchant) FROM payments AS p": true,
		"SELECT id, (SELECT max(id) FROM orders AS o WHERE o.id < p.id) FROM payments AS p":           false,
		"SELECT p.id, d.n FROM payments AS p JOIN daily AS d USING (merchant)":                        false,
		"SELECT id, (SELECT max(d.n) FROM daily AS d) FROM payments":                                  false,
	} {
		_, err := gate.Admit(t.Context(), sql)
		var refusal *Refusal
		if errors.As(err, &refusal) != refused || refused && !strings.Contains(refusal.Hint, "put WITH RECURSIVE before the statement") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestStatementsTooLargeForTheEngineAreRefused(t *testing.T) {
	db, _ := openEngine(t)
	gate := NewGate(db, sampleCatalog)
	for name, sql := range map[string]string{
		"text":          "SELECT '" + strings.Repeat("x", maxStatementBytes) + "'",
		"depth":         "SELECT " + strings.Repeat("NOT ", 300) + "true",
		"subquery":      strings.Repeat("SELECT * FROM (", 300) + "SELECT 1" + strings.Repeat(")", 300),
		"brackets":      "SELECT " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"nodes":         "SELECT 1" + strings.Repeat(",a", 25_000) + " FROM payments",
		"too long with": strings.Repeat("WITH a AS (", 400) + "SELECT 1" + strings.Repeat(") SELECT 1", 400),
	} {
		_, err := gate.Admit(t.Context(), sql)
		var refusal *Refusal
		if !errors.As(err, &refusal) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAdmitStopsWithItsContext(t *testing.T) {
	db, _ := openEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewGate(db, sampleCatalog).Admit(ctx, "SELECT 1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
