//go:build failpoints

package lake

import (
	"slices"
	"testing"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/fault"
)

// TestFaultPointsLandEachRowOnce fails each point of a landing at its first and
// second hit, and has the outside checker read the bucket afterwards.
func TestFaultPointsLandEachRowOnce(t *testing.T) {
	t.Cleanup(fault.Disarm)
	for _, p := range []fault.Point{fault.AfterParquetPut, fault.BeforeCommitPut, fault.CommitResponseLost, fault.AfterCommitPut} {
		for skip := range 2 {
			t.Run(string(p), func(t *testing.T) {
				fault.Disarm()
				b, blocks := NewMemoryBucket(), testLog()
				a := newAuditor(b, blocks)
				table := openTable(t, b, small(), 2)
				must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
				fault.Arm(p, fault.Error, skip, 1)
				l := newTestLander(t, table, LanderConfig{})
				stop := run(t, l)
				for _, blk := range blocks {
					applyAll(t, l, blocks[(blk.Through-4)/4:blk.Through/4])
					wait(t, l, blk.Through)
					drained(t, l)
					if got := a.audit(t); got != blk.Through {
						t.Fatalf("audit sees %d, not %d", got, blk.Through)
					}
				}
				_ = stop()
				if fault.Fired(p) != 1 {
					t.Errorf("fired %d times", fault.Fired(p))
				}
			})
		}
	}
}

// TestFaultPointsLeaveATableThatTheNextStartWidens fails each point of the commit that
// adds columns; the next opening finishes what was begun, with one commit in all.
func TestFaultPointsLeaveATableThatTheNextStartWidens(t *testing.T) {
	t.Cleanup(fault.Disarm)
	for _, p := range []fault.Point{fault.BeforeCommitPut, fault.CommitResponseLost, fault.AfterCommitPut} {
		t.Run(string(p), func(t *testing.T) {
			fault.Disarm()
			b := NewMemoryBucket()
			table := openTable(t, b, small(), 64)
			must(table.OpenEpoch(t.Context(), src, Mark{Floor: 0}))(t)
			s := land(t, table, block(table.Schema(), src, 0, 10, 1))
			fault.Arm(p, fault.Error, 0, 1)
			// A lost response is resolved at once: the log is read again.
			if _, err := openLake(t, b, 64).Table(t.Context(), gained()); (err == nil) != (p == fault.CommitResponseLost) {
				t.Errorf("opening: %v", err)
			}
			if fault.Fired(p) != 1 {
				t.Errorf("fired %d times", fault.Fired(p))
			}
			table = openTable(t, b, gained(), 64)
			if got := table.Latest(); got.Version != s.Version+1 {
				t.Errorf("version %d after %d", got.Version, s.Version)
			}
			fresh := block(table.Schema(), src, 10, 20, 1)
			if got := rowTexts(readBlocks(t, land(t, table, fresh), event.Range{Source: src, After: 10, Through: 20})...); !slices.Equal(got, rowTexts(fresh)) {
				t.Error("rows differ")
			}
		})
	}
}
