package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// merges lists the aggregates that a view can keep incrementally.
var merges = map[string]bool{
	"count_star": true, "count": true, "sum": true, "min": true, "max": true, "avg": true, "mean": true,
	"stddev": true, "stddev_samp": true, "stddev_pop": true, "variance": true, "var_samp": true, "var_pop": true,
	"count_if": true, "countif": true, "bool_and": true, "bool_or": true,
}

// instead says what to use for an aggregate that a view cannot keep.
var instead = map[string]string{
	"any_value": "use min or max", "arbitrary": "use min or max", "first": "use min or max", "last": "use min or max",
	"arg_min": "make the value a key, or query the stream", "arg_max": "make the value a key, or query the stream",
	"argmin": "make the value a key, or query the stream", "argmax": "make the value a key, or query the stream",
	"min_by": "make the value a key, or query the stream", "max_by": "make the value a key, or query the stream",
	"approx_count_distinct": "make the value a key and count the rows in a query over the view",
	"median":                "query the stream", "mode": "make the value a key and take the largest count",
	"quantile": "query the stream", "quantile_cont": "query the stream", "quantile_disc": "query the stream",
	"approx_quantile": "query the stream", "list": "query the stream", "array_agg": "query the stream",
	"string_agg": "query the stream", "group_concat": "query the stream", "listagg": "query the stream",
	"histogram": "make the bin a key and count", "product": "use exp(sum(ln(x)))", "fsum": "use sum", "favg": "use avg",
	"sum_no_overflow": "use sum", "kahan_sum": "use sum",
}

// aggregate reports whether n calls an aggregate function that is not a window
// function.
func aggregate(n node) bool {
	name := function(n)
	if name == "" {
		return false
	}
	_, refused := instead[name]
	return merges[name] || refused || duckdb.AggregateAllowed(name)
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
		hint, refused := instead[name]
		switch {
		case s.row:
			return q.fail(n, "use HAVING for conditions on aggregates", "%s: an aggregate has no place here", name)
		case !merges[name]:
			if !refused {
				hint = "use count, sum, min, max, avg, stddev, variance, count_if, bool_and or bool_or, or query the stream"
			}
			return q.fail(n, hint, "%s cannot be kept incrementally", name)
		case isSet(n, "distinct") && name != "min" && name != "max":
			return q.fail(n, "make the value a key of the view and aggregate in a query over it", "%s(DISTINCT …) cannot be kept incrementally", name)
		case len(list(sub(n, "order_bys"), "orders")) > 0:
			return q.fail(n, "leave it out", "%s does not depend on an ORDER BY", name)
		case isSet(n, "export_state"):
			return q.fail(n, "leave it out", "a view cannot EXPORT_STATE")
		case len(list(n, "children")) > 1:
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
