package serving

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// Guards stop calls that the engine cannot be stopped in. It looks for an
// interrupt between steps of up to 2,048 rows, and some functions take minutes
// for a step if the values are large. Such a call is rewritten so that the engine
// itself adds up the step's work before it begins, and fails if it is too much:
//
//	levenshtein(a, b)  →  CASE WHEN tw_within(<work>, <most>) THEN levenshtein(a, b) END
//
// and where a or b is an expression that should be computed once,
//
//	list_transform([{a, b}], lambda x: CASE WHEN tw_within(<work>, <most>) THEN levenshtein(x.a, x.b) END)[1]
//
// The bounds were found by running each function on values of many sizes: a step
// within its bound takes about a second at worst.

// A guard says what a call's work is. In the text tw_0, tw_1, … are the arguments.
type guard struct {
	work string
	most float64
}

// Units of work.
const (
	pairs     = "coalesce(strlen(tw_0), 0)::DOUBLE * coalesce(strlen(tw_1), 0)" // bytes by bytes
	textBytes = "coalesce(strlen(tw_0), 0)::DOUBLE"
	values    = "coalesce(len(tw_0), 0)::DOUBLE"
	values2   = "coalesce(len(tw_0), 0)::DOUBLE + coalesce(len(tw_1), 0)"
	// A pattern with k wildcards is tried at up to n^(k-1)/(k-1)! places.
	likes = "pow(coalesce(strlen(tw_0), 0) + 1, greatest(strlen(tw_1) - strlen(replace(tw_1, '%', '')) - 1, 1)) / gamma(greatest(strlen(tw_1) - strlen(replace(tw_1, '%', '')), 1))"
	globs = "pow(coalesce(strlen(tw_0), 0) + 1, greatest(strlen(tw_1) - strlen(replace(tw_1, '*', '')) - 1, 1)) / gamma(greatest(strlen(tw_1) - strlen(replace(tw_1, '*', '')), 1))"
)

// grownValue is the guard of calls that make values larger, in statements that
// may make them very much larger: the text of the value, whatever its type.
var grownValue = guard{"coalesce(strlen(tw_0::VARCHAR), 0)::DOUBLE", grownBytes}

// before are guards of calls that are slow, on their arguments.
var before = guards(map[string]guard{
	"levenshtein editdist3 jaro_similarity jaro_winkler_similarity": {pairs, 40e6},
	"damerau_levenshtein": {pairs, 10e6},
	"replace":             {pairs + " + coalesce(strlen(tw_0) * strlen(tw_2) / greatest(strlen(tw_1), 1), 0)", 64e6},
	"instr strpos position string_split str_split split string_to_array":                                      {pairs, 1e9},
	"list_contains array_contains list_has array_has list_position list_indexof array_position array_indexof": {values, 50e6},
	"contains": {"coalesce(len(tw_0), 0)::DOUBLE * coalesce(strlen(tw_1::VARCHAR), 0)", 1e9}, // of lists too
	"regexp_extract_all regexp_replace regexp_split_to_array string_split_regex str_split_regex regexp_split_to_table": {textBytes, 4e6},
	"~~ !~~ ~~* !~~* like_escape not_like_escape ilike_escape not_ilike_escape":                                        {likes, 1e9},
	"~~~":                    {globs, 1e9},
	"translate icu_sort_key": {textBytes, 16e6},
	"list_distinct array_distinct list_unique array_unique list_mode list_histogram list_entropy list_approx_count_distinct": {values, 500e3},
	"list_has_all array_has_all list_has_any array_has_any && @> <@ map":                                                     {values2, 500e3},
	"list_intersect array_intersect": {values2, 100e3},
})

// after are guards of what a call makes: one value of many. Everything that is
// computed from it later is bounded by it, for 2,048 rows at once if it is joined
// with others; so each value has a bound beside the sum.
var after = guards(map[string]guard{
	"string_agg group_concat listagg json_group_array json_group_object json_group_structure": {each("strlen(tw_0)", 2e6), 32e6},
	"list array_agg":            {each("len(tw_0)", 200e3), 2e6},
	"histogram histogram_exact": {each("cardinality(tw_0)", 100e3), 1e6},
})

func each(size string, most float64) string {
	return fmt.Sprintf("CASE WHEN %[1]s > %.0[2]f THEN 1e15 ELSE coalesce(%[1]s, 0)::DOUBLE END", size, most)
}

func hasGuard(name string) bool {
	_, slow := before[name]
	_, large := after[name]
	return slow || large || grows[name]
}

func guards(byNames map[string]guard) map[string]guard {
	out := map[string]guard{}
	for names, g := range byNames {
		for _, name := range strings.Fields(names) {
			out[name] = g
		}
	}
	return out
}

