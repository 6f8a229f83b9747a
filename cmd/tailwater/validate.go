package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/ingest"
	"github.com/tailwater/tailwater/internal/config"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/view"
)

// ValidateCmd checks a project.
type ValidateCmd struct {
	Dir  string `arg:"" optional:"" default:"." help:"The project's folder." placeholder:"DIR"`
	JSON bool   `name:"json" help:"Print the result as JSON."`
}

// Help is shown by --help.
func (c *ValidateCmd) Help() string {
	return `Nothing is started and nothing is changed. All problems of all files are reported at once.

Examples:

    tailwater validate
    tailwater validate flights --json`
}

// Run loads the project and prints what it defines, or its problems.
func (c *ValidateCmd) Run(ctx context.Context, out *output) error {
	p, err := checkProject(ctx, c.Dir)
	var problems project.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if c.JSON {
		if err := writeProjectJSON(out, p, problems); err != nil {
			return err
		}
	} else if len(problems) == 0 {
		writeProject(out, p)
	}
	if len(problems) == 0 {
		return nil
	}
	for _, one := range problems {
		if c.JSON {
			break
		}
		fmt.Fprintln(out.out, printable(one.Error()))
	}
	return fmt.Errorf("%s in %s", plural(int64(len(problems)), "problem"), c.Dir)
}

