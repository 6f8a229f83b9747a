package serving

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// TestMacrosGiveWhatWasComputedByHand runs testdata/macros/*.txt: a statement,
// which ends with ";", then its rows, then an empty line. UPDATE_GOLDEN rewrites
// the rows, which somebody then checks by hand.
func TestMacrosGiveWhatWasComputedByHand(t *testing.T) {
	files, err := filepath.Glob("testdata/macros/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	db, c := openEngine(t)
	gate := NewGate(db, tables{})
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
			statement, _, ok := strings.Cut(one, ";\n")
			if !ok {
				t.Fatalf("%s: no statement in %q", file, one)
			}
			rows, err := macroRows(t, gate, c, withoutComments(statement))
			if err != nil {
				rows = "error: " + err.Error()
			}
			got = append(got, statement+";\n"+rows)
		}
		if result := strings.Join(got, "\n\n") + "\n"; os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, []byte(result), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if result != string(text) {
			t.Errorf("%s gives\n%s", file, result)
		}
	}
}

func withoutComments(statement string) string {
	return regexp.MustCompile(`(?m)^# .*\n`).ReplaceAllString(statement, "")
}

// macroRows gives the rows of a statement in their order, a line each.
func macroRows(t *testing.T, gate *Gate, c *duckdb.Conn, sql string) (string, error) {
	t.Helper()
	statement, err := gate.Admit(t.Context(), sql)
	if err != nil {
		return "", err
	}
	if sql, err = statement.Rewrite(nil); err != nil {
		return "", err
	}
	if sql, err = carried(t, c, sql); err != nil {
		return "", err
	}
	r, err := c.Collect(t.Context(), sql)
	if err != nil {
		return "", err
	}
	var names []string
	for _, column := range r.Columns {
		names = append(names, column.Name)
	}
	lines := []string{strings.Join(names, " | ")}
	for i := range r.Len() {
		var cells []string
		for k := range r.Columns {
			cells = append(cells, shownCell(r.Value(i, k)))
		}
		lines = append(lines, strings.Join(cells, " | "))
	}
	return strings.Join(lines, "\n"), nil
}

func shownCell(v any) string {
	switch v := v.(type) {
	case float64:
		return fmt.Sprintf("%.6g", v)
	case nil:
		return "-"
	}
	return strings.TrimSuffix(fmt.Sprint(v), " +0000 UTC")
}

