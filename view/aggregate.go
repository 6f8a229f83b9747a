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
	node     node
	name     string
	arg      string // SQL over relEvents; "" for count(*)
	by       string // SQL of the second argument, if that is read from events
	constant float64
	filter   string // SQL over relEvents; "" if there is none
	distinct bool
	typ      event.Type
	result   string // the type that DuckDB gives it
	bounds   bool   // only values that moments can hold are counted
	safe     bool   // no argument or filter can fail
	least    string // of approx_count_distinct in the view's own SQL: see builder.leasts

	// Of lists: how many elements are kept, of which direction in time, "" for the order
	// of the stream, that as ORDER BY, and what string_agg puts between.
	cap                         int
	direction, order, separator string
}

// A slot is one column of mergeable state.
type slot struct {
	// op is an aggregate of DuckDB's that merges its own results, or one of: mean, m2
	// and cxy, which are moments; first and last, the value at the least and the
	// greatest position; at_min and at_max, the value where by is the least and the
	// greatest, the first of several; list, the first elements in order.
	op          string
	arg, filter string
	by          string // what orders at_min and at_max; of moments, the other of a pair
	known       bool   // only where arg and by are not NULL
	finite      bool
	n           int // moments: the slot with their count
	// at and order are the slots with the position and the order of first, last, at_min
	// and at_max; at is itself if it is -1.
	at, order int
	// side is 0 for state of the group, else 1 + the index of the side whose rows it
	// belongs to.
	side int
	cap  int // of a list
}

// Moments square their values: beyond this bound a variance is not finite,
// which DuckDB reports as an error of the whole statement.
const momentLimit = "1e145"

// sumDigits bounds, in digits, the exact values that a sum may add, so that
// ten billion of them stay inside the 128 bits of the sum.
const sumDigits = 28

// filterOf is the FILTER of conditions, "" without any.
func filterOf(conditions ...string) string {
	conditions = slices.DeleteFunc(conditions, func(c string) bool { return c == "" })
	if len(conditions) == 0 {
		return ""
	}
	return " FILTER (WHERE " + strings.Join(conditions, " AND ") + ")"
}

// bounded is the condition that a value can be in a moment.
func bounded(value string) string { return "abs(CAST(" + value + " AS DOUBLE)) <= " + momentLimit }

// conditions are what the events of a slot must fulfil. row says how a row expression
// is written in the statement at hand.
func (s slot) conditions(row func(string) string) (out []string) {
	if s.filter != "" {
		out = append(out, "("+row(s.filter)+")")
	}
	for _, value := range []string{s.arg, s.by} {
		switch {
		case value == "":
		case s.finite:
			out = append(out, bounded(row(value)))
		case s.known:
			out = append(out, row(value)+" IS NOT NULL")
		}
	}
	return out
}

// partial is the slot's state over events.
func (s slot) partial(row func(string) string) string {
	where := filterOf(s.conditions(row)...)
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
	case "cxy":
		return "covar_pop(CAST(" + arg + " AS DOUBLE), CAST(" + row(s.by) + " AS DOUBLE))" + where + " * count(" + arg + ")" + where
	case "first", "last", "at_min", "at_max":
		order := ""
		if s.by != "" {
			order = row(s.by)
		}
		return s.pick(arg, order, row(rowPosition)) + where
	case "list":
		return s.firstOf("list(" + arg + ")" + where)
	}
	return s.op + "(" + arg + ")" + where
}

// pick is the value at an extreme, ties broken by the first position.
func (s slot) pick(value, order, at string) string {
	switch s.op {
	case "first":
		return "arg_min_null(" + value + ", " + at + ")"
	case "last":
		return "arg_max_null(" + value + ", " + at + ")"
	case "at_min":
		return "arg_min(" + value + ", {'o': " + order + ", 'p': " + at + "})"
	}
	return "arg_max(" + value + ", {'o': " + order + ", 'p': -" + at + "})"
}

// rowPosition orders the events of a stream as they were accepted: epoch, partition,
// sequence and index in 24, 8, 63 and 31 bits.
const rowPosition = "(((CAST(_e._epoch AS HUGEINT) * 256 + _e._partition) * 9223372036854775808 + _e._seq) * 2147483648 + _e._idx)"

