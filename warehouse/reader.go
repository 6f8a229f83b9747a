package warehouse

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A Reader is a connection for one transaction after the other. What every
// transaction runs is planned once for all of them: planning it took a tenth of the
// time of a query for one row. It belongs to one goroutine at a time.
type Reader struct {
	Conn    *duckdb.Conn
	readers *readers
	begin   *duckdb.Stmt
	marks   *duckdb.Stmt
	back    *duckdb.Stmt
	kept    []*duckdb.Stmt // these, and what Keep added
	busy    bool           // a transaction is open; guarded by readers.mu
}

// Reader opens a connection. The caller closes it, unless the warehouse is closed first.
func (w *Warehouse) Reader(ctx context.Context) (*Reader, error) {
	if w.db == nil {
		return nil, errors.New("warehouse: it is closed")
	}
	conn, err := w.db.Connect()
	if err != nil {
		return nil, fmt.Errorf("warehouse: connect: %w", err)
	}
	r := &Reader{Conn: conn, readers: &w.readers}
	for _, s := range []struct {
		at  **duckdb.Stmt
		sql string
	}{{&r.begin, "BEGIN TRANSACTION READ ONLY"}, {&r.marks, marksSQL}, {&r.back, "ROLLBACK"}} {
		if *s.at, err = r.Keep(ctx, s.sql); err != nil {
			return nil, errors.Join(fmt.Errorf("warehouse: %w", err), conn.Close())
		}
	}
	w.readers.add(r)
	return r, nil
}

// Keep prepares a statement for all transactions to come.
func (r *Reader) Keep(ctx context.Context, sql string) (*duckdb.Stmt, error) {
	s, err := r.Conn.Prepare(ctx, sql)
	if err == nil {
		r.kept = append(r.kept, s)
	}
	return s, err
}

// Begin opens a transaction on the connection; while it is open, no other can be. The
// engine starts a transaction lazily, at its first read, so Begin reads S at once: what
// the query reads later is of the same snapshot. After an error the connection is closed.
func (r *Reader) Begin(ctx context.Context) (*Txn, error) {
	t := &Txn{Conn: r.Conn, reader: r, kept: true}
	if err := r.begin.Exec(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("warehouse: begin: %w", err), r.Close())
	}
	rel, err := r.marks.Collect(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("warehouse: read marks: %w", err), r.Close())
	}
	t.marks, t.sizes = marksOf(rel)
	r.readers.set(r, true)
	return t, nil
}

// Outside stands for a transaction where the statements read no table. It has no marks.
func (r *Reader) Outside() *Txn {
	r.readers.set(r, true)
	return &Txn{Conn: r.Conn, reader: r, outside: true}
}

// end ends the transaction, and reports whether another can begin.
func (r *Reader) end() bool {
	r.readers.set(r, false)
	return r.Conn.Reset(r.kept...) && r.back.Exec(context.Background()) == nil
}

// Close closes the connection. It is idempotent.
func (r *Reader) Close() error {
	r.readers.forget(r)
	return r.Conn.Close()
}

// readers are a warehouse's connections.
type readers struct {
	mu      sync.Mutex
	open    map[*Reader]bool
	resting []*Reader
}

// maxResting is how many connections are kept that nobody uses: as many as queries run
// at once.
const maxResting = 8

func (s *readers) add(r *Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*Reader]bool{}
	}
	s.open[r] = true
}

func (s *readers) set(r *Reader, busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.busy = busy
}

func (s *readers) forget(r *Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, r)
}

// idle takes a connection that nobody uses; nil if there is none.
func (s *readers) idle() *Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.resting) == 0 {
		return nil
	}
	r := s.resting[len(s.resting)-1]
	s.resting = s.resting[:len(s.resting)-1]
	return r
}

// rest keeps a connection for the next who asks for one.
func (s *readers) rest(r *Reader) error {
	s.mu.Lock()
	if s.open[r] && len(s.resting) < maxResting {
		s.resting = append(s.resting, r)
		r = nil
	}
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.Close()
}

// close closes those without a transaction. The others' transactions are their own, and
// keep the database open.
func (s *readers) close() error {
	s.mu.Lock()
	var idle []*Reader
	for r := range s.open {
		if !r.busy {
			idle = append(idle, r)
		}
	}
	s.open, s.resting = nil, nil
	s.mu.Unlock()
	var errs []error
	for _, r := range idle {
		errs = append(errs, r.Conn.Close())
	}
	return errors.Join(errs...)
}
