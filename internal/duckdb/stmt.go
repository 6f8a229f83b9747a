package duckdb

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/tailwater/tailwater/event"
)

// A Stmt is a prepared statement of one connection. Without parameters it is
// planned once, until a table that it uses changes; with parameters DuckDB plans
// it again each time, which costs 0.1 ms where the execution of a small one
// costs 0.02. What runs often should have none, and read its arguments from a
// Handle.
type Stmt struct {
	conn     *Conn
	prepared mapping.PreparedStatement // zero once closed; guarded by conn.run
}

// Prepare prepares one statement. More than one is an error, and nothing runs.
func (c *Conn) Prepare(ctx context.Context, sql string) (*Stmt, error) {
	if err := checkText(sql); err != nil {
		return nil, err
	}
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.leave()
	defer c.watch(ctx)()

	s := &Stmt{conn: c}
	if mapping.Prepare(c.conn, sql, &s.prepared) == mapping.StateError {
		err := failure(ctx, mapping.PrepareError(s.prepared))
		mapping.DestroyPrepare(&s.prepared)
		return nil, err
	}
	if c.stmt == nil {
		c.stmt = map[*Stmt]struct{}{}
	}
	c.stmt[s] = struct{}{}
	return s, nil
}

var errStmtClosed = errors.New("the prepared statement is closed")

// Exec runs the statement and drops its result. Arguments are nil, bool, the
// integer types, float32, float64, string, []byte, or time.Time, which becomes
// a TIMESTAMP in UTC.
func (s *Stmt) Exec(ctx context.Context, args ...any) error {
	if err := s.conn.enter(ctx); err != nil {
		return err
	}
	defer s.conn.leave()
	if s.prepared.Ptr == nil {
		return errStmtClosed
	}
	defer s.conn.watch(ctx)()
	return execute(ctx, s.prepared, args)
}

// Collect runs the statement and copies its whole result into Go memory.
// Arguments are as for Exec.
func (s *Stmt) Collect(ctx context.Context, args ...any) (*Relation, error) {
	if err := s.conn.enter(ctx); err != nil {
		return nil, err
	}
	defer s.conn.leave()
	if s.prepared.Ptr == nil {
		return nil, errStmtClosed
	}
	defer s.conn.watch(ctx)()

	if err := bind(s.prepared, args); err != nil {
		return nil, err
	}
	var result mapping.Result
	defer mapping.DestroyResult(&result)
	if mapping.ExecutePrepared(s.prepared, &result) == mapping.StateError {
		return nil, failure(ctx, mapping.ResultError(&result))
	}
	columns, err := resultColumns(&result)
	if err != nil {
		return nil, err
	}
	return collect(ctx, &result, columns)
}

// Query runs the statement, which has no parameters, and streams its result as
// Conn.Query does. The statement is closed with the rows, or by an error.
func (s *Stmt) Query(ctx context.Context) (*Rows, error) {
	if err := s.conn.enter(ctx); err != nil {
		return nil, err
	}
	defer s.conn.leave()
	if s.prepared.Ptr == nil {
		return nil, errStmtClosed
	}
	defer s.conn.watch(ctx)()
	rows := &Rows{conn: s.conn, ctx: ctx, prepared: s.prepared}
	s.prepared = mapping.PreparedStatement{}
	delete(s.conn.stmt, s)
	return rows.start()
}

// collect copies a materialised result.
func collect(ctx context.Context, result *mapping.Result, columns []event.Column) (*Relation, error) {
	r := &Relation{Columns: columns}
	d := newDecoder(columns)
	for {
		more, err := d.fetch(ctx, result)
		if err != nil {
			return nil, err
		}
		if full := d.full(collectRows, maxBytes); d.rows > 0 && (!more || full) {
			r.Batches = append(r.Batches, RecordBatch(d.flush(full && more)))
		}
		if !more {
			return r, nil
		}
	}
}

// Close frees the statement. A second call does nothing.
func (s *Stmt) Close() error {
	s.conn.run.Lock()
	defer s.conn.run.Unlock()
	s.release()
	return nil
}

// release frees the statement; conn.run is held.
func (s *Stmt) release() {
	mapping.DestroyPrepare(&s.prepared)
	delete(s.conn.stmt, s)
}

// ParameterTypes prepares one statement and gives the types that the places of its
// parameters ask for, by name. One that nothing asks anything of is absent, and so
// is one whose type no column can have.
func (c *Conn) ParameterTypes(ctx context.Context, sql string) (map[string]event.Type, error) {
	s, err := c.Prepare(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out := map[string]event.Type{}
	for i := range mapping.NParams(s.prepared) {
		logical := mapping.ParamLogicalType(s.prepared, i+1)
		if typ, ok := kindOf(logical); ok {
			out[mapping.ParameterName(s.prepared, i+1)] = typ
		}
		mapping.DestroyLogicalType(&logical)
	}
	return out, nil
}

// bind gives all parameters of p their values.
func bind(p mapping.PreparedStatement, args []any) error {
	if n := int(mapping.NParams(p)); n != len(args) {
		return fmt.Errorf("the statement has %d parameters, and %d arguments were given", n, len(args))
	}
	for i, a := range args {
		state, err := bindOne(p, mapping.IdxT(i+1), a)
		if err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
		if state == mapping.StateError {
			return fmt.Errorf("argument %d: DuckDB does not take the %T", i+1, a)
		}
	}
	return nil
}

func bindOne(p mapping.PreparedStatement, i mapping.IdxT, arg any) (mapping.State, error) {
	switch v := arg.(type) {
	case nil:
		return mapping.BindNull(p, i), nil
	case bool:
		return mapping.BindBoolean(p, i, v), nil
	case int:
		return mapping.BindInt64(p, i, int64(v)), nil
	case int8:
		return mapping.BindInt8(p, i, v), nil
	case int16:
		return mapping.BindInt16(p, i, v), nil
	case int32:
		return mapping.BindInt32(p, i, v), nil
	case int64:
		return mapping.BindInt64(p, i, v), nil
	case uint:
		return mapping.BindUInt64(p, i, uint64(v)), nil
	case uint8:
		return mapping.BindUInt8(p, i, v), nil
	case uint16:
		return mapping.BindUInt16(p, i, v), nil
	case uint32:
		return mapping.BindUInt32(p, i, v), nil
	case uint64:
		return mapping.BindUInt64(p, i, v), nil
	case float32:
		return mapping.BindFloat(p, i, v), nil
	case float64:
		return mapping.BindDouble(p, i, v), nil
	case string:
		if !utf8.ValidString(v) {
			return mapping.StateError, errors.New("the string is not valid UTF-8: pass bytes as []byte")
		}
		return mapping.BindVarchar(p, i, v), nil
	case []byte:
		return mapping.BindBlob(p, i, v), nil
	case time.Time:
		return mapping.BindTimestamp(p, i, mapping.NewTimestamp(v.UnixMicro())), nil
	}
	return mapping.StateError, fmt.Errorf("a %T cannot be an argument", arg)
}
