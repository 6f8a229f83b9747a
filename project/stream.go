package project

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// readStream reads one file of streams/: its annotations, its CREATE TABLE as
// far as problems need their places, and the columns as DuckDB understands
// them. Columns may be looked up in references; unread are those that could not be
// read. err is for an engine that does not work.
func readStream(ctx context.Context, conn *duckdb.Conn, src source, references []*Reference, unread []string) (*Stream, Problems, error) {
	notes, problems := readAnnotations(src, streamAnnotations)
	r := &streamReader{src: src, problems: problems}
	create, ok := r.parseCreate()
	if !ok {
		return nil, r.problems, nil
	}
	columns, err := r.describe(ctx, conn, create)
	if err != nil || columns == nil {
		return nil, r.problems, err
	}
	schema := &event.Schema{Stream: src.name, Columns: columns, TimeColumn: -1, IDColumn: -1}
	format := r.annotate(schema, notes)
	rows, err := r.lookups(ctx, conn, schema, notes, references, unread)
	if err != nil {
		return nil, nil, err
	}
	return &Stream{Name: src.name, Schema: schema, File: src.file, TimeFormat: format, LookupRows: rows}, r.problems, nil
}

type streamReader struct {
	src      source
	problems Problems
}

func (r *streamReader) problem(at place, hint, format string, args ...any) {
	r.problems = append(r.problems, &Problem{r.src.file, at.line, at.column, fmt.Sprintf(format, args...), hint})
}

// A createTable is a CREATE TABLE as tokens.
type createTable struct {
	start, end int // bytes of the statement in the file
	name       token
	columns    [][]token // each column's definition, its name first
}

const createHint = "a stream's file holds one statement: CREATE TABLE name (column TYPE, …);"

// parseCreate finds the parts of the file's one statement. ok is false if what
// follows could only repeat the problem, or must not reach the engine.
func (r *streamReader) parseCreate() (c createTable, ok bool) {
	tokens, open := lex(r.src.text)
	if open != nil {
		r.problem(*open, "close it", "the text that begins here has no end")
		return c, false
	}
	if len(tokens) == 0 {
		r.problem(place{}, createHint, "the file is empty")
		return c, false
	}
	c.start = tokens[0].start
	at := 0
	for _, keyword := range []string{"CREATE", "TABLE"} {
		if at >= len(tokens) || !tokens[at].is(keyword) {
			bad := tokens[min(at, len(tokens)-1)]
			r.problem(bad.place, createHint, "want CREATE TABLE, found %s", bad.text)
			return c, false
		}
		at++
	}
	if rest := tokens[at:]; len(rest) > 3 && rest[0].is("IF") && rest[1].is("NOT") && rest[2].is("EXISTS") {
		at += 3
	}
	if at+1 >= len(tokens) || !tokens[at].isName() || !tokens[at+1].is("(") {
		bad := tokens[min(at+1, len(tokens)-1)]
		r.problem(bad.place, createHint, "want a name and a list of columns after CREATE TABLE")
		return c, false
	}
	c.name = tokens[at]
	after, ok := r.parseColumns(&c, tokens, at+1)
	if !ok {
		return c, false
	}
	rest := tokens[after:]
	for len(rest) > 0 && rest[0].is(";") {
		rest = rest[1:]
	}
	if len(rest) > 0 {
		r.problem(rest[0].place, createHint, "the statement goes on after the list of columns")
		return c, false
	}
	if c.name.name() != r.src.name {
		r.problem(c.name.place, "name the table as the file, or rename the file", "the file is called %s and the table %s", r.src.name, c.name.name())
	}
	return c, r.checkColumns(c)
}

// parseColumns splits the list that opens at tokens[open] by its commas, and
// gives the index behind its end.
func (r *streamReader) parseColumns(c *createTable, tokens []token, open int) (after int, ok bool) {
	depth, first := 0, open+1
	for i := open; i < len(tokens); i++ {
		switch t := tokens[i]; {
		case t.is("("), t.is("["), t.is("{"):
			depth++
		case t.is(")"), t.is("]"), t.is("}"):
			depth--
		}
		if depth == 0 || depth == 1 && tokens[i].is(",") {
			if i > first { // DuckDB allows a comma after the last column
				c.columns = append(c.columns, tokens[first:i])
			}
			first = i + 1
		}
		if depth == 0 {
			c.end = tokens[i].end
			return i + 1, true
		}
	}
	r.problem(tokens[open].place, "close it with )", "the list of columns that opens here has no end")
	return 0, false
}

// refusedWords are what a column's definition may not say, with what to do.
var refusedWords = map[string]string{
	"DEFAULT":    "an event is kept as it was sent: let the producer send the value, or write coalesce(column, value) in the views",
	"PRIMARY":    "a stream keeps every event; to drop repeats put the annotation `-- id: column` at the top",
	"UNIQUE":     "a stream keeps every event; to drop repeats put the annotation `-- id: column` at the top",
	"CHECK":      "put the condition into the views' WHERE; types and NOT NULL are what ingest enforces",
	"REFERENCES": "streams do not refer to each other; join them in a query",
	"FOREIGN":    "streams do not refer to each other; join them in a query",
	"CONSTRAINT": "leave it out; types and NOT NULL are what ingest enforces",
	"GENERATED":  "compute it in the views",
	"AS":         "compute it in the views",
	"COLLATE":    "write COLLATE in the queries that sort",
	"USING":      "leave it out; the lake chooses the compression",
}

