package ingest

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/problem"
)

// maxRejections is how many rejections an answer lists; what is wrong with a
// body shows in the first few, and the dead letters have all.
const maxRejections = 100

// An answer is what became of a request's records.
type answer struct {
	Accepted      int         `json:"accepted"`
	Rejected      []rejection `json:"rejected"`
	RejectedTotal int         `json:"rejected_total,omitempty"` // only if more than are listed
	Position      string      `json:"position"`

	total int // of rejections, listed or not
}

type rejection struct {
	Line   int64  `json:"line"`
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// add counts a slice that is on disk at p.
func (a *answer) add(slice Decoded, p event.Position) {
	a.Accepted += slice.Accepted()
	a.total += len(slice.Refused)
	for _, r := range slice.Refused[:min(len(slice.Refused), maxRejections-len(a.Rejected))] {
		a.Rejected = append(a.Rejected, rejection{r.Line, r.Field, r.Reason})
	}
	if a.total > len(a.Rejected) {
		a.RejectedTotal = a.total
	}
	a.Position = positionToken(p)
}

func (a *answer) write(w http.ResponseWriter) { writeJSON(w, http.StatusOK, a) }

// A failure is why a request could not be dealt with.
type failure struct {
	status        int
	code          string // for programs; never changes
	message, hint string // for people: what is wrong, and what to do
	retryAfter    time.Duration
}

// failCanceled is written to a client that has gone; it only shows in metrics.
var failCanceled = &failure{status: http.StatusServiceUnavailable, code: "canceled", message: "the request was canceled", hint: "nothing was stored"}

func (h *handler) failBusy() *failure {
	return &failure{status: http.StatusServiceUnavailable, code: "busy", message: "too many bytes are in flight",
		hint: "send the same request again later; nothing was stored", retryAfter: h.cfg.RetryAfter}
}

// write writes the failure, with what was stored before it if a is not nil.
func (f *failure) write(w http.ResponseWriter, a *answer) {
	p := problem.Problem{Status: f.status, Code: f.code, Detail: f.message, Hint: f.hint, RetryAfter: f.retryAfter}
	if a != nil {
		p.More = a
	}
	p.Write(w)
}

// writeJSON writes one line of JSON. An error means that the client has gone.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}
