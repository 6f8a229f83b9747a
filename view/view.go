// Package view turns a view's definition, one SELECT in DuckDB's SQL, into a
// Plan of three statements that both layers run:
//
//	partial  events → mergeable partial rows
//	merge    partial rows → partial rows, one per (pane, keys)
//	finish   merged partial rows → the answer's columns
//
// merge is associative and commutative, and
// finish(merge(partial(A) ∪ partial(B))) is the view's SQL over A ∪ B for any
// disjoint sets of events A and B: that is what lets an answer be put together
// from the warehouse's history and the speed layer's newest events.
//
// The SQL is parsed, typed and printed by DuckDB in an in-memory engine of the
// planner's own; this package rewrites the tree in between. Planning is
// deterministic and reads nothing but its arguments.
package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/macro"
)

// A Definition is a view as its author wrote it.
type Definition struct {
	Name string
	// File and Line say where SQL's first line stands, for errors.
	File string
	Line int
	SQL  string
	// Description is for people; it changes nothing.
	Description string
	// Bounds says which end of a window belongs to it: "[)", the default, or "(]".
	Bounds string
	// Timezone is that of windows of the calendar, such as "Europe/Berlin"; UTC if it
	// is empty.
	Timezone string
	// Cap is how many elements a list may have, as the author wrote it; 1000 if it is
	// empty.
	Cap string
	// References are the reference tables' columns, by name.
	References map[string][]event.Column
	// Reference is how they are joined: afterMerge, or an error that says why not; if
	// it is empty, so if possible, and else over the stream.
	Reference string
	// Macros are those that SQL may call; nil if there are none.
	Macros *macro.Set
}

// A Window says how the time axis is cut. All lengths are whole microseconds.
type Window struct {
	Kind string // Tumble, Hop, Session, Slide or Snapshot
	// Size is the length of a window, a session's gap; 0 for a snapshot. Shift moves
	// the windows' origin away from 1970-01-01 00:00:00 UTC.
	Size, Shift time.Duration
	// Slide is how often a window of a hop begins, Max how long a session may be, 0 if
	// that is not bounded.
	Slide, Max time.Duration
	// EndIncluded: the end of a window belongs to it, its beginning does not.
	EndIncluded bool
	// Unit, unless empty, is a unit of the calendar that stands for Size, and Zone the
	// time zone of its midnights, UTC if it is empty.
	Unit, Zone string
}

// A Key is one grouping expression besides the window.
type Key struct {
	// Name is the output column that shows the key, or a generated name when
	// no output column is the key alone.
	Name string
	// Column is the key's column in the partial rows, or behind the join of reference
	// tables.
	Column string
	Type   event.Type
}

// A Plan is what a definition compiles to. It is immutable.
//
// The arguments events, partials and merged of its methods are FROM items,
// such as "tw_scan(7)" or "(SELECT …) AS e"; events has the columns of
// Schema.Relation, partials and merged those of Partial.
type Plan struct {
	Name, Stream, SQL string
	Description       string // as the author gave it; may be empty
	// Version identifies what the partial rows mean: rows of different
	// versions must never be merged.
	Version string
	Schema  *event.Schema
	Window  *Window // nil if the view has none
	Keys    []Key
	// Partial are the columns of the partial rows: pane (if there is a
	// window), keys k0, k1, …, then slots s0, s1, …. See PartialKeys.
	Partial []event.Column
	// Lists are those columns of Partial that hold the elements of lists, which the
	// engine cannot spill while it merges them.
	Lists []string
	// Output are the columns of the answer, and Roles what each of them is.
	Output []event.Column
	Roles  []Role
	// Reads are the columns of the stream that the partial reads, in schema
	// order, position columns not counted.
	Reads []string

	// References are the reference tables that the view joins, by their names: each
	// event of a Direct view, else merged rows. See WithReferences.
	References []string
	// Direct: the view is computed from the events when it is asked for. It has no
	// partial rows; Partial has the groups' columns alone.
	Direct bool

	stmts statements
	// finishes are the columns of the merged rows that finish takes, where Partial are
	// not: behind a join of reference tables.
	finishes []event.Column
	kept     int   // keys of the partial rows
	base     *Plan // of which this one groups the rows up (see Filter.By); nil if it is a view's own
}

// A Filter narrows and shapes an answer.
type Filter struct {
	// From and To keep the windows whose window_start is in [From, To).
	From, To *time.Time
	Where    []Equal
	Among    []Among
	Bounds   []Bound
	// By groups the answer up; nil leaves the view's own groups, and an empty list
	// makes one row of all.
	By []Group
	// Fill adds the windows that the answer lacks; "" adds none.
	Fill Fill
	Top  *Top // nil keeps all rows
	// Paged adds the columns of the cursor (see PageColumns) behind the others, and
	// Cursor, unless nil, keeps the rows behind the one with these values of them.
	Paged  bool
	Cursor []*string
	// Order holds output columns: "col", "-col", "col asc" or "col desc".
	Order  []string
	Limit  int // 0 = none
	Offset int
}

