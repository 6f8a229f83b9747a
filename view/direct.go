package view

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// A view that cannot be put together from partial rows is planned over the stream: its
// own SQL is run over the events through the cut, whenever it is asked for. That is as
// exact as any other view, and costs what the events cost.

// direct makes a plan over the stream of what is known of the query.
func (b *builder) direct(p *Plan) (*Plan, error) {
	p.Direct = true
	p.stmts.partial, p.stmts.merge, p.stmts.join, p.stmts.reshape, p.stmts.fold = template{}, template{}, template{}, template{}, template{}
	p.stmts.parts = parts{}
	p.stmts.regroup.obstacle = "it is computed from the events"
	b.nameKeys(p)
	p.Roles = b.roles()
	if b.q.window != nil {
		p.Partial = append(p.Partial, event.Column{Name: "pane", Type: event.Type{Kind: event.Timestamp}})
	}
	for _, k := range p.Keys {
		p.Partial = append(p.Partial, event.Column{Name: k.Column, Type: k.Type})
	}
	if err := b.typePlain(p); err != nil {
		return nil, err
	}
	p.stmts.finish = p.stmts.plain
	if err := b.typeOrder(p, b.events); err != nil {
		return nil, err
	}
	p.stmts.bounds = b.bounds(p.stmts.plain, p.Output)
	if _, err := b.columns(p.CheckedSQL(b.events)); err != nil {
		return nil, fmt.Errorf("planner: type the bounds of view %s: %w", p.Name, err)
	}
	p.Version = b.version(p)
	return p, nil
}

// overStream plans any SELECT over one stream, as far as its answer follows from the
// events alone. refused is why it cannot be kept incrementally: it is the error if the
// statement is wrong in itself.
func (s session) overStream(def Definition, schemas map[string]*event.Schema, fingerprint string, refused *Error) (*Plan, error) {
	if def.Bounds != "" || def.Timezone != "" || def.Cap != "" {
		return nil, refused
	}
	tree, err := s.conn.Parse(s.ctx, def.SQL)
	if err != nil {
		return nil, refused
	}
	statements := duckdb.Statements(tree)
	if len(statements) != 1 {
		return nil, refused
	}
	root := sub(statements[0].(node), "node")
	castDoubles(root) // the macros' are cast already
	if err := s.expandMacros(def, root); err != nil {
		return nil, err
	}
	r := &reader{def: def, schemas: schemas}
	r.read(root, nil)
	if n := duckdb.CorrelatedRecursion(root, nil); n != nil {
		r.refuse(n, duckdb.CorrelatedRecursionHint, duckdb.CorrelatedRecursionRefused)
	}
	switch {
	case r.err != nil && r.telling:
		return nil, r.err
	case r.err != nil || r.schema == nil:
		return nil, refused
	}
	sql, err := s.conn.Print(s.ctx, tree)
	if err != nil {
		return nil, refused
	}
	p := &Plan{Name: def.Name, Stream: r.schema.Stream, SQL: def.SQL, Description: def.Description, Schema: r.schema, Direct: true}
	p.Reads = r.columns.of(r.schema)
	p.References = slices.Sorted(maps.Keys(r.references))
	if err := s.emptyReferences(r.references); err != nil {
		return nil, err
	}
	b := &builder{session: s, q: &query{def: def, schema: r.schema}, fingerprint: fingerprint, events: stub(r.schema.Relation(), relEvents)}
	if err := b.whole(p, strings.TrimSuffix(strings.TrimSpace(sql), ";"), len(list(root, "modifiers")) > 0); err != nil {
		var own *Error
		if errors.As(err, &own) {
			return nil, refused
		}
		return nil, err
	}
	p.Version = b.version(p)
	return p, nil
}