// conditions are what the events of the call must fulfil.
func (c *call) conditions() []string {
	return slot{arg: c.arg, by: c.by, filter: c.filter, finite: c.bounds}.conditions(func(s string) string { return s })
}

// plain is the call in the view's own SQL.
func (c *call) plain() string {
	arg := c.arg
	if arg == "" {
		arg = "*"
	}
	if c.distinct {
		arg = "DISTINCT " + arg
	}
	conditions := c.conditions()
	where := filterOf(conditions...)
	switch name := c.name; name {
	case "count_star":
		return "count(" + arg + ")" + where
	case "first":
		return slot{op: "first"}.pick(arg, "", rowPosition) + where
	case "last":
		return slot{op: "last"}.pick(arg, "", rowPosition) + where
	case "any_value":
		return slot{op: "first"}.pick(arg, "", rowPosition) + filterOf(append(conditions, arg+" IS NOT NULL")...)
	case "arg_min", "arg_max":
		return slot{op: "at_" + name[4:]}.pick(arg, c.by, rowPosition) + filterOf(append(conditions, arg+" IS NOT NULL", c.by+" IS NOT NULL")...)
	case "list", "string_agg":
		return c.plainList()
	case "mode":
		return "mode(" + arg + " ORDER BY " + rowPosition + ")" + where
	case "quantile_cont", "quantile_disc":
		return name + "(" + arg + ", " + number(c.constant) + ")" + where
	case "approx_quantile":
		return unbucket("quantile_disc(" + bucket(arg) + ", " + number(c.constant) + ")" + where)
	case "approx_count_distinct":
		return estimate("count("+c.least+")", "sum("+c.least+")")
	default:
		if c.by != "" {
			arg += ", " + c.by
		}
		return name + "(" + arg + ")" + where
	}
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
		if c.distinct {
			value = b.ofValues(c)
			break
		}
		value = merged(b.add(slot{op: "count", arg: c.arg, filter: c.filter}))
	case "count_if", "countif":
		value = merged(b.add(slot{op: "count_if", arg: c.arg, filter: c.filter}))
	case "avg", "mean", "sum":
		switch {
		case c.distinct:
			value = b.ofValues(c)
		case c.name == "sum":
			value = merged(b.add(slot{op: "sum", arg: c.arg, filter: c.filter}))
		default:
			value = b.average(c)
		}
	case "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor":
		value = merged(b.add(slot{op: c.name, arg: c.arg, filter: c.filter}))
	case "first", "last", "any_value", "arg_min", "arg_max":
		value = b.picked(c)
	case "list", "string_agg":
		value = b.listed(c)
	case "median", "quantile_cont", "quantile_disc", "mode", "histogram", "approx_count_distinct", "approx_quantile":
		value = b.ofValues(c)
	default:
		if c.by != "" {
			value = b.pair(c)
		} else {
			value = b.variance(c)
		}
	}
	return "CAST(" + value + " AS " + c.result + ")"
}

// picked is the value of one event. Events without a value have no place, but for
// first and last.
func (b *builder) picked(c *call) string {
	b.remember(rowPosition, true, "position")
	filter := c.filter
	require := func(args ...string) {
		var all []string
		if filter != "" {
			all = append(all, "("+filter+")")
		}
		for _, a := range args {
			all = append(all, "("+a+") IS NOT NULL")
		}
		filter = strings.Join(all, " AND ")
		b.remember(filter, c.safe, "FILTER")
	}
	switch c.name {
	case "first":
		return merged(b.add(slot{op: "first", arg: c.arg, filter: filter, at: b.add(slot{op: "min", arg: rowPosition, filter: filter})}))
	case "last":
		return merged(b.add(slot{op: "last", arg: c.arg, filter: filter, at: b.add(slot{op: "max", arg: rowPosition, filter: filter})}))
	case "any_value":
		require(c.arg)
		return merged(b.add(slot{op: "first", arg: c.arg, filter: filter, at: b.add(slot{op: "min", arg: rowPosition, filter: filter})}))
	}
	require(c.arg, c.by)
	extreme := strings.TrimPrefix(c.name, "arg_")
	order := b.add(slot{op: extreme, arg: c.by, filter: filter})
	at := b.add(slot{op: "at_" + extreme, arg: rowPosition, by: c.by, filter: filter, order: order, at: -1})
	return merged(b.add(slot{op: "at_" + extreme, arg: c.arg, by: c.by, filter: filter, order: order, at: at}))
}

