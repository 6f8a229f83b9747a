package serving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/macro"
	"github.com/tailwater/tailwater/lake"
)

// The Gate's bounds. Each keeps one statement from using more of the process
// than the engine's own limits would notice.
const (
	maxStatementBytes = 64 << 10 // the largest that dashboards were seen to send is a third of it
	maxTreeDepth      = 200      // the engine's own limit is 1,000, and relations nest below a statement
	maxTreeNodes      = 20_000
)

// A Catalog knows which tables SQL from outside may read.
type Catalog interface {
	// Tables lists those that the principal of ctx sees: "payments", "daily",
	// "tailwater.view_errors". It may be called by many goroutines.
	Tables(ctx context.Context) []string
}

// A Gate decides whether SQL from outside reaches an engine. The statement is
// parsed by the engine's own parser, as a bound parameter: nothing of it is bound
// or run. Then every node of the tree must be known, every member of a node
// expected, every function and type on a list, every table in the catalogue or
// the statement's own, and sizes that a few bytes of text can make huge must be
// constants below a bound. What the Gate doesn't know it refuses.
type Gate struct {
	db      *duckdb.DB
	catalog Catalog
	now     func() time.Time // bounds series that end at now()
	more    map[string]bool  // see Allow
	macros  *macro.Set       // of the project

	templates sync.Map // of expressions and queries that the Gate puts in: text → tree
}

// NewGate parses on connections to db, which should be an in-memory engine that
// holds no data.
func NewGate(db *duckdb.DB, catalog Catalog) *Gate {
	return &Gate{db: db, catalog: catalog, now: time.Now}
}

// Allow lets statements call further functions, given in lower case: macros of an
// engine of their own, which whoever made them has looked at. It must not be called
// once the Gate is used.
func (g *Gate) Allow(functions ...string) {
	if g.more == nil {
		g.more = map[string]bool{}
	}
	for _, f := range functions {
		g.more[f] = true
	}
}

// A Statement is SQL that passed the Gate. It may be used by one goroutine.
type Statement struct {
	// Tables are the catalogue's names that it reads, each once, in order of
	// first use.
	Tables []string

	gate *Gate
	tree map[string]any
	uses []use
	// printed is the text with a place for each use, once it was asked for.
	printed *printed
	// parameters are those without a value, in the order of parameterNames; only a
	// statement that is prepared has some.
	parameters []string
	explain    explainKind
	volatile   bool // it may give other rows at the same cut: now(), random()
}

// A use is one place at which a statement reads a catalogue table.
type use struct {
	node  map[string]any // the BASE_TABLE node
	table string
	top   *top // nil for most
	// bounds are what the WHERE around it says of its columns.
	bounds lake.Bounds
}

// Admit parses and checks one statement with the values of its parameters. It
// returns a *Refusal if the statement may not run; other errors are the engine's
// own trouble.
func (g *Gate) Admit(ctx context.Context, sql string, values ...Parameter) (*Statement, error) {
	return g.admit(ctx, sql, values, false)
}

// admit checks a statement; one that is only prepared keeps its parameters.
func (g *Gate) admit(ctx context.Context, sql string, values []Parameter, preparing bool) (*Statement, error) {
	if err := checkText(sql); err != nil {
		return nil, err
	}
	explain, sql := explained(sql)
	tree, err := g.parse(ctx, sql)
	if err != nil {
		return nil, err
	}
	statements := duckdb.Statements(tree)
	if len(statements) != 1 {
		return nil, &Refusal{Code: "one_statement", Message: fmt.Sprintf("exactly one statement is expected, not %d", len(statements)), Hint: "send them one by one"}
	}
	if err := g.expandMacros(ctx, sql, statements[0]); err != nil {
		return nil, err
	}
	w := newWalker(g, sql, g.catalog.Tables(ctx), g.now())
	w.more = g.more
	st := &Statement{gate: g, tree: tree, explain: explain}
	if preparing {
		st.parameters, w.preparing = parameterNames(statements[0]), true
	} else if err := g.bindParameters(ctx, statements[0], values); err != nil {
		return nil, err
	}
	if err := w.statement(statements[0], nil); err != nil {
		return nil, err
	}
	if err := g.refuseRecursion(w, statements[0]); err != nil {
		return nil, err
	}
	if err := g.keepNames(ctx, w.outputs); err != nil {
		return nil, err
	}
	w.unqualifyColumns()
	w.keepDoubles()
	if err := g.insert(ctx, w.guarded, statements[0]); err != nil {
		return nil, err
	}
	if err := g.streamLimit(ctx, statements[0]); err != nil {
		return nil, err
	}
	st.Tables, st.uses, st.volatile = w.used, w.uses, w.volatile
	return st, nil
}