// guard notes a call that needs one.
func (w *walker) guard(node map[string]any, name string) error {
	g, slow := before[name]
	args, _ := node["children"].([]any)
	switch {
	case strings.HasPrefix(name, "regexp_") && name != "regexp_escape" || strings.HasSuffix(name, "_regex"):
		if err := w.regexpPattern(node, name, args); err != nil {
			return err
		}
	case strings.Contains(name, "~~") || strings.HasSuffix(name, "like_escape"):
		slow = slow && !easyPattern(name, args)
	case searches[name]:
		slow = len(args) > 1 && !(shortConstant(args[1]) && (name != "replace" || len(args) > 2 && shortReplacement(args[2])))
	}
	if slow && allConstant(node) {
		return w.guardConstants(node, name, g)
	}
	if _, large := after[name]; slow || large {
		w.guarded = append(w.guarded, node)
	}
	return nil
}

// searches look for one text in another.
var searches = set("instr strpos position contains replace string_split str_split split string_to_array")

func shortConstant(v any) bool {
	_, _, ok := constantValue(v)
	s, _ := stringConstant(v)
	return ok && len(s) <= 100
}

// easyPattern reports whether the engine takes time in proportion to the text.
func easyPattern(name string, args []any) bool {
	if len(args) < 2 {
		return true // the engine refuses it
	}
	pattern, ok := stringConstant(args[1])
	if _, _, constant := constantValue(args[1]); constant && !ok {
		return true // NULL
	}
	simple := strings.HasSuffix(name, "~~") && !strings.Contains(pattern, "_") // LIKE looks for the parts in order
	return ok && (simple && name != "~~~" || strings.Count(pattern, "%")+strings.Count(pattern, "*") <= 2)
}

const (
	maxPattern     = 1_000 // bytes of a regular expression
	maxRepetitions = 1_000 // of all counts in one, multiplied
)

var repetitions = regexp.MustCompile(`\{([0-9]+)(?:,([0-9]*))?\}`)

// regexpPattern wants a literal: the engine compiles one from a column anew for
// each row, and a count makes much of little.
func (w *walker) regexpPattern(node map[string]any, name string, args []any) error {
	if len(args) < 2 {
		return nil // the engine refuses it
	}
	pattern, ok := stringConstant(args[1])
	if w.preparing && hasParameter(args[1]) {
		return nil // looked at again when it has a value
	}
	if _, _, constant := constantValue(args[1]); !constant {
		return w.refuse(node, "too_large", "use contains, starts_with or LIKE for a text that is not constant", "%s needs a literal pattern", name)
	} else if !ok {
		return nil
	}
	product := 1.0
	for _, m := range repetitions.FindAllStringSubmatch(pattern, -1) {
		low, _ := strconv.ParseFloat(m[1], 64) // digits alone
		high, _ := strconv.ParseFloat(m[2], 64)
		product *= max(low, high, 1)
	}
	if len(pattern) > maxPattern || product > maxRepetitions {
		return w.refuse(node, "too_large", "", "the pattern of %s is longer than %d bytes, or its counts multiply to more than %d", name, maxPattern, maxRepetitions)
	}
	return nil
}

// guardConstants bounds what the engine computes while it plans.
func (w *walker) guardConstants(node map[string]any, name string, g guard) error {
	work := 1.0
	for _, arg := range node["children"].([]any) {
		if s, ok := stringConstant(arg); ok {
			work *= max(1, float64(len(s)))
		}
	}
	if work > g.most {
		return w.refuse(node, "too_large", "shorten the texts", "the texts of %s are too long", name)
	}
	return nil
}

func allConstant(node map[string]any) bool {
	args, _ := node["children"].([]any)
	for _, arg := range args {
		if _, _, ok := constantValue(arg); !ok {
			return false
		}
	}
	return true
}

// insert puts the guards of a statement in.
func (g *Gate) insert(ctx context.Context, guarded []map[string]any, statement any) error {
	if times, _ := growthOf(statement, structs); times > maxStructs {
		return &Refusal{Code: "too_complex", Message: fmt.Sprintf("structs and lists in each other may have more than %d parts", maxStructs), Hint: "build them in one SELECT"}
	}
	times, growers := growthOf(statement, grows) // before guards are in
	noted := map[uintptr]bool{}
	for _, node := range guarded {
		noted[reflect.ValueOf(node).Pointer()] = true
		name := strings.ToLower(text(node, "function_name"))
		put, guard := g.guardBefore, before[name]
		if large, ok := after[name]; ok {
			put, guard = g.guardAfter, large
		}
		if err := put(ctx, node, guard); err != nil {
			return err
		}
	}
	if times <= maxGrowth {
		return nil
	}
	for _, node := range growers { // also those that are quick on values as they are stored
		if !noted[reflect.ValueOf(node).Pointer()] {
			if err := g.guardAfter(ctx, node, grownValue); err != nil {
				return err
			}
		}
	}
	return nil
}

