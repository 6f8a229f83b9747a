package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tailwater/tailwater/serving"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// state gives the SQLSTATE of an error, or its text.
func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

// endless takes longer than any test.
const endless = "SELECT sum(a.id * b.id + c.id * d.id + e.id) FROM payments a, payments b, payments c, payments d, payments e"

func TestPgxReadsEveryTypeInBothFormats(t *testing.T) {
	r := newRig(t, nil)
	const sql = `SELECT true AS b, 7::TINYINT AS i1, -7::SMALLINT AS i2, 70000 AS i4, 5000000000 AS i8, -170141183460469231731687303715884105727::HUGEINT AS h,
		1.5::FLOAT AS f4, -2.25::DOUBLE AS f8, 12345.6700::DECIMAL(12,4) AS d, -0.0005::DECIMAL(38,10) AS wide, 100000000::DECIMAL(18,0) AS round, 'text' AS t, '{"a":1}'::JSON AS j, 'ab'::BLOB AS x,
		DATE '1999-12-31' AS day, TIMESTAMP '2024-05-01 12:34:56.789' AS at, NULL::INTEGER AS n`
	const want = "true|7|-7|70000|5000000000|-170141183460469231731687303715884105727|1.5|-2.25|12345.6700|-0.0005000000|100000000|text|{\"a\":1}|ab|1999-12-31|2024-05-01 12:34:56.789|<nil>"
	for _, format := range []int16{pgx.TextFormatCode, pgx.BinaryFormatCode} {
		c := connect(t, r.url(""))
		rr := c.PgConn().ExecParams(t.Context(), sql, nil, nil, nil, []int16{format})
		types := c.TypeMap()
		var got []string
		for rr.NextRow() {
			for i, v := range rr.Values() {
				f := rr.FieldDescriptions()[i]
				typ, ok := types.TypeForOID(f.DataTypeOID)
				if !ok {
					t.Fatalf("%s has type %d", f.Name, f.DataTypeOID)
				}
				if typ.Name == "json" && v != nil {
					got = append(got, string(v))
					continue
				}
				value, err := typ.Codec.DecodeDatabaseSQLValue(types, f.DataTypeOID, format, v)
				if err != nil {
					t.Fatalf("%s in format %d: %v", f.Name, format, err)
				}
				switch value := value.(type) {
				case time.Time:
					layout := map[string]string{"date": "2006-01-02", "timestamp": "2006-01-02 15:04:05.000"}[typ.Name]
					got = append(got, value.Format(layout))
				case []byte:
					got = append(got, string(value))
				default:
					got = append(got, fmt.Sprint(value))
				}
			}
		}
		if _, err := rr.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Join(got, "|") != want {
			t.Errorf("format %d gave\n%s\nwant\n%s", format, strings.Join(got, "|"), want)
		}
	}
}

func TestParametersOfEveryFormatFindTheirRow(t *testing.T) {
	r := newRig(t, nil)
	for _, mode := range []string{"cache_statement", "describe_exec", "exec", "simple_protocol"} {
		c := connect(t, r.url("default_query_exec_mode="+mode))
		var n int
		at := time.Date(2024, 5, 1, 3, 31, 0, 0, time.FixedZone("two", 2*3600)) // 01:31 UTC
		if mode == "exec" || mode == "simple_protocol" {
			at = at.UTC() // these send the type of the Go value, and its clock
		}
		err := c.QueryRow(t.Context(), "SELECT count(*) FROM payments WHERE id = $1 AND merchant = $2 AND ts = $3 AND ok = $4", 7, "m2", at, false).Scan(&n)
		if err != nil || n != 1 {
			t.Errorf("%s: %d rows, %v", mode, n, err)
		}
		if err := c.QueryRow(t.Context(), "SELECT count(*) FROM payments WHERE id IN (SELECT unnest($1::BIGINT[])) AND id > $2", []int64{1, 2, 3}, 1).Scan(&n); err != nil || n != 2 {
			t.Errorf("%s: list: %d rows, %v", mode, n, err)
		}
		if err := c.QueryRow(t.Context(), "SELECT count(*) FROM payments WHERE merchant = $1", nil).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: NULL: %d rows, %v", mode, n, err)
		}
	}
}

