package serving

import (
	"container/heap"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
)

// newestBy gives the column of the shape "FROM table ORDER BY column DESC, … LIMIT n",
// in lower case, and n with the OFFSET; false for another shape.
func (s *Statement) newestBy(table string) (column string, rows int64, ok bool) {
	var found *use
	for i := range s.uses {
		if s.uses[i].table != table {
			continue
		}
		if found != nil {
			return "", 0, false
		}
		found = &s.uses[i]
	}
	if found == nil || found.top == nil || !empty(found.top.query["where_clause"]) {
		return "", 0, false
	}
	order, _ := found.top.query["modifiers"].([]any)[0].(map[string]any)
	orders, _ := order["orders"].([]any)
	first, _ := orders[0].(map[string]any)
	// Rows with NULL come last, unless they are asked for first.
	if text(first, "type") != "DESCENDING" || text(first, "null_order") == "NULLS FIRST" || found.top.rows == 0 {
		return "", 0, false
	}
	_, alias := splitName(table)
	if own := text(found.node, "alias"); own != "" {
		alias = own
	}
	column = ownColumn(first["expression"], alias)
	return column, found.top.rows, column != ""
}

// onlyNewest narrows what is read for the newest rows of a stream: if as many events as
// are asked for are in memory, those that are older than all of them are in no answer.
// It gives the bounds of what is read, and what the SELECTs within them become.
//
// What is in memory may be in files or facts as well: each event is in the answer once.
func (p *pin) onlyNewest(st *Statement, table string, within lake.Bounds) (lake.Bounds, func(part string) string) {
	whole := func(part string) string { return part }
	stream := p.state.Streams[table]
	column, rows, ok := st.newestBy(table)
	if !ok || stream == nil || p.atPast { // at a past cut some of those in memory do not count
		return within, whole
	}
	for i, c := range stream.Schema.Columns {
		if c.Kind != event.Timestamp || strings.ToLower(c.Name) != column {
			continue
		}
		least, ok := newest(slices.Concat(stream.Kept, stream.Tail), i, rows)
		if !ok {
			break
		}
		return lake.Bounds{column: {Least: least, Greatest: math.MaxInt64}}, func(part string) string {
			return fmt.Sprintf("SELECT * FROM (%s) AS newest WHERE %s >= make_timestamp(%d)", part, duckdb.Ident(c.Name), least)
		}
	}
	return within, whole
}

// newest gives the least of the so many greatest values of a column of times, in µs since
// 1970; false if there are not as many.
func newest(blocks []*event.Block, column int, rows int64) (least int64, ok bool) {
	var greatest times
	// The newest are likely to be last: then the others are looked at and no more.
	for _, b := range slices.Backward(blocks) {
		if b.Len() == 0 {
			continue
		}
		at, ok := b.Column(column).(*array.Timestamp)
		if !ok {
			return 0, false
		}
		for row, v := range slices.Backward(at.TimestampValues()) {
			switch {
			case int64(len(greatest)) == rows && int64(v) <= greatest[0] || at.IsNull(row):
			case int64(len(greatest)) < rows:
				heap.Push(&greatest, int64(v))
			default:
				greatest[0] = int64(v)
				heap.Fix(&greatest, 0)
			}
		}
	}
	if int64(len(greatest)) < rows {
		return 0, false
	}
	return greatest[0], true
}

// times are a heap with the least on top. It implements heap.Interface.
type times []int64

func (t times) Len() int           { return len(t) }
func (t times) Less(i, j int) bool { return t[i] < t[j] }
func (t times) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *times) Push(v any)        { *t = append(*t, v.(int64)) }

func (t *times) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
