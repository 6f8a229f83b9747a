package lake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
)

// auditor is the outside checker: it reads a bucket with nothing but the Delta
// protocol, and proves that every position through L is there exactly once.
type auditor struct {
	bucket  *MemoryBucket
	want    []string       // rows of the log, in order
	through map[uint64]int // rows through each sequence
	reading bool           // its own requests meet no faults
}

// audit checks the bucket as it is.
func (a *auditor) audit(t *testing.T) uint64 {
	t.Helper()
	a.reading = true
	defer func() { a.reading = false }()
	table, err := openLake(t, a.bucket, 1000).Table(t.Context(), small())
	if err != nil {
		t.Fatalf("audit: %v", err)
	}
	s := table.Latest()
	m, ok := s.Marks[src]
	if !ok {
		return 0
	}
	n := a.through[m.Through]
	if int(m.Accepted) != n || int(s.Rows()) != n {
		t.Fatalf("audit: through %d: mark says %d rows, files say %d, the log has %d", m.Through, m.Accepted, s.Rows(), n)
	}
	got := rowTexts(readBlocks(t, s, event.Range{Source: src, Through: m.Through})...)
	if !slices.Equal(got, a.want[:n]) {
		t.Fatalf("audit: through %d: other rows than the log's", m.Through)
	}
	return m.Through
}

// newAuditor knows a log of blocks, each of which ends at a seal.
func newAuditor(b *MemoryBucket, blocks []*event.Block) *auditor {
	a := &auditor{bucket: b, through: map[uint64]int{}}
	for _, blk := range blocks {
		a.want = append(a.want, rowTexts(blk)...)
		a.through[blk.Through] = len(a.want)
	}
	return a
}

// testLog is five sealed blocks, the third without rows.
func testLog() []*event.Block {
	var out []*event.Block
	for i := range uint64(5) {
		rows := 3
		if i == 2 {
			rows = 0
		}
		out = append(out, sealedBlock(block(small(), src, i*4, i*4+4, rows)))
	}
	return out
}

func newTestLander(t *testing.T, table *Table, cfg LanderConfig) *Lander {
	t.Helper()
	if cfg.SpoolDir == "" {
		cfg.SpoolDir = t.TempDir()
	}
	cfg.RetryMin, cfg.RetryMax = time.Millisecond, 4*time.Millisecond
	l := must(NewLander(table, cfg))(t)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// run starts l.Run; the function that it gives ends it and hands over its error.
func run(t *testing.T, l *Lander) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() error { cancel(); return <-done }
}

