package serving

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// refusedHere are functions that the engine room allows and that a statement
// from outside can grow without a bound, and what to use instead. Each step of a
// reduction may double its value. The sketches take memory outside of the engine's
// limit: 10 GB were seen under one of 512 MB.
var refusedHere = map[string]string{
	"reduce": useAggregate, "list_reduce": useAggregate, "array_reduce": useAggregate,
	"approx_quantile": "use quantile_cont or quantile_disc", "approx_top_k": "use GROUP BY, ORDER BY count(*) DESC and LIMIT",
}

const useAggregate = "use an aggregate, or list_sum, list_string_agg and their like"

// notOver are aggregates that the engine computes anew for each row of a window:
// minutes for a million rows, and it cannot be stopped.
var notOver = set("mad entropy histogram histogram_exact json_group_array json_group_object json_group_structure bitstring_agg approx_count_distinct")

// holistic are aggregates whose frames may hold maxFrame rows.
var holistic = set("median quantile quantile_cont quantile_disc mode list array_agg string_agg group_concat listagg")

const maxFrame = 10_000

// window bounds a call with OVER.
func (w *walker) window(node map[string]any, name string) error {
	if w.windows++; w.windows > maxWindows {
		return w.refuse(node, "too_complex", "", "the statement has more than %d calls with OVER", maxWindows)
	}
	if notOver[name] {
		return w.refuse(node, "unsupported", "aggregate in a subquery, and join it", "%s with OVER is not supported", name)
	}
	if !holistic[name] {
		return nil
	}
	for _, member := range []string{"start_expr", "end_expr"} {
		if node[member] == nil || w.preparing && hasParameter(node[member]) {
			continue
		}
		if n, ok := constant(node[member]); !ok && text(node, "start") != "EXPR_PRECEDING_RANGE" || n > maxFrame {
			return w.refuse(node, "too_large", "", "a frame of %s must have constant bounds of up to %d rows", name, maxFrame)
		}
	}
	return nil
}

// clocks are those that a series may end at.
var clocks = set("now today current_localtimestamp get_current_timestamp transaction_timestamp")

// Bounds of what a call may make from little.
const (
	maxSeriesRows   = 1_000_000 // of range() in FROM, which streams
	maxSeriesList   = 10_000    // of range() as a list: 2,048 rows hold one each
	maxFactor       = 100_000   // of the lists and repetitions of a statement, multiplied
	maxRepeat       = 100       // of a column
	maxRepeatedText = 10_000    // bytes, of a literal
)

// sizes bound the argument that says how much a function makes: it must be a
// constant no larger than max. The engine allocates by it outside its memory limit.
var sizes = map[string]struct{ arg, max int }{
	"lpad": {1, 10_000}, "rpad": {1, 10_000}, "list_resize": {1, 10_000}, "array_resize": {1, 10_000}, "bitstring": {1, 10_000}, "bar": {3, 1_000}, "to_base": {2, 64}, "equi_width_bins": {2, 1_000},
	"bitstring_agg": {2, 100_000},
	"min":           {1, 1_000}, "max": {1, 1_000}, "arg_min": {2, 1_000}, "arg_max": {2, 1_000}, "argmin": {2, 1_000}, "argmax": {2, 1_000},
	"min_by": {2, 1_000}, "max_by": {2, 1_000},
}

// function checks the name and the sizes of a call; its arguments are checked
// as expressions.
func (w *walker) function(node map[string]any, trusted bool) error {
	name := strings.ToLower(text(node, "function_name"))
	if trusted {
		return w.guard(node, name)
	}
	schema := strings.ToLower(text(node, "schema")) // the parser itself writes main for operators and brackets
	known := duckdb.ScalarAllowed(name) || duckdb.AggregateAllowed(name) || w.more[name]
	if text(node, "class") == "WINDOW" {
		known = duckdb.WindowAllowed(name)
	}
	if hint, ok := refusedHere[name]; ok {
		return w.refuse(node, "unknown_function", hint, "the function %s is not available", name)
	}
	if !known || schema != "" && schema != "main" || text(node, "catalog") != "" {
		return w.refuse(node, "unknown_function", "", "the function %s is not available", text(node, "function_name"))
	}
	if !duckdb.Deterministic(name) && !duckdb.AggregateAllowed(name) && !duckdb.WindowAllowed(name) {
		w.volatile = true
	}
	if text(node, "class") == "WINDOW" {
		if err := w.window(node, name); err != nil {
			return err
		}
	}
	if err := w.guard(node, name); err != nil {
		return err
	}
	return w.checkSize(node, name, maxSeriesList, true)
}

