package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// writing begins the statements that change something. They are refused as a
// standby refuses them.
var writing = map[string]bool{}

func init() {
	for _, w := range strings.Fields(`insert update delete merge create alter drop truncate grant revoke comment vacuum reindex cluster refresh
		reassign security import do call lock notify load analyze checkpoint attach detach install pragma export use replace upsert`) {
		writing[w] = true
	}
}

// local gives the statement if the session answers it itself; nil if an engine
// does.
func (ss *session) local(p piece) (*statement, error) {
	first := strings.ToLower(p.word(0).text)
	switch first {
	case "set", "reset", "show", "discard", "deallocate":
		return ss.settingStatement(p, first)
	case "begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release":
		return ss.blockStatement(p, first)
	case "declare", "fetch", "move", "close":
		return ss.cursorStatement(p, first)
	case "prepare", "execute":
		if p.starts("prepare", "transaction") {
			return nil, readOnlyError("PREPARE TRANSACTION")
		}
		return ss.preparedStatement(p, first)
	case "listen", "unlisten":
		return ss.listenStatement(p, first)
	case "copy":
		return ss.copyStatement(p)
	}
	if writing[first] {
		tag := strings.ToUpper(first)
		if second := p.word(1); (first == "create" || first == "alter" || first == "drop") && second.kind == tokenWord {
			tag += " " + strings.ToUpper(second.text)
		}
		return nil, readOnlyError(tag)
	}
	return nil, nil
}

func readOnlyError(what string) *wireError {
	return &wireError{code: codeReadOnly, message: fmt.Sprintf("cannot execute %s in a read-only transaction", what), hint: "data comes in through ingest, and views are files of the project"}
}

func syntaxError(p piece, i int) *wireError {
	if i >= len(p.words) {
		return &wireError{code: codeSyntax, message: "syntax error at end of input", position: len([]rune(p.sql)) + 1}
	}
	return &wireError{code: codeSyntax, message: fmt.Sprintf("syntax error at or near %q", p.words[i].text), position: len([]rune(p.sql[:p.words[i].at])) + 1}
}

// action is a statement without rows.
func action(p piece, tag string, do func(ss *session) error) *statement {
	return &statement{piece: p, kind: kindSession, open: func(_ context.Context, ss *session, _ []argument) (*source, string, error) {
		return nil, tag, do(ss)
	}}
}

