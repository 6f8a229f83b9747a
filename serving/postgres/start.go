package postgres

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tailwater/tailwater/serving"
)

// Codes of the packets that may come first.
const (
	packetCancel = 80877102
	packetSSL    = 80877103
	packetGSS    = 80877104
	protocol3    = 3
)

// A greeting is what a client says before it is let in.
type greeting struct {
	conn    net.Conn // encrypted, if the client asked for it
	r       *bufio.Reader
	secure  bool
	minor   uint32
	options map[string]string
}

// open greets a client and logs it in; nil without an error if it only asked to
// cancel something.
func (s *Server) open(conn net.Conn) (*session, error) {
	g, err := s.greet(conn)
	if err != nil || g == nil {
		return nil, err
	}
	w := &writer{conn: g.conn}
	ss, fatal := s.login(g, w)
	if fatal != nil {
		w.send(fatal.response())
		return nil, errors.Join(fatal, w.flush())
	}
	return ss, nil
}

// greet reads packets until one that starts a session.
func (s *Server) greet(conn net.Conn) (*greeting, error) {
	g := &greeting{conn: conn, r: bufferedReader(conn)}
	for range 4 { // SSL, GSS, SSL again, start: more is no client of ours
		code, body, err := readStart(g.r)
		if err != nil {
			return nil, err
		}
		switch {
		case code == packetCancel && len(body) == 8:
			s.cancel(binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:]))
			return nil, nil
		case code == packetGSS || code == packetSSL && (s.cfg.TLS == nil || g.secure):
			if _, err := g.conn.Write([]byte{'N'}); err != nil {
				return nil, err
			}
		case code == packetSSL:
			if err := g.encrypt(s.cfg.TLS); err != nil {
				return nil, err
			}
		case code>>16 == protocol3:
			g.minor, g.options = code&0xffff, readOptions(body)
			return g, nil
		default:
			w := &writer{conn: g.conn}
			w.send((&wireError{fatal: true, code: codeUnsupported, message: fmt.Sprintf("unsupported frontend protocol %d.%d: server supports 3.0", code>>16, code&0xffff)}).response())
			return nil, errors.Join(errors.New("unknown protocol"), w.flush())
		}
	}
	return nil, errors.New("the client never starts a session")
}

// encrypt goes on under TLS. What came before the handshake was not protected by
// it, and is not taken for a part of the session.
func (g *greeting) encrypt(cfg *tls.Config) error {
	if g.r.Buffered() > 0 {
		return errors.New("the client sent data before its TLS handshake")
	}
	if _, err := g.conn.Write([]byte{'S'}); err != nil {
		return err
	}
	g.conn, g.secure = tls.Server(g.conn, cfg), true
	g.r = bufferedReader(g.conn)
	return nil
}

// readStart reads a packet without a kind.
func readStart(r *bufio.Reader) (code uint32, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:])) - 8
	if n < 0 || n > maxStartBytes {
		return 0, nil, errMessageTooLong
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return binary.BigEndian.Uint32(head[4:]), body, err
}

func readOptions(body []byte) map[string]string {
	options := map[string]string{}
	fields := bytes.Split(body, []byte{0})
	for i := 0; i+1 < len(fields) && len(fields[i]) > 0; i += 2 {
		options[string(fields[i])] = string(fields[i+1])
	}
	return options
}

// login proves who the client is and begins its session.
func (s *Server) login(g *greeting, w *writer) (*session, *wireError) {
	user := g.options["user"]
	if user == "" {
		return nil, &wireError{fatal: true, code: codeAuthorization, message: "no PostgreSQL user name specified in startup packet"}
	}
	s.negotiate(g, w)
	if s.cfg.TLS != nil && !g.secure && !loopback(g.conn.RemoteAddr()) {
		return nil, &wireError{fatal: true, code: codeAuthorization, message: "this server takes encrypted connections only", hint: "connect with sslmode=require"}
	}
	backend := s.backend.Load()
	if backend == nil {
		return nil, starting(serving.ErrNotReady)
	}
	if s.cfg.Secured {
		if fatal := s.authenticate(g, w, user, backend.Authentication); fatal != nil {
			backend.denied(g, user, fatal)
			return nil, fatal
		}
	}
	if name := firstOf(g.options["database"], user); name != Database && name != user && name != "postgres" {
		return nil, &wireError{fatal: true, code: codeNoDatabase, message: fmt.Sprintf("database %q does not exist", name), hint: "there is one database, " + Database}
	}
	if err := backend.Queries.Ready(); err != nil {
		return nil, starting(err)
	}
	ss, fatal := s.newSession(g, w, user, backend)
	if fatal == nil {
		fatal = s.enter(ss)
	}
	if fatal != nil {
		backend.denied(g, user, fatal)
		return nil, fatal
	}
	w.send(&pgproto3.AuthenticationOk{})
	ss.welcome()
	return ss, nil
}

func starting(why error) *wireError {
	return &wireError{fatal: true, code: codeNotReady, message: "the database system is starting up", detail: why.Error()}
}

// negotiate tells a client that speaks a later minor version, or asks for options
// of the protocol, what there is.
func (s *Server) negotiate(g *greeting, w *writer) {
	var unknown []string
	for name := range g.options {
		if strings.HasPrefix(name, "_pq_.") {
			unknown = append(unknown, name)
		}
	}
	if g.minor > 0 || len(unknown) > 0 {
		// Postgres writes the whole version here, whatever the message's description says.
		w.send(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: protocol3 << 16, UnrecognizedOptions: unknown})
	}
}

// authenticate runs SCRAM. Whether the user is unknown or the password wrong is
// not told, by no byte and no step.
func (s *Server) authenticate(g *greeting, w *writer, user string, a Authentication) *wireError {
	verifier, known := a.Verifier(user)
	e := &exchange{verifier: verifier}
	w.send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{mechanism}})
	broken := &wireError{fatal: true, code: codeProtocol, message: errSCRAM.Error()}

	body, err := s.answer(g, w)
	var initial pgproto3.SASLInitialResponse
	if err != nil || initial.Decode(body) != nil || initial.AuthMechanism != mechanism {
		return broken
	}
	challenge, err := e.first(string(initial.Data))
	if err != nil {
		broken.message = err.Error()
		return broken
	}
	w.send(&pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)})
	if body, err = s.answer(g, w); err != nil {
		return broken
	}
	reply, ok, err := e.last(string(body))
	if err != nil {
		return broken
	}
	if !ok || !known {
		s.cfg.Logger.Warn("postgres: login refused", "user", user, "client", g.conn.RemoteAddr())
		return &wireError{fatal: true, code: codePassword, message: fmt.Sprintf("password authentication failed for user %q", user)}
	}
	w.send(&pgproto3.AuthenticationSASLFinal{Data: []byte(reply)})
	return nil
}

// answer sends what is waiting and takes the client's next step.
func (s *Server) answer(g *greeting, w *writer) ([]byte, error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	f, err := readFrame(g.r, maxAuthBytes)
	if err == nil && f.kind != 'p' {
		err = errSCRAM
	}
	return f.body, err
}
