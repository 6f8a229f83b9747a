package macro

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// Expand writes the calls of macros in a tree out, in place. Columns keep the names
// that they have without it. A call that does not fit its macro is an *Error; any
// other error is the engine's.
func (s *Set) Expand(ctx context.Context, conn *duckdb.Conn, tree any) error {
	if s == nil || len(s.macros) == 0 || !s.uses(tree) {
		return nil
	}
	if err := s.nameColumns(ctx, conn, tree); err != nil {
		return err
	}
	if err := (&expansion{set: s, most: maxNodes}).walk(tree); err != nil {
		return err
	}
	return nil
}

// called gives the macro that a node calls, nil if it calls none.
func (s *Set) called(n node) *Macro {
	if class := text(n, "class"); class != "FUNCTION" && class != "WINDOW" || text(n, "schema") != "" || text(n, "catalog") != "" {
		return nil
	}
	return s.macros[strings.ToLower(text(n, "function_name"))]
}

func (s *Set) uses(tree any) (found bool) {
	each(tree, func(n node) { found = found || s.called(n) != nil })
	return found
}

// nameColumns gives the members of SELECT lists that call macros their text as name.
func (s *Set) nameColumns(ctx context.Context, conn *duckdb.Conn, tree any) error {
	var err error
	each(tree, func(n node) {
		if text(n, "type") != "SELECT_NODE" {
			return
		}
		items, _ := n["select_list"].([]any)
		for _, item := range items {
			e, _ := item.(node)
			if err != nil || e == nil || text(e, "alias") != "" || !s.uses(e) {
				continue
			}
			var sql string
			if sql, err = Print(ctx, conn, e); err == nil {
				e["alias"] = sql
			}
		}
	})
	return err
}

// Print writes one expression as SQL.
func Print(ctx context.Context, conn *duckdb.Conn, expr map[string]any) (string, error) {
	tree, err := conn.Parse(ctx, "SELECT 1")
	if err != nil {
		return "", err
	}
	select1, ok := duckdb.Statements(tree)[0].(node)["node"].(node)
	if !ok {
		return "", errors.New("print: the tree of SELECT 1 has no node")
	}
	bare := maps.Clone(expr)
	bare["alias"] = ""
	select1["select_list"] = []any{bare}
	sql, err := conn.Print(ctx, tree)
	return strings.TrimPrefix(sql, "SELECT "), err
}

// An expansion is one use of Expand.
type expansion struct {
	set         *Set
	nodes, most int // that calls were made to
}

// walk expands what is at or below v, arguments before their call.
func (e *expansion) walk(v any) *Error {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			if err := e.walk(one); err != nil {
				return err
			}
		}
	case node:
		if text(v, "type") == "TABLE_FUNCTION" {
			if f, _ := v["function"].(node); f != nil && e.set.called(f) != nil {
				return fail(f, "call it in an expression", "%s is a macro that gives a value, and no table", text(f, "function_name"))
			}
		}
		for _, member := range slices.Sorted(maps.Keys(v)) {
			if err := e.walk(v[member]); err != nil {
				return err
			}
		}
		if m := e.set.called(v); m != nil {
			return e.call(v, m)
		}
	}
	return nil
}

func fail(at node, hint, format string, args ...any) *Error {
	return &Error{Offset: offset(at), Message: fmt.Sprintf(format, args...), Hint: hint}
}

// call turns a call into its macro's expression.
func (e *expansion) call(n node, m *Macro) *Error {
	order, _ := n["order_bys"].(node)
	orders, _ := order["orders"].([]any)
	if text(n, "class") == "WINDOW" || n["distinct"] == true || n["filter"] != nil || len(orders) > 0 {
		return fail(n, "write them inside the macro", "%s is a macro: it takes no OVER, FILTER, DISTINCT or ORDER BY", m.Name)
	}
	form, given, err := m.bind(n)
	if err != nil {
		return err
	}
	body, ok := e.put(form.Body, given, n["query_location"]).(node)
	if !ok || e.nodes > e.most {
		return fail(n, "split the statement, or the macro", "the macros called here make an expression of more than %d parts", e.most)
	}
	alias := n["alias"]
	clear(n)
	maps.Copy(n, body)
	n["alias"] = alias
	return nil
}

