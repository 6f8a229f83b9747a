package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tailwater/tailwater/serving"
)

func TestSCRAMLetsInWhoKnowsThePassword(t *testing.T) {
	r := newRig(t, func(_ *Config, b *Backend) { b.Authentication = users{"ana": "secret", "bob": "other"} })
	c := connect(t, "postgres://ana:secret@"+r.addr+"/tailwater")
	if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if user := *r.queries.user.Load(); user != "ana" {
		t.Errorf("the statement ran as %q", user)
	}
	var messages []string
	for _, login := range []string{"ana:wrong", "nobody:secret"} {
		_, err := pgx.Connect(t.Context(), "postgres://"+login+"@"+r.addr+"/tailwater")
		if state(err) != codePassword {
			t.Errorf("%s: %v", login, err)
		}
		var e *pgconn.PgError
		if errors.As(err, &e) {
			messages = append(messages, strings.NewReplacer("ana", "", "nobody", "").Replace(e.Message))
		}
	}
	if len(messages) == 2 && messages[0] != messages[1] {
		t.Errorf("an unknown user can be told from a wrong password: %q", messages)
	}
}

func TestAUserWhoIsRevokedIsOut(t *testing.T) {
	all := &revocable{users: users{"ana": "secret", "narrow": "secret"}}
	var audit entries
	r := newRig(t, func(_ *Config, b *Backend) { b.Authentication, b.Audit = all, &audit })
	narrow := connect(t, "postgres://narrow:secret@"+r.addr+"/tailwater")
	if _, err := narrow.Exec(t.Context(), "SELECT id FROM payments"); state(err) != codeTooLarge {
		t.Errorf("a limit of 10 rows: %v", err)
	}
	c := connect(t, "postgres://ana:secret@"+r.addr+"/tailwater")
	if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	all.revoked.Store(true)
	if _, err := c.Exec(t.Context(), "SELECT 2"); state(err) != codeAuthorization || !c.IsClosed() {
		t.Errorf("after the key was revoked: %v", err)
	}
	if _, err := pgx.Connect(t.Context(), "postgres://ana:wrong@"+r.addr+"/tailwater"); state(err) != codePassword {
		t.Error(err)
	}
	want := "narrow Query aborted 54000, ana Query ok 00000, ana Query denied 28000, ana login denied 28P01"
	if got := audit.String(); got != want {
		t.Errorf("the audit log has %q, want %q", got, want)
	}
}

// revocable are users that are all revoked at once.
type revocable struct {
	users
	revoked atomic.Bool
}

func (r *revocable) Authenticated(ctx context.Context, user string) (context.Context, error) {
	if r.revoked.Load() {
		return nil, errors.New("the key was revoked")
	}
	return r.users.Authenticated(ctx, user)
}

// entries are an audit log.
type entries struct {
	mu   sync.Mutex
	list []string
}

func (e *entries) Record(a serving.AuditEntry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, strings.Join([]string{a.Principal, a.Action, a.Outcome, a.Code}, " "))
}

func (e *entries) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.list, ", ")
}

func TestAnUnknownUserIsAskedLikeAKnownOne(t *testing.T) {
	r := newRig(t, func(_ *Config, b *Backend) { b.Authentication = users{"ana": "secret"} })
	challenge := func(user string) string {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f := pgproto3.NewFrontend(conn, conn)
		f.Send(&pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": user}})
		f.Send(&pgproto3.SASLInitialResponse{AuthMechanism: mechanism, Data: []byte("n,,n=,r=abcdefgh")})
		if err := f.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Receive(); err != nil {
			t.Fatal(err)
		}
		m, err := f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		text := string(m.(*pgproto3.AuthenticationSASLContinue).Data)
		_, salt, _ := strings.Cut(text, ",")
		return salt
	}
	if a, b := challenge("nobody"), challenge("nobody"); a != b {
		t.Errorf("the salt of an unknown user changes: %s, %s", a, b)
	}
	if a, b := challenge("nobody"), challenge("ana"); len(a) != len(b) {
		t.Errorf("the challenge of an unknown user has another shape: %s, %s", a, b)
	}
}

func TestTLSIsOfferedToThoseWhoAsk(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Backend) { c.TLS = selfSigned(t) })
	c := connect(t, r.url("sslmode=require"))
	var ssl bool
	if err := c.QueryRow(t.Context(), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&ssl); err != nil || !ssl {
		t.Errorf("ssl is %t, %v", ssl, err)
	}
	connect(t, r.url("sslmode=disable"))
}

func TestDataBeforeTheHandshakeIsRefused(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Backend) { c.TLS = selfSigned(t) })
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	injected, _ := (&pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "ana"}}).Encode(nil)
	request, _ := (&pgproto3.SSLRequest{}).Encode(nil)
	if _, err := conn.Write(append(request, injected...)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("the server answered %d bytes to data sent in front of the handshake", n)
	}
}

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}
