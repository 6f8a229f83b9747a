package main

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// fireBlock asks a view and its stream in two statements of one block, which must
// say the same.
var fireBlock = []string{"BEGIN", "SELECT n, total FROM overall", "SELECT count(*) AS n_stream, sum(amount) AS total_stream FROM payments", "COMMIT"}

// A postgresAsker asks over Postgres' protocol, on one connection as long as the
// process lives.
type postgresAsker struct {
	conn   *pgconn.PgConn
	p      *process // that conn is to
	notice string
}

func (*postgresAsker) protocol() string { return "postgres" }
func (*postgresAsker) waits() bool      { return false }

func (a *postgresAsker) ask(ctx context.Context, _ *fire, p *process, question, _ string) ([]map[string]string, error) {
	if a.p != p {
		a.close()
		config, err := pgconn.ParseConfig(postgresLine.FindStringSubmatch(p.output())[1])
		if err != nil {
			return nil, err
		}
		config.User = "fire"
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { a.notice = n.Message }
		if a.conn, err = pgconn.ConnectConfig(ctx, config); err != nil {
			return nil, err
		}
		a.p = p
	}
	rows, err := a.rows(ctx, question)
	if err != nil {
		a.close() // whatever it was, the next question needs no block that is open
		return nil, err
	}
	if a.notice != "" {
		return nil, &tornError{a.notice}
	}
	return rows, nil
}

func (a *postgresAsker) close() {
	if a.conn != nil {
		ended, cancel := context.WithCancel(context.Background())
		cancel() // no farewell: the process may be gone
		_ = a.conn.Close(ended)
	}
	a.conn, a.p, a.notice = nil, nil, ""
}

// rows asks views as text of the simple protocol, statements by the extended one.
func (a *postgresAsker) rows(ctx context.Context, question string) ([]map[string]string, error) {
	if sql := fireSQL[question]; sql != "" {
		result := a.conn.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
		return wireRows(result, nil), result.Err
	}
	sql := "SELECT * FROM " + question
	if question == "block" {
		sql = strings.Join(fireBlock, "; ")
	}
	results, err := a.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if question != "block" {
		return wireRows(results[0], nil), nil
	}
	if len(results) != len(fireBlock) {
		return nil, errors.New("answers were lost on the way")
	}
	return wireRows(results[2], wireRows(results[1], nil)), nil
}

// wireRows gives the rows by column, beside those of another result.
func wireRows(r *pgconn.Result, beside []map[string]string) []map[string]string {
	rows := beside
	if rows == nil {
		rows = make([]map[string]string, len(r.Rows))
	}
	for i, values := range r.Rows {
		if rows[i] == nil {
			rows[i] = map[string]string{}
		}
		for j, value := range values {
			rows[i][r.FieldDescriptions[j].Name] = string(value)
		}
	}
	return rows
}
