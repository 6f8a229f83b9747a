package duckdb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Ident quotes a name for SQL.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal quotes a string for SQL.
func Literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Parse parses SELECT statements with DuckDB's own parser and gives the tree
// that json_serialize_sql makes, whole: numbers as json.Number, and no member
// left out because it is empty. Nothing is bound or run. Statements takes
// it apart. What cannot be parsed is a *ParseError; statements other than SELECT,
// and PIVOT, cannot.
func (c *Conn) Parse(ctx context.Context, sql string) (map[string]any, error) {
	return parse(sql, func() (*Relation, error) { return c.Collect(ctx, parseSQL, sql) })
}

// parse reads the tree that run makes of a text.
func parse(sql string, run func() (*Relation, error)) (map[string]any, error) {
	if err := checkText(sql); err != nil {
		return nil, &ParseError{Message: err.(*Error).Message, Position: -1}
	}
	r, err := run()
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	d := json.NewDecoder(strings.NewReader(r.Value(0, 0).(string)))
	d.UseNumber()
	var tree map[string]any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("parse: decode the tree: %w", err)
	}
	if failed, _ := tree["error"].(bool); failed {
		return nil, parseError(tree)
	}
	return tree, nil
}

// parseError reads the tree of a failed parse.
func parseError(tree map[string]any) *ParseError {
	e := &ParseError{Position: -1}
	e.Message, _ = tree["error_message"].(string)
	if at, ok := tree["position"].(string); ok {
		if n, err := strconv.Atoi(at); err == nil {
			e.Position = n
		}
	}
	return e
}

// Statements gives the statements of a tree of Parse, in order.
func Statements(tree map[string]any) []any {
	list, _ := tree["statements"].([]any)
	return list
}

// Print writes a tree of Parse as SQL.
func (c *Conn) Print(ctx context.Context, tree map[string]any) (string, error) {
	return print(tree, func(text string) (*Relation, error) { return c.Collect(ctx, printSQL, text) })
}

// print reads the SQL that run makes of a tree as JSON.
func print(tree map[string]any, run func(text string) (*Relation, error)) (string, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(tree); err != nil {
		return "", fmt.Errorf("print: %w", err)
	}
	r, err := run(text.String())
	if err != nil {
		return "", fmt.Errorf("print: %w", err)
	}
	sql, ok := r.Value(0, 0).(string)
	if !ok {
		return "", errors.New("print: the tree gives no statement")
	}
	return sql, nil
}

// A DescribedColumn is a column of a query's result.
type DescribedColumn struct {
	Name string
	// SQLType is the type as DuckDB prints it; ParseType reads it.
	SQLType string
}

// Describe gives the columns of one SELECT without running it.
func (c *Conn) Describe(ctx context.Context, query string) ([]DescribedColumn, error) {
	// Prepared by itself first: errors then point into the query as it was
	// given, and nothing but one SELECT reaches DESCRIBE.
	s, err := c.Prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	kind := mapping.PreparedStatementType(s.prepared)
	s.Close()
	if kind != mapping.StatementTypeSelect {
		return nil, errors.New("only a SELECT can be described")
	}
	r, err := c.Collect(ctx, "DESCRIBE\n"+query)
	if err != nil {
		return nil, err
	}
	columns := make([]DescribedColumn, r.Len())
	for i := range columns {
		columns[i] = DescribedColumn{Name: r.Value(i, 0).(string), SQLType: r.Value(i, 1).(string)}
	}
	return columns, nil
}

// Columns gives the columns of one statement's result without running it. It costs
// half of what Describe does, and says of a nested type no more than STRUCT, MAP,
// LIST or UNION.
func (c *Conn) Columns(ctx context.Context, query string) ([]DescribedColumn, error) {
	s, err := c.Prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Columns(), nil
}

// Columns gives the columns of the statement's result, as Conn.Columns does.
func (s *Stmt) Columns() []DescribedColumn {
	columns := make([]DescribedColumn, mapping.PreparedStatementColumnCount(s.prepared))
	for i := range columns {
		at := mapping.IdxT(i)
		l := mapping.PreparedStatementColumnLogicalType(s.prepared, at)
		t, ok := kindOf(l)
		id := mapping.GetTypeId(l)
		mapping.DestroyLogicalType(&l)
		columns[i] = DescribedColumn{Name: mapping.PreparedStatementColumnName(s.prepared, at), SQLType: t.String()}
		if !ok {
			columns[i].SQLType = typeNames[id]
		}
	}
	return columns
}
