package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/serving"
)

// A source is the rows of a statement that runs.
type source struct {
	columns []column
	// next gives the next rows, at least one; io.EOF after the last.
	next  func(ctx context.Context) (arrow.RecordBatch, error)
	close func()
	cut   event.Cut // at which the rows are; nil if they are no data
	// warning is what a client should know of the rows.
	warning string
}

// An argument is the value of a parameter.
type argument = serving.Parameter

// A portal is a statement with its arguments, and the place up to which its rows
// were sent. A suspended one keeps its snapshot.
type portal struct {
	session   *session
	statement *statement
	args      []argument
	formats   []int16
	simple    bool // the simple protocol: columns come before the rows
	held      bool // outlives the transaction

	ctx     context.Context
	cancel  context.CancelCauseFunc
	started bool
	done    bool
	tag     string // of what was done, without a count of rows
	source  *source
	columns []column          // of source; they stay when it is closed
	batch   arrow.RecordBatch // what of it was not taken yet; nil if nothing
	given   int64             // rows in all
	bytes   int64
}

func (ss *session) portal(st *statement, args []argument, formats []int16) *portal {
	p := &portal{session: ss, statement: st, args: args, formats: formats}
	p.ctx, p.cancel = context.WithCancelCause(ss.base)
	return p
}

// close lets the snapshot go. It is idempotent.
func (p *portal) close() {
	p.cancel(errClientGone)
	if p.source != nil {
		p.source.close()
		p.source = nil
	}
	p.batch, p.done = nil, true
}

// execute runs a portal, or goes on with it, for at most max rows; 0 is all.
func (ss *session) execute(p *portal, max int64) error {
	begun := time.Now()
	err := ss.run1(p, max)
	if err != nil {
		if p.ctx.Err() != nil {
			err = context.Cause(p.ctx)
		}
		p.close()
	}
	kind, state := p.statement.kind, codeOK
	if err != nil {
		e, _ := toWire(err)
		state = e.code
	}
	ss.server.metrics.statements.WithLabelValues(kind, state).Inc()
	ss.server.metrics.seconds.WithLabelValues(kind).Observe(time.Since(begun).Seconds())
	if kind != kindSession {
		ss.record(begun, map[bool]string{true: "Query", false: "Execute"}[p.simple], p.statement.sql, p.given, err)
	}
	return err
}

func (ss *session) run1(p *portal, max int64) error {
	if ss.tx == 'E' && !p.statement.endsBlock {
		return &wireError{code: codeFailedTransaction, message: "current transaction is aborted, commands ignored until end of transaction block"}
	}
	if p.statement.empty() {
		ss.out.send(&pgproto3.EmptyQueryResponse{})
		return nil
	}
	if err := ss.allowed(); err != nil {
		return err
	}
	ss.running(p.cancel)
	defer ss.running(nil)
	limit := time.AfterFunc(ss.settings.timeout(), func() { p.cancel(errTimeout) })
	defer limit.Stop()
	switch {
	case p.statement.kind == kindSession:
	case p.statement.kind == kindData && max == 0 && !p.started && ss.Lend != nil:
		p.ctx = ss.Lend(p.ctx)
	case ss.Acquire != nil:
		release, err := ss.Acquire(p.ctx)
		if err != nil {
			return err
		}
		defer release()
	}
	if err := p.start(); err != nil {
		return err
	}
	if p.source == nil {
		ss.complete(p.tag)
		return nil
	}
	if p.statement.copy {
		return p.copyOut()
	}
	if p.simple {
		ss.out.send(describeRows(p.source.columns, nil))
	}
	return p.send(max)
}

// start runs the statement unless it runs.
func (p *portal) start() (err error) {
	if p.started {
		if p.source == nil && p.done && p.tag == "" {
			return &wireError{code: codeWrongState, message: "the portal cannot be run again"}
		}
		return nil
	}
	p.started = true
	p.source, p.tag, err = p.statement.open(p.ctx, p.session, p.args)
	if err != nil || p.source == nil {
		return err
	}
	if p.columns = p.source.columns; p.source.warning != "" {
		p.session.notice("WARNING", "01000", p.source.warning)
	}
	return nil
}

