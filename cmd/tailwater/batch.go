package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// BatchCmd starts batch runs and lists them.
type BatchCmd struct {
	Run  BatchRunCmd  `cmd:"" help:"Run batch now, and wait for its end."`
	List BatchListCmd `cmd:"" help:"List the last runs."`
}

// Help is shown by --help.
func (c *BatchCmd) Help() string {
	return `Examples:

    tailwater batch run
    tailwater batch run --rebuild
    tailwater batch list --json`
}

// BatchRunCmd runs batch now.
type BatchRunCmd struct {
	Rebuild bool `help:"Make facts and views anew from the lake, not only what is new in it."`
	JSON    bool `name:"json" help:"Print the run as JSON."`
	remote
}

// BatchListCmd lists the last runs.
type BatchListCmd struct {
	JSON bool `name:"json" help:"Print the runs as JSON."`
	remote
}

// A batchRun is a run as the server reports it.
type batchRun struct {
	ID       any            `json:"id"`
	Started  string         `json:"started"`
	Finished string         `json:"finished"`
	Status   string         `json:"status"`
	Rows     json.Number    `json:"rows"`
	Through  map[string]any `json:"through"`
	Error    string         `json:"error"`
}

func (r *batchRun) cells() []string {
	return []string{fmt.Sprint(r.ID), r.Status, r.Started, r.Finished, r.Rows.String(), printable(joined(r.Through)), printable(r.Error)}
}

func writeRuns(out *output, runs []batchRun) error {
	rows := make([][]string, len(runs))
	for i := range runs {
		rows[i] = runs[i].cells()
	}
	return writeTable(out.out, []string{"run", "status", "started", "finished", "rows", "through", "error"}, []bool{false, false, false, false, true, false, false}, rows)
}

// Run starts a run; the server answers when it has ended.
func (c *BatchRunCmd) Run(ctx context.Context, out *output) error {
	r := request{method: http.MethodPost, path: "/v1/batch/run", query: url.Values{}}
	if c.Rebuild {
		r.query.Set("rebuild", "true")
	}
	var run batchRun
	body, err := c.getJSON(ctx, r, &run)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintf(out.out, "%s\n", strings.TrimSpace(string(body)))
	} else if err := writeRuns(out, []batchRun{run}); err != nil {
		return err
	}
	if run.Error != "" {
		return fmt.Errorf("the batch run ended with an error: %s; what it had committed stays, the next run goes on from there", printable(run.Error))
	}
	return nil
}

// Run lists the last runs. The answer may be a list, or an object with one.
func (c *BatchListCmd) Run(ctx context.Context, out *output) error {
	var raw json.RawMessage
	body, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/batch/runs"}, &raw)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintf(out.out, "%s\n", strings.TrimSpace(string(body)))
		return nil
	}
	var wrapped struct {
		Runs []batchRun `json:"runs"`
	}
	into := any(&wrapped)
	if strings.HasPrefix(strings.TrimSpace(string(raw)), "[") {
		into = &wrapped.Runs
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("the answer is no list of runs: %w", err)
	}
	return writeRuns(out, wrapped.Runs)
}
