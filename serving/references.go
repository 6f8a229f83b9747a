package serving

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/project"
)

// Bounds of a reference table that is computed: its rows are held in memory, and a
// start waits for it.
const (
	referenceRowsMax = 1_000_000
	referenceTime    = 30 * time.Second
)

// names is a catalogue that is the same for everybody.
type names []string

// Tables implements Catalog.
func (n names) Tables(context.Context) []string { return n }

// ComputeReferences gives the reference tables that are a SELECT over others their
// rows and versions, those that they read first, if they have none. What is wrong with
// them comes back as problems.
func ComputeReferences(ctx context.Context, p *project.Project) (project.Problems, error) {
	var tables names
	known := map[string]*project.Reference{}
	for _, r := range p.References {
		tables, known[r.Name] = append(tables, r.Name), r
	}
	if !slices.ContainsFunc(p.References, uncomputed) {
		return nil, nil
	}
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "512MB", Locked: true})
	if err != nil {
		return nil, fmt.Errorf("open an engine to compute reference tables: %w", err)
	}
	defer db.Close()
	gate := NewGate(db, tables)
	gate.macros = p.MacroSet
	var problems project.Problems
	waiting := map[*project.Reference]*Statement{}
	for _, r := range p.References {
		if !uncomputed(r) {
			continue
		}
		st, err := gate.Admit(ctx, r.SQL)
		if err == nil && (st.volatile || st.explain != explainNothing) {
			err = &Refusal{Code: "unsupported", Message: "a reference table is a SELECT that gives the same rows at each start", Hint: "leave now(), random(), samples and EXPLAIN to queries"}
		}
		if err != nil {
			if problems, err = referenceProblem(problems, r, tables, err); err != nil {
				return nil, err
			}
			continue
		}
		waiting[r] = st
	}
	for moved := true; moved && len(problems) == 0; {
		moved = false
		for _, r := range p.References {
			st := waiting[r]
			if st == nil || slices.ContainsFunc(st.Tables, func(name string) bool { return known[name].Rows == nil }) {
				continue
			}
			delete(waiting, r)
			moved = true
			if err := computeReference(ctx, db, r, st, known); err != nil {
				if problems, err = referenceProblem(problems, r, tables, err); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(problems) == 0 {
		for _, r := range p.References {
			if waiting[r] != nil {
				problems = append(problems, &project.Problem{File: r.File, Message: "the table reads itself, by way of " + strings.Join(waiting[r].Tables, ", "), Hint: "take one of the tables out"})
			}
		}
	}
	return problems, nil
}

func uncomputed(r *project.Reference) bool { return r.SQL != "" && r.Rows == nil }

// computeReference runs the statement over the rows of the tables that it reads. A
// table has no order: its rows are sorted, so that the same rows are one version.
func computeReference(ctx context.Context, db *duckdb.DB, r *project.Reference, st *Statement, known map[string]*project.Reference) error {
	relations := map[string][]string{}
	for _, name := range st.Tables {
		rows := known[name].Rows
		h := duckdb.Share(rows.Columns)
		defer h.Close()
		h.Set(rows.Batches)
		relations[name] = []string{"SELECT " + columnList(rows.Columns) + " FROM " + h.SQL()}
	}
	sql, err := st.Rewrite(relations)
	if err != nil {
		return err
	}
	conn, err := db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	prepared, err := conn.Prepare(ctx, sql)
	if err != nil {
		return err
	}
	shown, columns, err := presentable(prepared, sql)
	prepared.Close()
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, c := range columns {
		if lower := strings.ToLower(c.Name); taken[lower] {
			return &Refusal{Code: "unsupported", Message: fmt.Sprintf("two columns are called %s", c.Name), Hint: "give one of them another name with AS"}
		} else {
			taken[lower] = true
		}
	}
	limited, cancel := context.WithTimeoutCause(ctx, referenceTime, &Refusal{Code: "timeout", Message: fmt.Sprintf("the table took more than %s to compute", referenceTime), Hint: "store its rows as a Parquet file"})
	defer cancel()
	rows, err := conn.Collect(limited, fmt.Sprintf("SELECT * FROM (%s) AS rows ORDER BY ALL LIMIT %d", shown, referenceRowsMax+1))
	switch {
	case err != nil && limited.Err() != nil:
		return context.Cause(limited)
	case err != nil:
		return err
	case rows.Len() > referenceRowsMax:
		return &Refusal{Code: "too_large", Message: fmt.Sprintf("the table has more than %d rows", referenceRowsMax), Hint: "send what is larger to a stream"}
	}
	r.Rows, r.Version = rows, versionOf(rows)
	return nil
}

// versionOf is the hash of a table's columns and rows, as a file's version is that of
// its bytes.
func versionOf(rows *duckdb.Relation) string {
	h := sha256.New()
	for _, c := range rows.Columns {
		fmt.Fprintf(h, "%q %s\n", c.Name, c.Type)
	}
	for _, b := range rows.Batches {
		for i := range b.Len() {
			for c := range rows.Columns {
				if col := b.Column(c); col.IsNull(i) {
					fmt.Fprint(h, "NULL ")
				} else {
					fmt.Fprintf(h, "%q ", col.ValueStr(i))
				}
			}
			fmt.Fprintln(h)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// referenceProblem adds what is wrong with a table; an error that is not the table's
// comes back.
func referenceProblem(problems project.Problems, r *project.Reference, tables names, cause error) (project.Problems, error) {
	f, known := failureOf(cause)
	if !known {
		return nil, fmt.Errorf("%s: %w", r.File, cause)
	}
	if f.code == "unknown_table" {
		others := slices.DeleteFunc(slices.Clone(tables), func(name string) bool { return name == r.Name })
		f.hint = "a reference table reads other reference tables (" + strings.Join(others, ", ") + "); join streams and views in a query"
	}
	return append(problems, problemOf(&project.Query{File: r.File, SQL: r.SQL}, f)), nil
}
