package serving

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
)

// A walker checks one tree. Nodes are as the engine's parser prints them: query
// nodes, table references and modifiers have a "type", expressions a "class" as
// well.
type walker struct {
	gate    *Gate
	grammar *grammar
	sql     string
	catalog []string
	tables  map[[2]string]string // lower-case schema and name → the catalogue's name
	now     time.Time
	more    map[string]bool // functions beyond the engine room's lists

	// preparing lets parameters stand where they have no value yet.
	preparing    bool
	volatile     bool
	depth, nodes int
	factor       float64 // how many values the statement's series make of one, multiplied
	used         []string
	uses         []use
	columns      []map[string]any // column references of three parts and more
	doubles      []map[string]any // constants of type DOUBLE
	outputs      []map[string]any // expressions of SELECT lists that have no alias
	guarded      []map[string]any // calls that need a guard

	size    size             // of the query that is being walked
	aliases []map[string]int // of the SELECT lists around the node: how many parts each stands for
	aliased int              // parts that uses of aliases repeat
	arrays  int              // values that array types have
	windows int              // calls with OVER
}

// A scope is the WITH names that a node sees, innermost first; nil sees none.
type scope struct {
	outer *scope
	name  string // lower case: the engine's names have no case
	size  size
	// The engine plans a WITH clause once: uses after the first read what that one
	// has made. (The tree doesn't know NOT MATERIALIZED.)
	used bool
}

// find gives the innermost scope of a name, nil if there is none.
func (s *scope) find(name string) *scope {
	for ; s != nil && s.name != name; s = s.outer {
	}
	return s
}

func newWalker(gate *Gate, sql string, catalog []string, now time.Time) *walker {
	w := &walker{gate: gate, grammar: &theGrammar, sql: sql, catalog: catalog, now: now, factor: 1, tables: map[[2]string]string{}}
	for _, name := range catalog {
		schema, table := splitName(name)
		w.tables[[2]string{strings.ToLower(schema), strings.ToLower(table)}] = name
		if schema == "" { // tools like to write the default schema out
			w.tables[[2]string{"main", strings.ToLower(table)}] = name
		}
	}
	return w
}

// splitName takes a catalogue name apart; schema is empty for most.
func splitName(name string) (schema, table string) {
	if schema, table, ok := strings.Cut(name, "."); ok {
		return schema, table
	}
	return "", name
}

// text gives a member that should be a string; "" if it is absent or is none.
func text(node map[string]any, member string) string {
	s, _ := node[member].(string)
	return s
}

// at tells where in the SQL a node stands, in characters from 1; 0 if the
// parser doesn't say.
func (w *walker) at(node map[string]any) int {
	n, ok := node["query_location"].(json.Number)
	if !ok {
		return 0
	}
	offset, err := n.Int64()
	if err != nil { // the largest uint64 stands for "unknown"
		return 0
	}
	return charAt(w.sql, int(offset))
}

// refuse makes a Refusal at a node.
func (w *walker) refuse(node map[string]any, code, hint, format string, args ...any) error {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, Position: w.at(node)}
}

// enter accounts for a node and everything below it; leave with w.depth--.
func (w *walker) enter(v any) (map[string]any, error) {
	w.depth++
	w.nodes++
	if w.depth > maxTreeDepth || w.nodes > maxTreeNodes {
		return nil, &Refusal{Code: "too_complex", Message: fmt.Sprintf("the statement is nested deeper than %d or has more than %d parts", maxTreeDepth, maxTreeNodes), Hint: "split it, or use IN lists instead of long chains"}
	}
	node, ok := v.(map[string]any)
	if !ok {
		return nil, &Refusal{Code: "unsupported", Message: "the statement has a part that is not supported"}
	}
	return node, nil
}

// members checks each member of a node against the shape; one that the shape
// doesn't have must be empty.
func (w *walker) members(node map[string]any, s shape, in *scope) error {
	for _, name := range slices.Sorted(maps.Keys(node)) { // sorted: the same statement, the same refusal
		check, ok := s[name]
		switch {
		case ok && check != nil:
			if err := check(w, node[name], in); err != nil {
				return err
			}
		case !ok && !empty(node[name]):
			return w.refuse(node, "unsupported", "", "%s with %q is not supported", strings.ToLower(text(node, "type")), name)
		}
	}
	return nil
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// each checks the elements of a list.
func (w *walker) each(v any, check func(any) error) error {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return &Refusal{Code: "unsupported", Message: "the statement has a part that is not supported"}
	}
	for _, e := range list {
		if err := check(e); err != nil {
			return err
		}
	}
	return nil
}

// statement checks {"node": …}, the form of a whole statement and of subqueries.
func (w *walker) statement(v any, in *scope) error {
	node, err := w.enter(v)
	if err != nil {
		return err
	}
	defer func() { w.depth-- }()
	return w.members(node, shape{"node": (*walker).query, "named_param_map": nil}, in)
}

