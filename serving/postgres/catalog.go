package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving"
)

//go:embed catalog.sql
var catalogSQL string

//go:embed catalog_schema.sql
var catalogSchemaSQL string

// A Relation is a table that SQL can name, as clients should see it.
type Relation struct {
	Name       string // "payments", "tailwater.view_errors"
	Columns    []event.Column
	Comment    string
	Definition string            // the SQL of a view; empty for a table
	Comments   map[string]string // of columns, by name
}

// A Catalog answers what clients ask of pg_catalog and information_schema. It is
// an engine of its own that holds names, types and descriptions, and no data; what
// it is asked passes a serving.Gate all the same, so that it cannot be made to
// write, to read files or to run for ever.
type Catalog struct {
	db        *duckdb.DB
	gate      *serving.Gate
	relations map[string][]string // catalogue name → SELECT
	macros    map[string]bool     // Postgres' functions that are tw_… here
	names     map[string]bool     // tables and functions that tell a statement of the catalogue
	begun     time.Time
	oids      map[string]string // of the relations, by name
}

// Catalogue memory: the tables have some thousand rows; sorting and joining
// them takes a few MB.
const catalogMemory = "256MB"

// userOID is the first object id of relations that are not Postgres' own.
const userOID = 16_400

// common are functions that the catalogue has and that statements over data call
// too: they do not tell one from the other.
const common = `format age parse_ident array_remove array_to_string array_length array_upper array_lower array_position setting cardinality to_char quote_ident quote_literal
	quote_nullable user series generate_series`

// NewCatalog makes the catalogue of relations.
func NewCatalog(ctx context.Context, relations []Relation) (_ *Catalog, err error) {
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: catalogMemory, Locked: true})
	if err != nil {
		return nil, fmt.Errorf("catalogue engine: %w", err)
	}
	c := &Catalog{db: db, relations: map[string][]string{}, macros: map[string]bool{}, names: map[string]bool{}, begun: time.Now(), oids: map[string]string{}}
	for i, r := range relations {
		c.oids[r.Name] = fmt.Sprint(userOID + i)
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	conn, err := db.Connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for _, sql := range []string{"CREATE SCHEMA tw", relationsSQL(relations), catalogSQL, catalogSchemaSQL} {
		if err := conn.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("catalogue: %w", err)
		}
	}
	if err := c.learn(ctx, conn); err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	c.gate = serving.NewGate(db, c)
	var functions []string
	for name := range c.macros {
		functions = append(functions, "tw_"+name)
	}
	c.gate.Allow(functions...)
	return c, nil
}

// Close frees the engine. Statements that run are waited for by whoever runs them.
func (c *Catalog) Close() error { return c.db.Close() }

// hidden gives the object ids of the relations that whoever asks may not know of.
func (b *Backend) hidden(ctx context.Context) []string {
	var oids []string
	who := access.From(ctx)
	for name, oid := range b.Catalog.oids {
		if !who.Sees(name) {
			oids = append(oids, oid)
		}
	}
	return oids
}

