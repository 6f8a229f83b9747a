package view

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/event"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// Each case of testdata/*.txt is a definition, a line "----", and what the
// planner makes of it; a blank line ends it. In a definition "⏎" is a line end.
func TestPlanner(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	notime := &event.Schema{Stream: "notime", TimeColumn: -1, IDColumn: -1, Columns: []event.Column{{Name: "k", Type: event.Type{Kind: event.Varchar}}}}
	schemas := map[string]*event.Schema{"trades": trades(), "notime": notime}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for _, c := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
				definition, want, _ := strings.Cut(c, "\n----")
				got := describe(t, planner, definition, schemas)
				if want = strings.Trim(want, "\n"); got != want && !*update {
					t.Errorf("%s\ngot:\n%s\nwant:\n%s", definition, got, want)
				}
				fmt.Fprintf(&out, "%s\n----\n%s\n\n", definition, got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func describe(t *testing.T, planner *Planner, definition string, schemas map[string]*event.Schema) string {
	def := annotated(strings.ReplaceAll(definition, "⏎", "\n"))
	def.File, def.Line, def.References = "views/v.sql", 1, joinedColumns()
	p, err := planner.Plan(t.Context(), def, schemas)
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case err != nil:
		t.Errorf("%s: %v", definition, err)
		return ""
	}
	again, err := planner.Plan(t.Context(), def, schemas)
	if err != nil || again.Version != p.Version || again.FinishSQL("m") != p.FinishSQL("m") {
		t.Errorf("%s: planned twice, it is not the same: %v", definition, err)
	}
	var b strings.Builder
	if p.Window != nil {
		fmt.Fprintf(&b, "window  %s %v shift %v\n", p.Window.Kind, p.Window.Size, p.Window.Shift)
	}
	for _, k := range p.Keys {
		fmt.Fprintf(&b, "key     %s %s in %s\n", k.Name, k.Type, k.Column)
	}
	if p.Direct {
		fmt.Fprintf(&b, "over the stream\nplain   %s", p.PlainSQL("events"))
		return b.String()
	}
	fmt.Fprintf(&b, "reads   %s\npartial %s\nmerge   %s\n", strings.Join(p.Reads, " "), p.PartialSQL("events"), p.MergeSQL("partials"))
	if p.AfterMerge() {
		fmt.Fprintf(&b, "join    %s\n", p.joinedSQL("merged", ""))
	}
	fmt.Fprintf(&b, "finish  %s\nplain   %s", p.FinishSQL("merged"), p.PlainSQL("events"))
	if sql := p.ErrorsSQL("events"); sql != "" {
		fmt.Fprintf(&b, "\nerrors  %s", sql)
	}
	for _, c := range []struct {
		name    string
		columns []event.Column
	}{{"rows   ", p.Partial}, {"answer ", p.Output}} {
		fmt.Fprintf(&b, "\n%s", c.name)
		for _, col := range c.columns {
			fmt.Fprintf(&b, " %s:%s", strings.ReplaceAll(col.Name, " ", "␣"), col.Type)
		}
	}
	return b.String()
}
