package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// An aggregateCase is one aggregate: as a definition writes it, and by hand over the
// rows of a group. In both {f} stands for a FILTER clause or nothing, and {and} for
// its condition after another one.
type aggregateCase struct {
	view  string
	plain string // as view if empty
	// bound is how far a correct answer may lie from the plain one, as SQL over the
	// same rows: rounding, or what an estimate may miss. Empty: not at all.
	bound string
	// fits is the condition of events on which view does not fail; an event that fails
	// is in no group of the view. Empty: none fails.
	fits string
	// reported is a column that the view adds behind the one before, and view is empty.
	reported bool

	bare string // view without FILTER
}

const (
	eps = "2.3e-16"
	// byPosition orders a group as the stream does.
	byPosition = "_epoch, _partition, _seq, _idx"
	// listed is the cap of lists, which many groups exceed.
	listed = 3
)

var aggregateCases = slices.Concat(scalarCases, inOrderOf("list(x){f}", "x", ""), inOrderOf("list(wide ORDER BY ts DESC){f}", "wide", "ts DESC, "),
	joined("string_agg(word, ' | '){f}", "word", "' | '", ""), joined("string_agg(f ORDER BY ts){f}", "f", "','", "ts, "))

// inOrderOf is a list, and whether it is whole.
func inOrderOf(view, x, order string) []aggregateCase {
	plain := fmt.Sprintf("CAST(list(%s ORDER BY %s%s){f}[1:%d] AS JSON)", x, order, byPosition, listed)
	return []aggregateCase{
		{view: view, plain: "CAST(regexp_replace(CAST(" + plain + " AS VARCHAR), '(NaN|-?Infinity)', '\"\\1\"', 'g') AS JSON)"},
		{reported: true, plain: fmt.Sprintf("count(*){f} > %d", listed)},
	}
}

// joined is a list of what is not NULL, as one text.
func joined(view, x, separator, order string) []aggregateCase {
	return []aggregateCase{
		{view: view, plain: fmt.Sprintf("array_to_string(list(CAST(%[1]s AS VARCHAR) ORDER BY %[2]s%[3]s) FILTER (WHERE %[1]s IS NOT NULL{and})[1:%[4]d], %[5]s)", x, order, byPosition, listed, separator)},
		{reported: true, plain: fmt.Sprintf("count(%s){f} > %d", x, listed)},
	}
}

var scalarCases = []aggregateCase{
	{view: "count(*){f}"},
	{view: "count(x){f}"},
	{view: "count_if(x > 1){f}"},
	{view: "sum(n){f}"},
	{view: "sum(price){f}"},
	{view: "sum(wide){f}", fits: "wide IS NULL OR abs(wide) < 1e24"},
	{view: "sum(x){f}", bound: added("x")},
	{view: "sum(f){f}", bound: added("f")},
	{view: "sum(n * 3 + g){f}", fits: "n IS NULL OR CAST(n AS HUGEINT) * 3 + coalesce(g, 0) BETWEEN -9223372036854775808 AND 9223372036854775807"},
	{view: "min(x){f}"},
	{view: "max(x){f}"},
	{view: "min(n){f}"},
	{view: "max(word){f}"},
	{view: "min(ts){f}"},
	{view: "max(day){f}"},
	{view: "avg(n){f}", bound: last("avg(n){f}")},
	{view: "avg(price){f}"},
	{view: "avg(x){f}", bound: "2 * " + eps + " * sum(abs(x)){f} + " + last("avg(x){f}")},
	{view: "bool_and(ok OR g = 1){f}"},
	{view: "bool_or(x > 20){f}"},
	moment("var_pop", "x"), moment("var_samp", "x"), moment("variance", "n"), moment("stddev", "n"), moment("stddev_pop", "x"), moment("stddev_samp", "price"),
	pair("covar_pop", "x", "f"), pair("covar_samp", "x", "n"), pair("corr", "x", "f"), pair("corr", "price", "g"), pair("regr_slope", "x", "f"), pair("regr_intercept", "x", "f"),
	pair("regr_r2", "x", "f"), pair("regr_count", "x", "f"), pair("regr_avgx", "x", "f"), pair("regr_avgy", "x", "f"),
	pair("regr_sxx", "x", "f"), pair("regr_syy", "x", "f"), pair("regr_sxy", "price", "g"),
	{view: "bit_and(n){f}"},
	{view: "bit_or(g){f}"},
	{view: "bit_xor(n){f}"},
	placed("first", "x", ""), placed("last", "word", " DESC"), placed("last", "n", " DESC"),
	extreme("arg_min", "word", "x", ""), extreme("arg_max", "n", "price", " DESC"), extreme("arg_max", "ts", "g", " DESC"), extreme("arg_min", "x", "word", ""),
	{view: "count(DISTINCT word){f}"},
	{view: "count(DISTINCT x){f}"},
	{view: "sum(DISTINCT n){f}"},
	{view: "avg(DISTINCT g){f}", bound: last("avg(DISTINCT g){f}")},
	{view: "sum(DISTINCT x){f}", bound: added("x")},
	{view: "approx_count_distinct(n){f}", plain: "count(DISTINCT n){f}", bound: "greatest(1, 5 * 0.0081 * count(DISTINCT n){f})"},
	{view: "approx_count_distinct(word){f}", plain: "count(DISTINCT word){f}", bound: "greatest(1, 5 * 0.0081 * count(DISTINCT word){f})"},
	continuous("median", "x", 0.5, ""), continuous("median", "n", 0.5, ""), continuous("quantile_cont", "x", 0.9, ", 0.9"), continuous("quantile_cont", "g", 0.3, ", 0.3"),
	{view: "quantile_disc(x, 0.25){f}", plain: discrete("x", 0.25)},
	{view: "quantile_disc(word, 0.5){f}", plain: discrete("word", 0.5)},
	{view: "quantile_disc(n, 1){f}", plain: discrete("n", 1)},
	{view: "approx_quantile(x, 0.75){f}", plain: discrete("x", 0.75), bound: "(0.01 + 1e-14) * abs(" + discrete("x", 0.75) + ")"},
	{view: "mode(word){f}", plain: "mode(word ORDER BY " + byPosition + "){f}"},
	{view: "mode(g){f}", plain: "mode(g ORDER BY " + byPosition + "){f}"},
	{view: "histogram(g){f}", plain: "CAST(histogram(g){f} AS JSON)"},
}

