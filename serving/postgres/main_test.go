package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func kind(k event.Kind) event.Type { return event.Type{Kind: k} }

// testRelations are the tables of the tests.
var testRelations = []Relation{
	{Name: "payments", Comment: "Card payments", Columns: []event.Column{
		{Name: "id", Type: kind(event.BigInt), NotNull: true}, {Name: "merchant", Type: kind(event.Varchar)},
		{Name: "amount", Type: event.Type{Kind: event.Decimal, Precision: 10, Scale: 2}}, {Name: "ts", Type: kind(event.Timestamp), NotNull: true},
		{Name: "ok", Type: kind(event.Boolean)}, {Name: "doc", Type: kind(event.JSON)},
	}, Comments: map[string]string{"amount": "in euros"}},
	{Name: "payments_dead", Columns: event.DeadSchema("payments").Columns},
	{Name: "orders", Columns: []event.Column{{Name: "id", Type: kind(event.BigInt)}, {Name: "customer", Type: kind(event.Varchar)}}},
	{Name: "daily", Comment: "Revenue by day", Definition: "SELECT merchant, sum(amount) AS total FROM payments GROUP BY merchant", Columns: []event.Column{
		{Name: "merchant", Type: kind(event.Varchar)}, {Name: "total", Type: event.Type{Kind: event.Decimal, Precision: 38, Scale: 2}},
	}},
	{Name: "tailwater.view_errors", Columns: []event.Column{{Name: "view", Type: kind(event.Varchar)}, {Name: "reason", Type: kind(event.Varchar)}}},
}

// testQueries answers like the core: through a gate, from an engine.
type testQueries struct {
	db       *duckdb.DB
	gate     *serving.Gate
	ready    atomic.Pointer[error]
	open     atomic.Int64 // answers that were not closed
	cuts     atomic.Uint64
	askedAt  atomic.Pointer[event.Cut]
	complete atomic.Bool
	user     atomic.Pointer[string] // whose statement came last
}

func (q *testQueries) Tables(context.Context) []string {
	var names []string
	for _, r := range testRelations {
		names = append(names, r.Name)
	}
	return names
}

func newTestQueries(t testing.TB) *testQueries {
	t.Helper()
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, sql := range []string{
		"CREATE SCHEMA data",
		"CREATE TABLE data.payments AS SELECT i AS id, 'm' || (i % 5) AS merchant, (i * 7 % 100)::DECIMAL(10,2) AS amount, TIMESTAMP '2024-05-01' + to_minutes(i * 13) AS ts, i % 3 = 0 AS ok, ('{\"k\":' || i || '}')::JSON AS doc FROM range(200) r(i)",
		"CREATE TABLE data.payments_dead AS SELECT 1::BIGINT AS line, 'amount' AS field, 'no number' AS reason, 'x'::BLOB AS raw",
		"CREATE TABLE data.orders AS SELECT i AS id, 'c' || (i % 4) AS customer FROM range(60) r(i)",
		"CREATE TABLE data.daily AS SELECT merchant, sum(amount) AS total FROM data.payments GROUP BY merchant",
		"CREATE TABLE data.view_errors AS SELECT 'daily' AS \"view\", 'overflow' AS reason",
		"CREATE VIEW payments AS FROM data.payments",
		"CREATE VIEW orders AS FROM data.orders",
	} {
		if err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	q := &testQueries{db: db}
	q.gate = serving.NewGate(db, q)
	q.complete.Store(true)
	return q
}

func (q *testQueries) Ready() error {
	if e := q.ready.Load(); e != nil {
		return *e
	}
	return nil
}

func (q *testQueries) printed(ctx context.Context, sql string, args []serving.Parameter) (*duckdb.Conn, string, error) {
	st, err := q.gate.Admit(ctx, sql, args...)
	if err != nil {
		return nil, "", err
	}
	relations := map[string][]string{}
	for _, r := range testRelations {
		_, name, ok := strings.Cut(r.Name, ".")
		if !ok {
			name = r.Name
		}
		relations[r.Name] = []string{"SELECT * FROM data." + name}
	}
	printed, err := st.Rewrite(relations)
	if err != nil {
		return nil, "", err
	}
	c, err := q.db.Connect()
	return c, printed, err
}

func (q *testQueries) SQL(ctx context.Context, r serving.SQLRequest) (*serving.Answer, error) {
	if p := access.From(ctx); p != nil {
		q.user.Store(&p.Name)
	}
	c, sql, err := q.printed(ctx, r.SQL, r.Parameters)
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, sql)
	if err != nil {
		if _, own := c.Prepare(ctx, r.SQL); own != nil {
			err = &serving.Refusal{Code: "sql", Message: strings.SplitN(own.Error(), ": ", 2)[1]}
		}
		c.Close()
		return nil, err
	}
	q.askedAt.Store(&r.At)
	at := r.At
	if at == nil {
		at = event.Cut{event.Source{Stream: "payments"}: q.cuts.Add(1)}
	}
	q.open.Add(1)
	var closed atomic.Bool
	return &serving.Answer{Columns: rows.Columns(), Next: rows.Next, Complete: q.complete.Load(), Cut: at, Close: func() {
		if !closed.Swap(true) {
			c.Close()
			q.open.Add(-1)
		}
	}}, nil
}

