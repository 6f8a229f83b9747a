package postgres

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// Postgres counts from 2000; its dates and timestamps begin with the Julian day
// 0, and end in these years.
const (
	daysTo2000     = 10_957
	microsTo2000   = daysTo2000 * 86_400_000_000
	firstDay       = -2_440_588 // 4714-11-24 BC, in days from 1970
	lastDateYear   = 5_874_897
	lastStampYear  = 294_276
	microsInSecond = 1_000_000
)

// The engine's infinities.
const (
	maxDate  = math.MaxInt32
	maxStamp = math.MaxInt64
)

// date writes dates. The engine has some that Postgres has not.
func (e *rowEncoder) date(bin bool, value func(row int) arrow.Date32) encoder {
	return sized(func(dst []byte, row int) []byte {
		v := int32(value(row))
		infinite := v == maxDate || v == -maxDate
		if !infinite && (v < firstDay || yearOf(int64(v)) > lastDateYear) {
			e.fail("date out of range for Postgres: day %d from 1970", v)
			return dst
		}
		if bin {
			switch v {
			case maxDate:
			case -maxDate:
				v = math.MinInt32
			default:
				v -= daysTo2000
			}
			return binary.BigEndian.AppendUint32(dst, uint32(v))
		}
		switch v {
		case maxDate:
			return append(dst, "infinity"...)
		case -maxDate:
			return append(dst, "-infinity"...)
		}
		year, month, day := time.Unix(int64(v)*86_400, 0).UTC().Date()
		dst, bc := appendDate(dst, year, int(month), day)
		return append(dst, bc...)
	})
}

// timestamp writes timestamps without a zone.
func (e *rowEncoder) timestamp(bin bool, value func(row int) arrow.Timestamp) encoder {
	return sized(func(dst []byte, row int) []byte {
		v := int64(value(row))
		infinite := v == maxStamp || v == -maxStamp
		if !infinite {
			day := v / 86_400_000_000
			if day <= firstDay || yearOf(day) > lastStampYear {
				e.fail("timestamp out of range for Postgres: %d µs from 1970", v)
				return dst
			}
		}
		if bin {
			switch v {
			case maxStamp:
			case -maxStamp:
				v = math.MinInt64
			default:
				v -= microsTo2000
			}
			return binary.BigEndian.AppendUint64(dst, uint64(v))
		}
		switch v {
		case maxStamp:
			return append(dst, "infinity"...)
		case -maxStamp:
			return append(dst, "-infinity"...)
		}
		t := time.UnixMicro(v).UTC()
		year, month, day := t.Date()
		dst, bc := appendDate(dst, year, int(month), day)
		hour, minute, second := t.Clock()
		dst = two(append(two(append(two(append(dst, ' '), hour), ':'), minute), ':'), second)
		if micros := t.Nanosecond() / 1000; micros > 0 {
			dst = append(dst, '.')
			for unit := microsInSecond / 10; micros > 0; unit /= 10 {
				dst = append(dst, byte('0'+micros/unit))
				micros %= unit
			}
		}
		return append(dst, bc...)
	})
}

// yearOf gives about the year of a day.
func yearOf(day int64) int64 { return int64(time.Unix(day*86_400, 0).UTC().Year()) }

// appendDate writes a date; bc follows whatever is written behind it.
func appendDate(dst []byte, year, month, day int) (_ []byte, bc string) {
	if year <= 0 {
		year, bc = 1-year, " BC"
	}
	if year >= 10_000 {
		dst = appendInt(dst, year)
	} else {
		dst = two(two(dst, year/100), year%100)
	}
	return two(append(two(append(dst, '-'), month), '-'), day), bc
}

func two(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }

func appendInt(dst []byte, n int) []byte {
	if n >= 10 {
		dst = appendInt(dst, n/10)
	}
	return append(dst, byte('0'+n%10))
}
