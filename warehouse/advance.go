package warehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/fault"
	"github.com/tailwater/tailwater/view"
)

// An Input is one stream's landed events, pinned at one commit of its table.
type Input struct {
	Schema *event.Schema
	Plans  []*view.Plan
	// Building are versions that Build fills: they are kept, and not advanced.
	Building []*view.Plan
	Origin   Origin
	// Landed gives, for each source, the range from its epoch's floor through L.
	Landed []event.Range
	// Select gives a SELECT over the rows in the ranges, with the columns of
	// Schema.Relation.
	Select func(ctx context.Context, ranges []event.Range) (string, error)
}

// Advanced is what a batch run did.
type Advanced struct {
	Rows  int64                // facts added
	Moved bool                 // some S moved
	Which map[string]bool      // the objects whose S moved
	S     map[string]event.Cut // by object (FactsObject, ViewObject), after the run
}

// Advance brings facts and partials from S to L of the inputs and moves S, in
// one transaction: after a crash either all of it happened or nothing. With
// rebuild everything is computed again from the beginning, in the same
// transaction, so that queries see the old results until it commits. Objects
// that no input names any more are dropped.
func (w *Warehouse) Advance(ctx context.Context, inputs []Input, rebuild bool) (Advanced, error) {
	w.advancing.Lock()
	defer w.advancing.Unlock()
	if w.db == nil {
		return Advanced{}, errors.New("warehouse: closed")
	}
	conn, err := w.db.Connect()
	if err != nil {
		return Advanced{}, fmt.Errorf("warehouse: connect: %w", err)
	}
	defer conn.Close() // rolls an unfinished transaction back
	if err := conn.Exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return Advanced{}, fmt.Errorf("warehouse: begin: %w", err)
	}
	a := advance{conn: conn, moved: map[string]bool{}, pieces: w.pieces}
	if a.marks, _, err = readMarks(ctx, conn); err != nil {
		return Advanced{}, fmt.Errorf("warehouse: %w", err)
	}
	if err := a.drop(ctx, inputs, rebuild); err != nil {
		return Advanced{}, fmt.Errorf("warehouse: %w", err)
	}
	for _, in := range inputs {
		if err := a.stream(ctx, in); err != nil {
			return Advanced{}, fmt.Errorf("warehouse: stream %s: %w", in.Schema.Stream, err)
		}
	}
	if err := fault.Hit(fault.BeforeBatchCommit); err != nil {
		return Advanced{}, err
	}
	// The commit point: facts, partials and S become visible together.
	if err := conn.Exec(ctx, "COMMIT"); err != nil {
		return Advanced{}, fmt.Errorf("warehouse: commit: %w", err)
	}
	if rebuild {
		w.made.Add(1)
	}
	if err := fault.Hit(fault.AfterBatchCommit); err != nil {
		return Advanced{}, err
	}
	return Advanced{Rows: a.rows, Moved: len(a.moved) > 0, Which: a.moved, S: a.marks}, nil
}

// advance is the state of one run.
type advance struct {
	conn   *duckdb.Conn
	marks  map[string]event.Cut
	rows   int64
	moved  map[string]bool
	pieces pieces
}

// drop removes objects that no input names, or all of them for a rebuild.
func (a *advance) drop(ctx context.Context, inputs []Input, rebuild bool) error {
	wanted := map[string]bool{}
	for _, in := range inputs {
		wanted[FactsObject(in.Schema.Stream)] = !rebuild
		for _, p := range slices.Concat(in.Plans, in.Building) {
			wanted[ViewObject(p)] = !rebuild
		}
	}
	for object := range a.marks {
		if wanted[object] {
			continue
		}
		var tables []string
		if stream, ok := strings.CutPrefix(object, "facts:"); ok {
			tables = []string{factsTable(stream)}
		} else {
			name := duckdb.Ident(strings.Replace(strings.TrimPrefix(object, "view:"), ":", "_", 1))
			tables = []string{"partials." + name, "loose." + name, "errors." + name}
		}
		for _, t := range tables {
			if err := a.conn.Exec(ctx, "DROP TABLE IF EXISTS "+t); err != nil {
				return fmt.Errorf("drop %s: %w", t, err)
			}
		}
		if err := a.conn.Exec(ctx, "DELETE FROM tw.marks WHERE object = ?", object); err != nil {
			return fmt.Errorf("forget %s: %w", object, err)
		}
		delete(a.marks, object)
	}
	return nil
}

