package event

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Source is one totally ordered sequence of log messages: a partition of a
// stream during one epoch. A new epoch begins when the log lost a suffix or
// was re-created, because sequences are then given out a second time.
type Source struct {
	Stream    string
	Epoch     uint32 // counts from 1
	Partition uint32 // counts from 0
}

// String gives "stream/epoch/partition".
func (s Source) String() string {
	return s.Stream + "/" + strconv.FormatUint(uint64(s.Epoch), 10) + "/" + strconv.FormatUint(uint64(s.Partition), 10)
}

// MarshalText gives String, so that a Cut is a JSON object of "source": seq.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Source) UnmarshalText(text []byte) error {
	p, err := ParsePosition(string(text) + "/0")
	if err != nil {
		return fmt.Errorf("source %q: want stream/epoch/partition", text)
	}
	*s = p.Source
	return nil
}

// Compare orders sources by stream, partition, then epoch.
func (s Source) Compare(o Source) int {
	return cmp.Or(cmp.Compare(s.Stream, o.Stream), cmp.Compare(s.Partition, o.Partition), cmp.Compare(s.Epoch, o.Epoch))
}

// A Position names one event: the message's sequence in its source, and the
// event's index in the message.
type Position struct {
	Source
	Seq uint64 // counts from 1
	Idx uint32 // counts from 0
}

// String gives the position token "stream/epoch/partition/seq" that ingest
// answers with; an index other than 0 is appended as ".idx".
func (p Position) String() string {
	t := p.Source.String() + "/" + strconv.FormatUint(p.Seq, 10)
	if p.Idx != 0 {
		t += "." + strconv.FormatUint(uint64(p.Idx), 10)
	}
	return t
}

// ParsePosition reads what Position.String wrote.
func ParsePosition(token string) (Position, error) {
	bad := func() (Position, error) {
		return Position{}, fmt.Errorf("position %q: want stream/epoch/partition/seq, as ingest answers it", token)
	}
	parts := strings.Split(token, "/")
	if len(parts) != 4 || parts[0] == "" {
		return bad()
	}
	seqText, idxText, hasIdx := strings.Cut(parts[3], ".")
	epoch, err1 := strconv.ParseUint(parts[1], 10, 32)
	partition, err2 := strconv.ParseUint(parts[2], 10, 32)
	seq, err3 := strconv.ParseUint(seqText, 10, 64)
	var idx uint64
	var err4 error
	if hasIdx {
		idx, err4 = strconv.ParseUint(idxText, 10, 32)
	}
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || epoch == 0 {
		return bad()
	}
	return Position{Source: Source{parts[0], uint32(epoch), uint32(partition)}, Seq: seq, Idx: uint32(idx)}, nil
}

// A Range is the messages (After, Through] of one source.
type Range struct {
	Source
	After   uint64 // exclusive
	Through uint64 // inclusive
}

// Empty reports whether the range holds no message.
func (r Range) Empty() bool { return r.Through <= r.After }

// String gives "stream/epoch/partition(after,through]".
func (r Range) String() string {
	return fmt.Sprintf("%s(%d,%d]", r.Source, r.After, r.Through)
}

// A Cut is a vector of seals: for each source, the sequence through which
// (inclusive) events are counted. A source that is absent is not counted at all.
type Cut map[Source]uint64

// Clone returns a copy that can be changed.
func (c Cut) Clone() Cut { return maps.Clone(c) }

// Covers reports whether the event at p is inside the cut.
func (c Cut) Covers(p Position) bool {
	through, ok := c[p.Source]
	return ok && p.Seq <= through
}

// Beyond reports whether some source of c lies after the same source of o.
func (c Cut) Beyond(o Cut) bool {
	for s, through := range c {
		if through > o[s] {
			return true
		}
	}
	return false
}

// Sources lists the sources of the cut in order.
func (c Cut) Sources() []Source {
	return slices.SortedFunc(maps.Keys(c), Source.Compare)
}

// String gives "source:seq" pairs in order, separated by commas.
func (c Cut) String() string {
	var parts []string
	for _, s := range c.Sources() {
		parts = append(parts, s.String()+":"+strconv.FormatUint(c[s], 10))
	}
	return strings.Join(parts, ",")
}

// ParseCut reads what Cut.String wrote.
func ParseCut(text string) (Cut, error) {
	cut := Cut{}
	for _, pair := range strings.Split(text, ",") {
		source, through, ok := strings.Cut(strings.TrimSpace(pair), ":")
		p, err := ParsePosition(source + "/" + through)
		if !ok || err != nil || p.Idx != 0 {
			return nil, fmt.Errorf("cut %q: want stream/epoch/partition:seq, several separated by commas, as answers give it", text)
		}
		if _, twice := cut[p.Source]; twice {
			return nil, fmt.Errorf("cut %q names %s twice", text, p.Source)
		}
		cut[p.Source] = p.Seq
	}
	return cut, nil
}

// Holes returns what of want is covered by none of have, and overlaps what is
// covered more than once. Both empty means that have tiles want.
func Holes(want Range, have []Range) (holes, overlaps []Range) {
	var parts []Range
	for _, h := range have {
		if h.Source != want.Source {
			continue
		}
		h.After, h.Through = max(h.After, want.After), min(h.Through, want.Through)
		if !h.Empty() {
			parts = append(parts, h)
		}
	}
	slices.SortFunc(parts, func(a, b Range) int { return cmp.Compare(a.After, b.After) })
	at := want.After
	for _, p := range parts {
		if p.After > at {
			holes = append(holes, Range{want.Source, at, p.After})
		}
		if p.After < at {
			overlaps = append(overlaps, Range{want.Source, p.After, min(at, p.Through)})
		}
		at = max(at, p.Through)
	}
	if at < want.Through {
		holes = append(holes, Range{want.Source, at, want.Through})
	}
	return holes, overlaps
}

// A GapError says that a block was offered that does not follow the last one.
type GapError struct {
	Block   Range
	Applied uint64 // through which the applier is
}

func (e *GapError) Error() string {
	return fmt.Sprintf("block %s does not follow %d, the position applied last", e.Block, e.Applied)
}
