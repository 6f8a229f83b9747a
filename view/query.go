package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// Names that the rewritten trees use. Column references are always
// ["_e", column]; the window's bounds are references of one part.
const (
	relEvents = "_e"
	refStart  = "_window_start"
	refEnd    = "_window_end"
)

// A query is a definition with every name resolved: no aliases, positions or
// window calls are left in its expressions.
type query struct {
	def    Definition
	schema *event.Schema
	alias  string // by which the definition calls the stream

	items []item
	where node // nil if there is none
	keys  []node
	// joins are the reference tables in FROM. Of what reads the stream, kept is what
	// partial rows are grouped by: the keys, and what the joins need. late is the part
	// of WHERE that reads the tables, and unkept why they are not joined after the merge.
	joins   []*join
	kept    []node
	late    []node
	unkept  *Error
	window  *Window
	having  node
	qualify node
	order   []ordering
	limit   node
	offset  node
	cap     int // how many elements a list may have
}

// An item is one output column.
type item struct {
	name string
	expr node
}

// An ordering is one member of ORDER BY.
type ordering struct {
	expr             node
	direction, nulls string // as SQL writes them; may be empty
}

// grouped reports whether an empty input gives no rows, rather than one.
func (q *query) grouped() bool { return q.window != nil || len(q.keys) > 0 }

// fail makes the error for the place at which n stands.
func (q *query) fail(n node, hint, format string, args ...any) *Error {
	offset := -1
	walk(n, func(m node) bool {
		loc, ok := m["query_location"].(json.Number)
		// DuckDB writes 2^64-1 for what has no place of its own: what is in it
		// then says where it stands.
		if v, err := strconv.ParseInt(loc.String(), 10, 64); ok && err == nil && offset < 0 {
			offset = int(v)
		}
		return offset < 0
	})
	return q.def.errorAt(offset, hint, fmt.Sprintf(format, args...))
}

// errorAt makes an error for a byte offset of the definition's text; -1 means
// its beginning.
func (d Definition) errorAt(offset int, hint, message string) *Error {
	e := &Error{File: d.File, Line: max(d.Line, 1), Column: 1, Message: refMark.ReplaceAllString(message, ""), Hint: hint}
	if offset < 0 || offset > len(d.SQL) {
		// The definition begins after its comments.
		offset = len(d.SQL) - len(afterComments(d.SQL))
	}
	before := d.SQL[:offset]
	e.Line += strings.Count(before, "\n")
	e.Column = utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1
	return e
}

func afterComments(sql string) string {
	for {
		sql = strings.TrimLeft(sql, " \t\r\n")
		if !strings.HasPrefix(sql, "--") {
			return sql
		}
		_, sql, _ = strings.Cut(sql, "\n")
	}
}

// parseDefinition parses the text to the one SELECT node that it must be.
func (s session) parseDefinition(def Definition) (node, error) {
	tree, err := s.conn.Parse(s.ctx, def.SQL)
	if err != nil {
		var pe *duckdb.ParseError
		if !errors.As(err, &pe) {
			return nil, err
		}
		if strings.Contains(pe.Message, "Only SELECT") {
			return nil, def.errorAt(-1, "a view is one SELECT; PIVOT can be written with FILTER", "this is no SELECT")
		}
		return nil, def.errorAt(byteOffset(def.SQL, pe.Position), "", pe.Message)
	}
	statements := duckdb.Statements(tree)
	if len(statements) != 1 {
		return nil, def.errorAt(-1, "put each view into a file of its own", fmt.Sprintf("%d statements where one SELECT is wanted", len(statements)))
	}
	root := sub(statements[0].(node), "node")
	switch text(root, "type") {
	case "SELECT_NODE":
	case "SET_OPERATION_NODE":
		return nil, def.errorAt(-1, "write one view for each side and combine them in a query", "a view cannot be a UNION, INTERSECT or EXCEPT")
	default:
		return nil, def.errorAt(-1, "a view is one SELECT", "this is no plain SELECT")
	}
	return root, s.keepDoubles(root)
}

// keepDoubles casts the DOUBLE constants of a fresh SELECT: the engine prints 1e3
// as 1000.0, which it reads back as a DECIMAL. Columns that took their names from
// such an expression keep them.
func (s session) keepDoubles(root node) error {
	for _, item := range list(root, "select_list") {
		item := item.(node)
		if text(item, "alias") != "" || !hasDouble(item) {
			continue
		}
		name, err := s.print(item)
		if err != nil {
			return err
		}
		item["alias"] = name
	}
	castDoubles(root)
	return nil
}

// byteOffset turns a position in characters into one in bytes.
func byteOffset(s string, chars int) int {
	if chars < 0 {
		return -1
	}
	for i := range s {
		if chars == 0 {
			return i
		}
		chars--
	}
	return len(s)
}

// normalise resolves the definition's tree against the streams.
func (s session) normalise(def Definition, root node, schemas map[string]*event.Schema) (*query, error) {
	q := &query{def: def}
	if err := q.refuseClauses(root); err != nil {
		return nil, err
	}
	if err := q.resolveFrom(sub(root, "from_table"), schemas); err != nil {
		return nil, err
	}
	r := &resolver{session: s, q: q, root: root}
	if err := r.run(); err != nil {
		return nil, err
	}
	if err := q.validate(); err != nil {
		return nil, err
	}
	if err := s.reportCaps(q); err != nil {
		return nil, err
	}
	q.placeJoins()
	return q, nil
}

