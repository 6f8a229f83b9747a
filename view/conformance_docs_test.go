package view

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
)

const viewsPage = "../docs/views.md"

// clicks is the stream of the page's examples.
func clicks() *event.Schema {
	return &event.Schema{Stream: "clicks", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
		{Name: "ts", Type: event.Type{Kind: event.Timestamp}, NotNull: true}, {Name: "who", Type: event.Type{Kind: event.Varchar}},
		{Name: "page", Type: event.Type{Kind: event.Varchar}}, {Name: "ms", Type: event.Type{Kind: event.Integer}},
	}}
}

// pageRows are the lines of the page's block of CSV, without its first.
func pageRows(t *testing.T, page string, block int) []string {
	t.Helper()
	csv := regexp.MustCompile("(?s)```csv\n.*?\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(csv) != 2 {
		t.Fatalf("the page has %d blocks of CSV, not its events and its reference table", len(csv))
	}
	return strings.Split(strings.TrimSpace(csv[block][1]), "\n")
}

// pageTables makes the page's reference table.
func pageTables(t *testing.T, page string) map[string]string {
	var rows []string
	for _, line := range pageRows(t, page, 1) {
		rows = append(rows, "('"+strings.ReplaceAll(line, ",", "', '")+"')")
	}
	return map[string]string{"pages": "SELECT * FROM (VALUES " + strings.Join(rows, ", ") + ") AS v(page, area, owner)"}
}

// clicked makes the page's events, one message each in the page's order, a FROM item.
func clicked(t *testing.T, page string) string {
	var rows []string
	for i, line := range pageRows(t, page, 0) {
		var values []string
		for _, v := range strings.Split(line, ",") {
			values = append(values, "nullif('"+v+"', '')")
		}
		rows = append(rows, fmt.Sprintf("(%s, %d)", strings.Join(values, ", "), i+1))
	}
	return `(SELECT CAST(ts AS TIMESTAMP) AS ts, who, page, CAST(ms AS INTEGER) AS ms, 1 AS _epoch, 0 AS _partition, CAST(seq AS BIGINT) AS _seq, 0 AS _idx,
		CAST(ts AS TIMESTAMP) AS _ingested_at FROM (VALUES ` + strings.Join(rows, ", ") + ") AS v(ts, who, page, ms, seq))"
}

// annotated reads a view as its file would hold it.
func annotated(sql string) Definition {
	value := func(key string) string {
		m := regexp.MustCompile(`(?m)^-- ` + key + `: (.*)$`).FindStringSubmatch(sql)
		if m == nil {
			return ""
		}
		return m[1]
	}
	text := event.Type{Kind: event.Varchar}
	pages := []event.Column{{Name: "page", Type: text}, {Name: "area", Type: text}, {Name: "owner", Type: text}}
	reference := value("reference")
	if strings.HasSuffix(sql, "/* "+afterMerge+" */") { // in a table of the page
		reference = afterMerge
	}
	return Definition{Name: "v", SQL: sql, Bounds: value("bounds"), Timezone: value("timezone"), Cap: value("cap"), Reference: reference, References: map[string][]event.Column{"pages": pages}}
}

// Every ```sql of the page is a view, and the ```text behind it its answer.
func TestExamplesOfThePageOfViewsAreTrue(t *testing.T) {
	text, err := os.ReadFile(viewsPage)
	if err != nil {
		t.Fatal(err)
	}
	page, b := string(text), newBench(t)
	events, examples := clicked(t, page), 0
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	updated := regexp.MustCompile("(?s)```sql\n(.*?)```\n```text\n(.*?)```").ReplaceAllStringFunc(page, func(example string) string {
		examples++
		sql, want, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(example, "```sql\n"), "```"), "```\n```text\n")
		p, err := planner.Plan(t.Context(), annotated(sql), map[string]*event.Schema{"clicks": clicks()})
		if err != nil {
			t.Errorf("%s\n%v", sql, err)
			return example
		}
		p = p.WithReferences(pageTables(t, page))
		answers := tableOf(b, answerSQL(t, p, Filter{})("("+p.PartialSQL(events)+")"), strings.Contains(sql, "ORDER BY"))
		if answers != want && !*update {
			t.Errorf("%s\ngives\n%s\nthe page says\n%s", sql, answers, want)
		}
		return "```sql\n" + sql + "```\n```text\n" + answers + "```"
	})
	if examples < 11 {
		t.Errorf("the page has %d examples", examples)
	}
	rewritePage(t, page, updated)
}

// Every line of the page's table of refusals is what the planner says.
func TestRefusalsOfThePageOfViewsAreTrue(t *testing.T) {
	text, err := os.ReadFile(viewsPage)
	if err != nil {
		t.Fatal(err)
	}
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	page, refusals := string(text), 0
	updated := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*$").ReplaceAllStringFunc(page, func(line string) string {
		sql := strings.ReplaceAll(strings.Split(line, "`")[1], `\|`, "|")
		if !strings.HasPrefix(sql, "SELECT ") && !strings.HasPrefix(sql, "WITH ") {
			return line
		}
		refusals++
		_, err := planner.Plan(t.Context(), annotated(sql), map[string]*event.Schema{"clicks": clicks()})
		var refused *Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", sql, err)
			return line
		}
		is := strings.Join([]string{line[:strings.Index(line, "` |")] + "`", cell(refused.Message), cell(refused.Hint)}, " | ") + " |"
		if is != line && !*update {
			t.Errorf("the page says\n%s\nand it is\n%s", line, is)
		}
		return is
	})
	if refusals < 15 {
		t.Errorf("the page has %d refusals", refusals)
	}
	rewritePage(t, page, updated)
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func rewritePage(t *testing.T, page, updated string) {
	t.Helper()
	if *update && updated != page {
		if err := os.WriteFile(viewsPage, []byte(updated), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// tableOf runs a statement and lays its rows out in columns.
func tableOf(b bench, sql string, inOrder bool) string {
	rel, err := b.conn.Collect(b.t.Context(), sql)
	if err != nil {
		b.t.Errorf("%v\n%s", err, sql)
		return ""
	}
	var lines [][]string
	for _, row := range rowsOf(rel) {
		var cells []string
		for _, v := range row {
			switch v := v.(type) {
			case nil:
				cells = append(cells, "NULL")
			case time.Time:
				cells = append(cells, v.Format("2006-01-02 15:04"))
			default:
				cells = append(cells, fmt.Sprint(v))
			}
		}
		lines = append(lines, cells)
	}
	if !inOrder {
		slices.SortFunc(lines, slices.Compare)
	}
	var names []string
	for _, c := range rel.Columns {
		names = append(names, c.Name)
	}
	lines = slices.Insert(lines, 0, names)
	var out strings.Builder
	for _, cells := range lines {
		var line string
		for c, text := range cells {
			width := 0
			for _, other := range lines {
				width = max(width, len([]rune(other[c])))
			}
			line += text + strings.Repeat(" ", width-len([]rune(text))+2)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return out.String()
}
