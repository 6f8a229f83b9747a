package serving

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/warehouse"
)

// A NamedQuery is a query of the project that the gate and the binder took.
type NamedQuery struct {
	*project.Query
	Columns []event.Column // of its rows
	Tables  []string       // that it reads
}

// BindQueries computes the project's reference tables that are SQL, in place if that has
// not been done, passes
// its queries through the gate and binds them over empty tables. What is wrong with
// them comes back as problems.
func BindQueries(ctx context.Context, p *project.Project) ([]NamedQuery, project.Problems, error) {
	if wrong, err := ComputeReferences(ctx, p); err != nil || len(wrong) > 0 {
		return nil, wrong, err
	}
	if len(p.Queries) == 0 {
		return nil, nil, nil
	}
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "256MB", Locked: true})
	if err != nil {
		return nil, nil, fmt.Errorf("open an engine to bind queries: %w", err)
	}
	defer db.Close()
	var streams []*event.Schema
	for _, s := range p.Streams {
		streams = append(streams, s.Schema)
	}
	var references []Reference
	for _, r := range p.References {
		references = append(references, Reference{Name: r.Name, Version: r.Version, Rows: r.Rows})
	}
	core := NewCore(CoreConfig{Streams: streams, Plans: p.Plans(), References: references, Macros: p.MacroSet, GateDB: db})
	defer core.StopLive()
	var out []NamedQuery
	var problems project.Problems
	for _, q := range p.Queries {
		var values []Parameter
		for _, param := range q.Parameters {
			values = append(values, Parameter{Name: param.Name, Value: param.Sample(), Type: param.Type.String()})
		}
		bound, err := core.bind(ctx, q.SQL, values)
		f, known := failureOf(err)
		switch {
		case err == nil:
			bound.Query = q
			out = append(out, bound)
		case !known:
			return nil, nil, fmt.Errorf("%s: %w", q.File, err)
		default:
			problems = append(problems, problemOf(q, f))
		}
	}
	return out, problems, nil
}

// bind gives the columns and tables of a statement without running it.
func (c *Core) bind(ctx context.Context, sql string, values []Parameter) (out NamedQuery, err error) {
	st, err := c.gate.Admit(ctx, sql, values...)
	if err != nil {
		return out, err
	}
	if st.explain != explainNothing {
		return out, &Refusal{Code: "only_select", Message: "a query is one SELECT"}
	}
	relations := map[string][]string{}
	for _, table := range st.Tables {
		relations[table] = []string{warehouse.EmptySelect(c.columnsOf(table))}
	}
	printed, err := st.Rewrite(relations)
	if err != nil {
		return out, err
	}
	conn, err := c.gateDB.Connect()
	if err != nil {
		return out, err
	}
	defer conn.Close()
	out.Columns, err = shownColumns(ctx, conn, printed)
	if err != nil {
		return out, c.prepareError(ctx, sql, err)
	}
	out.Tables = st.Tables
	return out, nil
}

// problemOf places a refusal in the query's file.
func problemOf(q *project.Query, f failure) *project.Problem {
	message, _, _ := strings.Cut(f.message, "\n\nLINE ")
	out := &project.Problem{File: q.File, Message: strings.ReplaceAll(message, "\n", " "), Hint: f.hint}
	if f.code == "bad_parameter" {
		out.Hint = "declare each parameter of the statement, and no other, as in `-- param: country VARCHAR`"
	}
	if f.position > 0 {
		before := string([]rune(q.SQL)[:min(f.position-1, utf8.RuneCountInString(q.SQL))])
		out.Line = strings.Count(before, "\n") + 1
		out.Column = utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1
	}
	return out
}
