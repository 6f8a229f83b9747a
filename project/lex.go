package project

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A token is one word, quoted name, string, number or sign of SQL. DuckDB
// parses the statements; the tokens are there to give a problem its place, and
// to make sure that what DuckDB is handed is a CREATE TABLE and nothing more.
type token struct {
	kind       tokenKind
	text       string // as written
	start, end int    // bytes
	place
}

type tokenKind uint8

const (
	word   tokenKind = iota // unquoted: a keyword or a name
	quoted                  // "name"
	text                    // 'string', E'string', $$string$$
	number
	sign // one character
)

func (t token) isName() bool { return t.kind == word || t.kind == quoted }

// name gives the name without its quotes.
func (t token) name() string {
	if t.kind == quoted && len(t.text) >= 2 {
		return strings.ReplaceAll(t.text[1:len(t.text)-1], `""`, `"`)
	}
	return t.text
}

// is reports whether the token is the keyword or sign.
func (t token) is(s string) bool {
	return (t.kind == word || t.kind == sign) && strings.EqualFold(t.text, s)
}

// lex splits SQL into tokens without its comments. open is the place of a
// string, name or comment that does not end, and nil if there is none.
func lex(sql string) (tokens []token, open *place) {
	s := scanner{sql: sql, at: place{1, 1}}
	for s.pos < len(sql) {
		start, at := s.pos, s.at
		kind, ok, skip := s.next()
		if !ok {
			return tokens, &at
		}
		if !skip {
			tokens = append(tokens, token{kind, sql[start:s.pos], start, s.pos, at})
		}
	}
	return tokens, nil
}

type scanner struct {
	sql string
	pos int // bytes
	at  place
}

// advance moves over n bytes.
func (s *scanner) advance(n int) {
	for _, r := range s.sql[s.pos : s.pos+n] {
		if r == '\n' {
			s.at = place{s.at.line + 1, 1}
		} else {
			s.at.column++
		}
	}
	s.pos += n
}

// next moves over one token or one gap (skip); ok is false when it has no end.
func (s *scanner) next() (kind tokenKind, ok, skip bool) {
	rest := s.sql[s.pos:]
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case unicode.IsSpace(r):
		s.advance(size)
		return 0, true, true
	case strings.HasPrefix(rest, "--"):
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			end = len(rest)
		}
		s.advance(end)
		return 0, true, true
	case strings.HasPrefix(rest, "/*"):
		n, ok := blockComment(rest)
		s.advance(n)
		return 0, ok, true
	case r == '\'', r == '"':
		n, ok := quotedEnd(rest, 0, false)
		s.advance(n)
		if r == '"' {
			return quoted, ok, false
		}
		return text, ok, false
	case (r == 'e' || r == 'E') && strings.HasPrefix(rest[1:], "'"):
		n, ok := quotedEnd(rest, 1, true)
		s.advance(n)
		return text, ok, false
	case r == '$' && dollarTag(rest) != "":
		tag := dollarTag(rest)
		end := strings.Index(rest[len(tag):], tag)
		if end < 0 {
			s.advance(len(rest))
			return text, false, false
		}
		s.advance(end + 2*len(tag))
		return text, true, false
	case r == '_' || unicode.IsLetter(r):
		s.advance(wordEnd(rest))
		return word, true, false
	case r >= '0' && r <= '9':
		s.advance(wordEnd(rest))
		return number, true, false
	}
	s.advance(size)
	return sign, true, false
}

func wordEnd(s string) int {
	for i, r := range s {
		if r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return i
		}
	}
	return len(s)
}

// quotedEnd gives the length of the quoted text whose quote is at s[from]; a
// doubled quote stands for itself, and a backslash escapes if it may.
func quotedEnd(s string, from int, backslash bool) (n int, ok bool) {
	quote := s[from]
	for i := from + 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] != quote:
		case i+1 < len(s) && s[i+1] == quote:
			i++
		default:
			return i + 1, true
		}
	}
	return len(s), false
}

// blockComment gives the length of a comment, in which comments nest.
func blockComment(s string) (n int, ok bool) {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1, true
			}
		}
	}
	return len(s), false
}

// dollarTag gives the "$tag$" that s begins with, "" if it begins with none.
func dollarTag(s string) string {
	for i, r := range s[1:] {
		switch {
		case r == '$':
			return s[:i+2]
		case r == '_' || unicode.IsLetter(r) || i > 0 && unicode.IsDigit(r):
		default:
			return ""
		}
	}
	return ""
}
