package gatecorpus

import "testing"

func TestEveryStatementStandsOnce(t *testing.T) {
	for name, list := range map[string][]Statement{"refused": Refused(), "admitted": Admitted(), "bombs": Bombs()} {
		seen := map[string]bool{}
		for _, s := range list {
			if seen[s.SQL] {
				t.Errorf("%s has %q twice", name, s.SQL)
			}
			seen[s.SQL] = true
		}
	}
}

func TestRepetitionsAreWrittenOut(t *testing.T) {
	list := parse("== a b\n# comment\n\nSELECT <<3:x§, >>1 << 2\\n\\0")
	if len(list) != 1 || list[0] != (Statement{"a b", "SELECT x0, x1, x2, 1 << 2\n\x00"}) {
		t.Errorf("got %q", list)
	}
}
