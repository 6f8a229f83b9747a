package postgres

import (
	"strings"
	"unicode/utf8"
)

// A tokenKind tells tokens apart as far as splitting and rewriting need it.
type tokenKind uint8

const (
	tokenSpace     tokenKind = iota // white space and comments
	tokenWord                       // an unquoted name or keyword
	tokenQuoted                     // "a name"
	tokenString                     // 'text', E'text', $tag$text$tag$
	tokenNumber                     // 12, 1.5e3
	tokenParameter                  // $1
	tokenSymbol                     // one character of anything else, and ::
)

// A token is a piece of a statement; the texts of all tokens joined are the
// statement.
type token struct {
	kind tokenKind
	text string
	at   int // byte offset in what was lexed
}

// is reports whether the token is the unquoted word, which is given in lower case,
// or the symbol.
func (t token) is(word string) bool {
	switch t.kind {
	case tokenWord:
		return strings.EqualFold(t.text, word)
	case tokenSymbol:
		return t.text == word
	}
	return false
}

// name gives what a name token names: unquoted ones in lower case.
func (t token) name() string {
	switch t.kind {
	case tokenWord:
		return strings.ToLower(t.text)
	case tokenQuoted:
		return strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(t.text, `"`), `"`), `""`, `"`)
	}
	return ""
}

// value gives what a literal stands for: the text of a string, or the token as
// it is written.
func (t token) value() string {
	if t.kind != tokenString {
		return t.text
	}
	switch {
	case strings.HasPrefix(t.text, "'"):
		return strings.ReplaceAll(strings.TrimSuffix(t.text[1:], "'"), "''", "'")
	case strings.HasPrefix(t.text, "$"):
		tag := t.text[:strings.IndexByte(t.text[1:], '$')+2]
		return strings.TrimSuffix(strings.TrimPrefix(t.text, tag), tag)
	}
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `''`, `'`, `\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(strings.TrimSuffix(t.text[2:], "'"))
}

// lex takes a statement apart by Postgres' rules for strings, names and comments.
// What is not closed runs to the end: the parser objects to it.
func lex(sql string) []token {
	var tokens []token
	for at := 0; at < len(sql); {
		kind, n := next(sql[at:])
		tokens = append(tokens, token{kind, sql[at : at+n], at})
		at += n
	}
	return tokens
}

func next(s string) (tokenKind, int) {
	c := s[0]
	switch {
	case isSpace(c):
		n := 1
		for n < len(s) && isSpace(s[n]) {
			n++
		}
		return tokenSpace, n
	case strings.HasPrefix(s, "--"):
		return tokenSpace, until(s, "\n", 2)
	case strings.HasPrefix(s, "/*"):
		return tokenSpace, comment(s)
	case c == '\'':
		return tokenString, quoted(s, 0, '\'', false)
	case c == '"':
		return tokenQuoted, quoted(s, 0, '"', false)
	case (c == 'e' || c == 'E') && len(s) > 1 && s[1] == '\'':
		return tokenString, quoted(s, 1, '\'', true)
	case c == '$':
		return dollar(s)
	case isDigit(c) || c == '.' && len(s) > 1 && isDigit(s[1]):
		return tokenNumber, number(s)
	case isNameStart(c):
		n := 1
		for n < len(s) && (isNameStart(s[n]) || isDigit(s[n]) || s[n] == '$') {
			n++
		}
		return tokenWord, n
	case strings.HasPrefix(s, "::"):
		return tokenSymbol, 2
	}
	_, n := utf8.DecodeRuneInString(s)
	return tokenSymbol, n
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// until gives the length through the first end at or after from.
func until(s, end string, from int) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// comment gives the length of a block comment, which nests.
func comment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// quoted gives the length of a quoted token whose quote stands at from.
func quoted(s string, from int, quote byte, escapes bool) int {
	for i := from + 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// dollar takes $1, $tag$text$tag$, or a lone $.
func dollar(s string) (tokenKind, int) {
	n := 1
	if len(s) > 1 && isDigit(s[1]) {
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		return tokenParameter, n
	}
	for n < len(s) && (isNameStart(s[n]) || isDigit(s[n])) {
		n++
	}
	if n < len(s) && s[n] == '$' {
		return tokenString, until(s, s[:n+1], n+1)
	}
	return tokenSymbol, 1
}

func number(s string) int {
	n := 0
	for n < len(s) && (isDigit(s[n]) || s[n] == '.' || s[n] == '_') {
		n++
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		m := n + 1
		if m < len(s) && (s[m] == '+' || s[m] == '-') {
			m++
		}
		if m < len(s) && isDigit(s[m]) {
			for n = m; n < len(s) && isDigit(s[n]); {
				n++
			}
		}
	}
	return n
}

// split takes a text of the simple protocol apart at its semicolons. Statements
// without a word are left out.
func split(sql string) []piece {
	var out []piece
	var words []token
	start := 0
	end := func(at int) {
		if len(words) > 0 {
			out = append(out, piece{sql: sql[start:at], offset: start, words: words})
		}
		words = nil
	}
	for _, t := range lex(sql) {
		switch {
		case t.kind == tokenSymbol && t.text == ";":
			end(t.at)
			start = t.at + 1
		case t.kind != tokenSpace:
			t.at -= start
			words = append(words, t)
		}
	}
	end(len(sql))
	return out
}

// A piece is one statement of a text.
type piece struct {
	sql    string
	offset int     // in bytes, in the text
	words  []token // without spaces; offsets are those in sql
}

// word gives a token, or an empty one beyond the end.
func (p piece) word(i int) token {
	if i < 0 || i >= len(p.words) {
		return token{}
	}
	return p.words[i]
}

// starts reports whether the statement begins with the words, which are given in
// lower case.
func (p piece) starts(words ...string) bool {
	for i, w := range words {
		if !p.word(i).is(w) {
			return false
		}
	}
	return true
}

// rest gives the statement's text from a token on.
func (p piece) rest(i int) string {
	if i >= len(p.words) {
		return ""
	}
	return p.sql[p.words[i].at:]
}
