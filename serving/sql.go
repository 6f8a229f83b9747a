package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/warehouse"
)

// SQL answers with the rows of a statement over streams, dead letters and views.
//
// A statement that was asked before does not pass the Gate again.
func (c *Core) SQL(ctx context.Context, r SQLRequest) (*Answer, error) {
	if err := c.mayWait(ctx, r.After, r.At); err != nil {
		return nil, err
	}
	if r.After != nil {
		if err := c.wait(ctx, *r.After); err != nil {
			return nil, err
		}
		r.After = nil
	}
	key, err := json.Marshal([]any{c.Redefined(), r.SQL, r.Parameters, r.At, c.Tables(ctx)})
	if err != nil {
		return nil, err
	}
	question := "sql " + string(key)
	if streams, known := c.shared.reads(question); known {
		return c.ask(ctx, question, streams, r.At, func() (*Answer, error) {
			st := c.shared.statement(question)
			if st == nil {
				if st, err = c.gate.Admit(ctx, r.SQL, r.Parameters...); err != nil {
					return nil, err
				}
			}
			defer c.shared.putBack(question, st)
			return c.statement(ctx, st, r)
		})
	}
	st, err := c.gate.Admit(ctx, r.SQL, r.Parameters...)
	if err != nil {
		return nil, err
	}
	compute := func() (*Answer, error) {
		defer c.shared.putBack(question, st)
		return c.statement(ctx, st, r)
	}
	if st.volatile || st.explain != explainNothing {
		a, err := compute()
		return c.scopedAnswer(ctx, a), err
	}
	return c.ask(ctx, question, c.streamsOf(st.Tables), r.At, compute)
}

// streamsOf gives the streams that tables of the catalogue are made of, not nil.
func (c *Core) streamsOf(tables []string) []string {
	out := []string{}
	plans := c.definitions().Plans
	for _, s := range c.streams {
		if slices.ContainsFunc(tables, func(table string) bool {
			plan := plans[table]
			return table == s.Stream || table == event.DeadName(s.Stream) || table == errorsTableName || plan != nil && plan.Stream == s.Stream
		}) {
			out = append(out, s.Stream)
		}
	}
	return out
}

// statement computes the rows of a statement that passed the Gate.
func (c *Core) statement(ctx context.Context, st *Statement, r SQLRequest) (*Answer, error) {
	p, err := c.query(ctx, r.At)
	if err != nil {
		return nil, err
	}
	relations := map[string][]string{}
	for _, table := range st.Tables {
		within, narrowed := p.onlyNewest(st, table, st.bounds(table))
		parts, err := p.relation(ctx, table, within)
		if err != nil {
			p.close()
			return nil, err
		}
		for _, part := range parts {
			relations[table] = append(relations[table], narrowed(part))
		}
	}
	sql, err := st.Rewrite(relations)
	var prepared *duckdb.Stmt
	if err == nil {
		prepared, err = p.tx.Conn.Prepare(ctx, sql)
	}
	if err != nil {
		p.close()
		if own := c.ownError(ctx, r.SQL); own != nil {
			err = own
		}
		return nil, p.failed(ctx, err)
	}
	shown, _, err := presentable(prepared, sql)
	if err != nil {
		p.close()
		return nil, err
	}
	if st.explain != explainNothing {
		return p.explain(ctx, shown, st.explain)
	}
	var a *Answer
	if shown == sql { // planned once
		var rows *duckdb.Rows
		rows, err = prepared.Query(ctx)
		a, err = p.answered(ctx, rows, err)
	} else {
		a, err = p.run(ctx, shown)
	}
	if err == nil {
		a.Repeatable = !st.volatile
	}
	return a, err
}

// ownError gives the engine's objection to a statement as its author wrote it,
// with the place and the candidates in the author's text: it binds the statement
// over empty tables of the catalogue's names. nil if it binds there.
func (c *Core) ownError(ctx context.Context, sql string) error {
	conn, err := c.gateDB.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	macros, err := c.gate.temporaryMacros(ctx, conn)
	if err != nil {
		return err
	}
	if err := conn.Exec(ctx, c.emptyTables(ctx)+macros); err != nil {
		return err
	}
	stmt, err := conn.Prepare(ctx, sql)
	if err == nil {
		stmt.Close()
	}
	var engine *duckdb.Error
	if errors.As(err, &engine) {
		return engineRefusal(engine, sql)
	}
	return nil
}

// emptyTables makes the catalogue's tables, without rows, for one connection.
func (c *Core) emptyTables(ctx context.Context) string {
	var sb strings.Builder
	for _, name := range c.Tables(ctx) {
		var defs []string
		for _, col := range c.columnsOf(name) {
			defs = append(defs, duckdb.Ident(col.Name)+" "+col.Type.String())
		}
		if schema, _ := splitName(name); schema == "" { // a temporary table has no schema of its own
			fmt.Fprintf(&sb, "CREATE TEMP TABLE %s (%s);\n", duckdb.Ident(name), strings.Join(defs, ", "))
		}
	}
	return sb.String()
}

