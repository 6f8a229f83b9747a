package postgres

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tailwater/tailwater/serving/gatecorpus"
)

// sessionOnly begin statements that concern the session alone.
var sessionOnly = []string{"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare", "execute", "deallocate", "set", "reset", "show", "discard", "unlisten", "close", "declare", "fetch", "move"}

// mayBeAnswered reports whether a statement that the HTTP API refuses can be answered
// over this protocol: each of its statements is of the session, reads the names of
// the catalogue, or is none that must be refused by itself.
func mayBeAnswered(c *Catalog, sql string, corpus map[string]bool) bool {
	for _, p := range split(sql) {
		// A COPY to the client is the SELECT in it.
		ofSession := p.starts("copy") && slices.ContainsFunc(p.words, func(t token) bool { return t.is("stdout") }) || slices.ContainsFunc(sessionOnly, func(w string) bool { return p.word(0).is(w) })
		if !ofSession && !c.concerns(p) && corpus[strings.TrimSpace(p.sql)] && !strings.HasPrefix(p.sql, "SELECT $1") {
			return false
		}
	}
	return true
}

// inner are names and places of the engine that answers for the catalogue.
var inner = regexp.MustCompile(`tw_|every_pg|known_type|duckdb_|/tmp|/root|/work`)

// TestTheEscapeCorpusIsRefusedInEveryMode sends each statement alone, prepared and
// run, and prepared alone.
func TestTheEscapeCorpusIsRefusedInEveryMode(t *testing.T) {
	r := newRig(t, nil)
	c := connect(t, r.url(""))
	modes := map[string]func(sql string) error{
		"simple": func(sql string) error {
			results, err := c.PgConn().Exec(t.Context(), sql).ReadAll()
			for _, one := range results {
				for _, row := range one.Rows {
					if text := string(bytes.Join(row, nil)); inner.MatchString(text) {
						t.Errorf("%q shows the engine behind the catalogue: %s", sql, text)
					}
				}
			}
			return err
		},
		"extended": func(sql string) error {
			return c.PgConn().ExecParams(t.Context(), sql, nil, nil, nil, nil).Read().Err
		},
		"prepared only": func(sql string) error {
			_, err := c.PgConn().Prepare(t.Context(), "", sql, nil)
			return err
		},
	}
	list := gatecorpus.Refused()
	if len(list) < 500 {
		t.Fatalf("the corpus has %d statements", len(list))
	}
	corpus := map[string]bool{}
	for _, s := range list {
		corpus[strings.TrimSpace(s.SQL)] = true
	}
	for _, s := range list {
		sql := s.SQL
		for mode, run := range modes {
			if strings.ContainsRune(sql, 0) {
				continue // the protocol itself ends a text there
			}
			err := run(sql)
			if c.IsClosed() {
				t.Fatalf("%s: %q ended the session: %v", mode, sql, err)
			}
			code := state(err)
			switch {
			case err == nil && !mayBeAnswered(r.backend.Load().Catalog, sql, corpus):
				t.Errorf("%s: %q was answered", mode, sql)
			case err != nil && (len(code) != 5 || code == codeInternal):
				t.Errorf("%s: %q: %v", mode, sql, err)
			}
		}
	}
	var n int
	if _, err := c.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll(); err != nil {
		t.Fatal(err)
	}
	if err := c.QueryRow(context.Background(), "SELECT count(*) FROM payments", pgx.QueryExecModeSimpleProtocol).Scan(&n); err != nil || n != 200 {
		t.Errorf("after the corpus there are %d payments, %v", n, err)
	}
}
