package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// An explainKind says what EXPLAIN asks for.
type explainKind int

const (
	explainNothing explainKind = iota
	explainPlan                // EXPLAIN: the plan, with estimates
	explainRun                 // EXPLAIN ANALYZE: the statement is run, and measured
)

// explainWord matches EXPLAIN and what may stand before it.
var explainWord = regexp.MustCompile(`(?is)^((?:\s|--[^\n]*\n|/\*.*?\*/)*)explain(?:\s*\(\s*analyze\s*\)|\s+(analyze)\b|\b)`)

// explained takes EXPLAIN off a statement. What it takes off becomes spaces, so
// that positions in the statement stay what they are.
func explained(sql string) (explainKind, string) {
	m := explainWord.FindStringSubmatchIndex(sql)
	if m == nil {
		return explainNothing, sql
	}
	kind := explainPlan
	if strings.Contains(strings.ToLower(sql[m[3]:m[1]]), "analyze") {
		kind = explainRun
	}
	blank := strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return ' '
	}, sql[:m[1]])
	return kind, blank + sql[m[1]:]
}

// explainColumns are those of EXPLAIN's rows: first one for each source that the
// statement reads, with all that it reads there, then the operators of the plan.
var explainColumns = []event.Column{
	{Name: "step", Type: event.Type{Kind: event.Varchar}},   // "source", or the operator, indented by its depth
	{Name: "source", Type: event.Type{Kind: event.Varchar}}, // batch, lake, speed; merge for what works on their rows
	{Name: "rows", Type: event.Type{Kind: event.BigInt}},    // that it gives; an estimate unless analyzed
	{Name: "scanned", Type: event.Type{Kind: event.BigInt}}, // rows read to give them; NULL unless analyzed
	{Name: "time_ms", Type: event.Type{Kind: event.Double}}, // of all threads together; NULL unless analyzed
	{Name: "detail", Type: event.Type{Kind: event.Varchar}}, // tables, conditions, groups
}

// An operator is a node of the engine's plan: its JSON form, estimated or measured.
type operator struct {
	Name     string         `json:"name"`          // estimated
	Operator string         `json:"operator_name"` // measured
	Seconds  float64        `json:"operator_timing"`
	Rows     int64          `json:"operator_cardinality"`
	Scanned  int64          `json:"operator_rows_scanned"`
	Info     map[string]any `json:"extra_info"`
	Children []operator     `json:"children"`
}

type explainRow struct {
	step, source, detail string
	rows, scanned        int64
	ms                   float64
}

// explain gives the plan of a statement, run or not, with what comes from where.
func (p *pin) explain(ctx context.Context, sql string, kind explainKind) (*Answer, error) {
	command := "EXPLAIN (FORMAT JSON) "
	if kind == explainRun {
		command = "EXPLAIN (ANALYZE, FORMAT JSON) "
	}
	defer p.close()
	rel, err := p.tx.Conn.Collect(ctx, command+sql)
	if err != nil {
		return nil, p.failed(ctx, err)
	}
	text, _ := rel.Value(0, len(rel.Columns)-1).(string)
	var roots []operator
	if kind == explainRun {
		var root operator
		err = json.Unmarshal([]byte(text), &root)
		roots = root.Children
		if len(roots) == 1 && roots[0].Operator == "EXPLAIN_ANALYZE" {
			roots = roots[0].Children
		}
	} else {
		err = json.Unmarshal([]byte(text), &roots)
	}
	if err != nil {
		return nil, fmt.Errorf("explain: the engine's plan: %w", err)
	}
	var steps []explainRow
	for _, r := range roots {
		steps = flatten(steps, r, 0)
	}
	sources := map[string]*explainRow{}
	var rows []explainRow
	for _, name := range []string{"batch", "lake", "speed", "merge"} {
		sources[name] = &explainRow{step: "source", source: name}
	}
	for _, s := range steps {
		total := sources[s.source]
		total.ms += s.ms
		if s.source != "merge" {
			total.rows, total.scanned = total.rows+s.rows, total.scanned+s.scanned
		} else if total.rows == 0 {
			total.rows = s.rows
		}
	}
	for _, name := range []string{"batch", "lake", "speed", "merge"} {
		rows = append(rows, *sources[name])
	}
	batch := explainBatch(append(rows, steps...), kind == explainRun)
	sent := false
	return &Answer{
		Columns: explainColumns, Complete: len(p.problems) == 0, Cut: p.cut, Head: p.core.Heads(ctx), Watermark: p.watermark(), Statistics: p.stats,
		Next: func(context.Context) (arrow.RecordBatch, error) {
			if sent {
				return nil, io.EOF
			}
			sent = true
			return batch, nil
		},
		Close: func() {},
	}, nil
}

// flatten lists an operator and those below it.
func flatten(to []explainRow, o operator, depth int) []explainRow {
	name := strings.TrimSpace(o.Name + o.Operator)
	row := explainRow{step: strings.Repeat("  ", depth) + name, source: sourceOf(name, o.Info), rows: o.Rows, scanned: o.Scanned, ms: o.Seconds * 1000}
	var details []string
	for _, key := range sortedKeys(o.Info) {
		if key == "Estimated Cardinality" {
			if n, err := strconv.ParseInt(fmt.Sprint(o.Info[key]), 10, 64); err == nil && o.Operator == "" {
				row.rows = n
			}
			continue
		}
		switch v := o.Info[key].(type) {
		case string:
			if v != "" {
				details = append(details, key+": "+ownNames(v))
			}
		case []any:
			var parts []string
			for _, e := range v {
				parts = append(parts, ownNames(fmt.Sprint(e)))
			}
			details = append(details, key+": "+strings.Join(parts, ", "))
		}
	}
	row.detail = strings.Join(details, "; ")
	to = append(to, row)
	for _, child := range o.Children {
		to = flatten(to, child, depth+1)
	}
	return to
}

// sourceOf tells from which layer an operator reads.
func sourceOf(name string, info map[string]any) string {
	table := fmt.Sprint(info["Table"])
	switch name = strings.ToUpper(name); {
	case strings.Contains(name, "TW_SCAN"):
		return "speed"
	case strings.Contains(name, "PARQUET"):
		return "lake"
	case strings.Contains(table, ".facts.") || strings.Contains(table, ".partials.") || strings.Contains(table, ".loose.") || strings.Contains(table, ".errors."):
		return "batch"
	}
	return "merge"
}

// filePath matches names of files of the cache: where it lies is nobody's business.
var filePath = regexp.MustCompile(`(?:/[^\s/,'"\[\]]+)+/`)

func ownNames(detail string) string { return filePath.ReplaceAllString(detail, "") }

func explainBatch(rows []explainRow, measured bool) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(explainColumns))
	defer b.Release()
	text := func(column int, s string) { b.Field(column).(*array.StringBuilder).Append(s) }
	for _, r := range rows {
		text(0, r.step)
		text(1, r.source)
		b.Field(2).(*array.Int64Builder).Append(r.rows)
		if measured {
			b.Field(3).(*array.Int64Builder).Append(r.scanned)
			b.Field(4).(*array.Float64Builder).Append(r.ms)
		} else {
			b.Field(3).AppendNull()
			b.Field(4).AppendNull()
		}
		text(5, r.detail)
	}
	return b.NewRecordBatch()
}
