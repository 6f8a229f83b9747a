package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// An Audit is told of every request that a key was shown for, and of every one that
// was denied, when it has ended. Record may be called by many goroutines, and does
// not fail a request.
type Audit interface {
	Record(e AuditEntry)
}

// An AuditEntry is one line of the audit log. No field may hold a secret.
type AuditEntry struct {
	Time      time.Time // when the request began
	RequestID string
	Principal string // empty if nobody was recognised
	Protocol  string // "http", "postgres"
	Remote    string // address of the client, as the connection has it
	Action    string // the route, such as "POST /v1/sql", or the protocol's message
	Target    string // the path, without its query
	Statement string // SQL; bounded by Record
	Outcome   string // "ok", "denied", "failed", "aborted"
	Code      string // the protocol's own status
	Rows      int64  // of the answer; -1 if that is not counted
	Elapsed   time.Duration
}

// Outcomes of an AuditEntry.
const (
	OutcomeOK      = "ok"
	OutcomeDenied  = "denied"  // for want of a key, a role or a table
	OutcomeFailed  = "failed"  // refused or broken
	OutcomeAborted = "aborted" // the answer broke off
)

// auditStatementBytes is how much of a statement is kept: enough to know what it
// was, and a line that appends in one piece.
const auditStatementBytes = 2000

// An AuditLog writes entries as lines of JSON to a file.
type AuditLog struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	file   *os.File
	failed bool // the last write did, which was said
}

// OpenAudit appends to the file at path, which only its owner can read. What goes
// wrong later is said in log, once until it works again: a full disk stops no query.
func OpenAudit(path string, log *slog.Logger) (*AuditLog, error) {
	a := &AuditLog{path: path, log: log}
	return a, a.Reopen()
}

// Reopen closes the file and opens its name again: whoever rotates the log has
// renamed it. If that fails, the old file stays in use.
func (a *AuditLog) Reopen() error {
	f, err := os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != nil {
		_ = a.file.Close() // every line was written when Record returned
	}
	a.file = f
	return nil
}

// Close closes the file; it is idempotent. Entries that come later are lost, and
// said to be.
func (a *AuditLog) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	err := a.file.Close()
	a.file = nil
	return err
}

// Record implements Audit.
func (a *AuditLog) Record(e AuditEntry) {
	line, err := json.Marshal(struct {
		Time      string  `json:"time"`
		RequestID string  `json:"request_id,omitempty"`
		Principal string  `json:"principal"`
		Protocol  string  `json:"protocol"`
		Remote    string  `json:"remote"`
		Action    string  `json:"action"`
		Target    string  `json:"target,omitempty"`
		Statement string  `json:"statement,omitempty"`
		Outcome   string  `json:"outcome"`
		Code      string  `json:"code,omitempty"`
		Rows      *int64  `json:"rows,omitempty"`
		ElapsedMS float64 `json:"elapsed_ms"`
	}{
		e.Time.UTC().Format(timeLayout), e.RequestID, e.Principal, e.Protocol, e.Remote, bounded(e.Action, 200), bounded(e.Target, 500),
		bounded(e.Statement, auditStatementBytes), e.Outcome, e.Code, counted(e.Rows), float64(e.Elapsed.Microseconds()) / 1000,
	})
	if err != nil {
		line = []byte(`{"outcome":"failed","action":"audit"}`) // no value of these types fails
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		err = os.ErrClosed
	} else {
		_, err = a.file.Write(append(line, '\n'))
	}
	if err != nil && !a.failed {
		a.log.Error("the audit log cannot be written: requests go on WITHOUT it; make room on its disk", "file", a.path, "error", err)
	}
	a.failed = err != nil
}

func counted(rows int64) *int64 {
	if rows < 0 {
		return nil
	}
	return &rows
}

// bounded cuts a text behind a whole character.
func bounded(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// A note is what a handler adds to its request's entry.
type note struct{ statement string }

type noteKey struct{}

// noteStatement has the entry of ctx's request carry the statement.
func noteStatement(ctx context.Context, sql string) {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		n.statement = sql
	}
}
