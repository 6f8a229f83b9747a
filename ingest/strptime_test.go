package ingest

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimeFormats(t *testing.T) {
	for _, c := range []struct{ format, text, want string }{
		{"%Y-%m-%d %H:%M:%S", "2024-02-29 23:59:59", "2024-02-29T23:59:59Z"},
		{"%F %T", "2024-02-29 23:59:59", "2024-02-29T23:59:59Z"},
		{"%F %T.%f", "2024-02-29 23:59:59.5", "2024-02-29T23:59:59.5Z"},
		{"%F %T.%f", "2024-02-29 23:59:59.1234567", "2024-02-29T23:59:59.123456Z"},
		{"%F %T.%f", "2024-02-29 23:59:59.", ""},
		{"%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"},
		{"%d/%b/%Y:%H:%M:%S %z", "10/oct/2000:13:55:36 Z", "2000-10-10T13:55:36Z"},
		{"%d/%b/%Y:%H:%M:%S %z", "10/Okt/2000:13:55:36 Z", ""},
		{"%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 ", ""},
		{"%A, %d. %B %y", "Thursday, 7. march 68", "2068-03-07T00:00:00Z"},
		{"%a %d %b %y", "Thu 7 Mar 69", "1969-03-07T00:00:00Z"},
		{"%Y%j", "2024366", "2024-12-31T00:00:00Z"},
		{"%Y%j", "2023366", ""},
		{"%Y%j", "2023000", ""},
		{"%Y%m%d%H%M%S", "20240131235959", "2024-01-31T23:59:59Z"},
		{"%-m/%-d/%Y %I:%M %p", "1/2/2024 12:00 am", "2024-01-02T00:00:00Z"},
		{"%m/%d/%Y %I:%M %p", "1/2/2024 12:00 PM", "2024-01-02T12:00:00Z"},
		{"%m/%d/%Y %I:%M %p", "1/2/2024 11:59 PM", "2024-01-02T23:59:00Z"},
		{"%m/%d/%Y %I:%M %p", "1/2/2024 0:30 PM", ""},
		{"%m/%d/%Y", "1/2/2024 ", ""},
		{"%m/%d/%Y", "2/30/2024", ""},
		{"%m/%d/%Y", "1/2/24", ""},
		{"%Y-%m-%dT%H%%%M", "2024-01-02T03%04", "2024-01-02T03:04:00Z"},
		{"%s", "0", "1970-01-01T00:00:00Z"},
		{"%s", "-1", "1969-12-31T23:59:59Z"},
		{"%s", "1700000000", "2023-11-14T22:13:20Z"},
		{"%s", "1700000000000", ""},
		{"%s", "9999999999999999999999", ""},
		{"%s.%f", "1700000000.25", "2023-11-14T22:13:20.25Z"},
		{"%s.%f", "-0.25", "1969-12-31T23:59:59.75Z"},
		{"%Q", "1700000000123", "2023-11-14T22:13:20.123Z"},
		{"%Q", "", ""},
	} {
		f, err := CompileTimeFormat(c.format)
		if err != nil {
			t.Errorf("%q: %v", c.format, err)
			continue
		}
		us, why := f.Parse([]byte(c.text))
		got := ""
		if why == "" {
			got = time.UnixMicro(us).UTC().Format(time.RFC3339Nano)
		}
		if got != c.want {
			t.Errorf("%q of %q: %q %s, want %q", c.format, c.text, got, why, c.want)
		}
	}
}

func TestTimeFormatErrorsAreFoundWhenCompiling(t *testing.T) {
	for format, want := range map[string]string{
		"%Y-%m-%q":     "directive %q is not known; use %Y",
		"%Y-%m-%d%":    "ends in a lone %",
		"%Y-%m":        "does not say which day",
		"":             "does not say which day",
		"%H:%M":        "does not say which day",
		"%Y-%j-%d":     "does not say which day",
		"%F %Y":        "twice at %Y",
		"%F %H %I":     "twice at %I",
		"%F %I":        "go together",
		"%F %H %p":     "go together",
		"%s %H":        "mixes a count",
		"%s %Q":        "twice at %Q",
		"%F %f":        "needs %S",
		"%Q.%f":        "no fraction",
		"%F %T %-":     "ends in a lone %",
		"%Y-%m-%d\x00": "",
	} {
		_, err := CompileTimeFormat(format)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", format, err, want)
		}
	}
}

// TestISOAgreesWithTheStandardLibrary compares every moment with package time.
func TestISOAgreesWithTheStandardLibrary(t *testing.T) {
	first := time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC).UnixMicro()
	last := time.Date(9999, 12, 30, 0, 0, 0, 0, time.UTC).UnixMicro()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64Range(first, last).Draw(t, "µs")
		zone := time.FixedZone("", 60*rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "zone"))
		text := time.UnixMicro(want).In(zone).Format(time.RFC3339Nano)
		if got, _, why := parseISO([]byte(text)); got != want || why != "" {
			t.Fatalf("%s: %d %s, want %d", text, got, why, want)
		}
	})
}

// TestISONeverReadsBeyondTheText cuts a time off everywhere, and changes each of its bytes.
func TestISONeverReadsBeyondTheText(t *testing.T) {
	text := "2024-05-06T07:08:09.123456+02:00"
	for i := range text {
		parseISO([]byte(text)[:i:i])
		for _, c := range "x0:. +-\xff\x00" {
			b := []byte(text)
			b[i] = byte(c)
			us, _, why := parseISO(b)
			if ref, err := time.Parse("2006-01-02T15:04:05.999999-07:00", string(b)); err == nil && (why != "" || us != ref.UnixMicro()) {
				t.Errorf("%s: %d %q, want %d", b, us, why, ref.UnixMicro())
			}
		}
	}
}
