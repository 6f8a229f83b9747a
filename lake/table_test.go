package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
)

// readBlocks reads a range, and checks that the blocks tile it.
func readBlocks(t *testing.T, s *Snapshot, r event.Range) []*event.Block {
	t.Helper()
	var out []*event.Block
	at := r.After
	err := s.Read(t.Context(), r, func(b *event.Block) error {
		if b.After != at || b.Through <= b.After && !r.Empty() {
			t.Fatalf("block %s follows %d", b.Range, at)
		}
		at = b.Through
		out = append(out, b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if at != r.Through {
		t.Fatalf("blocks end at %d, not %d", at, r.Through)
	}
	return out
}

// rowTexts gives each row, position first, as text.
func rowTexts(blocks ...*event.Block) []string {
	var out []string
	for _, b := range blocks {
		for row := range b.Len() {
			var cells []string
			n := len(b.Schema.Columns)
			for c := range b.Schema.Relation() {
				a := b.Column((c + n) % (n + len(event.PositionColumns)))
				cells = append(cells, a.ValueStr(row))
			}
			out = append(out, strings.Join(cells, "|"))
		}
	}
	return out
}

func TestEveryTypeComesBackAsItWent(t *testing.T) {
	for name, bucket := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			table := openTable(t, bucket, allTypes(), 64)
			must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
			want := block(table.Schema(), src, 0, 300, 3)
			s := land(t, table, want)
			got := readBlocks(t, s, event.Range{Source: src, Through: 300})
			if a, z := rowTexts(got...), rowTexts(want); !slices.Equal(a, z) {
				t.Fatalf("first row\n%s\nwant\n%s", a[0], z[0])
			}
			last := got[len(got)-1]
			if !last.Seal || last.Stamp != want.Stamp || last.LogTime != want.LogTime {
				t.Errorf("last block: seal %t stamp %d log time %d", last.Seal, last.Stamp, last.LogTime)
			}
			part := readBlocks(t, s, event.Range{Source: src, After: 100, Through: 101})
			if a, z := rowTexts(part...), rowTexts(block(table.Schema(), src, 100, 101, 3)); !slices.Equal(a, z) {
				t.Errorf("(100,101] is %v", a)
			}
		})
	}
}