// pair is a statistic of two values, y and x, of the events that have both.
func (b *builder) pair(c *call) string {
	y := slot{arg: c.arg, by: c.by, filter: c.filter, known: true, finite: c.bounds}
	x := slot{arg: c.by, by: c.arg, filter: c.filter, known: true, finite: c.bounds}
	moment := func(s slot, op string) int { s.op = op; return b.add(s) }
	count := moment(y, "count")
	y.n, x.n = count, count
	my, mx := merged(moment(y, "mean")), merged(moment(x, "mean"))
	syy, sxx, sxy := merged(moment(y, "m2")), merged(moment(x, "m2")), merged(moment(y, "cxy"))
	n := merged(count)
	when := func(condition, value string) string { return "CASE WHEN " + condition + " THEN " + value + " END" }
	some, spread := n+" > 0", n+" > 0 AND "+sxx+" <> 0"
	corr := sxy + " / (sqrt(" + sxx + ") * sqrt(" + syy + "))"
	switch c.name {
	case "regr_count":
		return n
	case "regr_avgx":
		return when(some, mx)
	case "regr_avgy":
		return when(some, my)
	case "regr_sxx":
		return when(some, sxx)
	case "regr_syy":
		return when(some, syy)
	case "regr_sxy":
		return when(some, sxy)
	case "covar_pop":
		return when(some, sxy+" / "+n)
	case "covar_samp":
		return when(n+" > 1", sxy+" / ("+n+" - 1)")
	case "corr":
		return when(some, corr)
	case "regr_slope":
		return when(some, sxy+" / "+sxx)
	case "regr_intercept":
		return when(spread, my+" - "+sxy+" / "+sxx+" * "+mx)
	}
	return when(spread, "CASE WHEN "+syy+" = 0 THEN 1 ELSE pow("+corr+", 2) END") // regr_r2
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

// typeCall types a call's arguments and refuses what cannot be exact.
func (b *builder) typeCall(c *call, args []node) error {
	q, t := b.q, b.typer
	if len(args) == 0 {
		return nil
	}
	arg := args[0]
	c.typ = t.kind(arg)
	raw := t.raw(arg)
	switch c.name {
	case "sum", "avg", "mean":
		if !isNumber(c.typ) && !(c.typ.Kind == event.Boolean && c.name == "sum") {
			return q.fail(arg, "cast it to a number: DECIMAL, BIGINT or DOUBLE", "%s of %s cannot be kept incrementally", c.name, raw)
		}
		return b.guardSum(c, arg)
	case "min", "max", "first", "last", "any_value", "mode", "histogram", "quantile_disc", "list", "string_agg":
		if c.typ.Kind == event.Invalid {
			return q.fail(arg, castHint(raw), "%s of %s cannot be kept", c.name, raw)
		}
	case "arg_min", "arg_max":
		for _, a := range args {
			if t.kind(a).Kind == event.Invalid {
				return q.fail(a, castHint(t.raw(a)), "%s of %s cannot be kept", c.name, t.raw(a))
			}
		}
	case "count":
		if c.distinct && c.typ.Kind == event.Invalid {
			return q.fail(arg, castHint(raw), "distinct values of %s cannot be kept", raw)
		}
	case "bool_and", "bool_or", "approx_count_distinct":
	case "bit_and", "bit_or", "bit_xor":
		if !isInteger(c.typ) {
			return q.fail(arg, "cast it to an integer", "%s of %s cannot be kept incrementally", c.name, raw)
		}
	case "count_if", "countif":
		if c.typ.Kind != event.Boolean {
			return q.fail(arg, "write a condition, such as x <> 0", "%s of %s", c.name, raw)
		}
	case "median", "quantile_cont", "approx_quantile":
		if !isInteger(c.typ) && !isFloat(c.typ) && !(c.name == "approx_quantile" && isNumber(c.typ)) {
			return q.fail(arg, "cast it to DOUBLE", "%s of %s cannot be kept incrementally", c.name, raw)
		}
	default: // moments
		for _, a := range args {
			if !isNumber(t.kind(a)) {
				return q.fail(a, "cast it to DOUBLE", "%s of %s cannot be kept incrementally", c.name, t.raw(a))
			}
			c.bounds = c.bounds || isFloat(t.kind(a))
		}
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
