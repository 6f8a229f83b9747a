package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/project"
)

// What files do to a stream.
const (
	newStream     = "new"
	addsColumns   = "columns"     // it gains some
	newAnnotation = "annotations" // its columns are what they were
	dropStream    = "drop"
)

// A streamChange is what a project's files do to one stream.
type streamChange struct {
	Stream string        `json:"stream"`
	Change string        `json:"change"`
	File   string        `json:"file,omitempty"`
	Added  []addedColumn `json:"added,omitempty"`
}

type addedColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// A runningStream is a stream as a server shows it.
type runningStream struct {
	Stream  string `json:"stream"`
	Columns []struct {
		Name    string `json:"name"`
		Type    string `json:"type"`
		NotNull bool   `json:"not_null"`
	} `json:"columns"`
	Time       string            `json:"time"`
	TimeFormat string            `json:"time_format"`
	Formats    map[string]string `json:"formats"`
	ID         string            `json:"id"`
	Lookups    []lookupJSON      `json:"lookups"`
}

// schema gives what the server tells of the stream's schema: all but the window in
// which it looks for duplicates.
func (r runningStream) schema() (*event.Schema, error) {
	s := &event.Schema{Stream: r.Stream}
	for _, c := range r.Columns {
		t, err := duckdb.ParseType(c.Type)
		if err != nil {
			return nil, fmt.Errorf("stream %s of the server: column %s: %w", r.Stream, c.Name, err)
		}
		s.Columns = append(s.Columns, event.Column{Name: c.Name, Type: t, NotNull: c.NotNull})
	}
	s.TimeColumn, s.IDColumn = s.Index(r.Time), s.Index(r.ID)
	for name, format := range r.Formats {
		s.SetFormat(s.Index(name), format)
	}
	if r.TimeFormat != "" {
		s.SetFormat(s.TimeColumn, r.TimeFormat)
	}
	for _, l := range r.Lookups {
		lookup := event.Lookup{Columns: []int{s.Index(l.Column)}, Reference: l.Reference, Version: l.Version, From: []string{l.From}}
		for _, key := range l.By {
			lookup.Keys = append(lookup.Keys, s.Index(key))
		}
		s.Lookups = append(s.Lookups, lookup)
	}
	return s, nil
}

// streamChangesOf compares the streams that run with what the files say; those that
// stay as they are are left out. What cannot be done to a stream is a problem.
func streamChangesOf(running []*event.Schema, p *project.Project) ([]streamChange, project.Problems) {
	before := map[string]*event.Schema{}
	for _, s := range running {
		before[s.Stream] = s
	}
	out, problems := []streamChange{}, project.Problems{}
	for _, s := range p.Streams {
		was := before[s.Name]
		delete(before, s.Name)
		if was == nil {
			out = append(out, streamChange{Stream: s.Name, Change: newStream, File: s.File})
			continue
		}
		added, err := event.Added(was.Columns, s.Schema.Columns)
		var refused *event.ColumnsError
		switch {
		case errors.As(err, &refused):
			problems = append(problems, &project.Problem{File: s.File, Message: "stream " + s.Name + ": " + refused.Message, Hint: refused.Remedy})
		case len(added) > 0:
			is := streamChange{Stream: s.Name, Change: addsColumns, File: s.File}
			for _, c := range added {
				is.Added = append(is.Added, addedColumn{c.Name, c.Type.String()})
			}
			out = append(out, is)
		case was.TimeColumn != s.Schema.TimeColumn || was.IDColumn != s.Schema.IDColumn || !maps.Equal(was.Formats, s.Schema.Formats) || !sameLookups(was, s.Schema) ||
			was.IDColumn >= 0 && was.DedupWindow != 0 && was.DedupWindow != s.Schema.DedupWindow:
			out = append(out, streamChange{Stream: s.Name, Change: newAnnotation, File: s.File})
		}
	}
	for name := range before {
		out = append(out, streamChange{Stream: name, Change: dropStream})
	}
	slices.SortFunc(out, func(a, b streamChange) int { return strings.Compare(a.Stream, b.Stream) })
	return out, problems
}

// sameLookups reports whether the same columns are looked up in the same way, in whatever
// version of the tables.
func sameLookups(a, b *event.Schema) bool {
	return slices.EqualFunc(lookupsJSON(a), lookupsJSON(b), func(x, y lookupJSON) bool {
		return x.Column == y.Column && x.Reference == y.Reference && x.From == y.From && slices.Equal(x.By, y.By)
	})
}

// line is a change in words.
func (c streamChange) line() string {
	switch c.Change {
	case newStream:
		return "stream " + c.Stream + ": new"
	case dropStream:
		return "stream " + c.Stream + ": is gone; its events stay in the lake"
	case newAnnotation:
		return "stream " + c.Stream + ": other annotations, from the next event on"
	}
	var defs []string
	for _, a := range c.Added {
		defs = append(defs, a.Name+" "+a.Type)
	}
	columns := "column"
	if len(defs) > 1 {
		columns = "columns"
	}
	return fmt.Sprintf("stream %s: adds %s %s; old events give NULL", c.Stream, columns, strings.Join(defs, ", "))
}

// needRestart gives the problems of changes that only a restart makes.
func (n *node) needRestart(changes []streamChange) project.Problems {
	var problems project.Problems
	for _, c := range changes {
		if c.Change == addsColumns && n.parts.renew != nil {
			continue
		}
		problems = append(problems, &project.Problem{File: firstOf(c.File, "streams/"+c.Stream+".sql"), Message: c.line(), Hint: "a restart takes it: stop the server and start it again"})
	}
	return problems
}