// keepNames gives expressions whose text Rewrite changes the name that their
// column has now. They are few: scalar subqueries without an alias, mostly.
func (g *Gate) keepNames(ctx context.Context, outputs []map[string]any) error {
	return g.name(ctx, slices.DeleteFunc(outputs, func(e map[string]any) bool { return !changesWhenPrinted(e) }))
}

// name gives expressions their text as an alias.
func (g *Gate) name(ctx context.Context, outputs []map[string]any) error {
	if len(outputs) == 0 {
		return nil
	}
	tree, err := g.db.Parse(ctx, "SELECT 1")
	if err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	node := duckdb.Statements(tree)[0].(map[string]any)["node"].(map[string]any)
	for _, e := range outputs {
		node["select_list"] = []any{e}
		sql, err := g.db.Print(ctx, tree)
		if err != nil {
			return fmt.Errorf("gate: name of a column: %w", err)
		}
		e["alias"] = strings.TrimPrefix(sql, "SELECT ")
	}
	return nil
}

// checkText refuses what no parser should be given.
func checkText(sql string) error {
	switch {
	case len(sql) > maxStatementBytes:
		return &Refusal{Code: "too_long", Message: fmt.Sprintf("the statement has %d bytes, %d are allowed", len(sql), maxStatementBytes), Hint: "move long lists into a stream and join it"}
	case strings.TrimSpace(sql) == "":
		return &Refusal{Code: "syntax", Message: "the statement is empty", Hint: "send a SELECT"}
	case !utf8.ValidString(sql):
		return &Refusal{Code: "syntax", Message: "the statement is not valid UTF-8"}
	}
	if at := strings.IndexByte(sql, 0); at >= 0 {
		return &Refusal{Code: "syntax", Message: "the statement holds a NUL character", Position: charAt(sql, at)}
	}
	return nil
}

// charAt turns a byte offset into a position in characters, counted from 1.
func charAt(sql string, offset int) int {
	if offset < 0 || offset > len(sql) {
		return 0
	}
	return utf8.RuneCountInString(sql[:offset]) + 1
}

// parse gives the statement's tree. A fresh connection costs microseconds and
// cannot have been changed by whoever came before.
func (g *Gate) parse(ctx context.Context, sql string) (map[string]any, error) {
	tree, err := g.db.Parse(ctx, sql)
	var parse *duckdb.ParseError
	switch {
	case errors.As(err, &parse) && strings.Contains(parse.Message, "Only SELECT"):
		return nil, onlySelect(sql)
	case errors.As(err, &parse):
		return nil, &Refusal{Code: "syntax", Message: parse.Message, Position: parse.Position + 1}
	}
	return tree, err
}

// onlySelect words the refusal of a statement that the engine parses and that is
// no plain SELECT.
func onlySelect(sql string) *Refusal {
	if strings.Contains(strings.ToLower(sql), "pivot") {
		return refusePivot()
	}
	return &Refusal{Code: "only_select", Message: "only SELECT statements are answered", Hint: "data comes in through ingest, and views are files of the project"}
}

func refusePivot() *Refusal {
	return &Refusal{Code: "unsupported", Message: "PIVOT needs its values written out, and UNPIVOT its columns", Hint: "write PIVOT t ON key IN ('a', 'b') USING sum(x), or sum(x) FILTER (WHERE key = 'a') AS a"}
}

