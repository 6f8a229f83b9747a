package postgres

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving"
)

// SQLSTATEs, as Postgres uses them.
const (
	codeOK                = "00000"
	codeProtocol          = "08P01"
	codeUnsupported       = "0A000"
	codeInvalidText       = "22P02"
	codeNumberOutOfRange  = "22003"
	codeDatetimeOverflow  = "22008"
	codeInvalidParameter  = "22023"
	codeDivisionByZero    = "22012"
	codeData              = "22000"
	codeActiveTransaction = "25001"
	codeReadOnly          = "25006"
	codeFailedTransaction = "25P02"
	codeNoTransaction     = "25P01"
	codeNoStatement       = "26000"
	codePassword          = "28P01"
	codeAuthorization     = "28000"
	codeNoCursor          = "34000"
	codeNoDatabase        = "3D000"
	codeSavepoint         = "3B001"
	codeDuplicateCursor   = "42P03"
	codeDuplicatePrepared = "42P05"
	codeSyntax            = "42601"
	codeAmbiguous         = "42702"
	codeUnknownColumn     = "42703"
	codeAmbiguousFunction = "42725"
	codeGrouping          = "42803"
	codeTypeMismatch      = "42804"
	codeUnknownFunction   = "42883"
	codeReservedName      = "42939"
	codeUnknownTable      = "42P01"
	codeUnknownParameter  = "42P02"
	codeUnknownSetting    = "42704"
	codeFixedSetting      = "55P02"
	codeOutOfMemory       = "53200"
	codeTooManyClients    = "53300"
	codeBusy              = "53400"
	codeTooLarge          = "54000"
	codeTooComplex        = "54001"
	codeWrongState        = "55000"
	codeCanceled          = "57014"
	codeShutdown          = "57P01"
	codeNotReady          = "57P03"
	codeIdle              = "57P05"
	codeInternal          = "XX000"
)

// A wireError is an error as a client sees it.
type wireError struct {
	fatal    bool // the connection ends with it
	code     string
	message  string
	detail   string
	hint     string
	position int // in characters of the statement, from 1; 0 if unknown
}

func (e *wireError) Error() string { return e.message }

func (e *wireError) response() *pgproto3.ErrorResponse {
	severity := "ERROR"
	if e.fatal {
		severity = "FATAL"
	}
	return &pgproto3.ErrorResponse{Severity: severity, SeverityUnlocalized: severity, Code: e.code, Message: e.message, Detail: e.detail, Hint: e.hint, Position: int32(e.position)}
}

// Why a query ends before its rows do.
var (
	errCanceled   = &wireError{code: codeCanceled, message: "canceling statement due to user request"}
	errTimeout    = &wireError{code: codeCanceled, message: "canceling statement due to statement timeout", hint: "narrow the time range, or raise statement_timeout"}
	errClientGone = errors.New("the client has left")
	errStopping   = &wireError{fatal: true, code: codeShutdown, message: "terminating connection due to administrator command"}
	errIdle       = &wireError{fatal: true, code: codeIdle, message: "terminating connection due to idle-session timeout"}
)

// refusals maps the codes of serving.Refusal.
var refusals = map[string]string{
	"syntax": codeSyntax, "one_statement": codeSyntax, "only_select": codeReadOnly, "unsupported": codeUnsupported,
	"unknown_table": codeUnknownTable, "unknown_function": codeUnknownFunction, "reserved_name": codeReservedName,
	"too_long": codeTooLarge, "too_large": codeTooLarge, "too_complex": codeTooComplex,
	"position": codeInvalidParameter, "filter": codeInvalidParameter, "parameter": codeInvalidParameter,
}

// states maps the sentinels of serving.
var states = []struct {
	err  error
	code string
	hint string
}{
	{serving.ErrNotReady, codeNotReady, "recovery is under way; ask again soon"},
	{serving.ErrTimeout, codeCanceled, "narrow the time range, or raise statement_timeout"},
	{serving.ErrTooMany, codeBusy, "ask again later"},
	{serving.ErrTooLarge, codeTooLarge, "aggregate, filter, or page with LIMIT and OFFSET"},
	{serving.ErrKeyMemory, codeOutOfMemory, serving.KeyMemoryHint},
	{serving.ErrMemory, codeOutOfMemory, "group by fewer keys, or narrow the time range"},
	{serving.ErrNotFound, codeUnknownTable, ""},
	{serving.ErrPositionLost, codeWrongState, "the log lost this position: send the events again"},
	{serving.ErrIncomplete, codeWrongState, "run a batch with rebuild to close the hole"},
}

