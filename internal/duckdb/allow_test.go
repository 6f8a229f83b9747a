package duckdb

import (
	"os"
	"strings"
	"testing"
)

// refusedFunctions reads testdata/refused_functions.txt: every function of the
// engine that no list allows, under the reason, so that each is either allowed or
// refused by decision.
func refusedFunctions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/refused_functions.txt")
	if err != nil {
		t.Fatal(err)
	}
	reasons, reason := map[string]string{}, ""
	for _, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "# "):
		case strings.HasPrefix(line, "== "):
			reason = line[3:]
		case reasons[line] != "":
			t.Errorf("%s is refused twice", line)
		default:
			reasons[line] = reason
		}
	}
	return reasons
}

func isAllowed(name string) bool {
	return ScalarAllowed(name) || AggregateAllowed(name) || WindowAllowed(name) || TableFunctionAllowed(name)
}

func TestEveryFunctionOfTheEngineIsDecidedOn(t *testing.T) {
	c := open(t, Options{})
	r, err := c.Collect(t.Context(), "SELECT DISTINCT lower(function_name) AS f FROM duckdb_functions() WHERE function_type <> 'pragma' ORDER BY f")
	if err != nil {
		t.Fatal(err)
	}
	known, refused := map[string]bool{}, refusedFunctions(t)
	for i := range r.Len() {
		name := r.Value(i, 0).(string)
		known[name] = true
		if isAllowed(name) && refused[name] != "" {
			t.Errorf("%s is both allowed and refused: %s", name, refused[name])
		}
		if !isAllowed(name) && refused[name] == "" {
			t.Errorf("%s is new: allow it or refuse it", name)
		}
	}
	for name := range refused {
		if !known[name] {
			t.Errorf("%s is refused, and the engine has no such function", name)
		}
	}
	for _, l := range []map[string]bool{deterministic, volatile, aggregates, windowOnly, tableFunctions} {
		for name := range l {
			if !known[name] {
				t.Errorf("%s is allowed, and the engine has no such function", name)
			}
		}
	}
}

func TestListsAreWhatTheirNamesSay(t *testing.T) {
	for name := range deterministic {
		if has(volatile, name) {
			t.Errorf("%s is deterministic and volatile", name)
		}
	}
	for _, name := range []string{"now", "NOW", "today", "age", "random", "uuid", "current_setting", "nextval", "list_aggregate", "getvariable", "unnest", "error", "current_localtimestamp"} {
		if Deterministic(name) {
			t.Errorf("a view may call %s", name)
		}
	}
	for _, name := range []string{"Lower", "+", "~~", "date_trunc", "time_bucket", "nullif", "struct_pack", "to_hours", "->>"} {
		if !Deterministic(name) || !ScalarAllowed(name) {
			t.Errorf("%s is refused", name)
		}
	}
	for name := range sized {
		if !ScalarAllowed(name) {
			t.Errorf("%s has a size and is not allowed", name)
		}
	}
}

// The engine binds a bare CURRENT_DATE as a function, and the tree does not
// say so: the list of such names must be complete.
func TestColumnReferencesThatCallFunctions(t *testing.T) {
	c := open(t, Options{})
	r, err := c.Collect(t.Context(), `SELECT DISTINCT name FROM (
		SELECT keyword_name AS name FROM duckdb_keywords()
		UNION ALL SELECT function_name FROM duckdb_functions() WHERE regexp_matches(function_name, '^[a-z_]+$'))`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Len() {
		name := r.Value(i, 0).(string)
		tree, err := c.Parse(t.Context(), "SELECT "+name)
		if err != nil {
			continue
		}
		node := Statements(tree)[0].(map[string]any)["node"].(map[string]any)
		item := node["select_list"].([]any)[0].(map[string]any)
		if item["class"] != "COLUMN_REF" {
			continue
		}
		_, err = c.Prepare(t.Context(), "SELECT "+name)
		if _, listed := ColumnFunction(name); listed != (err == nil) {
			t.Errorf("SELECT %s binds: %v, listed: %v", name, err == nil, listed)
		}
	}
}
