package serving

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
)

// badParameter words the refusal of a query parameter.
func badParameter(name, format string, args ...any) error {
	return &Refusal{Code: "bad_parameter", Message: "parameter " + name + ": " + fmt.Sprintf(format, args...)}
}

// noParameters refuses parameters other than those allowed: a misspelt filter
// that is ignored gives wrong numbers.
func noParameters(r *http.Request, allowed ...string) error {
	return checkParameters(r.URL.Query(), allowed)
}

// mayRepeat are the parameters that may be given several times. One that ends in a
// dot stands for all that begin with it.
var mayRepeat = []string{"isnull", "notnull", "order", "by", "per", "where."}

// checkParameters refuses names that are not allowed, and those given twice. An
// allowed name that ends in a dot stands for all that begin with it.
func checkParameters(values url.Values, allowed []string) error {
	for _, name := range sortedKeys(values) {
		if !among(allowed, name) {
			hint := "this address takes none"
			if len(allowed) > 0 {
				hint = "the parameters are " + strings.ReplaceAll(strings.Join(allowed, ", ")+",", ".,", ".KEY,")
			}
			return &Refusal{Code: "unknown_parameter", Message: fmt.Sprintf("there is no parameter %q", name), Hint: strings.TrimSuffix(hint, ",")}
		}
		if len(values[name]) > 1 && !among(mayRepeat, name) {
			return badParameter(name, "is given %d times", len(values[name]))
		}
	}
	return nil
}

func among(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		if strings.HasSuffix(n, ".") {
			return strings.HasPrefix(name, n) && len(name) > len(n)
		}
		return n == name
	})
}

func parseFlag(values url.Values, name string) (bool, error) {
	if !values.Has(name) {
		return false, nil
	}
	switch values.Get(name) {
	case "true", "1", "":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, badParameter(name, "want true or false")
}

// parseTime reads an RFC 3339 time, or a date or time without a zone, which is UTC.
func parseTime(values url.Values, name string) (*time.Time, error) {
	if !values.Has(name) {
		return nil, nil
	}
	text := values.Get(name)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			t = t.UTC()
			return &t, nil
		}
	}
	return nil, badParameter(name, "%q is no time such as 2024-05-01T12:00:00Z or 2024-05-01 (write + as %%2B)", text)
}

func parseCount(values url.Values, name string, least int) (int, error) {
	if !values.Has(name) {
		return 0, nil
	}
	n, err := strconv.Atoi(values.Get(name))
	if err != nil || n < least {
		return 0, badParameter(name, "want a whole number of at least %d", least)
	}
	return n, nil
}

func parseAfter(token string) (*event.Position, error) {
	if token == "" {
		return nil, nil
	}
	p, err := event.ParsePosition(token)
	if err != nil {
		return nil, &Refusal{Code: "bad_position", Message: err.Error()}
	}
	return &p, nil
}

// timeoutOf gives the query's limit: that of the statement, the parameter timeout, or
// the default.
func (s *server) timeoutOf(r *http.Request) (time.Duration, error) {
	if request, ok := r.Context().Value(sqlKey{}).(SQLRequest); ok {
		return request.Timeout, nil
	}
	own := s.cfg.within(r.Context())
	return parseDuration(r.URL.Query(), "timeout", own.Timeout, 1, own.MaxTimeout)
}

// parseDuration reads a Go duration such as 500ms, or seconds.
func parseDuration(values url.Values, name string, absent, least, most time.Duration) (time.Duration, error) {
	if !values.Has(name) {
		return absent, nil
	}
	text := values.Get(name)
	d, err := time.ParseDuration(text)
	if seconds, errSeconds := strconv.ParseUint(text, 10, 31); errSeconds == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	switch {
	case err != nil || d < 0 || least == 1 && d == 0:
		return 0, badParameter(name, "want a duration such as 10s or 500ms")
	case d < least:
		return 0, badParameter(name, "at least %s", least)
	case d > most:
		return 0, badParameter(name, "at most %s", most)
	}
	return d, nil
}

// formatOf picks the response's format by the Accept header.
func formatOf(r *http.Request) (int, error) {
	format := negotiate(r.Header.Values("Accept"))
	if format < 0 {
		var list []string
		for _, f := range formats {
			list = append(list, f.mediaType)
		}
		return 0, &statusError{http.StatusNotAcceptable, &Refusal{Code: "not_acceptable", Message: "no format that Accept names is available", Hint: "the formats are " + strings.Join(list, ", ")}}
	}
	return format, nil
}

func notFound(what, name string, names []string) error {
	hint := ""
	if len(names) > 0 {
		hint = "; there are " + strings.Join(names, ", ")
	}
	return fmt.Errorf("%s %q: %w%s", what, name, ErrNotFound, hint)
}

// A statusError is a refusal that HTTP has a status of its own for.
type statusError struct {
	status  int
	refusal *Refusal
}

func (e *statusError) Error() string { return e.refusal.Error() }
func (e *statusError) Unwrap() error { return e.refusal }
