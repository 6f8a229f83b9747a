package postgres

import (
	"os/exec"
	"strings"
	"testing"
)

// psql runs commands in one session and gives what it prints.
func (r *rig) psql(t *testing.T, commands ...string) string {
	t.Helper()
	args := []string{"-X", "-v", "VERBOSITY=verbose", r.url("")}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.CommandContext(t.Context(), needed(t, "TAILWATER_TEST_PSQL"), args...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "ERROR") {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestPsqlDescribesTablesAndViews(t *testing.T) {
	r := newRig(t, nil)
	for command, want := range map[string]string{
		`\d`:                       "public | daily         | view  | tailwater",
		`\d payments`:              "amount   | numeric(10,2)               |           |          |",
		`\d+ daily`:                "SELECT merchant, sum(amount) AS total FROM payments GROUP BY merchant",
		`\dt+`:                     "Card payments",
		`\dn`:                      "tailwater | tailwater",
		`\l`:                       "tailwater | tailwater | UTF8",
		`\sv daily`:                "CREATE OR REPLACE VIEW public.daily AS",
		`\dv`:                      "public | daily | view | tailwater",
		`\du`:                      "ana       |",
		`\d tailwater.view_errors`: `Table "tailwater.view_errors"`,
	} {
		if out := r.psql(t, command); !strings.Contains(out, want) {
			t.Errorf("%s printed\n%s\nwithout %q", command, out, want)
		}
	}
}

func TestPsqlRunsStatementsCursorsAndCopy(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct{ text, want string }{
		{"SELECT 1 AS a; SELECT 'x;y' AS b", " x;y"},
		{"BEGIN; DECLARE c CURSOR FOR SELECT id FROM payments ORDER BY id; FETCH 2 FROM c; MOVE 3 FROM c; FETCH NEXT FROM c; CLOSE c; COMMIT", " 5\n(1 row)"},
		{"COPY (SELECT id, merchant FROM payments WHERE id < 2 ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)", "id,merchant\n0,m0\n1,m1\n"},
		{"COPY orders TO STDOUT", "0\tc0\n1\tc1\n"},
		{"PREPARE p AS SELECT merchant FROM payments WHERE id = $1; EXECUTE p(7); DEALLOCATE p", " m2"},
		{"SELECT nothing FROM payments", "ERROR:  42703: "},
		{"SELECT nothing FROM payments", "LINE 1: SELECT nothing FROM payments\n               ^"},
		{"SELECT 1; SELECT  * FROM public.nothing", "LINE 1: SELECT 1; SELECT  * FROM public.nothing\n                                 ^"},
		{"INSERT INTO payments VALUES (1)", "ERROR:  25006: cannot execute INSERT in a read-only transaction"},
		{"CREATE TABLE x (a int)", "ERROR:  25006: cannot execute CREATE TABLE in a read-only transaction"},
		{"COPY payments FROM STDIN", "ERROR:  25006: "},
		{"COPY payments TO '/tmp/x'", "ERROR:  42501: "},
		{"SELECT 1 FROM (SELECT", "ERROR:  42601: "},
		{"SELECT abs('x')", "ERROR:  42725: "},
		{"SELECT 'x'::INTEGER FROM payments", "ERROR:  22P02: "},
		{"SELECT unknown_function(1)", "ERROR:  42883: "},
		{"SET TimeZone = 'Europe/Berlin'", "ERROR:  22023: "},
		{"SET statement_timeout = '90s'; SHOW statement_timeout", " 90000ms"},
		{"SET nothing = 1", "ERROR:  42704: "},
		{"LISTEN x", "ERROR:  25006: "},
		{"SELECT 'infinity'::DATE AS d, '-infinity'::TIMESTAMP AS t", " infinity | -infinity"},
		{"SELECT 'NaN'::DOUBLE AS a, 'Infinity'::FLOAT AS b, 1e20::DOUBLE AS c, 1e15::DOUBLE AS d, 123456.5::DOUBLE AS e", " NaN | Infinity | 1e+20 | 1e+15 | 123456.5"},
		{"SELECT DATE '0044-03-15 (BC)' AS d", " 0044-03-15 BC"},
		{"SELECT '5000000-01-01'::DATE AS d, '290000-01-01'::TIMESTAMP AS t", "5000000-01-01 | 290000-01-01 00:00:00"},
		{"SELECT DATE '290000-01-01 (BC)'", "ERROR:  22008: "},
		{"SELECT 'ab\\x00'::BLOB AS b, 170141183460469231731687303715884105727::HUGEINT AS h", " \\x616200 | 170141183460469231731687303715884105727"},
	} {
		if out := r.psql(t, c.text); !strings.Contains(out, c.want) {
			t.Errorf("%s printed\n%s\nwithout %q", c.text, out, c.want)
		}
	}
}
