//go:build failpoints

package lake

import (
	"testing"

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
