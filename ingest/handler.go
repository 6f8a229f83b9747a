package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/fault"
)

// NewHandler serves POST /v1/streams/{stream}/events.
//
// The body is newline-delimited JSON (application/x-ndjson), one JSON object
// or an array of them (application/json), or either, told apart by the first
// character (text/plain, or no type); plain, or under a Content-Encoding of
// gzip or zstd. The answer is
//
//	{"accepted":2,"rejected":[{"line":3,"field":"amount","reason":"…"}],"position":"payments/1/0/42"}
//
// with status 200 whenever every record was dealt with for good, by being
// accepted or by being kept as a dead letter: sending a rejected record again
// cannot help, so rejections alone are no error status. The list stops at 100;
// "rejected_total" then counts them all. The position is that of the request's
// last log message, empty if there was nothing to store; a query with
// after=position sees the whole request.
//
// A large body is stored as several log messages, one after the other. If one
// fails, the error answer (package problem) also has "accepted",
// "rejected" and "position", which then cover the records before
// the failure, in the order of the body. All statuses but 5xx say that nothing
// was stored.
//
// NewHandler fails if a schema cannot be decoded into; see NewDecoder.
func NewHandler(streams map[string]Target, cfg Config) (http.Handler, error) {
	cfg = cfg.withDefaults()
	h := &handler{
		cfg:     cfg,
		streams: make(map[string]*stream, len(streams)),
		names:   slices.Sorted(maps.Keys(streams)),
		flight:  semaphore.NewWeighted(cfg.InFlightBytes),
		workers: make(chan struct{}, cfg.Workers),
		metrics: newMetrics(cfg.Metrics),
	}
	for name, t := range streams {
		d, err := NewDecoder(t.Schema, cfg.Limits, t.Tables...)
		if err != nil {
			return nil, err
		}
		s := &stream{name: name, Target: t}
		s.decoders.New = func() any { return d.clone() }
		h.streams[name] = s
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/streams/{stream}/events", h)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		(&failure{status: http.StatusNotFound, code: "not_found", message: "no such path: " + r.URL.Path,
			hint: "events are sent to POST /v1/streams/{stream}/events"}).write(w, nil)
	})
	return mux, nil
}

type handler struct {
	cfg     Config
	streams map[string]*stream
	names   []string
	flight  *semaphore.Weighted // bytes; see Config.InFlightBytes
	workers chan struct{}       // a slot for each body being decoded
	pools   pools
	metrics *metrics
}

type stream struct {
	name string
	Target
	decoders sync.Pool // of *Decoder
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	name := r.PathValue("stream")
	s := h.streams[name]
	if s == nil {
		h.metrics.request("", http.StatusNotFound, begin)
		(&failure{status: http.StatusNotFound, code: "unknown_stream", message: fmt.Sprintf("there is no stream %q", name),
			hint: "the streams are: " + strings.Join(h.names, ", ")}).write(w, nil)
		return
	}
	a, fail := h.ingest(w, r, s)
	h.metrics.stored(name, a)
	if fail != nil {
		h.metrics.request(name, fail.status, begin)
		fail.write(w, a)
		return
	}
	h.metrics.request(name, http.StatusOK, begin)
	a.write(w)
}

// ingest deals with one request. The answer is what was stored, also when the
// request failed; it is nil if nothing can have been stored.
func (h *handler) ingest(w http.ResponseWriter, r *http.Request, s *stream) (*answer, *failure) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, &failure{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: r.Method + " is not possible here", hint: "send events with POST"}
	}
	kind, fail := contentKind(r.Header)
	if fail != nil {
		return nil, fail
	}
	encoding, fail := contentEncoding(r.Header)
	if fail != nil {
		w.Header().Set("Accept-Encoding", "gzip, zstd") // RFC 9110, section 15.5.16
		return nil, fail
	}
	held := &share{flight: h.flight}
	defer held.release()
	wire, fail := h.receive(w, r, held)
	if fail != nil {
		return nil, fail
	}
	h.metrics.received(s.name, len(*wire))
	slices, fail := h.decode(r.Context(), s, wire, kind, encoding, held)
	if fail != nil {
		return nil, fail
	}
	return h.publish(r.Context(), s, slices)
}

// decode turns the body into slices of rows. It holds a worker slot meanwhile,
// never while it waits for the network or the log, and returns the buffer.
func (h *handler) decode(ctx context.Context, s *stream, wire *[]byte, kind kind, encoding string, held *share) ([]Decoded, *failure) {
	defer func() { h.pools.giveBuffer(wire) }()
	select {
	case h.workers <- struct{}{}:
		defer func() { <-h.workers }()
	case <-ctx.Done():
		return nil, failCanceled
	}
	if encoding != "" {
		plain, fail := h.decompress(encoding, *wire, held)
		if fail != nil {
			return nil, fail
		}
		h.pools.giveBuffer(wire)
		wire = plain
	}
	d := s.decoders.Get().(*Decoder)
	defer s.decoders.Put(d)
	out, size, err := decodeSlices(d, *wire, kind.layout(*wire), h.cfg)
	switch {
	case errors.Is(err, ErrTooLarge):
		return nil, &failure{status: http.StatusRequestEntityTooLarge, code: "too_large", message: err.Error(), hint: "nothing was stored"}
	case err != nil:
		return nil, &failure{status: http.StatusBadRequest, code: "bad_body", message: err.Error(), hint: "nothing was stored"}
	}
	if !held.cover(int64(size)) {
		return nil, h.failBusy()
	}
	return out, nil
}

