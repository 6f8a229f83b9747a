package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/batch"
)

// ViewCmd reads a view, checks it against the raw events, or lists its versions.
type ViewCmd struct {
	Show    ViewShowCmd    `cmd:"" default:"withargs" help:"Read a view, or check it against the raw events: what is done without a word."`
	History ViewHistoryCmd `cmd:"" help:"List the versions that a view has had."`
}

// Help is shown by --help.
func (c *ViewCmd) Help() string {
	return `Examples:

    tailwater view flights_hourly --limit 5
    tailwater view history flights_hourly`
}

// ViewHistoryCmd lists the versions of a view.
type ViewHistoryCmd struct {
	Name string `arg:"" help:"The view." placeholder:"VIEW"`
	JSON bool   `name:"json" help:"Print the versions as JSON, their SQL and examples of the difference with them."`
	remote
}

// Help is shown by --help.
func (c *ViewHistoryCmd) Help() string {
	return `Example:

    tailwater view history flights_hourly --json`
}

// Run prints the versions, oldest first.
func (c *ViewHistoryCmd) Run(ctx context.Context, out *output) error {
	var history struct {
		Versions []batch.Version `json:"versions"`
	}
	body, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/views/" + url.PathEscape(c.Name) + "/history"}, &history)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintf(out.out, "%s\n", strings.TrimSpace(string(body)))
		return nil
	}
	var rows [][]string
	for _, v := range history.Versions {
		row := []string{v.Version, v.Change, v.Applied.Format(time.RFC3339), printable(v.Cut.String()), "", "", "", ""}
		if d := v.Difference; d != nil {
			for i, n := range []int64{d.Rows, d.Added, d.Removed, d.Changed} {
				row[4+i] = strconv.FormatInt(n, 10)
			}
		}
		rows = append(rows, row)
	}
	return writeTable(out.out, []string{"version", "change", "applied", "cut", "rows", "added", "removed", "changed"}, []bool{false, false, false, false, true, true, true, true}, rows)
}

// ViewShowCmd reads a view, or checks it against the raw events.
type ViewShowCmd struct {
	Name  string            `arg:"" help:"The view." placeholder:"VIEW"`
	From  string            `help:"Windows that begin at this time or later." placeholder:"TIME"`
	To    string            `help:"Windows that begin before this time." placeholder:"TIME"`
	Where map[string]string `help:"Only rows whose key has this value; may be repeated." placeholder:"KEY=VALUE" mapsep:"none"`
	Order string            `help:"Order by these columns; a dash before a name turns it round." placeholder:"COLUMN,-COLUMN"`
	Limit int               `help:"At most so many rows." placeholder:"N"`
	After string            `help:"Wait until the answer covers this position, as send prints it." placeholder:"POSITION"`
	At    string            `help:"Answer, or check, as of an earlier cut, as an answer printed it." placeholder:"CUT"`
	Check bool              `help:"Compare the view with its SQL over the raw events at one cut; exit code 1 unless the difference is 0."`
	formatFlags
	remote
}

// Help is shown by --help.
func (c *ViewShowCmd) Help() string {
	return `Rows go to standard output, what is known about them to standard error.

Examples:

    tailwater view flights_hourly --from 2001-01-01T00:00:00Z --where origin=DTW --order=-events --limit 5
    tailwater view flights_hourly --check
    tailwater view flights_hourly --check --at flights/1/0:4711`
}

// Run prints the view, or the result of its check.
func (c *ViewShowCmd) Run(ctx context.Context, out *output) error {
	path := "/v1/views/" + url.PathEscape(c.Name)
	query := url.Values{}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	set("at", c.At)
	if c.Check {
		return c.check(ctx, out, request{method: http.MethodGet, path: path + "/check", query: query})
	}
	set("from", c.From)
	set("to", c.To)
	set("order", c.Order)
	set("after", c.After)
	for key, value := range c.Where {
		query.Set("where."+key, value)
	}
	if c.Limit > 0 {
		query.Set("limit", strconv.Itoa(c.Limit))
	}
	started := time.Now()
	resp, err := c.do(ctx, request{method: http.MethodGet, path: path, query: query, accept: c.accept()})
	if err != nil {
		return err
	}
	return c.show(out, resp, started)
}

func (c *ViewShowCmd) check(ctx context.Context, out *output, r request) error {
	var check struct {
		Difference *int64                 `json:"difference"`
		Rows       int64                  `json:"rows"`
		Cut        map[string]json.Number `json:"cut"`
		Missing    []json.RawMessage      `json:"missing"`
		Extra      []json.RawMessage      `json:"extra"`
	}
	body, err := c.getJSON(ctx, r, &check)
	if err != nil {
		return err
	}
	if check.Difference == nil {
		return fmt.Errorf("the answer names no difference; is %s a tailwater server of this version?", c.URL)
	}
	if c.format() != "table" {
		fmt.Fprintf(out.out, "%s\n", body)
	} else {
		fmt.Fprintf(out.out, "difference: %d\n", *check.Difference)
		for _, row := range check.Missing {
			fmt.Fprintf(out.out, "  missing  %s\n", printable(string(row)))
		}
		for _, row := range check.Extra {
			fmt.Fprintf(out.out, "  extra    %s\n", printable(string(row)))
		}
		facts := answer{Rows: check.Rows, Cut: check.Cut}
		if err := facts.facts(out); err != nil {
			return err
		}
	}
	if *check.Difference != 0 && c.At != "" {
		return fmt.Errorf("at %s what merge makes of view %s's partial rows differs from its SQL over the raw events in %s: a fault of ours; keep this output and report it", c.At, c.Name, plural(*check.Difference, "row"))
	}
	if *check.Difference != 0 {
		return fmt.Errorf("view %s differs from its SQL over the raw events in %s; `tailwater batch run --rebuild` makes it anew from the lake", c.Name, plural(*check.Difference, "row"))
	}
	return nil
}
