package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// A call is one distinct aggregate of a definition.
type call struct {
	node   node
	name   string
	arg    string // SQL over relEvents; "" for count(*)
	filter string // SQL over relEvents; "" if there is none
	typ    event.Type
	result string // the type that DuckDB gives it
	bounds bool   // only values that moments can hold are counted
}

// A slot is one column of mergeable state.
type slot struct {
	op          string // count, count_if, sum, min, max, bool_and, bool_or, mean, m2
	arg, filter string
	finite      bool
	n           int // mean and m2: the slot with their count
}

// Moments square their values: beyond this bound a variance is not finite,
// which DuckDB reports as an error of the whole statement.
const momentLimit = "1e145"

// sumDigits bounds, in digits, the exact values that a sum may add, so that
// ten billion of them stay inside the 128 bits of the sum.
const sumDigits = 28

// condition is the FILTER that the state of an aggregate has, "" for none. row
// says how a row expression is written in the statement at hand.
func condition(filter, arg string, finite bool, row func(string) string) string {
	var all []string
	if filter != "" {
		all = append(all, "("+row(filter)+")")
	}
	if finite {
		all = append(all, "abs(CAST("+row(arg)+" AS DOUBLE)) <= "+momentLimit)
	}
	if len(all) == 0 {
		return ""
	}
	return " FILTER (WHERE " + strings.Join(all, " AND ") + ")"
}

// partial is the slot's state over events.
func (s slot) partial(row func(string) string) string {
	where := condition(s.filter, s.arg, s.finite, row)
	arg := "*"
	if s.arg != "" {
		arg = row(s.arg)
	}
	switch s.op {
	case "mean":
		return "avg(CAST(" + arg + " AS DOUBLE))" + where
	case "m2":
		// DuckDB's own one-pass form (Welford 1962), undone to Σ(x − mean)².
		return "var_pop(CAST(" + arg + " AS DOUBLE))" + where + " * count(" + arg + ")" + where
	}
	return s.op + "(" + arg + ")" + where
}

// plain is the call in the view's own SQL.
func (c *call) plain() string {
	arg := c.arg
	if arg == "" {
		arg = "*"
	}
	name := c.name
	if name == "count_star" {
		name = "count"
	}
	return name + "(" + arg + ")" + condition(c.filter, c.arg, c.bounds, func(s string) string { return s })
}

// add finds or makes the slot for state of the call and gives its index.
func (b *builder) add(s slot) int {
	if i := slices.Index(b.slots, s); i >= 0 {
		return i
	}
	b.slots = append(b.slots, s)
	return len(b.slots) - 1
}

func slotName(i int) string { return "s" + strconv.Itoa(i) }

func keyName(i int) string { return "k" + strconv.Itoa(i) }

func merged(i int) string { return relMerged + "." + slotName(i) }

// finish gives the call's value over merged slots, adding those it needs.
func (b *builder) finish(c *call) string {
	value := ""
	switch c.name {
	case "count_star", "count":
		value = merged(b.add(slot{op: "count", arg: c.arg, filter: c.filter}))
	case "count_if", "countif":
		value = merged(b.add(slot{op: "count_if", arg: c.arg, filter: c.filter}))
	case "avg", "mean":
		value = b.average(c)
	case "sum", "min", "max", "bool_and", "bool_or":
		value = merged(b.add(slot{op: c.name, arg: c.arg, filter: c.filter}))
	default:
		value = b.variance(c)
	}
	return "CAST(" + value + " AS " + c.result + ")"
}

