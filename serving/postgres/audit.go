package postgres

import (
	"strings"
	"time"

	"github.com/tailwater/tailwater/serving"
)

// denied records a login that failed.
func (b *Backend) denied(g *greeting, user string, why *wireError) {
	if b.Audit == nil || !strings.HasPrefix(why.code, "28") {
		return // a server that is full or starting denies nobody
	}
	b.Audit.Record(serving.AuditEntry{
		Time: time.Now(), Principal: user, Protocol: "postgres", Remote: g.conn.RemoteAddr().String(),
		Action: "login", Outcome: serving.OutcomeDenied, Code: why.code, Rows: -1,
	})
}

// record records a statement that has run, or was refused before.
func (ss *session) record(begun time.Time, action, sql string, rows int64, err error) {
	if ss.Audit == nil || !ss.server.cfg.Secured {
		return
	}
	e := serving.AuditEntry{
		Time: begun, Principal: ss.user, Protocol: "postgres", Remote: ss.out.conn.RemoteAddr().String(),
		Action: action, Statement: sql, Outcome: serving.OutcomeOK, Code: codeOK, Rows: rows, Elapsed: time.Since(begun),
	}
	if err != nil {
		w, _ := toWire(err)
		e.Code, e.Outcome = w.code, serving.OutcomeFailed
		switch {
		case strings.HasPrefix(w.code, "28"):
			e.Outcome = serving.OutcomeDenied
		case rows > 0:
			e.Outcome = serving.OutcomeAborted
		}
	}
	ss.Audit.Record(e)
}
