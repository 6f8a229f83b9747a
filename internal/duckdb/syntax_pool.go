package duckdb

import (
	"context"
	"errors"
)

// A syntaxConn parses and prints, one statement after the other. Both are planned once
// for all of them, which takes longer than to parse.
type syntaxConn struct {
	conn         *Conn
	parse, print *Stmt
}

// maxSyntaxConns is how many are kept that nobody uses.
const maxSyntaxConns = 8

const (
	parseSQL = "SELECT json_serialize_sql($1::VARCHAR)::VARCHAR"
	printSQL = "SELECT json_deserialize_sql($1::JSON)"
)

// Parse is Conn.Parse on a connection that is kept for it.
func (db *DB) Parse(ctx context.Context, sql string) (tree map[string]any, err error) {
	err = db.withSyntax(ctx, func(s *syntaxConn) error {
		tree, err = parse(sql, func() (*Relation, error) { return s.parse.Collect(ctx, sql) })
		return err
	})
	return tree, err
}

// Print is Conn.Print on a connection that is kept for it.
func (db *DB) Print(ctx context.Context, tree map[string]any) (sql string, err error) {
	err = db.withSyntax(ctx, func(s *syntaxConn) error {
		sql, err = print(tree, func(text string) (*Relation, error) { return s.print.Collect(ctx, text) })
		return err
	})
	return sql, err
}

// withSyntax lends a connection. One on which something failed may be in any state, and
// is closed; that a text does not parse is no failure.
func (db *DB) withSyntax(ctx context.Context, f func(*syntaxConn) error) error {
	s, err := db.takeSyntax(ctx)
	if err != nil {
		return err
	}
	err = f(s)
	var syntax *ParseError
	if (err == nil || errors.As(err, &syntax)) && db.keepSyntax(s) {
		return err
	}
	return errors.Join(err, s.conn.Close())
}

func (db *DB) takeSyntax(ctx context.Context) (*syntaxConn, error) {
	db.mu.Lock()
	if n := len(db.syntax); n > 0 {
		s := db.syntax[n-1]
		db.syntax = db.syntax[:n-1]
		db.mu.Unlock()
		return s, nil
	}
	db.mu.Unlock()
	conn, err := db.Connect()
	if err != nil {
		return nil, err
	}
	s := &syntaxConn{conn: conn}
	if s.parse, err = conn.Prepare(ctx, parseSQL); err == nil {
		s.print, err = conn.Prepare(ctx, printSQL)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

// keepSyntax keeps a connection for the next; false if it is not wanted.
func (db *DB) keepSyntax(s *syntaxConn) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed || len(db.syntax) == maxSyntaxConns {
		return false
	}
	db.syntax = append(db.syntax, s)
	return true
}

// closeSyntax closes the connections that nobody uses.
func (db *DB) closeSyntax() error {
	db.mu.Lock()
	idle := db.syntax
	db.syntax = nil
	db.mu.Unlock()
	var errs []error
	for _, s := range idle {
		errs = append(errs, s.conn.Close())
	}
	return errors.Join(errs...)
}
