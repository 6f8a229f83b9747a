package serving

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// share hands Go-held batches to SQL for the life of the pin.
func (p *pin) share(columns []event.Column, batches []duckdb.Batch) string {
	columns, batches = shortFirst(columns, batches)
	h := duckdb.Share(columns)
	h.Set(batches)
	p.handles = append(p.handles, h)
	return h.SQL()
}

// cover notes what keeps the ranges from tiling (floor, A] of the stream: a hole
// makes numbers low, an overlap makes them high, and either makes the answer
// incomplete.
func (p *pin) cover(what string, s *speed.Stream, ranges []event.Range) {
	for _, src := range s.Sources() {
		m := s.Marks[src]
		want := event.Range{Source: src, After: m.Floor, Through: m.Applied}
		holes, overlaps := event.Holes(want, ranges)
		for _, h := range holes {
			p.problems = append(p.problems, fmt.Sprintf("%s: nothing covers %s", what, h))
		}
		for _, o := range overlaps {
			p.problems = append(p.problems, fmt.Sprintf("%s: %s is covered twice", what, o))
		}
	}
}

// batched gives the ranges that S covers.
func batched(s event.Cut) []event.Range {
	var out []event.Range
	for src, through := range s {
		out = append(out, event.Range{Source: src, Through: through})
	}
	return out
}

// partials gives the FROM item of a view's partial rows: batch partials through
// S, speed partials after S through Q. Of the latter it may leave out what f, which
// the statement applies, leaves out.
func (p *pin) partials(plan *view.Plan, f view.Filter) string {
	fromBatch, s := p.tx.Partials(plan)
	if held := p.shareHeld(plan, p.heldBatches(plan, f, s)); held != "" {
		fromBatch += " UNION ALL " + held
	}
	return "(" + fromBatch + ") AS partials"
}

// heldBatches gives the speed layer's partial rows of a view after S.
func (p *pin) heldBatches(plan *view.Plan, f view.Filter, s event.Cut) []duckdb.Batch {
	var batches []duckdb.Batch
	for _, piece := range p.heldPieces(plan, s) {
		batches = append(batches, piece.Batches...)
	}
	return narrow(plan, f, batches)
}

// heldPieces is heldBatches in pieces, and checks that they and the batch's partial rows
// cover everything.
func (p *pin) heldPieces(plan *view.Plan, s event.Cut) (pieces []speed.Piece) {
	stream, v := p.state.Of(plan)
	ranges, segments := v.After(s)
	p.cover("view "+plan.Name, stream, append(batched(s), ranges...))
	rows := 0
	for _, seg := range segments {
		pieces = append(pieces, seg.Pieces...)
		for _, piece := range seg.Pieces {
			rows += piece.Rows()
		}
	}
	p.stats["speed_rows"] = rows
	return pieces
}

// shareHeld gives a SELECT over partial rows; "" if there are none.
func (p *pin) shareHeld(plan *view.Plan, batches []duckdb.Batch) string {
	if len(batches) == 0 {
		return ""
	}
	return "SELECT " + columnList(plan.Partial) + " FROM " + p.share(plan.Partial, batches)
}

// A view's partial rows are merged as a split if many are merged already and the
// others are of few windows.
const (
	minMergedRows = 5_000
	maxPanes      = 200
)

// split gives a view's partial rows as those that the batch has merged and the rest.
func (p *pin) split(ctx context.Context, plan *view.Plan, f view.Filter) (view.Split, error) {
	from := p.tx.Split(plan)
	batches := p.heldBatches(plan, f, from.S)
	held := p.shareHeld(plan, batches)
	all := view.Split{Loose: united(from.Base, from.Loose, held)}
	if plan.Window == nil || len(f.Where) > 0 || from.BaseRows < p.core.minMerged {
		return all, nil
	}
	panes, err := p.core.panes.of(ctx, p.tx, plan, from)
	if err != nil {
		return view.Split{}, err
	}
	if panes = addPanes(panes, batches); panes == nil && (from.Loose != "" || held != "") {
		return all, nil
	}
	return view.Split{Base: united(from.Base), Loose: united(from.Loose, held), Panes: slices.Sorted(maps.Keys(panes))}, nil
}

