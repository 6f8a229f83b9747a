// Package project reads a user's project: a folder in which streams/*.sql holds
// one CREATE TABLE a file, and views/*.sql and queries/*.sql one SELECT a file;
// macros/*.sql are functions for both, one CREATE MACRO a file; reference/*.csv,
// *.parquet and *.sql are small tables to join. What a file is called is what the stream, view,
// query, macro or table is called. Options are annotation comments at the top of a
// file:
//
//	-- time: ts
//	-- time-format: %Y/%m/%d %H:%M
//	-- lookup: city = airports.city by origin
//	CREATE TABLE flights (ts TIMESTAMP NOT NULL, origin VARCHAR, city VARCHAR, delay INTEGER);
//
// Load reads everything before it judges, and reports all that is wrong in all
// files at once, with places and remedies. It changes nothing on disk.
package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/config"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/macro"
	"github.com/tailwater/tailwater/view"
)

// The folders of a project.
const (
	StreamsDir = "streams"
	ViewsDir   = "views"
	QueriesDir = "queries"
)

// Bounds of a project: far beyond any that is written by hand, so that a wrong
// folder is refused before it is read.
const (
	filesMax     = 10_000
	fileBytesMax = 1 << 20
)

// A Project is a folder that was found to be right. It is immutable.
type Project struct {
	Dir     string
	Streams []*Stream // by name
	Views   []*View   // by name
	// References are the tables that queries join, by name.
	References []*Reference
	Queries    []*Query // by name
	Macros     []*Macro // by name
	// MacroSet is the macros, for whoever reads SQL; nil if there are none.
	MacroSet *macro.Set
}

// A Stream is a stream's schema and where it was read.
type Stream struct {
	Name   string
	Schema *event.Schema
	File   string // relative to the project's folder, with slashes
	// TimeFormat is the strptime format of the time column; "" if ISO 8601.
	TimeFormat string
	// LookupRows are what Schema.Lookups read, each the columns By and then From of its
	// table, in the types of the stream's columns, without rows whose key is NULL.
	LookupRows []*duckdb.Relation
}

// A View is a planned view and where it was read.
type View struct {
	*view.Plan
	File string // relative to the project's folder, with slashes
}

// Schemas gives the streams' schemas by name.
func (p *Project) Schemas() map[string]*event.Schema {
	m := make(map[string]*event.Schema, len(p.Streams))
	for _, s := range p.Streams {
		m[s.Name] = s.Schema
	}
	return m
}

// Plans gives the views' plans, in order of their names.
func (p *Project) Plans() []*view.Plan {
	plans := make([]*view.Plan, len(p.Views))
	for i, v := range p.Views {
		plans[i] = v.Plan
	}
	return plans
}

// Load reads the project in dir. What is wrong with its files comes back as
// Problems, all of them in order of file and place; any other error means that
// they could not be judged.
//
// compute gives the reference tables that are SQL their rows, before views are planned
// that join them, as serving.ComputeReferences does; without it, such views are refused.
func Load(ctx context.Context, dir string, planner *view.Planner, compute ...func(context.Context, *Project) (Problems, error)) (*Project, error) {
	if err := looksLikeProject(dir); err != nil {
		return nil, err
	}
	l := &loader{project: &Project{Dir: dir}, names: map[string]string{}, broken: map[string]bool{}}
	streams := l.readDir(dir, StreamsDir)
	views := l.readDir(dir, ViewsDir)
	if err := l.loadReferences(ctx, dir); err != nil {
		return nil, err
	}
	l.names = map[string]string{} // macros are no tables
	if err := l.loadMacros(ctx, l.readDir(dir, MacrosDir)); err != nil {
		return nil, err
	}
	for _, of := range compute {
		if len(l.problems) > 0 {
			break // whatever it said would follow from them
		}
		wrong, err := of(ctx, l.project)
		if err != nil {
			return nil, err
		}
		l.problems = append(l.problems, wrong...)
	}
	for _, r := range l.project.References {
		if len(compute) > 0 && r.Rows == nil {
			l.broken[strings.ToLower(r.Name)] = true
		}
	}
	l.names = map[string]string{} // nor are queries
	l.loadQueries(l.readDir(dir, QueriesDir))
	if err := l.loadStreams(ctx, streams); err != nil {
		return nil, err
	}
	if err := l.loadViews(ctx, views, planner); err != nil {
		return nil, err
	}
	if len(streams) == 0 && len(l.problems) == 0 {
		l.problem(StreamsDir, place{}, "the project has no stream",
			"write one CREATE TABLE into streams/NAME.sql, or derive it from a sample: tailwater init DIR --from FILE")
	}
	if len(l.problems) > 0 {
		l.problems.sort()
		return nil, l.problems
	}
	return l.project, nil
}