// take gives the next rows, at most max of them unless it is 0; io.EOF at the end.
func (p *portal) take(ctx context.Context, max int64) (arrow.RecordBatch, error) {
	if p.done {
		return nil, io.EOF
	}
	if p.batch == nil {
		b, err := p.source.next(ctx)
		if errors.Is(err, io.EOF) {
			p.done = true
			p.source.close()
		}
		if err != nil {
			return nil, err
		}
		p.batch = b
	}
	b := p.batch
	p.batch = nil
	if max > 0 && b.NumRows() > max {
		p.batch = b.NewSlice(max, b.NumRows())
		b = b.NewSlice(0, max)
	}
	p.given += b.NumRows()
	if limit := p.session.limits.Rows; p.given > limit {
		return nil, &wireError{code: codeTooLarge, message: fmt.Sprintf("the result has more than %d rows", limit), hint: "aggregate, filter, or page with LIMIT and OFFSET"}
	}
	return b, nil
}

// send writes rows until max are written or there are no more.
func (p *portal) send(max int64) error {
	out := p.session.out
	formats := make([]int16, len(p.source.columns))
	for i := range formats {
		formats[i] = formatOf(p.formats, i)
	}
	sent := int64(0)
	for max == 0 || sent < max {
		b, err := p.take(p.ctx, max-sent)
		if errors.Is(err, io.EOF) {
			p.session.complete(fmt.Sprintf("%s %d", firstOf(p.tag, "SELECT"), sent))
			return nil
		}
		if err != nil {
			return err
		}
		rows := newRowEncoder(p.source.columns, formats, b)
		for i := range int(b.NumRows()) {
			at := len(out.buf)
			if out.buf = rows.row(out.buf, i); rows.err != nil {
				out.buf = out.buf[:at]
				return rows.err
			}
			p.bytes += int64(len(out.buf) - at)
			if limit := p.session.limits.Bytes; limit > 0 && p.bytes > limit {
				return tooManyBytes(limit)
			}
			if len(out.buf) >= flushBytes {
				if err := out.flush(); err != nil {
					return err
				}
			}
		}
		sent += b.NumRows()
	}
	p.session.out.send(&pgproto3.PortalSuspended{})
	return nil
}

func tooManyBytes(limit int64) error {
	return &wireError{code: codeTooLarge, message: fmt.Sprintf("the result has more than %d bytes", limit), hint: "aggregate, filter, or page with LIMIT and OFFSET"}
}

func (ss *session) complete(tag string) {
	ss.out.send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
}

// copyOut writes rows in the text format of COPY.
func (p *portal) copyOut() error {
	columns := p.source.columns
	out := p.session.out
	out.send(&pgproto3.CopyOutResponse{ColumnFormatCodes: make([]uint16, len(columns))})
	if f := p.statement.copyFormat; f.header {
		out.send(&pgproto3.CopyData{Data: f.heading(columns)})
	}
	formats := make([]int16, len(columns))
	for {
		b, err := p.take(p.ctx, 0)
		if errors.Is(err, io.EOF) {
			out.send(&pgproto3.CopyDone{})
			p.session.complete(fmt.Sprintf("COPY %d", p.given))
			return nil
		}
		if err != nil {
			return err
		}
		rows := newRowEncoder(columns, formats, b)
		for i := range int(b.NumRows()) {
			line := p.statement.copyFormat.line(rows, i)
			if rows.err != nil {
				return rows.err
			}
			p.bytes += int64(len(line))
			if limit := p.session.limits.Bytes; limit > 0 && p.bytes > limit {
				return tooManyBytes(limit)
			}
			out.send(&pgproto3.CopyData{Data: line})
			if err := out.full(); err != nil {
				return err
			}
		}
	}
}

// textRows makes a source of rows that were made here.
func textRows(names []string, rows ...[]string) *source {
	columns := make([]event.Column, len(names))
	for i, n := range names {
		columns[i] = event.Column{Name: n, Type: event.Type{Kind: event.Varchar}}
	}
	given := len(rows) == 0
	return &source{
		columns: columnsOf(columns), close: func() {},
		next: func(context.Context) (arrow.RecordBatch, error) {
			if given {
				return nil, io.EOF
			}
			given = true
			return textBatch(columns, rows), nil
		},
	}
}
