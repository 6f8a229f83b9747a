package postgres

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// blockStatement is BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin. A block
// writes nothing; what it gives is that all its statements answer at the cut of its
// first.
func (ss *session) blockStatement(p piece, first string) (*statement, error) {
	switch first {
	case "begin", "start":
		if _, err := ss.setTransaction(p, 1); err != nil {
			return nil, err
		}
		tag := map[string]string{"begin": "BEGIN", "start": "START TRANSACTION"}[first]
		return action(p, tag, func(ss *session) error {
			if ss.tx != 'I' {
				ss.notice("WARNING", codeActiveTransaction, "there is already a transaction in progress")
				return nil
			}
			ss.tx, ss.cut, ss.savepoints = 'T', nil, nil
			return nil
		}), nil
	case "savepoint":
		name := p.word(1).name()
		if name == "" {
			return nil, syntaxError(p, 1)
		}
		return action(p, "SAVEPOINT", func(ss *session) error {
			if ss.tx == 'I' {
				return noBlock("SAVEPOINT")
			}
			if len(ss.savepoints) >= maxPortals {
				return &wireError{code: codeTooLarge, message: "too many savepoints"}
			}
			ss.savepoints = append(ss.savepoints, name)
			return nil
		}), nil
	case "release":
		return ss.toSavepoint(p, 1, "RELEASE")
	}
	for i := 1; i < len(p.words); i++ {
		if p.words[i].is("to") && first == "rollback" {
			st, err := ss.toSavepoint(p, i+1, "ROLLBACK")
			if st != nil {
				st.endsBlock = true
			}
			return st, err
		}
		if p.words[i].is("prepared") {
			return nil, readOnlyError(strings.ToUpper(first) + " PREPARED")
		}
	}
	return ss.endBlock(p, first), nil
}

func noBlock(what string) error {
	return &wireError{code: codeNoTransaction, message: what + " can only be used in transaction blocks"}
}

func (ss *session) toSavepoint(p piece, at int, tag string) (*statement, error) {
	if p.word(at).is("savepoint") && len(p.words) > at+1 {
		at++
	}
	name := p.word(at).name()
	if name == "" {
		return nil, syntaxError(p, at)
	}
	return action(p, tag, func(ss *session) error {
		i := slices.Index(ss.savepoints, name)
		switch {
		case ss.tx == 'I':
			return noBlock(tag)
		case i < 0:
			return &wireError{code: codeSavepoint, message: fmt.Sprintf("savepoint %q does not exist", name)}
		case tag == "RELEASE":
			ss.savepoints = ss.savepoints[:i]
		default:
			ss.savepoints, ss.tx = ss.savepoints[:i+1], 'T'
		}
		return nil
	}), nil
}

// endBlock is COMMIT or ROLLBACK; a block that failed can only roll back.
func (ss *session) endBlock(p piece, first string) *statement {
	st := &statement{piece: p, kind: kindSession, endsBlock: true}
	st.open = func(_ context.Context, ss *session, _ []argument) (*source, string, error) {
		tag := "COMMIT"
		if first == "rollback" || first == "abort" || ss.tx == 'E' {
			tag = "ROLLBACK"
		}
		if ss.tx == 'I' {
			ss.notice("WARNING", codeNoTransaction, "there is no transaction in progress")
		}
		ss.tx, ss.cut, ss.savepoints = 'I', nil, nil
		ss.closePortals(func(po *portal) bool {
			return !(po.held && tag == "COMMIT") && po.statement.open != nil && po.statement.kind != kindSession
		})
		return nil, tag, nil
	}
	return st
}

// cursorStatement is DECLARE, FETCH, MOVE or CLOSE.
func (ss *session) cursorStatement(p piece, first string) (*statement, error) {
	switch first {
	case "declare":
		return ss.declareStatement(p)
	case "close":
		name := p.word(1).name()
		if name == "" {
			return nil, syntaxError(p, 1)
		}
		if p.word(1).is("all") {
			return action(p, "CLOSE CURSOR ALL", func(ss *session) error {
				ss.closePortals(func(po *portal) bool { return po.statement.kind != kindSession })
				return nil
			}), nil
		}
		return action(p, "CLOSE CURSOR", func(ss *session) error {
			if ss.portals[name] == nil {
				return noCursor(name)
			}
			ss.closeNamed('P', name)
			return nil
		}), nil
	}
	return ss.fetchStatement(p, first)
}

