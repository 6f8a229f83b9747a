package event

import (
	"slices"
	"testing"
)

func TestJoinedBlocksHaveAllRowsAndPositions(t *testing.T) {
	schema := numbers()
	at := func(after, through uint64, runs ...Run) *Block {
		b := blockOf(runs...)
		b.Schema, b.After, b.Through, b.Size = schema, after, through, 10
		return b
	}
	first := at(10, 12, Run{Seq: 11, At: 5, Rows: 2}, Run{Seq: 12, At: 6, Rows: 1, Idx: []uint32{4}})
	none := &Block{Range: Range{src, 12, 15}, Schema: schema, Duplicates: 3}
	last := at(15, 16, Run{Seq: 16, At: 7, Rows: 2})
	last.Seal = true
	joined, err := Join([]*Block{first, none, last})
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Concat(texts(first), texts(last)); !slices.Equal(texts(joined), want) {
		t.Errorf("got %q, want %q", texts(joined), want)
	}
	if joined.Range != (Range{src, 10, 16}) || !joined.Seal || joined.Duplicates != 3 || joined.Size != 20 {
		t.Errorf("%+v", joined)
	}
	if empty, err := Join([]*Block{none}); err != nil || empty.Len() != 0 || empty.Range != none.Range {
		t.Errorf("%+v, %v", empty, err)
	}
	other := at(16, 17, Run{Seq: 17, Rows: 1})
	other.Schema = numbers()
	for what, blocks := range map[string][]*Block{"a hole": {first, last}, "another schema": {last, other}, "another order": {last, first}} {
		if _, err := Join(blocks); err == nil {
			t.Errorf("%s: joined", what)
		}
	}
}