// stream advances the facts and every view of one stream.
func (a *advance) stream(ctx context.Context, in Input) error {
	facts := FactsObject(in.Schema.Stream)
	err := a.object(ctx, in, facts, func(rows string, _ []event.Range) (have sizes, err error) {
		if err := a.create(ctx, factsTable(in.Schema.Stream), in.Schema.Relation()); err != nil || rows == "" {
			return sizes{}, err
		}
		before, err := a.count(ctx, factsTable(in.Schema.Stream))
		if err != nil {
			return sizes{}, err
		}
		if err := a.insert(ctx, factsTable(in.Schema.Stream), in.Schema.Relation(), rows); err != nil {
			return sizes{}, err
		}
		after, err := a.count(ctx, factsTable(in.Schema.Stream))
		a.rows += after - before
		return sizes{}, err
	})
	if err != nil {
		return fmt.Errorf("facts: %w", err)
	}
	for _, p := range in.Plans {
		if err := a.object(ctx, in, ViewObject(p), func(rows string, ranges []event.Range) (sizes, error) { return a.view(ctx, in, p, rows, ranges) }); err != nil {
			return fmt.Errorf("view %s: %w", p.Name, err)
		}
	}
	if err := a.conn.Exec(ctx, "DELETE FROM tw.origins WHERE stream = ?", in.Schema.Stream); err != nil {
		return err
	}
	return a.conn.Exec(ctx, "INSERT INTO tw.origins VALUES (?, ?, ?, ?)", in.Schema.Stream, in.Origin.TableID, in.Origin.Version, in.Origin.CommitID)
}

// object calls add with the rows in (S, L] of the object, and their ranges, and moves
// its S. The text is empty when there is nothing new. add gives how many partial rows there are.
func (a *advance) object(ctx context.Context, in Input, object string, add func(rows string, ranges []event.Range) (sizes, error)) error {
	s := a.marks[object]
	var ranges []event.Range
	moved := event.Cut{}
	for _, r := range in.Landed {
		after := max(s[r.Source], r.After)
		moved[r.Source] = max(after, r.Through)
		if after < r.Through {
			ranges = append(ranges, event.Range{Source: r.Source, After: after, Through: r.Through})
		}
	}
	if len(ranges) == 0 && len(s) == len(moved) {
		return nil
	}
	var rows string
	if len(ranges) > 0 {
		text, err := in.Select(ctx, ranges)
		if err != nil {
			return err
		}
		rows = text
	}
	have, err := add(rows, ranges)
	if err != nil {
		return err
	}
	if err := a.conn.Exec(ctx, "DELETE FROM tw.marks WHERE object = ?", object); err != nil {
		return err
	}
	for src, through := range moved {
		err := a.conn.Exec(ctx, "INSERT INTO tw.marks VALUES (?, ?, ?, ?, ?, ?, ?)", object, src.Stream, int32(src.Epoch), int32(src.Partition), int64(through), have.merged, have.loose)
		if err != nil {
			return err
		}
	}
	a.marks[object], a.moved[object] = moved, true
	return nil
}

// view adds the partials and the failed rows of the events to the view's tables.
func (a *advance) view(ctx context.Context, in Input, p *view.Plan, rows string, ranges []event.Range) (have sizes, err error) {
	for table, columns := range map[string][]event.Column{partialsTable(p): p.Partial, looseTable(p): p.Partial, errorsTable(p): ErrorColumns} {
		if err := a.create(ctx, table, columns); err != nil {
			return sizes{}, err
		}
	}
	if rows != "" {
		events, err := a.events(ctx, in, p, rows, ranges)
		if err != nil {
			return sizes{}, err
		}
		for _, some := range events {
			if err := a.insert(ctx, looseTable(p), p.Partial, p.PartialSQL("("+some+") AS events")); err != nil {
				return sizes{}, err
			}
		}
		if text := p.ErrorsSQL("(" + rows + ") AS events"); text != "" {
			if err := a.insert(ctx, errorsTable(p), ErrorColumns, text); err != nil {
				return sizes{}, err
			}
		}
	}
	return a.compact(ctx, p)
}