func noCursor(name string) error {
	return &wireError{code: codeNoCursor, message: fmt.Sprintf("cursor %q does not exist", name)}
}

// declareStatement is DECLARE name [options] CURSOR [WITH HOLD] FOR query.
func (ss *session) declareStatement(p piece) (*statement, error) {
	name, at, hold := p.word(1).name(), 2, false
	for ; at < len(p.words) && !p.words[at].is("for"); at++ {
		switch {
		case p.words[at].is("hold") && p.words[at-1].is("with"):
			hold = true
		case p.words[at].is("scroll") && !p.words[at-1].is("no"):
			return nil, &wireError{code: codeUnsupported, message: "cursors go forward only", hint: "leave SCROLL out"}
		}
	}
	if name == "" || at+1 >= len(p.words) {
		return nil, syntaxError(p, at+1)
	}
	query := split(p.rest(at + 1))[0]
	of, err := ss.plan(query, nil, false)
	if err != nil {
		return nil, err
	}
	if of.kind == kindSession {
		return nil, syntaxError(p, at+1)
	}
	return action(p, "DECLARE CURSOR", func(ss *session) error {
		switch {
		case ss.tx == 'I' && !hold:
			return noBlock("DECLARE CURSOR")
		case ss.portals[name] != nil:
			return &wireError{code: codeDuplicateCursor, message: fmt.Sprintf("cursor %q already exists", name)}
		case len(ss.portals) >= maxPortals:
			return &wireError{code: codeTooLarge, message: fmt.Sprintf("more than %d cursors are open", maxPortals), hint: "close those that were read"}
		}
		po := ss.portal(of, nil, nil)
		po.held = hold
		if err := po.start(); err != nil {
			po.close()
			return err
		}
		ss.portals[name] = po
		return nil
	}), nil
}

// fetchStatement is FETCH or MOVE, forward.
func (ss *session) fetchStatement(p piece, first string) (*statement, error) {
	count, at := int64(1), 1
	switch t := p.word(at); {
	case t.is("next"):
		at++
	case t.is("all"):
		count, at = 0, at+1
	case t.is("forward"):
		at++
		if p.word(at).is("all") {
			count, at = 0, at+1
		} else if p.word(at).kind == tokenNumber {
			count, at = number64(p.word(at).text), at+1
		}
	case t.kind == tokenNumber:
		count, at = number64(t.text), at+1
	case t.is("backward"), t.is("prior"), t.is("first"), t.is("last"), t.is("absolute"), t.is("relative"), t.is("-"):
		return nil, &wireError{code: codeWrongState, message: "cursor can only scan forward", hint: "use FETCH FORWARD"}
	}
	if p.word(at).is("from") || p.word(at).is("in") {
		at++
	}
	name := p.word(at).name()
	if name == "" || len(p.words) > at+1 {
		return nil, syntaxError(p, min(at+1, len(p.words)))
	}
	of := ss.portals[name]
	if of == nil || of.source == nil && !of.done {
		return nil, noCursor(name)
	}
	tag := strings.ToUpper(first)
	if first == "move" {
		return ss.moveStatement(p, name, count), nil
	}
	st := &statement{piece: p, kind: kindSession, columns: of.columns}
	st.open = func(_ context.Context, ss *session, _ []argument) (*source, string, error) {
		of := ss.portals[name]
		if of == nil {
			return nil, "", noCursor(name)
		}
		return of.window(count, st.columns), tag, nil
	}
	return st, nil
}

func number64(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// window gives the next count rows of a cursor, all if it is 0.
func (p *portal) window(count int64, columns []column) *source {
	left := count
	return &source{columns: columns, close: func() {}, next: func(ctx context.Context) (arrow.RecordBatch, error) {
		if count > 0 && left == 0 {
			return nil, io.EOF
		}
		b, err := p.take(ctx, left)
		if err == nil {
			left -= b.NumRows()
		}
		return b, err
	}}
}

func (ss *session) moveStatement(p piece, name string, count int64) *statement {
	st := &statement{piece: p, kind: kindSession}
	st.open = func(ctx context.Context, ss *session, _ []argument) (*source, string, error) {
		of := ss.portals[name]
		if of == nil {
			return nil, "", noCursor(name)
		}
		moved, window := int64(0), of.window(count, nil)
		for {
			b, err := window.next(ctx)
			if err == io.EOF {
				return nil, fmt.Sprintf("MOVE %d", moved), nil
			}
			if err != nil {
				return nil, "", err
			}
			moved += b.NumRows()
		}
	}
	return st
}
