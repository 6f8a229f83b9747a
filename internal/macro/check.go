package macro

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// classes are the kinds of expressions that a macro may have.
var classes = map[string]bool{
	"COLUMN_REF": true, "CONSTANT": true, "FUNCTION": true, "OPERATOR": true, "CONJUNCTION": true, "COMPARISON": true,
	"BETWEEN": true, "CASE": true, "CAST": true, "LAMBDA": true, "WINDOW": true,
}

// check looks at the macro's forms, and gives the variables of lambdas names that no
// argument can have.
func (s *Set) check(m *Macro) (errs []*Error) {
	for i := range m.Forms {
		f := &m.Forms[i]
		c := &checker{set: s, macro: m, form: i, parameters: map[string]bool{}}
		for _, p := range f.Parameters {
			if c.parameters[strings.ToLower(p.Name)] {
				c.fail(f.Body, "rename one of them", "the parameter %s is there twice", p.Name)
			}
			c.parameters[strings.ToLower(p.Name)] = true
		}
		for at, p := range f.Parameters {
			if p.Default == nil && at > 0 && f.Parameters[at-1].Default != nil {
				c.fail(f.Body, "put those with a default last", "the parameter %s, without a default, stands behind one with a default", p.Name)
			}
			if p.Default != nil {
				d := &checker{set: s, macro: m, form: i, parameters: map[string]bool{}, constant: true}
				d.expr(p.Default, nil)
				errs = append(errs, d.errs...)
			}
		}
		c.expr(f.Body, nil)
		errs = append(errs, c.errs...)
		for _, other := range m.Forms[:i] {
			if most := min(len(f.Parameters), len(other.Parameters)); most >= max(f.required(), other.required()) {
				errs = append(errs, &Error{Macro: m.Name, Offset: offset(f.Body), Message: fmt.Sprintf("two forms of %s take %d arguments", m.Name, most), Hint: "forms differ in how many arguments they take, defaults counted"})
			}
		}
	}
	return errs
}

type checker struct {
	set        *Set
	macro      *Macro
	form       int
	parameters map[string]bool // lower case
	constant   bool            // it is a default's
	lambdas    int
	errs       []*Error
}

func (c *checker) fail(at node, hint, format string, args ...any) {
	place := offset(at)
	if place < 0 { // a parameter by number has none
		place = offset(c.macro.Forms[c.form].Body)
	}
	c.errs = append(c.errs, &Error{Macro: c.macro.Name, Offset: place, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// expr checks an expression; bound are the variables of the lambdas around it, by
// their lower-case names, with the names that they get.
func (c *checker) expr(v any, bound map[string]string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			c.expr(e, bound)
		}
		return
	case node:
		class := text(v, "class")
		if class == "" {
			if _, isType := v["type_info"]; !isType {
				c.below(v, bound)
			}
			return
		}
		switch {
		case class == "SUBQUERY":
			c.fail(v, "make the query a view, or a file in queries/", "a macro cannot hold a query")
		case class == "PARAMETER":
			c.fail(v, "name a parameter of the macro: CREATE MACRO net(amount, rate) AS amount / (1 + rate)", "a macro has no parameters by number")
		case !classes[class]:
			c.fail(v, "a macro is one expression over its parameters", "a macro cannot hold an expression of kind %s", strings.ToLower(text(v, "type")))
		case class == "COLUMN_REF":
			c.column(v, bound)
		case class == "LAMBDA":
			c.lambda(v, bound)
		case class == "CONSTANT":
		default:
			if class == "FUNCTION" || class == "WINDOW" {
				c.function(v)
			}
			c.below(v, bound)
		}
	}
}

func (c *checker) below(n node, bound map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(n)) {
		if name != "cast_type" {
			c.expr(n[name], bound)
		}
	}
}

