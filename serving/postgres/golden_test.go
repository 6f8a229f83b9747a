package postgres

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

var update = flag.Bool("update", false, "write what the server answers into testdata")

// entry is a statement as a client sends it and what it is answered.
type entry struct{ sql, args, want string }

func readGolden(t *testing.T, file string) (head string, entries []entry) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(data), "====\n")
	for _, p := range parts[1:] {
		sql, want, ok := strings.Cut(p, "\n----\n")
		if !ok {
			t.Fatalf("%s: no ---- behind %q", file, p)
		}
		e := entry{sql: sql, want: want}
		if rest, ok := strings.CutPrefix(sql, "args: "); ok {
			e.args, e.sql, _ = strings.Cut(rest, "\n")
		}
		entries = append(entries, e)
	}
	return parts[0], entries
}

// passing are values that differ from run to run.
var passing = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+`)

// answer runs a statement and writes its rows: names and types of the columns,
// then a line a row.
func answer(t *testing.T, c *pgconn.PgConn, e entry) string {
	t.Helper()
	var rr *pgconn.ResultReader
	var mrr *pgconn.MultiResultReader
	if e.args == "" {
		mrr = c.Exec(t.Context(), e.sql)
		if !mrr.NextResult() {
			if err := mrr.Close(); err != nil {
				return errorText(err)
			}
			return "\n"
		}
		rr = mrr.ResultReader()
	} else {
		var args [][]byte
		for _, a := range strings.Split(e.args, "|") {
			args = append(args, []byte(a))
		}
		rr = c.ExecParams(t.Context(), e.sql, args, nil, nil, nil)
	}
	var sb strings.Builder
	for i, f := range rr.FieldDescriptions() {
		if i > 0 {
			sb.WriteByte('|')
		}
		fmt.Fprintf(&sb, "%s:%d", f.Name, f.DataTypeOID)
	}
	sb.WriteByte('\n')
	var rows []string
	for rr.NextRow() {
		values := make([]string, len(rr.Values()))
		for i, v := range rr.Values() {
			values[i] = strings.ReplaceAll(string(v), "\n", `\n`)
			if v == nil {
				values[i] = "∅"
			}
		}
		rows = append(rows, strings.Join(values, "|")+"\n")
	}
	if !strings.Contains(strings.ToLower(e.sql), "order by") {
		slices.Sort(rows) // whoever asks for no order gets any
	}
	sb.WriteString(strings.Join(rows, ""))
	_, err := rr.Close()
	if mrr != nil && err == nil {
		err = mrr.Close()
	}
	if err != nil {
		return errorText(err)
	}
	return passing.ReplaceAllString(sb.String(), "(now)")
}

func errorText(err error) string { return "error: " + err.Error() + "\n" }

// TestRecordedStatementsOfClientsAreAnswered runs what clients were seen to send.
// An error is never what is wanted.
func TestRecordedStatementsOfClientsAreAnswered(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	r := newRig(t, nil)
	total := 0
	for _, file := range files {
		c, err := pgconn.Connect(t.Context(), r.url("application_name=golden"))
		if err != nil {
			t.Fatal(err)
		}
		head, entries := readGolden(t, file)
		total += len(entries)
		out := head
		for _, e := range entries {
			got := answer(t, c, e)
			args := ""
			if e.args != "" {
				args = "args: " + e.args + "\n"
			}
			out += "====\n" + args + e.sql + "\n----\n" + got
			if strings.HasPrefix(got, "error: ") {
				t.Errorf("%s:\n%s\n%s", file, e.sql, got)
			} else if got != e.want && !*update {
				t.Errorf("%s:\n%s\ngave\n%swant\n%s", file, e.sql, got, e.want)
			}
		}
		c.Close(t.Context())
		if *update {
			if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if total < 150 {
		t.Errorf("%d statements were recorded", total)
	}
}