// whole makes the statements of a view that is one SELECT over the stream.
func (b *builder) whole(p *Plan, sql string, ordered bool) error {
	with := "WITH "
	for _, name := range p.References {
		with += duckdb.Ident(name) + " AS (FROM " + referenceTable(name) + "), "
	}
	with += duckdb.Ident(p.Stream) + " AS ("
	from := template{" FROM (SELECT *, row_number() OVER () AS tailwater_row FROM (" + with, ") " + sql + ")) AS " + relMerged}
	described, err := b.conn.Describe(b.ctx, with+"FROM "+b.events+") "+sql)
	if err != nil {
		return b.q.def.errorAt(-1, "", engineText(err))
	}
	s := selection{from: from}
	for i, c := range described {
		if slices.ContainsFunc(described[:i], func(d duckdb.DescribedColumn) bool { return strings.EqualFold(d.Name, c.Name) }) {
			return b.q.def.errorAt(-1, "give one of them another name", "two columns are named "+c.Name)
		}
		item := relMerged + "." + duckdb.Ident(c.Name)
		s.items, s.names = append(s.items, item), append(s.names, c.Name)
		p.Roles = append(p.Roles, RoleMeasure)
		if !ordered { // so that pages follow each other
			s.order = append(s.order, sorted{sql: item, typ: c.SQLType})
		}
	}
	if ordered {
		s.order = []sorted{{sql: relMerged + ".tailwater_row", typ: "BIGINT"}}
	}
	p.stmts.plain = s
	p.stmts.regroup.obstacle = "it is computed from the events"
	if err := b.typePlain(p); err != nil {
		return err
	}
	p.stmts.finish = p.stmts.plain
	p.stmts.bounds = make([]string, len(p.Output))
	for i, c := range p.Output {
		if isFloat(c.Type) {
			p.stmts.bounds[i] = composed + " * abs(CAST(" + s.items[i] + " AS DOUBLE))"
		}
	}
	_, err = b.columns(p.CheckedSQL(b.events))
	return err
}

// referenceTable is what stands for a reference table in the statements of a plan
// until WithReferences.
func referenceTable(name string) string { return "tailwater_reference." + duckdb.Ident(name) }

// emptyReferences lets the planner's engine bind statements that read the tables.
func (s session) emptyReferences(references map[string][]event.Column) error {
	for name, columns := range references {
		sql := "CREATE SCHEMA IF NOT EXISTS tailwater_reference; CREATE OR REPLACE TABLE " + referenceTable(name) + " AS FROM " + stub(columns, "r")
		if err := s.conn.Exec(s.ctx, sql); err != nil {
			return fmt.Errorf("planner: make reference table %s known: %w", name, err)
		}
	}
	return nil
}

// WithReferences gives the plan over these reference tables: a SELECT of the rows of
// each of References.
func (p *Plan) WithReferences(tables map[string]string) *Plan {
	if len(p.References) == 0 {
		return p
	}
	q := *p
	for _, name := range p.References {
		place, rows := "(FROM "+referenceTable(name)+")", "("+tables[name]+")"
		for _, t := range []*template{&q.stmts.plain.from, &q.stmts.finish.from, &q.stmts.join} {
			*t = template{strings.ReplaceAll(t.before, place, rows), strings.ReplaceAll(t.after, place, rows)}
		}
	}
	return &q
}

// A reader looks at a whole statement: which stream it reads, and whether its answer
// follows from the events.
type reader struct {
	def     Definition
	schemas map[string]*event.Schema
	schema  *event.Schema
	// references are those that it joins
	references map[string][]event.Column
	columns    readColumns
	err        error // the first objection
	telling    bool  // it says more than why the view cannot be kept incrementally
}

func (r *reader) refuse(n node, hint, format string, args ...any) {
	if r.err == nil {
		q := query{def: r.def}
		r.err, r.telling = q.fail(n, hint, format, args...), true
	}
}

// wrong notes what every statement is refused for.
func (r *reader) wrong() {
	if r.err == nil {
		r.err = errors.New("the statement is wrong in itself")
	}
}

// read walks the tree; ctes are the names that hide tables.
func (r *reader) read(v any, ctes []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			r.read(e, ctes)
		}
	case node:
		for _, entry := range list(sub(v, "cte_map"), "map") {
			ctes = append(slices.Clone(ctes), strings.ToLower(text(entry.(node), "key")))
		}
		r.look(v, ctes)
		for _, member := range slices.Sorted(maps.Keys(v)) {
			r.read(v[member], ctes)
		}
	}
}