// Rewrite gives the statement with every catalogue table replaced by the union of
// the SELECTs that relations gives for it, under the alias or else the table's name.
// Done again with other relations it gives the statement for another cut.
//
// The SELECTs are trusted and pass no Gate, but they land inside the user's scopes:
// they must name schema-qualified tables, functions, and WITH names of their own,
// nothing else, or a WITH clause of the user's could catch a name.
func (s *Statement) Rewrite(relations map[string][]string) (string, error) {
	if err := s.print(); err != nil {
		return "", fmt.Errorf("rewrite: %w", err)
	}
	for _, table := range s.Tables {
		if len(relations[table]) == 0 {
			return "", fmt.Errorf("rewrite: no relation for table %q", table)
		}
	}
	return s.printed.fill(func(n int) string {
		u := s.uses[n]
		parts := relations[u.table]
		if u.top == nil || len(parts) == 1 {
			return "(" + unionOf(parts) + ")"
		}
		first := make([]string, len(parts))
		for i, part := range parts {
			first[i] = "(" + u.top.printed.fill(func(int) string { return "(" + part + ")" }) + ")"
		}
		return "(" + strings.Join(first, " UNION ALL ") + ")"
	}), nil
}

// print prints the statement once, with a place for each catalogue table that it reads.
func (s *Statement) print() error {
	if s.printed != nil {
		return nil
	}
	places := newPlaces()
	for i, u := range s.uses {
		_, alias := splitName(u.table)
		if own := text(u.node, "alias"); own != "" {
			alias = own
		}
		if u.top != nil {
			if err := u.top.print(s.gate.db, places, alias); err != nil {
				return err
			}
		}
		u.node["alias"], u.node["schema_name"], u.node["catalog_name"], u.node["table_name"] = alias, "", "", places.name(i)
	}
	// It prints in tenths of a millisecond: there is nothing to wait for.
	sql, err := s.gate.db.Print(context.Background(), s.tree)
	if err != nil {
		return err
	}
	s.printed = places.cut(sql)
	return nil
}

// unionOf gives one SELECT of the rows of all parts. Of a union whose columns nobody
// asks for, as under count(*), the engine still reads the first; so the first is one
// that costs nothing.
func unionOf(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	with := make([]string, len(parts))
	for i, part := range parts {
		with[i] = "SELECT NULL::BOOLEAN AS tailwater_nothing, * FROM (" + part + ") AS part"
	}
	return "SELECT * EXCLUDE (tailwater_nothing) FROM (" + strings.Join(with, " UNION ALL ") + ") AS parts"
}

// bounds gives what every row of a table that the statement needs is within; nil if
// it reads the table at several places.
func (s *Statement) bounds(table string) lake.Bounds {
	var found lake.Bounds
	for i, u := range s.uses {
		if u.table != table {
			continue
		}
		if found = u.bounds; slices.ContainsFunc(s.uses[i+1:], func(o use) bool { return o.table == table }) {
			return nil
		}
		break
	}
	return found
}

// unknownTable words the refusal of a table that is neither in the catalogue
// nor a WITH clause in scope.
func unknownTable(written string, catalog []string, position int) *Refusal {
	r := &Refusal{Code: "unknown_table", Message: fmt.Sprintf("there is no table %q", written), Position: position}
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	low := strings.ToLower(written)
	for _, name := range catalog {
		d := distance(low, strings.ToLower(name))
		if strings.HasSuffix(strings.ToLower(name), "."+low) {
			d = 0
		}
		if d <= max(2, len(low)/3) {
			near = append(near, candidate{name, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return a.distance - b.distance })
	var names []string
	for _, c := range near[:min(3, len(near))] {
		names = append(names, c.name)
	}
	r.Candidates = names
	switch {
	case len(names) > 0:
		r.Hint = "did you mean " + strings.Join(names, " or ") + "?"
	case len(catalog) > 0:
		r.Hint = "the tables are " + strings.Join(catalog[:min(20, len(catalog))], ", ")
	default:
		r.Hint = "the project defines no streams or views yet"
	}
	return r
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