func applyAll(t *testing.T, l *Lander, blocks []*event.Block) {
	t.Helper()
	for _, b := range blocks {
		if err := l.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

func wait(t *testing.T, l *Lander, through uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.Wait(ctx, src, through); err != nil {
		t.Fatalf("wait for %d: %v; status %+v", through, err, l.Status())
	}
}

// TestEveryFailureOfEveryRequestLandsEachRowOnce fails the n-th request of a landing,
// for every n and in each way, once and three times in a row.
func TestEveryFailureOfEveryRequestLandsEachRowOnce(t *testing.T) {
	blocks := testLog()
	for _, fault := range []Fault{Fail, FailAmbiguous, FailPersisted, RefuseContended} {
		for _, times := range []int{1, 3} {
			for at := 0; ; at++ {
				n := landWithFault(t, blocks, at, times, fault)
				if at >= n {
					break // the landing made fewer requests than that
				}
			}
		}
	}
}

// landWithFault lands the log one seal at a time, and gives how many requests that
// took.
func landWithFault(t *testing.T, blocks []*event.Block, at, times int, f Fault) int {
	t.Helper()
	b := NewMemoryBucket()
	a := newAuditor(b, blocks)
	table := openTable(t, b, small(), 2)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	n := 0
	b.Inject(func(op Op) Fault {
		if a.reading {
			return NoFault
		}
		write := strings.HasPrefix(op.Method, "Put")
		if n++; n-1 < at || n-1 >= at+times || !write && f != Fail {
			return NoFault
		}
		if op.Method != "PutIfAbsent" && f == RefuseContended {
			return Fail
		}
		return f
	})
	l := newTestLander(t, table, LanderConfig{})
	stop := run(t, l)
	for _, blk := range blocks {
		applyAll(t, l, []*event.Block{blk})
		wait(t, l, blk.Through)
		drained(t, l)
		if got := a.audit(t); got != blk.Through {
			t.Fatalf("fault %d at request %d: audit sees %d, not %d", f, at, got, blk.Through)
		}
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatalf("fault %d at request %d: Run: %v", f, at, err)
	}
	return n
}

// drained waits until nothing is queued, so that no request is under way.
func drained(t *testing.T, l *Lander) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.until(ctx, func() bool { return len(l.queue) == 0 }); err != nil {
		t.Fatal(err)
	}
}

// TestCrashAnywhereLandsEachRowOnce ends the process at the n-th request, which is
// or is not stored, and begins again from what the table holds.
func TestCrashAnywhereLandsEachRowOnce(t *testing.T) {
	blocks := testLog()
	for _, f := range []Fault{FailAmbiguous, FailPersisted} {
		for at := 0; at < 24; at++ {
			b := NewMemoryBucket()
			a := newAuditor(b, blocks)
			must(openTable(t, b, small(), 2).OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
			crashAndResume(t, b, a, blocks, at, f)
		}
	}
}

func crashAndResume(t *testing.T, b *MemoryBucket, a *auditor, blocks []*event.Block, at int, f Fault) {
	t.Helper()
	spool := t.TempDir()
	table := openTable(t, b, small(), 2)
	crashed := make(chan struct{})
	n := 0
	b.Inject(func(Op) Fault {
		if n++; n-1 < at || a.reading {
			return NoFault
		}
		if n-1 == at {
			close(crashed)
			return f
		}
		return Fail // the dead process reaches nobody
	})
	first := newTestLander(t, table, LanderConfig{SpoolDir: spool})
	stop := run(t, first)
	applyAll(t, first, blocks)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		_ = first.Wait(t.Context(), src, 20)
		_ = first.until(t.Context(), func() bool { return len(first.queue) == 0 })
	}()
	select {
	case <-crashed:
	case <-finished: // at lies behind the last request
	}
	_ = stop()
	b.Inject(nil)
	a.audit(t)

	again := openTable(t, b, small(), 2)
	second := newTestLander(t, again, LanderConfig{SpoolDir: spool})
	stop = run(t, second)
	applyAll(t, second, blocks) // those that landed are skipped
	wait(t, second, 20)
	_ = stop()
	if got := a.audit(t); got != 20 {
		t.Fatalf("crash at request %d: audit sees %d", at, got)
	}
}

func TestOutageBlocksNobodyBeforeTheSpoolIsFull(t *testing.T) {
	b := NewMemoryBucket()
	table := openTable(t, b, small(), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	b.Inject(func(Op) Fault { return Fail })
	l := newTestLander(t, table, LanderConfig{SpoolBytes: 10_000})
	defer run(t, l)()
	through, blocked := uint64(0), false
	for !blocked && through < 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := l.Apply(ctx, sealedBlock(block(small(), src, through, through+4, 3)))
		cancel()
		if blocked = errors.Is(err, context.DeadlineExceeded); err != nil && !blocked {
			t.Fatal(err)
		}
		if !blocked {
			through += 4
		}
	}
	s := l.Status()
	if !blocked || through < 8 || s.PendingBytes < 10_000 || s.PendingBytes > 20_000 || !strings.Contains(s.Error, "injected") {
		t.Fatalf("through %d blocked %t, status %+v", through, blocked, s)
	}
	b.Inject(nil)
	wait(t, l, through)
	drained(t, l)
	if s := l.Status(); s.Error != "" || s.PendingBytes != 0 || s.PendingSeals != 0 {
		t.Errorf("after the outage: %+v", s)
	}
	if v := table.Latest().Version; v > int64(through/4) {
		t.Errorf("version %d: the queued seals of an outage did not share commits", v)
	}
	applyAll(t, l, []*event.Block{sealedBlock(block(small(), src, through, through+4, 3))})
	wait(t, l, through+4)
}

func TestLanderKeepsTheLedgerAndTheOrder(t *testing.T) {
	for name, bucket := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			table := openTable(t, bucket, small(), 64)
			must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
			landed := make(chan int64, 10) // told after the queue is empty
			spool := t.TempDir()
			leftover := filepath.Join(spool, "pay", "part-old.parquet")
			if err := errors.Join(os.MkdirAll(filepath.Dir(leftover), 0o755), os.WriteFile(leftover, []byte("x"), 0o644)); err != nil {
				t.Fatal(err)
			}
			l := newTestLander(t, table, LanderConfig{SpoolDir: spool, FileBytes: 1, Landed: func(s *Snapshot) { landed <- s.Version }})
			if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
				t.Error("the spool still has what a crash left")
			}
			stop := run(t, l)
			one := block(small(), src, 0, 4, 3)
			one.Refused, one.Duplicates = []event.Refused{{Seq: 2, Idx: 3, Reason: "bad"}}, 2
			two := sealedBlock(block(small(), src, 4, 8, 1))
			applyAll(t, l, []*event.Block{one, two})
			wait(t, l, 8)
			drained(t, l)
			s := table.Latest()
			m := s.Marks[src]
			if m.Accepted != 16 || m.Refused != 1 || m.Duplicates != 2 || m.Stamp != two.Stamp || m.LogTime != two.LogTime {
				t.Errorf("mark %+v", m)
			}
			for told := int64(0); told != 2; {
				select {
				case told = <-landed:
				case <-time.After(20 * time.Second):
					t.Fatalf("told of version %d last", told)
				}
			}
			if len(s.Files) != 2 {
				t.Errorf("%d files, although each block is over the size", len(s.Files))
			}
			if got := rowTexts(readBlocks(t, s, event.Range{Source: src, Through: 8})...); !slices.Equal(got, rowTexts(one, two)) {
				t.Error("rows differ")
			}
			var gap *event.GapError
			for _, b := range []*event.Block{block(small(), src, 9, 10, 1), block(small(), src, 4, 9, 1)} {
				if err := l.Apply(t.Context(), b); !errors.As(err, &gap) || gap.Applied != 8 {
					t.Errorf("%s behind 8: %v", b.Range, err)
				}
			}
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
			if left := must(filepath.Glob(filepath.Join(spool, "pay", "*")))(t); len(left) != 0 {
				t.Errorf("left in the spool: %v", left)
			}
		})
	}
}

