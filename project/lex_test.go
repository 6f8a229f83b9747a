package project

import (
	"strings"
	"testing"
)

func TestTokensLeaveOutComments(t *testing.T) {
	for sql, want := range map[string]string{
		"a, b":                            "a|,|b",
		"a -- b\nc":                       "a|c",
		"a /* b /* c */ d */ e":           "a|e",
		`'it''s' "a""b"`:                  `'it''s'|"a""b"`,
		`E'a\'b' e`:                       `E'a\'b'|e`,
		"$$a;b$$ $x$ $$ $x$ $1":           "$$a;b$$|$x$ $$ $x$|$|1",
		"DECIMAL(18,2) ünï_1":             "DECIMAL|(|18|,|2|)|ünï_1",
		"":                                "",
		"--":                              "",
		"-- 'not a string\n'a -- string'": "'a -- string'",
	} {
		tokens, open := lex(sql)
		var got []string
		for _, tok := range tokens {
			got = append(got, tok.text)
		}
		if open != nil || strings.Join(got, "|") != want {
			t.Errorf("%s: %s, %v", sql, strings.Join(got, "|"), open)
		}
	}
}

func TestTextWithoutAnEndHasItsPlace(t *testing.T) {
	for _, sql := range []string{"ü\n 'a", "ü\n \"a", "ü\n /* a /* */", "ü\n $$ a", "ü\n E'a\\'"} {
		if _, open := lex(sql); open == nil || *open != (place{2, 2}) {
			t.Errorf("%s: %v", sql, open)
		}
	}
}

func FuzzTokensTileTheText(f *testing.F) {
	for _, sql := range []string{"CREATE TABLE t (a INT);", "'", "$a$", "E'\\", "/*/", "\"\"\"", "\xff'"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		tokens, _ := lex(sql)
		at := 0
		for _, tok := range tokens {
			if tok.start < at || tok.end <= tok.start || sql[tok.start:tok.end] != tok.text {
				t.Fatalf("token %+v after %d", tok, at)
			}
			at = tok.end
		}
	})
}
