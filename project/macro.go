package project

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/macro"
)

// MacrosDir holds the project's macros: macros/NAME.sql, one CREATE MACRO a file.
const MacrosDir = "macros"

// A Macro is a macro of the project and where it was read.
type Macro struct {
	Name        string
	File        string // relative to the project's folder, with slashes
	Description string
	Usage       string // how it is called
}

const macroHint = "a macro's file holds one statement: CREATE MACRO name(parameter, …) AS expression;"

// loadMacros reads the macros, and expands them in each other.
func (l *loader) loadMacros(ctx context.Context, sources []source) error {
	if len(sources) == 0 {
		return nil
	}
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "256MB", Locked: true})
	if err != nil {
		return fmt.Errorf("open an engine to read macros: %w", err)
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return fmt.Errorf("open an engine to read macros: %w", err)
	}
	defer conn.Close()
	var macros []*macro.Macro
	before := len(l.problems)
	for _, src := range sources {
		notes, problems := readAnnotations(src, macroAnnotations)
		r := &macroReader{ctx: ctx, conn: conn, src: src, problems: problems}
		m, err := r.read()
		if err != nil {
			return fmt.Errorf("%s: %w", src.file, err)
		}
		l.problems = append(l.problems, r.problems...)
		if m != nil {
			macros = append(macros, m)
			l.project.Macros = append(l.project.Macros, &Macro{Name: m.Name, File: src.file, Description: notes.text("description"), Usage: m.Usage()})
		}
	}
	if len(l.problems) == before {
		set, wrong := macro.New(macros)
		l.project.MacroSet = set
		for _, e := range wrong {
			src := sources[slices.IndexFunc(sources, func(s source) bool { return s.name == e.Macro })]
			l.problem(src.file, placeAt(src.text, e.Offset), e.Message, e.Hint)
		}
	}
	if len(l.problems) > before {
		for _, src := range sources {
			l.broken[strings.ToLower(src.name)] = true // what calls one of them is not judged
		}
	}
	slices.SortFunc(l.project.Macros, func(a, b *Macro) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// placeAt gives the place of a byte of a text; of -1, none.
func placeAt(text string, offset int) place {
	if offset < 0 || offset > len(text) {
		return place{}
	}
	before := text[:offset]
	return place{strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1}
}

// A macroReader reads one file of macros/.
type macroReader struct {
	ctx      context.Context
	conn     *duckdb.Conn
	src      source
	problems Problems
	tokens   []token
	at       int // the next token
}

// bad reports a problem.
func (r *macroReader) bad(at place, hint, format string, args ...any) {
	r.problems = append(r.problems, &Problem{r.src.file, at.line, at.column, fmt.Sprintf(format, args...), hint})
}

// peek gives the next token, one without a text at the end.
func (r *macroReader) peek() token {
	if r.at < len(r.tokens) {
		return r.tokens[r.at]
	}
	last := r.tokens[len(r.tokens)-1]
	return token{kind: sign, start: last.end, end: last.end, place: last.place}
}

// accept moves over the tokens if they come next.
func (r *macroReader) accept(texts ...string) bool {
	for i, text := range texts {
		if r.at+i >= len(r.tokens) || !r.tokens[r.at+i].is(text) {
			return false
		}
	}
	r.at += len(texts)
	return true
}

// want is accept that reports what is missing.
func (r *macroReader) want(text string) bool {
	if r.accept(text) {
		return true
	}
	found := r.peek().text
	if found == "" {
		found = "the end"
	}
	r.bad(r.peek().place, macroHint, "want %s, found %s", text, found)
	return false
}

// read reads the file; nil if there are problems. err is for an engine that does not
// work.
func (r *macroReader) read() (*macro.Macro, error) {
	before := len(r.problems)
	var open *place
	if r.tokens, open = lex(r.src.text); open != nil {
		r.bad(*open, "close it", "the text that begins here has no end")
		return nil, nil
	}
	if len(r.tokens) == 0 {
		r.bad(place{}, macroHint, "the file is empty")
		return nil, nil
	}
	if !r.want("CREATE") {
		return nil, nil
	}
	r.accept("OR", "REPLACE")
	if !r.accept("FUNCTION") && !r.want("MACRO") {
		return nil, nil
	}
	name := r.peek()
	if !name.isName() {
		r.bad(name.place, macroHint, "want a name after CREATE MACRO")
		return nil, nil
	}
	r.at++
	m := &macro.Macro{Name: name.name()}
	if err := r.checkName(name); err != nil {
		return nil, err
	}
	for more := true; more; more = r.accept(",") {
		f, err := r.form()
		if f == nil || err != nil {
			return nil, err
		}
		m.Forms = append(m.Forms, *f)
	}
	for r.accept(";") {
	}
	if r.at < len(r.tokens) {
		r.bad(r.peek().place, macroHint, "the statement goes on after the macro's expression")
	}
	if len(r.problems) > before {
		return nil, nil
	}
	return m, nil
}

// checkName refuses a name that a call could not have, or has for something else.
func (r *macroReader) checkName(name token) error {
	if name.name() != r.src.name {
		r.bad(name.place, "name the macro as the file, or rename the file", "the file is called %s and the macro %s", r.src.name, name.name())
		return nil
	}
	known, err := r.conn.Collect(r.ctx, "SELECT count(*) FROM duckdb_functions() WHERE lower(function_name) = lower($1)", r.src.name)
	if err != nil {
		return err
	}
	tree, err := r.conn.Parse(r.ctx, "SELECT "+r.src.name+"(1)")
	var parse *duckdb.ParseError
	if err != nil && !errors.As(err, &parse) {
		return err
	}
	called := ""
	if err == nil {
		called, _ = selected(tree)["function_name"].(string)
	}
	if macro.Reserved(r.src.name) || known.Value(0, 0).(int64) > 0 || !strings.EqualFold(called, r.src.name) {
		r.bad(name.place, "rename the macro and its file", "%s is a function or a word of SQL's own", r.src.name)
	}
	return nil
}

// form reads (parameters) AS expression; nil if there are problems.
func (r *macroReader) form() (*macro.Form, error) {
	f := &macro.Form{}
	if !r.want("(") {
		return nil, nil
	}
	for !r.accept(")") {
		if len(f.Parameters) > 0 && !r.want(",") {
			return nil, nil
		}
		p, err := r.parameter()
		if p == nil || err != nil {
			return nil, err
		}
		f.Parameters = append(f.Parameters, *p)
	}
	if !r.want("AS") {
		return nil, nil
	}
	if next := r.peek(); next.is("TABLE") {
		r.bad(next.place, "make the query a view, or a file in queries/", "a macro gives a value, and no table")
		return nil, nil
	}
	var err error
	f.Body, err = r.expression()
	if f.Body == nil || err != nil {
		return nil, err
	}
	return f, nil
}

// parameter reads name, or name := expression.
func (r *macroReader) parameter() (*macro.Parameter, error) {
	t := r.peek()
	if !t.isName() {
		r.bad(t.place, macroHint, "want the name of a parameter")
		return nil, nil
	}
	r.at++
	p := &macro.Parameter{Name: t.name()}
	switch next := r.peek(); {
	case next.is(","), next.is(")"):
		return p, nil
	case r.accept(":", "="), r.accept("=", ">"):
		var err error
		p.Default, err = r.expression()
		if p.Default == nil || err != nil {
			return nil, err
		}
		return p, nil
	default:
		r.bad(next.place, "convert it in the expression: amount::DOUBLE", "the parameter %s has no type here, and perhaps a default: %s := 1", p.Name, p.Name)
		return nil, nil
	}
}

// expression lets the engine parse what comes through the next comma, closing bracket
// or semicolon of its own level; nil if there are problems.
func (r *macroReader) expression() (map[string]any, error) {
	first := r.peek()
	depth := 0
	for ; r.at < len(r.tokens); r.at++ {
		t := r.tokens[r.at]
		if depth == 0 && (t.is(",") || t.is(")") || t.is(";")) {
			break
		}
		switch {
		case t.is("("), t.is("["), t.is("{"):
			depth++
		case t.is(")"), t.is("]"), t.is("}"):
			depth--
		}
	}
	end := r.tokens[r.at-1].end
	if end <= first.start {
		r.bad(first.place, macroHint, "want an expression")
		return nil, nil
	}
	// Everything stays where it is in the file, so that places are those of the file.
	sql := []byte(r.src.text[:end])
	for i := range sql[:first.start] {
		if sql[i] != '\n' {
			sql[i] = ' '
		}
	}
	copy(sql[r.tokens[0].start:], "SELECT") // where CREATE was
	tree, err := r.conn.Parse(r.ctx, string(sql))
	var parse *duckdb.ParseError
	switch {
	case errors.As(err, &parse):
		at := first.place
		if chars := []rune(string(sql)); parse.Position >= 0 && parse.Position <= len(chars) {
			at = placeAt(r.src.text, len(string(chars[:parse.Position])))
		}
		r.bad(at, "a macro is one expression", "%s", parse.Message)
		return nil, nil
	case err != nil:
		return nil, err
	}
	expr := selected(tree)
	if expr == nil {
		r.bad(first.place, macroHint, "a macro is one expression, without FROM or another clause")
	}
	return expr, nil
}

// selected gives the expression of a tree that is "SELECT expression" and nothing
// more; nil if it is not.
func selected(tree map[string]any) map[string]any {
	statements := duckdb.Statements(tree)
	if len(statements) != 1 {
		return nil
	}
	statement, _ := statements[0].(map[string]any)
	node, _ := statement["node"].(map[string]any)
	from, _ := node["from_table"].(map[string]any)
	with, _ := node["cte_map"].(map[string]any)
	items, _ := node["select_list"].([]any)
	if node["type"] != "SELECT_NODE" || from["type"] != "EMPTY" || len(items) != 1 {
		return nil
	}
	for _, clause := range []any{node["where_clause"], node["having"], node["qualify"], node["sample"]} {
		if clause != nil {
			return nil
		}
	}
	for _, list := range []any{node["modifiers"], node["group_expressions"], with["map"]} {
		if parts, _ := list.([]any); len(parts) > 0 {
			return nil
		}
	}
	expr, _ := items[0].(map[string]any)
	if expr["alias"] != "" {
		return nil
	}
	return expr
}
