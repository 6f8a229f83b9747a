package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// The errors that a client may see. Whoever returns one wraps it with what
// happened and the remedy: the whole text is shown.
var (
	ErrNotFound     = errors.New("not found")
	ErrNotReady     = errors.New("not ready")
	ErrPositionLost = errors.New("position lost")
	ErrTimeout      = errors.New("time limit exceeded")
	ErrConflict     = errors.New("conflict")
	ErrTooMany      = errors.New("too many requests")
	ErrTooLarge     = errors.New("result too large")
	ErrMemory       = errors.New("the query needs more memory than it may use")
	// ErrKeyMemory is for a query that a limit of its principal ends, not the engine's.
	ErrKeyMemory = fmt.Errorf("%w", ErrMemory)
	// ErrIncomplete is for those who may not give an answer with a hole in it,
	// such as a parity check; an ordinary answer says Complete = false.
	ErrIncomplete = errors.New("coverage incomplete")
)

// KeyMemoryHint is what to do about ErrKeyMemory.
const KeyMemoryHint = "group by fewer keys, narrow the time range, or run fewer queries at once; a new key may have a larger limit (tailwater key create --max-memory), within the server's --query-memory"

// A Refusal says why a request, or the SQL in it, is not executed.
type Refusal struct {
	Code    string // stable, for programs: "syntax", "unknown_table", …
	Message string // what is wrong
	Hint    string // what to do instead; may be empty
	// Position is where in the SQL, counted in characters from 1; 0 if it
	// concerns the statement as a whole.
	Position int
	// Candidates are names that may have been meant.
	Candidates []string
}

func (r *Refusal) Error() string {
	if r.Hint == "" {
		return r.Message
	}
	return r.Message + "; " + r.Hint
}

// A failure is an error as a client sees it.
type failure struct {
	status     int
	code       string
	message    string
	hint       string
	position   int
	candidates []string
	retryAfter time.Duration
}

// statuses maps errors to HTTP statuses; the first that matches wins.
var statuses = []struct {
	err        error
	status     int
	code       string
	hint       string
	retryAfter time.Duration
}{
	{ErrNotFound, http.StatusNotFound, "not_found", "", 0},
	{ErrPositionLost, http.StatusGone, "position_lost", "the log lost this position: send the events again", 0},
	{ErrNotReady, http.StatusServiceUnavailable, "not_ready", "recovery is under way; ask again, or watch /readyz", time.Second},
	{ErrIncomplete, http.StatusServiceUnavailable, "incomplete", "run a batch with rebuild to close the hole", 5 * time.Second},
	{ErrConflict, http.StatusConflict, "conflict", "", 0},
	{ErrTooMany, http.StatusTooManyRequests, "too_many_requests", "ask again later, or raise the concurrency limit", time.Second},
	{ErrTooLarge, http.StatusUnprocessableEntity, "result_too_large", "aggregate, filter, or page with limit and offset", 0},
	{ErrKeyMemory, http.StatusUnprocessableEntity, "out_of_memory", KeyMemoryHint, 0},
	{ErrMemory, http.StatusUnprocessableEntity, "out_of_memory", "group by fewer keys, narrow the time range, or raise the memory limit", 0},
	{ErrTimeout, http.StatusGatewayTimeout, "timeout", "narrow the time range, or raise the timeout", 0},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout", "narrow the time range, or raise the timeout", 0},
	{context.Canceled, statusClientGone, "canceled", "", 0},
}

// statusClientGone is nginx's status for a client that left: nobody reads it,
// but logs and metrics tell it from our own faults.
const statusClientGone = 499

// failureOf classifies err. An error of no known kind becomes a 500 without
// its text, which may name files and internals; known is then false.
func failureOf(err error) (f failure, known bool) {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		f = failure{status: http.StatusBadRequest, code: refusal.Code, message: refusal.Message, hint: refusal.Hint, position: refusal.Position, candidates: refusal.Candidates}
		var special *statusError
		if errors.As(err, &special) {
			f.status = special.status
		}
		return f, true
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return failure{status: s.status, code: s.code, message: err.Error(), hint: s.hint, retryAfter: s.retryAfter}, true
		}
	}
	var engine *duckdb.Error
	if errors.As(err, &engine) {
		return engineFailure(engine)
	}
	return internalFailure, false
}

var internalFailure = failure{status: http.StatusInternalServerError, code: "internal", message: "internal error", hint: "the server's log has the cause under the id of X-Request-Id"}

// statementFaults are the classes of engine errors that a statement brings on
// itself: wrong names and types, and values that overflow or do not convert.
var statementFaults = set("Binder Catalog Conversion Parser Syntax")

// engineFailure classifies an error of the engine. What it says of the user's
// own names is shown; the line with the caret is not: it quotes the rewritten
// statement, with files and internal names in it.
func engineFailure(e *duckdb.Error) (failure, bool) {
	message, _, _ := strings.Cut(e.Message, "\nLINE ")
	message = strings.TrimSpace(message)
	switch {
	case strings.Contains(message, duckdb.TooMuchWork):
		return failure{status: http.StatusUnprocessableEntity, code: "too_large", message: message, hint: "filter first, shorten the values with left(), or aggregate less into one value"}, true
	case strings.Contains(message, view.FillTooLarge):
		return failure{status: http.StatusUnprocessableEntity, code: "result_too_large", message: view.FillTooLarge, hint: "narrow it with from and to, filter keys, or group by fewer of them or by a coarser window"}, true
	case statementFaults[e.Type], e.Type == "Out of Range", e.Type == "Invalid Input", e.Type == "Mismatch Type":
		return failure{status: http.StatusBadRequest, code: "sql", message: message, candidates: candidatesOf(message)}, true
	case e.Type == "Out of Memory":
		return failure{status: http.StatusUnprocessableEntity, code: "out_of_memory", message: "the query needs more memory than it may use", hint: "group by fewer keys, narrow the time range, or raise the memory limit"}, true
	}
	return internalFailure, false
}

// engineRefusal words the engine's objection to a statement that it was given as its
// author wrote it. The line and the caret in the message are the author's own.
func engineRefusal(e *duckdb.Error, sql string) *Refusal {
	return &Refusal{Code: "sql", Message: e.Message, Position: caretPosition(e.Message, sql), Candidates: candidatesOf(e.Message)}
}

// caretPosition turns the engine's line and caret into a position; 0 if the message
// has none, or shows the line in part.
func caretPosition(message, sql string) int {
	_, place, ok := strings.Cut(message, "\n\nLINE ")
	number, rest, ok2 := strings.Cut(place, ": ")
	shown, caret, ok3 := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(number)
	lines := strings.Split(sql, "\n")
	if !ok || !ok2 || !ok3 || err != nil || n < 1 || n > len(lines) || lines[n-1] != shown {
		return 0
	}
	column := strings.IndexByte(caret, '^') - len("LINE : ") - len(number)
	if column < 0 {
		return 0
	}
	return utf8.RuneCountInString(strings.Join(lines[:n-1], "\n")) + min(n-1, 1) + column + 1
}

// candidateNames are what the engine offers instead: `Candidate bindings: "a", "b"`,
// `Did you mean "a"?`.
var (
	candidateLine = regexp.MustCompile(`(?m)(?:Candidate (?:bindings|tables)|Did you mean)[:]?.*$`)
	candidateName = regexp.MustCompile(`"([^"]+)"`)
)

func candidatesOf(message string) []string {
	var out []string
	for _, m := range candidateName.FindAllStringSubmatch(candidateLine.FindString(message), -1) {
		out = append(out, m[1])
	}
	return out
}
