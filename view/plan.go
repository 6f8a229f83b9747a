package view

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// plannerVersion changes when partial rows of the same definition change their
// meaning without changing their SQL.
const plannerVersion = "1"

// relMerged is the alias of the merged rows in finish; relRows that of the rows
// on which no expression fails, in partial.
const (
	relMerged = "_m"
	relRows   = "_r"
)

// A template is a statement with a place for a FROM item.
type template struct{ before, after string }

// over puts the FROM item in. It is wrapped because it may carry an alias.
func (t template) over(from string) string { return t.before + "(FROM " + from + ")" + t.after }

// statements are a plan's templates.
type statements struct {
	partial, merge, errors template
	parts                  parts // of partial, if views may share it
	// reshape makes merged partial rows of panes those of windows; zero if they are
	// the same.
	reshape template
	// fold puts the side rows of a window and keys into one row; zero if there are none.
	fold          template
	finish, plain selection
	// join makes merged partial rows those of the view's own keys, which reshape merges;
	// zero if the view joins no reference tables after the merge.
	join     template
	panes    bool     // reshape makes windows of panes
	bounds   []string // of plain's items: see CheckedSQL
	pushable bool     // a filter on panes and keys commutes with finish
	regroup  regrouping
}

// A selection is finish or plain, in parts, so that answers can add to it.
type selection struct {
	items []string // SQL, without names
	names []string // of items
	from  template // "FROM … WHERE … GROUP BY …"
	tail  string   // HAVING and QUALIFY
	order []sorted // ORDER BY, ties broken if there is a limit
	limit string   // " LIMIT … OFFSET …"
}

// sorted is one member of ORDER BY; suffix is its direction, typ its type in finish.
type sorted struct{ sql, suffix, typ string }

func (s selection) sql(from string) string { return s.with(from, nil) }

// with adds hidden columns, as SQL with their names.
func (s selection) with(from string, hidden []string) string {
	var b strings.Builder
	b.WriteString("SELECT ")
	for i, it := range s.items {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(it + " AS " + duckdb.Ident(s.names[i]))
	}
	for _, h := range hidden {
		b.WriteString(", " + h)
	}
	b.WriteString(s.from.over(from) + s.tail)
	for i, o := range s.order {
		b.WriteString([]string{" ORDER BY ", ", "}[min(i, 1)] + o.sql + o.suffix)
	}
	b.WriteString(s.limit)
	return b.String()
}

// A rowExpr is an expression that is evaluated per event.
type rowExpr struct {
	sql  string
	safe bool
	what string // for the reason of a failure
}

// A builder makes the plan of one query.
type builder struct {
	session
	q           *query
	typer       *typer
	fingerprint string

	calls   map[string]*call // by canonical form
	ordered []*call          // calls in order of appearance
	values  map[string]node  // finish, by canonical form of the call
	slots   []slot
	sides   []side
	folds   []string // the columns that fold adds
	ranked  []int    // sides whose values are ranked
	keys    []string // of partial rows, SQL over relEvents
	events  string   // a FROM item with the stream's columns and no rows
	rows    []rowExpr
	where   *rowExpr
	// first and last are the slots of a session's first and last event.
	first, last int
}

func newBuilder(s session, q *query, fingerprint string) *builder {
	return &builder{session: s, q: q, fingerprint: fingerprint, calls: map[string]*call{}, values: map[string]node{},
		typer: &typer{session: s, q: q, stub: q.joinedStub(), types: map[string]string{}}, events: stub(q.schema.Relation(), relEvents)}
}

// stub is a FROM item with columns and no rows.
func stub(columns []event.Column, alias string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = "CAST(NULL AS " + c.Type.String() + ") AS " + duckdb.Ident(c.Name)
	}
	return "(SELECT " + strings.Join(parts, ", ") + " WHERE false) AS " + alias
}

