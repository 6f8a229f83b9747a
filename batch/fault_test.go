//go:build failpoints

package batch

import (
	"errors"
	"testing"

	"github.com/tailwater/tailwater/internal/fault"
	"github.com/tailwater/tailwater/lake"
)

func TestARunThatDiesAroundItsCommitIsMadeUpFor(t *testing.T) {
	t.Cleanup(fault.Disarm)
	for point, rows := range map[fault.Point]int64{fault.BeforeBatchCommit: 4, fault.AfterBatchCommit: 0} {
		r := newRig(t, lake.NewMemoryBucket(), nil)
		r.land(4)
		fault.Arm(point, fault.Error, 0, 1)
		run, err := r.Run(t.Context(), OnSchedule, false)
		if !errors.Is(err, fault.ErrInjected) || run.Status != "failed" || run.ID != 1 || r.told() != "[]" {
			t.Errorf("%s: %v, %s", point, err, text(run))
		}
		// Nobody was told what may have been committed: the next run tells.
		if run := r.must(OnSchedule, false); run.Rows != rows {
			t.Errorf("%s: the next run is %s", point, text(run))
		}
		if got, total := r.told(), r.total(); got != "[hourly:4 total:4]" || total != "4 10" {
			t.Errorf("%s: Loaded was told %s, total is %s", point, got, total)
		}
	}
}
