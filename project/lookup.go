package project

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/config"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// lookupHint is the form of the annotation "lookup".
const lookupHint = "write `-- lookup: column = table.column by key`; several keys as (a, b), and a key of another name in the table as key = column"

// A lookupNote is an annotation "lookup: column = table.from by key = by".
type lookupNote struct {
	column, table, from string
	keys, by            []string
}

// parseLookup takes an annotation apart; false if it has another form.
func parseLookup(n *annotation) (l lookupNote, ok bool) {
	tokens, open := lex(n.value)
	if open != nil {
		return l, false
	}
	name := func() string {
		if ok = len(tokens) > 0 && tokens[0].isName(); !ok {
			return ""
		}
		is := tokens[0].name()
		tokens = tokens[1:]
		return is
	}
	sign := func(s string) bool {
		if len(tokens) == 0 || !tokens[0].is(s) {
			return false
		}
		tokens = tokens[1:]
		return true
	}
	l.column = name()
	if !ok || !sign("=") {
		return l, false
	}
	if l.table = name(); !ok || !sign(".") {
		return l, false
	}
	if l.from = name(); !ok || !sign("by") {
		return l, false
	}
	listed := sign("(")
	for {
		key := name()
		by := key
		if ok && sign("=") {
			by = name()
		}
		if !ok {
			return l, false
		}
		l.keys, l.by = append(l.keys, key), append(l.by, by)
		if !listed || !sign(",") {
			break
		}
	}
	return l, (!listed || sign(")")) && len(tokens) == 0
}

// lookups reads the annotations that say which columns are looked up, and gives the
// rows that each of schema.Lookups reads. unread are the tables whose files have
// problems of their own. err is for an engine that does not work.
func (r *streamReader) lookups(ctx context.Context, conn *duckdb.Conn, s *event.Schema, notes annotations, references []*Reference, unread []string) ([]*duckdb.Relation, error) {
	type group struct {
		event.Lookup
		reference *Reference
		note      *annotation
	}
	var groups []*group
	taken := map[int]*annotation{}
	for i := range notes {
		n := &notes[i]
		if n.key != "lookup" {
			continue
		}
		l, ok := parseLookup(n)
		if !ok {
			r.problem(n.value0, lookupHint, "lookup %q has another form", n.value)
			continue
		}
		if slices.ContainsFunc(unread, func(name string) bool { return strings.EqualFold(name, l.table) }) {
			continue
		}
		g := &group{note: n}
		column := r.column(s, n, l.column)
		for _, key := range l.keys {
			g.Keys = append(g.Keys, r.column(s, n, key))
		}
		if g.reference = r.lookupTable(n, l.table, references); g.reference == nil || column < 0 || slices.Contains(g.Keys, -1) {
			continue
		}
		g.Reference, g.Version = g.reference.Name, g.reference.Version
		from, ok := r.tableColumns(n, g.reference, append(slices.Clone(l.by), l.from))
		if !ok || !r.mayBeLookedUp(s, n, column, taken[column]) {
			continue
		}
		taken[column] = n
		g.By = from[:len(from)-1]
		same := func(o *group) bool {
			return o.reference == g.reference && slices.Equal(o.Keys, g.Keys) && slices.Equal(o.By, g.By)
		}
		if i := slices.IndexFunc(groups, same); i >= 0 {
			g = groups[i]
		} else {
			groups = append(groups, g)
		}
		g.Columns, g.From = append(g.Columns, column), append(g.From, from[len(from)-1])
	}
	var rows []*duckdb.Relation
	for _, g := range groups {
		if i := slices.IndexFunc(g.Keys, func(key int) bool { return taken[key] != nil }); i >= 0 {
			r.problem(g.note.value0, "look up by columns that the events have", "the key %s is looked up itself", s.Columns[g.Keys[i]].Name)
			continue
		}
		rel, err := r.lookupRows(ctx, conn, s, g.note, g.Lookup, g.reference)
		if err != nil {
			return nil, err
		}
		s.Lookups, rows = append(s.Lookups, g.Lookup), append(rows, rel)
	}
	return rows, nil
}

// lookupTable finds a reference table that is a file of rows; nil with a problem if
// there is none.
func (r *streamReader) lookupTable(n *annotation, name string, references []*Reference) *Reference {
	var names []string
	for _, ref := range references {
		if !strings.EqualFold(ref.Name, name) {
			names = append(names, ref.Name)
			continue
		}
		if ref.Rows == nil {
			r.problem(n.value0, "store its rows as "+ReferenceDir+"/NAME.csv or .parquet", "%s is computed; a lookup reads a file of rows", ref.File)
			return nil
		}
		return ref
	}
	hint := "put it there as " + ReferenceDir + "/" + name + ".csv or .parquet"
	if near := config.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	r.problem(n.value0, hint, "there is no reference table %s", name)
	return nil
}

// tableColumns gives columns of a reference table as it writes them.
func (r *streamReader) tableColumns(n *annotation, ref *Reference, names []string) (found []string, ok bool) {
	ok = true
	for _, name := range names {
		i := slices.IndexFunc(ref.Rows.Columns, func(c event.Column) bool { return strings.EqualFold(c.Name, name) })
		if i >= 0 {
			found = append(found, ref.Rows.Columns[i].Name)
			continue
		}
		var all []string
		for _, c := range ref.Rows.Columns {
			all = append(all, c.Name)
		}
		r.problem(n.value0, "it has "+strings.Join(all, ", "), "%s has no column %s", ref.File, name)
		ok = false
	}
	return found, ok
}

