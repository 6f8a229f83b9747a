package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	wire "github.com/jeroenrinzema/psql-wire"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/serving/postgres"
)

// measurePostgres sends rows of a table in the engine to a Postgres client, and
// holds it against the library psql-wire, which writes as many rows of constants.
func measurePostgres(ctx context.Context, b *bench) error {
	if !b.wants("postgres/text") && !b.wants("postgres/binary") {
		return nil
	}
	b.progress.say("postgres: %d rows", b.sizes.transportRows)
	ours, stop, err := serveRows(ctx, b.sizes.transportRows)
	if err != nil {
		return err
	}
	defer stop()
	theirs, stopTheirs, err := serveConstants(b.sizes.transportRows)
	if err != nil {
		return err
	}
	defer stopTheirs()
	for _, format := range []int16{pgx.TextFormatCode, pgx.BinaryFormatCode} {
		name := []string{"postgres/text", "postgres/binary"}[format]
		if !b.wants(name) {
			continue
		}
		var runs, limits []float64
		for range max(7, b.sizes.repeats) { // a run is half a second
			for _, one := range []struct {
				addr string
				to   *[]float64
			}{{theirs, &limits}, {ours, &runs}} {
				seconds, err := readRows(ctx, one.addr, format, b.sizes.transportRows)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				*one.to = append(*one.to, seconds)
			}
		}
		b.add(Result{Name: name, Value: quantile(runs, 0.5), Unit: "s", Runs: runs, Limit: quantile(limits, 0.5),
			LimitIs: "psql-wire writing constants", Note: fmt.Sprintf("%d rows of a bigint, a double and a text", b.sizes.transportRows)})
	}
	return nil
}

// wireSQL are the rows; wireRow is one of them as psql-wire is given it.
const wireSQL = "SELECT * FROM rows"

func wireRow(i int) []any {
	return []any{int64(i), float64(i) * 0.25, fmt.Sprintf("merchant-%d", i%1000)}
}

// readRows reads all rows as a driver does, without looking at them.
func readRows(ctx context.Context, addr string, format int16, want int) (seconds float64, err error) {
	c, err := pgx.Connect(ctx, "postgres://bench@"+addr+"/tailwater")
	if err != nil {
		return 0, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	began := time.Now()
	rr := c.PgConn().ExecParams(ctx, wireSQL, nil, nil, nil, []int16{format})
	n := 0
	for rr.NextRow() {
		n++
	}
	if _, err := rr.Close(); err != nil {
		return 0, err
	}
	if n != want {
		return 0, fmt.Errorf("%d rows came, not %d", n, want)
	}
	return time.Since(began).Seconds(), nil
}

// tableRows answers with the rows of a table, without a gate.
type tableRows struct{ db *duckdb.DB }

func (q tableRows) Ready() error { return nil }

func (q tableRows) Prepare(ctx context.Context, sql string) (*serving.Prepared, error) {
	a, err := q.SQL(ctx, serving.SQLRequest{SQL: sql + " LIMIT 0"})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return &serving.Prepared{Columns: a.Columns}, nil
}

func (q tableRows) SQL(ctx context.Context, r serving.SQLRequest) (*serving.Answer, error) {
	c, err := q.db.Connect()
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, r.SQL)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &serving.Answer{Columns: rows.Columns(), Next: rows.Next, Complete: true, Close: func() { c.Close() }}, nil
}

// serveRows makes the table and serves it.
func serveRows(ctx context.Context, rows int) (addr string, stop func(), err error) {
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, Init: []string{
		fmt.Sprintf("CREATE TABLE rows AS SELECT i AS id, (i * 0.25)::DOUBLE AS value, 'merchant-' || (i %% 1000) AS name FROM range(%d) r(i)", rows),
	}})
	if err != nil {
		return "", nil, err
	}
	catalog, err := postgres.NewCatalog(ctx, nil)
	if err != nil {
		return "", nil, errors.Join(err, db.Close())
	}
	s, err := postgres.NewServer(postgres.Config{Timeout: time.Minute, MaxRows: int64(rows)})
	if err != nil {
		return "", nil, errors.Join(err, catalog.Close(), db.Close())
	}
	s.Open(postgres.Backend{Queries: tableRows{db}, Catalog: catalog})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, errors.Join(err, catalog.Close(), db.Close())
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	return l.Addr().String(), func() {
		s.Shutdown(context.WithoutCancel(ctx))
		<-served
		catalog.Close()
		db.Close()
	}, nil
}

// serveConstants serves rows that are there already, by psql-wire alone, in the
// batches that it writes fastest.
func serveConstants(rows int) (addr string, stop func(), err error) {
	const batch = 8_192
	made := make([][]any, batch)
	for i := range made {
		made[i] = wireRow(i)
	}
	columns := wire.Columns{{Name: "id", Oid: pgtype.Int8OID, Width: 8}, {Name: "value", Oid: pgtype.Float8OID, Width: 8}, {Name: "name", Oid: pgtype.TextOID, Width: -1}}
	write := func(_ context.Context, w wire.DataWriter, _ []wire.Parameter) error {
		for left := rows; left > 0; left -= batch {
			if err := wire.WriteRows(w, made[:min(left, batch)]); err != nil {
				return err
			}
		}
		return w.Complete(fmt.Sprintf("SELECT %d", rows))
	}
	s, err := wire.NewServer(func(context.Context, wire.Query) (wire.PreparedStatements, error) {
		return wire.Prepared(wire.NewStatement(write, wire.WithColumns(columns))), nil
	}, wire.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	return l.Addr().String(), func() {
		s.Close()
		<-served
	}, nil
}