// fewRows may be left loose whatever the view's size: merging them costs a query less
// than making a table costs a batch run.
const fewRows = 100

// compact merges a view's loose rows into the others when they outgrow an eighth of
// them: each row is then rewritten a bounded number of times, and a query that reads
// them all merges no more than a fourth. The order, key then window, is what makes
// one key's history cheap to read. It gives what there is then.
func (a *advance) compact(ctx context.Context, p *view.Plan) (have sizes, err error) {
	if have.merged, err = a.count(ctx, partialsTable(p)); err != nil {
		return have, err
	}
	have.loose, err = a.count(ctx, looseTable(p))
	if err != nil || have.loose == 0 || have.merged > 0 && have.loose <= max(have.merged/8, fewRows) {
		return have, err
	}
	next := "partials." + duckdb.Ident(p.Name+"_next")
	if err := a.create(ctx, next, p.Partial); err != nil {
		return sizes{}, err
	}
	both := "(SELECT * FROM " + partialsTable(p) + " UNION ALL SELECT * FROM " + looseTable(p) + ") AS both_parts"
	pieces, err := a.panes(ctx, p, both)
	if err != nil {
		return sizes{}, err
	}
	for _, where := range pieces {
		merged := "SELECT * FROM (" + p.MergeSQL("(SELECT * FROM "+both+" WHERE "+where+") AS piece") + ") AS merged"
		if order := sortOrder(p); order != "" {
			merged += " ORDER BY " + order
		}
		if err := a.insert(ctx, next, p.Partial, merged); err != nil {
			return sizes{}, err
		}
	}
	for _, sql := range []string{
		"DROP TABLE " + partialsTable(p),
		"ALTER TABLE " + next + " RENAME TO " + duckdb.Ident(p.Name+"_"+p.Version),
		"DROP TABLE " + looseTable(p),
	} {
		if err := a.conn.Exec(ctx, sql); err != nil {
			return sizes{}, err
		}
	}
	if err := a.create(ctx, looseTable(p), p.Partial); err != nil {
		return sizes{}, err
	}
	have.merged, err = a.count(ctx, partialsTable(p))
	return sizes{merged: have.merged}, err
}

// sortOrder is keys, then pane.
func sortOrder(p *view.Plan) string {
	var by []string
	for _, k := range p.PartialKeys() {
		by = append(by, duckdb.Ident(k))
	}
	if p.Window != nil {
		by = append(by, "pane")
	}
	return strings.Join(by, ", ")
}

func (a *advance) create(ctx context.Context, table string, columns []event.Column) error {
	var defs []string
	for _, c := range columns {
		def := duckdb.Ident(c.Name) + " " + c.Type.String()
		if c.Type.Wide() {
			def += " USING COMPRESSION UNCOMPRESSED" // packed 128-bit numbers take 0.3 µs each to read
		}
		defs = append(defs, def)
	}
	return a.conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+table+" ("+strings.Join(defs, ", ")+")")
}

func (a *advance) insert(ctx context.Context, table string, columns []event.Column, query string) error {
	// By name: facts have the columns that their stream gained behind the positions.
	return a.conn.Exec(ctx, "INSERT INTO "+table+" ("+columnList(columns)+") SELECT "+columnList(columns)+" FROM ("+query+") AS added")
}

func (a *advance) count(ctx context.Context, table string) (int64, error) {
	rel, err := a.conn.Collect(ctx, "SELECT count(*) FROM "+table)
	if err != nil {
		return 0, err
	}
	return int64At(rel, 0, 0), nil
}

func columnList(columns []event.Column) string {
	var names []string
	for _, c := range columns {
		names = append(names, duckdb.Ident(c.Name))
	}
	return strings.Join(names, ", ")
}
