package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// sqlKey is where read leaves the request for sql.
type sqlKey struct{}

// read parses the request before the limits apply: how long it may take may stand in
// its body.
func (s *server) read(parse func(*http.Request) (SQLRequest, error), next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		request, err := parse(r)
		if err != nil {
			return err
		}
		return next(w, r.WithContext(context.WithValue(r.Context(), sqlKey{}, request)))
	}
}

func (s *server) sql(w http.ResponseWriter, r *http.Request) error {
	started := time.Now()
	format, err := formatOf(r)
	if err != nil {
		return err
	}
	request := r.Context().Value(sqlKey{}).(SQLRequest)
	noteStatement(r.Context(), request.SQL)
	if s.unchanged(w, r, format, request.At) {
		return nil
	}
	answer, err := s.q.SQL(r.Context(), request)
	if err != nil {
		return err
	}
	s.tag(w, r, format, answer)
	return s.answer(w, r, answer, format, started)
}

// sqlParameters are those of /v1/sql in the URL. With GET the statement and its
// values are there too, as p1, p2, … or p.NAME.
var sqlParameters = []string{"at", "after", "timeout"}

// parseSQLRequest reads /v1/sql. With POST the body is
// {"sql", "parameters", "timeout", "at", "after"} as JSON, or the statement itself as
// text/plain or application/sql.
func (s *server) parseSQLRequest(r *http.Request) (request SQLRequest, err error) {
	values := r.URL.Query()
	if r.Method == http.MethodGet {
		return s.parseSQLURL(r, values)
	}
	if err := checkParameters(values, sqlParameters); err != nil {
		return request, err
	}
	body, err := s.readBody(r)
	if err != nil {
		return request, err
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && (contentType == "text/plain" || contentType == "application/sql"):
		request.SQL = string(body)
	case r.Header.Get("Content-Type") == "", err == nil && contentType == "application/json":
		if err := parseSQLBody(body, &request, values); err != nil {
			return request, err
		}
	default:
		return request, &statusError{http.StatusUnsupportedMediaType, &Refusal{Code: "unsupported_media_type", Message: "the body must be application/json, text/plain or application/sql", Hint: `send {"sql": "SELECT …"}`}}
	}
	return request, s.parseMoment(r, values, &request)
}

// parseMoment reads at, after and timeout.
func (s *server) parseMoment(r *http.Request, values url.Values, request *SQLRequest) (err error) {
	if request.At, err = parseCut(values.Get("at")); err != nil {
		return err
	}
	if request.After, err = parseAfter(values.Get("after")); err != nil {
		return err
	}
	own := s.cfg.within(r.Context())
	request.Timeout, err = parseDuration(values, "timeout", own.Timeout, 1, own.MaxTimeout)
	return err
}

const sqlBodyHint = `send {"sql": "SELECT … WHERE x = $1", "parameters": [1]}, optionally with "timeout", "at" and "after"`

// parseSQLBody reads the JSON; what it says of the moment goes to values, where it
// must not contradict the URL.
func parseSQLBody(body []byte, request *SQLRequest, values url.Values) error {
	var fields struct {
		SQL        string          `json:"sql"`
		Parameters json.RawMessage `json:"parameters"`
		Timeout    json.RawMessage `json:"timeout"`
		At         json.RawMessage `json:"at"`
		After      string          `json:"after"`
	}
	if err := decodeStrict(body, &fields, sqlBodyHint); err != nil {
		return err
	}
	request.SQL = fields.SQL
	at, err := cutText(fields.At)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"timeout": strings.Trim(string(fields.Timeout), `"`), "at": at, "after": fields.After} {
		if text == "" || text == "null" {
			continue
		}
		if values.Has(name) {
			return badParameter(name, "is given in the URL and in the body")
		}
		values.Set(name, text)
	}
	request.Parameters, err = parseValues(fields.Parameters)
	return err
}

// cutText takes a cut as text, or as the object that answers in JSON have.
func cutText(raw json.RawMessage) (string, error) {
	var text string
	var object map[string]json.Number
	switch {
	case len(raw) == 0:
		return "", nil
	case json.Unmarshal(raw, &text) == nil:
		return text, nil
	case json.Unmarshal(raw, &object) == nil:
		var parts []string
		for _, source := range sortedKeys(object) {
			parts = append(parts, source+":"+object[source].String())
		}
		return strings.Join(parts, ","), nil
	}
	return "", &Refusal{Code: "bad_body", Message: "at is no cut", Hint: `give the cut of an answer: {"orders/1/0": 7} or "orders/1/0:7"`}
}

// parseValues reads the values of parameters: a list for $1, $2, …, or an object for
// $name.
func parseValues(raw json.RawMessage) ([]Parameter, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	named := map[string]any{}
	if raw[0] == '[' {
		var list []any
		if err := d.Decode(&list); err != nil {
			return nil, badBody(err, sqlBodyHint)
		}
		for i, v := range list {
			named[strconv.Itoa(i+1)] = v
		}
	} else if err := d.Decode(&named); err != nil {
		return nil, badBody(err, sqlBodyHint)
	}
	var out []Parameter
	for _, name := range sortedKeys(named) {
		switch named[name].(type) {
		case []any, map[string]any:
			return nil, &Refusal{Code: "bad_parameter", Message: fmt.Sprintf("parameter $%s is no single value", name), Hint: "give a number, a text, true, false or null; of a list each element is a parameter"}
		}
		out = append(out, Parameter{Name: strings.TrimPrefix(name, "$"), Value: named[name]})
	}
	return out, nil
}

// parseSQLURL reads a statement and its values from the URL. The values are texts,
// and take the type of what they are compared with.
func (s *server) parseSQLURL(r *http.Request, values url.Values) (request SQLRequest, err error) {
	allowed := append([]string{"sql", "p.", "p1, p2, …"}, sqlParameters...)
	for _, name := range sortedKeys(values) {
		if number, ok := strings.CutPrefix(name, "p"); ok {
			if n, err := strconv.Atoi(number); err == nil && n > 0 && strconv.Itoa(n) == number {
				allowed = append(allowed, name)
				request.Parameters = append(request.Parameters, Parameter{Name: number, Value: values.Get(name)})
				continue
			}
		}
		if key, ok := strings.CutPrefix(name, "p."); ok && key != "" {
			request.Parameters = append(request.Parameters, Parameter{Name: key, Value: values.Get(name)})
		}
	}
	if err := checkParameters(values, allowed); err != nil {
		return request, err
	}
	if request.SQL = values.Get("sql"); request.SQL == "" {
		return request, badParameter("sql", "the statement is missing")
	}
	return request, s.parseMoment(r, values, &request)
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
func decodeStrict(body []byte, into any, hint string) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	d.UseNumber()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return badBody(err, hint)
	}
	return nil
}

func badBody(err error, hint string) error {
	return &Refusal{Code: "bad_body", Message: "the body is not as expected: " + strings.TrimPrefix(err.Error(), "json: "), Hint: hint}
}