// query checks a SELECT, set operation or recursion. Its WITH names are seen by
// the rest of the node, and each by those that follow it.
func (w *walker) query(v any, in *scope) error {
	if v == nil {
		return nil
	}
	node, err := w.enter(v)
	if err != nil {
		return err
	}
	defer func() { w.depth-- }()
	s, ok := w.grammar.queries[text(node, "type")]
	if !ok {
		return w.refuse(node, "unsupported", "", "a query of kind %q is not supported", text(node, "type"))
	}
	if !empty(node["sample"]) {
		w.volatile = true
	}
	if in, err = w.with(node["cte_map"], in); err != nil {
		return err
	}
	own, err := w.measured(func() error { return w.queryMembers(node, s, in) })
	if err != nil {
		return err
	}
	if err := w.bounded(own); err != nil {
		return err
	}
	if text(node, "type") != "SELECT_NODE" {
		own.joined = min(own.joined, 1) // the arms are planned one by one
	}
	w.size.add(own)
	if from, ok := node["from_table"].(map[string]any); ok && text(node, "type") == "SELECT_NODE" {
		if i := marked(w.uses, from); i >= 0 {
			_, alias := splitName(w.uses[i].table)
			if own := text(from, "alias"); own != "" {
				alias = own
			}
			w.uses[i].top, w.uses[i].bounds = w.topOf(node), lake.Bounds{}
			if empty(from["column_name_alias"]) && empty(from["sample"]) { // a sample is drawn before WHERE
				w.bound(node["where_clause"], alias, w.uses[i].bounds)
			}
		}
	}
	return nil
}

func (w *walker) queryMembers(node map[string]any, s shape, in *scope) error {
	switch text(node, "type") {
	case "SELECT_NODE":
		list, _ := node["select_list"].([]any)
		for _, e := range list {
			if output, ok := e.(map[string]any); ok && text(output, "alias") == "" && text(output, "class") != "STAR" {
				w.outputs = append(w.outputs, output)
			}
		}
		defer func(outer []map[string]int) { w.aliases = outer }(w.aliases)
		if err := w.groupingSets(node); err != nil {
			return err
		}
		if err := w.selectList(node, in); err != nil {
			return err
		}
		aliases := w.aliases
		w.aliases = nil // FROM doesn't see them
		if err := w.ref(node["from_table"], in); err != nil {
			return err
		}
		w.aliases = aliases
		w.size.columns = stars(node, w.size.columns)
	case "RECURSIVE_CTE_NODE":
		// The name is seen by the recursive arm alone; left is outside of it.
		if err := w.query(node["left"], in); err != nil {
			return err
		}
		in = &scope{outer: in, name: strings.ToLower(text(node, "cte_name")), size: w.size}
	}
	return w.members(node, s, in)
}

// with checks a node's WITH clauses and gives the scope of what follows them.
func (w *walker) with(v any, in *scope) (*scope, error) {
	if v == nil {
		return in, nil
	}
	ctes, err := w.enter(v)
	if err != nil {
		return nil, err
	}
	defer func() { w.depth-- }()
	err = w.each(ctes["map"], func(v any) error {
		entry, err := w.enter(v)
		if err != nil {
			return err
		}
		defer func() { w.depth-- }()
		clause, ok := entry["value"].(map[string]any)
		if !ok {
			return &Refusal{Code: "unsupported", Message: "a WITH clause of this form is not supported"}
		}
		s := shape{"aliases": plain, "query": (*walker).statement, "materialized": plain, "key_targets": exprs}
		own, err := w.measured(func() error { return w.members(clause, s, in) })
		if err != nil {
			return err
		}
		in = &scope{outer: in, name: strings.ToLower(text(entry, "key")), size: own}
		return nil
	})
	return in, err
}

// ref checks what stands in FROM.
func (w *walker) ref(v any, in *scope) error {
	if v == nil {
		return nil
	}
	node, err := w.enter(v)
	if err != nil {
		return err
	}
	defer func() { w.depth-- }()
	if text(node, "type") == "TABLE_FUNCTION" {
		if _, err := w.expandTable(node); err != nil {
			return err
		}
	}
	kind := text(node, "type")
	s, ok := w.grammar.refs[kind]
	switch {
	case kind == "SHOW_REF" && empty(node["query"]):
		return w.refuse(node, "unsupported", "DESCRIBE takes one of the tables "+strings.Join(w.catalog[:min(20, len(w.catalog))], ", "), "this form of SHOW or DESCRIBE is not supported")
	case !ok:
		return w.refuse(node, "unsupported", "", "a table of kind %q is not supported", kind)
	}
	if err := w.members(node, s, in); err != nil {
		return err
	}
	if !empty(node["sample"]) {
		w.volatile = true
	}
	switch kind {
	case "PIVOT":
		return w.pivot(node)
	case "EMPTY", "EXPRESSION_LIST":
		w.size.add(size{leaves: 1})
	case "BASE_TABLE":
		return w.table(node, in)
	case "TABLE_FUNCTION":
		w.size.add(oneTable)
		return w.tableFunction(node["function"], in)
	}
	return nil
}

var oneTable = size{leaves: 1, joined: 1, bound: 1, columns: starColumns}