// tableFunction checks a function in FROM.
func (w *walker) tableFunction(v any, in *scope) error {
	node, err := w.enter(v)
	if err != nil {
		return err
	}
	defer func() { w.depth-- }()
	trusted := node[trustedMark] == true
	delete(node, trustedMark)
	name := strings.ToLower(text(node, "function_name"))
	schema := strings.ToLower(text(node, "schema"))
	if text(node, "class") != "FUNCTION" || !tableFunctions[name] || schema != "" && schema != "main" || text(node, "catalog") != "" {
		return w.refuse(node, "unknown_function", "", "the table function %s is not available", text(node, "function_name"))
	}
	if err := w.members(node, w.grammar.exprs["FUNCTION"].shape, in); err != nil {
		return err
	}
	if trusted {
		return nil
	}
	return w.checkSize(node, name, maxSeriesRows, false)
}

// tableFunctions is a list of its own although the engine room has one: a name
// that is added there must be looked at here, for its sizes.
var tableFunctions = set("range generate_series unnest")

func (w *walker) checkSize(node map[string]any, name string, maxSeries float64, multiplies bool) error {
	args, _ := node["children"].([]any)
	if w.preparing && hasParameter(args) {
		return nil // nothing runs; with the values in place it comes here again
	}
	switch name {
	case "range", "generate_series":
		n, ok := w.seriesLength(args)
		if !ok {
			return w.refuse(node, "too_large", "write the bounds as literals, such as range(100)", "%s needs constant bounds", name)
		}
		if n > maxSeries {
			return w.refuse(node, "too_large", "", "%s makes more than %.0f values", name, maxSeries)
		}
		if multiplies {
			return w.multiply(node, n)
		}
		return nil
	case "repeat":
		return w.checkRepeat(node, args)
	case "format", "printf":
		if len(args) > 0 && !harmlessFormat(args[0]) {
			return w.refuse(node, "too_large", "use lpad or rpad", "%s needs a literal format of up to 50 values, with widths below 1000", name)
		}
		return nil
	}
	bound, ok := sizes[name]
	if _, sized := duckdb.SizeArgument(name); sized && !ok {
		return w.refuse(node, "unknown_function", "", "the function %s is not available", name)
	}
	if ok && len(args) > bound.arg {
		n, ok := constant(args[bound.arg])
		if !ok || n > int64(bound.max) {
			return w.refuse(node, "too_large", "", "argument %d of %s must be a constant up to %d", bound.arg+1, name, bound.max)
		}
	}
	return nil
}

// multiply keeps nested and joined repetitions below one bound together.
func (w *walker) multiply(node map[string]any, n float64) error {
	w.factor *= max(n, 1)
	if w.factor > maxFactor {
		return w.refuse(node, "too_large", "use range() in FROM", "the lists and repetitions of the statement multiply to more than %d", maxFactor)
	}
	return nil
}

func (w *walker) checkRepeat(node map[string]any, args []any) error {
	if len(args) != 2 {
		return nil // the engine refuses it
	}
	n, ok := constant(args[1])
	if !ok {
		return w.refuse(node, "too_large", "bar() draws a value", "repeat needs a constant count")
	}
	if s, ok := stringConstant(args[0]); ok {
		if int64(len(s))*n > maxRepeatedText {
			return w.refuse(node, "too_large", "", "repeat makes more than %d bytes", maxRepeatedText)
		}
		return nil
	}
	if n > maxRepeat {
		return w.refuse(node, "too_large", "", "repeat of a value that is no literal may be up to %d times", maxRepeat)
	}
	return w.multiply(node, float64(n))
}

// wideFormat matches widths of four digits and more, and those that are arguments.
var wideFormat = regexp.MustCompile(`[0-9]{4,}|\*|\{[^}]*\{`)

func harmlessFormat(arg any) bool {
	s, ok := stringConstant(arg)
	return ok && !wideFormat.MatchString(s) && strings.Count(s, "{")+strings.Count(s, "%") <= 50
}

var intervalText = regexp.MustCompile(`^\s*(-?[0-9]{1,9})\s*([a-z]+?)s?\s*$`)