// columnsOf gives the columns of a table of the catalogue.
func (c *Core) columnsOf(table string) []event.Column {
	if table == errorsTableName {
		return viewErrorColumns
	}
	if table == referencesTableName {
		return referenceColumns
	}
	if plan := c.definitions().Plans[table]; plan != nil {
		return plan.Output
	}
	if r, ok := c.references[table]; ok {
		return r.Rows.Columns
	}
	for _, s := range c.streams {
		switch table {
		case s.Stream:
			return s.Relation()
		case event.DeadName(s.Stream):
			return event.DeadSchema(s.Stream).Relation()
		}
	}
	return nil
}

// presentable wraps a prepared statement so that every column has a type that answers
// can carry: nested values become JSON, others text. The columns are those of the
// wrapped statement.
func presentable(prepared *duckdb.Stmt, sql string) (string, []event.Column, error) {
	columns := prepared.Columns()
	var err error
	shown := make([]event.Column, len(columns))
	names, items, wrap := make([]string, len(columns)), make([]string, len(columns)), false
	for i, col := range columns {
		names[i] = fmt.Sprintf("c%d", i)
		items[i] = names[i] + " AS " + duckdb.Ident(col.Name)
		shown[i].Name = col.Name
		if shown[i].Type, err = duckdb.ParseType(col.SQLType); err == nil {
			continue
		}
		wrap = true
		as := presentType(col.SQLType)
		if shown[i].Type, err = duckdb.ParseType(as); err != nil {
			return "", nil, err
		}
		items[i] = "CAST(" + names[i] + " AS " + as + ") AS " + duckdb.Ident(col.Name)
	}
	if !wrap {
		return sql, shown, nil
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM (" + sql + ") AS answer(" + strings.Join(names, ", ") + ")", shown, nil
}

// shownColumns gives the columns in which a statement would be answered.
func shownColumns(ctx context.Context, conn *duckdb.Conn, sql string) ([]event.Column, error) {
	prepared, err := conn.Prepare(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer prepared.Close()
	_, columns, err := presentable(prepared, sql)
	return columns, err
}

// presentType is what a type outside event's kinds is shown as.
func presentType(sqlType string) string {
	switch {
	case sqlType == "STRUCT", sqlType == "MAP", sqlType == "LIST":
		return "JSON"
	case sqlType == "UBIGINT":
		return "HUGEINT"
	case sqlType == "UTINYINT", sqlType == "USMALLINT", sqlType == "UINTEGER":
		return "BIGINT"
	case strings.HasPrefix(sqlType, "TIMESTAMP"):
		return "TIMESTAMP"
	}
	return "VARCHAR"
}

// A Prepared is what can be said of a statement without its parameters' values.
type Prepared struct {
	// Parameters are named "1", "2", … or as the statement names them, in the order
	// of parameterNames. The type is the one that their place asks for, VARCHAR if
	// it asks for none.
	Parameters []event.Column
	// Columns are those of the rows that the statement gives.
	Columns []event.Column
}

// Prepare passes a statement through the Gate and binds it over empty tables: what
// it needs and what it gives, without running it.
func (c *Core) Prepare(ctx context.Context, sql string) (*Prepared, error) {
	st, err := c.gate.admit(ctx, sql, nil, true)
	if err != nil {
		return nil, err
	}
	conn, err := c.gateDB.Connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	relations := map[string][]string{}
	for _, table := range st.Tables {
		relations[table] = []string{warehouse.EmptySelect(c.columnsOf(table))}
	}
	printed, err := st.Rewrite(relations)
	if err != nil {
		return nil, err
	}
	out := &Prepared{}
	if len(st.parameters) > 0 {
		types, err := conn.ParameterTypes(ctx, printed)
		if err != nil {
			return nil, c.prepareError(ctx, sql, err)
		}
		nulls := map[string]any{}
		for _, name := range st.parameters {
			typ, ok := types[name]
			if !ok {
				typ = event.Type{Kind: event.Varchar}
			}
			out.Parameters = append(out.Parameters, event.Column{Name: name, Type: typ})
			if nulls[name], err = c.gate.constant(ctx, "CAST(NULL AS "+typ.String()+")"); err != nil {
				return nil, err
			}
		}
		statement := duckdb.Statements(st.tree)[0]
		if err := c.gate.name(ctx, parameterOutputs(statement, nil)); err != nil {
			return nil, err
		}
		putConstants(statement, nulls)
		st.printed = nil // it has been another text until now
		if printed, err = st.Rewrite(relations); err != nil {
			return nil, err
		}
	}
	if st.explain != explainNothing {
		out.Columns = explainColumns
		return out, nil
	}
	columns, err := shownColumns(ctx, conn, printed)
	if err != nil {
		return nil, c.prepareError(ctx, sql, err)
	}
	out.Columns = columns
	return out, nil
}

// prepareError words the engine's objection as of the author's own text.
func (c *Core) prepareError(ctx context.Context, sql string, err error) error {
	if own := c.ownError(ctx, sql); own != nil {
		return own
	}
	return err
}
