package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
)

// Bounds of what one session keeps.
const (
	maxStatements = 10_000 // drivers cache some hundred
	maxPortals    = 64     // each open one holds a snapshot
)

// A session is one client, from its login on. It is used by one goroutine but
// for interrupt.
type session struct {
	server *Server
	*Backend
	in     *inbox
	out    *writer
	secure bool
	user   string
	base   context.Context // ends with the session
	end    context.CancelFunc

	pid, secret uint32
	database    string
	started     time.Time
	settings    *settings
	limits      access.Limits // of whoever asks
	hidden      []string      // object ids of tables that whoever asks may not know of
	over        bool          // the session ends: the client has been told why

	tx         byte      // 'I' idle, 'T' in a block, 'E' in a block that failed
	cut        event.Cut // of the block's first answer
	savepoints []string
	statements map[string]*statement
	portals    map[string]*portal // cursors too: they share names
	skipping   bool               // an error of the extended protocol: all is ignored until Sync

	mu     sync.Mutex
	stop   context.CancelCauseFunc // of the statement that runs; nil if none does
	leaver error                   // set once the client has gone
}

// newSession begins a session; its reader runs until the connection ends.
func (s *Server) newSession(g *greeting, w *writer, user string, b *Backend) (*session, *wireError) {
	ctx := context.Background()
	if s.cfg.Secured {
		var err error
		if ctx, err = b.Authentication.Authenticated(ctx, user); err != nil {
			return nil, &wireError{fatal: true, code: codeAuthorization, message: err.Error()}
		}
	}
	ss := &session{
		server: s, Backend: b, in: newInbox(), out: w, secure: g.secure, user: user, database: firstOf(g.options["database"], user), started: time.Now(),
		tx: 'I', statements: map[string]*statement{}, portals: map[string]*portal{},
	}
	ss.base, ss.end = context.WithCancel(ctx)
	var fatal *wireError
	ss.limits = access.From(ctx).Within(access.Limits{Time: s.cfg.Timeout, Rows: s.cfg.MaxRows})
	if ss.settings, fatal = newSettings(g.options, user, ss.limits.Time); fatal != nil {
		ss.end()
		return nil, fatal
	}
	ss.hidden = b.hidden(ctx)
	go ss.in.fill(g.r, func() {
		ss.mu.Lock()
		ss.leaver = errClientGone
		ss.mu.Unlock()
		ss.interrupt(errClientGone)
	})
	return ss, nil
}

// welcome tells the client what a session begins with.
func (ss *session) welcome() {
	for _, name := range reported {
		value, _ := ss.settings.get(name)
		ss.out.send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	ss.out.send(&pgproto3.BackendKeyData{ProcessID: ss.pid, SecretKey: binary.BigEndian.AppendUint32(nil, ss.secret)})
	ss.out.send(&pgproto3.ReadyForQuery{TxStatus: ss.tx})
}

// allowed reports why the user may not ask any more, if that is so: a key can be
// revoked, or end, while its session lives.
func (ss *session) allowed() error {
	if !ss.server.cfg.Secured {
		return nil
	}
	if _, err := ss.Authentication.Authenticated(context.Background(), ss.user); err != nil {
		return &wireError{fatal: true, code: codeAuthorization, message: err.Error()}
	}
	return nil
}

// interrupt ends the statement that runs, if one does.
func (ss *session) interrupt(why error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.stop != nil {
		ss.stop(why)
	}
}

// running makes stop the way to end the statement; nil when it is done.
func (ss *session) running(stop context.CancelCauseFunc) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.stop = stop
	if stop != nil && ss.leaver != nil {
		stop(ss.leaver)
	}
}

// run answers messages until the client leaves.
func (ss *session) run() error {
	defer ss.close()
	if err := ss.out.flush(); err != nil {
		return err
	}
	for {
		f, err := ss.next()
		if err != nil {
			return ss.farewell(err)
		}
		if f.kind == 'X' {
			return nil
		}
		if err := ss.handle(f); err != nil {
			var fatal *wireError
			if errors.As(err, &fatal) {
				return ss.farewell(err)
			}
			return err
		}
		if ss.over {
			return ss.out.flush()
		}
	}
}

// next waits for the client, for as long as a session may be silent.
func (ss *session) next() (frame, error) {
	idle := time.AfterFunc(ss.server.cfg.Idle, func() { ss.in.stop(errIdle) })
	defer idle.Stop()
	return ss.in.next()
}

