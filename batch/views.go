package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/lake"
)

// VersionsTable is the lake table that holds the versions of views. A version that
// has answered can be planned again from it when the project's files have changed.
const VersionsTable = "tailwater_views"

// VersionsSource numbers versions as a stream numbers messages.
var VersionsSource = event.Source{Stream: VersionsTable, Epoch: 1}

// VersionsSchema describes the table: one row when a version is applied, and one
// more when the answers on both sides have been compared; of it is the number of
// the former, 0 in itself.
func VersionsSchema() *event.Schema {
	return &event.Schema{
		Stream: VersionsTable, TimeColumn: -1, IDColumn: -1,
		Columns: []event.Column{
			column("view", event.Varchar), column("stream", event.Varchar), column("version", event.Varchar),
			column("file", event.Varchar), column("sql", event.Varchar), column("change", event.Varchar), column("applied", event.Timestamp),
			column("of", event.BigInt), column("cut", event.Varchar), column("difference", event.Varchar),
		},
	}
}

// What a version was to the one before it.
const (
	NewView     = "new"
	SwapView    = "swap"    // the same partial rows under another finish
	RebuildView = "rebuild" // partial rows of its own, built from the beginning
	DropView    = "drop"
)

// A Version is one version of a view, as its history keeps it.
type Version struct {
	Number  int64     `json:"number"` // of all views' versions, from 1
	View    string    `json:"view"`
	Stream  string    `json:"stream"`
	Version string    `json:"version"`
	File    string    `json:"file"`
	SQL     string    `json:"sql"` // the whole file
	Change  string    `json:"change"`
	Applied time.Time `json:"applied"`
	// Cut is where the version began to answer; empty until that is known, and where
	// there was no old version beside it.
	Cut        event.Cut   `json:"cut"`
	Difference *Difference `json:"difference,omitempty"`
}

// A Difference is what became of a view's rows at the cut of the swap.
type Difference struct {
	Rows    int64 `json:"rows"` // of the new version
	Added   int64 `json:"added"`
	Removed int64 `json:"removed"`
	Changed int64 `json:"changed"`
	// Examples are some of them: {"change": "added", "before": null, "after": {…}}.
	Examples []json.RawMessage `json:"examples"`
}

// Versions is the durable record of the versions of views. Its methods may be called
// by several goroutines.
type Versions struct {
	table  *lake.Table
	lander *lake.Lander

	mu   sync.Mutex
	last uint64 // the number given last, whether its row has landed or waits for the lake
}

// NewVersions keeps versions in the table, through a lander whose Run the caller has
// started.
func NewVersions(table *lake.Table, lander *lake.Lander) *Versions {
	return &Versions{table: table, lander: lander, last: table.Latest().Marks[VersionsSource].Through}
}

// Append gives the versions their numbers and returns when all of them are in the
// lake: none of them is without the others.
func (v *Versions) Append(ctx context.Context, versions []Version) ([]Version, error) {
	return v.append(ctx, versions, false)
}

// Compared adds to versions that were appended what their difference came to, and
// the cut.
func (v *Versions) Compared(ctx context.Context, versions []Version) error {
	_, err := v.append(ctx, versions, true)
	return err
}

func (v *Versions) append(ctx context.Context, versions []Version, compared bool) ([]Version, error) {
	if len(versions) == 0 {
		return nil, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now().UnixMicro()
	b := &event.Block{
		Range: event.Range{Source: VersionsSource, After: v.last, Through: v.last + uint64(len(versions))}, Schema: VersionsSchema(),
		Seal: true, LogTime: now, Size: 1024 * len(versions),
	}
	out := slices.Clone(versions)
	rows := array.NewRecordBuilder(memory.DefaultAllocator, VersionsSchema().Arrow())
	defer rows.Release()
	for i := range out {
		of := out[i].Number
		if !compared {
			of, out[i].Number = 0, int64(b.After)+int64(i)+1
		}
		appendVersion(rows, out[i], of)
		b.Runs = append(b.Runs, event.Run{Seq: b.After + uint64(i) + 1, At: now, Rows: 1})
	}
	b.Batch = rows.NewRecordBatch()
	if err := v.lander.Apply(ctx, b); err != nil {
		return nil, fmt.Errorf("history of views: %w", err)
	}
	v.last = b.Through
	if err := v.lander.Wait(ctx, VersionsSource, v.last); err != nil {
		return nil, fmt.Errorf("history of views: %w; is the lake's store reachable?", err)
	}
	return out, nil
}

func appendVersion(rows *array.RecordBuilder, v Version, of int64) {
	for i, s := range []string{v.View, v.Stream, v.Version, v.File, v.SQL, v.Change} {
		rows.Field(i).(*array.StringBuilder).Append(s)
	}
	rows.Field(6).(*array.TimestampBuilder).Append(arrow.Timestamp(v.Applied.UnixMicro()))
	rows.Field(7).(*array.Int64Builder).Append(of)
	cut, _ := json.Marshal(v.Cut)               // a map of texts to numbers
	difference, _ := json.Marshal(v.Difference) // numbers, and JSON that was made of rows
	rows.Field(8).(*array.StringBuilder).Append(string(cut))
	rows.Field(9).(*array.StringBuilder).Append(string(difference))
}

// All gives every version of every view, oldest first.
func (v *Versions) All(ctx context.Context) ([]Version, error) {
	snap, err := v.table.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("history of views: %w", err)
	}
	return ReadVersions(ctx, snap)
}

// ReadVersions gives every version of every view in a snapshot of the table.
func ReadVersions(ctx context.Context, snap *lake.Snapshot) ([]Version, error) {
	var rows []Version
	var of []int64
	err := snap.Read(ctx, event.Range{Source: VersionsSource, Through: snap.Marks[VersionsSource].Through}, func(b *event.Block) error {
		for row := range b.Len() {
			version, number := versionAt(b, row)
			rows, of = append(rows, version), append(of, number)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("history of views: %w", err)
	}
	compared := map[int64]Version{}
	out := []Version{}
	for i, r := range rows {
		if of[i] != 0 {
			compared[of[i]] = r
		} else {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Version) int { return int(a.Number - b.Number) })
	for i := range out {
		if c, ok := compared[out[i].Number]; ok {
			out[i].Cut, out[i].Difference = c.Cut, c.Difference
		}
	}
	return out, nil
}

func versionAt(b *event.Block, row int) (v Version, of int64) {
	text := func(i int) string { return b.Column(i).(*array.String).Value(row) }
	v = Version{View: text(0), Stream: text(1), Version: text(2), File: text(3), SQL: text(4), Change: text(5), Cut: event.Cut{},
		Applied: time.UnixMicro(int64(b.Column(6).(*array.Timestamp).Value(row))).UTC(),
		Number:  b.Column(len(b.Schema.Columns) + 2).(*array.Int64).Value(row)}
	// What cannot be read of these is shown as nothing: they are for people.
	_ = json.Unmarshal([]byte(text(8)), &v.Cut)
	_ = json.Unmarshal([]byte(text(9)), &v.Difference)
	return v, b.Column(7).(*array.Int64).Value(row)
}
