package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/lake"
)

// HistoryTable is the lake table that holds the runs: their history cannot be
// derived from anything else, so it does not belong into the warehouse's cache.
const HistoryTable = "tailwater_runs"

// HistorySource numbers runs as a stream numbers messages.
var HistorySource = event.Source{Stream: HistoryTable, Epoch: 1}

func column(name string, k event.Kind) event.Column {
	return event.Column{Name: name, Type: event.Type{Kind: k}, NotNull: true}
}

// HistorySchema describes the table of runs; a run's number is its sequence.
func HistorySchema() *event.Schema {
	return &event.Schema{
		Stream: HistoryTable, TimeColumn: -1, IDColumn: -1,
		Columns: []event.Column{
			column("trigger", event.Varchar), column("rebuild", event.Boolean),
			column("started", event.Timestamp), column("finished", event.Timestamp),
			column("status", event.Varchar), column("rows", event.BigInt),
			column("views", event.Varchar), column("through", event.Varchar), column("error", event.Varchar),
		},
	}
}

// History is the durable record of runs. Append is called by one goroutine at a
// time.
type History struct {
	table  *lake.Table
	lander *lake.Lander
}

// NewHistory keeps runs in the table, through a lander whose Run the caller has
// started.
func NewHistory(table *lake.Table, lander *lake.Lander) *History {
	return &History{table, lander}
}

// Append gives the run its number and returns when it is in the lake.
func (h *History) Append(ctx context.Context, run Run) (Run, error) {
	snap, err := h.table.Snapshot(ctx)
	if err != nil {
		return run, fmt.Errorf("run history: %w", err)
	}
	last := snap.Marks[HistorySource].Through
	run.ID = int64(last) + 1
	b := &event.Block{
		Range:  event.Range{Source: HistorySource, After: last, Through: last + 1},
		Schema: HistorySchema(), Batch: runBatch(run), Seal: true, LogTime: run.Finished.UnixMicro(),
		Runs: []event.Run{{Seq: last + 1, At: run.Finished.UnixMicro(), Rows: 1}}, Size: 512,
	}
	if err := h.lander.Apply(ctx, b); err != nil {
		return run, fmt.Errorf("run history: %w", err)
	}
	return run, h.lander.Wait(ctx, HistorySource, last+1)
}

func runBatch(run Run) arrow.RecordBatch {
	bld := array.NewRecordBuilder(memory.DefaultAllocator, HistorySchema().Arrow())
	defer bld.Release()
	text := func(i int, s string) { bld.Field(i).(*array.StringBuilder).Append(s) }
	at := func(i int, t time.Time) {
		bld.Field(i).(*array.TimestampBuilder).Append(arrow.Timestamp(t.UnixMicro()))
	}
	text(0, run.Trigger)
	bld.Field(1).(*array.BooleanBuilder).Append(run.Rebuild)
	at(2, run.Started)
	at(3, run.Finished)
	text(4, run.Status)
	bld.Field(5).(*array.Int64Builder).Append(run.Rows)
	text(6, strings.Join(run.Views, ","))
	through, _ := json.Marshal(run.Through) // a map of texts to numbers
	text(7, string(through))
	text(8, run.Error)
	return bld.NewRecordBatch()
}

// Latest gives up to n runs, newest first.
func (h *History) Latest(ctx context.Context, n int) ([]Run, error) {
	snap, err := h.table.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("run history: %w", err)
	}
	through := snap.Marks[HistorySource].Through
	r := event.Range{Source: HistorySource, After: through - min(through, uint64(n)), Through: through}
	runs := []Run{}
	err = snap.Read(ctx, r, func(b *event.Block) error {
		for row := range b.Len() {
			runs = append(runs, runAt(b, row))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("run history: %w", err)
	}
	slices.SortFunc(runs, func(a, b Run) int { return int(b.ID - a.ID) })
	return runs, nil
}

func runAt(b *event.Block, row int) Run {
	text := func(i int) string { return b.Column(i).(*array.String).Value(row) }
	at := func(i int) time.Time {
		return time.UnixMicro(int64(b.Column(i).(*array.Timestamp).Value(row))).UTC()
	}
	seq := len(b.Schema.Columns) + 2
	run := Run{
		ID: b.Column(seq).(*array.Int64).Value(row), Trigger: text(0),
		Rebuild: b.Column(1).(*array.Boolean).Value(row), Started: at(2), Finished: at(3),
		Status: text(4), Rows: b.Column(5).(*array.Int64).Value(row), Views: []string{},
		Through: event.Cut{}, Error: text(8),
	}
	// What cannot be read is shown as nothing: history is for people.
	_ = json.Unmarshal([]byte(text(7)), &run.Through)
	if v := text(6); v != "" {
		run.Views = strings.Split(v, ",")
	}
	return run
}
