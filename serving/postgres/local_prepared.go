package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// preparedStatement is PREPARE name AS query, or EXECUTE name (values).
func (ss *session) preparedStatement(p piece, first string) (*statement, error) {
	name := p.word(1).name()
	if name == "" {
		return nil, syntaxError(p, 1)
	}
	if first == "execute" {
		return ss.executeStatement(p, name)
	}
	at := 2
	for at < len(p.words) && !p.words[at].is("as") { // the types between are the engine's to find
		at++
	}
	if at+1 >= len(p.words) {
		return nil, syntaxError(p, at+1)
	}
	query := split(p.rest(at + 1))[0]
	of, err := ss.plan(query, nil, true)
	if err != nil {
		return nil, err
	}
	if of.kind == kindSession {
		return nil, syntaxError(p, at+1)
	}
	return action(p, "PREPARE", func(ss *session) error {
		switch {
		case ss.statements[name] != nil:
			return &wireError{code: codeDuplicatePrepared, message: fmt.Sprintf("prepared statement %q already exists", name)}
		case len(ss.statements) >= maxStatements:
			return &wireError{code: codeTooLarge, message: "too many prepared statements"}
		}
		ss.statements[name] = of
		return nil
	}), nil
}

// executeStatement runs a prepared statement with literals.
func (ss *session) executeStatement(p piece, name string) (*statement, error) {
	of := ss.statements[name]
	if of == nil {
		return nil, noStatement(name)
	}
	args, err := literals(p, 2)
	if err != nil {
		return nil, err
	}
	if len(args) != len(of.parameters) {
		return nil, &wireError{code: codeSyntax, message: fmt.Sprintf("wrong number of parameters for prepared statement %q", name), detail: fmt.Sprintf("Expected %d parameters but got %d.", len(of.parameters), len(args))}
	}
	st := *of
	st.piece = p
	st.parameters = nil
	st.open = func(ctx context.Context, ss *session, _ []argument) (*source, string, error) {
		return of.open(ctx, ss, args)
	}
	return &st, nil
}

// literals reads (1, 'text', null, true, -2.5).
func literals(p piece, at int) ([]argument, error) {
	if at >= len(p.words) {
		return nil, nil
	}
	if !p.word(at).is("(") || !p.word(len(p.words)-1).is(")") {
		return nil, syntaxError(p, at)
	}
	var out []argument
	for i := at + 1; i < len(p.words)-1; i++ {
		negative := p.words[i].is("-")
		if negative {
			i++
		}
		t := p.word(i)
		a := argument{Name: fmt.Sprint(len(out) + 1)}
		switch {
		case t.kind == tokenNumber:
			a.Value = t.text
			if negative {
				a.Value = "-" + t.text
			}
		case negative:
			return nil, syntaxError(p, i)
		case t.kind == tokenString:
			a.Value = t.value()
		case t.is("true"), t.is("false"):
			a.Value = t.is("true")
		case t.is("null"):
		default:
			return nil, &wireError{code: codeUnsupported, message: "EXECUTE takes literals", hint: "write numbers, strings, true, false or null"}
		}
		out = append(out, a)
		if i++; i < len(p.words)-1 && !p.words[i].is(",") {
			return nil, syntaxError(p, i)
		}
	}
	return out, nil
}

// A copyFormat is how COPY TO STDOUT writes rows.
type copyFormat struct {
	csv       bool
	header    bool
	delimiter byte
	null      string
}

