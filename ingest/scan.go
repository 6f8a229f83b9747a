package ingest

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is the deepest nesting that skipValue can follow: its stack of
// "is it an object" is one bit a level.
const maxDepth = 64

// skipSpace gives the first position at or after p that is no JSON white space.
func skipSpace(b []byte, p int) int {
	for p < len(b) && (b[p] == ' ' || b[p] == '\t' || b[p] == '\n' || b[p] == '\r') {
		p++
	}
	return p
}

// scanPlain gives the first position at or after p of a quote, a backslash or
// a control character: where the plain text of a JSON string ends. It gives
// len(b) if there is none.
//
// It looks at eight bytes at a time. In x-0x01… &^ x & 0x80… a byte's high bit
// is set if the byte was zero (or, by a borrow, if a lower byte was), so the
// lowest bit set is exact; the same holds of "less than 0x20" with 0x20….
// (Hacker's Delight, 6-1.)
func scanPlain(b []byte, p int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for p+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[p:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		hit := ((x-ones*0x20)&^x | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if hit != 0 {
			return p + bits.TrailingZeros64(hit)>>3
		}
		p += 8
	}
	for p < len(b) && b[p] != '"' && b[p] != '\\' && b[p] >= 0x20 {
		p++
	}
	return p
}

// The reasons for which a string is refused.
const (
	whyUnterminated = "the text has no closing quote"
	whyControl      = "the text has a control character that is not escaped; write it as \\n, \\t or \\u00XX"
	whyEscape       = "the text has an escape that JSON does not know"
	whySurrogate    = "the text has half of a surrogate pair, which is no character"
	whyNUL          = "the text has a NUL character (\\u0000), which columns cannot hold"
)

// unescape appends the string whose first byte after the opening quote is at p
// to dst, and gives the position after the closing quote, or the reason why
// the string is refused.
func unescape(dst, b []byte, p int) (out []byte, next int, why string) {
	for {
		q := scanPlain(b, p)
		dst = append(dst, b[p:q]...)
		switch {
		case q == len(b):
			return dst, q, whyUnterminated
		case b[q] == '"':
			return dst, q + 1, ""
		case b[q] != '\\':
			return dst, q, whyControl
		}
		if q+1 == len(b) {
			return dst, q, whyUnterminated
		}
		if b[q+1] == 'u' {
			r, next, why := unescapeRune(b, q)
			if why != "" {
				return dst, q, why
			}
			dst = utf8.AppendRune(dst, r)
			p = next
			continue
		}
		c, ok := unescapeByte(b[q+1])
		if !ok {
			return dst, q, whyEscape
		}
		dst = append(dst, c)
		p = q + 2
	}
}

func unescapeByte(c byte) (byte, bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'n':
		return '\n', true
	case 't':
		return '\t', true
	case 'r':
		return '\r', true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	}
	return 0, false
}

// unescapeRune reads the \uXXXX at p, or the pair of them that makes up one
// character beyond the basic plane (RFC 8259, section 7).
func unescapeRune(b []byte, p int) (r rune, next int, why string) {
	r = hex4(b, p)
	switch {
	case r < 0:
		return 0, p, whyEscape
	case r == 0:
		return 0, p, whyNUL
	case r < 0xD800 || r > 0xDFFF:
		return r, p + 6, ""
	case r > 0xDBFF:
		return 0, p, whySurrogate
	}
	low := hex4(b, p+6)
	if low < 0xDC00 || low > 0xDFFF {
		return 0, p, whySurrogate
	}
	return 0x10000 + (r-0xD800)<<10 + (low - 0xDC00), p + 12, ""
}