// addPanes gives known and the windows of the batches; nil if they are too many, or
// some row has none.
func addPanes(known map[int64]bool, batches []duckdb.Batch) map[int64]bool {
	if known == nil {
		return nil
	}
	out := maps.Clone(known)
	for _, b := range batches {
		panes, ok := b.Column(0).(*array.Timestamp)
		if !ok || panes.NullN() > 0 {
			return nil
		}
		last, seen := int64(0), false
		for i := range b.Len() {
			if at := int64(panes.Value(i)); !seen || at != last {
				last, seen = at, true
				out[at] = true
			}
		}
		if len(out) > maxPanes {
			return nil
		}
	}
	return out
}

// loosePanes remembers the windows of the warehouse's loose rows, which are the same
// as long as S is.
type loosePanes struct {
	mu    sync.Mutex
	known map[string]panesAt // by object
}

type panesAt struct {
	s     event.Cut
	panes map[int64]bool // nil if they are too many
}

// of gives the windows of a view's loose rows. Nobody changes the map.
func (l *loosePanes) of(ctx context.Context, tx *warehouse.Txn, plan *view.Plan, from warehouse.Split) (map[int64]bool, error) {
	if from.Loose == "" {
		return map[int64]bool{}, nil
	}
	object := warehouse.ViewObject(plan)
	l.mu.Lock()
	at, ok := l.known[object]
	l.mu.Unlock()
	if ok && maps.Equal(at.s, from.S) {
		return at.panes, nil
	}
	rel, err := tx.Conn.Collect(ctx, fmt.Sprintf("SELECT DISTINCT pane FROM (%s) AS loose LIMIT %d", from.Loose, maxPanes+1))
	if err != nil {
		return nil, err
	}
	panes := addPanes(map[int64]bool{}, rel.Batches)
	l.mu.Lock()
	l.known[object] = panesAt{from.S, panes}
	l.mu.Unlock()
	return panes, nil
}

// united gives a FROM item of the rows of SELECTs, of which some may be empty.
func united(selects ...string) string {
	selects = slices.DeleteFunc(selects, func(s string) bool { return s == "" })
	if len(selects) == 0 {
		return ""
	}
	return "(" + strings.Join(selects, " UNION ALL ") + ") AS partials"
}

// relation gives the SELECTs whose union is behind a name of the catalogue. Of a
// stream they may leave out rows outside the bounds.
func (p *pin) relation(ctx context.Context, table string, within lake.Bounds) ([]string, error) {
	if table == errorsTableName {
		rows, err := p.viewErrors(ctx)
		return []string{p.through(rows, "stream")}, err
	}
	if table == referencesTableName {
		return []string{p.core.referenceTables(ctx)}, nil
	}
	if r, ok := p.core.references[table]; ok {
		p.names(r)
		return []string{"SELECT " + columnList(r.Rows.Columns) + " FROM " + p.share(r.Rows.Columns, r.Rows.Batches)}, nil
	}
	for _, s := range p.state.Streams {
		switch {
		case s.Schema.Stream == table:
			return p.past(s)(p.events(ctx, s, within))
		case event.DeadName(s.Schema.Stream) == table:
			return p.past(s)(p.dead(ctx, s, within))
		}
	}
	if plan := p.plan(table); plan != nil {
		sql, err := p.answer(ctx, plan, view.Filter{})
		return []string{sql}, err
	}
	return nil, fmt.Errorf("%w: table %q", ErrNotFound, table)
}

// answer gives the SELECT of a view's rows. At a past cut the partial rows are made
// anew, from the events through it. A filter that does not fit the view is a Refusal.
func (p *pin) answer(ctx context.Context, plan *view.Plan, f view.Filter) (string, error) {
	plan = p.over(plan)
	var split view.Split
	var err error
	switch {
	case plan.Direct:
		split.Loose, err = p.stream(ctx, plan)
	case p.atPast:
		// One partial for each part, so that merge has something to do.
		var parts []string
		parts, err = p.relation(ctx, plan.Stream, nil)
		for i := range parts {
			parts[i] = plan.PartialSQL(united(parts[i]))
		}
		split.Loose = united(parts...)
	default:
		split, err = p.split(ctx, plan, f)
	}
	if err != nil {
		return "", err
	}
	sql, err := plan.SplitSQL(split, f)
	if err != nil {
		return "", refuseFilter(err)
	}
	return sql, nil
}