func (q *testQueries) Prepare(ctx context.Context, sql string) (*serving.Prepared, error) {
	p := split(sql)[0]
	out := &serving.Prepared{}
	var args []serving.Parameter
	types := map[string]event.Type{}
	if p.highestParameter() > 0 {
		conn, err := q.db.Connect()
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if types, err = conn.ParameterTypes(ctx, sql); err != nil {
			return nil, err
		}
	}
	for i := range p.highestParameter() {
		a := serving.Parameter{Name: fmt.Sprint(i + 1)}
		typ, ok := types[a.Name]
		if !ok {
			typ = kind(event.Varchar)
		}
		a.Type = typ.String()
		args = append(args, a)
		out.Parameters = append(out.Parameters, event.Column{Name: a.Name, Type: typ})
	}
	c, printed, err := q.printed(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	described, err := c.Describe(ctx, printed)
	if err != nil {
		return nil, err
	}
	for _, d := range described {
		typ, err := duckdb.ParseType(d.SQLType)
		if err != nil {
			typ = kind(event.Integer)
		}
		out.Columns = append(out.Columns, event.Column{Name: d.Name, Type: typ})
	}
	return out, nil
}

// A rig is a server on loopback.
type rig struct {
	*Server
	queries *testQueries
	addr    string
}

func newRig(t testing.TB, change func(*Config, *Backend)) *rig {
	t.Helper()
	r := &rig{queries: newTestQueries(t)}
	c, err := NewCatalog(t.Context(), testRelations)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Timeout: 20 * time.Second, MaxRows: 2_000_000}
	backend := Backend{Queries: r.queries, Catalog: c}
	if change != nil {
		change(&cfg, &backend)
	}
	cfg.Secured = backend.Authentication != nil
	if r.Server, err = NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	r.Open(backend)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- r.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := r.queries.open.Load(); n != 0 {
			t.Errorf("%d answers were not closed", n)
		}
		if err := c.Close(); err != nil {
			t.Errorf("catalogue: %v", err)
		}
	})
	return r
}

func (r *rig) url(more string) string {
	return "postgres://ana@" + r.addr + "/tailwater?" + more
}

// users is an Authentication of passwords.
type users map[string]string

func (u users) Verifier(user string) (Verifier, bool) {
	password, ok := u[user]
	if !ok {
		return verifierOf("decoy of " + user), false
	}
	return verifierOf(password), true
}

func (u users) Authenticated(ctx context.Context, user string) (context.Context, error) {
	p := &access.Principal{Name: user, Roles: []access.Role{access.Query}}
	if user == "narrow" {
		p.Tables, p.Limits.Rows = []string{"payments", "daily"}, 10
	}
	return access.With(ctx, p), nil
}

func verifierOf(password string) Verifier {
	v := Verifier{Salt: []byte("0123456789abcdef"), Iterations: 4096}
	salted, err := pbkdf2.Key(sha256.New, password, v.Salt, v.Iterations, sha256.Size)
	if err != nil {
		panic(err)
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	v.StoredKey, v.ServerKey = stored[:], mac("Server Key")
	return v
}

// needed gives the program that an environment variable names.
func needed(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s names no program: run make tools, or make test, which sets it", variable)
	}
	return path
}
