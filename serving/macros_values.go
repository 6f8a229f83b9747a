package serving

import (
	"encoding/json"
	"strconv"
	"strings"
)

// valueMacros are written where an expression may stand; names in them that are
// arguments are tw_0, tw_1.
var valueMacros = map[string]struct {
	usage     string
	arguments int
	sql       string
}{
	"increase":   {"increase(counter, time)", 2, increase},
	"rate":       {"rate(counter, time)", 2, increase + ` / nullif(epoch(max(CASE WHEN tw_0 IS NOT NULL THEN tw_1 END)) - epoch(min(CASE WHEN tw_0 IS NOT NULL THEN tw_1 END)), 0)`},
	"linear_fit": {"linear_fit(y, x)", 2, `struct_pack(slope := regr_slope(tw_0, tw_1), intercept := regr_intercept(tw_0, tw_1), r2 := regr_r2(tw_0, tw_1))`},
}

// increase adds up how much a counter grew: where it is less than before it began
// again at zero.
const increase = `list_transform([list_sort(list(struct_pack(t := tw_1, x := (tw_0)::DOUBLE)) FILTER (WHERE tw_0 IS NOT NULL AND tw_1 IS NOT NULL))], lambda tw_l:
	coalesce(list_sum(list_transform(list_zip(tw_l[:-2], tw_l[2:]), lambda tw_p: CASE WHEN tw_p[2].x >= tw_p[1].x THEN tw_p[2].x - tw_p[1].x ELSE tw_p[2].x END)), CASE WHEN len(tw_l) > 0 THEN 0 END))[1]`

// maxMoving bounds the rows of a moving average.
const maxMoving = 100_000

// expandValue turns a call into the expression that it stands for.
func (w *walker) expandValue(node map[string]any) error {
	name := strings.ToLower(text(node, "function_name"))
	if text(node, "schema") != "" || text(node, "catalog") != "" {
		return nil
	}
	if name == "moving_avg" {
		return w.movingAverage(node)
	}
	m, ok := valueMacros[name]
	if !ok {
		return nil
	}
	args, _ := node["children"].([]any)
	if len(args) != m.arguments || text(node, "class") != "FUNCTION" || !empty(node["filter"]) || node["distinct"] == true || hasOrder(node) {
		return w.refuse(node, "bad_argument", m.usage+", without OVER, FILTER, DISTINCT and ORDER BY", "%s is called in another way than it can be", name)
	}
	parts := map[string]any{"tw_0": args[0], "tw_1": args[1]}
	for _, arg := range args {
		arg.(map[string]any)["alias"] = ""
	}
	statement, err := w.expand("SELECT "+m.sql, parts)
	if err != nil {
		return err
	}
	e := statement["node"].(map[string]any)["select_list"].([]any)[0].(map[string]any)
	alias := node["alias"]
	clear(node)
	for member, v := range e {
		node[member] = v
	}
	node["alias"] = alias
	return nil
}

func hasOrder(node map[string]any) bool {
	order, _ := node["order_bys"].(map[string]any)
	return !empty(order["orders"])
}

// movingAverage turns moving_avg(x, n) OVER (…) into avg(x) over the last n rows,
// or the last INTERVAL n.
func (w *walker) movingAverage(node map[string]any) error {
	args, _ := node["children"].([]any)
	bad := func() error {
		return w.refuse(node, "bad_argument", "moving_avg(x, 7) OVER (ORDER BY time), or moving_avg(x, INTERVAL '1 hour') OVER (ORDER BY time); n is a literal up to 100000", "moving_avg is called in another way than it can be")
	}
	if text(node, "class") != "WINDOW" || len(args) != 2 || empty(node["orders"]) || text(node, "start") != "UNBOUNDED_PRECEDING" {
		return bad()
	}
	width, _ := args[1].(map[string]any)
	rows, isRows := constant(width)
	switch {
	case isRows && rows >= 1 && rows <= maxMoving:
		width = copyNode(width)
		value := copyNode(width["value"].(map[string]any))
		value["value"] = json.Number(strconv.FormatInt(rows-1, 10))
		width["value"] = value
		node["start"], node["end"] = "EXPR_PRECEDING_ROWS", "CURRENT_ROW_ROWS"
	case isRows, reads(width):
		return bad()
	default:
		node["start"], node["end"] = "EXPR_PRECEDING_RANGE", "CURRENT_ROW_RANGE"
	}
	node["function_name"], node["start_expr"], node["children"] = "avg", width, args[:1]
	return nil
}
