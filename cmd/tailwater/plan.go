package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/project"
)

// PlanCmd shows what a project's files would change.
type PlanCmd struct {
	Dir  string `arg:"" optional:"" default:"." help:"The project's folder." placeholder:"DIR"`
	JSON bool   `name:"json" help:"Print the plan as JSON."`
	remote
}

// Help is shown by --help.
func (c *PlanCmd) Help() string {
	return `The files are compared with the streams that the server takes and the views that it answers. Nothing is changed. The exit code is 1 if something is wrong with the files, or a stream is not what it was and has not just gained columns that may be NULL.

  unchanged  answers as before
  swap       at once: only what is done with merged rows has changed
  rebuild    the new version is built beside the old, which answers until then
  new, drop  a view comes, or goes

Examples:

    tailwater plan
    tailwater plan flights --url http://127.0.0.1:8080 --json`
}

// Run prints the plan.
func (c *PlanCmd) Run(ctx context.Context, out *output) error {
	plan := applied{DryRun: true, Streams: []streamChange{}, Changes: []viewChange{}, Problems: project.Problems{}}
	p, err := checkProject(ctx, c.Dir)
	if err != nil && !errors.As(err, &plan.Problems) {
		return err
	}
	if p != nil {
		if plan.Streams, plan.Problems, err = c.compareStreams(ctx, p); err != nil {
			return err
		}
		if plan.Changes, err = c.compare(ctx, p); err != nil {
			return err
		}
	}
	return plan.show(out, c.JSON)
}

// compareStreams asks the server for the columns that it takes.
func (c *PlanCmd) compareStreams(ctx context.Context, p *project.Project) ([]streamChange, project.Problems, error) {
	var shown struct {
		Streams []runningStream `json:"streams"`
	}
	if _, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/streams"}, &shown); err != nil {
		return nil, nil, err
	}
	var running []*event.Schema
	for _, s := range shown.Streams {
		schema, err := s.schema()
		if err != nil {
			return nil, nil, err
		}
		running = append(running, schema)
	}
	changes, problems := streamChangesOf(running, p)
	return changes, problems, nil
}

// compare asks the server what it answers, and what building costs there.
func (c *PlanCmd) compare(ctx context.Context, p *project.Project) ([]viewChange, error) {
	var running []runningView
	if _, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/views"}, &running); err != nil {
		return nil, err
	}
	var status struct {
		Streams []streamStatus `json:"streams"`
	}
	if _, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/status"}, &status); err != nil {
		return nil, err
	}
	var history struct {
		Runs []batch.Run `json:"runs"`
	}
	if _, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/batch/runs"}, &history); err != nil {
		return nil, err
	}
	costs := cost{events: map[string]int64{}, rate: rateOf(history.Runs)}
	for _, s := range status.Streams {
		costs.events[s.Stream] = int64(s.Ledger.LandedRows)
	}
	return changesOf(running, p, costs), nil
}

// show prints a plan, or what was done; it fails if nothing can be.
func (a applied) show(out *output, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out.out)
		e.SetEscapeHTML(false)
		if err := e.Encode(a); err != nil {
			return err
		}
	} else {
		for _, c := range a.Streams {
			fmt.Fprintln(out.out, printable(c.line()))
		}
		for _, c := range a.Changes {
			fmt.Fprintln(out.out, printable(c.line()))
			if c.Difference == nil {
				continue
			}
			for _, example := range c.Difference.Examples {
				fmt.Fprintf(out.out, "  %s\n", printable(string(example)))
			}
		}
		for _, p := range a.Problems {
			fmt.Fprintln(out.out, printable("refuse: "+p.Error()))
		}
	}
	if n := len(a.Problems); n > 0 {
		return fmt.Errorf("%s: nothing can be applied", plural(int64(n), "problem"))
	}
	return nil
}

// line is a change in words.
func (c viewChange) line() string {
	parts := []string{fmt.Sprintf("%-9s %s", c.Change, c.View)}
	if c.Was != "" && c.Was != c.Version {
		parts = append(parts, "version "+c.Was+" → "+c.Version)
	}
	if c.Events != nil && c.Difference == nil {
		parts = append(parts, fmt.Sprintf("reads %s, about %s", plural(*c.Events, "event"), (time.Duration(*c.Seconds*1000)*time.Millisecond).String()))
	}
	if d := c.Difference; d != nil {
		parts = append(parts, fmt.Sprintf("%s: %d added, %d removed, %d changed", plural(d.Rows, "row"), d.Added, d.Removed, d.Changed))
	}
	return strings.Join(parts, " · ")
}

// ApplyCmd brings a running server's views, and its streams' columns, to what its
// project's files say.
type ApplyCmd struct {
	DryRun bool `help:"Show what would be done."`
	JSON   bool `name:"json" help:"Print what was done as JSON."`
	remote
}

// Help is shown by --help.
func (c *ApplyCmd) Help() string {
	return `The server reads the files of its own project again. New versions are built beside the old ones, which answer until all are swapped at one cut; then the old and the new answers at that cut are compared. If anything fails the old ones go on answering. If a stream has gained columns, requests wait until the server takes them, and Postgres sessions end. Queries, reference tables and all else about streams change with a restart.

Examples:

    tailwater apply --dry-run
    tailwater apply --json`
}

// progressPace is how often apply asks how far the server is.
const progressPace = 500 * time.Millisecond

// Run applies; progress goes to standard error.
func (c *ApplyCmd) Run(ctx context.Context, out *output) error {
	r := request{method: http.MethodPost, path: "/v1/apply", query: url.Values{"dry_run": {"true"}}}
	var did applied
	if _, err := c.getJSON(ctx, r, &did); err != nil {
		return err
	}
	if c.DryRun || len(did.Problems) > 0 {
		return did.show(out, c.JSON)
	}
	ended := make(chan error, 1)
	var done applied
	go func() {
		_, err := c.getJSON(ctx, request{method: http.MethodPost, path: "/v1/apply"}, &done)
		ended <- err
	}()
	tick := time.NewTicker(progressPace)
	defer tick.Stop()
	var last applying
	for {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			if err := done.show(out, c.JSON); err != nil || c.JSON {
				return err
			}
			fmt.Fprintf(out.err, "applied at cut %s\n", done.Cut)
			return nil
		case <-tick.C:
			var at applying
			// How far it is matters less than its end, which the other request tells.
			if _, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/apply"}, &at); err == nil && at.Applying && at != last {
				last = at
				if at.Total > 0 {
					fmt.Fprintf(out.err, "%s: %d of %d events\n", at.Phase, at.Done, at.Total)
				} else {
					fmt.Fprintln(out.err, at.Phase)
				}
			}
		}
	}
}
