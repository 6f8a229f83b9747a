package serving

import (
	"encoding/csv"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

func TestASpreadsheetIsGivenNoFormulas(t *testing.T) {
	columns := []event.Column{{Name: "=name", Type: kind(event.Varchar)}, {Name: "n", Type: kind(event.Integer)}}
	texts := []string{"plain", "=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=x", " =x", "＝1", "a=b", "", "'quoted"}
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	for i, text := range texts {
		b.Field(0).(*array.StringBuilder).Append(text)
		b.Field(1).(*array.Int32Builder).Append(int32(-i))
	}
	b.Field(0).AppendNull()
	b.Field(1).AppendNull()
	batch := b.NewRecordBatch()
	read := func(e encoder) (cells []string) {
		t.Helper()
		var sb strings.Builder
		a := answerOf(columns, batch)
		if err := e.begin(&sb, a); err != nil {
			t.Fatal(err)
		}
		if err := e.rows(&sb, batch); err != nil {
			t.Fatal(err)
		}
		if err := e.end(&sb, a, batch.NumRows(), time.Second); err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(strings.NewReader(sb.String()))
		for {
			row, err := r.Read()
			if err == io.EOF {
				return cells
			}
			if err != nil {
				t.Fatal(err)
			}
			cells = append(cells, row...)
		}
	}
	want := []string{"'=name", "n"}
	exact := []string{"=name", "n"}
	escaped := []string{"plain", "'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\r=x", "' =x", "'＝1", "a=b", "", "'quoted"}
	for i, number := range []string{"0", "-1", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9", "-10", "-11"} {
		want = append(want, escaped[i], number)
		exact = append(exact, texts[i], number)
	}
	want, exact = append(want, "", ""), append(exact, "", "")
	if got := read(newSheet(columns)); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := read(newCSV(columns)); !slices.Equal(got, exact) {
		t.Errorf("CSV for programs: %q", got)
	}
	if f := formats[negotiate([]string{sheetType})]; f.mediaType != sheetType || formats[negotiate([]string{"text/*"})].mediaType != "text/csv" {
		t.Errorf("negotiated %s", f.mediaType)
	}
}
