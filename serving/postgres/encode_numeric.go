package postgres

import (
	"encoding/binary"
	"math/big"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// numeric64 writes decimals that fit into 64 bits.
func numeric64(bin bool, scale int, values []int64) encoder {
	return sized(func(dst []byte, row int) []byte {
		v := values[row]
		negative := v < 0
		magnitude := uint64(v)
		if negative {
			magnitude = -magnitude
		}
		var digits [20]byte
		return appendNumeric(dst, bin, scale, negative, strconv.AppendUint(digits[:0], magnitude, 10))
	})
}

// numeric128 writes wider decimals, and HUGEINT.
func numeric128(bin bool, scale int, value func(row int) decimal128.Num) encoder {
	return sized(func(dst []byte, row int) []byte {
		v := value(row)
		if v.FitsInPrecision(18) {
			n := int64(v.LowBits())
			negative := n < 0
			if negative {
				n = -n
			}
			var digits [20]byte
			return appendNumeric(dst, bin, scale, negative, strconv.AppendInt(digits[:0], n, 10))
		}
		b := v.BigInt()
		return appendNumeric(dst, bin, scale, b.Sign() < 0, new(big.Int).Abs(b).Append(nil, 10))
	})
}

// appendNumeric writes a number of decimal digits, of which the last scale stand
// behind the point.
func appendNumeric(dst []byte, bin bool, scale int, negative bool, digits []byte) []byte {
	if bin {
		return appendBinaryNumeric(dst, scale, negative, digits)
	}
	if negative {
		dst = append(dst, '-')
	}
	whole := len(digits) - scale
	if whole <= 0 {
		dst = append(dst, '0')
	} else {
		dst = append(dst, digits[:whole]...)
	}
	if scale == 0 {
		return dst
	}
	dst = append(dst, '.')
	for ; whole < 0; whole++ {
		dst = append(dst, '0')
	}
	return append(dst, digits[whole:]...)
}

// appendBinaryNumeric writes groups of four digits, the first of weight
// 10000^weight. Groups of zeros at either end are left out.
func appendBinaryNumeric(dst []byte, scale int, negative bool, digits []byte) []byte {
	// Pad both ends so that the point stands between groups.
	whole := len(digits) - scale
	var groups [16]uint16
	n, weight := 0, 0
	digit := func(i int) uint16 { // i counts from the point: -1 is the last whole digit
		at := whole + i
		if at < 0 || at >= len(digits) {
			return 0
		}
		return uint16(digits[at] - '0')
	}
	first := -(max(whole, 0) + 3) / 4
	last := (scale + 3) / 4 // exclusive
	for g := first; g < last; g++ {
		v := digit(4*g)*1000 + digit(4*g+1)*100 + digit(4*g+2)*10 + digit(4*g+3)
		if n == 0 && v == 0 {
			continue
		}
		if n == 0 {
			weight = -g - 1
		}
		groups[n] = v
		n++
	}
	for n > 0 && groups[n-1] == 0 {
		n--
	}
	sign := uint16(0)
	if negative && n > 0 {
		sign = 0x4000
	}
	put := binary.BigEndian.AppendUint16
	dst = put(put(put(put(dst, uint16(n)), uint16(int16(weight))), sign), uint16(scale))
	for _, g := range groups[:n] {
		dst = put(dst, g)
	}
	return dst
}