func (r *reader) look(n node, ctes []string) {
	r.columns.look(n)
	switch text(n, "type") {
	case "BASE_TABLE":
		r.table(n, ctes)
	case "TABLE_FUNCTION":
		if name := function(sub(n, "function")); !duckdb.TableFunctionAllowed(name) {
			r.wrong()
		}
	case "LIMIT_PERCENT_MODIFIER":
		r.refuse(sub(n, "limit"), "give a number of rows", "a view cannot have LIMIT with a percentage")
	}
	if sample, ok := n["sample"]; ok && sample != nil {
		r.refuse(n, "filter on a hash of a key instead", "a view cannot sample: its answer must be the same each time")
	}
	modifiers := list(n, "modifiers")
	if slices.ContainsFunc(modifiers, ofType("LIMIT_MODIFIER")) && !slices.ContainsFunc(modifiers, ofType("ORDER_MODIFIER")) {
		r.refuse(n, "add ORDER BY columns that tell all rows apart", "a view cannot have LIMIT without ORDER BY: which rows it keeps would be left to chance")
	}
	if i := slices.IndexFunc(modifiers, ofType("DISTINCT_MODIFIER")); i >= 0 && len(list(modifiers[i].(node), "distinct_on_targets")) > 0 && !slices.ContainsFunc(modifiers, ofType("ORDER_MODIFIER")) {
		r.refuse(n, "add ORDER BY columns that tell all rows apart", "a view cannot have DISTINCT ON without ORDER BY: which rows it keeps would be left to chance")
	}
	switch class(n) {
	case "PARAMETER":
		r.wrong()
	case "WINDOW":
		if byRow[text(n, "type")] && len(list(n, "orders")) == 0 {
			r.refuse(n, "add ORDER BY in OVER (…)", "this window function depends on an order, and has none")
		}
	case "FUNCTION":
		r.function(n)
	}
}

func ofType(typ string) func(any) bool {
	return func(m any) bool { n, _ := m.(node); return text(n, "type") == typ }
}

func (r *reader) table(n node, ctes []string) {
	name := text(n, "table_name")
	if slices.Contains(ctes, strings.ToLower(name)) {
		return
	}
	if text(n, "schema_name") != "" || text(n, "catalog_name") != "" {
		r.wrong()
		return
	}
	for known, schema := range r.schemas {
		if !strings.EqualFold(known, name) {
			continue
		}
		if r.schema != nil && r.schema != schema {
			r.refuse(n, "write one view for each stream and join them in a query", "a view reads one stream, not %s and %s", r.schema.Stream, schema.Stream)
		}
		r.schema = schema
		return
	}
	for known, columns := range r.def.References {
		if strings.EqualFold(known, name) {
			if r.references == nil {
				r.references = map[string][]event.Column{}
			}
			r.references[known] = columns
			return
		}
	}
	r.wrong()
}

// ordered are the aggregates whose result depends on the order of the events, or of
// those that are equal.
var ordered = map[string]bool{
	"first": true, "last": true, "any_value": true, "arbitrary": true, "list": true, "array_agg": true, "string_agg": true,
	"group_concat": true, "listagg": true, "mode": true,
}

// chance are the aggregates whose result depends on more than the events.
var chance = map[string]string{
	"approx_quantile": "use it with GROUP BY and no subqueries, where it is kept incrementally, or quantile_disc",
	"approx_top_k":    "GROUP BY the value and take the largest counts", "reservoir_quantile": "use quantile_disc",
}

func (r *reader) function(n node) {
	name := function(n)
	switch {
	case chance[name] != "":
		r.refuse(n, chance[name], "%s does not give the same answer each time", name)
	case ordered[name] && len(list(sub(n, "order_bys"), "orders")) == 0:
		r.refuse(n, "write "+name+"(x ORDER BY …)", "%s depends on an order, and has none", name)
	case !duckdb.Deterministic(name) && !duckdb.AggregateAllowed(name) && name != "count_star":
		r.wrong()
	}
}
