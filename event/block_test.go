package event

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func numbers() *Schema {
	return &Schema{Stream: "pay", TimeColumn: -1, IDColumn: -1, Columns: []Column{{Name: "n", Type: Type{Kind: BigInt}}}}
}

// blockOf makes a block whose column n counts from 100.
func blockOf(runs ...Run) *Block {
	rows := 0
	for _, r := range runs {
		rows += r.Rows
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, numbers().Arrow())
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(100 + i))
	}
	return &Block{Range: Range{src, 10, 20}, Schema: numbers(), Batch: b.NewRecordBatch(), Runs: runs}
}

// texts gives the values of every column of the relation, a row a string.
func texts(b *Block) []string {
	out := []string{}
	for row := range b.Len() {
		var values []string
		for c := range b.Schema.Relation() {
			col := b.Column(c)
			switch a := col.(type) {
			case *array.Timestamp:
				values = append(values, fmt.Sprint(int64(a.Value(row))))
			case *array.Binary:
				values = append(values, fmt.Sprintf("%x", a.Value(row)))
			default:
				values = append(values, col.ValueStr(row))
			}
		}
		out = append(out, strings.Join(values, " "))
	}
	return out
}

func TestPositionColumnsFollowTheRuns(t *testing.T) {
	b := blockOf(
		Run{Seq: 12, At: 1000, Rows: 3},
		Run{Seq: 13, At: 1001, Rows: 2, Idx: []uint32{1, 7}},
		Run{Seq: 14, At: 1002},
		Run{Seq: 19, At: 1001, Rows: 1},
	)
	want := []string{
		"100 2 1 12 0 1000", "101 2 1 12 1 1000", "102 2 1 12 2 1000",
		"103 2 1 13 1 1001", "104 2 1 13 7 1001",
		"105 2 1 19 0 1001",
	}
	if got := texts(b); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, c := range b.Schema.Relation() {
		if got := b.Column(i).DataType(); !arrow.TypeEqual(got, c.Arrow()) {
			t.Errorf("column %s is of type %s, its schema says %s", c.Name, got, c.Arrow())
		}
		if b.Column(i).NullN() != 0 {
			t.Errorf("column %s has NULLs", c.Name)
		}
	}
}

func TestPositionColumnsAreMadeOnceForAllGoroutines(t *testing.T) {
	b := blockOf(Run{Seq: 11, Rows: 500})
	var got [8]arrow.Array
	var running sync.WaitGroup
	for i := range got {
		running.Go(func() { got[i] = b.Column(3) })
	}
	running.Wait()
	for _, a := range got {
		if a != got[0] || a.Len() != 500 {
			t.Fatal("two goroutines got different columns")
		}
	}
}

func TestRunsThatDoNotFitTheRowsAreAProgrammingError(t *testing.T) {
	b := blockOf(Run{Seq: 11, Rows: 3})
	b.Runs = b.Runs[:0]
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "has 3 rows and 0 positions") {
			t.Errorf("panic %s", p)
		}
	}()
	b.Column(1)
}

func TestDeadLettersKeepTheRangeAndTheirPositions(t *testing.T) {
	b := blockOf(Run{Seq: 12, Rows: 1})
	b.Seal, b.LogTime, b.Stamp = true, 55, 66
	b.Refused = []Refused{
		{Seq: 12, Idx: 1, At: 1000, Line: 4, Field: "n", Reason: "not a number", Raw: []byte{0xff, 0}},
		{Seq: 12, Idx: 3, At: 1000, Reason: "cut off", Raw: []byte("{")},
		{Seq: 15, Idx: 0, At: 1002, Line: 1, Field: "é", Reason: "unknown field"},
	}
	d := b.Dead(DeadSchema("pay"))
	if d.Range != b.Range || !d.Seal || d.LogTime != 55 || d.Stamp != 66 || d.Schema.Stream != "pay_dead" {
		t.Errorf("the dead letters stand for %s seal %t log time %d stamp %d of %s", d.Range, d.Seal, d.LogTime, d.Stamp, d.Schema.Stream)
	}
	want := []string{"4 n not a number ff00 2 1 12 1 1000", "0  cut off 7b 2 1 12 3 1000", "1 é unknown field  2 1 15 0 1002"}
	if got := texts(d); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(d.Runs) != 2 || d.Size <= 64 {
		t.Errorf("%d runs, want one a message; size %d", len(d.Runs), d.Size)
	}
	if b.Len() != 1 || len(b.Refused) != 3 {
		t.Error("the block itself changed")
	}
}

func TestABlockWithoutRefusedRecordsHasAnEmptyDeadBlock(t *testing.T) {
	b := blockOf(Run{Seq: 12, Rows: 1})
	b.Seal = true
	d := b.Dead(DeadSchema("pay"))
	if d.Range != b.Range || d.Len() != 0 || d.Batch != nil || !d.Seal || d.Size == 0 {
		t.Errorf("%s: %d rows, seal %t, size %d", d.Range, d.Len(), d.Seal, d.Size)
	}
}

func TestFingerprintTellsColumnsApart(t *testing.T) {
	base := numbers().Fingerprint()
	if len(base) != 16 || base != numbers().Fingerprint() {
		t.Errorf("fingerprint %q", base)
	}
	for name, change := range map[string]func(*Schema){
		"name":        func(s *Schema) { s.Columns[0].Name = "N" },
		"type":        func(s *Schema) { s.Columns[0].Kind = Integer },
		"nullability": func(s *Schema) { s.Columns[0].NotNull = true },
		"one more":    func(s *Schema) { s.Columns = append(s.Columns, s.Columns[0]) },
	} {
		s := numbers()
		if change(s); s.Fingerprint() == base {
			t.Errorf("another %s has the same fingerprint", name)
		}
	}
	same := numbers()
	same.Stream, same.IDColumn = "other", 0
	if same.Fingerprint() != base {
		t.Error("the fingerprint is of more than the columns")
	}
}