// column checks that a name is one of the macro's own.
func (c *checker) column(n node, bound map[string]string) {
	names, _ := n["column_names"].([]any)
	first, _ := names[0].(string)
	lower := strings.ToLower(first)
	if renamed, ok := bound[lower]; ok {
		names[0] = renamed
		return
	}
	function, reads := duckdb.ColumnFunction(first)
	switch {
	case c.constant:
		c.fail(n, "a default is a constant", "the default of a parameter names %s", first)
	case c.parameters[lower] && len(names) > 1:
		c.fail(n, fmt.Sprintf("write (%s).%v", first, names[1]), "%s is a parameter, and no table", first)
	case c.parameters[lower]:
	case reads && len(names) == 1:
		c.fail(n, "make it a parameter, and pass it where the macro is called", "a macro gives the same for the same arguments, and %s is another each time", function)
	default:
		c.fail(n, "make it a parameter", "%s is no parameter of the macro, which reads nothing else", first)
	}
}

// lambda renames the variables of a lambda. What looks like one with a parameter of
// the macro before the arrow reads JSON.
func (c *checker) lambda(n node, bound map[string]string) {
	lhs, _ := n["lhs"].(node)
	variables := []any{lhs}
	if text(lhs, "class") == "FUNCTION" {
		variables, _ = lhs["children"].([]any)
	} else if text(lhs, "class") != "COLUMN_REF" || c.parameters[strings.ToLower(name(lhs))] || bound[strings.ToLower(name(lhs))] != "" {
		c.below(n, bound)
		return
	}
	inner := maps.Clone(bound)
	if inner == nil {
		inner = map[string]string{}
	}
	for _, v := range variables {
		variable, _ := v.(node)
		own := name(variable)
		if own == "" || c.parameters[strings.ToLower(own)] {
			c.fail(n, "rename it: lambda x: x + 1", "the lambda's variable %s has the name of a parameter of the macro", own)
			continue
		}
		c.lambdas++
		renamed := fmt.Sprintf("tw_%s_%d_%d_%s", strings.ToLower(c.macro.Name), c.form, c.lambdas, own)
		inner[strings.ToLower(own)] = renamed
		variable["column_names"] = []any{renamed}
	}
	c.expr(n["expr"], inner)
}

// function checks that a call gives the same for the same arguments.
func (c *checker) function(n node) {
	called, over := strings.ToLower(text(n, "function_name")), text(n, "class") == "WINDOW"
	schema := text(n, "schema")
	switch {
	case text(n, "catalog") != "" || schema != "" && schema != "main":
		c.fail(n, "write the function's name alone", "%s.%s is no function here", schema, called)
	case over && duckdb.WindowAllowed(called):
	case !over && (duckdb.Deterministic(called) || duckdb.AggregateAllowed(called) || c.set.called(n) != nil):
	case duckdb.ScalarAllowed(called):
		c.fail(n, "make it a parameter, and pass it where the macro is called", "a macro gives the same for the same arguments, and %s is another each time", called)
	case reserved[called]:
		c.fail(n, "write it where the macro is called", "%s cannot be used in a macro", called)
	default:
		c.fail(n, "use a function that docs/sql.md allows, or a macro of the project", "there is no function %s for macros", called)
	}
}

// name gives the name of a column reference of one part.
func name(n node) string {
	names, _ := n["column_names"].([]any)
	if text(n, "class") != "COLUMN_REF" || len(names) != 1 {
		return ""
	}
	s, _ := names[0].(string)
	return s
}

func text(n node, member string) string { s, _ := n[member].(string); return s }

// offset tells where an expression stands: by itself, or by the first of its parts
// that the engine gives a place.
func offset(n node) int {
	if at, ok := placeOf(n); ok {
		return at
	}
	found := -1
	each(n, func(m node) {
		if at, ok := placeOf(m); ok && (found < 0 || at < found) {
			found = at
		}
	})
	return found
}

// placeOf reads a node's location; the engine writes 2^64-1 for what has none.
func placeOf(n node) (int, bool) {
	at, ok := n["query_location"].(json.Number)
	v, err := strconv.ParseInt(at.String(), 10, 64)
	return int(v), ok && err == nil
}

// each calls f with every node at or below v, in an order that does not change.
func each(v any, f func(node)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			each(e, f)
		}
	case node:
		f(v)
		for _, member := range slices.Sorted(maps.Keys(v)) {
			each(v[member], f)
		}
	}
}
