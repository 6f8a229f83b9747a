package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving"
)

// translate writes a statement over pg_catalog in the engine's words: first those
// tokens that its parser does not know, then the tree.
func (c *Catalog) translate(ctx context.Context, p piece) (string, error) {
	conn, err := c.db.Connect()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	tree, err := conn.Parse(ctx, plainTokens(p))
	var parse *duckdb.ParseError
	if errors.As(err, &parse) {
		return "", &serving.Refusal{Code: refusalOf(parse.Message), Message: parse.Message}
	}
	if err != nil {
		return "", err
	}
	t := &translator{catalog: c, tables: map[string]string{}}
	if t.one, err = conn.Parse(ctx, "SELECT * FROM (SELECT 1 AS x) AS x"); err != nil {
		return "", err
	}
	t.learn(tree)
	t.walk(tree)
	for _, s := range duckdb.Statements(tree) {
		if statement, ok := s.(map[string]any); ok {
			nameOutputs(statement["node"], true)
		}
	}
	t.rename()
	return conn.Print(ctx, tree)
}

func refusalOf(message string) string {
	if strings.Contains(message, "Only SELECT") {
		return "only_select"
	}
	return "syntax"
}

// plainTokens drops pg_catalog in front of names, where the engine's parser takes no
// schema; it unwraps OPERATOR(pg_catalog.~), and drops COLLATE, which changes no
// answer here.
func plainTokens(p piece) string {
	var sb strings.Builder
	last := 0
	skip := func(from, through int) {
		sb.WriteString(p.sql[last:p.words[from].at] + " ")
		last = p.words[through].at + len(p.words[through].text)
	}
	for i := 0; i < len(p.words); i++ {
		w := p.words[i]
		switch {
		case w.is("collate"):
			end := i + 1
			for p.word(end + 1).is(".") {
				end += 2
			}
			if end < len(p.words) {
				skip(i, end)
				i = end
			}
		case w.is("select") && p.word(i+1).is("from"): // no columns: EXISTS (SELECT FROM …)
			skip(i, i)
			sb.WriteString("SELECT 1 ")
		case w.is("operator") && p.word(i+1).is("("):
			end := i + 2
			for end < len(p.words) && !p.words[end].is(")") {
				end++
			}
			if end >= len(p.words) {
				continue
			}
			at := i + 2
			for p.word(at + 1).is(".") {
				at += 2
			}
			operator := p.sql[p.words[at].at:p.words[end].at]
			skip(i, end)
			sb.WriteString(operator + " ")
			i = end
		case w.name() == "pg_catalog" && p.word(i+1).is("."):
			skip(i, i+1)
			i++
		}
	}
	return sb.String() + p.sql[last:]
}

// A translator changes a tree in place.
type translator struct {
	catalog *Catalog
	// calls are the functions that become macros; they are renamed last, because
	// columns are named after them.
	calls []map[string]any
	// one is the tree of a table that is an expression.
	one map[string]any
	// tables are those that the statement reads, by the name under which it does.
	tables map[string]string
}

// learn notes the tables.
func (t *translator) learn(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			t.learn(e)
		}
	case map[string]any:
		if str(v, "type") == "BASE_TABLE" {
			table := strings.ToLower(str(v, "table_name"))
			t.tables[strings.ToLower(firstOf(str(v, "alias"), table))] = table
		}
		for _, e := range v {
			t.learn(e)
		}
	}
}

func (t *translator) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			t.walk(e)
		}
	case map[string]any:
		for _, e := range v {
			t.walk(e)
		}
		t.node(v)
	}
}

func (t *translator) rename() {
	for _, call := range t.calls {
		call["function_name"], call["schema"] = "tw_"+strings.ToLower(str(call, "function_name")), ""
	}
}

func str(node map[string]any, member string) string {
	s, _ := node[member].(string)
	return s
}

// node changes one node; those below it are done.
func (t *translator) node(n map[string]any) {
	switch str(n, "class") {
	case "FUNCTION":
		t.function(n)
	case "CAST":
		t.cast(n)
	case "COLUMN_REF":
		t.column(n)
	case "SUBQUERY":
		anyOf(n)
	}
	if str(n, "type") == "TABLE_FUNCTION" {
		t.tableFunction(n)
	}
}

// anyOf makes x = ANY(list) a call, which the engine can join by: its parser reads
// it as a subquery over unnest(list).
func anyOf(n map[string]any) {
	statement, _ := n["subquery"].(map[string]any)
	node, _ := statement["node"].(map[string]any)
	from, _ := node["from_table"].(map[string]any)
	list, _ := node["select_list"].([]any)
	if str(n, "subquery_type") != "ANY" || str(n, "comparison_type") != "COMPARE_EQUAL" || str(from, "type") != "EMPTY" || len(list) != 1 {
		return
	}
	of, _ := list[0].(map[string]any)
	if args, _ := of["children"].([]any); str(of, "function_name") == "unnest" && len(args) == 1 {
		replace(n, call("list_contains", args[0], n["child"]))
	}
}