// looksLikeProject keeps a mistyped path from being an empty project.
func looksLikeProject(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("project: %w; `tailwater init DIR` makes one", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("project: %s is a file; give the project's folder", dir)
	}
	for _, name := range []string{config.FileName, StreamsDir, ViewsDir} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("project: %s has neither %s nor %s/; go to the project's folder or make one with `tailwater init DIR`", dir, config.FileName, StreamsDir)
}

// A loader is one run of Load.
type loader struct {
	project  *Project
	problems Problems
	names    map[string]string // file by lower-case name: streams and views share one space, as tables of one catalogue
	broken   map[string]bool   // lower-case names of streams and reference tables whose files have problems
}

// A source is one SQL file.
type source struct {
	file string // relative, with slashes
	name string // of the stream or view
	text string
}

func (l *loader) problem(file string, at place, message, hint string) {
	l.problems = append(l.problems, &Problem{File: file, Line: at.line, Column: at.column, Message: message, Hint: hint})
}

// readDir reads the SQL files of a folder whose names are good, in order.
// Other files are the user's own business.
func (l *loader) readDir(dir, sub string) []source {
	entries, err := os.ReadDir(filepath.Join(dir, sub))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.problem(sub, place{}, err.Error(), "")
	}
	if len(entries) > filesMax {
		l.problem(sub, place{}, fmt.Sprintf("more than %d files", filesMax), "is this the project's folder?")
		return nil
	}
	var out []source
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".sql")
		if !ok || e.IsDir() || strings.HasPrefix(base, ".") {
			continue
		}
		file := sub + "/" + e.Name()
		if !l.claim(base, file) {
			continue
		}
		text, err := readFile(filepath.Join(dir, sub, e.Name()))
		if err != nil {
			l.problem(file, place{}, err.Error(), "")
			l.broken[strings.ToLower(base)] = true
			continue
		}
		out = append(out, source{file: file, name: base, text: text})
	}
	return out
}

// claim takes a name for a file, unless it is none or another file's.
func (l *loader) claim(name, file string) bool {
	if message, hint := checkName(name); message != "" {
		l.problem(file, place{}, message, hint)
		return false
	}
	if other, taken := l.names[strings.ToLower(name)]; taken {
		l.problem(file, place{}, fmt.Sprintf("%s is already the name of %s", name, other), "streams, views and reference tables share their names; rename one of them")
		return false
	}
	l.names[strings.ToLower(name)] = file
	return true
}

func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Size() > fileBytesMax {
		return "", fmt.Errorf("the file has %d bytes; a definition has at most %d", info.Size(), fileBytesMax)
	}
	text, err := os.ReadFile(path)
	return strings.TrimPrefix(string(text), "\ufeff"), err
}

