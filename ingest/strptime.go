package ingest

import (
	"fmt"
	"strings"
)

// A TimeFormat is a compiled strptime format. It is immutable.
type TimeFormat struct {
	text  string
	steps []timeStep
	// epoch: the format counts from 1970 (%s, %Q), so that a JSON number fits it too.
	epoch bool
}

// A timeStep is one directive, or (directive 0) the literal text between two.
type timeStep struct {
	directive byte
	literal   string
}

// knownDirectives says what CompileTimeFormat takes, for its error.
const knownDirectives = "%Y %y %m %b %B %d %j %a %A %H %I %p %M %S %f %z %F %T %s (epoch seconds) %Q (epoch milliseconds) %%"

// CompileTimeFormat compiles a strptime format. The directives have their C and
// Python meanings: %f takes any number of digits as a fraction of a second
// and keeps µs; %z takes Z, ±hh, ±hhmm and ±hh:mm; %y is 1969 to 2068; %a and
// %A must name some weekday and are otherwise ignored; names are English, in any
// case. %s and %Q count seconds and milliseconds since 1970. Numbers may
// lack their leading zeros (so %-d is %d), but %Y has four digits. A text must
// match to its end.
//
// A format must say which day it is, and say nothing twice; a directive that is
// not known is an error here, never at the first event.
func CompileTimeFormat(format string) (*TimeFormat, error) {
	fail := func(why string) (*TimeFormat, error) {
		return nil, fmt.Errorf("time format %q: %s", format, why)
	}
	expanded := strings.NewReplacer("%%", "%%", "%F", "%Y-%m-%d", "%T", "%H:%M:%S", "%-", "%").Replace(format)
	f := &TimeFormat{text: format}
	has := map[byte]bool{}
	for rest := expanded; rest != ""; {
		if rest[0] != '%' || strings.HasPrefix(rest, "%%") {
			f.literal(rest[:1])
			rest = rest[1+strings.Count(rest[:1], "%"):]
			continue
		}
		if len(rest) == 1 {
			return fail("ends in a lone %; write %% for a percent sign")
		}
		d := rest[1]
		if !strings.ContainsRune("YymbBdjaAHIpMSfzsQ", rune(d)) {
			return fail(fmt.Sprintf("directive %%%c is not known; use %s", d, knownDirectives))
		}
		part := map[byte]byte{'y': 'Y', 'b': 'm', 'B': 'm', 'A': 'a', 'I': 'H', 'Q': 's'}[d]
		if part == 0 {
			part = d
		}
		if has[part] {
			return fail(fmt.Sprintf("says the same thing twice at %%%c", d))
		}
		has[part], has[d] = true, true
		f.steps = append(f.steps, timeStep{directive: d})
		rest = rest[2:]
	}
	f.epoch = has['s']
	day := has['Y'] && (has['m'] && has['d'] && !has['j'] || has['j'] && !has['m'] && !has['d'])
	switch {
	case f.epoch && (has['Y'] || has['m'] || has['d'] || has['j'] || has['H'] || has['M'] || has['S'] || has['z'] || has['p']):
		return fail("mixes a count since 1970 with parts of a date")
	case !f.epoch && !day:
		return fail("does not say which day it is; it needs %Y (or %y) with %m (or %b) and %d, or with %j, or else %s or %Q alone")
	case has['I'] != has['p']:
		return fail("%I (hours to 12) and %p (AM or PM) go together")
	case has['f'] && !has['S'] && !has['s']:
		return fail("%f is a fraction of a second; it needs %S or %s")
	case has['Q'] && has['f']:
		return fail("%Q has no fraction")
	}
	return f, nil
}

// literal adds text that must be there as it is.
func (f *TimeFormat) literal(text string) {
	if n := len(f.steps); n > 0 && f.steps[n-1].directive == 0 {
		f.steps[n-1].literal += text
		return
	}
	f.steps = append(f.steps, timeStep{literal: text})
}

// String gives the format as it was written.
func (f *TimeFormat) String() string { return f.text }

// A timeParts is what the steps of a format fill in.
type timeParts struct {
	civil
	yearDay int // from 1; 0 if not given
	hour12  bool
	pm      bool
	epoch   int64 // µs from 1970, without the sign
	before  bool  // a minus before epoch
}