func TestMacrosThatAreCalledWrongSayHow(t *testing.T) {
	db, _ := openEngine(t)
	gate := NewGate(db, sampleCatalog)
	for sql, code := range map[string]string{
		"FROM gap_fill()":                                                                "bad_argument",
		"FROM gap_fill(1)":                                                               "bad_argument",
		"FROM gap_fill(payments)":                                                        "bad_argument",
		"FROM gap_fill(payments, ts)":                                                    "bad_argument",
		"FROM gap_fill(payments, ts + 1, INTERVAL 1 HOUR)":                               "bad_argument",
		"FROM gap_fill(payments, tw_x, INTERVAL 1 HOUR)":                                 "bad_argument",
		"FROM gap_fill(payments, ts, amount)":                                            "bad_argument",
		"FROM gap_fill(payments, ts, (SELECT INTERVAL 1 HOUR))":                          "bad_argument",
		"FROM gap_fill(payments, ts, INTERVAL 1 HOUR, fill => 'x')":                      "bad_argument",
		"FROM gap_fill(payments, ts, INTERVAL 1 HOUR, nope => 1)":                        "bad_argument",
		"FROM gap_fill(payments, ts, INTERVAL 1 HOUR, step => INTERVAL 1 HOUR)":          "bad_argument",
		"FROM gap_fill(nosuch, ts, INTERVAL 1 HOUR)":                                     "unknown_table",
		"FROM gap_fill((FROM 'x.csv'), ts, INTERVAL 1 HOUR)":                             "unknown_table",
		"FROM gap_fill((FROM tw_scan(1)), ts, INTERVAL 1 HOUR)":                          "unknown_function",
		"FROM gap_fill((SELECT getenv('HOME') AS ts), ts, INTERVAL 1 HOUR)":              "unknown_function",
		"FROM gap_fill(payments, ts, getenv('X')::INTERVAL)":                             "unknown_function",
		"FROM gap_fill(payments, ts, INTERVAL 1 HOUR, current_setting('x')::TIMESTAMP)":  "unknown_function",
		"FROM gap_fill((SELECT range(ts) FROM payments), ts, INTERVAL 1 HOUR)":           "too_large",
		"FROM main.gap_fill(payments, ts, INTERVAL 1 HOUR)":                              "unknown_function",
		"FROM funnel(payments, within => INTERVAL 1 DAY, steps => ['a'])":                "bad_argument",
		"FROM funnel(payments, within => INTERVAL 1 DAY, steps => [merchant])":           "bad_argument",
		"FROM retention(payments, INTERVAL 1 DAY, periods => 1000)":                      "bad_argument",
		"FROM retention(payments, INTERVAL 1 DAY, periods => id)":                        "bad_argument",
		"SELECT rate(amount) FROM payments":                                              "bad_argument",
		"SELECT rate(amount, ts) OVER () FROM payments":                                  "bad_argument",
		"SELECT rate(DISTINCT amount, ts) FROM payments":                                 "bad_argument",
		"SELECT rate(getenv('X'), ts) FROM payments":                                     "unknown_function",
		"SELECT moving_avg(amount, 3) FROM payments":                                     "bad_argument",
		"SELECT moving_avg(amount, 3) OVER () FROM payments":                             "bad_argument",
		"SELECT moving_avg(amount, id) OVER (ORDER BY id) FROM payments":                 "bad_argument",
		"SELECT moving_avg(amount, 3) OVER (ORDER BY id ROWS 3 PRECEDING) FROM payments": "bad_argument",
		"SELECT moving_avg(amount, 100000000) OVER (ORDER BY id) FROM payments":          "bad_argument",
		"SELECT tw_within(1, 2)":                                                         "unknown_function",
		"SELECT * FROM tw_source":                                                        "unknown_table",
		"FROM gap_fill((FROM tw_rows), ts, INTERVAL 1 HOUR)":                             "unknown_table",
	} {
		_, err := gate.Admit(t.Context(), sql)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestMacrosReadTablesOfTheCatalog(t *testing.T) {
	gateDB, _ := openEngine(t)
	gate := NewGate(gateDB, sampleCatalog)
	_, c := openEngine(t)
	if err := c.Exec(t.Context(), "CREATE SCHEMA layers"); err != nil {
		t.Fatal(err)
	}
	sampleData(t, c, "layers.", "layers.")
	for _, sql := range []string{
		"SELECT count(*) AS n FROM gap_fill(payments, ts, INTERVAL '1 hour', by => [merchant], fill => 'previous')",
		"WITH p AS (SELECT ts, amount FROM payments) SELECT count(*) AS n FROM gap_fill(p, ts, INTERVAL '5 minutes', fill => 'zero') g JOIN orders o ON g.ts = o.ts",
		"SELECT merchant, rate(amount, ts) AS r, linear_fit(amount::DOUBLE, epoch(ts)).slope AS s FROM main.payments GROUP BY ALL",
		"SELECT * FROM retention((SELECT customer, ts FROM orders), INTERVAL '1 day')",
		"SELECT a.score, d.n FROM anomaly_score((SELECT merchant, window_start, total FROM daily), window_start, total, INTERVAL '7 days', by => merchant) a JOIN daily d USING (merchant)",
		"SELECT id, moving_avg(amount, INTERVAL '3 hours') OVER (PARTITION BY merchant ORDER BY ts) AS m FROM payments",
	} {
		statement, err := gate.Admit(t.Context(), sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		rewritten, err := statement.Rewrite(map[string][]string{"payments": {"SELECT * FROM layers.payments"}, "orders": {"SELECT * FROM layers.orders"}, "daily": {"SELECT * FROM layers.daily"}})
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		if _, err := sortedText(t, c, rewritten); err != nil {
			t.Errorf("%s\n\tas %s\n\t%v", sql, rewritten, err)
		}
	}
}

// The examples of docs/sql.md run, over the tables of the corpus.
func TestExamplesOfTheDocumentationRun(t *testing.T) {
	text, err := os.ReadFile("../docs/sql.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) < 8 {
		t.Fatalf("the page has %d examples", len(examples))
	}
	gateDB, _ := openEngine(t)
	gate := NewGate(gateDB, sampleCatalog)
	_, c := openEngine(t)
	if err := c.Exec(t.Context(), "CREATE SCHEMA layers"); err != nil {
		t.Fatal(err)
	}
	sampleData(t, c, "layers.", "layers.")
	for _, example := range examples {
		statement, err := gate.Admit(t.Context(), example[1])
		if err != nil {
			t.Errorf("%s\n\t%v", example[1], err)
			continue
		}
		sql, err := statement.Rewrite(map[string][]string{"payments": {"SELECT * FROM layers.payments"}, "orders": {"SELECT * FROM layers.orders"}})
		if err == nil {
			_, err = sortedText(t, c, sql)
		}
		if err != nil {
			t.Errorf("%s\n\t%v", example[1], err)
		}
	}
}
