package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// remote is the flag of every verb that talks to one.
type remote struct {
	URL     string `name:"url" help:"Address of the server." env:"TAILWATER_URL" default:"http://127.0.0.1:8080" placeholder:"URL"`
	KeyFile string `name:"key-file" help:"File that holds a key, if the server asks for one; TAILWATER_KEY holds the key itself." env:"TAILWATER_KEY_FILE" placeholder:"FILE"`
	CAFile  string `name:"ca-file" help:"File with the certificate to trust, in PEM, if this machine does not." env:"TAILWATER_CA_FILE" placeholder:"FILE"`
	key     string // what the program itself was given
}

// secret gives the key to show, empty for none. It is no flag: an argument is seen
// by everybody on the machine.
func (s remote) secret() (string, error) {
	if s.key != "" {
		return s.key, nil
	}
	if s.KeyFile == "" {
		return os.Getenv("TAILWATER_KEY"), nil
	}
	text, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return "", fmt.Errorf("--key-file: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" || strings.ContainsAny(secret, " \t\r\n") {
		return "", fmt.Errorf("--key-file: %s does not hold one key and nothing else", s.KeyFile)
	}
	return secret, nil
}

// clients are the clients that trust another certificate, by its file.
var clients sync.Map

// client gives the client for the server.
func (s remote) client() (*http.Client, error) {
	if s.CAFile == "" {
		return http.DefaultClient, nil
	}
	if c, ok := clients.Load(s.CAFile); ok {
		return c.(*http.Client), nil
	}
	text, err := os.ReadFile(s.CAFile)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca-file: %s holds no certificate in PEM", s.CAFile)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	c, _ := clients.LoadOrStore(s.CAFile, &http.Client{Transport: transport})
	return c.(*http.Client), nil
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
	// health asks whether the server lives: no key is sent, and so it matters little
	// who answers, whose certificate is seldom for the address asked.
	health bool
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
	client, err := s.authorize(req, r.health)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
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

// authorize shows the key, and gives the client to send with.
func (s remote) authorize(req *http.Request, health bool) (*http.Client, error) {
	if health {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig, transport.DisableKeepAlives = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, true
		return &http.Client{Transport: transport}, nil
	}
	secret, err := s.secret()
	if err != nil {
		return nil, err
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	return s.client()
}

// errorBytesMax bounds what is read of an answer that is an error.
const errorBytesMax = 1 << 20

func readError(resp *http.Response) error {
	e := &apiError{Status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	e.body, _ = io.ReadAll(io.LimitReader(resp.Body, errorBytesMax)) // what came is as good as it gets
	var problem struct{ Code, Detail, Hint string }                  // RFC 9457
	if json.Unmarshal(e.body, &problem) == nil && problem.Detail != "" {
		e.Code, e.Message, e.Hint = problem.Code, problem.Detail, problem.Hint
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