// last allows for the last digits of what is computed from exact state in another way.
func last(value string) string { return "1e-14 * abs(" + value + ")" }

// added is how far two orders of adding may lie apart.
func added(x string) string {
	return "2 * " + eps + " * count(" + x + "){f} * sum(abs(CAST(" + x + " AS DOUBLE))){f}"
}

// finite keeps to what squares can hold: a view's moments leave out the rest.
func finite(all ...string) string {
	var parts []string
	for _, x := range all {
		parts = append(parts, "abs(CAST("+x+" AS DOUBLE)) <= 1e145")
	}
	return " FILTER (WHERE " + strings.Join(parts, " AND ") + "{and})"
}

// moment is a function of the variance family.
func moment(name, x string) aggregateCase {
	f := finite(x)
	spread, mean := "stddev_pop("+x+")"+f, "abs(avg("+x+")"+f+")"
	bound := "4 * " + eps + " * count(" + x + ")" + f + " * (" + spread + " + " + mean + ")"
	if strings.HasPrefix(name, "var") {
		bound += " * " + spread
	}
	value := name + "(" + x + ")" + f
	return aggregateCase{view: name + "(" + x + "){f}", plain: value, bound: bound + " + " + last(value)}
}

// inOrder lists a group's values in their own order, NaN last.
func inOrder(x string) string {
	return "(list(" + x + " ORDER BY " + x + ") FILTER (WHERE " + x + " IS NOT NULL{and}))"
}

func discrete(x string, q float64) string {
	return fmt.Sprintf("%[1]s[CAST(greatest(1, count(%[2]s){f} - floor(count(%[2]s){f} - %[3]v * count(%[2]s){f})) AS BIGINT)]", inOrder(x), x, q)
}

func continuous(name, x string, q float64, arguments string) aggregateCase {
	at := fmt.Sprintf("((count(%s){f} - 1) * %v)", x, q)
	low := fmt.Sprintf("CAST(%s[CAST(floor(%s) AS BIGINT) + 1] AS DOUBLE)", inOrder(x), at)
	high := fmt.Sprintf("CAST(%s[CAST(ceil(%s) AS BIGINT) + 1] AS DOUBLE)", inOrder(x), at)
	return aggregateCase{view: name + "(" + x + arguments + "){f}", bound: "1e-14 * (abs(" + low + ") + abs(" + high + "))",
		plain: fmt.Sprintf("CASE WHEN floor(%[1]s) = ceil(%[1]s) THEN %[2]s ELSE %[2]s * (1 - (%[1]s - floor(%[1]s))) + %[3]s * (%[1]s - floor(%[1]s)) END", at, low, high)}
}

func placed(name, x, direction string) aggregateCase {
	return aggregateCase{view: name + "(" + x + "){f}", plain: "first(" + x + " ORDER BY " + strings.ReplaceAll(byPosition, ",", direction+",") + direction + "){f}"}
}

func extreme(name, x, by, direction string) aggregateCase {
	return aggregateCase{view: name + "(" + x + ", " + by + "){f}",
		plain: fmt.Sprintf("first(%s ORDER BY %s%s, %s) FILTER (WHERE %s IS NOT NULL AND %s IS NOT NULL{and})", x, by, direction, byPosition, x, by)}
}

// pair is a function of the covariance and regression family, over the events that
// have both.
func pair(name, y, x string) aggregateCase {
	f := finite(y, x)
	n := "regr_count(" + y + ", " + x + ")" + f
	sx, sy := "stddev_pop("+x+")"+f, "stddev_pop("+y+")"+f
	mx, my := "abs(avg("+x+")"+f+")", "abs(avg("+y+")"+f+")"
	value := name + "(" + y + ", " + x + ")" + f
	if name == "regr_count" {
		value, n = "CAST("+value+" AS BIGINT)", "0"
	}
	unit := "16 * " + eps + " * " + n
	crossed := fmt.Sprintf("(%s + %s) * (%s + %s)", sx, mx, sy, my)
	relative := fmt.Sprintf("(1 + %s / %s) * (1 + %s / %s)", mx, sx, my, sy)
	slope := fmt.Sprintf("(%[1]s) / (%[2]s * %[2]s) * (1 + %[3]s / %[2]s)", crossed, sx, mx)
	bound := unit + " * " + map[string]string{
		"covar_pop": crossed, "covar_samp": crossed, "regr_sxy": n + " * " + crossed,
		"regr_sxx": n + " * (" + sx + " + " + mx + ") * (" + sx + " + " + mx + ")", "regr_syy": n + " * (" + sy + " + " + my + ") * (" + sy + " + " + my + ")",
		"corr": relative, "regr_r2": relative + " * " + relative, "regr_slope": slope, "regr_intercept": "((" + sy + " + " + my + ") + " + mx + " * " + slope + ")",
		"regr_avgx": "(" + sx + " + " + mx + ")", "regr_avgy": "(" + sy + " + " + my + ")", "regr_count": "0",
	}[name]
	return aggregateCase{view: name + "(" + y + ", " + x + "){f}", plain: value, bound: bound + " + " + last(value)}
}