// table resolves a table's name: WITH names in scope first, as the engine does,
// then the catalogue, then nothing. Files, other databases and what the engine
// would find by itself are never reached.
func (w *walker) table(node map[string]any, in *scope) error {
	schema, name := strings.ToLower(text(node, "schema_name")), strings.ToLower(text(node, "table_name"))
	catalog := text(node, "catalog_name")
	if !empty(node["at_clause"]) {
		return w.refuse(node, "unsupported", "", "AT (VERSION or TIMESTAMP) is not supported")
	}
	if catalog == "" && schema == "" {
		if cte := in.find(name); cte != nil {
			if cte.used {
				w.size.add(size{leaves: 1, joined: 1, bound: 1, columns: cte.size.columns})
			} else {
				w.size.add(cte.size)
			}
			cte.used = true
			return nil
		}
	}
	table, ok := w.tables[[2]string{schema, name}]
	if !ok || catalog != "" {
		var parts []string
		for _, p := range []string{catalog, text(node, "schema_name"), text(node, "table_name")} {
			if p != "" {
				parts = append(parts, p)
			}
		}
		return unknownTable(strings.Join(parts, "."), w.catalog, w.at(node))
	}
	w.size.add(oneTable)
	w.uses = append(w.uses, use{node: node, table: table})
	if !slices.Contains(w.used, table) {
		w.used = append(w.used, table)
	}
	return nil
}

// expr checks an expression.
func (w *walker) expr(v any, in *scope) error {
	if v == nil {
		return nil
	}
	node, err := w.enter(v)
	if err != nil {
		return err
	}
	defer func() { w.depth-- }()
	if class := text(node, "class"); class == "FUNCTION" || class == "WINDOW" {
		if err := w.expandValue(node); err != nil {
			return err
		}
	}
	class, kind := text(node, "class"), text(node, "type")
	trusted := node[trustedMark] == true
	delete(node, trustedMark)
	e, ok := w.grammar.exprs[class]
	if class == "PARAMETER" && w.preparing {
		return w.members(node, join(anyExpr, shape{"identifier": plain}), in)
	}
	if !ok || e.kinds != nil && !e.kinds[kind] {
		return w.refuse(node, "unsupported", "", "an expression of kind %q is not supported", strings.ToLower(kind))
	}
	own, err := w.measured(func() error { return w.members(node, e.shape, in) })
	if err != nil {
		return err
	}
	own.columns = 0
	if class == "SUBQUERY" && text(node, "subquery_type") == "SCALAR" {
		own.bound = min(3*max(own.bound, 1), maxBound+1)
	}
	w.size.add(own)
	if err := w.bounded(own); err != nil {
		return err
	}
	switch class {
	case "CONJUNCTION":
		if parts, _ := node["children"].([]any); len(parts) > maxConjunction {
			return w.refuse(node, "too_complex", "use IN, or join VALUES", "more than %d conditions are joined by AND or OR", maxConjunction)
		}
	case "FUNCTION", "WINDOW":
		return w.function(node, trusted)
	case "CONSTANT":
		if _, id, _ := constantValue(node); id == "DOUBLE" {
			w.doubles = append(w.doubles, node)
		}
	case "COLUMN_REF":
		if err := w.useOfAlias(node); err != nil {
			return err
		}
		names, _ := node["column_names"].([]any)
		if len(names) == 1 {
			name, _ := names[0].(string)
			if _, reads := duckdb.ColumnFunction(name); reads {
				w.volatile = true // CURRENT_DATE and its like
			}
		}
		if len(names) > 2 {
			w.columns = append(w.columns, node)
		}
	}
	return nil
}

// unqualifyColumns drops the schema of columns like main.payments.amount: after
// Rewrite the table is a subquery, which has no schema.
func (w *walker) unqualifyColumns() {
	for _, node := range w.columns {
		names := node["column_names"].([]any)
		schema, _ := names[0].(string)
		name, _ := names[1].(string)
		table, ok := w.tables[[2]string{strings.ToLower(schema), strings.ToLower(name)}]
		if ok && slices.Contains(w.used, table) {
			node["column_names"] = names[1:]
		}
	}
}

// changesWhenPrinted reports whether Rewrite gives an expression another text,
// and so its column another name: by the relation in a subquery, by the type that
// keepDoubles adds, by a guard.
func changesWhenPrinted(v any) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if changesWhenPrinted(e) {
				return true
			}
		}
	case map[string]any:
		_, id, _ := constantValue(v)
		name := strings.ToLower(text(v, "function_name"))
		if text(v, "class") == "SUBQUERY" || id == "DOUBLE" || hasGuard(name) {
			return true
		}
		for _, e := range v {
			if changesWhenPrinted(e) {
				return true
			}
		}
	}
	return false
}

// keepDoubles casts DOUBLE constants: the engine prints 1e3 as 1000.0, which
// it reads back as a DECIMAL.
func (w *walker) keepDoubles() {
	for _, node := range w.doubles {
		value := map[string]any{}
		for name, v := range node {
			value[name] = v
		}
		value["alias"] = ""
		delete(node, "value")
		node["class"], node["type"], node["child"], node["try_cast"] = "CAST", "OPERATOR_CAST", value, false
		node["cast_type"] = map[string]any{"id": "DOUBLE", "type_info": nil}
	}
}
