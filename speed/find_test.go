package speed

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// keyedPiece is rows with a text and an integer as keys, some NULL, in batches.
func keyedPiece(batches, rows int) Piece {
	columns := []event.Column{{Name: "v", Type: event.Type{Kind: event.BigInt}}, {Name: "k0", Type: event.Type{Kind: event.Varchar}}, {Name: "k1", Type: event.Type{Kind: event.Integer}}}
	rel := &duckdb.Relation{Columns: columns}
	r := rand.New(rand.NewPCG(1, 2))
	for range batches {
		build := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
		for range rows {
			build.Field(0).(*array.Int64Builder).Append(1)
			if r.IntN(20) == 0 {
				build.Field(1).AppendNull()
			} else {
				build.Field(1).(*array.StringBuilder).Append(fmt.Sprint("k", r.IntN(300)))
			}
			build.Field(2).(*array.Int32Builder).Append(int32(r.IntN(10) - 5))
		}
		rel.Batches = append(rel.Batches, duckdb.RecordBatch(build.NewRecordBatch()))
	}
	return pieceOf(rel, 0)
}

func TestASearchFindsAllRowsOfItsKeysOnce(t *testing.T) {
	for _, size := range []int{100, 2_000} { // in three batches: scanned, and indexed
		piece := keyedPiece(3, size)
		all := piece.Rows()
		for round := range 12 {
			var wanted []KeyHash
			keys := map[string]bool{}
			for i := range 5 {
				text, number := fmt.Sprint("k", (round*31+i*7)%330), int32((round+i)%10-5)
				keys[fmt.Sprint(text, " ", number)] = true
				wanted = append(wanted, KeyHash(0).WithText(text).WithInt(int64(number)))
			}
			found, expected, right := 0, 0, 0
			rows := piece.Search([]int{1, 2}, wanted)
			for i, b := range piece.Batches {
				text, number := b.Column(1).(*array.String), b.Column(2).(*array.Int32)
				seen := map[int]bool{}
				for _, row := range rows[i] {
					if seen[row] {
						t.Fatalf("row %d of batch %d comes twice", row, i)
					}
					seen[row] = true
				}
				found += len(rows[i])
				for row := range b.Len() {
					if text.IsValid(row) && keys[fmt.Sprint(text.Value(row), " ", number.Value(row))] {
						expected++
						if slices.Contains(rows[i], row) {
							right++
						}
					}
				}
			}
			if right != expected || found > expected+all/20 {
				t.Errorf("of %d rows, %d of the keys, it found %d, %d of them right", all, expected, found, right)
			}
			if round == indexSearches && piece.index.searches.Load() >= indexSearches {
				for piece.index.table.Load() == nil { // it is being made
					piece.Search([]int{1, 2}, wanted)
				}
			}
		}
		if indexed := piece.index.table.Load() != nil; indexed != (all >= indexRows) {
			t.Errorf("a piece of %d rows is indexed: %t", all, indexed)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	piece := keyedPiece(10, 100_000)
	wanted := []KeyHash{KeyHash(0).WithText("k7").WithInt(3)}
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			piece.scan([]int{1, 2}, wanted)
		}
	})
	b.Run("tabulate", func(b *testing.B) {
		for b.Loop() {
			piece.tabulate([]int{1, 2})
		}
	})
}