// Equal keeps the rows whose key has the value, given as text and cast to the
// key's type, or is NULL.
type Equal struct {
	Key, Value string
	Null       bool
}

// Among keeps the rows whose key has one of the values.
type Among struct {
	Key    string
	Values []string
}

// Bound keeps the rows whose key compares so with the value: Op is one of
// ">=", ">", "<=", "<" and "<>", or NotNull, which takes no value. NULL compares
// with nothing.
type Bound struct{ Key, Op, Value string }

// NotNull is the Op of a Bound.
const NotNull = "IS NOT NULL"

// Values gives all that the filter compares keys with, for whoever checks that the
// values are of their keys' types.
func (f Filter) Values() []Equal {
	out := slices.Clone(f.Where)
	for _, a := range f.Among {
		for _, v := range a.Values {
			out = append(out, Equal{Key: a.Key, Value: v})
		}
	}
	for _, b := range f.Bounds {
		if b.Op != NotNull {
			out = append(out, Equal{Key: b.Key, Value: b.Value})
		}
	}
	return out
}

// An Error says what is wrong with a definition, and where.
type Error struct {
	File         string
	Line, Column int // from 1; 0 if the place is not known
	Message      string
	Hint         string // what to write instead; may be empty

	final bool // it would be as wrong over the stream
}

func (e *Error) Error() string {
	place := e.File
	if e.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	text := e.Message
	if place != "" {
		text = place + ": " + text
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// A Planner compiles definitions. Its methods may be called from several
// goroutines; they take turns.
type Planner struct {
	mu          sync.Mutex // held for one Plan
	db          *duckdb.DB
	conn        *duckdb.Conn
	fingerprint string
}

// NewPlanner opens the planner's in-memory engine.
func NewPlanner(ctx context.Context) (*Planner, error) {
	// The engine holds no rows: the limit is for constants such as repeat('x', …)
	// in definitions, which are evaluated once.
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "256MB", Locked: true})
	if err != nil {
		return nil, fmt.Errorf("open the planner's engine: %w", err)
	}
	conn, err := db.Connect()
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("connect to the planner's engine: %w", err)
	}
	fingerprint, err := conn.EngineFingerprint(ctx)
	if err != nil {
		conn.Close()
		db.Close()
		return nil, fmt.Errorf("identify the planner's engine: %w", err)
	}
	return &Planner{db: db, conn: conn, fingerprint: fingerprint}, nil
}

// Close releases the engine. It is idempotent.
func (p *Planner) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.conn.Close(), p.db.Close())
}

// Plan compiles def against the schemas of the streams, by name. A definition
// that cannot be planned gives an *Error; any other error is the engine's or
// the planner's own.
func (p *Planner) Plan(ctx context.Context, def Definition, schemas map[string]*event.Schema) (*Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := session{ctx, p.conn}
	plan, err := s.plan(def, schemas, p.fingerprint)
	var refused *Error
	if errors.As(err, &refused) && !refused.final && def.Reference == "" {
		return s.overStream(def, schemas, p.fingerprint, refused)
	}
	return plan, err
}

func (s session) plan(def Definition, schemas map[string]*event.Schema, fingerprint string) (*Plan, error) {
	root, err := s.parseDefinition(def)
	if err != nil {
		return nil, err
	}
	if err := s.expandMacros(def, root); err != nil {
		return nil, err
	}
	q, err := s.normalise(def, root, schemas)
	if err != nil {
		return nil, err
	}
	return newBuilder(s, q, fingerprint).plan()
}

// PartialSQL gives the statement events → partial rows.
func (p *Plan) PartialSQL(events string) string { return p.stmts.partial.over(events) }

// MergeSQL gives the statement partial rows → partial rows, one per (pane, keys).
func (p *Plan) MergeSQL(partials string) string { return p.stmts.merge.over(partials) }

// FinishSQL gives the statement merged partial rows → answer.
func (p *Plan) FinishSQL(merged string) string { return p.stmts.finish.sql(merged) }

// PlainSQL gives the view's own SQL over events, without partials: what the
// answer must equal. Window calls are spelt out and failing rows left out.
func (p *Plan) PlainSQL(events string) string { return p.stmts.plain.sql(events) }

// ErrorsSQL gives the statement events → (_epoch, _partition, _seq, _idx,
// reason) of the rows that the view leaves out because one of its expressions
// fails on them; "" if none can fail.
func (p *Plan) ErrorsSQL(events string) string {
	if p.stmts.errors == (template{}) {
		return ""
	}
	return p.stmts.errors.over(events)
}