// average is sum / n. For DECIMAL DuckDB divides the unscaled sum by n·10^scale
// (extension/core_functions/aggregate/algebraic/avg.cpp); dividing the scaled
// sum rounds otherwise. The text of the sum without its point is the unscaled
// sum, at any scale.
func (b *builder) average(c *call) string {
	sum := merged(b.add(slot{op: "sum", arg: c.arg, filter: c.filter}))
	n := merged(b.add(slot{op: "count", arg: c.arg, filter: c.filter}))
	if c.typ.Kind != event.Decimal {
		return fmt.Sprintf("CAST(%s AS DOUBLE) / CAST(%s AS DOUBLE)", sum, n)
	}
	return fmt.Sprintf("CAST(CAST(replace(CAST(%s AS VARCHAR), '.', '') AS HUGEINT) AS DOUBLE) / (CAST(%s AS DOUBLE) * 1e%d)", sum, n, c.typ.Scale)
}

func (b *builder) variance(c *call) string {
	count := b.add(slot{op: "count", arg: c.arg, filter: c.filter, finite: c.bounds})
	b.add(slot{op: "mean", arg: c.arg, filter: c.filter, finite: c.bounds, n: count})
	m2 := merged(b.add(slot{op: "m2", arg: c.arg, filter: c.filter, finite: c.bounds, n: count}))
	n := merged(count)
	switch c.name {
	case "var_pop":
		return fmt.Sprintf("CASE WHEN %s > 0 THEN %s / %s END", n, m2, n)
	case "stddev_pop":
		return fmt.Sprintf("CASE WHEN %s > 0 THEN sqrt(%s / %s) END", n, m2, n)
	case "var_samp", "variance":
		return fmt.Sprintf("CASE WHEN %s > 1 THEN %s / (%s - 1) END", n, m2, n)
	default: // stddev, stddev_samp
		return fmt.Sprintf("CASE WHEN %s > 1 THEN sqrt(%s / (%s - 1)) END", n, m2, n)
	}
}

// typeCall types a call's argument and refuses what cannot be exact.
func (b *builder) typeCall(c *call, arg node) error {
	q, t := b.q, b.typer
	if arg == nil {
		return nil
	}
	c.typ = t.kind(arg)
	raw := t.raw(arg)
	switch c.name {
	case "sum", "avg", "mean":
		if !isNumber(c.typ) && !(c.typ.Kind == event.Boolean && c.name == "sum") {
			return q.fail(arg, "cast it to a number: DECIMAL, BIGINT or DOUBLE", "%s of %s cannot be kept incrementally", c.name, raw)
		}
		return b.guardSum(c, arg)
	case "min", "max":
		if c.typ.Kind == event.Invalid {
			return q.fail(arg, castHint(raw), "%s of %s cannot be kept", c.name, raw)
		}
	case "count", "bool_and", "bool_or":
	case "count_if", "countif":
		if c.typ.Kind != event.Boolean {
			return q.fail(arg, "write a condition, such as x <> 0", "%s of %s", c.name, raw)
		}
	default: // moments
		if !isNumber(c.typ) {
			return q.fail(arg, "cast it to DOUBLE", "%s of %s cannot be kept incrementally", c.name, raw)
		}
		c.bounds = isFloat(c.typ)
	}
	return nil
}

// guardSum makes a row whose value is too large for an exact sum a failing
// row: else a few events could overflow the sum, which is an error of a whole
// group, and for whom it occurs depends on the order of adding.
func (b *builder) guardSum(c *call, arg node) error {
	if !c.typ.Wide() || c.typ.Kind == event.Decimal && c.typ.Precision <= sumDigits {
		return nil
	}
	if c.typ.Scale > sumDigits {
		return b.q.fail(arg, fmt.Sprintf("cast it to DECIMAL(%d,%d) or less", sumDigits, sumDigits/2), "a sum of %s is not exact for many rows", c.typ)
	}
	c.arg = fmt.Sprintf("CAST(CAST(%s AS DECIMAL(%d,%d)) AS %s)", c.arg, sumDigits, c.typ.Scale, c.typ)
	return nil
}

// castHint says what to cast a type to that no column of a view can have.
func castHint(raw string) string {
	if raw == zoned {
		return "cast it to TIMESTAMP, which is UTC here"
	}
	if _, err := duckdb.ParseType(raw); err != nil {
		return err.Error()
	}
	return ""
}
