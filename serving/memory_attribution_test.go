package serving

import (
	"math"
	"testing"
	"time"
)

func TestMemoryIsAttributedToThoseWhoCompute(t *testing.T) {
	const ms = time.Millisecond
	held := func(principal string, share float64, computed time.Duration) *holding {
		return &holding{principal: principal, share: share, computed: computed, grown: true}
	}
	young := func(share float64, computed time.Duration) *holding {
		return &holding{principal: "y", share: share, computed: computed}
	}
	for name, c := range map[string]struct {
		total, gone float64
		all         []*holding
		shares      []float64
		alone       []float64
	}{
		"one that computes":                    {100, 0, []*holding{held("", 0, 0), held("a", 40, 10*ms)}, []float64{0, 100}, []float64{0, 60}},
		"a rise by processor time":             {100, 0, []*holding{held("", 0, 0), held("a", 0, 30*ms), held("b", 40, 10*ms)}, []float64{0, 45, 55}, []float64{0, 0, 0}},
		"a batch run beside":                   {100, 0, []*holding{held("", 0, 15*ms), held("a", 0, 15*ms)}, []float64{50, 50}, []float64{0, 0}},
		"nobody computed":                      {100, 0, []*holding{held("", 10, 0), held("a", 30, 0)}, []float64{70, 30}, []float64{0, 0}},
		"one that waits keeps what it holds":   {90, 0, []*holding{held("", 0, 0), held("a", 50, 0), held("b", 50, 10*ms)}, []float64{0, 50, 40}, []float64{0, 0, 0}},
		"a fall beyond those who compute":      {20, 0, []*holding{held("", 20, 0), held("a", 60, 0), held("b", 20, 10*ms)}, []float64{5, 15, 0}, []float64{0, 0, 0}},
		"a fall by shares":                     {50, 0, []*holding{held("", 0, 0), held("a", 75, 1*ms), held("b", 25, 9*ms)}, []float64{0, 37.5, 12.5}, []float64{0, 0, 0}},
		"all is given back":                    {0, 0, []*holding{held("", 10, 0), held("a", 75, 0), held("b", 25, 9*ms)}, []float64{0, 0, 0}, []float64{0, 0, 0}},
		"one that ended gave its memory back":  {60, 40, []*holding{held("", 0, 0), held("a", 60, 10*ms)}, []float64{0, 60}, []float64{0, 0}},
		"one that ended held what was another": {100, 40, []*holding{held("", 0, 0), held("a", 60, 0), held("b", 0, 10*ms)}, []float64{0, 100, 0}, []float64{0, 0, 0}},
		"and another takes more":               {120, 40, []*holding{held("", 0, 0), held("a", 60, 0), held("b", 0, 10*ms)}, []float64{0, 100, 20}, []float64{0, 0, 20}},
		"a young one beside proves the other":  {100, 0, []*holding{held("", 0, 0), held("a", 0, 10*ms), young(0, 10*ms)}, []float64{0, 50, 50}, []float64{0, 50, 0}},
		"queries of one principal together":    {100, 0, []*holding{held("", 0, 0), held("a", 0, 10*ms), held("a", 0, 10*ms)}, []float64{0, 50, 50}, []float64{0, 50, 50}},
	} {
		attribute(c.total, c.gone, c.all)
		var sum float64
		for i, h := range c.all {
			sum += h.share
			if math.Abs(h.share-c.shares[i]) > 1e-9 || math.Abs(h.alone-c.alone[i]) > 1e-9 {
				t.Errorf("%s: %d holds %g, %g of it proven; want %g and %g", name, i, h.share, h.alone, c.shares[i], c.alone[i])
			}
		}
		if math.Abs(sum-c.total) > 1e-9 {
			t.Errorf("%s: the shares make %g, the engine holds %g", name, sum, c.total)
		}
	}
}

func TestWhoIsAcquittedLeavesItsShareToTheOthers(t *testing.T) {
	nobody, a, b, c := &holding{}, &holding{share: 50}, &holding{share: 30}, &holding{share: 10}
	acquit(a, 10, []*holding{nobody, a, b, c})
	if nobody.share != 0 || a.share != 10 || b.share != 60 || c.share != 20 {
		t.Errorf("the shares are %g, %g, %g, %g", nobody.share, a.share, b.share, c.share)
	}
	acquit(a, 0, []*holding{nobody, a})
	if nobody.share != 10 || a.share != 0 {
		t.Errorf("the only one's share went to %g, %g", nobody.share, a.share)
	}
}