func TestASuspendedPortalGoesOnWhereItStopped(t *testing.T) {
	r := newRig(t, nil)
	c := connect(t, r.url(""))
	f := c.PgConn().Frontend()
	f.Send(&pgproto3.Parse{Query: "SELECT id FROM payments ORDER BY id"})
	f.Send(&pgproto3.Bind{ResultFormatCodes: []int16{1}})
	f.Send(&pgproto3.Describe{ObjectType: 'P'})
	for range 3 {
		f.Send(&pgproto3.Execute{MaxRows: 80})
	}
	f.Send(&pgproto3.Sync{})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	var got []string
	next := int64(0)
	for {
		m, err := f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			if v := int64(binary.BigEndian.Uint64(m.Values[0])); v != next {
				t.Fatalf("row %d came where %d is next", v, next)
			}
			next++
			continue
		case *pgproto3.CommandComplete:
			got = append(got, string(m.CommandTag))
		default:
			got = append(got, strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3."))
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			break
		}
	}
	if want := "ParseComplete BindComplete RowDescription PortalSuspended PortalSuspended SELECT 40 ReadyForQuery"; strings.Join(got, " ") != want || next != 200 {
		t.Errorf("%d rows, messages %s, want %s", next, strings.Join(got, " "), want)
	}
}

func TestAnErrorIsFollowedByNothingUntilSync(t *testing.T) {
	r := newRig(t, nil)
	c := connect(t, r.url(""))
	f := c.PgConn().Frontend()
	f.Send(&pgproto3.Parse{Query: "SELECT nothing FROM payments"})
	f.Send(&pgproto3.Bind{})
	f.Send(&pgproto3.Execute{})
	f.Send(&pgproto3.Sync{})
	f.Send(&pgproto3.Parse{Name: "s", Query: "SELECT 1 AS a"})
	f.Send(&pgproto3.Describe{ObjectType: 'S', Name: "s"})
	f.Send(&pgproto3.Sync{})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for syncs := 0; syncs < 2; {
		m, err := f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3."))
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			syncs++
		}
	}
	if want := "ErrorResponse ReadyForQuery ParseComplete ParameterDescription RowDescription ReadyForQuery"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
}

func TestABlockAnswersAtOneCutAndFailsAsAWhole(t *testing.T) {
	r := newRig(t, nil)
	c := connect(t, r.url("default_query_exec_mode=exec"))
	cuts := func() string { return fmt.Sprint(*r.queries.askedAt.Load()) }
	run := func(sql string) error {
		_, err := c.Exec(t.Context(), sql)
		return err
	}
	run("SELECT 1")
	for _, sql := range []string{"BEGIN", "SELECT 1"} {
		if err := run(sql); err != nil {
			t.Fatal(err)
		}
	}
	if got := cuts(); got != "" {
		t.Errorf("the first statement of a block was asked at %s", got)
	}
	if run("SELECT 2"); cuts() != "payments/0/0:2" {
		t.Errorf("the second statement of a block was asked at %q", cuts())
	}
	if err := run("SELECT nothing FROM payments"); state(err) != codeUnknownColumn {
		t.Error(err)
	}
	if err := run("SELECT 1"); state(err) != codeFailedTransaction {
		t.Errorf("a failed block answered: %v", err)
	}
	if tag, err := c.Exec(t.Context(), "COMMIT"); err != nil || tag.String() != "ROLLBACK" {
		t.Errorf("%s %v", tag, err)
	}
	if run("SELECT 1"); cuts() != "" {
		t.Errorf("after the block a statement was asked at %q", cuts())
	}
}