func (b *builder) plan() (*Plan, error) {
	q := b.q
	if err := b.emptyReferences(q.references()); err != nil {
		return nil, err
	}
	direct := q.window != nil && (!q.window.Incremental() || q.unkept != nil)
	if err := b.refuseJoins(direct); err != nil {
		return nil, err
	}
	b.breakTies()
	if err := b.learnRows(); err != nil {
		return nil, err
	}
	if err := b.learnCalls(); err != nil {
		return nil, err
	}
	for _, c := range b.ordered {
		value, err := b.parse(b.finish(c))
		if err != nil {
			return nil, err
		}
		b.values[canonical(c.node)] = value
	}
	p := &Plan{Name: q.def.Name, Stream: q.schema.Stream, SQL: q.def.SQL, Description: q.def.Description, Schema: q.schema, Window: q.window, Reads: b.reads(),
		References: slices.Sorted(maps.Keys(q.references())), kept: len(b.keys)}
	if w := q.window; w != nil && w.Kind == Session && w.Incremental() {
		ts := b.time()
		b.remember(ts, true, "time")
		b.first, b.last = b.add(slot{op: "min", arg: ts}), b.add(slot{op: "max", arg: ts})
	}
	p.stmts.partial, p.stmts.parts = b.partialSQL()
	p.stmts.merge, p.stmts.fold = mergeOver(b.slots, b.partialKey()), b.fold()
	var err error
	if p.stmts.join, err = b.join(); err != nil {
		return nil, err
	}
	p.stmts.reshape = b.reshape()
	if p.stmts.panes = p.stmts.reshape != (template{}); p.stmts.panes || p.AfterMerge() {
		p.stmts.reshape = compose(mergeOver(b.slots, b.finishKey()), p.stmts.reshape)
	}
	p.stmts.errors = b.errorsSQL()
	p.stmts.pushable = q.limit == nil && q.offset == nil && q.qualify == nil &&
		!slices.ContainsFunc(q.finishing(), func(n node) bool { return contains(n, func(m node) bool { return class(m) == "WINDOW" }) })
	if p.stmts.plain, err = b.plain(); err != nil {
		return nil, err
	}
	if direct {
		return b.direct(p)
	}
	if p.stmts.finish, err = b.finished(); err != nil {
		return nil, err
	}
	if p.stmts.regroup, err = b.regrouped(); err != nil {
		return nil, err
	}
	if err := b.typePlan(p); err != nil {
		return nil, err
	}
	for i, s := range b.slots {
		if s.op == "list" {
			p.Lists = append(p.Lists, slotName(i))
		}
	}
	b.nameKeys(p)
	p.Roles = b.roles()
	p.Version = b.version(p)
	return p, nil
}

// learnRows types and prints everything that is evaluated per event.
func (b *builder) learnRows() error {
	q, t := b.q, b.typer
	roots := slices.Concat(q.keys, q.kept, q.late)
	for _, j := range q.joins {
		roots = append(roots, j.on...)
	}
	if q.where != nil {
		roots = append(roots, q.where)
	}
	for _, n := range q.finishing() {
		walk(n, func(m node) bool {
			if !aggregate(m) {
				return q.key(m) < 0
			}
			for _, a := range list(m, "children") {
				roots = append(roots, a.(node))
			}
			if f := sub(m, "filter"); f != nil {
				roots = append(roots, f)
			}
			return false
		})
	}
	if err := t.learn(roots...); err != nil {
		return err
	}
	for _, n := range roots {
		if err := t.checkConstants(n); err != nil {
			return err
		}
	}
	for _, k := range q.keys {
		if t.kind(k).Kind == event.Invalid {
			return q.fail(k, castHint(t.raw(k)), "a key cannot be of type %s", t.raw(k))
		}
	}
	for _, k := range q.kept {
		if t.kind(k).Kind == event.Invalid {
			return q.fail(k, castHint(t.raw(k)), "a key cannot be of type %s", t.raw(k))
		}
		sql, err := b.row(k, "key")
		if err != nil {
			return err
		}
		b.keys = append(b.keys, sql)
	}
	if q.where == nil {
		return nil
	}
	sql, err := b.print(q.where)
	b.where = &rowExpr{sql: sql, safe: t.safe(q.where) && t.kind(q.where).Kind == event.Boolean, what: "WHERE " + sql}
	return err
}

// row prints a row expression and remembers it.
func (b *builder) row(n node, role string) (string, error) {
	sql, err := b.print(n)
	if err == nil {
		b.remember(sql, b.typer.safe(n), role)
	}
	return sql, err
}

func (b *builder) remember(sql string, safe bool, role string) {
	// What reads a reference table is evaluated where no event can be left out any more.
	if !strings.Contains(sql, refPrefix) && !slices.ContainsFunc(b.rows, func(r rowExpr) bool { return r.sql == sql }) {
		b.rows = append(b.rows, rowExpr{sql, safe, role + " " + sql})
	}
}

// learnCalls finds the distinct aggregates and their types.
func (b *builder) learnCalls() (err error) {
	for _, n := range b.q.finishing() {
		walk(n, func(m node) bool {
			if err != nil || b.q.key(m) >= 0 {
				return false
			}
			if aggregate(m) {
				err = b.learnCall(m)
				return false
			}
			return true
		})
	}
	return err
}

func (b *builder) learnCall(n node) (err error) {
	id := canonical(n)
	if b.calls[id] != nil {
		return nil
	}
	c := &call{node: n, name: cmp.Or(sameAs[function(n)], function(n)), safe: true}
	c.distinct = isSet(n, "distinct") && c.name != "min" && c.name != "max"
	args, err := b.arguments(c)
	if err != nil {
		return err
	}
	if err := b.typeCall(c, args); err != nil {
		return err
	}
	for i, a := range args {
		sql, safe := []string{c.arg, c.by}[i], b.typer.safe(a)
		if plainArg, _ := b.print(a); plainArg != sql {
			safe = false // guarded
		}
		if strings.HasPrefix(c.name, "bool_") {
			safe = safe && c.typ.Kind == event.Boolean
		}
		b.remember(sql, safe, c.name+" of")
		c.safe = c.safe && safe
	}
	if f := sub(n, "filter"); f != nil {
		if c.filter, err = b.print(f); err != nil {
			return err
		}
		safe := b.typer.safe(f) && b.typer.kind(f).Kind == event.Boolean
		b.remember(c.filter, safe, "FILTER")
		c.safe = c.safe && safe
	}
	c.least = fmt.Sprintf("%s.tailwater_least_%d", relEvents, len(b.ordered))
	if c.result, err = b.resultOf(c); err != nil {
		return err
	}
	b.calls[id] = c
	b.ordered = append(b.ordered, c)
	return nil
}

