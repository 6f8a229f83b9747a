package event

import "testing"

func TestALostRangeCanBeCutWhereAnApplierStands(t *testing.T) {
	src := Source{Stream: "s", Epoch: 1}
	lost := &Block{Range: Range{src, 10, 20}, Stamp: 7, LogTime: 9, Seal: true}
	rest, ok := lost.Behind(15)
	if !ok || rest.Range != (Range{src, 15, 20}) || rest.Stamp != 7 || rest.LogTime != 9 || !rest.Seal {
		t.Fatalf("got %+v, %t", rest, ok)
	}
	for _, after := range []uint64{0, 10, 20, 25} {
		if _, ok := lost.Behind(after); ok {
			t.Errorf("cut at %d, which is not inside", after)
		}
	}
	lost.Refused = []Refused{{Seq: 12}}
	if _, ok := lost.Behind(15); ok {
		t.Error("a block with records was cut")
	}
}
