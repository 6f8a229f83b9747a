package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// StatusCmd shows how far streams and views are.
type StatusCmd struct {
	JSON bool `name:"json" help:"Print the status as JSON."`
	remote
}

// Help is shown by --help.
func (c *StatusCmd) Help() string {
	return `head is how far the log reaches, applied how far the views do, landed how far the lake, batched how far the warehouse.
In the ledger, received = accepted + refused + duplicates.

Example:

    tailwater status
    tailwater status --json | jq .ready`
}

// A status is shown as it comes: whatever members a stream or view has become columns.
type status struct {
	Ready   bool             `json:"ready"`
	Reason  string           `json:"reason"`
	Version string           `json:"version"`
	Streams []map[string]any `json:"streams"`
	Views   []map[string]any `json:"views"`
	Batch   map[string]any   `json:"batch"`
}

// Run prints the status; exit code 1 if the server is not ready.
func (c *StatusCmd) Run(ctx context.Context, out *output) error {
	var s status
	body, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/status"}, &s)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintf(out.out, "%s\n", strings.TrimSpace(string(body)))
	} else if err := s.write(out); err != nil {
		return err
	}
	if !s.Ready {
		return fmt.Errorf("the server is not ready: %s", printable(firstOf(s.Reason, "it is still catching up with the log")))
	}
	return nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (s *status) write(out *output) error {
	fmt.Fprintf(out.out, "tailwater %s\n", printable(s.Version))
	var ledgers []map[string]any
	for _, stream := range s.Streams {
		ledger, ok := stream["ledger"].(map[string]any)
		if !ok {
			continue
		}
		delete(stream, "ledger") // a table of its own reads better
		ledger["stream"] = stream["stream"]
		ledgers = append(ledgers, ledger)
	}
	if err := writeObjects(out, s.Streams, []string{"stream", "epoch", "head", "applied", "landed", "batched", "lag_events", "lag_messages", "lag_seconds"}); err != nil {
		return err
	}
	if err := writeObjects(out, ledgers, []string{"stream", "received", "accepted", "refused", "duplicates", "landed_rows"}); err != nil {
		return err
	}
	if err := writeObjects(out, s.Views, []string{"view", "stream", "complete", "applied", "batched", "difference"}); err != nil {
		return err
	}
	if len(s.Batch) > 0 {
		fmt.Fprintf(out.out, "\nbatch: %s\n", printable(joined(s.Batch)))
	}
	return nil
}

// writeObjects prints objects as a table: the columns of first that any of them
// has, then all others by name. An object in an object becomes "k v, k v".
func writeObjects(out *output, objects []map[string]any, first []string) error {
	if len(objects) == 0 {
		return nil
	}
	all := map[string]bool{}
	for _, o := range objects {
		for k := range o {
			all[k] = true
		}
	}
	var header []string
	for _, k := range first {
		if all[k] {
			header = append(header, k)
			delete(all, k)
		}
	}
	header = append(header, slices.Sorted(maps.Keys(all))...)
	rows, right := make([][]string, len(objects)), make([]bool, len(header))
	for i, o := range objects {
		rows[i] = make([]string, len(header))
		for j, k := range header {
			rows[i][j] = printable(valueText(o[k]))
			if _, number := o[k].(json.Number); number {
				right[j] = true
			}
		}
	}
	fmt.Fprintln(out.out)
	return writeTable(out.out, header, right, rows)
}

// valueText gives a decoded JSON value in one line.
func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case map[string]any:
		return joined(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = valueText(v[i])
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v)
}

// joined gives an object as "key value, key value", in order of the keys.
func joined(object map[string]any) string {
	parts := make([]string, 0, len(object))
	for _, k := range slices.Sorted(maps.Keys(object)) {
		parts = append(parts, k+" "+valueText(object[k]))
	}
	return strings.Join(parts, ", ")
}
