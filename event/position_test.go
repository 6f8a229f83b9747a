package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var src = Source{Stream: "pay", Epoch: 2, Partition: 1}

// spans reads ranges such as "0-5 7-9"; those with a star are of another source.
func spans(t *testing.T, text string) []Range {
	t.Helper()
	var out []Range
	for _, word := range strings.Fields(text) {
		r := Range{Source: src}
		word, foreign := strings.CutSuffix(word, "*")
		if foreign {
			r.Stream = "other"
		}
		if _, err := fmt.Sscanf(word, "%d-%d", &r.After, &r.Through); err != nil {
			t.Fatalf("span %q: %v", word, err)
		}
		out = append(out, r)
	}
	return out
}

func spanText(ranges []Range) string {
	var words []string
	for _, r := range ranges {
		words = append(words, fmt.Sprintf("%d-%d", r.After, r.Through))
	}
	return strings.Join(words, " ")
}

func TestHolesTellWhatDoesNotTile(t *testing.T) {
	for name, c := range map[string]struct{ want, have, other, holes, overlaps string }{
		"tiled":                        {want: "0-10", have: "0-4 4-10"},
		"tiled in any order":           {want: "0-10", have: "6-10 0-4 4-6"},
		"nothing":                      {want: "0-10", holes: "0-10"},
		"hole at the front":            {want: "0-10", have: "3-10", holes: "0-3"},
		"hole in the middle":           {want: "0-10", have: "0-3 7-10", holes: "3-7"},
		"hole at the end":              {want: "0-10", have: "0-9", holes: "9-10"},
		"several holes":                {want: "0-10", have: "1-2 4-5", holes: "0-1 2-4 5-10"},
		"what lies outside is cut off": {want: "5-10", have: "0-7 7-20"},
		"beside it":                    {want: "5-10", have: "0-5 10-20", holes: "5-10"},
		"overlap":                      {want: "0-10", have: "0-6 4-10", overlaps: "4-6"},
		"the same twice":               {want: "0-10", have: "0-10 0-10", overlaps: "0-10"},
		"one within the other":         {want: "0-10", have: "0-10 3-5", overlaps: "3-5"},
		"hole and overlap":             {want: "0-10", have: "0-4 2-5 6-10", holes: "5-6", overlaps: "2-4"},
		"overlap outside is no matter": {want: "5-10", have: "0-5 2-5 5-10"},
		"empty ranges are nothing":     {want: "0-10", have: "4-4 9-3", holes: "0-10"},
		"nothing is wanted":            {want: "7-7", have: "0-20"},
		"another source":               {want: "0-10", have: "0-4", other: "4-10*", holes: "4-10"},
	} {
		t.Run(name, func(t *testing.T) {
			have := append(spans(t, c.have), spans(t, c.other)...)
			holes, overlaps := Holes(spans(t, c.want)[0], have)
			if spanText(holes) != c.holes || spanText(overlaps) != c.overlaps {
				t.Errorf("holes %q, overlaps %q; want %q, %q", spanText(holes), spanText(overlaps), c.holes, c.overlaps)
			}
			for _, r := range slices.Concat(holes, overlaps) {
				if r.Source != src {
					t.Errorf("%s is not of the source asked for", r)
				}
			}
		})
	}
}

func TestHolesOfEpochsAndPartitionsAreSeparate(t *testing.T) {
	for _, other := range []Source{{"pay", 3, 1}, {"pay", 2, 0}, {"pay2", 2, 1}} {
		holes, overlaps := Holes(Range{src, 0, 5}, []Range{{src, 0, 2}, {other, 2, 5}, {other, 0, 2}})
		if spanText(holes) != "2-5" || len(overlaps) > 0 {
			t.Errorf("%s counted for %s: holes %v, overlaps %v", other, src, holes, overlaps)
		}
	}
}

// TestHolesEqualABitmap counts, sequence by sequence, how often each is covered.
func TestHolesEqualABitmap(t *testing.T) {
	const last = 24
	rapid.Check(t, func(t *rapid.T) {
		seq := rapid.Uint64Range(0, last)
		draw := func(name string) Range {
			return Range{src, seq.Draw(t, name+" after"), seq.Draw(t, name+" through")}
		}
		want := draw("want")
		have := make([]Range, rapid.IntRange(0, 7).Draw(t, "ranges"))
		var times [last + 1]int
		for i := range have {
			have[i] = draw("have")
			if rapid.IntRange(0, 5).Draw(t, "source") == 0 {
				have[i].Epoch++
				continue
			}
			for s := have[i].After + 1; s <= have[i].Through; s++ {
				times[s]++
			}
		}
		var hole, twice [last + 1]bool
		holes, overlaps := Holes(want, have)
		mark := func(set *[last + 1]bool, ranges []Range) {
			for _, r := range ranges {
				if r.Empty() {
					t.Fatalf("%s is empty", r)
				}
				for s := r.After + 1; s <= r.Through; s++ {
					set[s] = true
				}
			}
		}
		mark(&hole, holes)
		mark(&twice, overlaps)
		for s := range uint64(last + 1) {
			in := s > want.After && s <= want.Through
			if hole[s] != (in && times[s] == 0) || twice[s] != (in && times[s] > 1) {
				t.Fatalf("%d is covered %d times of %s: hole %t, overlap %t", s, times[s], want, hole[s], twice[s])
			}
		}
		for i := 1; i < len(holes); i++ {
			if holes[i].After <= holes[i-1].Through {
				t.Fatalf("holes %s are not in order, or touch", spanText(holes))
			}
		}
	})
}

func TestPositionTokensRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Position{
			Source: Source{rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_.]{0,12}`).Draw(t, "stream"), rapid.Uint32Range(1, math.MaxUint32).Draw(t, "epoch"), rapid.Uint32().Draw(t, "partition")},
			Seq:    rapid.Uint64().Draw(t, "seq"), Idx: rapid.Uint32().Draw(t, "idx"),
		}
		got, err := ParsePosition(p.String())
		if err != nil || got != p {
			t.Fatalf("%s reads as %s, %v", p, got, err)
		}
		var s Source
		text, _ := p.Source.MarshalText()
		if err := s.UnmarshalText(text); err != nil || s != p.Source {
			t.Fatalf("source %s reads as %s, %v", text, s, err)
		}
	})
}

func TestPositionTokenIsWhatIngestAnswers(t *testing.T) {
	for _, c := range []struct {
		p    Position
		want string
	}{
		{Position{Source{"pay", 1, 0}, 17, 0}, "pay/1/0/17"},
		{Position{Source{"pay", 3, 2}, 17, 4}, "pay/3/2/17.4"},
	} {
		if got := c.p.String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestWrongPositionTokensAreRefused(t *testing.T) {
	for _, bad := range []string{
		"", "pay", "pay/1/0", "pay/1/0/", "/1/0/5", "pay/0/0/5", "pay/1/0/5/6", "pay/-1/0/5", "pay/1/0/-5", "pay/1/0/+5", "pay/1/0/5.", "pay/1/0/5.x",
		"pay/1/0/5.4294967296", "pay/4294967296/0/5", "pay/1/4294967296/5", "pay/1/0/18446744073709551616", "pay/1/0/5 ", "pay/1.5/0/5",
	} {
		p, err := ParsePosition(bad)
		if err == nil || p != (Position{}) || !strings.Contains(err.Error(), "want stream/epoch/partition/seq") {
			t.Errorf("%q: %v, %v", bad, p, err)
		}
	}
	for _, bad := range []string{"", "pay", "pay/1", "pay/0/0", "pay/1/0/5", "pay/1/0.5", "/1/0"} {
		s := Source{Stream: "kept"}
		if err := s.UnmarshalText([]byte(bad)); err == nil || s.Stream != "kept" {
			t.Errorf("source %q: %v, %v", bad, s, err)
		}
	}
}

func TestCutIsAJSONObjectAndAnswersWhatItCovers(t *testing.T) {
	cut := Cut{{"pay", 2, 0}: 20, {"pay", 1, 1}: 7, {"ads", 1, 0}: 3}
	text, err := json.Marshal(cut)
	if err != nil || string(text) != `{"ads/1/0":3,"pay/1/1":7,"pay/2/0":20}` {
		t.Fatalf("%s, %v", text, err)
	}
	var again Cut
	if err := json.Unmarshal(text, &again); err != nil || again.String() != cut.String() {
		t.Fatalf("%v, %v", again, err)
	}
	if got := cut.String(); got != "ads/1/0:3,pay/2/0:20,pay/1/1:7" {
		t.Errorf("String %s: want stream, partition, then epoch", got)
	}
	for _, c := range []struct {
		p    Position
		want bool
	}{
		{Position{Source{"pay", 2, 0}, 20, 9}, true},
		{Position{Source{"pay", 2, 0}, 21, 0}, false},
		{Position{Source{"pay", 3, 0}, 1, 0}, false},
	} {
		if cut.Covers(c.p) != c.want {
			t.Errorf("covers %s: %t", c.p, !c.want)
		}
	}
	clone := cut.Clone()
	clone[Source{"pay", 2, 0}]++
	if cut[Source{"pay", 2, 0}] != 20 {
		t.Error("a clone shares its entries")
	}
	for _, c := range []struct {
		a, b Cut
		want bool
	}{{cut, cut, false}, {clone, cut, true}, {cut, clone, false}, {Cut{}, cut, false}, {cut, Cut{}, true}, {Cut{src: 0}, Cut{}, false}} {
		if got := c.a.Beyond(c.b); got != c.want {
			t.Errorf("%s beyond %s: %t", c.a, c.b, got)
		}
	}
}

func TestGapErrorNamesBlockAndPosition(t *testing.T) {
	var err error = &GapError{Block: Range{src, 7, 9}, Applied: 5}
	var gap *GapError
	if !errors.As(fmt.Errorf("apply: %w", err), &gap) || err.Error() != "block pay/2/1(7,9] does not follow 5, the position applied last" {
		t.Errorf("got %v", err)
	}
}