// mayBeLookedUp reports whether a column can get its value from a table.
func (r *streamReader) mayBeLookedUp(s *event.Schema, n *annotation, column int, before *annotation) bool {
	c := s.Columns[column]
	switch {
	case before != nil:
		r.problem(n.key0, "keep one of them", "column %s is looked up in line %d already", c.Name, before.key0.line)
	case column == s.TimeColumn, column == s.IDColumn:
		r.problem(n.value0, "let the events bring it", "column %s is the stream's time or id, and cannot be looked up", c.Name)
	case s.Formats[column] != "":
		r.problem(n.value0, "leave its time-format out", "column %s is looked up, and has a format", c.Name)
	case c.NotNull:
		r.problem(n.value0, "leave NOT NULL out: an event whose key the table does not have gets NULL", "column %s is NOT NULL, and is looked up", c.Name)
	default:
		return true
	}
	return false
}

// lookupRows gives the keys and values of a table in the types of the stream's columns.
// What is wrong with them is a problem.
func (r *streamReader) lookupRows(ctx context.Context, conn *duckdb.Conn, s *event.Schema, n *annotation, l event.Lookup, ref *Reference) (*duckdb.Relation, error) {
	h := duckdb.Share(ref.Rows.Columns)
	defer h.Close()
	h.Set(ref.Rows.Batches)
	before := len(r.problems)
	var items, keys, present []string
	for i, name := range append(slices.Clone(l.By), l.From...) {
		isKey := i < len(l.By)
		to := s.Columns[append(slices.Clone(l.Keys), l.Columns...)[i]]
		from := ref.Rows.Columns[ref.Rows.Index(name)]
		if isKey && !keyTypes(from.Type, to.Type) {
			r.problem(n.value0, "give the stream's column the type of the table's, or store the table as Parquet with the type of the stream's",
				"%s, a %s, cannot be the key of a %s of %s, which is a %s", to.Name, to.Type, name, ref.File, from.Type)
			continue
		}
		cast := fmt.Sprintf("CAST(%s AS %s)", duckdb.Ident(name), to.Type)
		items = append(items, fmt.Sprintf("%s AS c%d", cast, i))
		if isKey {
			keys, present = append(keys, fmt.Sprintf("c%d", i)), append(present, duckdb.Ident(name)+" IS NOT NULL")
		}
		bad, err := conn.Collect(ctx, fmt.Sprintf("SELECT %[1]s::VARCHAR FROM %[2]s WHERE %[1]s IS NOT NULL AND %[3]s LIMIT 1", duckdb.Ident(name), h.SQL(), changes(name, from.Type, to.Type)))
		message, hint := "", "declare it as "+from.Type.String()
		switch {
		case err != nil:
			if message, _, err = engineMessage(err); err != nil {
				return nil, err
			}
		case bad.Len() > 0:
			message = fmt.Sprintf("%v of %s is no %s", bad.Value(0, 0), ref.File, to.Type)
		}
		if message != "" {
			r.problem(n.value0, hint, "column %s cannot take %s.%s: %s", to.Name, ref.Name, name, message)
		}
	}
	if len(r.problems) > before {
		return nil, nil
	}
	rows := "SELECT " + strings.Join(items, ", ") + " FROM " + h.SQL() + " WHERE " + strings.Join(present, " AND ")
	twice, err := conn.Collect(ctx, fmt.Sprintf("SELECT concat_ws(', ', %[1]s) FROM (%[2]s) GROUP BY %[1]s HAVING count(*) > 1 ORDER BY %[1]s LIMIT 1", strings.Join(keys, ", "), rows))
	if err != nil {
		return nil, fmt.Errorf("%s: look for keys that come twice: %w", ref.File, err)
	}
	if twice.Len() > 0 {
		r.problem(n.value0, "keep one row of each key", "%s has the key %v (%s) twice", ref.File, twice.Value(0, 0), strings.Join(l.By, ", "))
		return nil, nil
	}
	return conn.Collect(ctx, rows)
}

// changes is the condition that a value of a column is lost, or another, in a type.
func changes(name string, from, to event.Type) string {
	cast := fmt.Sprintf("TRY_CAST(%s AS %s)", duckdb.Ident(name), to)
	lost := cast + " IS NULL"
	switch { // texts have more than one form, and doubles are rounded wherever they go
	case family(from) == family(event.Type{Kind: event.Varchar}), family(to) == family(event.Type{Kind: event.Varchar}), to.Kind == event.Float, to.Kind == event.Double:
		return lost
	}
	return fmt.Sprintf("(%s OR CAST(%s AS %s) IS DISTINCT FROM %s)", lost, cast, from, duckdb.Ident(name))
}

// family is what types have in common whose values can be equal.
func family(t event.Type) string {
	switch t.Kind {
	case event.Boolean:
		return "boolean"
	case event.Varchar, event.JSON, event.Blob:
		return "text"
	case event.Date, event.Timestamp:
		return "time"
	}
	return "number"
}

// keyTypes reports whether a stream's column can be the key of a table's.
func keyTypes(table, stream event.Type) bool {
	if stream.Kind == event.Float || stream.Kind == event.Double || stream.Kind == event.JSON || table.Kind == event.JSON || table.Kind == event.Blob {
		return false
	}
	return family(table) == family(stream)
}
