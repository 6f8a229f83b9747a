// Package postgres speaks Postgres' protocol, so that psql, drivers and dashboards
// read streams and views as they read any database.
//
//	client ──► Server ──► session ──┬── SET, BEGIN, FETCH …   answered here
//	           TLS, SCRAM,          │   local*.go
//	           cancel               ├── pg_catalog, \d …      Catalog: an engine that holds
//	                                │   catalog*.go           names and types, and no data
//	                                └── all the rest          serving.Queries: gate, cut, rows
//
// Everything is read-only: what would write is refused as a standby refuses it.
// What reaches an engine has passed a serving.Gate, whatever the protocol's mode.
package postgres

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/serving"
)

// Queries is what the server asks of the core.
type Queries interface {
	SQL(ctx context.Context, r serving.SQLRequest) (*serving.Answer, error)
	Prepare(ctx context.Context, sql string) (*serving.Prepared, error)
	Ready() error
}

// Authentication knows who may come in. It may be used by many goroutines.
type Authentication interface {
	// Verifier gives what proves the password of a user. For one that is none it gives
	// false and a verifier that nothing satisfies, always the same: an exchange with it
	// tells nobody which users there are.
	Verifier(user string) (Verifier, bool)
	// Authenticated gives the context in which the user's statements run, after
	// the proof held, and again before each statement: it refuses a user who may not
	// ask any more. The error's text is shown to the client.
	Authenticated(ctx context.Context, user string) (context.Context, error)
}

// Config says how a server listens.
type Config struct {
	// Secured says that authentication is on. Without it everybody is let in under
	// any name, and only loopback is served, unless Exposed says that something else
	// keeps strangers out.
	Secured, Exposed bool
	// TLS, unless nil, encrypts connections of clients that ask. Where it is set,
	// those that do not ask are refused beyond loopback.
	TLS *tls.Config
	// Connections is how many clients may be connected at once.
	Connections int
	// Timeout bounds each statement; statement_timeout can only shorten it.
	Timeout time.Duration
	// MaxRows is how many rows one statement may give.
	MaxRows int64
	// Idle is how long a session may be silent.
	Idle   time.Duration
	Logger *slog.Logger // nil discards
}

// A Backend is what a server reads from.
type Backend struct {
	Queries Queries
	Catalog *Catalog
	// Authentication is set if the server is Secured.
	Authentication Authentication
	// Acquire waits for the turn of a statement; whoever got one calls release. nil
	// lets all statements run.
	Acquire func(ctx context.Context) (release func(), err error)
	// Lend, unless nil, gives a context under which Queries take their turn by
	// themselves, when they begin to compute, and end it when their answer is closed:
	// for statements whose rows are all sent at once. A portal that is read in parts
	// may rest for an hour, and acquires a turn for each part.
	Lend func(context.Context) context.Context
	// Audit is told of every statement and every login that was denied, if the
	// server is Secured; it may be nil.
	Audit serving.Audit
}

// Defaults that need a reason: a session holds some 100 KB, and pools of dashboards
// keep tens of them; nobody types for an hour.
const (
	defaultConnections = 100
	defaultIdle        = time.Hour
	startTimeout       = 15 * time.Second // from the first byte to the login
)

// Version is the release whose catalogue and behaviour are followed, and what is
// said to clients.
const Version = "15.0 (Tailwater)"

// Database is the only one.
const Database = "tailwater"

// A Server accepts connections. Serve may be called for several listeners. Until
// Open is called, clients are told that the server is starting.
type Server struct {
	cfg     Config
	backend atomic.Pointer[Backend]
	metrics *metrics

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[uint32]*session // by process id, once logged in
	conns     map[net.Conn]struct{}
	last      uint32 // process id
	stopping  bool
	left      chan struct{} // closed when a session leaves, and made anew
	running   sync.WaitGroup
}

// NewServer makes a server.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Connections <= 0 {
		cfg.Connections = defaultConnections
	}
	if cfg.Idle <= 0 {
		cfg.Idle = defaultIdle
	}
	if cfg.TLS != nil {
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.NextProtos = []string{"postgresql"} // what clients ask for, if they do
	}
	if cfg.Timeout <= 0 || cfg.MaxRows <= 0 {
		return nil, errors.New("postgres: a time limit and a number of rows are needed")
	}
	return &Server{
		cfg: cfg, metrics: newMetrics(),
		listeners: map[net.Listener]struct{}{}, sessions: map[uint32]*session{}, conns: map[net.Conn]struct{}{}, left: make(chan struct{}),
	}, nil
}

