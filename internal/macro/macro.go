// Package macro expands a project's macros in the trees of duckdb.Conn.Parse.
//
// The engine expands its own macros when it binds, where an aggregate in one is seen
// by nobody before. Here calls are written out in the parsed tree, so that whoever
// looks at it next, the planner of views or the gate, sees what is computed, and a
// changed macro is a changed view. The parts of a call are put in whole: a macro
// reads its parameters and nothing else, and the variables of its lambdas have names
// of their own.
package macro

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A node is a part of a tree of duckdb.Conn.Parse.
type node = map[string]any

// A Macro is a scalar macro as it was parsed. New takes it over.
type Macro struct {
	Name  string
	Forms []Form
}

// A Form is what a macro is for one number of arguments.
type Form struct {
	Parameters []Parameter
	Body       map[string]any // one expression
}

// required is how many arguments must be given.
func (f Form) required() int {
	n := 0
	for _, p := range f.Parameters {
		if p.Default == nil {
			n++
		}
	}
	return n
}

// A Parameter of a macro; those with a default come last.
type Parameter struct {
	Name    string
	Default map[string]any // nil: it must be given
}

// An Error says what is wrong with a macro or a call.
type Error struct {
	Macro   string // in whose definition it is; "" for a call
	Offset  int    // in bytes of the text that was parsed; -1 if the place is not known
	Message string
	Hint    string
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// reserved are names that stand for something else already, besides the engine's
// functions: windows of views, and functions that the gate writes out.
var reserved = map[string]bool{
	"tumble": true, "hop": true, "slide": true, "session": true, "snapshot": true, "window_start": true, "window_end": true,
	"increase": true, "rate": true, "linear_fit": true, "moving_avg": true, "gap_fill": true, "anomaly_score": true, "funnel": true, "retention": true,
}

// Reserved reports whether a macro may not have the name. Functions that the engine
// has and nobody may call are for the engine to name.
func Reserved(name string) bool {
	return reserved[strings.ToLower(name)] || duckdb.ScalarAllowed(name) || duckdb.WindowAllowed(name) || duckdb.TableFunctionAllowed(name)
}

// Bounds of what macros make of a little text.
const (
	maxBodyNodes = 5_000
	maxNodes     = 20_000 // of one statement
)

// A Set is the macros of a project. It is immutable; nil is one without any.
type Set struct {
	macros map[string]*Macro // by lower-case name; bodies are expanded
}

// New checks macros and expands them in each other. It reports all that is wrong;
// the set is then of no use.
func New(list []*Macro) (*Set, []*Error) {
	s := &Set{macros: map[string]*Macro{}}
	for _, m := range list {
		s.macros[strings.ToLower(m.Name)] = m
	}
	var errs []*Error
	for _, m := range list {
		errs = append(errs, s.check(m)...)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	done := map[*Macro]bool{}
	for _, m := range list {
		if err := s.settle(m, done, nil); err != nil {
			return nil, []*Error{err}
		}
	}
	return s, nil
}

// settle expands a macro's own calls, those that it calls first.
func (s *Set) settle(m *Macro, done map[*Macro]bool, open []string) *Error {
	if done[m] {
		return nil
	}
	open = append(open, strings.ToLower(m.Name))
	for i := range m.Forms {
		f := &m.Forms[i]
		parts := []node{f.Body}
		for _, p := range f.Parameters {
			if p.Default != nil {
				parts = append(parts, p.Default)
			}
		}
		for _, part := range parts {
			var err *Error
			each(part, func(n node) {
				if err != nil {
					return
				}
				called := s.called(n)
				if called == nil {
					return
				}
				name := strings.ToLower(called.Name)
				if at := slices.Index(open, name); at >= 0 {
					err = &Error{Macro: m.Name, Offset: offset(n), Message: fmt.Sprintf("the macro %s calls itself: %s", called.Name, strings.Join(append(slices.Clone(open[at:]), name), " → ")), Hint: "a macro is written out where it is called, which would never end; use a list function such as list_sum"}
					return
				}
				err = s.settle(called, done, open)
			})
			castDoubles(part) // the others' are cast already
			if err == nil {
				err = (&expansion{set: s, most: maxBodyNodes}).walk(part)
			}
			if err != nil {
				err.Macro = firstOf(err.Macro, m.Name)
				return err
			}
		}
	}
	done[m] = true
	return nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Statements gives the CREATE statements of the macros, for the connection that is
// to bind a statement as its author wrote it.
func (s *Set) Statements(print func(expr map[string]any) (string, error)) ([]string, error) {
	if s == nil {
		return nil, nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.macros)) {
		var forms []string
		for _, f := range s.macros[name].Forms {
			var parameters []string
			for _, p := range f.Parameters {
				text := duckdb.Ident(p.Name)
				if p.Default != nil {
					value, err := print(p.Default)
					if err != nil {
						return nil, err
					}
					text += " := " + value
				}
				parameters = append(parameters, text)
			}
			body, err := print(f.Body)
			if err != nil {
				return nil, err
			}
			forms = append(forms, "("+strings.Join(parameters, ", ")+") AS ("+body+")")
		}
		out = append(out, "CREATE TEMP MACRO "+duckdb.Ident(name)+strings.Join(forms, ", "))
	}
	return out, nil
}
