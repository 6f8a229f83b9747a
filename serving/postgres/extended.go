package postgres

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// extended answers a message of the extended protocol.
func (ss *session) extended(f frame) error {
	switch f.kind {
	case 'P':
		var m pgproto3.Parse
		if err := m.Decode(f.body); err != nil {
			return badMessage(err)
		}
		return ss.parse(&m)
	case 'B':
		var m pgproto3.Bind
		if err := m.Decode(f.body); err != nil {
			return badMessage(err)
		}
		return ss.bind(&m)
	case 'D':
		var m pgproto3.Describe
		if err := m.Decode(f.body); err != nil {
			return badMessage(err)
		}
		return ss.describe(&m)
	case 'E':
		var m pgproto3.Execute
		if err := m.Decode(f.body); err != nil {
			return badMessage(err)
		}
		p := ss.portals[m.Portal]
		if p == nil {
			return noPortal(m.Portal)
		}
		return ss.execute(p, int64(int32(m.MaxRows)))
	}
	var m pgproto3.Close
	if err := m.Decode(f.body); err != nil {
		return badMessage(err)
	}
	ss.closeNamed(m.ObjectType, m.Name)
	ss.out.send(&pgproto3.CloseComplete{})
	return nil
}

func badMessage(err error) error {
	return &wireError{code: codeProtocol, message: "invalid message: " + err.Error()}
}

func noPortal(name string) error {
	return &wireError{code: codeNoCursor, message: fmt.Sprintf("portal %q does not exist", name)}
}

func noStatement(name string) error {
	return &wireError{code: codeNoStatement, message: fmt.Sprintf("prepared statement %q does not exist", name)}
}

func (ss *session) closeNamed(kind byte, name string) {
	if kind == 'S' {
		delete(ss.statements, name)
		return
	}
	if p := ss.portals[name]; p != nil {
		p.close()
		delete(ss.portals, name)
	}
}

// parse checks a statement and keeps it under its name.
func (ss *session) parse(m *pgproto3.Parse) error {
	if m.Name != "" && ss.statements[m.Name] != nil {
		return &wireError{code: codeDuplicatePrepared, message: fmt.Sprintf("prepared statement %q already exists", m.Name)}
	}
	if len(ss.statements) >= maxStatements {
		return &wireError{code: codeTooLarge, message: fmt.Sprintf("more than %d prepared statements", maxStatements), hint: "close those that are not used"}
	}
	delete(ss.statements, "") // an unnamed one is gone even if the next fails
	pieces := split(m.Query)
	if len(pieces) > 1 {
		return &wireError{code: codeSyntax, message: "cannot insert multiple commands into a prepared statement"}
	}
	p := piece{}
	if len(pieces) == 1 {
		p = pieces[0]
	}
	begun := time.Now()
	st, err := ss.plan(p, m.ParameterOIDs, true)
	if err != nil {
		ss.record(begun, "Parse", m.Query, -1, err)
		return err
	}
	ss.statements[m.Name] = st
	ss.out.send(&pgproto3.ParseComplete{})
	return nil
}

// bind makes a portal of a statement and values.
func (ss *session) bind(m *pgproto3.Bind) error {
	st := ss.statements[m.PreparedStatement]
	if st == nil {
		return noStatement(m.PreparedStatement)
	}
	if len(m.Parameters) != len(st.parameters) {
		return &wireError{code: codeProtocol, message: fmt.Sprintf("bind message supplies %d parameters, but prepared statement %q requires %d", len(m.Parameters), m.PreparedStatement, len(st.parameters))}
	}
	if old := ss.portals[m.DestinationPortal]; old != nil {
		if m.DestinationPortal != "" {
			return &wireError{code: codeDuplicateCursor, message: fmt.Sprintf("portal %q already exists", m.DestinationPortal)}
		}
		old.close()
		delete(ss.portals, "")
	}
	if len(ss.portals) >= maxPortals {
		return &wireError{code: codeTooLarge, message: fmt.Sprintf("more than %d portals are open", maxPortals), hint: "close cursors that were read, or end the transaction"}
	}
	if err := checkFormats(m.ResultFormatCodes, len(st.columns)); err != nil {
		return err
	}
	if err := checkFormats(m.ParameterFormatCodes, len(st.parameters)); err != nil {
		return err
	}
	args := make([]argument, len(m.Parameters))
	for i, raw := range m.Parameters {
		arg, err := decodeParameter(i+1, st.parameters[i], formatOf(m.ParameterFormatCodes, i), raw)
		if err != nil {
			return err
		}
		args[i] = arg
	}
	ss.portals[m.DestinationPortal] = ss.portal(st, args, m.ResultFormatCodes)
	ss.out.send(&pgproto3.BindComplete{})
	return nil
}

func checkFormats(formats []int16, n int) error {
	if len(formats) > 1 && len(formats) != n {
		return &wireError{code: codeProtocol, message: fmt.Sprintf("bind message has %d formats for %d values", len(formats), n)}
	}
	for _, f := range formats {
		if f != formatText && f != formatBinary {
			return &wireError{code: codeInvalidParameter, message: fmt.Sprintf("unsupported format code: %d", f)}
		}
	}
	return nil
}

// describe tells types and columns of a statement or portal.
func (ss *session) describe(m *pgproto3.Describe) error {
	var columns []column
	var formats []int16
	if m.ObjectType == 'S' {
		st := ss.statements[m.Name]
		if st == nil {
			return noStatement(m.Name)
		}
		ss.out.send(&pgproto3.ParameterDescription{ParameterOIDs: st.parameters})
		columns = st.columns
	} else {
		p := ss.portals[m.Name]
		if p == nil {
			return noPortal(m.Name)
		}
		columns, formats = p.statement.columns, p.formats
	}
	if columns == nil {
		ss.out.send(&pgproto3.NoData{})
		return nil
	}
	ss.out.send(describeRows(columns, formats))
	return nil
}
