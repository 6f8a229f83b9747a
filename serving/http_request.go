package serving

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// badParameter words the refusal of a query parameter.
func badParameter(name, format string, args ...any) error {
	return &Refusal{Code: "bad_parameter", Message: "parameter " + name + ": " + fmt.Sprintf(format, args...)}
}

// noParameters refuses parameters other than those allowed: a misspelt filter
// that is ignored gives wrong numbers.
func noParameters(r *http.Request, allowed ...string) error {
	return checkParameters(r.URL.Query(), allowed, "")
}

func checkParameters(values url.Values, allowed []string, prefix string) error {
	for _, name := range sortedKeys(values) {
		if prefix != "" && strings.HasPrefix(name, prefix) && len(name) > len(prefix) {
			continue
		}
		if !slices.Contains(allowed, name) {
			hint := "this address takes none"
			if list := slices.Clone(allowed); len(list) > 0 {
				if prefix != "" {
					list = append(list, prefix+"KEY")
				}
				hint = "the parameters are " + strings.Join(list, ", ")
			}
			return &Refusal{Code: "unknown_parameter", Message: fmt.Sprintf("there is no parameter %q", name), Hint: hint}
		}
	}
	for _, name := range sortedKeys(values) {
		if len(values[name]) > 1 && name != "isnull" && name != "order" {
			return badParameter(name, "is given %d times", len(values[name]))
		}
	}
	return nil
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

// parseViewRequest reads the parameters of a view.
func parseViewRequest(name string, values url.Values) (ViewRequest, error) {
	request := ViewRequest{Name: name}
	if err := checkParameters(values, []string{"from", "to", "isnull", "order", "limit", "offset", "after", "timeout"}, "where."); err != nil {
		return request, err
	}
	f := &request.Filter
	err := parseRange(values, f)
	if err != nil {
		return request, err
	}
	for _, list := range values["order"] {
		for _, column := range strings.Split(list, ",") {
			if column = strings.TrimSpace(column); column != "" {
				f.Order = append(f.Order, column)
			}
		}
	}
	if f.Limit, err = parseCount(values, "limit", 1); err != nil {
		return request, err
	}
	if f.Offset, err = parseCount(values, "offset", 0); err != nil {
		return request, err
	}
	request.After, err = parseAfter(values.Get("after"))
	return request, err
}

// parseRange reads the parameters that narrow a view to windows and keys.
func parseRange(values url.Values, f *view.Filter) (err error) {
	if f.From, err = parseTime(values, "from"); err != nil {
		return err
	}
	if f.To, err = parseTime(values, "to"); err != nil {
		return err
	}
	if f.From != nil && f.To != nil && f.To.Before(*f.From) {
		return badParameter("to", "is before from")
	}
	for _, key := range sortedKeys(values) {
		if column, ok := strings.CutPrefix(key, "where."); ok {
			f.Where = append(f.Where, view.Equal{Key: column, Value: values.Get(key)})
		}
	}
	for _, column := range values["isnull"] {
		f.Where = append(f.Where, view.Equal{Key: column, Null: true})
	}
	return nil
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

// timeoutOf gives the query's limit: the parameter timeout, or the default.
func (s *server) timeoutOf(r *http.Request) (time.Duration, error) {
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

// parseSQLRequest reads the body of POST /v1/sql: {"sql", "after"} as JSON, or
// the statement itself as text/plain or application/sql with after as a parameter.
func (s *server) parseSQLRequest(r *http.Request) (SQLRequest, error) {
	var request SQLRequest
	if err := noParameters(r, "after", "timeout"); err != nil {
		return request, err
	}
	limit, err := s.timeoutOf(r)
	if err != nil {
		return request, err
	}
	request.Timeout = limit
	body, err := s.readBody(r)
	if err != nil {
		return request, err
	}
	after := r.URL.Query().Get("after")
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && (contentType == "text/plain" || contentType == "application/sql"):
		request.SQL = string(body)
	case r.Header.Get("Content-Type") == "", err == nil && contentType == "application/json":
		var fields struct {
			SQL   string `json:"sql"`
			After string `json:"after"`
		}
		if err := decodeStrict(body, &fields); err != nil {
			return request, err
		}
		request.SQL = fields.SQL
		if fields.After != "" {
			after = fields.After
		}
	default:
		return request, &statusError{http.StatusUnsupportedMediaType, &Refusal{Code: "unsupported_media_type", Message: "the body must be application/json, text/plain or application/sql", Hint: `send {"sql": "SELECT …"}`}}
	}
	request.After, err = parseAfter(after)
	return request, err
}

func (s *server) readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, s.cfg.MaxBody+1))
	if err != nil {
		return nil, &Refusal{Code: "bad_body", Message: "the body broke off"}
	}
	if int64(len(body)) > s.cfg.MaxBody {
		return nil, &statusError{http.StatusRequestEntityTooLarge, &Refusal{Code: "too_long", Message: fmt.Sprintf("the body is longer than %d bytes", s.cfg.MaxBody)}}
	}
	return body, nil
}

// decodeStrict refuses unknown members and whatever follows the value.
func decodeStrict(body []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return &Refusal{Code: "bad_body", Message: "the body is not as expected: " + strings.TrimPrefix(err.Error(), "json: "), Hint: `send {"sql": "SELECT …"}, optionally with "after"`}
	}
	return nil
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