// bind finds the form for a call, and the parameters' values by lower-case name.
func (m *Macro) bind(n node) (*Form, map[string]node, *Error) {
	args, _ := n["children"].([]any)
	var form *Form
	for i := range m.Forms {
		if f := &m.Forms[i]; len(args) >= f.required() && len(args) <= len(f.Parameters) {
			form = f
		}
	}
	if form == nil {
		return nil, nil, fail(n, "it is "+m.Usage(), "%s does not take %d arguments", m.Name, len(args))
	}
	given := map[string]node{}
	named := false
	for i, arg := range args {
		value, _ := arg.(node)
		key := strings.ToLower(form.Parameters[i].Name)
		if alias := text(value, "alias"); alias != "" {
			key, named = strings.ToLower(alias), true
		} else if named {
			return nil, nil, fail(n, "it is "+m.Usage(), "%s has an argument without a name behind one with a name", m.Name)
		}
		if !slices.ContainsFunc(form.Parameters, func(p Parameter) bool { return strings.EqualFold(p.Name, key) }) {
			return nil, nil, fail(n, "it is "+m.Usage(), "%s has no parameter %s", m.Name, key)
		}
		if given[key] != nil {
			return nil, nil, fail(n, "it is "+m.Usage(), "%s is given %s twice", m.Name, key)
		}
		given[key] = value
	}
	for _, p := range form.Parameters {
		key := strings.ToLower(p.Name)
		if given[key] == nil {
			given[key] = p.Default
		}
		if given[key] == nil {
			return nil, nil, fail(n, "it is "+m.Usage(), "%s lacks its argument %s", m.Name, p.Name)
		}
	}
	return form, given, nil
}

// Usage shows how the macro is called.
func (m *Macro) Usage() string {
	var forms []string
	for _, f := range m.Forms {
		var parameters []string
		for _, p := range f.Parameters {
			text := p.Name
			if p.Default != nil {
				text += " := …"
			}
			parameters = append(parameters, text)
		}
		forms = append(forms, m.Name+"("+strings.Join(parameters, ", ")+")")
	}
	return strings.Join(forms, " or ")
}

// put copies an expression of a macro with the arguments in it. What is the macro's
// stands where the call does. nil if it becomes too large.
func (e *expansion) put(v any, given map[string]node, at any) any {
	if e.nodes > e.most {
		return nil
	}
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = e.put(one, given, at)
		}
		return out
	case node:
		e.nodes++
		if arg := given[strings.ToLower(name(v))]; arg != nil {
			// Each place gets a copy of its own: whoever has the tree next may change it.
			own := e.put(arg, nil, nil)
			if own, ok := own.(node); ok {
				own["alias"] = v["alias"]
			}
			return own
		}
		out := make(node, len(v))
		for member, one := range v {
			out[member] = e.put(one, given, at)
		}
		if _, placed := out["query_location"]; placed && at != nil {
			out["query_location"] = at
		}
		return out
	}
	return v
}

// castDoubles turns the DOUBLE constants of an expression into casts of themselves,
// in place: the engine prints 1e3 as 1000.0, which it reads back as a DECIMAL.
func castDoubles(v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			castDoubles(one)
		}
	case node:
		value, _ := v["value"].(node)
		typ, _ := value["type"].(node)
		if text(v, "class") != "CONSTANT" || text(typ, "id") != "DOUBLE" {
			for _, one := range v {
				castDoubles(one)
			}
			return
		}
		constant := maps.Clone(v)
		constant["alias"] = ""
		delete(v, "value")
		v["class"], v["type"], v["child"], v["try_cast"] = "CAST", "OPERATOR_CAST", constant, false
		v["cast_type"] = node{"id": "DOUBLE", "type_info": nil}
	}
}
