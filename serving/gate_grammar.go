package serving

import "strings"

// A shape lists the members that a node may have and what is allowed in each;
// nil stands for a value that the walker has looked at already.
type shape map[string]func(w *walker, v any, in *scope) error

// A grammar is every kind of node that the Gate knows. What is not here is
// refused; an engine with a new kind of node, or a new member in a known one, is
// refused until somebody has looked at it.
type grammar struct {
	queries, refs, modifiers map[string]shape // by type
	exprs                    map[string]struct {
		kinds map[string]bool // nil = all
		shape shape
	} // by class
}

// Members.

// plain takes strings, numbers, booleans and lists of them, but no nodes.
func plain(w *walker, v any, in *scope) error {
	switch v := v.(type) {
	case map[string]any:
		return &Refusal{Code: "unsupported", Message: "the statement has a part that is not supported"}
	case []any:
		for _, e := range v {
			if err := plain(w, e, in); err != nil {
				return err
			}
		}
	}
	return nil
}

// literal takes a value as the parser made it: it holds no code.
func literal(*walker, any, *scope) error { return nil }

func query(w *walker, v any, in *scope) error { return w.query(v, in) }
func ref(w *walker, v any, in *scope) error   { return w.ref(v, in) }
func expr(w *walker, v any, in *scope) error  { return w.expr(v, in) }

func exprs(w *walker, v any, in *scope) error {
	return w.each(v, func(e any) error { return w.expr(e, in) })
}

func rows(w *walker, v any, in *scope) error {
	return w.each(v, func(row any) error { return exprs(w, row, in) })
}

// listOf takes a list of helper nodes that are neither expression nor query.
func listOf(s shape) func(*walker, any, *scope) error {
	return func(w *walker, v any, in *scope) error {
		return w.each(v, func(e any) error {
			node, err := w.enter(e)
			if err != nil {
				return err
			}
			defer func() { w.depth-- }()
			return w.members(node, s, in)
		})
	}
}

// modifier takes ORDER BY, LIMIT and DISTINCT.
func modifier(w *walker, v any, in *scope) error {
	if v == nil {
		return nil
	}
	node, err := w.enter(v)
	if err != nil {
		return err
	}
	defer func() { w.depth-- }()
	s, ok := w.grammar.modifiers[text(node, "type")]
	if !ok {
		return w.refuse(node, "unsupported", "", "a clause of kind %q is not supported", text(node, "type"))
	}
	return w.members(node, s, in)
}

func modifiers(w *walker, v any, in *scope) error {
	return w.each(v, func(e any) error { return modifier(w, e, in) })
}

// join gives a shape with the members of both.
func join(base, more shape) shape {
	out := shape{}
	for _, s := range []shape{base, more} {
		for name, check := range s {
			out[name] = check
		}
	}
	return out
}

var (
	orders     = listOf(shape{"type": plain, "null_order": plain, "expression": expr})
	caseChecks = listOf(shape{"when_expr": expr, "then_expr": expr})
	replaced   = listOf(shape{"key": literal, "value": expr})
	renamed    = listOf(shape{"key": literal, "value": plain})
	anyQuery   = shape{"type": plain, "modifiers": modifiers, "cte_map": nil}
	anyRef     = shape{"type": plain, "alias": plain, "sample": literal, "query_location": plain}
	anyExpr    = shape{"class": plain, "type": plain, "alias": plain, "query_location": plain}
)