// column changes a name that is a function, and those of the columns that every
// table of Postgres has unseen.
func (t *translator) column(n map[string]any) {
	list, _ := n["column_names"].([]any)
	names := make([]string, len(list))
	for i := range list {
		name, _ := list[i].(string)
		names[i] = strings.ToLower(name)
	}
	last := names[len(names)-1]
	switch {
	case len(names) == 1 && sessionWords[last]:
		replace(n, call(last))
		t.calls = append(t.calls, n)
	case last == "tableoid" && len(names) == 2 && t.tables[names[0]] != "":
		replace(n, call("to_regclass", constant(t.tables[names[0]])))
		t.calls = append(t.calls, n)
	case last == "xmin" && (len(names) == 1 || t.tables[names[0]] != ""):
		replace(n, constant("1"))
	}
}

// call makes a call of a function.
func call(name string, args ...any) map[string]any {
	return map[string]any{
		"class": "FUNCTION", "type": "FUNCTION", "alias": "", "function_name": name, "schema": "", "catalog": "", "children": append([]any{}, args...),
		"filter": nil, "order_bys": map[string]any{"type": "ORDER_MODIFIER", "orders": []any{}}, "distinct": false, "is_operator": false, "export_state": false,
	}
}

func (t *translator) function(n map[string]any) {
	name := strings.ToLower(str(n, "function_name"))
	args, _ := n["children"].([]any)
	if to, ok := otherNames[name]; ok {
		n["function_name"] = to
		return
	}
	switch name {
	case "regexp_full_match": // how the engine's parser reads ~, which finds the pattern anywhere
		n["function_name"] = "regexp_matches"
		return
	case "~*", "!~*":
		found := call("regexp_matches", append(args, constant("i"))...)
		if name == "~*" {
			replace(n, found)
			return
		}
		replace(n, map[string]any{"class": "OPERATOR", "type": "OPERATOR_NOT", "alias": "", "children": []any{found}})
		return
	case "unnest":
		if len(args) == 1 {
			if literal, ok := arrayConstant(args[0]); ok {
				args[0] = listCast(literal)
			}
		}
	}
	if t.catalog.macros[name] && str(n, "catalog") == "" {
		t.calls = append(t.calls, n)
	}
	if str(n, "schema") == "information_schema" {
		n["schema"] = ""
	}
}

// otherNames are functions that the engine has under another name.
var otherNames = map[string]string{
	"json_build_object": "json_object", "jsonb_build_object": "json_object", "json_build_array": "json_array", "jsonb_build_array": "json_array",
	"json_agg": "json_group_array", "jsonb_agg": "json_group_array", "json_object_agg": "json_group_object", "to_jsonb": "to_json",
}

// constant makes a text.
func constant(text string) map[string]any {
	return map[string]any{"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "value": map[string]any{"type": map[string]any{"id": "VARCHAR", "type_info": nil}, "is_null": false, "value": text}}
}

// replace puts another expression in the place of a node, which keeps its name.
func replace(n, with map[string]any) {
	alias, at := n["alias"], n["query_location"]
	clear(n)
	for k, v := range with {
		n[k] = v
	}
	if s, _ := alias.(string); s != "" {
		n["alias"] = s
	}
	if at != nil {
		n["query_location"] = at
	}
}

// tableFunction makes a table of a function in FROM that the catalogue has as one.
func (t *translator) tableFunction(n map[string]any) {
	f, _ := n["function"].(map[string]any)
	name := strings.ToLower(str(f, "function_name"))
	if t.catalog.relations[name] != nil {
		delete(n, "function")
		delete(n, "with_ordinality")
		n["type"], n["schema_name"], n["table_name"], n["catalog_name"], n["at_clause"] = "BASE_TABLE", "", name, "", nil
		return
	}
	if name != "generate_series" && name != "unnest" && name != "range" {
		t.single(n, f)
		return
	}
	if name == "generate_series" {
		f["function_name"] = "series"
		list := map[string]any{}
		for k, v := range f {
			list[k] = v
		}
		t.calls = append(t.calls, list)
		n["function"] = call("unnest", list)
		aliases, _ := n["column_name_alias"].([]any)
		if alias := str(n, "alias"); len(aliases) == 0 {
			n["column_name_alias"] = []any{firstOf(alias, "generate_series")}
		}
	}
}

// single makes a table of one row of a call that gives one value.
func (t *translator) single(n, f map[string]any) {
	if t.catalog.macros[strings.ToLower(str(f, "function_name"))] {
		t.calls = append(t.calls, f)
	}
	from := duckdb.Statements(copyTree(t.one).(map[string]any))[0].(map[string]any)["node"].(map[string]any)["from_table"].(map[string]any)
	alias := firstOf(str(n, "alias"), str(f, "function_name"))
	name := alias
	if names, _ := n["column_name_alias"].([]any); len(names) > 0 {
		name, _ = names[0].(string)
	}
	f["alias"] = name
	from["subquery"].(map[string]any)["node"].(map[string]any)["select_list"] = []any{f}
	from["alias"] = alias
	clear(n)
	for k, v := range from {
		n[k] = v
	}
}

func copyTree(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = copyTree(e)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = copyTree(e)
		}
		return out
	}
	return v
}