// integer reads a JSON number that is whole.
func integer(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

// constantValue gives the value of a CONSTANT node and its type.
func constantValue(v any) (value any, id string, ok bool) {
	node, _ := v.(map[string]any)
	if text(node, "class") != "CONSTANT" {
		return nil, "", false
	}
	inner, _ := node["value"].(map[string]any)
	t, _ := inner["type"].(map[string]any)
	return inner["value"], text(t, "id"), true
}

func constant(v any) (int64, bool) {
	value, id, ok := constantValue(v)
	if !ok || id != "INTEGER" && id != "BIGINT" {
		return 0, false
	}
	return integer(value)
}

func stringConstant(v any) (string, bool) {
	value, _, _ := constantValue(v)
	s, ok := value.(string)
	return s, ok
}

// seriesLength estimates how many values range(args) makes. The estimate may
// be some days per year off for months, which a bound can bear.
func (w *walker) seriesLength(args []any) (float64, bool) {
	var v [3]float64 // start, stop, step
	var unit [3]unit
	for i, arg := range args {
		var ok bool
		if i > 2 {
			return 0, false
		}
		if v[i], unit[i], ok = w.evaluate(arg, 0); !ok {
			return 0, false
		}
	}
	switch len(args) {
	case 1:
		v[1], v[0], v[2] = v[0], 0, 1
	case 2:
		v[2] = 1
	case 3:
		if unit[2] == days && unit[0] != number || v[2] == 0 {
			return 0, v[2] == 0
		}
	default:
		return 0, false
	}
	return max(0, (v[1]-v[0])/v[2]+1), true
}

// A unit says what a constant counts.
type unit int

const (
	number   unit = iota
	instant       // seconds since 1970
	days          // seconds since 1970 of a date: whole numbers add days
	interval      // seconds
)

// seconds of a unit. Months are short and so are years: a series by them is
// rather taken for longer.
var seconds = map[string]float64{
	"microsecond": 1e-6, "millisecond": 1e-3, "second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400,
	"month": 28 * 86400, "quarter": 84 * 86400, "year": 360 * 86400, "decade": 3600 * 86400, "century": 36000 * 86400,
}

// evaluate reads the constants that bounds of series are written with: numbers,
// dates, timestamps, intervals, now(), and sums of them.
func (w *walker) evaluate(v any, depth int) (float64, unit, bool) {
	node, ok := v.(map[string]any)
	if !ok || depth > 10 {
		return 0, 0, false
	}
	args, _ := node["children"].([]any)
	name := strings.ToLower(text(node, "function_name"))
	switch text(node, "class") {
	case "CONSTANT":
		n, ok := constant(v)
		return float64(n), number, ok
	case "CAST":
		return w.evaluateCast(node, depth)
	case "FUNCTION":
		switch {
		case clocks[name] && len(args) == 0:
			return float64(w.now.Unix()), instant, true
		case strings.HasPrefix(name, "to_") && len(args) == 1 && seconds[strings.TrimSuffix(name[3:], "s")] > 0:
			n, _, ok := w.evaluate(args[0], depth+1)
			return n * seconds[strings.TrimSuffix(name[3:], "s")], interval, ok
		case name == "trunc" && len(args) == 1:
			return w.evaluate(args[0], depth+1)
		case name == "date_trunc" && len(args) == 2:
			return w.evaluate(args[1], depth+1)
		case (name == "+" || name == "-") && len(args) == 2:
			return w.evaluateSum(args, name == "-", depth)
		case name == "-" && len(args) == 1:
			n, u, ok := w.evaluate(args[0], depth+1)
			return -n, u, ok
		}
	}
	return 0, 0, false
}

func (w *walker) evaluateSum(args []any, minus bool, depth int) (float64, unit, bool) {
	a, ua, ok1 := w.evaluate(args[0], depth+1)
	b, ub, ok2 := w.evaluate(args[1], depth+1)
	if ua == days && ub == number {
		b *= 86400
	}
	if minus {
		b = -b
	}
	return a + b, ua, ok1 && ok2 && (ub == number || ub == interval)
}

func (w *walker) evaluateCast(node map[string]any, depth int) (float64, unit, bool) {
	target, _ := node["cast_type"].(map[string]any)
	id := text(target, "id")
	s, isText := stringConstant(node["child"])
	switch {
	case !isText && id == "DATE":
		n, u, ok := w.evaluate(node["child"], depth+1)
		if u != instant && u != days {
			return 0, 0, false
		}
		return n, days, ok
	case !isText:
		return w.evaluate(node["child"], depth+1)
	case id == "INTERVAL":
		m := intervalText.FindStringSubmatch(strings.ToLower(s))
		if m == nil || seconds[m[2]] == 0 {
			return 0, 0, false
		}
		n, err := strconv.ParseFloat(m[1], 64)
		return n * seconds[m[2]], interval, err == nil
	case id == "DATE" || strings.HasPrefix(id, "TIMESTAMP"):
		for _, layout := range []string{"2006-01-02", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", time.RFC3339} {
			if t, err := time.Parse(layout, s); err == nil {
				if id == "DATE" {
					return float64(t.Unix()), days, true
				}
				return float64(t.Unix()), instant, true
			}
		}
	}
	return 0, 0, false
}
