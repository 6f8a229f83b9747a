package view

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/event"
)

// A resolver turns the definition's names into references. Where a name could
// be a column of the stream or an alias of the SELECT list it chooses as
// DuckDB does: the column everywhere but in HAVING and directly in ORDER BY.
type resolver struct {
	session
	q    *query
	root node

	selects  []node // the SELECT list as written
	resolved []node // by index of selects; nil = not yet
	visiting []bool
	windowed node // the call of the window, nil if none was seen
	grouped  bool // the window is in GROUP BY
}

// A scope says what a name or a call may mean at some place.
type scope struct {
	row        bool // evaluated per event: no aggregates, no window's bounds
	aliasFirst bool // an alias hides a column, at the top of the expression
	noWindows  bool // no window functions: WHERE, GROUP BY, HAVING
	before     int  // in the SELECT list: only items before may be named; -1 = all
}

func (r *resolver) run() error {
	q := r.q
	for _, n := range list(r.root, "select_list") {
		r.selects = append(r.selects, n.(node))
	}
	r.resolved, r.visiting = make([]node, len(r.selects)), make([]bool, len(r.selects))
	for _, n := range r.selects {
		if class(n) == "STAR" {
			return q.fail(n, "name the keys and aggregates; to see events, query the stream", "a view cannot select *")
		}
	}
	if err := r.findWindow(); err != nil {
		return err
	}
	if err := r.joinConditions(); err != nil {
		return err
	}
	var err error
	if w := sub(r.root, "where_clause"); w != nil {
		if q.where, err = r.resolve(w, scope{row: true, noWindows: true, before: -1}); err != nil {
			return err
		}
	}
	if err := r.items(); err != nil {
		return err
	}
	if err := r.groups(); err != nil {
		return err
	}
	if h := sub(r.root, "having"); h != nil {
		if q.having, err = r.resolve(h, scope{aliasFirst: true, noWindows: true, before: -1}); err != nil {
			return err
		}
	}
	if h := sub(r.root, "qualify"); h != nil {
		if q.qualify, err = r.resolve(h, scope{before: -1}); err != nil {
			return err
		}
	}
	return r.modifiers()
}

// findWindow reads the call of the window, wherever it is written first. All others
// must be the same.
func (r *resolver) findWindow() error {
	var calls []node
	look := func(n node) {
		walk(n, func(m node) bool {
			if slices.Contains(windowKinds, function(m)) {
				calls = append(calls, m)
				return false
			}
			return true
		})
	}
	for _, g := range list(r.root, "group_expressions") {
		look(g.(node))
	}
	for _, n := range r.selects {
		look(n)
	}
	look(sub(r.root, "having"))
	look(sub(r.root, "qualify"))
	for _, m := range list(r.root, "modifiers") {
		for _, o := range list(m.(node), "orders") {
			look(sub(o.(node), "expression"))
		}
	}
	for _, call := range calls {
		w, err := r.windowArgs(call)
		if err != nil {
			return err
		}
		if r.q.window != nil && *r.q.window != *w {
			return r.q.fail(call, "write one view for each window", "a view has one window")
		}
		r.q.window, r.windowed = w, call
	}
	return nil
}

// items resolves and names the SELECT list.
func (r *resolver) items() error {
	q := r.q
	for i, n := range r.selects {
		expr, err := r.item(i)
		if err != nil {
			return err
		}
		name := text(n, "alias")
		if name == "" {
			if name, err = r.header(n); err != nil {
				return err
			}
		}
		q.items = append(q.items, item{name, expr})
	}
	if q.window != nil && !slices.ContainsFunc(q.items, func(it item) bool { return isBound(it.expr) }) {
		q.items = append([]item{{"window_start", column(json.Number("0"), refStart)}, {"window_end", column(json.Number("0"), refEnd)}}, q.items...)
	}
	seen := map[string]bool{}
	for i, it := range q.items {
		if low := strings.ToLower(it.name); seen[low] {
			n := r.selects[max(0, i-(len(q.items)-len(r.selects)))]
			return q.fail(n, "give one of them another name with AS", "two columns of the view are named %s", it.name)
		}
		seen[strings.ToLower(it.name)] = true
	}
	return nil
}

// isBound reports whether n is one of the window's bounds, alone.
func isBound(n node) bool {
	parts := names(n)
	return len(parts) == 1 && (parts[0] == refStart || parts[0] == refEnd)
}

// header names an item without an alias as DuckDB does.
func (r *resolver) header(n node) (string, error) {
	if parts := names(n); parts != nil {
		return parts[len(parts)-1], nil
	}
	if slices.Contains(windowKinds, function(n)) {
		return "window_start", nil
	}
	return r.print(n)
}

