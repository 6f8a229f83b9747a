// Package problem writes the errors of the program's HTTP in one form, that of
// RFC 9457: whoever answers with an error, answers through here.
package problem

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ContentType is that of every error.
const ContentType = "application/problem+json"

// A Problem is an error as a client sees it.
type Problem struct {
	Status int
	// Code is for programs and never changes. Type and title follow from it.
	Code   string
	Detail string // what is wrong, for people
	Hint   string // what to do about it; may be empty
	// Position is a place in the client's SQL, counted in characters from 1; 0 if
	// there is none.
	Position int
	// Candidates are names that may have been meant.
	Candidates []string
	// Instance names the occurrence, as the server's log does; may be empty.
	Instance string
	// RetryAfter, unless 0, is how long to wait before asking again.
	RetryAfter time.Duration
	// More are further members, as a struct or map that encodes to an object; nil
	// for none.
	More any
}

// typePrefix makes a type of a code. It is a name and no address.
const typePrefix = "urn:tailwater:problem:"

// title is the code in words.
func title(code string) string {
	words := strings.ReplaceAll(code, "_", " ")
	if words == "" {
		return ""
	}
	if words == "sql" {
		return "SQL error"
	}
	return strings.ToUpper(words[:1]) + words[1:]
}

// JSON gives the problem's body, one line.
func (p Problem) JSON() []byte {
	body, err := marshal(struct {
		Type       string   `json:"type"`
		Title      string   `json:"title"`
		Status     int      `json:"status"`
		Detail     string   `json:"detail"`
		Code       string   `json:"code"`
		Hint       string   `json:"hint,omitempty"`
		Position   int      `json:"position,omitempty"`
		Candidates []string `json:"candidates,omitempty"`
		Instance   string   `json:"instance,omitempty"`
	}{typePrefix + p.Code, title(p.Code), p.Status, p.Detail, p.Code, p.Hint, p.Position, p.Candidates, p.Instance})
	if err != nil {
		panic("problem: " + err.Error()) // texts and numbers encode
	}
	if p.More != nil {
		if more, err := marshal(p.More); err == nil && len(more) > 2 && more[0] == '{' {
			body = append(append(body[:len(body)-1], ','), more[1:]...)
		}
	}
	return append(body, '\n')
}

// marshal leaves < and > as they are, which the engine's messages have many of.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}

// Write answers with the problem.
func (p Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON()) // the client may have gone: there is nobody left to tell
}