// refuseClauses refuses what no view can have, whatever the stream is.
func (q *query) refuseClauses(root node) error {
	if ctes := list(sub(root, "cte_map"), "map"); len(ctes) > 0 {
		return q.def.errorAt(-1, "write the expressions out, or make the inner part a view and query it", "a view cannot have WITH")
	}
	if sets := list(root, "group_sets"); len(sets) > 1 {
		n := node{}
		if exprs := list(root, "group_expressions"); len(exprs) > 0 {
			n = exprs[0].(node)
		}
		return q.fail(n, "write one view for each set of keys", "a view has one set of keys, not GROUPING SETS, ROLLUP or CUBE")
	}
	if root["sample"] != nil {
		return q.def.errorAt(-1, "filter on a hash of a key instead", "a view cannot sample: both layers must count the same rows")
	}
	for _, m := range list(root, "modifiers") {
		switch text(m.(node), "type") {
		case "ORDER_MODIFIER", "LIMIT_MODIFIER":
		case "DISTINCT_MODIFIER":
			if targets := list(m.(node), "distinct_on_targets"); len(targets) > 0 {
				return q.fail(targets[0].(node), "use QUALIFY row_number() OVER (PARTITION BY … ORDER BY …) = 1", "a view cannot have DISTINCT ON")
			}
			return q.def.errorAt(-1, "GROUP BY the columns instead", "a view cannot have SELECT DISTINCT")
		case "LIMIT_PERCENT_MODIFIER":
			return q.fail(sub(m.(node), "limit"), "give a number of rows", "a view cannot have LIMIT with a percentage")
		default:
			return q.def.errorAt(-1, "", "a view cannot have this clause: "+text(m.(node), "type"))
		}
	}
	return nil
}

func (q *query) resolveFrom(from node, schemas map[string]*event.Schema) error {
	if text(from, "type") == "JOIN" {
		found, err := q.resolveJoins(from, schemas)
		if found || err != nil {
			return err
		}
	}
	return q.resolveStream(from, schemas)
}

func (q *query) resolveStream(from node, schemas map[string]*event.Schema) error {
	switch text(from, "type") {
	case "BASE_TABLE":
	case "JOIN":
		return q.fail(from, "join in a query over the view, or send the attribute with the event", "a view reads one stream: joins are not maintained incrementally")
	case "EMPTY", "":
		return q.def.errorAt(-1, "add FROM <stream>", "a view reads a stream")
	case "SUBQUERY":
		return q.fail(from, "read the stream directly and put conditions into WHERE", "a view cannot read a subquery")
	case "TABLE_FUNCTION":
		return q.fail(from, "name a stream", "a view cannot read a table function")
	default:
		return q.fail(from, "name a stream", "a view reads one stream")
	}
	if from["sample"] != nil {
		return q.fail(from, "filter on a hash of a key instead", "a view cannot sample: both layers must count the same rows")
	}
	if len(list(from, "column_name_alias")) > 0 {
		return q.fail(from, "rename columns in the SELECT list", "a view cannot rename the stream's columns in FROM")
	}
	name := text(from, "table_name")
	if text(from, "schema_name") != "" || text(from, "catalog_name") != "" {
		return q.fail(from, "write the stream's name alone", "streams have no schema or catalog")
	}
	for known, schema := range schemas {
		if strings.EqualFold(known, name) {
			q.schema = schema
		}
	}
	if q.schema == nil {
		return q.fail(from, oneOf("the streams are", schemas), "no stream is named %s", name)
	}
	if q.alias = text(from, "alias"); q.alias == "" {
		q.alias = name
	}
	return nil
}

// interval lets the engine evaluate a constant interval.
func (r *resolver) interval(n node) (time.Duration, error) {
	// INTERVAL 5 MINUTES is parsed as to_minutes(CAST(trunc(5) AS BIGINT)).
	if contains(n, func(m node) bool {
		name := function(m)
		calls := name != "" && name != "trunc" && !strings.HasPrefix(name, "to_") && !isSet(m, "is_operator")
		return calls || members[class(m)] == nil && class(m) != "CONSTANT"
	}) {
		return 0, r.q.fail(n, "write INTERVAL '1 hour'", "the lengths of a window are constants")
	}
	sql, err := r.print(n)
	if err != nil {
		return 0, err
	}
	rel, err := r.conn.Collect(r.ctx, "SELECT datepart('year', i) * 12 + datepart('month', i), epoch_us(i) FROM (SELECT CAST("+sql+" AS INTERVAL) AS i)")
	if err != nil || rel.Len() != 1 || rel.Value(0, 0) == nil {
		return 0, r.q.fail(n, "write INTERVAL '1 hour'", "this is no interval")
	}
	if months := rel.Value(0, 0).(int64); months != 0 {
		return 0, r.q.fail(n, "give it in days, or write tumble(…, 'month') for months of the calendar", "months and years have no fixed length")
	}
	us := rel.Value(0, 1).(int64)
	if us > maxWindowUS || us < -maxWindowUS {
		return 0, r.q.fail(n, "", "this interval is longer than a hundred years")
	}
	return time.Duration(us) * time.Microsecond, nil
}

const maxWindowUS = int64(36525 * 24 * time.Hour / time.Microsecond)