// item resolves member i of the SELECT list, once.
func (r *resolver) item(i int) (node, error) {
	if r.resolved[i] != nil {
		return r.resolved[i], nil
	}
	if r.visiting[i] {
		return nil, r.q.fail(r.selects[i], "", "this alias is defined by itself")
	}
	r.visiting[i] = true
	defer func() { r.visiting[i] = false }()
	n, err := r.resolve(r.selects[i], scope{before: i})
	if err != nil {
		return nil, err
	}
	r.resolved[i] = n
	return n, nil
}

// groups resolves GROUP BY. GROUP BY ALL means every item that reads columns
// outside aggregates.
func (r *resolver) groups() error {
	q := r.q
	if text(r.root, "aggregate_handling") == "FORCE_AGGREGATES" {
		for i := range r.selects {
			n := r.resolved[i]
			if contains(n, func(m node) bool { return aggregate(m) || class(m) == "WINDOW" }) || !contains(n, func(m node) bool { return names(m) != nil }) {
				continue
			}
			if err := r.addKey(r.selects[i], n); err != nil {
				return err
			}
		}
		return r.windowGrouped()
	}
	for _, g := range list(r.root, "group_expressions") {
		n := g.(node)
		if i, ok := position(n); ok {
			if i < 1 || i > len(r.selects) {
				return q.fail(n, "", "GROUP BY %d: the SELECT list has %d columns", i, len(r.selects))
			}
			if err := r.addKey(n, r.resolved[i-1]); err != nil {
				return err
			}
			continue
		}
		key, err := r.resolve(n, scope{noWindows: true, before: -1})
		if err != nil {
			return err
		}
		if err := r.addKey(n, key); err != nil {
			return err
		}
	}
	return r.windowGrouped()
}

func (r *resolver) windowGrouped() error {
	if r.q.window != nil && !r.grouped {
		return r.q.fail(r.windowed, "add it to GROUP BY", "%s(…) must be in GROUP BY", r.q.window.Kind)
	}
	return nil
}

// addKey takes one expression of GROUP BY, written at place.
func (r *resolver) addKey(place, key node) error {
	q := r.q
	if parts := names(key); len(parts) == 1 {
		if parts[0] == refStart {
			r.grouped = true
		}
		return nil // window_end says nothing that window_start does not
	}
	switch {
	case contains(key, aggregate):
		return q.fail(place, "", "GROUP BY cannot hold an aggregate")
	case contains(key, func(m node) bool { return class(m) == "WINDOW" }):
		return q.fail(place, "use QUALIFY", "GROUP BY cannot hold a window function")
	case contains(key, isBound):
		return q.fail(place, "GROUP BY "+q.window.Kind+"(…) and compute from window_start in the SELECT list", "the window stands alone in GROUP BY")
	case !contains(key, func(m node) bool { return names(m) != nil }):
		return q.fail(place, "leave it out", "a key that is the same for every event groups nothing")
	}
	if !slices.ContainsFunc(q.keys, func(k node) bool { return canonical(k) == canonical(key) }) {
		q.keys = append(q.keys, key)
	}
	return nil
}

