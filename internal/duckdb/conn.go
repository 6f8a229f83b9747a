package duckdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// A Conn is one connection. It runs one statement at a time: calls from several
// goroutines queue up. While the Rows of a Query are open, no other statement
// may be run. Interrupt and Close may be called at any time.
type Conn struct {
	db   *DB
	work work

	// run is held while the engine works for this connection, so that
	// nothing is destroyed under it.
	run  sync.Mutex
	rows *Rows              // open streaming result, guarded by run
	stmt map[*Stmt]struct{} // open prepared statements, guarded by run
	pace Pace               // of a Query; nil: none. Guarded by run

	mu      sync.Mutex // may be taken while run is held
	conn    mapping.Connection
	closing bool // set when Close begins: nothing new starts
	closed  bool // conn is gone
}

var errConnClosed = errors.New("the connection is closed")

// Interrupt stops the statement that is running, in less than a millisecond. It
// fails with an "INTERRUPT" *Error. Without one running it does nothing.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		mapping.Interrupt(c.conn)
	}
}

// Close interrupts what is running, closes the connection's rows and prepared
// statements, rolls back its transaction and disconnects. A second call does
// nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	// A statement may be about to start, and starting clears an
	// interrupt: repeat until it has returned.
	for !c.run.TryLock() {
		c.Interrupt()
		time.Sleep(interruptEvery)
	}
	defer c.run.Unlock()
	if c.closed {
		return nil
	}
	if c.rows != nil {
		c.rows.release()
	}
	for s := range c.stmt {
		s.release()
	}
	c.mu.Lock()
	c.closed = true
	mapping.Disconnect(&c.conn)
	c.mu.Unlock()
	c.db.disconnected(c)
	return nil
}

// Reset makes the connection as it was when only the statements to keep had been
// prepared: it closes open rows and all other statements, and takes back Keep. It
// reports whether it could; a connection that works at this moment is to be closed.
// The transaction, if there is one, goes on.
func (c *Conn) Reset(keep ...*Stmt) bool {
	if !c.run.TryLock() {
		return false
	}
	defer c.run.Unlock()
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	if closing {
		return false
	}
	if c.rows != nil {
		c.rows.release()
	}
	for s := range c.stmt {
		if !slices.Contains(keep, s) {
			s.release()
		}
	}
	c.pace = nil
	return true
}

// A Pace lets others go before the steps in which the engine computes a Query's rows,
// each of some milliseconds.
type Pace interface {
	// Step is called between any two steps, with the context of the Query and the
	// processor time that the steps have taken. It returns when the next may be taken,
	// and whether on a thread that gives way to others. An error ends the Query.
	Step(ctx context.Context, computed time.Duration) (giveWay bool, err error)
	// Hurry reports whether others are in a hurry, so that a long step must give way.
	// It may be called from any goroutine.
	Hurry() bool
}

// Keep sets the pace of the connection's queries.
func (c *Conn) Keep(pace Pace) {
	c.run.Lock()
	defer c.run.Unlock()
	c.pace = pace
}

// enter begins work of the engine; the caller calls leave if the error is nil.
func (c *Conn) enter(ctx context.Context) error {
	c.run.Lock()
	err := c.usable(ctx)
	if err != nil {
		c.run.Unlock()
		return err
	}
	c.work.begin()
	return nil
}

func (c *Conn) usable(ctx context.Context) error {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	if closing {
		return errConnClosed
	}
	if c.rows != nil {
		return errors.New("the connection has open rows: close them before the next statement")
	}
	if ctx.Err() != nil {
		return failure(ctx, "")
	}
	return nil
}

func (c *Conn) leave() {
	c.work.leave()
	c.run.Unlock()
}

// interruptEvery is the pace at which an ended context interrupts. Once would do
// but for statements that are about to begin: they clear the interrupt.
const interruptEvery = time.Millisecond

// watch interrupts the connection when ctx ends, until stop is called. After
// stop returns no interrupt is on its way, so none can hit the next statement.
func (c *Conn) watch(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done, gone := make(chan struct{}), make(chan struct{})
	detach := context.AfterFunc(ctx, func() {
		defer close(gone)
		tick := time.NewTicker(interruptEvery)
		defer tick.Stop()
		for {
			c.Interrupt()
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(done)
		if !detach() {
			<-gone
		}
	}
}

// Exec runs one statement with arguments, or several statements without, in
// order until one fails. Results are dropped. Arguments are as for Stmt.Exec.
func (c *Conn) Exec(ctx context.Context, sql string, args ...any) error {
	if err := checkText(sql); err != nil {
		return err
	}
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	defer c.watch(ctx)()

	var list mapping.ExtractedStatements
	n := int(mapping.ExtractStatements(c.conn, sql, &list))
	defer mapping.DestroyExtracted(&list)
	if n == 0 {
		if text := mapping.ExtractStatementsError(list); text != "" {
			return failure(ctx, text)
		}
		return nil
	}
	if n > 1 && len(args) > 0 {
		return fmt.Errorf("%d statements share %d arguments: run them one by one", n, len(args))
	}
	for i := range n {
		if err := c.execExtracted(ctx, list, i, args); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) execExtracted(ctx context.Context, list mapping.ExtractedStatements, i int, args []any) error {
	var p mapping.PreparedStatement
	defer func() { mapping.DestroyPrepare(&p) }()
	if mapping.PrepareExtractedStatement(c.conn, list, mapping.IdxT(i), &p) == mapping.StateError {
		return failure(ctx, mapping.PrepareError(p))
	}
	return execute(ctx, p, args)
}

// execute binds and runs a prepared statement and drops its result.
func execute(ctx context.Context, p mapping.PreparedStatement, args []any) error {
	if err := bind(p, args); err != nil {
		return err
	}
	var result mapping.Result
	defer mapping.DestroyResult(&result)
	if mapping.ExecutePrepared(p, &result) == mapping.StateError {
		return failure(ctx, mapping.ResultError(&result))
	}
	return nil
}

// Query runs one statement and streams its result: the engine computes as rows
// are taken, with a bounded buffer. The context holds until the rows are
// closed.
func (c *Conn) Query(ctx context.Context, sql string, args ...any) (*Rows, error) {
	if err := checkText(sql); err != nil {
		return nil, err
	}
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.leave()
	defer c.watch(ctx)()

	rows := &Rows{conn: c, ctx: ctx}
	if mapping.Prepare(c.conn, sql, &rows.prepared) == mapping.StateError {
		err := failure(ctx, mapping.PrepareError(rows.prepared))
		rows.release()
		return nil, err
	}
	if err := bind(rows.prepared, args); err != nil {
		rows.release()
		return nil, err
	}
	return rows.start()
}

// Collect runs one statement and copies its whole result into Go memory.
func (c *Conn) Collect(ctx context.Context, sql string, args ...any) (*Relation, error) {
	s, err := c.Prepare(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Collect(ctx, args...)
}