// toWire classifies an error. known is false for those whose text is not for
// clients: it may name files and internals.
func toWire(err error) (_ *wireError, known bool) {
	var own *wireError
	if errors.As(err, &own) {
		return own, true
	}
	var refusal *serving.Refusal
	if errors.As(err, &refusal) {
		return ofRefusal(refusal), true
	}
	for _, s := range states {
		if errors.Is(err, s.err) {
			return &wireError{code: s.code, message: err.Error(), hint: s.hint}, true
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errTimeout, true
	case errors.Is(err, context.Canceled):
		return errCanceled, true
	}
	var engine *duckdb.Error
	if errors.As(err, &engine) {
		switch engine.Type {
		case "Binder", "Catalog", "Conversion", "Parser", "Syntax", "Out of Range", "Invalid Input", "Mismatch Type":
			// The caret points into the rewritten statement, with names that are ours.
			message, _, _ := strings.Cut(engine.Message, "\nLINE ")
			return ofEngine(strings.TrimSpace(message)), true
		case "Out of Memory":
			return &wireError{code: codeOutOfMemory, message: "the query needs more memory than it may use", hint: "group by fewer keys, or narrow the time range"}, true
		}
	}
	return &wireError{code: codeInternal, message: "internal error", hint: "the server's log has the cause"}, false
}

func ofRefusal(r *serving.Refusal) *wireError {
	code, ok := refusals[r.Code]
	if !ok {
		message, position := caret(r.Message)
		e := ofEngine(message)
		e.hint, e.position = firstOf(r.Hint, e.hint), max(r.Position, position)
		return e
	}
	return &wireError{code: code, message: r.Message, hint: r.Hint, position: r.Position}
}

// engineCodes tell the engine's objections apart by their words.
var engineCodes = []struct {
	words *regexp.Regexp
	code  string
}{
	{regexp.MustCompile(`(?i)^(parser error: )?syntax error`), codeSyntax},
	{regexp.MustCompile(`unrecognized configuration parameter`), codeUnknownSetting},
	{regexp.MustCompile(`(?i)best candidate function`), codeAmbiguousFunction},
	{regexp.MustCompile(`(?i)ambiguous`), codeAmbiguous},
	{regexp.MustCompile(`(?i)must appear in the GROUP BY|GROUP BY clause cannot contain|aggregate`), codeGrouping},
	{regexp.MustCompile(`(?i)table function|scalar function|no function matches|function with name|macro`), codeUnknownFunction},
	{regexp.MustCompile(`(?i)referenced table|table with name|there is no table`), codeUnknownTable},
	{regexp.MustCompile(`(?i)referenced column|column .*not found|does not have a column|no column`), codeUnknownColumn},
	{regexp.MustCompile(`(?i)could not convert|conversion error|invalid .*format|could not parse|cannot cast|failed to cast`), codeInvalidText},
	{regexp.MustCompile(`(?i)out of range|overflow`), codeNumberOutOfRange},
	{regexp.MustCompile(`(?i)division by zero`), codeDivisionByZero},
	{regexp.MustCompile(`(?i)cannot compare|type mismatch|cannot mix values`), codeTypeMismatch},
	{regexp.MustCompile(`(?i)parameter`), codeInvalidParameter},
}

// candidates is how the engine names what may have been meant: in a line, or in
// one each.
var candidates = regexp.MustCompile(`(?s)\n+\s*((?:Candidate|Did you mean).*)$`)

func ofEngine(message string) *wireError {
	e := &wireError{code: codeData, message: message}
	if at := candidates.FindStringSubmatchIndex(message); at != nil {
		e.message, e.hint = strings.TrimSpace(message[:at[0]]), message[at[2]:at[3]]
		if head, list, ok := strings.Cut(e.hint, "\n"); ok {
			e.hint, e.detail = "", head+"\n"+list
		}
	}
	for _, c := range engineCodes {
		if c.words.MatchString(e.message) {
			e.code = c.code
			break
		}
	}
	return e
}

// caret takes the engine's picture of the place, LINE 1: … with a caret below,
// off a message. The place is known if the picture holds the statement's first
// line from its beginning.
func caret(message string) (text string, position int) {
	text, picture, ok := strings.Cut(message, "\nLINE ")
	if !ok {
		return message, 0
	}
	lines := strings.Split(picture, "\n")
	head, code, ok := strings.Cut(lines[0], ": ")
	if ok && head == "1" && !strings.HasPrefix(code, "...") && len(lines) > 1 {
		at := strings.IndexByte(lines[1], '^') - len("LINE "+head+": ")
		if at >= 0 && at <= len(code) {
			position = utf8.RuneCountInString(code[:at]) + 1
		}
	}
	return strings.TrimSpace(text), position
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
