package serving

import (
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// sheetType is CSV for people who open it in a spreadsheet. text/csv is for programs
// and keeps every text as it is; here a text that a spreadsheet would run as a formula
// has an apostrophe before it, so that what somebody sent as an event runs on nobody's
// machine. Numbers are numbers in both.
const sheetType = "text/vnd.tailwater.spreadsheet+csv"

// A sheetEncoder is a csvEncoder that is given texts which are no formulas.
type sheetEncoder struct{ *csvEncoder }

func newSheet(columns []event.Column) encoder {
	return &sheetEncoder{&csvEncoder{columns: columns}}
}

func (e *sheetEncoder) begin(w io.Writer, a *Answer) error {
	shown := *a
	shown.Columns = make([]event.Column, len(a.Columns))
	for i, c := range a.Columns {
		c.Name = noFormula(c.Name)
		shown.Columns[i] = c
	}
	return e.csvEncoder.begin(w, &shown)
}

func (e *sheetEncoder) rows(w io.Writer, batch arrow.RecordBatch) error {
	columns := slices.Clone(batch.Columns())
	for i, column := range columns {
		if texts, ok := column.(*array.String); ok {
			columns[i] = noFormulas(texts)
		}
	}
	return e.csvEncoder.rows(w, array.NewRecordBatch(batch.Schema(), columns, batch.NumRows()))
}

func noFormulas(texts *array.String) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	for i := range texts.Len() {
		if texts.IsNull(i) {
			b.AppendNull()
		} else {
			b.Append(noFormula(texts.Value(i)))
		}
	}
	return b.NewStringArray()
}

// noFormula puts an apostrophe before what spreadsheets take for a formula: what
// begins with one of these characters, behind spaces that some of them skip.
func noFormula(text string) string {
	rest := strings.TrimLeft(text, " \u00a0")
	if rest != "" && strings.ContainsRune("=+-@\t\r\n", rune(rest[0])) || strings.HasPrefix(rest, "＝") || strings.HasPrefix(rest, "＋") || strings.HasPrefix(rest, "－") || strings.HasPrefix(rest, "＠") {
		return "'" + text
	}
	return text
}
