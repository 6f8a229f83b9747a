package main

import (
	"testing"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/view"
)

func TestApplyWantsTheReferenceTablesThatRun(t *testing.T) {
	of := func(columns ...string) *project.Project {
		rows := &duckdb.Relation{}
		for _, name := range columns {
			rows.Columns = append(rows.Columns, event.Column{Name: name, Type: event.Type{Kind: event.Varchar}})
		}
		return &project.Project{References: []*project.Reference{{Name: "names", File: "reference/names.csv", Rows: rows}},
			Views: []*project.View{{Plan: &view.Plan{Name: "v", References: []string{"names"}}}}}
	}
	for _, c := range []struct {
		running, files *project.Project
		problems       int
	}{
		{of("k", "name"), of("k", "name"), 0},
		{of("k", "name"), of("k", "title"), 1},
		{&project.Project{}, of("k"), 1},
		{of("k"), &project.Project{References: of("other").References}, 0}, // which no view joins
	} {
		if got := referencesChanged(c.running, c.files); len(got) != c.problems {
			t.Errorf("%v, want %d problems", got, c.problems)
		}
	}
}
