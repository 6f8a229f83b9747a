package ingest

// This file reads ISO 8601; strptime.go reads every other format. Times are
// µs since 1970 in UTC. A time without an offset is taken to be UTC.

const (
	secondMicros = 1_000_000
	dayMicros    = 86_400 * secondMicros
)

// A civil time as it was written.
type civil struct {
	year, month, day             int
	hour, minute, second, micros int
	offset                       int // seconds east of UTC
}

const whyNoSuchTime = "no such date or time, or outside the years 1 to 9999"

// instant gives the moment in µs since 1970; false if there is none, or if it
// is outside the years 1 to 9999 in UTC.
func (c civil) instant() (int64, bool) {
	if c.year < 1 || c.year > 9999 || c.month < 1 || c.month > 12 || c.day < 1 || c.day > daysIn(c.year, c.month) ||
		c.hour > 23 || c.minute > 59 || c.second > 59 {
		return 0, false
	}
	s := int64(daysFromCivil(c.year, c.month, c.day))*86_400 + int64(c.hour*3600+c.minute*60+c.second-c.offset)
	us := s*secondMicros + int64(c.micros)
	return us, inYears(us)
}

// inYears reports whether a moment lies in the years 1 to 9999.
func inYears(us int64) bool {
	const first, last = -719_162 * dayMicros, 2_932_897*dayMicros - 1
	return first <= us && us <= last
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysFromCivil counts the days since 1970-01-01 in the proleptic Gregorian
// calendar, for years from 1 (Howard Hinnant, chrono-Compatible Low-Level
// Date Algorithms: years begin in March, eras have 400 of them).
func daysFromCivil(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yearOfEra := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return era*146_097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719_468
}

// digits2 reads two digits at p; a value over 99 if they are not there.
func digits2(b []byte, p int) int {
	if p+2 > len(b) {
		return 1000
	}
	hi, lo := b[p]-'0', b[p+1]-'0'
	if hi > 9 || lo > 9 {
		return 1000
	}
	return int(hi)*10 + int(lo)
}

const whyISO = "not an ISO 8601 time such as 2026-11-20T09:30:00.25Z; another form needs a format on the stream's column"

// parseISO reads a date, or a date and a time: T or a space between them,
// seconds and a fraction optional, digits beyond µs cut off, then Z, an offset
// (+hh:mm, +hhmm, +hh) or nothing. dateOnly says that there was no time.
func parseISO(b []byte) (us int64, dateOnly bool, why string) {
	century, year := digits2(b, 0), digits2(b, 2)
	month, day := digits2(b, 5), digits2(b, 8)
	if century|year|month|day > 127 || b[4] != '-' || b[7] != '-' {
		return 0, false, whyISO
	}
	c := civil{year: century*100 + year, month: month, day: day}
	if len(b) == 10 {
		us, ok := c.instant()
		if !ok {
			return 0, true, whyNoSuchTime
		}
		return us, true, ""
	}
	if b[10] != 'T' && b[10] != ' ' && b[10] != 't' {
		return 0, false, whyISO
	}
	c.hour, c.minute = digits2(b, 11), digits2(b, 14)
	if c.hour|c.minute > 127 || b[13] != ':' {
		return 0, false, whyISO
	}
	p := 16
	if p < len(b) && b[p] == ':' {
		if c.second = digits2(b, 17); c.second > 127 {
			return 0, false, whyISO
		}
		p = 19
		if p < len(b) && b[p] == '.' {
			if c.micros, p = fraction(b, p+1); p < 0 {
				return 0, false, whyISO
			}
		}
	}
	if c.offset, p = zone(b, p); p != len(b) {
		return 0, false, whyISO
	}
	us, ok := c.instant()
	if !ok {
		return 0, false, whyNoSuchTime
	}
	return us, false, ""
}

// fraction reads the digits of a decimal fraction at p as µs, cutting off the
// rest; next is -1 if there are none.
func fraction(b []byte, p int) (micros, next int) {
	first := p
	for unit := 100_000; p < len(b) && b[p]-'0' <= 9; p++ {
		micros += int(b[p]-'0') * unit
		unit /= 10
	}
	if p == first {
		return 0, -1
	}
	return micros, p
}

// zone reads Z or an offset of at most 23:59 at p, in seconds east of UTC; at
// the end of the text it is UTC. next is -1 if something else is there.
func zone(b []byte, p int) (seconds, next int) {
	if p >= len(b) {
		return 0, p
	}
	sign := 1
	switch b[p] {
	case 'Z', 'z':
		return 0, p + 1
	case '-':
		sign = -1
	case '+':
	default:
		return 0, -1
	}
	hours, minutes := digits2(b, p+1), 0
	p += 3
	if p < len(b) && b[p] == ':' {
		minutes = digits2(b, p+1)
		p += 3
	} else if m := digits2(b, p); m <= 99 {
		minutes = m
		p += 2
	}
	if hours > 23 || minutes > 59 {
		return 0, -1
	}
	return sign * (hours*3600 + minutes*60), p
}