// Tables lists what the catalogue has; it makes it the gate's.
func (c *Catalog) Tables(context.Context) []string {
	names := make([]string, 0, len(c.relations))
	for name := range c.relations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// relationsSQL makes the tables that catalog.sql starts from.
func relationsSQL(relations []Relation) string {
	var rows, columns []string
	oid := userOID
	for _, r := range relations {
		schema, namespace, name := "public", 2200, r.Name
		if s, n, ok := strings.Cut(r.Name, "."); ok {
			schema, namespace, name = s, 16384, n
		}
		kind := "r"
		if r.Definition != "" {
			kind = "v"
		}
		rows = append(rows, fmt.Sprintf("(%d, %s, %s, %d, '%s', %d, %s, %s)", oid, duckdb.Literal(name), duckdb.Literal(schema), namespace, kind, len(r.Columns), duckdb.Literal(r.Comment), duckdb.Literal(r.Definition)))
		for i, c := range r.Columns {
			w := columnOf(c.Name, c.Type)
			columns = append(columns, fmt.Sprintf("(%d, %d, %s, %d, %d, %t, %s)", oid, i+1, duckdb.Literal(c.Name), w.oid, w.typmod, c.NotNull, duckdb.Literal(r.Comments[c.Name])))
		}
		oid++
	}
	sql := `CREATE TABLE tw.relation (oid UINTEGER, relname VARCHAR, schema VARCHAR, relnamespace UINTEGER, relkind VARCHAR, relnatts INTEGER, comment VARCHAR, definition VARCHAR);
CREATE TABLE tw.attribute (relid UINTEGER, attnum INTEGER, attname VARCHAR, typid UINTEGER, typmod INTEGER, attnotnull BOOLEAN, comment VARCHAR);
`
	if len(rows) > 0 {
		sql += "INSERT INTO tw.relation VALUES " + strings.Join(rows, ", ") + ";\n"
	}
	if len(columns) > 0 {
		sql += "INSERT INTO tw.attribute VALUES " + strings.Join(columns, ", ") + ";\n"
	}
	return sql
}

// learn reads from the engine what the SQL files made.
func (c *Catalog) learn(ctx context.Context, conn *duckdb.Conn) error {
	found, err := conn.Collect(ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'tw' AND contains(table_name, '.')")
	if err != nil {
		return err
	}
	for i := range found.Len() {
		full := found.Value(i, 0).(string)
		schema, name, _ := strings.Cut(full, ".")
		sql := "SELECT * FROM tw." + duckdb.Ident(full)
		c.relations[full] = []string{sql}
		if schema == "pg_catalog" {
			c.relations[name] = []string{sql}
			c.names[name] = true
		}
	}
	found, err = conn.Collect(ctx, "SELECT DISTINCT function_name[4:] FROM duckdb_functions() WHERE starts_with(function_name, 'tw_') AND function_type = 'macro'")
	if err != nil {
		return err
	}
	for i := range found.Len() {
		name := found.Value(i, 0).(string)
		c.macros[name] = true
		if !slices.Contains(strings.Fields(common), name) {
			c.names[name] = true
		}
	}
	return nil
}

// sessionWords are functions that are written without parentheses.
var sessionWords = map[string]bool{"current_user": true, "session_user": true, "user": true, "current_role": true, "current_catalog": true, "current_schema": true}

// concerns reports whether a statement names something that only the catalogue
// has.
func (c *Catalog) concerns(p piece) bool {
	for i, t := range p.words {
		name := t.name()
		switch {
		case name == "" || p.word(i-1).is(".") && !c.names[name]:
		case (name == "pg_catalog" || name == "information_schema") && p.word(i+1).is("."):
			return true
		case c.names[name] && (strings.HasPrefix(name, "pg_") || p.word(i+1).is("(")):
			return true
		case sessionWords[name] && t.kind == tokenWord && !p.word(i+1).is("."):
			return true
		}
	}
	return false
}

// catalogueStatement is a statement that the catalogue answers.
func (ss *session) catalogueStatement(p piece, oids []uint32, prepare bool) (*statement, error) {
	c := ss.Catalog
	st := &statement{piece: p, kind: kindCatalogue, parameters: parameterTypes(oids, p.highestParameter())}
	defaultTypes(st.parameters)
	ctx, done := ss.limited()
	defer done()
	sql, err := c.translate(ctx, p)
	if err != nil {
		return nil, because(ctx, err)
	}
	nulls := make([]argument, len(st.parameters))
	for i := range nulls {
		nulls[i].Name = fmt.Sprint(i + 1)
	}
	// With NULL for its parameters: what the gate refuses is refused now, and the
	// columns do not depend on values.
	printed, err := c.admit(ctx, sql, used(p, nulls))
	if err != nil {
		return nil, because(ctx, err)
	}
	if prepare {
		conn, err := ss.catalogueConn(ctx)
		if err != nil {
			return nil, because(ctx, err)
		}
		defer conn.Close()
		if _, st.columns, err = present(ctx, conn, printed); err != nil {
			return nil, because(ctx, err)
		}
	}
	st.open = func(ctx context.Context, ss *session, args []argument) (*source, string, error) {
		if len(args) > 0 {
			if printed, err = c.admit(ctx, sql, used(p, args)); err != nil {
				return nil, "", because(ctx, err)
			}
		}
		src, err := ss.catalogue(ctx, printed)
		if err != nil {
			err = because(ctx, err)
		}
		return src, "", err
	}
	return st, nil
}

// used leaves out the arguments that a statement does not name.
func used(p piece, args []argument) []argument {
	var out []argument
	for _, a := range args {
		if slices.ContainsFunc(p.words, func(t token) bool { return t.kind == tokenParameter && t.text == "$"+a.Name }) {
			out = append(out, a)
		}
	}
	return out
}

// admit passes a translated statement through the gate, and gives it over the
// catalogue's tables.
func (c *Catalog) admit(ctx context.Context, sql string, args []argument) (string, error) {
	st, err := c.gate.Admit(ctx, sql, args...)
	var refusal *serving.Refusal
	if errors.As(err, &refusal) {
		plain := *refusal
		plain.Position = 0 // in the translated text
		return "", &plain
	}
	if err != nil {
		return "", err
	}
	return st.Rewrite(c.relations)
}

// catalogue runs a statement that was admitted.
func (ss *session) catalogue(ctx context.Context, printed string) (*source, error) {
	conn, err := ss.catalogueConn(ctx)
	if err != nil {
		return nil, err
	}
	printed, columns, err := present(ctx, conn, printed)
	if err != nil {
		conn.Close()
		return nil, err
	}
	rows, err := conn.Query(ctx, printed)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &source{columns: columns, next: rows.Next, close: func() { conn.Close() }}, nil
}

// catalogueConn connects to the catalogue as this session: who it is, where, and
// with which settings.
func (ss *session) catalogueConn(ctx context.Context) (*duckdb.Conn, error) {
	conn, err := ss.Catalog.db.Connect()
	if err != nil {
		return nil, err
	}
	var names, values []string
	for name, value := range ss.settings.values {
		names = append(names, duckdb.Literal(name))
		values = append(values, duckdb.Literal(ss.value(name, value)))
	}
	set := func(name, value string) string { return "SET VARIABLE tw_" + name + " = " + value + ";\n" }
	stamp := func(t time.Time) string {
		return "TIMESTAMP " + duckdb.Literal(t.UTC().Format("2006-01-02 15:04:05.999999"))
	}
	err = conn.Exec(ctx, set("user", duckdb.Literal(ss.user))+set("database", duckdb.Literal(ss.database))+set("pid", fmt.Sprint(ss.pid))+
		set("ssl", fmt.Sprint(ss.secure))+set("started", stamp(ss.started))+set("begun", stamp(ss.Catalog.begun))+
		set("hidden", "["+strings.Join(ss.hidden, ", ")+"]::UINTEGER[]")+
		set("settings", "MAP(["+strings.Join(names, ", ")+"], ["+strings.Join(values, ", ")+"])"))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("catalogue session: %w", err)
	}
	return conn, nil
}

// present wraps a statement so that its columns have types that rows can carry,
// and tells what they are for clients.
func present(ctx context.Context, conn *duckdb.Conn, sql string) (string, []column, error) {
	described, err := conn.Columns(ctx, sql)
	if err == nil && slices.ContainsFunc(described, func(d duckdb.DescribedColumn) bool { return d.SQLType == "LIST" }) {
		described, err = conn.Describe(ctx, sql) // which says of what
	}
	if err != nil {
		return "", nil, err
	}
	columns := make([]column, len(described))
	names, items := make([]string, len(described)), make([]string, len(described))
	for i, d := range described {
		name := fmt.Sprintf("c%d", i)
		cast := "VARCHAR"
		t, err := duckdb.ParseType(d.SQLType)
		columns[i] = columnOf(d.Name, t)
		if err == nil {
			cast = t.String()
		} else {
			columns[i] = columnOf(d.Name, event.Type{Kind: event.Varchar})
		}
		if w, ok := catalogTypes[d.SQLType]; ok {
			columns[i].oid, columns[i].size, cast = w.oid, w.size, "BIGINT"
			columns[i].typ = event.Type{Kind: event.BigInt}
		}
		if a, ok := arrayTypes[d.SQLType]; ok {
			columns[i].oid, columns[i].element, cast = a.array, a.element, "JSON"
		}
		names[i] = name
		items[i] = "CAST(" + name + " AS " + cast + ") AS " + duckdb.Ident(firstOf(d.Name, "?column?"))
		if cast == "JSON" {
			items[i] = "to_json(" + name + ") AS " + duckdb.Ident(firstOf(d.Name, "?column?"))
		}
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM (" + sql + ") AS answer(" + strings.Join(names, ", ") + ")", columns, nil
}
