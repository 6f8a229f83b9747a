package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// remote is the flag of every verb that talks to one.
type remote struct {
	URL string `name:"url" help:"Address of the server." env:"TAILWATER_URL" default:"http://127.0.0.1:8080" placeholder:"URL"`
}

// An apiError is an answer of the server that is no success.
type apiError struct {
	Status        int
	Code          string
	Message, Hint string
	RetryAfter    time.Duration // 0 if the server named none
	body          []byte
}

func (e *apiError) Error() string {
	text := e.Message
	if text == "" {
		text = fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// A request is one call of the server's API.
type request struct {
	method, path string
	query        url.Values
	accept       string // default application/json
	contentType  string
	body         []byte
}

// do sends a request. An answer other than 2xx is an *apiError; else the caller
// closes the response's body.
func (s remote) do(ctx context.Context, r request) (*http.Response, error) {
	base, err := url.Parse(s.URL)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("--url %q is not an address such as http://127.0.0.1:8080", s.URL)
	}
	at := base.JoinPath(r.path)
	at.RawQuery = r.query.Encode()
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, at.String(), body)
	if err != nil {
		return nil, err
	}
	if r.accept == "" {
		r.accept = "application/json"
	}
	req.Header.Set("Accept", r.accept)
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no server at %s: start one with `tailwater serve`, or name another with --url or TAILWATER_URL: %w", s.URL, err)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readError(resp)
}

// errorBytesMax bounds what is read of an answer that is an error.
const errorBytesMax = 1 << 20

func readError(resp *http.Response) error {
	e := &apiError{Status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	e.body, _ = io.ReadAll(io.LimitReader(resp.Body, errorBytesMax)) // what came is as good as it gets
	var answer struct {
		Error struct{ Code, Message, Hint string }
	}
	if json.Unmarshal(e.body, &answer) == nil && answer.Error.Message != "" {
		e.Code, e.Message, e.Hint = answer.Error.Code, answer.Error.Message, answer.Error.Hint
	} else if text := strings.TrimSpace(string(e.body)); text != "" && len(text) < 500 {
		e.Message = fmt.Sprintf("the server answered %d: %s", e.Status, printable(text))
	}
	if id := resp.Header.Get("X-Request-Id"); id != "" && e.Status == http.StatusInternalServerError {
		e.Message += " (request " + printable(id) + ")"
	}
	return e
}

// getJSON reads a small JSON answer, and gives its bytes as well.
func (s remote) getJSON(ctx context.Context, r request, into any) ([]byte, error) {
	resp, err := s.do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", r.path, err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return nil, fmt.Errorf("the answer of %s is not the JSON of a tailwater server (is --url right?): %w", r.path, err)
	}
	return body, nil
}
