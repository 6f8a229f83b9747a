package warehouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// A Txn is a read-only transaction: one snapshot of facts, partials and S. It
// has a connection to itself and belongs to one query.
type Txn struct {
	Conn    *duckdb.Conn
	reader  *Reader
	kept    bool // the reader is the caller's, not one of the warehouse's
	outside bool // no transaction is open
	marks   map[string]event.Cut
	sizes   map[string]sizes // by object
}

// Begin opens a read-only transaction, on an idle connection if there is one.
func (w *Warehouse) Begin(ctx context.Context) (*Txn, error) {
	r := w.readers.idle()
	if r == nil {
		var err error
		if r, err = w.Reader(ctx); err != nil {
			return nil, err
		}
	}
	t, err := r.Begin(ctx)
	if err == nil {
		t.kept = false
	}
	return t, err
}

// Close ends the transaction. The connection goes back to where it came from.
func (t *Txn) Close() error {
	if t.reader == nil {
		return nil
	}
	r := t.reader
	t.reader = nil
	if t.outside {
		r.readers.set(r, false)
		return nil
	}
	if !r.end() {
		return r.Close()
	}
	if !t.kept {
		return r.readers.rest(r)
	}
	return nil
}

// Marks gives S by object.
func (t *Txn) Marks() map[string]event.Cut { return t.marks }

// Facts gives a SELECT over the stream's facts, with the columns of
// Schema.Relation, and S.
func (t *Txn) Facts(s *event.Schema) (string, event.Cut) {
	return t.read(FactsObject(s.Stream), factsTable(s.Stream), s.Relation())
}

// Partials gives a SELECT over the view's partial rows, and S.
func (t *Txn) Partials(p *view.Plan) (string, event.Cut) {
	s := t.Split(p)
	if s.Loose == "" {
		return s.Base, s.S
	}
	return s.Base + " UNION ALL " + s.Loose, s.S
}

// A Split is a view's partial rows in two SELECTs: Base gives one row for each
// window and keys, Loose, which may be empty, those added since.
type Split struct {
	Base, Loose         string
	BaseRows, LooseRows int64
	S                   event.Cut
}

// Split gives the view's partial rows, and S.
func (t *Txn) Split(p *view.Plan) Split {
	base, s := t.read(ViewObject(p), partialsTable(p), p.Partial)
	have := t.sizes[ViewObject(p)]
	out := Split{Base: base, S: s, BaseRows: have.merged, LooseRows: have.loose}
	if out.LooseRows > 0 {
		out.Loose, _ = t.read(ViewObject(p), looseTable(p), p.Partial)
	}
	return out
}

// Errors gives a SELECT over the rows on which the view failed (ErrorColumns),
// and S.
func (t *Txn) Errors(p *view.Plan) (string, event.Cut) {
	return t.read(ViewObject(p), errorsTable(p), ErrorColumns)
}

// read gives a typed SELECT without rows for an object that no batch run has
// filled yet.
func (t *Txn) read(object, table string, columns []event.Column) (string, event.Cut) {
	if s, ok := t.marks[object]; ok {
		return "SELECT " + columnList(columns) + " FROM " + table, s
	}
	return EmptySelect(columns), event.Cut{}
}

// EmptySelect is a SELECT of the columns without rows.
func EmptySelect(columns []event.Column) string {
	var items []string
	for _, c := range columns {
		items = append(items, fmt.Sprintf("NULL::%s AS %s", c.Type, duckdb.Ident(c.Name)))
	}
	return "SELECT " + strings.Join(items, ", ") + " WHERE false"
}