func TestANarrowedReaderGivesTheSameBlocksWithNullsElsewhere(t *testing.T) {
	table := openTable(t, NewMemoryBucket(), allTypes(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	want := block(table.Schema(), src, 0, 300, 3)
	s := land(t, table, want)
	var got []*event.Block
	err := s.Only([]string{"id", "d9", "no such column"}).Read(t.Context(), event.Range{Source: src, Through: 300}, func(b *event.Block) error {
		got = append(got, b)
		return nil
	})
	if err != nil || len(got) != 1 || got[0].Len() != want.Len() || !got[0].Seal {
		t.Fatalf("%d blocks, %v", len(got), err)
	}
	for i, c := range table.Schema().Relation() {
		read := i >= len(table.Schema().Columns) || c.Name == "id" || c.Name == "d9"
		if read && !array.Equal(got[0].Column(i), want.Column(i)) {
			t.Errorf("column %s is another", c.Name)
		}
		if !read && got[0].Column(i).NullN() != want.Len() {
			t.Errorf("column %s was read", c.Name)
		}
	}
}

// shuffled writes a file whose rows lie in another order than their positions, as
// another program's clustering leaves them.
func shuffled(t *testing.T, table *Table, b *event.Block, keep func(row int) bool) add {
	t.Helper()
	w := must(NewFileWriter(table.Schema(), t.TempDir()))(t)
	var rows []int
	for i := b.Len() - 1; i >= 0; i-- {
		if keep(i) {
			rows = append(rows, i)
		}
	}
	for c := range w.columns {
		a := event.Take(b.Column(c), rows)
		if err := w.columns[c].write(a, 0, a.Len()); err != nil {
			t.Fatal(err)
		}
	}
	w.rows = int64(len(rows))
	f := must(w.Finish())(t)
	if err := table.Upload(t.Context(), *f); err != nil {
		t.Fatal(err)
	}
	return add{Path: f.Path, PartitionValues: map[string]string{}, Size: f.Size, Stats: f.Stats}
}

// commitForeign writes a version as another program would.
func commitForeign(t *testing.T, b Bucket, version int64, actions ...action) {
	t.Helper()
	actions = append([]action{{CommitInfo: &commitInfo{Operation: "OPTIMIZE", EngineInfo: "other"}}}, actions...)
	data := must(encodeActions(actions))(t)
	if err := b.PutIfAbsent(t.Context(), "pay/"+commitKey(version), data); err != nil {
		t.Fatal(err)
	}
}

func TestReadNeedsNoOrderOfFilesOrRows(t *testing.T) {
	b := NewMemoryBucket()
	table := openTable(t, b, small(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	want := block(table.Schema(), src, 0, 40, 5000) // 200,000 rows: several windows
	s := land(t, table, want)
	var actions []action
	for part := range 3 {
		a := shuffled(t, table, want, func(row int) bool { return row%3 == part })
		actions = append(actions, action{Add: &a})
	}
	for _, f := range s.Files {
		actions = append(actions, action{Remove: &remove{Path: f.Path, DeletionTimestamp: 1}})
	}
	commitForeign(t, b, s.Version+1, actions...)
	s = must(table.Snapshot(t.Context()))(t)
	got := readBlocks(t, s, event.Range{Source: src, Through: 40})
	if len(got) < 3 {
		t.Errorf("%d blocks hold 200,000 rows", len(got))
	}
	if !slices.Equal(rowTexts(got...), rowTexts(want)) {
		t.Error("rows differ after a rewrite")
	}
	n := 0
	err := s.Scan(t.Context(), ScanQuery{Range: event.Range{Source: src, Through: 40}, Since: base + 39, Columns: []string{"v"}}, func(sb ScanBatch) error {
		n += len(sb.Seq)
		for i, seq := range sb.Seq {
			if x := int64(seq)*1000 + int64(sb.Idx[i]); seq < 39 || (x+1)%7 != 0 && max(x, -x) != abs(sb.Columns[0].(*array.Int64).Value(i)) {
				return fmt.Errorf("row %d.%d does not belong here", seq, sb.Idx[i])
			}
		}
		return nil
	})
	if err != nil || n != 10000 {
		t.Errorf("Scan gave %d rows: %v", n, err)
	}
	times := must(s.Times(t.Context(), event.Range{Source: src, After: 10, Through: 12}))(t)
	if len(times) != 2 || times[11] != base+11 || times[12] != base+12 {
		t.Errorf("Times: %v", times)
	}
}

func abs(v int64) int64 { return max(v, -v) }

func TestMessageLargerThanAWindowIsOneBlock(t *testing.T) {
	table := openTable(t, NewMemoryBucket(), small(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	s := land(t, table, block(table.Schema(), src, 0, 2, windowRows+5))
	got := readBlocks(t, s, event.Range{Source: src, Through: 2})
	if len(got) != 2 || got[0].Len() != windowRows+5 || got[1].Len() != windowRows+5 {
		t.Errorf("%d blocks", len(got))
	}
}

func TestDoubledRowsAreAnError(t *testing.T) {
	b := NewMemoryBucket()
	table := openTable(t, b, small(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	blk := block(table.Schema(), src, 0, 3, 2)
	s := land(t, table, blk)
	a := shuffled(t, table, blk, func(row int) bool { return row == 3 })
	commitForeign(t, b, s.Version+1, action{Add: &a})
	s = must(table.Snapshot(t.Context()))(t)
	err := s.Read(t.Context(), event.Range{Source: src, Through: 3}, func(*event.Block) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("Read of doubled rows: %v", err)
	}
}

func TestEmptyRangesCommitTheirPositionAlone(t *testing.T) {
	table := openTable(t, NewMemoryBucket(), small(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 5}))(t)
	s := land(t, table, block(table.Schema(), src, 5, 9, 0))
	if len(s.Files) != 0 || s.Through()[src] != 9 || s.Marks[src].Floor != 5 {
		t.Errorf("%d files, through %s", len(s.Files), s.Through())
	}
	got := readBlocks(t, s, event.Range{Source: src, After: 5, Through: 9})
	if len(got) != 1 || got[0].Len() != 0 || !got[0].Seal {
		t.Errorf("an empty range gave %d blocks", len(got))
	}
	if sql := must(s.SelectSQL(t.Context(), []event.Range{{Source: src, After: 5, Through: 9}}))(t); sql != `SELECT CAST(NULL AS VARCHAR) AS "k", CAST(NULL AS BIGINT) AS "v", CAST(NULL AS INTEGER) AS "_epoch", CAST(NULL AS INTEGER) AS "_partition", CAST(NULL AS BIGINT) AS "_seq", CAST(NULL AS INTEGER) AS "_idx", CAST(NULL AS TIMESTAMP) AS "_ingested_at" WHERE false` {
		t.Error(sql)
	}
}

func TestAppendRefusesWhatDoesNotFollow(t *testing.T) {
	table := openTable(t, NewMemoryBucket(), small(), 64)
	ctx := t.Context()
	if _, err := table.Append(ctx, event.Range{Source: src, Through: 3}, nil, Mark{Through: 3}); err == nil || !strings.Contains(err.Error(), "open its epoch") {
		t.Errorf("unknown source: %v", err)
	}
	must(table.OpenEpoch(ctx, src, Mark{Floor: 10}))(t)
	must(table.OpenEpoch(ctx, src, Mark{Floor: 10}))(t)
	if _, err := table.OpenEpoch(ctx, src, Mark{Floor: 11}); err == nil {
		t.Error("an epoch was opened at two floors")
	}
	var gap *event.GapError
	if _, err := table.Append(ctx, event.Range{Source: src, After: 11, Through: 12}, nil, Mark{Floor: 10, Through: 12}); !errors.As(err, &gap) || gap.Applied != 10 {
		t.Errorf("gap: %v", err)
	}
	f := upload(t, table, block(table.Schema(), src, 12, 14, 1))
	if _, err := table.Append(ctx, event.Range{Source: src, After: 10, Through: 12}, []DataFile{f}, Mark{Floor: 10, Through: 12}); err == nil || !strings.Contains(err.Error(), "not in the range") {
		t.Errorf("file of another range: %v", err)
	}
	if v := table.Latest().Version; v != 1 {
		t.Errorf("refusals left version %d", v)
	}
}

func TestRacingCommittersLandEveryRangeOnce(t *testing.T) {
	for name, bucket := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			const writers, commits = 8, 4
			tables := []*Table{openTable(t, bucket, small(), 5), openTable(t, bucket, small(), 5)}
			var wg sync.WaitGroup
			for w := range writers {
				s := event.Source{Stream: "pay", Epoch: 1, Partition: uint32(w)}
				table := tables[w%2]
				must(table.OpenEpoch(t.Context(), s, Mark{Floor: 0}))(t)
				wg.Go(func() {
					for i := range uint64(commits) {
						r := event.Range{Source: s, After: i * 10, Through: i*10 + 10}
						if _, err := table.Append(t.Context(), r, nil, Mark{Through: r.Through}); err != nil {
							t.Errorf("%s: %v", r, err)
							return
						}
					}
				})
			}
			wg.Wait()
			s := must(tables[0].Snapshot(t.Context()))(t)
			if s.Version != writers*(commits+1) {
				t.Errorf("version %d", s.Version)
			}
			for src, through := range s.Through() {
				if through != commits*10 {
					t.Errorf("%s is at %d", src, through)
				}
			}
		})
	}
}

func TestRivalsForOneSourceHaveOneWinner(t *testing.T) {
	b := NewMemoryBucket()
	first := openTable(t, b, small(), 64)
	must(first.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	tables := []*Table{first, openTable(t, b, small(), 64)}
	r := event.Range{Source: src, Through: 10}
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			_, err := tables[w%2].Append(t.Context(), r, nil, Mark{Through: 10})
			var gap *event.GapError
			var conflict *ConflictError
			switch {
			case err == nil:
				won.Add(1)
			case errors.As(err, &gap) || errors.As(err, &conflict):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 7 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func TestRestartFromCheckpointSeesTheSame(t *testing.T) {
	for name, bucket := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			table := openTable(t, bucket, small(), 4)
			must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
			var want []string
			for i := range uint64(9) {
				b := block(table.Schema(), src, i*5, i*5+5, 2)
				want = append(want, rowTexts(b)...)
				land(t, table, b)
			}
			if v, ok := table.readHint(t.Context()); !ok || v != 8 {
				t.Fatalf("hint %d %t", v, ok)
			}
			// Without the commits before it, the checkpoint is all there is.
			for v := range int64(8) {
				if err := bucket.Delete(t.Context(), "pay/"+commitKey(v)); err != nil {
					t.Fatal(err)
				}
			}
			again := openTable(t, bucket, small(), 4).Latest()
			if a, z := fmt.Sprint(again.Version, again.CommitID, again.Marks), fmt.Sprint(table.Latest().Version, table.Latest().CommitID, table.Latest().Marks); a != z {
				t.Errorf("restart sees\n%s\nwant\n%s", a, z)
			}
			if got := rowTexts(readBlocks(t, again, event.Range{Source: src, Through: 45})...); !slices.Equal(got, want) {
				t.Error("rows differ after a restart")
			}
		})
	}
}

func TestDamagedCheckpointIsPassedOver(t *testing.T) {
	b := NewMemoryBucket()
	table := openTable(t, b, small(), 2)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	land(t, table, block(table.Schema(), src, 0, 5, 2))
	if err := b.Put(t.Context(), "pay/"+checkpointKey(2), []byte("PAR1 no")); err != nil {
		t.Fatal(err)
	}
	if s := openTable(t, b, small(), 2).Latest(); s.Version != 2 || len(s.Files) != 1 {
		t.Errorf("version %d, %d files", s.Version, len(s.Files))
	}
	if err := b.Put(t.Context(), "pay/"+hintKey, []byte(`{"version":99}`)); err != nil {
		t.Fatal(err)
	}
	if s := openTable(t, b, small(), 2).Latest(); s.Version != 2 {
		t.Errorf("a wrong hint led to version %d", s.Version)
	}
}

func TestForeignChangesAreRefusedByName(t *testing.T) {
	meta := func(s *Snapshot) action { m := s.meta; m.Name = "renamed"; return action{MetaData: &m} }
	cases := map[string]struct {
		action func(*Snapshot) action
		open   bool // whether the table can still be opened
		want   string
	}{
		"protocol raised": {func(*Snapshot) action { return action{Protocol: &protocol{3, 7}} }, false, "reader version 3"},
		"metadata set":    {meta, true, "protocol or metadata"},
		"rows without positions": {func(*Snapshot) action {
			return action{Add: &add{Path: "x.parquet", DataChange: true, Stats: `{"numRecords":1}`}}
		}, false, "no position of the log"},
		"position moved": {func(s *Snapshot) action { return action{Txn: &txn{appID(s.TableID, src), 77, 0}} }, false, "changed by hand"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := NewMemoryBucket()
			table := openTable(t, b, small(), 64)
			s := must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
			commitForeign(t, b, s.Version+1, c.action(s))
			_, err := table.Append(t.Context(), event.Range{Source: src, Through: 1}, nil, Mark{Through: 1})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Append: %v", err)
			}
			if _, err := openLake(t, b, 64).Table(t.Context(), small()); (err == nil) != c.open {
				t.Errorf("Table: %v", err)
			}
		})
	}
}

func TestOtherColumnsAreRefusedByName(t *testing.T) {
	b := NewMemoryBucket()
	openTable(t, b, small(), 64)
	changes := map[string]func(*event.Schema){
		`"v" is INTEGER now and was BIGINT`: func(s *event.Schema) { s.Columns[1].Kind = event.Integer },
		`"v" is named "w" now`:              func(s *event.Schema) { s.Columns[1].Name = "w" },
		`"v" is NOT NULL now`:               func(s *event.Schema) { s.Columns[1].NotNull = true },
		`"k" is JSON now and was VARCHAR`:   func(s *event.Schema) { s.Columns[0].Kind = event.JSON },
	}
	for want, change := range changes {
		s := small()
		change(s)
		if _, err := openLake(t, b, 64).Table(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "name a new stream") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestSelectSQLNamesExactlyTheRanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's")
	table := openTable(t, must(NewDirBucket(dir))(t), small(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	land(t, table, block(table.Schema(), src, 0, 5, 1))
	s := land(t, table, block(table.Schema(), src, 5, 9, 1))
	got := must(s.SelectSQL(t.Context(), []event.Range{{Source: src, After: 6, Through: 8}}))(t)
	want := `SELECT CAST("k" AS VARCHAR) AS "k", CAST("v" AS BIGINT) AS "v", CAST("_epoch" AS INTEGER) AS "_epoch", CAST("_partition" AS INTEGER) AS "_partition", CAST("_seq" AS BIGINT) AS "_seq", CAST("_idx" AS INTEGER) AS "_idx", make_timestamp(epoch_us("_ingested_at")) AS "_ingested_at" FROM read_parquet(['` +
		strings.ReplaceAll(filepath.Join(dir, "pay", s.Files[1].Path), "'", "''") + `'], hive_partitioning = false) WHERE (_epoch = 1 AND _partition = 0 AND _seq > 6 AND _seq <= 8)`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := s.SelectSQL(t.Context(), []event.Range{{Source: src, Through: 10}}); err == nil {
		t.Error("a range that is not covered was selected")
	}
}

func TestStatisticsBoundTheValues(t *testing.T) {
	long := strings.Repeat("é", statPrefix)
	cases := []struct {
		name   string
		column event.Column
		set    func(*columnStats)
		lo, hi string // JSON; empty if there are no bounds
	}{
		{"short text", event.Column{Type: event.Type{Kind: event.Varchar}}, func(s *columnStats) { s.bytes([]byte("b")); s.bytes([]byte("a")) }, `"a"`, `"b"`},
		{"long text is cut upwards", event.Column{Type: event.Type{Kind: event.Varchar}}, func(s *columnStats) { s.bytes([]byte(long + "x")) }, `"` + long + `"`, `"` + long + "\U0010FFFF" + `"`},
		{"text with no upper bound", event.Column{Type: event.Type{Kind: event.Varchar}}, func(s *columnStats) { s.bytes([]byte(long + "\U0010FFFFz")) }, "", ""},
		{"not a number", event.Column{Type: event.Type{Kind: event.Double}}, func(s *columnStats) { s.float(1); s.float(math.NaN()) }, "", ""},
		{"infinity", event.Column{Type: event.Type{Kind: event.Double}}, func(s *columnStats) { s.float(math.Inf(-1)) }, "", ""},
		{"times round outwards", event.Column{Type: event.Type{Kind: event.Timestamp}}, func(s *columnStats) { s.int(-1); s.int(1001) }, `"1969-12-31T23:59:59.999Z"`, `"1970-01-01T00:00:00.002Z"`},
		{"year 12000", event.Column{Type: event.Type{Kind: event.Date}}, func(s *columnStats) { s.int(3_660_000) }, "", ""},
		{"decimals", event.Column{Type: event.Type{Kind: event.Decimal, Precision: 9, Scale: 2}}, func(s *columnStats) { s.int(-5); s.int(12345) }, "-0.05", "123.45"},
		{"nothing but NULL", event.Column{Type: event.Type{Kind: event.BigInt}}, func(*columnStats) {}, "", ""},
	}
	for _, c := range cases {
		s := newColumnStats(c.column)
		c.set(&s)
		lo, hi, ok := s.bounds()
		if ok != (c.lo != "") {
			t.Errorf("%s: bounds %v %v %t", c.name, lo, hi, ok)
			continue
		}
		if !ok {
			continue
		}
		a, z := must(json.Marshal(lo))(t), must(json.Marshal(hi))(t)
		if string(a) != c.lo || string(z) != c.hi {
			t.Errorf("%s: %s %s", c.name, a, z)
		}
	}
}

// TestOtherReadersAgree has Python's deltalake read a table, from its checkpoint
// too, and DuckDB run SelectSQL.
func TestOtherReadersAgree(t *testing.T) {
	python := os.Getenv("TAILWATER_TEST_PYTHON")
	if python == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("TAILWATER_TEST_PYTHON must name an interpreter with deltalake, pyarrow and duckdb")
		}
		t.Log("TAILWATER_TEST_PYTHON is not set: only our own reader is tested")
		return
	}
	dir := t.TempDir()
	// The stream gains its last two columns when the half of the files is there.
	table := openTable(t, must(NewDirBucket(dir))(t), without(allTypes(), 2), 4)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	var want []string
	for i := range uint64(6) {
		if i == 3 {
			table = openTable(t, must(NewDirBucket(dir))(t), allTypes(), 4)
		}
		b := block(table.Schema(), src, i*50, i*50+50, 3)
		land(t, table, b)
		want = append(want, padTexts(rowTexts(b), len(allTypes().Columns)-len(table.Schema().Columns))...)
	}
	s := table.Latest()
	sql := must(s.SelectSQL(t.Context(), []event.Range{{Source: src, After: 20, Through: 280}}))(t)
	cmd := exec.CommandContext(context.Background(), python, readersScript, filepath.Join(dir, "pay"), sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.TrimSpace(string(out)); got != "ok" {
		t.Error(got)
	}
	// The script compacted the table: it must still be ours, with the same rows.
	s = must(table.Snapshot(t.Context()))(t)
	if len(s.Files) != 1 {
		t.Errorf("%d files after a compaction", len(s.Files))
	}
	if got := rowTexts(readBlocks(t, s, event.Range{Source: src, Through: 300})...); !slices.Equal(got, want) {
		t.Error("rows differ after another program's compaction")
	}
	land(t, table, block(table.Schema(), src, 300, 310, 1))
	if again := openTable(t, must(NewDirBucket(dir))(t), allTypes(), 4).Latest(); again.Marks[src].Through != 310 {
		t.Errorf("restart after another program's checkpoint: through %d", again.Marks[src].Through)
	}
}

// Files that hold nothing of the time asked for are left out, by the statistics in the
// table's log, and rounding keeps the ones at the edges.
func TestFilesOfAnotherTimeAreNotRead(t *testing.T) {
	f := File{Path: "x", times: map[string][2]int64{"Ts": {1_000, 2_999}}}
	for _, c := range []struct {
		least, greatest int64
		outside         bool
	}{{math.MinInt64, math.MaxInt64, false}, {3_000, math.MaxInt64, true}, {2_999, 5_000, false}, {math.MinInt64, 999, true}, {0, 1_000, false}, {1_500, 1_500, false}} {
		if got := f.outside(Bounds{"ts": {c.least, c.greatest}, "other": {1, 2}}); got != c.outside {
			t.Errorf("[%d, %d]: outside %t", c.least, c.greatest, got)
		}
	}
	known := File{Path: "y"}
	_, err := known.decodeStats(`{"numRecords":1,"minValues":{"ts":"1970-01-01T00:00:00.001Z","note":"1970-01-01T00:00:00.001Z"},"maxValues":{"ts":"1970-01-01T00:00:00.002Z","note":"1970-01-01T00:00:00.002Z"},"nullCount":{}}`,
		&event.Schema{Columns: []event.Column{{Name: "ts", Type: event.Type{Kind: event.Timestamp}}, {Name: "note", Type: event.Type{Kind: event.Varchar}}}})
	if err != nil || len(known.times) != 1 || known.times["ts"] != [2]int64{1_000, 2_999} {
		t.Errorf("%v, %v", known.times, err)
	}
}
