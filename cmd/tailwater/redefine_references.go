package main

import (
	"reflect"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/project"
)

// referencesChanged tells which reference tables a project's views join that a node
// does not have, or has with other columns: views are planned over the files, and
// answer over what the node read when it started. Other rows are no obstacle: an answer
// names the version that it read.
func referencesChanged(running, p *project.Project) project.Problems {
	columns := map[string][]event.Column{}
	for _, r := range running.References {
		columns[r.Name] = r.Rows.Columns
	}
	joined := map[string]bool{}
	for _, v := range p.Views {
		for _, name := range v.References {
			joined[name] = true
		}
	}
	var problems project.Problems
	for _, r := range p.References {
		if joined[r.Name] && !reflect.DeepEqual(columns[r.Name], r.Rows.Columns) {
			problems = append(problems, &project.Problem{File: r.File, Message: "a view joins the table, which is new or has other columns than the one that the server runs", Hint: "reference tables change with a restart: stop the server and start it again"})
		}
	}
	return problems
}
