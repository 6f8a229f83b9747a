package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// formatFlags are the flags of the verbs that answer with rows.
type formatFlags struct {
	Format string `help:"Format of the rows: ${enum}; spreadsheet is csv in which no text is a formula." enum:"table,json,ndjson,csv,spreadsheet" default:"table" short:"f"`
	JSON   bool   `name:"json" help:"Short for --format json."`
}

func (o formatFlags) format() string {
	if o.JSON {
		return "json"
	}
	return o.Format
}

// accept names the format to the server.
func (o formatFlags) accept() string {
	switch o.format() {
	case "ndjson":
		return "application/x-ndjson"
	case "csv":
		return "text/csv"
	case "spreadsheet":
		return "text/vnd.tailwater.spreadsheet+csv"
	}
	return "application/json"
}

// An answer is what views and SQL answer with.
type answer struct {
	Meta []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"meta"`
	Data       []map[string]json.RawMessage `json:"data"`
	Rows       int64                        `json:"rows"`
	Complete   *bool                        `json:"complete"`
	Cut        map[string]json.Number       `json:"cut"`
	Watermark  map[string]string            `json:"watermark"`
	Statistics map[string]any               `json:"statistics"`
}

// show writes an answer's rows to stdout and a line of facts to stderr. Other
// formats than the table are the server's own bytes, as they come.
func (o formatFlags) show(out *output, resp *http.Response, started time.Time) error {
	defer resp.Body.Close()
	if o.format() != "table" {
		if _, err := io.Copy(out.out, resp.Body); err != nil {
			return fmt.Errorf("the answer broke off, what was printed is not whole: %w", err)
		}
		return o.headerFacts(out, resp, started)
	}
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	var a answer
	if err := d.Decode(&a); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		return fmt.Errorf("the answer is not the JSON of a tailwater server (is --url right?): %w", err)
	}
	header, right := make([]string, len(a.Meta)), make([]bool, len(a.Meta))
	for i, m := range a.Meta {
		header[i], right[i] = m.Name, isNumeric(m.Type)
	}
	rows := make([][]string, len(a.Data))
	for i, row := range a.Data {
		rows[i] = make([]string, len(a.Meta))
		for j, m := range a.Meta {
			rows[i][j] = cellText(row[m.Name])
		}
	}
	if err := writeTable(out.out, header, right, rows); err != nil {
		return err
	}
	return a.facts(out)
}

func isNumeric(sqlType string) bool {
	name, _, _ := strings.Cut(sqlType, "(")
	return slices.Contains([]string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL"}, name)
}

// facts says what the rows stand for.
func (a *answer) facts(out *output) error {
	parts := []string{plural(a.Rows, "row")}
	if len(a.Cut) > 0 {
		cut := make([]string, 0, len(a.Cut))
		for source, seq := range a.Cut {
			cut = append(cut, source+":"+seq.String())
		}
		slices.Sort(cut)
		parts = append(parts, "cut "+strings.Join(cut, ","))
	}
	if len(a.Watermark) > 0 {
		marks := make([]string, 0, len(a.Watermark))
		for stream, at := range a.Watermark {
			marks = append(marks, stream+" "+at)
		}
		slices.Sort(marks)
		parts = append(parts, "watermark "+strings.Join(marks, ", "))
	}
	if ms, ok := a.Statistics["elapsed_ms"]; ok {
		parts = append(parts, fmt.Sprintf("%v ms", ms))
	}
	return closing(out, a.Complete == nil || *a.Complete, parts)
}

// headerFacts is facts for the formats that carry them in headers and trailers.
func (o formatFlags) headerFacts(out *output, resp *http.Response, started time.Time) error {
	get := func(name string) string {
		if v := resp.Trailer.Get(name); v != "" {
			return v
		}
		return resp.Header.Get(name)
	}
	var parts []string
	if n, err := strconv.ParseInt(get("X-Tailwater-Rows"), 10, 64); err == nil {
		parts = append(parts, plural(n, "row"))
	}
	for _, fact := range []string{"Cut", "Watermark"} {
		if v := get("X-Tailwater-" + fact); v != "" {
			parts = append(parts, strings.ToLower(fact)+" "+v)
		}
	}
	parts = append(parts, fmt.Sprintf("%d ms", time.Since(started).Milliseconds()))
	return closing(out, get("X-Tailwater-Complete") != "false", parts)
}

// closing prints the facts. Rows that are known to leave events out are printed
// too, but a script must not take them for the answer.
func closing(out *output, complete bool, parts []string) error {
	if complete {
		parts = slices.Insert(parts, min(1, len(parts)), "complete")
	}
	fmt.Fprintln(out.err, printable(strings.Join(parts, " · ")))
	if !complete {
		return errors.New("the answer is INCOMPLETE: some events of its range are in neither layer; `tailwater status` shows which, `tailwater batch run --rebuild` repairs it from the lake")
	}
	return nil
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
