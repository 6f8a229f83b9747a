package serving

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/internal/macro"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/view"
)

// payFolder loads a project with the rig's stream and further files.
func payFolder(t *testing.T, files map[string]string) *project.Project {
	t.Helper()
	p, err := project.Load(t.Context(), payDir(t, files), payPlanner(t))
	must(t, err)
	return p
}

// payProjectOf loads it with reference tables that are computed.
func payProjectOf(t *testing.T, files map[string]string) (*project.Project, project.Problems) {
	t.Helper()
	p, err := project.Load(t.Context(), payDir(t, files), payPlanner(t), ComputeReferences)
	var problems project.Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatal(err)
	}
	return p, problems
}

func payPlanner(t *testing.T) *view.Planner {
	t.Helper()
	planner, err := view.NewPlanner(t.Context())
	must(t, err)
	t.Cleanup(func() { planner.Close() })
	return planner
}

func payDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["streams/pay.sql"] = "-- time: ts\nCREATE TABLE pay (ts TIMESTAMP NOT NULL, k VARCHAR, n BIGINT NOT NULL)"
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

var payMacros = map[string]string{
	"macros/clamp.sql":  "CREATE MACRO clamp(x, hi := 10, lo := 0) AS greatest(least(x, hi), lo)",
	"macros/spread.sql": "CREATE MACRO spread(x) AS max(clamp(x, 40)) - min(x)",
	"macros/before.sql": "CREATE MACRO before(x) AS lag(x) OVER (ORDER BY x)",
	"macros/long.sql":   "CREATE MACRO long(x) AS repeat(x, 100000)",
}

func TestMacrosOfTheProjectAreWrittenOutInSQL(t *testing.T) {
	r := newRig(t)
	r.send(60)
	files := map[string]string{"queries/wide.sql": "-- param: hi BIGINT = 3\nSELECT k, sum(clamp(n, $hi)) AS s FROM pay GROUP BY k ORDER BY k",
		"queries/wrong.sql": "SELECT k,\n  clamp() FROM pay"}
	for name, text := range payMacros {
		files[name] = text
	}
	p := payFolder(t, files)
	r.gate.macros = p.MacroSet
	for called, written := range map[string]string{
		"SELECT k, spread(n) FROM pay GROUP BY k ORDER BY k":                                 "SELECT k, max(greatest(least(n, 40), 0)) - min(n) FROM pay GROUP BY k ORDER BY k",
		"SELECT sum(clamp(n, lo := -5)) FROM pay WHERE clamp(n, 1) IN (SELECT clamp(99, 1))": "SELECT sum(greatest(least(n, 10), -5)) FROM pay WHERE n >= 1",
		"SELECT before(s) FROM hourly ORDER BY ALL":                                          "SELECT lag(s) OVER (ORDER BY s) FROM hourly ORDER BY ALL",
		"SELECT rate(clamp(n), ts) FROM pay":                                                 "SELECT rate(greatest(least(n, 10), 0), ts) FROM pay",
	} {
		if got, want := r.ask(called), r.ask(written); got != want || got == "" {
			t.Errorf("%s: %s, want %s", called, got, want)
		}
	}
	parameter := []Parameter{{Name: "1", Value: int64(7)}}
	if got, want := r.ask("SELECT sum(clamp(n, $1)) FROM pay", parameter...), r.ask("SELECT sum(greatest(least(n, 7), 0)) FROM pay"); got != want {
		t.Errorf("with a parameter: %s, want %s", got, want)
	}
	prepared, err := r.Prepare(t.Context(), "SELECT clamp(n, $1), spread(n) OVER_ FROM pay GROUP BY ALL")
	if err != nil || len(prepared.Parameters) != 1 || prepared.Columns[0].Name != "clamp(n, $1)" || prepared.Columns[1].Name != "OVER_" {
		t.Errorf("%+v, %v", prepared, err)
	}
	queries, problems, err := BindQueries(t.Context(), p)
	must(t, err)
	if len(queries) != 1 || len(queries[0].Columns) != 2 || len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "queries/wrong.sql:2:3: clamp does not take 0 arguments; it is clamp(x, hi := …, lo := …)") {
		t.Errorf("%+v, %v", queries, problems)
	}
}

func TestAMacroMayNoMoreThanWhoeverCallsIt(t *testing.T) {
	r := newRig(t)
	r.send(5)
	r.gate.macros = payFolder(t, payMacros).MacroSet
	for sql, want := range map[string]struct {
		code     string
		position int
	}{
		"SELECT k, long(k) FROM pay":           {"too_large", 11},
		"SELECT 1, clamp(a, b, c, d) FROM pay": {"bad_argument", 11},
		"SELECT * FROM clamp(1)":               {"bad_argument", 15},
		"SELECT clamp(getenv('HOME'))":         {"unknown_function", 14},
		"SELECT k, clamp(m) FROM pay":          {"sql", 17},
		"SELECT k, clamp(k) + 1 FROM pay":      {"sql", 0},
	} {
		_, err := textOf(r.SQL(t.Context(), SQLRequest{SQL: sql, Timeout: time.Minute}))
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != want.code || want.position > 0 && refusal.Position != want.position {
			t.Errorf("%s: %+v (%v)", sql, refusal, err)
		}
	}
}

// A macro of the project must not hide a function that the gate writes out.
func TestTheGatesOwnMacrosAreReserved(t *testing.T) {
	for name := range tableMacros {
		if !macro.Reserved(name) {
			t.Errorf("%s can be redefined", name)
		}
	}
	for name := range valueMacros {
		if !macro.Reserved(name) {
			t.Errorf("%s can be redefined", name)
		}
	}
}
