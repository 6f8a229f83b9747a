package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// merges lists the aggregates that a view can keep incrementally, and how many
// arguments they have.
var merges = map[string]int{
	"count_star": 0, "count": 1, "sum": 1, "min": 1, "max": 1, "avg": 1, "mean": 1,
	"stddev": 1, "stddev_samp": 1, "stddev_pop": 1, "variance": 1, "var_samp": 1, "var_pop": 1,
	"count_if": 1, "countif": 1, "bool_and": 1, "bool_or": 1, "bit_and": 1, "bit_or": 1, "bit_xor": 1,
	"first": 1, "last": 1, "any_value": 1, "arbitrary": 1,
	"arg_min": 2, "arg_max": 2, "argmin": 2, "argmax": 2, "min_by": 2, "max_by": 2,
	"covar_pop": 2, "covar_samp": 2, "corr": 2, "regr_count": 2, "regr_avgx": 2, "regr_avgy": 2, "regr_sxx": 2, "regr_syy": 2,
	"regr_sxy": 2, "regr_slope": 2, "regr_intercept": 2, "regr_r2": 2,
	"median": 1, "quantile_cont": 2, "quantile_disc": 2, "quantile": 2, "approx_quantile": 2,
	"mode": 1, "histogram": 1, "approx_count_distinct": 1,
	"list": 1, "array_agg": 1, "string_agg": 2, "group_concat": 2, "listagg": 2,
}

// sameAs are other names of aggregates.
var sameAs = map[string]string{
	"arbitrary": "any_value", "argmin": "arg_min", "argmax": "arg_max", "min_by": "arg_min", "max_by": "arg_max", "quantile": "quantile_disc",
	"array_agg": "list", "group_concat": "string_agg", "listagg": "string_agg",
}

// constants are the aggregates whose second argument is a constant.
var constants = map[string]bool{"quantile_cont": true, "quantile_disc": true, "approx_quantile": true}

// distinct are the aggregates that are kept of distinct values.
var distinct = map[string]bool{"count": true, "sum": true, "avg": true, "mean": true, "min": true, "max": true}

// instead says what to use for an aggregate that a view cannot keep.
var instead = map[string]string{
	"product": "use exp(sum(ln(x)))", "fsum": "use sum", "favg": "use avg", "sum_no_overflow": "use sum", "kahan_sum": "use sum",
}

// aggregate reports whether n calls an aggregate function that is not a window
// function.
func aggregate(n node) bool {
	name := function(n)
	if name == "" {
		return false
	}
	_, kept := merges[name]
	_, refused := instead[name]
	return kept || refused || duckdb.AggregateAllowed(name)
}

// refuseClass refuses expressions that have no place in a view.
func (q *query) refuseClass(n node) error {
	if _, ok := members[class(n)]; ok {
		return nil
	}
	switch class(n) {
	case "SUBQUERY":
		return q.fail(n, "compare with constants, or join in a query over the view", "a view cannot hold a subquery")
	case "STAR":
		return q.fail(n, "name the columns", "a view cannot use * here")
	case "PARAMETER":
		return q.fail(n, "write the value", "a view has no parameters")
	case "LAMBDA", "LAMBDA_REF":
		return q.fail(n, "query the stream", "a view cannot hold a lambda")
	case "COLLATE":
		return q.fail(n, "use lower(x)", "a view cannot hold a COLLATE")
	case "POSITIONAL_REFERENCE":
		return q.fail(n, "name the column", "a view cannot refer to a column by #number")
	}
	return q.fail(n, "", "a view cannot hold this expression (%s)", strings.ToLower(class(n)))
}

// checkCall gates a function call by name.
func (q *query) checkCall(n node, s scope) error {
	name := strings.Replace(function(n), "count_star", "count", 1)
	if aggregate(n) {
		_, ordered := q.listOrder(n)
		hint := cmp.Or(instead[name], "query the stream")
		arguments, kept := merges[name]
		switch {
		case s.row:
			return q.fail(n, "use HAVING for conditions on aggregates", "%s: an aggregate has no place here", name)
		case !kept:
			return q.fail(n, hint, "%s cannot be kept incrementally", name)
		case isSet(n, "distinct") && !distinct[cmp.Or(sameAs[name], name)]:
			return q.fail(n, "leave DISTINCT out, or make the value a key of the view and aggregate in a query over it", "%s(DISTINCT …) cannot be kept incrementally", name)
		case listing(n) && !ordered:
			return q.fail(n, "order it by the time column alone, or leave that out for the order of the stream", "%s in this order cannot be kept incrementally", name)
		case !listing(n) && len(list(sub(n, "order_bys"), "orders")) > 0:
			return q.fail(n, "leave it out", "%s does not depend on an ORDER BY", name)
		case isSet(n, "export_state"):
			return q.fail(n, "leave it out", "a view cannot EXPORT_STATE")
		case len(list(n, "children")) > arguments:
			return q.fail(n, "query the stream", "%s with %d arguments cannot be kept incrementally", name, len(list(n, "children")))
		}
		return nil
	}
	if !duckdb.Deterministic(name) {
		return q.fail(n, "a view gives the same answer whenever it is computed: use functions of the event alone", "%s is not a function that a view can call", name)
	}
	return nil
}

// oneOf lists candidates for a hint.
func oneOf(intro string, candidates any) string {
	var all []string
	switch c := candidates.(type) {
	case []string:
		all = c
	case map[string]*event.Schema:
		all = slices.Sorted(maps.Keys(c))
	}
	if len(all) == 0 {
		return ""
	}
	const most = 20
	if len(all) > most {
		all = append(slices.Clone(all[:most]), fmt.Sprintf("… (%d in all)", len(all)))
	}
	return intro + " " + strings.Join(all, ", ")
}

// validate checks that everything outside aggregates is a key.
func (q *query) validate() error {
	if !q.grouped() && !slices.ContainsFunc(q.items, func(it item) bool { return contains(it.expr, aggregate) }) {
		return q.def.errorAt(-1, "GROUP BY keys or use an aggregate; to see events, query the stream", "a view aggregates, and this one has no aggregate and no GROUP BY")
	}
	for _, n := range q.finishing() {
		if err := q.checkGrouped(n); err != nil {
			return err
		}
	}
	return nil
}

// finishing lists the expressions that are computed from merged groups.
func (q *query) finishing() []node {
	var out []node
	for _, it := range q.items {
		out = append(out, it.expr)
	}
	for _, n := range []node{q.having, q.qualify} {
		if n != nil {
			out = append(out, n)
		}
	}
	for _, o := range q.order {
		out = append(out, o.expr)
	}
	return out
}

func (q *query) checkGrouped(n node) (err error) {
	walk(n, func(m node) bool {
		if err != nil || aggregate(m) || q.key(m) >= 0 || isBound(m) {
			return false
		}
		if text(m, "type") == "OPERATOR_TRY" {
			err = q.fail(m, "use CASE, nullif or TRY_CAST", "TRY works on events, inside an aggregate or a key, not on the aggregates' results")
		} else if parts := names(m); parts != nil {
			err = q.fail(m, "add it to GROUP BY or put it into an aggregate", "column %s is neither a key nor inside an aggregate", parts[len(parts)-1])
		}
		return err == nil
	})
	return err
}

// key gives the index of the key that n is, or -1.
func (q *query) key(n node) int {
	if len(q.keys) == 0 {
		return -1
	}
	c := canonical(n)
	return slices.IndexFunc(q.keys, func(k node) bool { return canonical(k) == c })
}
