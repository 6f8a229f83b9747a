//go:build failpoints

package warehouse

import (
	"errors"
	"testing"

	"github.com/tailwater/tailwater/internal/fault"
)

func TestARunThatDiesAroundItsCommitIsWholeOrNothing(t *testing.T) {
	t.Cleanup(fault.Disarm)
	for point, want := range map[fault.Point]uint64{fault.BeforeBatchCommit: 10, fault.AfterBatchCommit: 25} {
		for _, rebuild := range []bool{false, true} {
			for _, reopen := range []bool{false, true} {
				path, l, plans := filePath(t), newLanded(t), payPlans(t)
				w := open(t, path)
				l.add(first, 0, 10, 3)
				advanceTo(t, w, l.input(plans...))
				l.add(first, 0, 25, 3)
				fault.Arm(point, fault.Error, 0, 1)
				if _, err := w.Advance(t.Context(), []Input{l.input(plans...)}, rebuild); !errors.Is(err, fault.ErrInjected) {
					t.Fatalf("%s: %v", point, err)
				}
				if reopen {
					check(t, w.Close())
					if w = open(t, path); w.Recreated() != "" {
						t.Fatalf("%s: made anew: %s", point, w.Recreated())
					}
				}
				if s := consistentNow(t, w, l, plans...); s[first] != want {
					t.Errorf("%s, rebuild %t, reopened %t: S = %s, want %d", point, rebuild, reopen, s, want)
				}
				done := advanceTo(t, w, l.input(plans...))
				if s := consistentNow(t, w, l, plans...); s[first] != 25 || done.Moved != (want == 10) {
					t.Errorf("%s, rebuild %t, reopened %t: the next run moved %t to %s", point, rebuild, reopen, done.Moved, s)
				}
			}
		}
	}
}