func TestDeadLettersLandOverTheSamePositions(t *testing.T) {
	table := openTable(t, NewMemoryBucket(), event.DeadSchema("pay"), 64)
	must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	l := newTestLander(t, table, LanderConfig{})
	defer run(t, l)()
	b := sealedBlock(block(small(), src, 0, 4, 2))
	b.Refused = []event.Refused{{Seq: 2, Idx: 2, At: base + 2, Line: 3, Field: "v", Reason: "no number", Raw: []byte("{")}, {Seq: 2, Idx: 3, At: base + 2, Reason: "empty"}}
	applyAll(t, l, []*event.Block{b})
	wait(t, l, 4)
	got := readBlocks(t, table.Latest(), event.Range{Source: src, Through: 4})
	if rows := rowTexts(got...); !slices.Equal(rows, rowTexts(b.Dead(table.Schema()))) {
		t.Errorf("dead letters: %v", rows)
	}
}

func TestAnotherLanderStopsThisOneAndLeavesNoOrphans(t *testing.T) {
	b := NewMemoryBucket()
	ours, theirs := openTable(t, b, small(), 64), openTable(t, b, small(), 64)
	must(ours.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
	must(theirs.Snapshot(t.Context()))(t)
	blocks := testLog()
	l := newTestLander(t, ours, LanderConfig{})
	applyAll(t, l, blocks[:1])
	land(t, theirs, blocks[0])
	err := l.Run(t.Context())
	var gap *event.GapError
	var conflict *ConflictError
	if !errors.As(err, &gap) && !errors.As(err, &conflict) {
		t.Fatalf("Run: %v", err)
	}
	stored := list(t, b, "pay/part-", "")
	if len(stored) != 1 {
		t.Errorf("stored files: %v", stored)
	}
	if got := newAuditor(b, blocks).audit(t); got != 4 {
		t.Errorf("audit sees %d", got)
	}
}

func TestAServerWhoseEpochWasFollowedByAnotherCommitsNoMore(t *testing.T) {
	bucket := NewMemoryBucket()
	ours, theirs := openTable(t, bucket, small(), 64), openTable(t, bucket, small(), 64)
	must(ours.OpenEpoch(t.Context(), src, Mark{}))(t)
	next := src
	next.Epoch++
	must(theirs.OpenEpoch(t.Context(), next, Mark{}))(t)
	_, err := ours.Append(t.Context(), event.Range{Source: src, Through: 3}, nil, Mark{Through: 3})
	var conflict *ConflictError
	if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "epoch 2") {
		t.Fatalf("got %v, want a conflict that names the epoch", err)
	}
}

func TestSourcesShareATable(t *testing.T) {
	table := openTable(t, NewMemoryBucket(), small(), 64)
	l := newTestLander(t, table, LanderConfig{})
	defer run(t, l)()
	sources := []event.Source{src, {Stream: "pay", Epoch: 1, Partition: 1}, {Stream: "pay", Epoch: 2, Partition: 1}}
	if err := l.Apply(t.Context(), block(small(), src, 0, 1, 1)); err == nil {
		t.Error("a block of an epoch that is not open was applied")
	}
	for i, s := range sources {
		floor := uint64(i * 10)
		must(table.OpenEpoch(t.Context(), s, Mark{Floor: floor}))(t)
		applyAll(t, l, []*event.Block{sealedBlock(block(small(), s, floor, floor+5, 2))})
		if err := l.Wait(t.Context(), s, floor+5); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range sources {
		want := rowTexts(block(small(), s, uint64(i*10), uint64(i*10)+5, 2))
		if got := rowTexts(readBlocks(t, table.Latest(), event.Range{Source: s, After: uint64(i * 10), Through: uint64(i*10) + 5})...); !slices.Equal(got, want) {
			t.Errorf("%s: %v", s, got)
		}
	}
	if n := len(slices.Collect(maps.Keys(table.Latest().Marks))); n != 3 {
		t.Error(fmt.Sprint(n, " sources"))
	}
}