// farewell tells the client why the session ends.
func (ss *session) farewell(err error) error {
	var fatal *wireError
	switch {
	case errors.As(err, &fatal):
	case errors.Is(err, errMessageTooLong):
		fatal = &wireError{fatal: true, code: codeProtocol, message: err.Error()}
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
	ss.out.send(fatal.response())
	return errors.Join(err, ss.out.flush())
}

func (ss *session) close() {
	ss.end()
	for _, p := range ss.portals {
		p.close()
	}
	ss.in.close()
}

// handle answers one message. Its error ends the session.
func (ss *session) handle(f frame) error {
	if ss.skipping && f.kind != 'S' {
		return nil
	}
	switch f.kind {
	case 'Q':
		var m pgproto3.Query
		if err := m.Decode(f.body); err != nil {
			return ss.malformed(err)
		}
		if ss.simple(m.String); ss.over {
			return nil
		}
		return ss.ready()
	case 'S':
		ss.skipping = false
		ss.finishImplicit()
		return ss.ready()
	case 'H':
		return ss.out.flush()
	case 'P', 'B', 'D', 'E', 'C':
		err := ss.extended(f)
		if err != nil {
			ss.fail(err)
			ss.skipping = true
		}
		return ss.out.full()
	case 'd', 'c', 'f': // what is left of a COPY that was refused
		return nil
	case 'F':
		ss.fail(&wireError{code: codeUnsupported, message: "function calls are not supported", hint: "send a SELECT"})
		return ss.ready()
	}
	return ss.malformed(fmt.Errorf("message of unknown kind %q", f.kind))
}

func (ss *session) malformed(err error) error {
	return &wireError{fatal: true, code: codeProtocol, message: "invalid message: " + err.Error()}
}

// ready says that the next statement is waited for.
func (ss *session) ready() error {
	ss.out.send(&pgproto3.ReadyForQuery{TxStatus: ss.tx})
	return ss.out.flush()
}

// finishImplicit ends the transaction that a statement outside a block is: portals
// do not outlive it.
func (ss *session) finishImplicit() {
	if ss.tx != 'I' {
		return
	}
	for name, p := range ss.portals {
		if !p.held {
			p.close()
			delete(ss.portals, name)
		}
	}
	ss.cut = nil
}

// fail tells the client of an error; a block that it happens in has failed.
func (ss *session) fail(err error) {
	e, known := toWire(err)
	if !known {
		ss.server.cfg.Logger.Error("postgres: statement failed", "user", ss.user, "error", err)
	}
	if ss.tx == 'T' {
		ss.tx = 'E'
	}
	ss.over = ss.over || e.fatal
	ss.out.send(e.response())
}

// notice tells the client something that is no error.
func (ss *session) notice(severity, code, message string) {
	ss.out.send((*pgproto3.NoticeResponse)(&pgproto3.ErrorResponse{Severity: severity, SeverityUnlocalized: severity, Code: code, Message: message}))
}

// simple runs the statements of a text one after another, until one fails.
func (ss *session) simple(text string) {
	pieces := split(text)
	if len(pieces) == 0 {
		ss.out.send(&pgproto3.EmptyQueryResponse{})
		return
	}
	for _, p := range pieces {
		if err := ss.simpleStatement(p); err != nil {
			e, known := toWire(err)
			if known && e.position > 0 {
				moved := *e
				moved.position += len([]rune(text[:p.offset]))
				err = &moved
			}
			ss.fail(err)
			break
		}
	}
	ss.finishImplicit()
}

func (ss *session) simpleStatement(p piece) error {
	begun := time.Now()
	st, err := ss.plan(p, nil, false)
	if err != nil {
		ss.record(begun, "Query", p.sql, -1, err)
		return err
	}
	if n := st.highestParameter(); n > 0 && st.kind != kindSession {
		return &wireError{code: codeUnknownParameter, message: fmt.Sprintf("there is no parameter $%d", n)}
	}
	po := ss.portal(st, nil, nil)
	po.simple = true
	defer po.close()
	return ss.execute(po, 0)
}

// describeRows announces columns.
func describeRows(columns []column, formats []int16) *pgproto3.RowDescription {
	m := &pgproto3.RowDescription{Fields: make([]pgproto3.FieldDescription, len(columns))}
	for i, c := range columns {
		m.Fields[i] = pgproto3.FieldDescription{Name: []byte(strings.ReplaceAll(c.name, "\x00", "")), DataTypeOID: c.oid, DataTypeSize: c.size, TypeModifier: c.typmod, Format: formatOf(formats, i)}
	}
	return m
}

// formatOf gives the format of a column: none given is text, one is for all.
func formatOf(formats []int16, i int) int16 {
	switch {
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return formatText
}