// Open lets sessions in, as soon as the backend is ready.
func (s *Server) Open(b Backend) { s.backend.Store(&b) }

// Suspend lets statements that run finish, ends all sessions, and tells clients that
// the server is starting, until Open is called again. When ctx ends, so do the
// statements.
func (s *Server) Suspend(ctx context.Context) error {
	s.mu.Lock()
	s.backend.Store(nil)
	for _, ss := range s.sessions {
		ss.in.stop(errStopping)
	}
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, ss := range s.sessions {
			ss.interrupt(errStopping)
		}
	})
	defer stop()
	for len(s.sessions) > 0 {
		left := s.left
		s.mu.Unlock()
		<-left
		s.mu.Lock()
	}
	s.mu.Unlock()
	return nil
}

// Metrics are the server's own.
func (s *Server) Metrics() []prometheus.Collector { return s.metrics.all() }

// ErrNotLoopback says that everybody on the network could read.
var ErrNotLoopback = errors.New("without authentication only loopback is served: create a key, or listen on 127.0.0.1")

// Serve accepts connections until the listener or the server is closed, which
// gives nil. It owns the listener. Without authentication it refuses one that is
// reachable from elsewhere.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.cfg.Secured && !s.cfg.Exposed && !loopback(l.Addr()) {
		return fmt.Errorf("%s: %w", l.Addr(), ErrNotLoopback)
	}
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return nil
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.stopped() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		s.mu.Lock()
		// A few more than may log in, so that those can be told why, and so that
		// cancel requests get through.
		if s.stopping || len(s.conns) >= s.cfg.Connections+16 {
			s.mu.Unlock()
			conn.Close()
			continue
		}
		s.conns[conn] = struct{}{}
		s.running.Add(1)
		s.mu.Unlock()
		go s.serve(conn)
	}
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

func (s *Server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// serve is the life of one connection.
func (s *Server) serve(conn net.Conn) {
	defer s.running.Done()
	defer func() {
		if v := recover(); v != nil {
			s.cfg.Logger.Error("postgres: a session panicked", "panic", v, "stack", string(debug.Stack()))
		}
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	conn.SetDeadline(time.Now().Add(startTimeout))
	ss, err := s.open(conn)
	if err != nil || ss == nil {
		if err != nil {
			s.cfg.Logger.Debug("postgres: no session", "client", conn.RemoteAddr(), "error", err)
		}
		return
	}
	s.metrics.connections.Inc()
	defer s.metrics.connections.Dec()
	defer s.leave(ss)
	conn.SetDeadline(time.Time{})
	if err := ss.run(); err != nil {
		s.cfg.Logger.Debug("postgres: session ended", "client", conn.RemoteAddr(), "error", err)
	}
}

// enter gives a session its process id and secret key.
func (s *Server) enter(ss *session) *wireError {
	var secret [4]byte
	rand.Read(secret[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return &wireError{fatal: true, code: codeNotReady, message: "the database system is shutting down"}
	case s.backend.Load() != ss.Backend: // it was suspended meanwhile
		return &wireError{fatal: true, code: codeNotReady, message: "the database system is starting up"}
	case len(s.sessions) >= s.cfg.Connections:
		return &wireError{fatal: true, code: codeTooManyClients, message: "sorry, too many clients already", hint: "close connections that are not used, or use a pool"}
	}
	for {
		s.last = s.last%0x7fff_ffff + 1
		if s.sessions[s.last] == nil {
			break
		}
	}
	ss.pid, ss.secret = s.last, binary.BigEndian.Uint32(secret[:])
	s.sessions[ss.pid] = ss
	return nil
}

func (s *Server) leave(ss *session) {
	s.mu.Lock()
	delete(s.sessions, ss.pid)
	close(s.left)
	s.left = make(chan struct{})
	s.mu.Unlock()
}

// cancel ends what a session runs, if the secret is the one that its client got.
func (s *Server) cancel(pid, secret uint32) {
	s.mu.Lock()
	ss := s.sessions[pid]
	s.mu.Unlock()
	if ss != nil && ss.secret == secret {
		ss.interrupt(errCanceled)
	}
}

// Shutdown stops accepting, lets statements that run finish until ctx ends, and
// closes all sessions. It returns when they are gone.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	for l := range s.listeners {
		l.Close()
	}
	for _, ss := range s.sessions {
		ss.in.stop(errStopping)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for _, ss := range s.sessions {
		ss.interrupt(errStopping)
	}
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	<-done
	return context.Cause(ctx)
}

// bufferedReader reads a connection; requests are small.
func bufferedReader(conn net.Conn) *bufio.Reader { return bufio.NewReaderSize(conn, 8<<10) }