// Parse reads text, in µs since 1970, UTC. why is empty, or says why it does not fit.
func (f *TimeFormat) Parse(text []byte) (us int64, why string) {
	t := timeParts{civil: civil{month: 1, day: 1}}
	p := 0
	for i := range f.steps {
		if p = t.step(&f.steps[i], text, p); p < 0 {
			return 0, "not a time of the format " + f.text
		}
	}
	if p != len(text) {
		return 0, "not a time of the format " + f.text
	}
	us, ok := t.resolve(f.epoch)
	if !ok {
		return 0, whyNoSuchTime
	}
	return us, ""
}

func (t *timeParts) resolve(epoch bool) (int64, bool) {
	if epoch {
		us := t.epoch + int64(t.micros)
		if t.before { // the fraction leads away from 1970 too
			us = -us
		}
		return us, inYears(us)
	}
	if t.hour12 {
		if t.hour < 1 || t.hour > 12 {
			return 0, false
		}
		t.hour %= 12
		if t.pm {
			t.hour += 12
		}
	}
	us, ok := t.instant()
	if !ok || t.yearDay == 0 {
		return us, ok
	}
	if leap := daysIn(t.year, 2) - 28; t.yearDay > 365+leap {
		return 0, false
	}
	us += int64(t.yearDay-1) * dayMicros
	return us, inYears(us)
}

// step reads one step of a format at p and gives the position after it; -1 if
// the text does not fit.
func (t *timeParts) step(s *timeStep, b []byte, p int) int {
	if s.directive == 0 {
		if !hasWord(b, p, s.literal) {
			return -1
		}
		return p + len(s.literal)
	}
	var v int
	switch s.directive {
	case 'Y':
		hi, lo := digits2(b, p), digits2(b, p+2)
		if hi|lo > 127 {
			return -1
		}
		t.year = hi*100 + lo
		return p + 4
	case 'y':
		if t.year, p = upTo(b, p, 2); t.year < 69 {
			t.year += 100
		}
		t.year += 1900
	case 'm':
		t.month, p = upTo(b, p, 2)
	case 'd':
		t.day, p = upTo(b, p, 2)
	case 'j':
		if t.yearDay, p = upTo(b, p, 3); t.yearDay == 0 {
			return -1
		}
	case 'H', 'I':
		t.hour, p = upTo(b, p, 2)
		t.hour12 = s.directive == 'I'
	case 'M':
		t.minute, p = upTo(b, p, 2)
	case 'S':
		t.second, p = upTo(b, p, 2)
	case 'f':
		t.micros, p = fraction(b, p)
	case 'z':
		if p >= len(b) {
			return -1
		}
		t.offset, p = zone(b, p)
	case 'b', 'B':
		if v, p = nameAt(b, p, monthNames[:], s.directive == 'b'); p >= 0 {
			t.month = v + 1
		}
	case 'a', 'A':
		_, p = nameAt(b, p, dayNames[:], s.directive == 'a')
	case 'p':
		if v, p = nameAt(b, p, []string{"AM", "PM"}, false); p >= 0 {
			t.pm = v == 1
		}
	case 's':
		p = t.epochAt(b, p, secondMicros)
	case 'Q':
		p = t.epochAt(b, p, 1000)
	}
	return p
}

// upTo reads one to max digits at p; next is -1 if there is none.
func upTo(b []byte, p, max int) (v, next int) {
	first := p
	for p < len(b) && p-first < max && b[p]-'0' <= 9 {
		v = v*10 + int(b[p]-'0')
		p++
	}
	if p == first {
		return 0, -1
	}
	return v, p
}

// epochAt reads a whole number of units of unit µs. Fifteen digits reach
// beyond the year 9999 in either unit.
func (t *timeParts) epochAt(b []byte, p int, unit int64) (next int) {
	if t.before = p < len(b) && b[p] == '-'; t.before {
		p++
	}
	v, next := upTo(b, p, 15)
	if next < 0 || next < len(b) && b[next]-'0' <= 9 {
		return -1
	}
	t.epoch = min(int64(v), 1<<62/unit) * unit
	return next
}

var (
	monthNames = [...]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	dayNames   = [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
)

// nameAt finds which of names is at p, by its first three letters if short.
func nameAt(b []byte, p int, names []string, short bool) (i, next int) {
	for i, name := range names {
		if short {
			name = name[:3]
		}
		if len(b)-p >= len(name) && strings.EqualFold(string(b[p:p+len(name)]), name) {
			return i, p + len(name)
		}
	}
	return 0, -1
}