// goodName is what may stand in a path, a URL, a subject of the log and SQL
// without quotes alike.
var goodName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,62}$`)

// checkName says what is wrong with the name of a stream or view; message is
// empty if nothing is.
func checkName(name string) (message, hint string) {
	lower := strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, "_"):
		return fmt.Sprintf("the name %s begins with an underscore", name), "such names are the system's own; rename the file"
	case !goodName.MatchString(name):
		return fmt.Sprintf("%q is no name", name), "use letters, digits and underscores, a letter first, at most 63; rename the file"
	case strings.HasSuffix(lower, "_dead"):
		return fmt.Sprintf("the name %s is reserved", name), "NAME_dead holds the dead letters of the stream NAME; rename the file"
	case lower == "tailwater", strings.HasPrefix(lower, "tailwater_"):
		return fmt.Sprintf("the name %s is reserved", name), "tailwater and tailwater_… are the system's own; rename the file"
	}
	return "", ""
}

func (l *loader) loadStreams(ctx context.Context, sources []source) error {
	if len(sources) == 0 {
		return nil
	}
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "512MB", Locked: true})
	if err != nil {
		return fmt.Errorf("open an engine to read schemas: %w", err)
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return fmt.Errorf("open an engine to read schemas: %w", err)
	}
	defer conn.Close()
	var unread []string // reference tables
	for _, p := range l.problems {
		if name, ok := strings.CutPrefix(p.File, ReferenceDir+"/"); ok {
			unread = append(unread, strings.TrimSuffix(name, filepath.Ext(name)))
		}
	}
	for _, src := range sources {
		stream, problems, err := readStream(ctx, conn, src, l.project.References, unread)
		if err != nil {
			return fmt.Errorf("%s: %w", src.file, err)
		}
		if len(problems) > 0 {
			l.problems = append(l.problems, problems...)
			l.broken[strings.ToLower(src.name)] = true
			continue
		}
		l.project.Streams = append(l.project.Streams, stream)
	}
	slices.SortFunc(l.project.Streams, func(a, b *Stream) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (l *loader) loadViews(ctx context.Context, sources []source, planner *view.Planner) error {
	schemas := l.project.Schemas()
	for _, src := range sources {
		if l.mentionsBroken(src.text) {
			_, problems := readAnnotations(src, viewAnnotations)
			l.problems = append(l.problems, problems...)
			continue // whatever the planner said would follow from the stream's problem
		}
		plan, problems, err := planView(ctx, planner, src, schemas, l.project.MacroSet, l.project.referenceColumns())
		l.problems = append(l.problems, problems...)
		var wrong *view.Error
		switch {
		case errors.As(err, &wrong):
			l.problem(src.file, place{wrong.Line, wrong.Column}, wrong.Message, wrong.Hint)
		case err != nil:
			return fmt.Errorf("%s: %w", src.file, err)
		default:
			l.project.Views = append(l.project.Views, &View{Plan: plan, File: src.file})
		}
	}
	slices.SortFunc(l.project.Views, func(a, b *View) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// planView plans the view of a file.
func planView(ctx context.Context, planner *view.Planner, src source, schemas map[string]*event.Schema, macros *macro.Set, references map[string][]event.Column) (*view.Plan, Problems, error) {
	notes, problems := readAnnotations(src, viewAnnotations)
	plan, err := planner.Plan(ctx, view.Definition{Name: src.name, File: src.file, Line: 1, SQL: src.text, Description: notes.text("description"),
		Bounds: notes.text("bounds"), Timezone: notes.text("timezone"), Cap: notes.text("cap"), Reference: strings.ToLower(notes.text("reference")), Macros: macros, References: references}, schemas)
	return plan, problems, err
}

// referenceColumns gives the columns of the reference tables that have rows: what
// views may join.
func (p *Project) referenceColumns() map[string][]event.Column {
	out := map[string][]event.Column{}
	for _, r := range p.References {
		if r.Rows != nil {
			out[r.Name] = r.Rows.Columns
		}
	}
	return out
}

// PlanView plans a view from the text that its file once had: Plan.SQL of then.
func (p *Project) PlanView(ctx context.Context, planner *view.Planner, name, file, text string) (*view.Plan, error) {
	plan, problems, err := planView(ctx, planner, source{file: file, name: name, text: text}, p.Schemas(), p.MacroSet, p.referenceColumns())
	if err == nil && len(problems) > 0 {
		err = problems
	}
	return plan, err
}

func (l *loader) mentionsBroken(sql string) bool {
	if len(l.broken) == 0 {
		return false
	}
	tokens, _ := lex(sql)
	return slices.ContainsFunc(tokens, func(t token) bool { return t.isName() && l.broken[strings.ToLower(t.name())] })
}