// plainCall is the guard of arguments that may be computed twice, guardedCall of
// others.
const plainCall = `CASE WHEN tw_within(tw_work, %.0f) THEN tw_call END`

const guardedCall = `list_transform([tw_arguments], lambda tw_x: CASE WHEN tw_within(tw_work, %.0f) THEN tw_call END)[1]`

func (g *Gate) guardAfter(ctx context.Context, node map[string]any, guard guard) error {
	if _, ok := after[strings.ToLower(text(node, "function_name"))]; ok { // the engine computes equal aggregates once
		call := copyNode(node)
		call["alias"] = ""
		work, err := g.expression(ctx, guard.work, map[string]any{"tw_0": call})
		if err != nil {
			return err
		}
		return g.replace(ctx, node, fmt.Sprintf(plainCall, guard.most), map[string]any{"tw_work": work, "tw_call": call})
	}
	x, err := g.expression(ctx, "tw_x", nil)
	if err != nil {
		return err
	}
	work, err := g.expression(ctx, guard.work, map[string]any{"tw_0": x})
	if err != nil {
		return err
	}
	return g.replace(ctx, node, fmt.Sprintf(guardedCall, guard.most), map[string]any{"tw_arguments": copyNode(node), "tw_work": work, "tw_call": x})
}

// guardBefore hands the arguments that are not constants to the lambda in one
// struct; constants stay where they are, because the engine prepares patterns and
// the like once.
func (g *Gate) guardBefore(ctx context.Context, node map[string]any, guard guard) error {
	call := copyNode(node)
	call["alias"] = ""
	args, _ := node["children"].([]any)
	parts, inner := map[string]any{}, make([]any, len(args))
	if !slices.ContainsFunc(args, func(arg any) bool { return costly(arg, new(int)) }) {
		for i, arg := range args {
			parts[fmt.Sprintf("tw_%d", i)] = arg
		}
		work, err := g.expression(ctx, guard.work, parts)
		if err != nil {
			return err
		}
		return g.replace(ctx, node, fmt.Sprintf(plainCall, guard.most), map[string]any{"tw_work": work, "tw_call": call})
	}
	var fields []string
	outer := map[string]any{}
	for i, arg := range args {
		name := fmt.Sprintf("tw_%d", i)
		inner[i] = arg
		_, _, ok := constantValue(arg)
		if node, _ := arg.(map[string]any); !ok && text(node, "class") != "PARAMETER" {
			field := fmt.Sprintf("a%d", i)
			ref, err := g.expression(ctx, "tw_x."+field, nil)
			if err != nil {
				return err
			}
			inner[i] = ref
			fields, outer[name] = append(fields, field+" := "+name), arg
		}
		parts[name] = inner[i]
	}
	call["children"] = inner
	work, err := g.expression(ctx, guard.work, parts)
	if err != nil {
		return err
	}
	arguments, err := g.expression(ctx, "struct_pack("+strings.Join(fields, ", ")+")", outer)
	if err != nil {
		return err
	}
	return g.replace(ctx, node, fmt.Sprintf(guardedCall, guard.most), map[string]any{"tw_arguments": arguments, "tw_work": work, "tw_call": call})
}

// costly reports whether an expression is too much to compute twice: it holds a
// call that has a guard itself, a subquery, a draw of the random generator, or
// many parts.
func costly(v any, parts *int) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return costly(e, parts) })
	case map[string]any:
		name := strings.ToLower(text(v, "function_name"))
		if class := text(v, "class"); class != "" {
			*parts++
			if *parts > 12 || class == "SUBQUERY" || class == "WINDOW" || class == "LAMBDA" || name != "" && (hasGuard(name) || name == "tw_within" || !duckdb.Deterministic(name) && !duckdb.AggregateAllowed(name)) {
				return true
			}
		}
		for _, e := range v {
			if costly(e, parts) {
				return true
			}
		}
	}
	return false
}

// replace turns a node into what the template makes of the parts. The alias
// stays.
func (g *Gate) replace(ctx context.Context, node map[string]any, sql string, parts map[string]any) error {
	e, err := g.expression(ctx, sql, parts)
	if err != nil {
		return err
	}
	e["alias"] = node["alias"]
	clear(node)
	maps.Copy(node, e)
	return nil
}
