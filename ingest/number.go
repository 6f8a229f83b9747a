package ingest

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unsafe"

	"github.com/tailwater/tailwater/event"
)

// A number is a JSON number as it was written: mant × 10^exp, negated by neg.
type number struct {
	mant uint64
	exp  int
	neg  bool
	long bool // more than 19 digits: mant and exp do not hold the value
}

// maxExp bounds the exponents that are told apart; beyond it every value is
// out of range, or too small to be exact.
const maxExp = 1 << 20

// parseNumber reads the number at p in the grammar of RFC 8259, section 6, and
// gives the position after it; -1 if there is no number.
func parseNumber(b []byte, p int) (n number, next int) {
	if p < len(b) && b[p] == '-' {
		n.neg = true
		p++
	}
	start := p
	for p < len(b) && b[p]-'0' <= 9 {
		n.mant = n.mant*10 + uint64(b[p]-'0')
		p++
	}
	digits := p - start
	if digits == 0 || digits > 1 && b[start] == '0' {
		return n, -1
	}
	if p < len(b) && b[p] == '.' {
		p++
		first := p
		for p < len(b) && b[p]-'0' <= 9 {
			n.mant = n.mant*10 + uint64(b[p]-'0')
			p++
		}
		if p == first {
			return n, -1
		}
		n.exp = first - p
		digits += p - first
	}
	n.long = digits > 19 // 10^19 - 1 < 2^64
	if p < len(b) && b[p]|0x20 == 'e' {
		var e int
		if e, p = parseExponent(b, p+1); p < 0 {
			return n, -1
		}
		n.exp += e
	}
	return n, p
}

// parseExponent reads the exponent whose sign or first digit is at p.
func parseExponent(b []byte, p int) (e, next int) {
	neg := false
	if p < len(b) && (b[p] == '+' || b[p] == '-') {
		neg = b[p] == '-'
		p++
	}
	first := p
	for p < len(b) && b[p]-'0' <= 9 {
		if e < maxExp {
			e = e*10 + int(b[p]-'0')
		}
		p++
	}
	if p == first {
		return 0, -1
	}
	if neg {
		e = -e
	}
	return e, p
}

var pow10int = func() (t [20]uint64) {
	for i := range t {
		t[i] = 1
		for range i {
			t[i] *= 10
		}
	}
	return t
}()

// The powers of ten that a double holds exactly.
var pow10float = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// double converts n, written as token, to the nearest float64.
//
// A mantissa below 2^53 and a power of ten up to 10^22 are both exact, so one
// multiplication or division rounds once, correctly (Clinger 1990); the rest
// is left to strconv.
func (n number) double(token []byte) (float64, string) {
	if n.long || n.mant >= 1<<53 || n.exp < -22 || n.exp > 22 {
		return parseFloat(token, 64)
	}
	f := float64(n.mant)
	if n.exp < 0 {
		f /= pow10float[-n.exp]
	} else {
		f *= pow10float[n.exp]
	}
	if n.neg {
		f = -f
	}
	return f, ""
}

// parseFloat rounds token once to the width of bits.
func parseFloat(token []byte, bits int) (float64, string) {
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(token), len(token)), bits)
	if err != nil {
		return 0, "out of range"
	}
	return f, ""
}

// scaled converts n, written as token, to the integer n × 10^scale. It is
// refused if that is not an integer, or beyond 64 bits.
func (n number) scaled(token []byte, scale int) (int64, string) {
	v, shift := n.mant, n.exp+scale
	if n.long || shift > 19 {
		return scaledSlow(token, scale)
	}
	for ; shift < 0 && v != 0; shift++ {
		if v%10 != 0 {
			return 0, whyFraction(scale)
		}
		v /= 10
	}
	if v == 0 {
		return 0, ""
	}
	if shift > 0 {
		if v > math.MaxInt64/pow10int[shift] {
			return 0, "out of range"
		}
		v *= pow10int[shift]
	}
	if n.neg {
		if v > 1<<63 {
			return 0, "out of range"
		}
		return -int64(v), ""
	}
	if v > math.MaxInt64 {
		return 0, "out of range"
	}
	return int64(v), ""
}

func scaledSlow(token []byte, scale int) (int64, string) {
	v, why := scaledBig(token, scale)
	if why == "" && !v.IsInt64() {
		why = "out of range"
	}
	if why != "" {
		return 0, why
	}
	return v.Int64(), ""
}

func whyFraction(scale int) string {
	if scale == 0 {
		return "not a whole number"
	}
	return fmt.Sprintf("more than %d fractional digits", scale)
}

// scaledBig is scaled for any number of digits. Zeros at both ends of the
// digits are dropped first, so its work is bounded by the token's length
// whatever the exponent says.
func scaledBig(token []byte, scale int) (*big.Int, string) {
	digits := make([]byte, 0, len(token))
	exp, point, neg := 0, false, false
scan:
	for i, c := range token {
		switch {
		case c == '-':
			neg = true
		case c == '.':
			point = true
		case c|0x20 == 'e':
			e, _ := parseExponent(token, i+1)
			exp += e
			break scan
		default:
			if point {
				exp--
			}
			if c != '0' || len(digits) > 0 {
				digits = append(digits, c)
			}
		}
	}
	for len(digits) > 0 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
		exp++
	}
	shift := exp + scale
	switch {
	case len(digits) == 0:
		return new(big.Int), ""
	case shift < 0:
		return nil, whyFraction(scale)
	case len(digits)+shift > 39: // 10^39 > 2^127
		return nil, "out of range"
	}
	v, _ := new(big.Int).SetString(string(digits), 10)
	v.Mul(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(shift)), nil))
	if neg {
		v.Neg(v)
	}
	return v, ""
}

// appendNumber appends n, written as token, to a numeric column, or gives the
// reason why the column cannot hold it.
func (c *column) appendNumber(n number, token []byte) string {
	switch c.Kind {
	case event.Double:
		f, why := n.double(token)
		if why == "" {
			c.words = append(c.words, int64(math.Float64bits(f)))
		}
		return why
	case event.Float:
		f, why := parseFloat(token, 32)
		if why == "" {
			c.halves = append(c.halves, int32(math.Float32bits(float32(f))))
		}
		return why
	case event.Decimal:
		return c.appendDecimal(n, token)
	}
	v, why := n.scaled(token, 0)
	if why != "" {
		return why
	}
	if c.Kind == event.BigInt {
		c.words = append(c.words, v)
		return ""
	}
	bits := 32
	switch c.Kind {
	case event.TinyInt:
		bits = 8
	case event.SmallInt:
		bits = 16
	}
	if v>>(bits-1) != v>>63 {
		return "out of range"
	}
	c.halves = append(c.halves, int32(v))
	return ""
}

func (c *column) appendDecimal(n number, token []byte) string {
	if !c.Wide() {
		v, why := n.scaled(token, int(c.Scale))
		if why != "" {
			return why
		}
		if limit := int64(pow10int[c.Precision]); v >= limit || v <= -limit {
			return "out of range"
		}
		c.words = append(c.words, v)
		return ""
	}
	v, why := scaledBig(token, int(c.Scale))
	if why != "" {
		return why
	}
	// Below 10^38 the two's complement fits 128 bits.
	if v.CmpAbs(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(c.Precision)), nil)) >= 0 {
		return "out of range"
	}
	low := new(big.Int).And(v, new(big.Int).SetUint64(math.MaxUint64))
	high := new(big.Int).Rsh(v, 64) // rounds down, so the sign is kept
	c.words = append(c.words, int64(low.Uint64()), high.Int64())
	return ""
}