// over gives a plan over the reference tables that it joins, and names them.
func (p *pin) over(plan *view.Plan) *view.Plan {
	tables := map[string]string{}
	for _, name := range plan.References {
		r, ok := p.core.references[name]
		if !ok {
			continue // the statement then names what is missing
		}
		p.names(r)
		tables[name] = "SELECT " + columnList(r.Rows.Columns) + " FROM " + p.share(r.Rows.Columns, r.Rows.Batches)
	}
	return plan.WithReferences(tables)
}

// stream gives a FROM item of the events that a view reads.
func (p *pin) stream(ctx context.Context, plan *view.Plan) (string, error) {
	events, err := p.relation(ctx, plan.Stream, nil)
	return united(events...), err
}

// through narrows rows with position columns to a past cut; stream is an
// expression for the stream that they are of.
func (p *pin) through(rows, stream string) string {
	if !p.atPast {
		return rows
	}
	conditions := []string{"false"}
	for _, src := range p.cut.Sources() {
		conditions = append(conditions, fmt.Sprintf("%s = %s AND %s = %d AND %s = %d AND %s <= %d", stream, duckdb.Literal(src.Stream),
			event.ColEpoch, src.Epoch, event.ColPartition, src.Partition, event.ColSeq, p.cut[src]))
	}
	return "SELECT * FROM (" + rows + ") AS past WHERE " + strings.Join(conditions, " OR ")
}

// past narrows the parts of a stream's table to the cut.
func (p *pin) past(s *speed.Stream) func(parts []string, err error) ([]string, error) {
	return func(parts []string, err error) ([]string, error) {
		for i := range parts {
			parts[i] = p.through(parts[i], duckdb.Literal(s.Schema.Stream))
		}
		return parts, err
	}
}

// events gives a stream as a table at the cut: facts through S, landed files
// after S, those landed events that are still in memory through L, the raw tail after L
// through A.
func (p *pin) events(ctx context.Context, s *speed.Stream, within lake.Bounds) ([]string, error) {
	facts, batch := p.tx.Facts(s.Schema)
	parts := []string{facts}
	kept, batches := s.KeptAfter(batch)
	batches = someWithin(s.Schema, batches, within)
	landed, have, err := p.landed(ctx, s.Schema.Stream, s, batch, begins(kept), within)
	if err != nil {
		return nil, err
	}
	if landed != "" {
		parts = append(parts, landed)
	}
	have = append(append(have, kept...), batched(batch)...)
	ranges, tail := s.TailAfter(ends(have))
	p.cover("stream "+s.Schema.Stream, s, append(have, ranges...))
	columns := s.Schema.Relation()
	if batches = append(batches, tail...); len(batches) > 0 {
		parts = append(parts, "SELECT "+columnList(columns)+" FROM "+p.share(columns, batches))
	}
	return parts, nil
}

// dead gives a stream's dead letters at the cut: landed through L, the tail
// after it.
func (p *pin) dead(ctx context.Context, s *speed.Stream, within lake.Bounds) ([]string, error) {
	schema := event.DeadSchema(s.Schema.Stream)
	columns := schema.Relation()
	parts := []string{warehouse.EmptySelect(columns)}
	landed, have, err := p.landed(ctx, schema.Stream, s, nil, nil, within)
	if err != nil {
		return nil, err
	}
	if landed != "" {
		parts = append(parts, landed)
	}
	ranges, batches := s.DeadAfter(ends(have))
	p.cover("dead letters of "+s.Schema.Stream, s, append(have, ranges...))
	if len(batches) > 0 {
		parts = append(parts, "SELECT "+columnList(columns)+" FROM "+p.share(columns, batches))
	}
	return parts, nil
}