// tableWords begin what is in the list but no column.
var tableWords = []string{"PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT"}

// checkColumns refuses what the engine would take and a stream does not; ok is
// false if the engine's errors could only repeat it.
func (r *streamReader) checkColumns(c createTable) (ok bool) {
	if len(c.columns) == 0 {
		r.problem(c.name.place, createHint, "the stream has no column")
		return false
	}
	ok = true
	seen := map[string]place{}
	for _, def := range c.columns {
		if slices.ContainsFunc(tableWords, def[0].is) {
			r.problem(def[0].place, refusedWords[strings.ToUpper(def[0].text)], "streams have no %s", strings.ToUpper(def[0].text))
			ok = false
			continue
		}
		name := def[0].name()
		lower := strings.ToLower(name)
		if first, twice := seen[lower]; twice {
			r.problem(def[0].place, "rename one of them; case does not tell columns apart", "column %s is already in line %d", name, first.line)
			ok = false
		}
		seen[lower] = def[0].place
		if strings.HasPrefix(name, "_") {
			r.problem(def[0].place, "rename it; such names are the system's own, as _seq and _ingested_at", "column %s begins with an underscore", name)
		}
		if t := refusedToken(def); t != nil {
			r.problem(t.place, refusedWords[strings.ToUpper(t.text)], "column %s: streams have no %s", name, strings.ToUpper(t.text))
			ok = false
		}
	}
	return ok
}

// refusedToken finds the first refused word of a column's definition, leaving
// out what stands in parentheses or quotes.
func refusedToken(def []token) *token {
	depth := 0
	for i, t := range def[1:] {
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && t.kind == word && refusedWords[strings.ToUpper(t.text)] != "":
			return &def[i+1]
		}
	}
	return nil
}

// describe lets the engine read the statement, and gives the stream's columns;
// nil if there are problems with them.
func (r *streamReader) describe(ctx context.Context, conn *duckdb.Conn, c createTable) ([]event.Column, error) {
	if err := conn.Exec(ctx, r.src.text[c.start:c.end]); err != nil {
		return nil, r.blame(ctx, conn, c, err)
	}
	table := c.name.name()
	rel, err := conn.Collect(ctx, `SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index`, table)
	if err != nil {
		return nil, fmt.Errorf("describe table %s: %w", table, err)
	}
	columns := make([]event.Column, 0, rel.Len())
	for i := range rel.Len() {
		name, printed := rel.Value(i, 0).(string), rel.Value(i, 1).(string)
		at := c.columns[i][0].place
		t, err := duckdb.ParseType(printed)
		switch {
		case err != nil:
			message, hint, _ := strings.Cut(err.Error(), ": ")
			r.problem(at, hint, "column %s: %s", name, message)
		case t.Kind == event.HugeInt:
			r.problem(at, "use DECIMAL(38,0), or BIGINT", "column %s: streams have no HUGEINT", name)
		case t.Kind == event.Blob:
			r.problem(at, "send it as text in a VARCHAR, base64 for example", "column %s: streams have no BLOB", name)
		default:
			columns = append(columns, event.Column{Name: name, Type: t, NotNull: !rel.Value(i, 2).(bool)})
		}
	}
	if len(columns) < rel.Len() {
		return nil, nil
	}
	return columns, nil
}

// blame finds the columns on account of which the engine refused a statement,
// by giving it each alone; whole is its error about all.
func (r *streamReader) blame(ctx context.Context, conn *duckdb.Conn, c createTable, whole error) error {
	before := len(r.problems)
	for _, def := range c.columns {
		alone := r.src.text[def[0].start:def[len(def)-1].end]
		err := conn.Exec(ctx, `CREATE OR REPLACE TEMP TABLE "a column alone" (`+alone+`)`)
		if err == nil {
			continue
		}
		message, hint, err := engineMessage(err)
		if err != nil {
			return err
		}
		if hint == "" && strings.HasPrefix(message, "syntax error at or near") && def[0].kind == word {
			hint = fmt.Sprintf(`if %s is a word of SQL's own, write "%s"`, def[0].text, def[0].text)
		}
		at := def[min(1, len(def)-1)].place // the type
		r.problem(at, hint, "column %s: %s", def[0].name(), message)
	}
	if len(r.problems) > before {
		return nil
	}
	message, hint, err := engineMessage(whole)
	if err == nil {
		r.problem(c.name.place, hint, "%s", message)
	}
	return err
}

// engineMessage splits the engine's error into its first line and its
// candidates. Any other error is returned as it is.
func engineMessage(err error) (message, hint string, other error) {
	var e *duckdb.Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return "", "", err
	}
	for i, line := range strings.Split(e.Message, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case i == 0:
			message = line
		case strings.HasPrefix(line, "Did you mean"), strings.HasPrefix(line, "Candidate"):
			hint = line
		}
	}
	return message, hint, nil
}