// copyStatement is COPY (query) TO STDOUT, or COPY table TO STDOUT. Everything
// else that COPY does is refused: it reads and writes files, and data.
func (ss *session) copyStatement(p piece) (*statement, error) {
	query, at := "", 1
	if p.word(1).is("(") {
		depth := 0
		for ; at < len(p.words); at++ {
			if p.words[at].is("(") {
				depth++
			} else if p.words[at].is(")") {
				if depth--; depth == 0 {
					break
				}
			}
		}
		if at >= len(p.words) {
			return nil, syntaxError(p, at)
		}
		query = p.sql[p.words[1].at+1 : p.words[at].at]
		at++
	} else {
		for at < len(p.words) && !p.words[at].is("to") && !p.words[at].is("from") {
			at++
		}
		if at == 1 || at >= len(p.words) {
			return nil, syntaxError(p, at)
		}
		table, columns, _ := strings.Cut(p.sql[p.words[1].at:p.words[at].at], "(")
		query = "SELECT " + firstOf(strings.TrimSuffix(strings.TrimSpace(columns), ")"), "*") + " FROM " + table
	}
	if !p.word(at).is("to") {
		return nil, readOnlyError("COPY FROM")
	}
	if !p.word(at + 1).is("stdout") {
		return nil, &wireError{code: "42501", message: "COPY to a file or program is not allowed", hint: "COPY … TO STDOUT, or \\copy in psql"}
	}
	format, err := readCopyFormat(p, at+2)
	if err != nil {
		return nil, err
	}
	pieces := split(query)
	if len(pieces) != 1 {
		return nil, syntaxError(p, 1)
	}
	st, err := ss.plan(pieces[0], nil, false)
	if err != nil {
		return nil, err
	}
	if st.kind == kindSession {
		return nil, syntaxError(p, 1)
	}
	st.piece, st.copy, st.copyFormat = p, true, format
	return st, nil
}

// readCopyFormat reads WITH (FORMAT csv, HEADER, DELIMITER ';', NULL ”), and the
// older form without parentheses.
func readCopyFormat(p piece, at int) (copyFormat, error) {
	f := copyFormat{delimiter: '\t', null: `\N`}
	delimiter, null := "", ""
	nullSet := false
	for i := at; i < len(p.words); i++ {
		t := p.words[i]
		switch {
		case t.is("with"), t.is("("), t.is(")"), t.is(","), t.is("format"), t.is("text"), t.is("as"), t.is("encoding"):
			if t.is("encoding") {
				i++
			}
		case t.is("csv"):
			f.csv, f.delimiter, f.null = true, ',', ""
		case t.is("binary"):
			return f, &wireError{code: codeUnsupported, message: "COPY in binary is not supported", hint: "use text or csv"}
		case t.is("header"):
			f.header = true
			if n := p.word(i + 1); n.is("true") || n.is("on") || n.is("false") || n.is("off") {
				f.header = n.is("true") || n.is("on")
				i++
			}
		case t.is("delimiter"), t.is("null"):
			if p.word(i + 1).is("as") {
				i++
			}
			i++
			v := p.word(i).value()
			if t.is("null") {
				null, nullSet = v, true
			} else {
				delimiter = v
			}
		default:
			return f, syntaxError(p, i)
		}
	}
	if delimiter != "" {
		if len(delimiter) != 1 {
			return f, &wireError{code: codeUnsupported, message: "COPY delimiter must be a single one-byte character"}
		}
		f.delimiter = delimiter[0]
	}
	if nullSet {
		f.null = null
	}
	return f, nil
}

// line writes a row.
func (f copyFormat) line(rows *rowEncoder, row int) []byte {
	var out, value []byte
	for i, column := range rows.columns {
		if i > 0 {
			out = append(out, f.delimiter)
		}
		if value = column(value[:0], row); value[0] == 0xff {
			out = append(out, f.null...)
			continue
		}
		out = f.field(out, value[4:])
	}
	return append(out, '\n')
}

// heading is the line of the columns' names.
func (f copyFormat) heading(columns []column) []byte {
	var out []byte
	for i, c := range columns {
		if i > 0 {
			out = append(out, f.delimiter)
		}
		out = f.field(out, []byte(c.name))
	}
	return append(out, '\n')
}

func (f copyFormat) field(out, value []byte) []byte {
	if f.csv {
		if string(value) != f.null && !bytes.ContainsAny(value, "\"\r\n"+string(f.delimiter)) {
			return append(out, value...)
		}
		return append(append(append(out, '"'), bytes.ReplaceAll(value, []byte(`"`), []byte(`""`))...), '"')
	}
	for _, c := range value {
		switch c {
		case '\\':
			out = append(out, `\\`...)
		case '\n':
			out = append(out, `\n`...)
		case '\r':
			out = append(out, `\r`...)
		case '\t':
			out = append(out, `\t`...)
		case f.delimiter:
			out = append(out, '\\', c)
		default:
			out = append(out, c)
		}
	}
	return out
}