// arguments prints a call's arguments, of which the last of a quantile is a constant.
func (b *builder) arguments(c *call) ([]node, error) {
	var args []node
	for _, a := range list(c.node, "children") {
		args = append(args, a.(node))
	}
	if lists[c.name] {
		var err error
		if args, err = b.learnList(c, args); err != nil {
			return nil, err
		}
	}
	if len(args) == 2 && constants[c.name] {
		var err error
		if c.constant, err = b.fraction(args[1]); err != nil {
			return nil, err
		}
		args = args[:1]
	}
	for i, to := range []*string{&c.arg, &c.by}[:min(2, len(args))] {
		sql, err := b.print(args[i])
		if err != nil {
			return nil, err
		}
		*to = sql
	}
	return args, nil
}

// fraction reads the constant of a quantile.
func (b *builder) fraction(n node) (float64, error) {
	wrong := b.q.fail(n, "write a number between 0 and 1", "the fraction of a quantile is one constant")
	if !constant(n) {
		return 0, wrong
	}
	sql, err := b.print(n)
	if err != nil {
		return 0, err
	}
	rel, err := b.conn.Collect(b.ctx, "SELECT CAST("+sql+" AS DOUBLE)")
	if err != nil || rel.Len() != 1 {
		return 0, wrong
	}
	q, ok := rel.Value(0, 0).(float64)
	if !ok || !(q >= 0 && q <= 1) {
		return 0, wrong
	}
	return q, nil
}

// resultOf is the type that the engine gives a call.
func (b *builder) resultOf(c *call) (string, error) {
	if c.name == "approx_count_distinct" {
		return "BIGINT", nil
	}
	described, err := b.conn.Describe(b.ctx, "SELECT "+c.plain()+" FROM "+b.typer.stub)
	if err != nil {
		return "", b.q.fail(c.node, "", "%s", engineText(err))
	}
	return described[0].SQLType, nil
}

// reads lists the stream's columns that the partial needs.
func (b *builder) reads() []string {
	used := map[string]bool{}
	note := func(n node) {
		walk(n, func(m node) bool {
			if parts := names(m); len(parts) == 2 {
				used[parts[1]] = true
			}
			return true
		})
	}
	note(b.q.where)
	for _, k := range b.q.kept {
		note(k)
	}
	for _, c := range b.ordered {
		note(c.node)
	}
	if b.q.window != nil {
		used[b.q.schema.Columns[b.q.schema.TimeColumn].Name] = true
	}
	var out []string
	for _, c := range b.q.schema.Columns {
		if used[c.Name] {
			out = append(out, c.Name)
		}
	}
	return out
}

// nameKeys names each key after the output column that shows it.
func (b *builder) nameKeys(p *Plan) {
	taken := map[string]bool{"window_start": true, "window_end": true}
	for _, it := range b.q.items {
		taken[strings.ToLower(it.name)] = true
	}
	for i, k := range b.q.keys {
		key := Key{Column: b.keyName(i), Type: b.typer.kind(k)}
		for _, it := range b.q.items {
			if key.Name == "" && canonical(it.expr) == canonical(k) {
				key.Name = it.name
			}
		}
		if key.Name == "" {
			if parts := names(k); parts != nil && !taken[strings.ToLower(refMark.ReplaceAllString(parts[1], ""))] {
				key.Name = refMark.ReplaceAllString(parts[1], "")
			} else {
				for n := i + 1; key.Name == "" || taken[key.Name]; n++ {
					key.Name = fmt.Sprintf("key%d", n)
				}
			}
			taken[strings.ToLower(key.Name)] = true
		}
		p.Keys = append(p.Keys, key)
	}
}

// version identifies the meaning of the partial rows: 16 hexadecimal digits.
func (b *builder) version(p *Plan) string {
	h := sha256.New()
	fmt.Fprintf(h, "planner %s\nengine %s\nstream %s\n%s\n%s\n", plannerVersion, b.fingerprint, p.Stream, p.PartialSQL("events"), p.MergeSQL("partials"))
	if p.Direct {
		fmt.Fprintf(h, "%s\n", p.PlainSQL("events"))
	}
	for _, name := range p.Reads {
		fmt.Fprintf(h, "%q %s\n", name, p.Schema.Columns[p.Schema.Index(name)].Type)
	}
	for _, c := range p.Partial {
		fmt.Fprintf(h, "%q %s\n", c.Name, c.Type)
	}
	fmt.Fprint(h, b.q.referenceTypes())
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func micros(d time.Duration) string { return fmt.Sprintf("to_microseconds(%d)", d.Microseconds()) }
