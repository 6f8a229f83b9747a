package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// A report is what the bench found, and on what.
type report struct {
	Size    string    `json:"size"` // full or quick
	Began   time.Time `json:"began"`
	Machine machine   `json:"machine"`
	Results []Result  `json:"results"`
}

func newReport(ctx context.Context, dir, size string) (*report, error) {
	m, err := describeMachine(ctx, dir)
	return &report{Size: size, Began: time.Now().UTC().Truncate(time.Second), Machine: m}, err
}

func readReport(path string) (*report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: measure first", err)
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}

func (r *report) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func (r *report) save(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.json(f), f.Close())
}

// number writes a figure with the digits that mean something.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 10_000:
		return fmt.Sprintf("%.1f k", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func optional(v float64) string {
	if v == 0 {
		return ""
	}
	return number(v)
}

// verdict is the target with what became of it.
func (r *Result) verdict() string {
	t := r.Target
	if t == nil {
		return ""
	}
	sign, word := "≥", "MISS"
	if t.AtMost {
		sign = "≤"
	}
	if t.Pass {
		word = "PASS"
	}
	text := sign + " " + number(t.Value) + " " + word
	if t.Broken != "" {
		text += " (" + t.Broken + ")"
	}
	return text
}

// more is what else was seen, in one line.
func (r *Result) more() string {
	var parts []string
	for _, f := range r.More {
		parts = append(parts, f.Name+" "+number(f.Value))
	}
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	return strings.Join(parts, ", ")
}

// line is a result for a log.
func (r *Result) line() string {
	text := fmt.Sprintf("%-26s %s %s", r.Name, number(r.Value), r.Unit)
	if r.Limit > 0 {
		text += fmt.Sprintf("  limit %s, ratio %.2f", number(r.Limit), r.Ratio)
	}
	if r.ServerCPU > 0 {
		text += fmt.Sprintf("  server %s µs/event", number(r.ServerCPU))
	}
	if v := r.verdict(); v != "" {
		text += "  " + v
	}
	if more := r.more(); more != "" {
		text += "\n    " + more
	}
	return text
}

var header = []string{"what", "value", "unit", "limit", "ratio", "server µs/event", "client µs/event", "target"}

func (r *Result) cells() []string {
	ratio := ""
	if r.Limit > 0 {
		ratio = fmt.Sprintf("%.2f", r.Ratio)
	}
	return []string{r.Name, number(r.Value), r.Unit, optional(r.Limit), ratio, optional(r.ServerCPU), optional(r.ClientCPU), r.verdict()}
}

// table prints the results for a person.
func (r *report) table(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s\n%s\n\n", r.Began.Format(time.DateTime), r.Size, r.Machine)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, res := range r.Results {
		fmt.Fprintln(tw, strings.Join(res.cells(), "\t"))
	}
	return tw.Flush()
}

// markdown prints the table of docs/performance.md.
func (r *report) markdown(w io.Writer) error {
	fmt.Fprintf(w, "%s (UTC), `%s` sizes. %s\n\n", r.Began.Format("2006-01-02 15:04"), r.Size, r.Machine)
	row := func(cells []string) { fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |") }
	row(append(header, "also"))
	fmt.Fprintln(w, "|---|---:|---|---:|---:|---:|---:|---|---|")
	for _, res := range r.Results {
		row(append(res.cells(), res.more()))
	}
	return nil
}