// theGrammar is constant.
var theGrammar = grammar{
	queries: map[string]shape{
		"SELECT_NODE": join(anyQuery, shape{"select_list": nil, "from_table": nil, "where_clause": expr, "group_expressions": exprs,
			"group_sets": plain, "aggregate_handling": plain, "having": expr, "sample": literal, "qualify": expr}),
		"SET_OPERATION_NODE": join(anyQuery, shape{"setop_type": plain, "setop_all": plain, "left": query, "right": query, "children": queriesOf}),
		"RECURSIVE_CTE_NODE": join(anyQuery, shape{"cte_name": plain, "union_all": plain, "left": nil, "right": query, "aliases": plain, "key_targets": exprs}),
	},
	refs: map[string]shape{
		"EMPTY":           anyRef,
		"BASE_TABLE":      join(anyRef, shape{"catalog_name": plain, "schema_name": plain, "table_name": plain, "column_name_alias": plain, "at_clause": nil}),
		"EXPRESSION_LIST": join(anyRef, shape{"expected_names": plain, "values": rows}),
		"JOIN": join(anyRef, shape{"left": ref, "right": ref, "condition": expr, "join_type": plain, "ref_type": plain, "using_columns": plain,
			"delim_flipped": plain, "duplicate_eliminated_columns": exprs}),
		"SHOW_REF": join(anyRef, shape{"catalog_name": plain, "schema_name": plain, "table_name": plain, "show_type": plain, "query": query}),
		"SUBQUERY": join(anyRef, shape{"subquery": (*walker).statement, "column_name_alias": plain}),
		"PIVOT": join(anyRef, shape{"source": ref, "aggregates": exprs, "unpivot_names": plain, "pivots": listOf(shape{"pivot_expressions": exprs,
			"unpivot_names": plain, "entries": listOf(shape{"values": literal, "alias": plain, "star_expr": expr})}), "groups": plain, "column_name_alias": plain, "include_nulls": plain}),
		"TABLE_FUNCTION": join(anyRef, shape{"function": nil, "column_name_alias": plain, "with_ordinality": plain}),
	},
	modifiers: map[string]shape{
		"ORDER_MODIFIER":         {"type": plain, "orders": orders},
		"LIMIT_MODIFIER":         {"type": plain, "limit": expr, "offset": expr},
		"LIMIT_PERCENT_MODIFIER": {"type": plain, "limit": expr, "offset": expr},
		"DISTINCT_MODIFIER":      {"type": plain, "distinct_on_targets": exprs},
	},
	exprs: map[string]struct {
		kinds map[string]bool
		shape shape
	}{
		"COLUMN_REF":           {nil, join(anyExpr, shape{"column_names": plain})},
		"CONSTANT":             {nil, join(anyExpr, shape{"value": literal})},
		"POSITIONAL_REFERENCE": {nil, join(anyExpr, shape{"index": plain})},
		"COMPARISON":           {nil, join(anyExpr, shape{"left": expr, "right": expr})},
		"CONJUNCTION":          {nil, join(anyExpr, shape{"children": exprs})},
		"BETWEEN":              {nil, join(anyExpr, shape{"input": expr, "lower": expr, "upper": expr})},
		"CASE":                 {nil, join(anyExpr, shape{"case_checks": caseChecks, "else_expr": expr})},
		"CAST":                 {nil, join(anyExpr, shape{"child": expr, "cast_type": (*walker).sqlType, "try_cast": plain})},
		"COLLATE":              {nil, join(anyExpr, shape{"child": expr, "collation": plain})},
		"LAMBDA":               {nil, join(anyExpr, shape{"lhs": expr, "expr": expr, "syntax_type": plain})},
		"SUBQUERY":             {nil, join(anyExpr, shape{"subquery_type": plain, "subquery": (*walker).statement, "child": expr, "comparison_type": plain})},
		"STAR": {nil, join(anyExpr, shape{"relation_name": plain, "exclude_list": plain, "qualified_exclude_list": literal, "replace_list": replaced,
			"rename_list": renamed, "columns": plain, "expr": expr})},
		"OPERATOR": {set("OPERATOR_NOT OPERATOR_IS_NULL OPERATOR_IS_NOT_NULL OPERATOR_COALESCE OPERATOR_NULLIF OPERATOR_TRY OPERATOR_UNPACK " +
			"COMPARE_IN COMPARE_NOT_IN ARRAY_EXTRACT ARRAY_SLICE ARRAY_CONSTRUCTOR STRUCT_EXTRACT GROUPING_FUNCTION"),
			join(anyExpr, shape{"children": exprs})},
		"FUNCTION": {nil, join(anyExpr, shape{"function_name": plain, "schema": plain, "catalog": plain, "children": exprs, "filter": expr,
			"order_bys": modifier, "distinct": plain, "is_operator": plain})},
		"WINDOW": {nil, join(anyExpr, shape{"function_name": plain, "schema": plain, "catalog": plain, "children": exprs, "partitions": exprs,
			"orders": orders, "start": plain, "end": plain, "start_expr": expr, "end_expr": expr, "offset_expr": expr, "default_expr": expr,
			"ignore_nulls": plain, "filter_expr": expr, "exclude_clause": plain, "distinct": plain, "arg_orders": orders})},
	},
}

func queriesOf(w *walker, v any, in *scope) error {
	return w.each(v, func(e any) error { return w.query(e, in) })
}

func set(words string) map[string]bool {
	out := map[string]bool{}
	for _, word := range strings.Fields(words) {
		out[word] = true
	}
	return out
}

// types are those that a cast may name; parts of nested ones are checked alike.
var types = set("BOOLEAN TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT FLOAT DOUBLE DECIMAL " +
	"VARCHAR BLOB DATE TIME TIMESTAMP TIMESTAMP_S TIMESTAMP_MS TIMESTAMP_NS INTERVAL UUID LIST STRUCT MAP ARRAY NULL SQLNULL UNBOUND BIT ENUM")

// maxArray bounds fixed-size arrays: each of 2,048 rows of a vector takes it whole.
const maxArray = 1024

// sqlType takes the type of a cast.
func (w *walker) sqlType(v any, in *scope) error {
	node, err := w.enter(v)
	if err != nil {
		return err
	}
	defer func() { w.depth-- }()
	id := text(node, "id")
	if !types[id] && id != "TIMESTAMP WITH TIME ZONE" && id != "TIME WITH TIME ZONE" {
		return &Refusal{Code: "unsupported", Message: "the type " + id + " is not supported"}
	}
	info, ok := node["type_info"].(map[string]any)
	if !ok {
		return nil
	}
	if alias := text(info, "alias"); alias != "" && alias != "JSON" { // GEOMETRY is a BLOB under another name
		return &Refusal{Code: "unsupported", Message: "the type " + alias + " is not supported"}
	}
	name := strings.ToLower(text(info, "name"))
	if id == "UNBOUND" && (name != "json" && name != "enum" || text(info, "schema") != "" || text(info, "catalog") != "") {
		return &Refusal{Code: "unsupported", Message: "the type " + text(info, "name") + " is not known"}
	}
	if size, ok := integer(info["size"]); ok {
		if w.arrays += int(min(size, maxArrays+1)); size > maxArray || w.arrays > maxArrays {
			return &Refusal{Code: "too_large", Message: "the array types are too long", Hint: "use a list"}
		}
		if child, _ := info["child_type"].(map[string]any); text(child, "id") == "ARRAY" && size > 16 {
			return &Refusal{Code: "too_large", Message: "the array type is too long", Hint: "use a list"}
		}
	}
	if child, ok := info["child_type"]; ok {
		if err := w.sqlType(child, in); err != nil {
			return err
		}
	}
	return w.each(info["child_types"], func(v any) error {
		field, err := w.enter(v)
		if err != nil {
			return err
		}
		defer func() { w.depth-- }()
		return w.sqlType(field["second"], in)
	})
}