func TestACancelRequestEndsTheStatement(t *testing.T) {
	r := newRig(t, nil)
	c := connect(t, r.url(""))
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), endless)
		done <- err
	}()
	for range 200 { // until the statement runs and the request finds it
		if err := c.PgConn().CancelRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if state(err) != codeCanceled {
				t.Fatal(err)
			}
			if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil {
				t.Errorf("after the cancel: %v", err)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("the statement was not cancelled")
}

func TestStatementTimeoutIsHonoured(t *testing.T) {
	r := newRig(t, nil)
	c := connect(t, r.url("statement_timeout=100"))
	begun := time.Now()
	_, err := c.Exec(t.Context(), endless)
	if state(err) != codeCanceled || time.Since(begun) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
}

func TestAClientThatLeavesEndsItsStatement(t *testing.T) {
	r := newRig(t, oneAtATime)
	c := connect(t, r.url(""))
	raw, err := c.PgConn().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	raw.Frontend.Send(&pgproto3.Query{String: endless})
	if err := raw.Frontend.Flush(); err != nil {
		t.Fatal(err)
	}
	raw.Conn.Close()
	// The only slot is free again, whether or not the statement had it by now.
	other := connect(t, r.url(""))
	if _, err := other.Exec(t.Context(), "SELECT count(*) FROM payments"); err != nil {
		t.Error(err)
	}
}

// oneAtATime lets one statement run.
func oneAtATime(_ *Config, b *Backend) {
	slot := make(chan struct{}, 1)
	b.Acquire = func(ctx context.Context) (func(), error) {
		select {
		case slot <- struct{}{}:
			return func() { <-slot }, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func TestTheCatalogueShowsWhatWhoeverAsksMaySee(t *testing.T) {
	r := newRig(t, func(_ *Config, b *Backend) { b.Authentication = users{"narrow": "secret"} })
	c := connect(t, "postgres://narrow:secret@"+r.addr+"/tailwater?default_query_exec_mode=exec")
	for sql, want := range map[string]string{
		"SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace IN (2200, 16384)":                            "daily,payments",
		"SELECT string_agg(DISTINCT table_name, ',' ORDER BY table_name) FROM information_schema.columns WHERE table_schema = 'public'": "daily,payments",
		"SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'public'":                                                  "payments",
		"SELECT coalesce(to_regclass('orders')::text, 'none')":                                                                          "none",
	} {
		var got string
		if err := c.QueryRow(t.Context(), sql).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", sql, got, err, want)
		}
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Backend) { c.Connections = 2 })
	connect(t, r.url(""))
	connect(t, r.url(""))
	if _, err := pgx.Connect(t.Context(), r.url("")); state(err) != codeTooManyClients {
		t.Error(err)
	}
}

func TestAnIdleSessionIsEnded(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Backend) { c.Idle = 50 * time.Millisecond })
	c := connect(t, r.url(""))
	m, err := c.PgConn().Frontend().Receive()
	if e, ok := m.(*pgproto3.ErrorResponse); !ok || e.Code != codeIdle {
		t.Errorf("%#v %v", m, err)
	}
}

func TestANodeThatRecoversSaysSo(t *testing.T) {
	r := newRig(t, nil)
	starting := fmt.Errorf("%w: applying the log", serving.ErrNotReady)
	r.queries.ready.Store(&starting)
	if _, err := pgx.Connect(t.Context(), r.url("")); state(err) != codeNotReady {
		t.Error(err)
	}
}

func TestAServerThatIsNotOpenSaysThatItStarts(t *testing.T) {
	s, err := NewServer(Config{Timeout: time.Second, MaxRows: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	if _, err := pgx.Connect(t.Context(), "postgres://ana@"+l.Addr().String()+"/tailwater"); state(err) != codeNotReady {
		t.Error(err)
	}
	if err := errors.Join(s.Shutdown(t.Context()), <-served); err != nil {
		t.Error(err)
	}
}

func TestShutdownEndsIdleSessionsAtOnce(t *testing.T) {
	r := newRig(t, nil)
	c := connect(t, r.url(""))
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a session outlived the server")
	}
}

func TestASuspendedServerEndsSessionsAndTakesThemAgainWhenItIsOpened(t *testing.T) {
	r := newRig(t, nil)
	c := connect(t, r.url(""))
	backend := *r.backend.Load()
	for range 2 { // the second time there is nobody
		if err := r.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a session went on")
	}
	if _, err := pgx.Connect(t.Context(), r.url("")); state(err) != codeNotReady {
		t.Error(err)
	}
	r.Open(backend)
	if _, err := connect(t, r.url("")).Exec(t.Context(), "SELECT 1"); err != nil {
		t.Error(err)
	}
}

func TestWithoutAuthenticationOnlyLoopbackIsServed(t *testing.T) {
	r := newRig(t, nil)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Serve(l); !errors.Is(err, ErrNotLoopback) {
		t.Error(err)
	}
}

func TestAnIncompleteAnswerComesWithAWarning(t *testing.T) {
	r := newRig(t, nil)
	r.queries.complete.Store(false)
	cfg, err := pgx.ParseConfig(r.url(""))
	if err != nil {
		t.Fatal(err)
	}
	var notices []string
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Severity) }
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil || fmt.Sprint(notices) != "[WARNING]" {
		t.Errorf("%v %v", notices, err)
	}
}
