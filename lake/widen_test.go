package lake

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
)

// without gives the schema before its last n columns.
func without(s *event.Schema, n int) *event.Schema {
	s.Columns = s.Columns[:len(s.Columns)-n]
	return s
}

// padTexts gives rowTexts as they are when n columns have been added.
func padTexts(rows []string, n int) []string {
	out := slices.Clone(rows)
	for i := range out {
		out[i] += strings.Repeat("|(null)", n)
	}
	return out
}

// gained has small's columns and two more.
func gained() *event.Schema {
	s := small()
	s.Columns = append(s.Columns, event.Column{Name: "x", Type: event.Type{Kind: event.Varchar}}, event.Column{Name: "at", Type: event.Type{Kind: event.Timestamp}})
	return s
}

func TestATableGainsColumnsThatAreNullInOlderFiles(t *testing.T) {
	for name, bucket := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			table := openTable(t, bucket, small(), 3)
			before := must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
			old := block(table.Schema(), src, 0, 20, 3)
			land(t, table, old)
			table = openTable(t, bucket, gained(), 3)
			if s := table.Latest(); s.Version != 3 || s.TableID != before.TableID || s.Marks[src].Through != 20 {
				t.Errorf("version %d, table %s, through %d", s.Version, s.TableID, s.Marks[src].Through)
			}
			fresh := block(table.Schema(), src, 20, 40, 3)
			s := land(t, table, fresh)
			want := append(padTexts(rowTexts(old), 2), rowTexts(fresh)...)
			for range 2 { // as it is, and from checkpoint and log
				if got := rowTexts(readBlocks(t, s, event.Range{Source: src, Through: 40})...); !slices.Equal(got, want) {
					t.Fatalf("rows differ: %s", got[0])
				}
				s = openTable(t, bucket, gained(), 3).Latest()
			}
			nulls, n := 0, 0
			err := s.Scan(t.Context(), ScanQuery{Range: event.Range{Source: src, After: 10, Through: 30}, Since: math.MinInt64, Columns: []string{"x"}}, func(b ScanBatch) error {
				nulls, n = nulls+b.Columns[0].NullN(), n+len(b.Seq)
				return nil
			})
			if err != nil || n != 60 || nulls < 30 || nulls > 40 {
				t.Errorf("Scan: %d rows, %d NULLs, %v", n, nulls, err)
			}
			err = s.Only([]string{"x"}).Read(t.Context(), event.Range{Source: src, Through: 20}, func(b *event.Block) error {
				if x, ok := b.Column(2).(*array.String); !ok || x.NullN() != b.Len() {
					t.Errorf("column x of older rows: %v", b.Column(2))
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			judgeLayouts(t, s)
		})
	}
}

// judgeLayouts reads the statements over a table whose first file lacks columns.
func judgeLayouts(t *testing.T, s *Snapshot) {
	t.Helper()
	whole := event.Range{Source: src, Through: 40}
	sql := must(s.SelectSQL(t.Context(), []event.Range{whole}))(t)
	if strings.Count(sql, "read_parquet") != 2 || strings.Count(sql, `CAST(NULL AS VARCHAR) AS "x", CAST(NULL AS TIMESTAMP) AS "at"`) != 1 {
		t.Error(sql)
	}
	// Rows without a value in the column are left out, and with them the older file.
	sql = must(s.SelectWithin(t.Context(), []event.Range{whole}, Bounds{"at": {Least: 5, Greatest: math.MaxInt64}}))(t)
	if strings.Count(sql, "read_parquet") != 1 || strings.Contains(sql, "NULL") {
		t.Error(sql)
	}
	sql = must(s.SelectWithin(t.Context(), []event.Range{{Source: src, Through: 20}}, Bounds{"at": {Least: 5, Greatest: math.MaxInt64}}))(t)
	if strings.Contains(sql, "read_parquet") || !strings.HasSuffix(sql, "WHERE false") {
		t.Error(sql)
	}
}

func TestAColumnIsLookedForInTheFileWhereStatisticsDoNotTell(t *testing.T) {
	b := NewMemoryBucket()
	table := openTable(t, b, gained(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	s := land(t, table, block(table.Schema(), src, 0, 20, 3))
	f := s.Files[0].add
	f.DataChange, f.Stats = false, ""
	commitForeign(t, b, s.Version+1, action{Add: &f})
	s = must(table.Snapshot(t.Context()))(t)
	if sql := must(s.SelectSQL(t.Context(), []event.Range{{Source: src, Through: 20}}))(t); strings.Contains(sql, "NULL") {
		t.Error(sql)
	}
}

func TestAServerWithOlderColumnsEndsWhenAnotherHasAddedSome(t *testing.T) {
	b := NewMemoryBucket()
	table := openTable(t, b, small(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	openTable(t, b, gained(), 64)
	_, err := table.Append(t.Context(), event.Range{Source: src, Through: 10}, nil, Mark{Through: 10})
	var conflict *ConflictError
	if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "changed the columns") {
		t.Error(err)
	}
	if _, err := openLake(t, b, 64).Table(t.Context(), small()); err == nil || !strings.Contains(err.Error(), `column "x" is gone; give it back`) {
		t.Errorf("the older columns: %v", err)
	}
	if s := openTable(t, b, gained(), 64).Latest(); s.Marks[src].Through != 0 {
		t.Errorf("the loser has landed through %d", s.Marks[src].Through)
	}
}
