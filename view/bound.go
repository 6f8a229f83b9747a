package view

import (
	"fmt"
	"strings"

	"github.com/tailwater/tailwater/event"
)

// Two sums of the same n doubles in different orders lie within 2·n·ε·Σ|x| of each
// other (Higham, Accuracy and Stability of Numerical Algorithms, 4.2). A variance
// loses digits by its condition number besides, about |mean|/sd: its relative error
// is within n·ε·(1 + |mean|/sd) for each of the two ways of computing it (Chan,
// Golub and LeVeque 1983).
const (
	epsilon = "2.220446049250313e-16"
	// lastDigits is for what is computed from exact state in another way: a
	// quotient of integers, or a root.
	lastDigits = "1e-14"
	// composed is for expressions of several aggregates, whose bound nobody
	// derives: four million roundings of the greatest magnitude.
	composed = "1e-9"
)

// Bounded lists the output columns that hold doubles, for which CheckedSQL gives a
// bound.
func (p *Plan) Bounded() []int {
	var out []int
	for i, c := range p.Output {
		if isFloat(c.Type) {
			out = append(out, i)
		}
	}
	return out
}

// CheckedSQL is PlainSQL with a column of type DOUBLE behind those of Output for
// each of Bounded: how far from the value another order of adding the same events
// may lie. NULL means not at all.
func (p *Plan) CheckedSQL(events string) string {
	var bounds []string
	for _, i := range p.Bounded() {
		bounds = append(bounds, fmt.Sprintf("%s AS tailwater_bound_%d", p.stmts.bounds[i], i))
	}
	return p.stmts.plain.with(events, bounds)
}

// bounds gives the bound of each output column as SQL over the events of a group.
func (b *builder) bounds(s selection, output []event.Column) []string {
	out := make([]string, len(output))
	for i, it := range b.q.items {
		if !isFloat(output[i].Type) {
			continue
		}
		relative := composed
		c := b.calls[canonical(it.expr)]
		switch {
		case b.q.key(it.expr) >= 0, c != nil && (c.name == "min" || c.name == "max"):
			out[i] = "CAST(0 AS DOUBLE)" // one of the values itself
			continue
		case c != nil:
			relative = lastDigits
		}
		terms := []string{relative + " * abs(CAST(" + s.items[i] + " AS DOUBLE))"}
		walk(it.expr, func(n node) bool {
			if b.q.key(n) >= 0 {
				return false
			}
			if c := b.calls[canonical(n)]; c != nil {
				if t := c.rounding(); t != "" {
					terms = append(terms, "coalesce("+t+", 0)")
				}
				return false
			}
			return true
		})
		out[i] = strings.Join(terms, " + ")
	}
	return out
}

// rounding is how far two ways of computing the call may lie apart, as SQL; "" if
// its state is exact.
func (c *call) rounding() string {
	where := filterOf(c.conditions()...)
	x := "CAST(" + c.arg + " AS DOUBLE)"
	n := "count(" + c.arg + ")" + where
	magnitude := "sum(abs(" + x + "))" + where
	spread, mean := "stddev_pop("+x+")"+where, "abs(avg("+x+")"+where+")"
	switch c.name {
	case "sum":
		if isFloat(c.typ) {
			return "2 * " + epsilon + " * " + n + " * " + magnitude
		}
	case "avg", "mean":
		if isFloat(c.typ) {
			return "2 * " + epsilon + " * " + magnitude
		}
	case "var_pop", "var_samp", "variance":
		return "4 * " + epsilon + " * " + n + " * " + spread + " * (" + spread + " + " + mean + ")"
	case "stddev", "stddev_pop", "stddev_samp":
		return "4 * " + epsilon + " * " + n + " * (" + spread + " + " + mean + ")"
	}
	return ""
}