// decodeSlices decodes a body into slices that each fit one log message, and
// gives their size in bytes. All is decoded before the first is published, so
// that a body which turns out to be unusable leaves nothing behind.
func decodeSlices(d *Decoder, body []byte, l layout, cfg Config) (out []Decoded, size int, err error) {
	defer func() { d.body = nil }() // the buffer is another request's next
	if err := d.begin(body, l, cfg.SliceRows, cfg.SliceBytes); err != nil {
		return nil, 0, err
	}
	for {
		slice, done, err := d.next()
		if err != nil {
			return nil, 0, err
		}
		if slice.Rows != nil || len(slice.Refused) > 0 {
			out = append(out, slice)
			size += slice.Size
		}
		if done {
			return out, size, nil
		}
	}
}

// publish stores the slices in order. A slice counts in the answer when it is
// on disk.
func (h *handler) publish(ctx context.Context, s *stream, slices []Decoded) (*answer, *failure) {
	a := &answer{Rejected: []rejection{}}
	for i, slice := range slices {
		slices[i] = Decoded{} // the publisher alone keeps it from here
		position, err := s.Publisher.Publish(ctx, slice.Rows, slice.Refused)
		if err != nil {
			return a, h.failPublish(ctx, err, s, a)
		}
		a.add(slice, position)
	}
	if err := fault.Hit(fault.AfterLogAck); err != nil {
		return a, &failure{status: http.StatusInternalServerError, code: "internal", message: err.Error(), hint: "the events are stored"}
	}
	return a, nil
}

// failPublish translates a Publisher's error.
func (h *handler) failPublish(ctx context.Context, err error, s *stream, a *answer) *failure {
	f := &failure{status: http.StatusServiceUnavailable, message: err.Error(), hint: s.resendHint(a, errors.Is(err, ErrFull))}
	var t Temporary
	isTemporary := false
	if errors.As(err, &t) {
		if after, ok := t.Temporary(); ok {
			f.retryAfter, isTemporary = after, true
		}
	}
	switch {
	case errors.Is(err, ErrFull):
		f.code = "log_full"
	case errors.Is(err, ErrUnavailable):
		f.code = "log_unavailable"
	case isTemporary:
		f.code = "try_again"
	case ctx.Err() != nil:
		f.code, f.message = "canceled", "the request was canceled"
	default:
		h.cfg.Log.Error("publish events", "stream", s.name, "error", err)
		f.status, f.code = http.StatusInternalServerError, "internal"
		f.message = "the log did not take the events; the cause is in the server's own log"
		return f
	}
	if f.retryAfter <= 0 {
		f.retryAfter = h.cfg.RetryAfter
	}
	return f
}

// resendHint says what to send again after a failure. clean says that what
// failed is known not to be stored.
func (s *stream) resendHint(a *answer, clean bool) string {
	first := a.Accepted + a.total
	switch {
	case clean && first == 0:
		return "nothing was stored; send the request again later"
	case clean:
		return fmt.Sprintf("the first %d records are stored; send those after them again later", first)
	}
	hint := fmt.Sprintf("the first %d records are stored; whether those after them are is not known: send these again", first)
	if first == 0 {
		hint = "whether the records are stored is not known: send them again"
	}
	if s.Schema.IDColumn < 0 {
		return hint + "; the stream has no id column, so what was stored already would count twice"
	}
	return hint + fmt.Sprintf(", with the same %s, by which duplicates are left out", s.Schema.Columns[s.Schema.IDColumn].Name)
}

// A kind is what a request says of its body.
type kind int

const (
	kindLines   kind = iota // lines, whatever they begin with
	kindJSON                // one object or an array
	kindUnknown             // lines or an array
)

// layout looks at the first character of the body.
func (k kind) layout(body []byte) layout {
	body = bytes.TrimPrefix(body, byteOrderMark)
	body = body[skipSpace(body, 0):]
	switch isArray := len(body) > 0 && body[0] == '['; {
	case k != kindLines && isArray:
		return layoutArray
	case k == kindJSON:
		return layoutObject
	}
	return layoutLines
}

func contentKind(h http.Header) (kind, *failure) {
	value := h.Get("Content-Type")
	if value == "" {
		return kindUnknown, nil
	}
	media, params, err := mime.ParseMediaType(value)
	charset := strings.ToLower(params["charset"])
	if err == nil && (charset == "" || charset == "utf-8" || charset == "us-ascii") {
		switch media {
		case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
			return kindLines, nil
		case "application/json":
			return kindJSON, nil
		case "text/plain":
			return kindUnknown, nil
		}
	}
	return 0, &failure{status: http.StatusUnsupportedMediaType, code: "unsupported_type", message: fmt.Sprintf("content type %q is not taken", value),
		hint: "send application/x-ndjson (one event a line) or application/json (an object or an array), in UTF-8; with curl: -H 'Content-Type: application/x-ndjson' --data-binary @file"}
}

// contentEncoding gives gzip, zstd, or "" for none.
func contentEncoding(h http.Header) (string, *failure) {
	value := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ",")))
	switch value {
	case "", "identity":
		return "", nil
	case "gzip", "x-gzip":
		return "gzip", nil
	case "zstd":
		return value, nil
	}
	return "", &failure{status: http.StatusUnsupportedMediaType, code: "unsupported_encoding", message: fmt.Sprintf("content encoding %q is not taken", value),
		hint: "send the body plain, or under one of gzip and zstd"}
}

// positionToken gives the token without an index: it stands for the message.
func positionToken(p event.Position) string {
	p.Idx = 0
	return p.String()
}
