//go:build failpoints

package speed

import (
	"errors"
	"testing"

	"github.com/tailwater/tailwater/internal/fault"
)

func TestAMicroBatchThatFailsInTheMiddleIsNotApplied(t *testing.T) {
	t.Cleanup(fault.Disarm)
	b := begun(t, nil)
	b.apply(block(src, 0, 5, 2))
	before := b.State()
	fault.Arm(fault.MidMicroBatch, fault.Error, 0, 1)
	if err := b.Applier("pay").Apply(t.Context(), block(src, 5, 9, 2)); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("got %v", err)
	}
	if b.State() != before {
		t.Fatal("a State was published")
	}
	b.apply(block(src, 5, 9, 2))
	for _, p := range b.plans {
		b.same(b.State(), p.Name, block(src, 0, 9, 2))
	}
}
