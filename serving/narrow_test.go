package serving

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// TestNarrowingKeepsWhatTheFilterKeeps leaves partial rows out by every kind of
// condition, and none where a row's answer depends on other rows.
func TestNarrowingKeepsWhatTheFilterKeeps(t *testing.T) {
	planner, err := view.NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	schema := &event.Schema{Stream: "s", TimeColumn: 0, IDColumn: -1, Columns: []event.Column{
		{Name: "ts", Type: kind(event.Timestamp)}, {Name: "k", Type: kind(event.Varchar)}, {Name: "n", Type: kind(event.Integer)},
	}}
	plan := func(sql string) *view.Plan {
		p, err := planner.Plan(t.Context(), view.Definition{Name: "v", SQL: sql}, map[string]*event.Schema{"s": schema})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const sql = "SELECT window_start, k, n, count(*) AS c FROM s GROUP BY tumble(ts, INTERVAL '1 minute'), k, n"
	local, top := plan(sql), plan(sql+" ORDER BY c DESC LIMIT 3")

	// Row i: minute i % 4 (NULL for the last row), key a, b, "" or NULL in turn.
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(local.Partial))
	defer b.Release()
	const rows = 13
	for i := range rows {
		if i == rows-1 {
			b.Field(0).AppendNull()
		} else {
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(i % 4 * 60_000_000))
		}
		if key := i % 5; key == 3 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append([]string{"a", "b", "", "", "a"}[key])
		}
		b.Field(2).(*array.Int32Builder).Append(int32(i))
		b.Field(3).(*array.Int64Builder).Append(1)
	}
	batches := []duckdb.Batch{duckdb.RecordBatch(b.NewRecordBatch())}
	one, three := time.UnixMicro(60_000_000), time.UnixMicro(180_000_000)
	where := func(key, value string, null bool) []view.Equal {
		return []view.Equal{{Key: key, Value: value, Null: null}}
	}
	for name, c := range map[string]struct {
		plan   *view.Plan
		filter view.Filter
		want   []int
	}{
		"nothing asked":         {local, view.Filter{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		"from":                  {local, view.Filter{From: &one}, []int{1, 2, 3, 5, 6, 7, 9, 10, 11}},
		"to":                    {local, view.Filter{To: &one}, []int{0, 4, 8}},
		"from and to":           {local, view.Filter{From: &one, To: &three}, []int{1, 2, 5, 6, 9, 10}},
		"a text":                {local, view.Filter{Where: where("K", "a", false)}, []int{0, 4, 5, 9, 10}},
		"the empty text":        {local, view.Filter{Where: where("k", "", false)}, []int{2, 7, 12}},
		"no text":               {local, view.Filter{Where: where("k", "", true)}, []int{3, 8}},
		"a text nowhere":        {local, view.Filter{Where: where("k", "z", false)}, nil},
		"a number is left":      {local, view.Filter{Where: where("n", "7", false)}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		"a text in a window":    {local, view.Filter{From: &one, To: &three, Where: where("k", "a", false)}, []int{5, 9, 10}},
		"rows of a top list":    {top, view.Filter{Where: where("k", "a", false)}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		"windows of a top list": {top, view.Filter{From: &one}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	} {
		var got []int
		for _, kept := range narrow(c.plan, c.filter, batches) {
			for i := range kept.Len() {
				got = append(got, int(kept.Column(2).(*array.Int32).Value(i)))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: kept %s, want %s", name, fmt.Sprint(got), fmt.Sprint(c.want))
		}
	}
}