// landed gives a SELECT over the files of the table after the batched cut,
// through what is both landed and applied, or through until, and the ranges it covers.
// The dead-letter table has the sources of its stream.
func (p *pin) landed(ctx context.Context, table string, s *speed.Stream, batch, until event.Cut, within lake.Bounds) (string, []event.Range, error) {
	snap := p.core.Landed(table)
	if snap == nil {
		return "", nil, nil
	}
	var ranges []event.Range
	for _, src := range s.Sources() {
		m := s.Marks[src]
		mark, ok := snap.Marks[src]
		r := event.Range{Source: src, After: max(batch[src], m.Floor), Through: min(mark.Through, m.Applied)}
		if end, kept := until[src]; kept {
			r.Through = min(r.Through, end)
		}
		if ok && !r.Empty() {
			ranges = append(ranges, r)
		}
	}
	if len(ranges) == 0 {
		return "", nil, nil
	}
	sql, err := snap.SelectWithin(ctx, ranges, within)
	if err != nil {
		return "", nil, fmt.Errorf("read landed files of %s: %w", table, err)
	}
	return sql, ranges, nil
}

// ends gives the end of the last of the ranges of each source.
func ends(ranges []event.Range) event.Cut {
	cut := event.Cut{}
	for _, r := range ranges {
		cut[r.Source] = max(cut[r.Source], r.Through)
	}
	return cut
}

// names notes the version of a reference table that the answer depends on.
func (p *pin) names(r Reference) {
	read, _ := p.stats["reference_versions"].(map[string]string)
	if read == nil {
		read = map[string]string{}
		p.stats["reference_versions"] = read
	}
	read[r.Name] = r.Version
}

// referenceColumns are those of tailwater.reference_tables.
var referenceColumns = []event.Column{{Name: "name", Type: event.Type{Kind: event.Varchar}}, {Name: "version", Type: event.Type{Kind: event.Varchar}}, {Name: "row_count", Type: event.Type{Kind: event.BigInt}}}

// referenceTables lists the reference tables that the principal of ctx sees.
func (c *Core) referenceTables(ctx context.Context) string {
	parts := []string{warehouse.EmptySelect(referenceColumns)}
	for _, name := range sortedKeys(c.references) {
		if !access.From(ctx).Sees(name) {
			continue
		}
		r := c.references[name]
		parts = append(parts, fmt.Sprintf("SELECT %s, %s, %d::BIGINT", duckdb.Literal(name), duckdb.Literal(r.Version), r.Rows.Len()))
	}
	return strings.Join(parts, " UNION ALL ")
}

// viewErrorColumns are those of tailwater.view_errors.
var viewErrorColumns = append([]event.Column{{Name: "view", Type: event.Type{Kind: event.Varchar}}, {Name: "stream", Type: event.Type{Kind: event.Varchar}}}, warehouse.ErrorColumns...)

// viewErrors gives the rows on which views failed: those of batch runs, and
// those of the speed layer's segments after them.
func (p *pin) viewErrors(ctx context.Context) (string, error) {
	columns := columnList(warehouse.ErrorColumns)
	parts := []string{"SELECT NULL::VARCHAR AS view, NULL::VARCHAR AS stream, * FROM (" + warehouse.EmptySelect(warehouse.ErrorColumns) + ")"}
	for _, plan := range p.state.Definitions.Plans {
		tag := "SELECT " + duckdb.Literal(plan.Name) + " AS view, " + duckdb.Literal(plan.Stream) + " AS stream, " + columns + " FROM "
		if plan.Direct {
			events, err := p.stream(ctx, plan)
			if err != nil {
				return "", err
			}
			if text := plan.ErrorsSQL(events); text != "" {
				parts = append(parts, tag+"("+text+")")
			}
			continue
		}
		fromBatch, s := p.tx.Errors(plan)
		parts = append(parts, tag+"("+fromBatch+")")
		stream, v := p.state.View(plan.Name)
		ranges, segments := v.After(s)
		p.cover("errors of view "+plan.Name, stream, append(batched(s), ranges...))
		var batches []duckdb.Batch
		for _, seg := range segments {
			batches = append(batches, seg.Errors...)
		}
		if len(batches) > 0 {
			parts = append(parts, tag+p.share(warehouse.ErrorColumns, batches))
		}
	}
	return strings.Join(parts, " UNION ALL "), nil
}

func columnList(columns []event.Column) string {
	var names []string
	for _, c := range columns {
		names = append(names, duckdb.Ident(c.Name))
	}
	return strings.Join(names, ", ")
}