// position reads an integer constant: a place in the SELECT list.
func position(n node) (int, bool) {
	if class(n) != "CONSTANT" {
		return 0, false
	}
	num, ok := sub(n, "value")["value"].(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(num.String())
	return i, err == nil
}

func (r *resolver) modifiers() error {
	q := r.q
	for _, m := range list(r.root, "modifiers") {
		mod := m.(node)
		if text(mod, "type") == "LIMIT_MODIFIER" {
			for _, part := range []struct {
				name string
				to   *node
			}{{"limit", &q.limit}, {"offset", &q.offset}} {
				n := sub(mod, part.name)
				if n == nil {
					continue
				}
				if i, ok := position(n); !ok || i < 0 {
					return q.fail(n, "", "LIMIT and OFFSET of a view are whole numbers")
				}
				*part.to = n
			}
			continue
		}
		for _, o := range list(mod, "orders") {
			if err := r.ordering(o.(node)); err != nil {
				return err
			}
		}
	}
	return nil
}

var directions = map[string]string{"ASCENDING": " ASC", "DESCENDING": " DESC"}
var nullOrders = map[string]string{"NULLS FIRST": " NULLS FIRST", "NULLS LAST": " NULLS LAST"}

func (r *resolver) ordering(o node) error {
	q, n := r.q, sub(o, "expression")
	made := ordering{direction: directions[text(o, "type")], nulls: nullOrders[text(o, "null_order")]}
	if class(n) == "STAR" { // ORDER BY ALL
		for _, it := range q.items {
			made.expr = it.expr
			q.order = append(q.order, made)
		}
		return nil
	}
	if i, ok := position(n); ok {
		if i < 1 || i > len(r.selects) {
			return q.fail(n, "", "ORDER BY %d: the SELECT list has %d columns", i, len(r.selects))
		}
		made.expr = r.resolved[i-1]
	} else {
		var err error
		if made.expr, err = r.resolve(n, scope{aliasFirst: len(names(n)) == 1, before: -1}); err != nil {
			return err
		}
	}
	q.order = append(q.order, made)
	return nil
}

// resolve rewrites one expression.
func (r *resolver) resolve(n node, s scope) (node, error) {
	q := r.q
	if err := q.refuseClass(n); err != nil {
		return nil, err
	}
	inner := s
	switch class(n) {
	case "COLUMN_REF":
		to, err := r.name(n, s)
		return named(to, n), err
	case "WINDOW":
		if s.row || s.noWindows {
			return nil, q.fail(n, "use QUALIFY", "window functions have no place here")
		}
	case "FUNCTION":
		name := function(n)
		if slices.Contains(windowKinds, name) {
			if s.row {
				return nil, q.fail(n, "put the condition into HAVING, on window_start", "%s has no place here", name)
			}
			return named(column(n["query_location"], refStart), n), nil
		}
		if err := q.checkCall(n, s); err != nil {
			return nil, err
		}
		if aggregate(n) {
			inner = scope{row: true, noWindows: true, before: s.before}
		}
	}
	inner.aliasFirst = s.aliasFirst && s.noWindows && !inner.row // HAVING: at any depth
	return rewrite(n, func(child node) (node, error) { return r.resolve(child, inner) })
}

// name resolves a column reference.
func (r *resolver) name(n node, s scope) (node, error) {
	q, parts := r.q, names(n)
	if len(parts) == 2 && (strings.EqualFold(parts[0], q.alias) || strings.EqualFold(parts[0], q.schema.Stream)) {
		if c := q.column(parts[1]); c != "" {
			return column(n["query_location"], relEvents, c), nil
		}
		return nil, q.fail(n, oneOf("it has", q.columnNames()), "stream %s has no column %s", q.schema.Stream, parts[1])
	}
	if len(parts) == 2 && len(q.joins) > 0 {
		if to, err := q.joinedColumn(n, parts[0], parts[1]); to != nil || err != nil {
			return to, err
		}
	}
	if len(parts) != 1 {
		return nil, q.fail(n, "read members of a JSON column with ->>", "no column is named %s", strings.Join(parts, "."))
	}
	name := parts[0]
	if s.aliasFirst {
		if i := r.aliased(name, s.before); i >= 0 {
			return r.item(i)
		}
	}
	if bound := map[string]string{"window_start": refStart, "window_end": refEnd}[strings.ToLower(name)]; bound != "" && q.window != nil {
		if s.row {
			return nil, q.fail(n, "put the condition into HAVING", "%s belongs to the window, not to an event", strings.ToLower(name))
		}
		return column(n["query_location"], bound), nil
	}
	if to, err := q.joinedColumn(n, "", name); to != nil || err != nil {
		return to, err
	}
	if c := q.column(name); c != "" {
		return column(n["query_location"], relEvents, c), nil
	}
	if i := r.aliased(name, s.before); i >= 0 {
		expr, err := r.item(i)
		if err == nil && s.row && contains(expr, func(m node) bool { return aggregate(m) || class(m) == "WINDOW" || isBound(m) }) {
			err = q.fail(n, "use HAVING, or write the expression out", "%s is not known for each event", name)
		}
		return expr, err
	}
	return nil, q.fail(n, oneOf("it has", q.columnNames()), "stream %s has no column %s", q.schema.Stream, name)
}

// aliased finds an alias of the SELECT list before item limit (-1 = any).
func (r *resolver) aliased(name string, limit int) int {
	for i, n := range r.selects {
		if (limit < 0 || i < limit) && strings.EqualFold(text(n, "alias"), name) {
			return i
		}
	}
	return -1
}

// column gives a stream's column as its schema spells it, or "".
func (q *query) column(name string) string {
	if i := q.schema.Index(name); i >= 0 {
		return q.schema.Columns[i].Name
	}
	for _, c := range event.PositionColumns {
		if strings.EqualFold(c.Name, name) {
			return c.Name
		}
	}
	return ""
}

func (q *query) columnNames() []string {
	var out []string
	for _, c := range q.schema.Columns {
		out = append(out, c.Name)
	}
	return out
}
