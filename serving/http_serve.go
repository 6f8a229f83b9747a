package serving

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/problem"
)

// A handler answers a request, or returns an error before it has written.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle registers a handler: errors become JSON, failures a line in the log,
// every request a metric.
func (s *server) handle(pattern string, h handler) {
	_, route, _ := strings.Cut(pattern, " ")
	h = permitted(pattern, h)
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			s.seconds.WithLabelValues(route, strconv.Itoa(rec.status())).Observe(time.Since(started).Seconds())
		}()
		err := run(h, rec, r)
		if err == nil {
			return
		}
		f, known := failureOf(err)
		s.log(r, f, known, err, time.Since(started))
		if errors.Is(err, errCut) || rec.code != 0 {
			// Ending the body here would make it look whole.
			panic(http.ErrAbortHandler)
		}
		writeFailure(rec, f)
	})
}

// run turns a panic into an error: the request is lost, the process is not.
func run(h handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h(w, r)
}

func (s *server) log(r *http.Request, f failure, known bool, err error, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case !known:
		level = slog.LevelError
	case r.URL.Path == "/readyz":
		level = slog.LevelDebug // asked every second, by those who know what it means
	}
	s.cfg.Log.Log(r.Context(), level, "request failed", "request_id", r.Header.Get(headerRequestID), "method", r.Method,
		"path", r.URL.Path, "status", f.status, "code", f.code, "error", err.Error(), "elapsed_ms", took.Milliseconds())
}

// A recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

const headerRequestID = "X-Request-Id"

// serve gives the request an id, which logs and the response carry, and routes it.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(headerRequestID)
	if !validID(id) {
		id = rand.Text()
		r.Header.Set(headerRequestID, id)
	}
	w.Header().Set(headerRequestID, id)
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	// The mux knows which of 404, 405 and a redirect it is; only its words are
	// replaced.
	probe := &headerOnly{header: http.Header{}}
	h.ServeHTTP(probe, r)
	switch {
	case probe.code == http.StatusMethodNotAllowed:
		allow := probe.header.Get("Allow")
		w.Header().Set("Allow", allow)
		writeFailure(w, failure{status: probe.code, code: "method_not_allowed", message: r.Method + " is not allowed here", hint: "use " + allow})
	case probe.code >= 300 && probe.code < 400:
		h.ServeHTTP(w, r)
	default:
		writeFailure(w, failure{status: http.StatusNotFound, code: "not_found", message: "there is nothing at " + r.URL.Path, hint: "views are at /v1/views, SQL goes to POST /v1/sql"})
	}
}

// headerOnly takes a response and keeps no body.
type headerOnly struct {
	header http.Header
	code   int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) Write(p []byte) (int, error) { return len(p), nil }
func (h *headerOnly) WriteHeader(code int)        { h.code = code }

// validID takes ids that cannot break a log line.
func validID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// limited bounds the time and the number of queries, and refuses them while
// recovery runs.
func (s *server) limited(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := s.q.Ready(); err != nil {
			return notReady(err)
		}
		limit, err := s.timeoutOf(r)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(r.Context(), limit, fmt.Errorf("%w: %s", ErrTimeout, limit))
		defer cancel()
		err = h(w, r.WithContext(s.cfg.Limiter.Lend(ctx)))
		if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			// Whatever broke because the time was over, that is the reason.
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return err
	}
}

func notReady(err error) error {
	if errors.Is(err, ErrNotReady) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotReady, err)
}

// reply writes what a call returned as JSON.
func reply(w http.ResponseWriter) func(v any, err error) error {
	return func(v any, err error) error {
		if err != nil {
			return err
		}
		body, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode the reply: %w", err)
		}
		w.Header().Set("Content-Type", "application/json")
		_, err = w.Write(append(body, '\n'))
		return err
	}
}

// writeFailure answers with the failure instead of what was about to be answered.
func writeFailure(w http.ResponseWriter, f failure) {
	h := w.Header()
	for _, name := range []string{"Trailer", "Vary", "ETag", "Link", headerComplete, headerCut, headerHead, headerWatermark, headerRows} {
		h.Del(name)
	}
	p := problem.Problem{Status: f.status, Code: f.code, Detail: f.message, Hint: f.hint, Position: f.position, Candidates: f.candidates, RetryAfter: f.retryAfter}
	if id := h.Get(headerRequestID); id != "" && f.status >= 500 {
		p.Instance = "urn:tailwater:request:" + id
	}
	p.Write(w)
}

// MarshalJSON writes the cut in order, under its sources' names.
func (c *Check) MarshalJSON() ([]byte, error) {
	missing, extra := c.Missing, c.Extra
	if missing == nil {
		missing = []json.RawMessage{}
	}
	if extra == nil {
		extra = []json.RawMessage{}
	}
	return json.Marshal(struct {
		View       string            `json:"view"`
		Difference int64             `json:"difference"`
		Rows       int64             `json:"rows"`
		Cut        json.RawMessage   `json:"cut"`
		Missing    []json.RawMessage `json:"missing"`
		Extra      []json.RawMessage `json:"extra"`
		ElapsedMS  float64           `json:"elapsed_ms"`
		AgeMS      float64           `json:"age_ms"`
	}{c.View, c.Difference, c.Rows, cutJSON(c.Cut), missing, extra, c.ElapsedMS, c.AgeMS})
}