// checkProject loads a project as a server would, the settings included.
func checkProject(ctx context.Context, dir string) (*project.Project, error) {
	planner, err := view.NewPlanner(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the planner: %w", err)
	}
	defer planner.Close()
	p, err := project.Load(ctx, dir, planner, serving.ComputeReferences)
	var problems project.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, err
	}
	if _, err := config.Load(dir); err != nil {
		problems = append(problems, &project.Problem{File: config.FileName, Message: err.Error()})
	}
	if p != nil {
		// How times are written, and what can be looked up, is for ingest to say, which a
		// project cannot ask.
		for _, s := range p.Streams {
			tables, err := lookupTables(s)
			if err == nil {
				_, err = ingest.NewDecoder(s.Schema, ingest.Limits{}, tables...)
			}
			if err != nil {
				problems = append(problems, &project.Problem{File: s.File, Message: err.Error()})
			}
		}
		_, wrong, err := serving.BindQueries(ctx, p)
		if err != nil {
			return nil, err
		}
		problems = append(problems, wrong...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return p, nil
}

func writeProject(out *output, p *project.Project) {
	for _, s := range p.Streams {
		fmt.Fprintf(out.out, "stream %s  (%s)\n", s.Name, s.File)
		for i, c := range s.Schema.Columns {
			fmt.Fprintf(out.out, "  %s\n", strings.Join(slices.DeleteFunc([]string{c.Name, c.Type.String(), columnRole(s, i)}, func(t string) bool { return t == "" }), " "))
		}
	}
	for _, v := range p.Views {
		fmt.Fprintf(out.out, "view %s over %s  (%s)%s\n", v.Name, v.Stream, v.File, describeWindow(v.Window)+describeCost(v.Plan))
		if v.Description != "" {
			fmt.Fprintf(out.out, "  %s\n", printable(v.Description))
		}
		for _, c := range v.Output {
			fmt.Fprintf(out.out, "  %s %s\n", printable(c.Name), c.Type)
		}
	}
	for _, r := range p.References {
		fmt.Fprintf(out.out, "reference table %s  (%s)  version %s, %s\n", r.Name, r.File, r.Version, plural(int64(r.Rows.Len()), "row"))
		for _, c := range r.Rows.Columns {
			fmt.Fprintf(out.out, "  %s %s\n", printable(c.Name), c.Type)
		}
	}
	for _, m := range p.Macros {
		fmt.Fprintf(out.out, "macro %s  (%s)\n", printable(m.Usage), m.File)
		if m.Description != "" {
			fmt.Fprintf(out.out, "  %s\n", printable(m.Description))
		}
	}
	for _, q := range p.Queries {
		fmt.Fprintf(out.out, "query %s  (%s)\n", q.Name, q.File)
		if q.Description != "" {
			fmt.Fprintf(out.out, "  %s\n", printable(q.Description))
		}
		for _, param := range q.Parameters {
			line := "  $" + param.Name + " " + param.Type.String()
			if param.Optional {
				line += fmt.Sprintf(" · default %s", defaultText(param))
			}
			fmt.Fprintln(out.out, printable(line))
		}
	}
	ok := []string{plural(int64(len(p.Streams)), "stream"), plural(int64(len(p.Views)), "view")}
	if n := len(p.Queries); n == 1 {
		ok = append(ok, "1 query")
	} else if n > 1 {
		ok = append(ok, fmt.Sprintf("%d queries", n))
	}
	fmt.Fprintln(out.out, "ok: "+strings.Join(ok, ", "))
}

func defaultText(p project.QueryParameter) string {
	if p.Default == nil {
		return "NULL"
	}
	return fmt.Sprint(p.Default)
}

// columnRole says what a stream's column is besides its type.
func columnRole(s *project.Stream, i int) string {
	var parts []string
	if s.Schema.Columns[i].NotNull {
		parts = append(parts, "NOT NULL")
	}
	if i == s.Schema.TimeColumn {
		parts = append(parts, "· time")
	}
	if format := s.Schema.Formats[i]; format != "" {
		parts = append(parts, "as "+printable(format))
	}
	if i == s.Schema.IDColumn {
		parts = append(parts, fmt.Sprintf("· id, duplicates within %s are dropped", s.Schema.DedupWindow))
	}
	if lookup := describeLookup(s.Schema, i); lookup != "" {
		parts = append(parts, lookup)
	}
	return strings.Join(parts, " ")
}

func describeWindow(w *view.Window) string {
	if w == nil {
		return ""
	}
	parts := []string{", " + w.Kind}
	switch {
	case w.Unit != "":
		parts = append(parts, w.Unit, w.Zone)
	case w.Kind == view.Hop:
		parts = append(parts, w.Size.String(), "every", w.Slide.String())
	case w.Kind == view.Session && w.Max > 0:
		parts = append(parts, w.Size.String(), "at most", w.Max.String())
	case w.Size > 0:
		parts = append(parts, w.Size.String())
	}
	return strings.TrimRight(strings.Join(parts, " "), " ")
}

// describeCost says what asking for a view costs, if it is more than merging partial
// rows.
func describeCost(p *view.Plan) string {
	switch {
	case p.AfterMerge():
		return ", joins " + strings.Join(p.References, ", ") + " after the merge"
	case !p.Direct:
		return ""
	}
	return ", computed from the events when asked: each answer reads all events of " + p.Stream
}

// The JSON of validate.
type (
	columnJSON struct {
		Name    string `json:"name"`
		Type    string `json:"type"`
		NotNull bool   `json:"not_null,omitempty"`
	}
	referenceJSON struct {
		Reference string       `json:"reference"`
		File      string       `json:"file"`
		Version   string       `json:"version"`
		Rows      int          `json:"rows"`
		Columns   []columnJSON `json:"columns"`
	}
	streamJSON struct {
		Stream      string       `json:"stream"`
		File        string       `json:"file"`
		Columns     []columnJSON `json:"columns"`
		Time        string       `json:"time,omitempty"`
		TimeFormat  string       `json:"time_format,omitempty"`
		ID          string       `json:"id,omitempty"`
		DedupWindow string       `json:"dedup_window,omitempty"`
		Lookups     []lookupJSON `json:"lookups,omitempty"`
	}
	viewJSON struct {
		View        string       `json:"view"`
		File        string       `json:"file"`
		Stream      string       `json:"stream"`
		Description string       `json:"description,omitempty"`
		Version     string       `json:"version"`
		Direct      bool         `json:"direct,omitempty"`
		References  []string     `json:"references,omitempty"`
		Columns     []columnJSON `json:"columns"`
	}
	macroJSON struct {
		Macro       string `json:"macro"`
		File        string `json:"file"`
		Usage       string `json:"usage"`
		Description string `json:"description,omitempty"`
	}
	queryJSON struct {
		Query       string       `json:"query"`
		File        string       `json:"file"`
		Description string       `json:"description,omitempty"`
		Parameters  []columnJSON `json:"parameters"`
	}
)

func writeProjectJSON(out *output, p *project.Project, problems project.Problems) error {
	result := struct {
		OK         bool             `json:"ok"`
		Streams    []streamJSON     `json:"streams,omitempty"`
		Views      []viewJSON       `json:"views,omitempty"`
		References []referenceJSON  `json:"references,omitempty"`
		Queries    []queryJSON      `json:"queries,omitempty"`
		Macros     []macroJSON      `json:"macros,omitempty"`
		Problems   project.Problems `json:"problems,omitempty"`
	}{OK: len(problems) == 0, Problems: problems}
	if p != nil {
		for _, s := range p.Streams {
			j := streamJSON{Stream: s.Name, File: s.File, Columns: columnsJSON(s.Schema.Columns), TimeFormat: s.TimeFormat, Lookups: lookupsJSON(s.Schema)}
			if i := s.Schema.TimeColumn; i >= 0 {
				j.Time = s.Schema.Columns[i].Name
			}
			if i := s.Schema.IDColumn; i >= 0 {
				j.ID, j.DedupWindow = s.Schema.Columns[i].Name, s.Schema.DedupWindow.String()
			}
			result.Streams = append(result.Streams, j)
		}
		for _, v := range p.Views {
			result.Views = append(result.Views, viewJSON{v.Name, v.File, v.Stream, v.Description, v.Version, v.Direct, v.References, columnsJSON(v.Output)})
		}
		for _, q := range p.Queries {
			j := queryJSON{Query: q.Name, File: q.File, Description: q.Description, Parameters: []columnJSON{}}
			for _, param := range q.Parameters {
				j.Parameters = append(j.Parameters, columnJSON{param.Name, param.Type.String(), !param.Optional})
			}
			result.Queries = append(result.Queries, j)
		}
	}
	if p != nil {
		for _, m := range p.Macros {
			result.Macros = append(result.Macros, macroJSON{m.Name, m.File, m.Usage, m.Description})
		}
		for _, r := range p.References {
			result.References = append(result.References, referenceJSON{r.Name, r.File, r.Version, r.Rows.Len(), columnsJSON(r.Rows.Columns)})
		}
	}
	e := json.NewEncoder(out.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(result)
}

func columnsJSON(columns []event.Column) []columnJSON {
	list := make([]columnJSON, len(columns))
	for i, c := range columns {
		list[i] = columnJSON{c.Name, c.Type.String(), c.NotNull}
	}
	return list
}