// settingStatement is SET, RESET, SHOW, DISCARD or DEALLOCATE.
func (ss *session) settingStatement(p piece, first string) (*statement, error) {
	switch first {
	case "set":
		return ss.setStatement(p)
	case "reset":
		name := p.word(1).name()
		if p.starts("reset", "time", "zone") {
			name = "timezone"
		}
		if name == "session" || p.starts("reset", "role") {
			return action(p, "RESET", func(*session) error { return nil }), nil
		}
		if name == "" {
			return nil, syntaxError(p, 1)
		}
		if _, ok := ss.settings.get(name); !ok && name != "all" && !p.word(2).is(".") {
			return nil, unknownSetting(name)
		}
		if name != "timezone" {
			name = dotted(p, 1)
		}
		return action(p, "RESET", func(ss *session) error {
			if err := ss.settings.reset(name); err != nil {
				return err
			}
			ss.report(name)
			return nil
		}), nil
	case "show":
		return ss.showStatement(p)
	case "discard":
		tag := "DISCARD " + strings.ToUpper(p.word(1).text)
		if !slices.Contains([]string{"DISCARD ALL", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP", "DISCARD TEMPORARY"}, tag) {
			return nil, syntaxError(p, 1)
		}
		return action(p, tag, func(ss *session) error {
			if tag != "DISCARD ALL" {
				return nil
			}
			if ss.tx != 'I' {
				return &wireError{code: codeActiveTransaction, message: "DISCARD ALL cannot run inside a transaction block"}
			}
			ss.settings.reset("all")
			clear(ss.statements)
			ss.closePortals(func(po *portal) bool { return po.statement.kind != kindSession })
			return nil
		}), nil
	}
	at := 1
	if p.word(at).is("prepare") && len(p.words) > 2 {
		at++
	}
	name := p.word(at).name()
	if name == "" {
		return nil, syntaxError(p, at)
	}
	if p.word(at).is("all") {
		return action(p, "DEALLOCATE ALL", func(ss *session) error {
			clear(ss.statements)
			return nil
		}), nil
	}
	return action(p, "DEALLOCATE", func(ss *session) error {
		if ss.statements[name] == nil {
			return noStatement(name)
		}
		delete(ss.statements, name)
		return nil
	}), nil
}

// dotted gives a setting's name, which may have parts.
func dotted(p piece, i int) string {
	name := p.word(i).name()
	for p.word(i + 1).is(".") {
		i += 2
		name += "." + p.word(i).name()
	}
	return name
}

// setStatement is SET in all its forms.
func (ss *session) setStatement(p piece) (*statement, error) {
	at := 1
	if p.word(1).is("session") && p.word(2).is("characteristics") {
		return ss.setTransaction(p, 5)
	}
	if (p.word(at).is("session") || p.word(at).is("local")) && !p.word(at+1).is("=") && !p.word(at+1).is("to") {
		at++
	}
	switch {
	case p.word(at).is("transaction"):
		return ss.setTransaction(p, at+1)
	case p.word(at).is("constraints"):
		return action(p, "SET CONSTRAINTS", func(*session) error { return nil }), nil
	case p.word(at).is("authorization"), p.word(at).is("role"):
		what := p.word(at + 1)
		if name := firstOf(what.name(), what.value()); what.is("default") || what.is("none") || name == ss.user {
			return action(p, "SET", func(*session) error { return nil }), nil
		}
		return nil, &wireError{code: "42501", message: "permission denied to set role " + fmt.Sprintf("%q", firstOf(what.name(), what.value()))}
	}
	name, valueAt := dotted(p, at), at+1
	for p.word(valueAt).is(".") {
		valueAt += 2
	}
	switch {
	case p.word(at).is("time") && p.word(at+1).is("zone"):
		name, valueAt = "TimeZone", at+2
	case p.word(at).is("names"):
		name = "client_encoding"
	case p.word(at).is("schema"):
		name = "search_path"
	case name == "":
		return nil, syntaxError(p, at)
	case !p.word(valueAt).is("=") && !p.word(valueAt).is("to"):
		return nil, syntaxError(p, valueAt)
	default:
		valueAt++
	}
	value, err := setValue(p, valueAt)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(value, "default") {
		if _, err := ss.settings.valid(name, value); err != nil {
			return nil, err
		}
	}
	return action(p, "SET", func(ss *session) error {
		if strings.EqualFold(value, "default") {
			if err := ss.settings.reset(name); err != nil {
				return err
			}
		} else if err := ss.settings.set(name, value); err != nil {
			return err
		}
		ss.report(name)
		return nil
	}), nil
}

// setValue joins the values behind SET name TO.
func setValue(p piece, at int) (string, error) {
	if at >= len(p.words) {
		return "", syntaxError(p, at)
	}
	if p.word(at).is("interval") { // SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE
		return p.word(at + 1).value(), nil
	}
	var sb strings.Builder
	for i := at; i < len(p.words); i++ {
		switch t := p.words[i]; {
		case t.is(","):
			sb.WriteString(", ")
		case t.kind == tokenString:
			sb.WriteString(t.value())
		case t.kind == tokenWord, t.kind == tokenQuoted, t.kind == tokenNumber, t.is("-"), t.is("+"):
			sb.WriteString(t.text)
		default:
			return "", syntaxError(p, i)
		}
	}
	return sb.String(), nil
}

// setTransaction takes the modes of a transaction: whatever is weaker than what
// holds is fine, writing is not.
func (ss *session) setTransaction(p piece, at int) (*statement, error) {
	for i := at; i+1 < len(p.words); i++ {
		if p.words[i].is("read") && p.words[i+1].is("write") {
			return nil, &wireError{code: codeReadOnly, message: "cannot set transaction read-write mode", hint: "this server is read-only"}
		}
	}
	return action(p, "SET", func(*session) error { return nil }), nil
}

// report tells the client the value of a setting, if it is among those.
func (ss *session) report(name string) {
	for _, r := range reported {
		if strings.EqualFold(r, name) || strings.EqualFold(name, "all") {
			value, _ := ss.settings.get(r)
			ss.out.send(&pgproto3.ParameterStatus{Name: r, Value: value})
		}
	}
}

// showStatement is SHOW.
func (ss *session) showStatement(p piece) (*statement, error) {
	name := dotted(p, 1)
	switch {
	case name == "":
		return nil, syntaxError(p, 1)
	case p.word(1).is("all") && len(p.words) == 2:
		return rows(p, []string{"name", "setting", "description"}, "SHOW", func(ss *session) ([][]string, error) {
			var out [][]string
			for _, s := range known {
				value, _ := ss.settings.get(s.name)
				out = append(out, []string{s.name, ss.value(s.name, value), s.help})
			}
			return out, nil
		}), nil
	case p.starts("show", "time", "zone"):
		name = "TimeZone"
	case p.starts("show", "transaction", "isolation", "level"):
		name = "transaction_isolation"
	case p.starts("show", "session", "authorization"):
		name = "session_authorization"
	}
	value, ok := ss.settings.get(name)
	if !ok {
		return nil, unknownSetting(name)
	}
	title := strings.ToLower(name)
	if k, ok := settingByName[title]; ok {
		title = k.name
	}
	return rows(p, []string{title}, "SHOW", func(ss *session) ([][]string, error) {
		if value, ok = ss.settings.get(name); !ok {
			return nil, unknownSetting(name)
		}
		return [][]string{{ss.value(name, value)}}, nil
	}), nil
}

// value gives a setting as it is shown: some are the server's.
func (ss *session) value(name, value string) string {
	switch strings.ToLower(name) {
	case "ssl":
		if ss.server.cfg.TLS != nil {
			return "on"
		}
		return "off"
	case "max_connections":
		return fmt.Sprint(ss.server.cfg.Connections)
	case "statement_timeout":
		if value != "0" {
			return value + "ms"
		}
	}
	return value
}

// rows is a statement whose rows are made here.
func rows(p piece, names []string, tag string, make func(ss *session) ([][]string, error)) *statement {
	return &statement{piece: p, kind: kindSession, columns: textRows(names).columns, open: func(_ context.Context, ss *session, _ []argument) (*source, string, error) {
		r, err := make(ss)
		if err != nil {
			return nil, "", err
		}
		return textRows(names, r...), tag, nil
	}}
}

// listenStatement accepts what a standby refuses, because pools send UNLISTEN * and
// nobody waits for a notification that never comes longer than for one that does.
func (ss *session) listenStatement(p piece, first string) (*statement, error) {
	if first == "listen" {
		return nil, &wireError{code: codeReadOnly, message: "cannot execute LISTEN during recovery", hint: "follow a view with GET /v1/views/{view}/live"}
	}
	return action(p, "UNLISTEN", func(*session) error { return nil }), nil
}

func (ss *session) closePortals(which func(*portal) bool) {
	for name, po := range ss.portals {
		if which(po) {
			po.close()
			delete(ss.portals, name)
		}
	}
}
