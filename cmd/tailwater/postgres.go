package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/config"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/serving/postgres"
)

// A postgresListener is the server's door for Postgres clients:
//
//	listen ──► "starting up" ──► open(node) ──► sessions ──► serving core, catalogue
type postgresListener struct {
	server  *postgres.Server
	addr    net.Addr
	served  chan error
	catalog *postgres.Catalog // nil until there is a node
}

// listenPostgres listens if the settings say where; nil otherwise. Until open is
// called, clients are told that the server is starting.
func listenPostgres(s config.Settings, certificate *access.Certificate, logger *slog.Logger) (*postgresListener, error) {
	if s.Postgres == "" || s.Postgres == config.Off {
		return nil, nil
	}
	cfg := postgres.Config{
		Secured: s.Auth == config.AuthKeys, Exposed: s.InsecureListen,
		Connections: s.PostgresConnections, Timeout: s.QueryTimeout, MaxRows: int64(s.QueryMaxRows), Logger: logger,
	}
	if certificate != nil {
		cfg.TLS = certificate.TLS()
	}
	server, err := postgres.NewServer(cfg)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", s.Postgres)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with --postgres, or --postgres off", err)
	}
	p := &postgresListener{server: server, addr: l.Addr(), served: make(chan error, 1)}
	go func() { p.served <- server.Serve(l) }()
	return p, nil
}

// open lets sessions in.
func (p *postgresListener) open(ctx context.Context, n *node, s config.Settings, audit serving.Audit) (err error) {
	if p.catalog, err = postgres.NewCatalog(ctx, n.relations(ctx)); err != nil {
		return err
	}
	b := postgres.Backend{Queries: n.core, Catalog: p.catalog, Acquire: n.limiter.Acquire, Lend: n.limiter.Lend, Audit: audit}
	if n.keys != nil {
		b.Authentication = keyLogins{n.keys}
	}
	p.server.Open(b)
	return nil
}

// keyLogins lets keys in: their name is the user, their secret the password.
type keyLogins struct{ keys *access.Keys }

func (k keyLogins) Verifier(user string) (postgres.Verifier, bool) {
	v, ok := k.keys.Verifier(user)
	return postgres.Verifier(v), ok
}

func (k keyLogins) Authenticated(ctx context.Context, user string) (context.Context, error) {
	p, err := k.keys.Principal(user)
	if err != nil {
		return nil, err
	}
	if !p.May(access.Query) {
		return nil, fmt.Errorf("the key %s has not the role %s", user, access.Query)
	}
	return access.With(ctx, p), nil
}

// relations are what SQL can name, for the catalogue.
func (n *node) relations(ctx context.Context) []postgres.Relation {
	var out []postgres.Relation
	views := map[string]postgres.Relation{}
	for _, p := range n.plans() {
		views[p.Name] = postgres.Relation{Comment: p.Description, Definition: p.SQL}
	}
	for _, name := range n.core.Tables(ctx) {
		r := views[name]
		r.Name = name
		prepared, err := n.core.Prepare(ctx, "SELECT * FROM "+quoted(name))
		if err != nil {
			n.parts.logger.Warn("a table has no columns for Postgres clients", "table", name, "error", err)
			continue
		}
		r.Columns = prepared.Columns
		out = append(out, r)
	}
	return out
}

// quoted writes a table's name, schema and all, as SQL.
func quoted(table string) string {
	if schema, name, ok := strings.Cut(table, "."); ok {
		return duckdb.Ident(schema) + "." + duckdb.Ident(name)
	}
	return duckdb.Ident(table)
}

// metrics are the listener's own.
func (p *postgresListener) metrics() []prometheus.Collector {
	if p == nil {
		return nil
	}
	return p.server.Metrics()
}

// stop ends all sessions: those that are idle at once, the others when their
// statements have ended, or ctx does.
// suspend ends all sessions and keeps others out until open.
func (p *postgresListener) suspend(ctx context.Context) error {
	if p == nil {
		return nil
	}
	if err := p.server.Suspend(ctx); err != nil || p.catalog == nil {
		return err
	}
	defer func() { p.catalog = nil }()
	return p.catalog.Close()
}

func (p *postgresListener) stop(ctx context.Context) error {
	if p == nil {
		return nil
	}
	err := errors.Join(p.server.Shutdown(ctx), <-p.served)
	if p.catalog != nil {
		err = errors.Join(err, p.catalog.Close())
	}
	return err
}