// arrayConstant reads '{a,b}'.
func arrayConstant(v any) (string, bool) {
	n, _ := v.(map[string]any)
	value, _ := n["value"].(map[string]any)
	text, _ := value["value"].(string)
	if str(n, "class") != "CONSTANT" || !strings.HasPrefix(text, "{") {
		return "", false
	}
	list, err := arrayLiteral(text)
	return list, err == nil
}

func listCast(literal string) map[string]any {
	varchar := map[string]any{"id": "VARCHAR", "type_info": nil}
	list := map[string]any{"id": "LIST", "type_info": map[string]any{"type": "LIST_TYPE_INFO", "alias": "", "extension_info": nil, "child_type": varchar}}
	return map[string]any{"class": "CAST", "type": "OPERATOR_CAST", "alias": "", "child": constant(literal), "cast_type": list, "try_cast": false}
}

// objectTypes are the types whose values are numbers that show as names.
var objectTypes = map[string]string{"regclass": "regclass", "regtype": "regtype", "regproc": "regproc", "regprocedure": "regproc", "regnamespace": "regnamespace", "regrole": "regrole", "regoper": "regproc", "regoperator": "regproc"}

// cast changes a cast to a type that the engine does not have.
func (t *translator) cast(n map[string]any) {
	typ, _ := n["cast_type"].(map[string]any)
	name := unboundName(typ)
	child, _ := n["child"].(map[string]any)
	if kind := objectTypes[name]; kind != "" {
		to := kind + "_text"
		if isLiteral(child) || !t.catalog.macros[to] {
			to = "to_" + kind
		}
		f := call(to, child)
		replace(n, f)
		t.calls = append(t.calls, n)
		return
	}
	if name == "int2vector" || name == "oidvector" || name == "anyarray" {
		replace(n, child)
		return
	}
	// The engine reads oid as BIGINT.
	if object, ok := strings.CutSuffix(str(child, "function_name"), "_text"); ok && objectTypes[object] != "" && (name == "oid" || strings.HasSuffix(str(typ, "id"), "INT")) {
		child["function_name"] = "to_" + object
	}
	if str(typ, "id") == "LIST" {
		if literal, ok := arrayConstant(child); ok {
			n["child"] = constant(literal)
		}
	}
	plainType(typ)
}

func unboundName(typ map[string]any) string {
	if str(typ, "id") != "UNBOUND" {
		return ""
	}
	info, _ := typ["type_info"].(map[string]any)
	return strings.ToLower(str(info, "name"))
}

func isLiteral(n map[string]any) bool {
	switch str(n, "class") {
	case "CONSTANT", "PARAMETER":
		return true
	case "CAST":
		child, _ := n["child"].(map[string]any)
		return isLiteral(child)
	}
	return false
}

// plainTypes are the engine's names of Postgres' types.
var plainTypes = map[string]string{
	"oid": "UINTEGER", "xid": "UINTEGER", "cid": "UINTEGER", "name": "VARCHAR", "char": "VARCHAR", "bpchar": "VARCHAR", "cstring": "VARCHAR", "aclitem": "VARCHAR", "pg_node_tree": "VARCHAR",
	"information_schema.sql_identifier": "VARCHAR", "sql_identifier": "VARCHAR", "character_data": "VARCHAR", "yes_or_no": "VARCHAR", "cardinal_number": "INTEGER", "inet": "VARCHAR", "jsonb": "JSON", "xml": "VARCHAR",
	"timestamp with time zone": "TIMESTAMP WITH TIME ZONE", "timestamp": "TIMESTAMP", "citext": "VARCHAR", "unknown": "VARCHAR",
}

func plainType(typ map[string]any) {
	info, _ := typ["type_info"].(map[string]any)
	if child, ok := info["child_type"].(map[string]any); ok {
		plainType(child)
		return
	}
	if to, ok := plainTypes[unboundName(typ)]; ok && to != "JSON" {
		typ["id"], typ["type_info"] = to, nil
	}
}