// hex4 reads \uXXXX at p; -1 if it is not there.
func hex4(b []byte, p int) rune {
	if p+6 > len(b) || b[p] != '\\' || b[p+1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[p+2 : p+6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// skipString gives the position after the string that opens at p.
func skipString(b []byte, p int) (next int, why string) {
	for p++; ; {
		p = scanPlain(b, p)
		switch {
		case p+1 >= len(b) && (p == len(b) || b[p] != '"'):
			return p, whyUnterminated
		case b[p] == '"':
			return p + 1, ""
		case b[p] != '\\':
			return p, whyControl
		case b[p+1] == 'u':
			_, next, why := unescapeRune(b, p)
			if why != "" {
				return p, why
			}
			p = next
		default:
			if _, ok := unescapeByte(b[p+1]); !ok {
				return p, whyEscape
			}
			p += 2
		}
	}
}

// skipValue gives the position after the JSON value at p, or the reason why it
// is none. depth is how many levels it may nest. Strings that DuckDB's JSON
// functions could not read later are refused here as in text columns.
func skipValue(b []byte, p, depth int) (next int, why string) {
	var objects uint64 // bit i: level i is an object
	level := 0
	for {
		// A value begins here.
		p = skipSpace(b, p)
		if p == len(b) {
			return p, "the value is cut off"
		}
		switch c := b[p]; {
		case c == '{' || c == '[':
			if level == depth {
				return p, "nested too deep"
			}
			objects &^= 1 << level
			if c == '{' {
				objects |= 1 << level
			}
			level++
			p = skipSpace(b, p+1)
			if p < len(b) && b[p] == c+2 { // '{'+2 is '}', '['+2 is ']'
				level--
				p++
				break
			}
			if c == '[' {
				continue
			}
			if p, why = skipKey(b, p); why != "" {
				return p, why
			}
			continue
		case c == '"':
			p, why = skipString(b, p)
		default:
			p, why = skipScalar(b, p)
		}
		if why != "" {
			return p, why
		}
		// A value ended here: close levels until another one begins.
		for {
			if level == 0 {
				return p, ""
			}
			inObject := objects>>(level-1)&1 == 1
			p = skipSpace(b, p)
			if p == len(b) {
				return p, "the value is cut off"
			}
			if b[p] == ',' {
				p++
				if inObject {
					if p, why = skipKey(b, p); why != "" {
						return p, why
					}
				}
				break
			}
			if inObject && b[p] != '}' || !inObject && b[p] != ']' {
				return p, "not JSON: a comma or a closing bracket is missing"
			}
			level--
			p++
		}
	}
}

// skipKey gives the position after the key at p and its colon.
func skipKey(b []byte, p int) (next int, why string) {
	p = skipSpace(b, p)
	if p == len(b) || b[p] != '"' {
		return p, "not JSON: a quoted key is missing"
	}
	if p, why = skipString(b, p); why != "" {
		return p, why
	}
	p = skipSpace(b, p)
	if p == len(b) || b[p] != ':' {
		return p, "not JSON: the colon after a key is missing"
	}
	return p + 1, ""
}

// skipScalar gives the position after the number, true, false or null at p.
func skipScalar(b []byte, p int) (next int, why string) {
	for _, word := range [...]string{"true", "false", "null"} {
		if hasWord(b, p, word) {
			return p + len(word), ""
		}
	}
	if _, next := parseNumber(b, p); next >= 0 {
		return next, ""
	}
	return p, "not JSON: " + describe(b, p)
}

func hasWord(b []byte, p int, word string) bool {
	return len(b)-p >= len(word) && string(b[p:p+len(word)]) == word
}

// closing gives the position after the bracket that closes the one at p, by
// brackets and strings alone; -1 if there is none.
func closing(b []byte, p int) int {
	level, quoted := 0, false
	for ; p < len(b); p++ {
		switch c := b[p]; {
		case quoted && c == '\\':
			p++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
		case c == '}' || c == ']':
			if level--; level == 0 {
				return p + 1
			}
		}
	}
	return -1
}

// skipBroken finds the end of an array's element by its brackets and strings
// alone, so that one bad element does not cost the others. It gives the
// position of the comma or bracket after the element at p; -1 if there is none.
func skipBroken(b []byte, p int) int {
	for p < len(b) && b[p] != ',' && b[p] != ']' {
		switch b[p] {
		case '{', '[':
			if p = closing(b, p); p < 0 {
				return -1
			}
		case '}':
			return -1
		case '"':
			for p++; p < len(b) && b[p] != '"'; p++ {
				if b[p] == '\\' {
					p++
				}
			}
			p++
		default:
			p++
		}
	}
	if p >= len(b) {
		return -1
	}
	return p
}
