package speed

import (
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/view"
)

// A State is what the speed layer knows at one moment, of all streams at once.
// It is immutable: hold it for the whole life of a query, and take it before the
// warehouse transaction begins.
type State struct {
	Streams map[string]*Stream
	// Definitions are those that answers from this State are given by. The pointer
	// stays the same until some view is redefined.
	Definitions *Definitions
}

// Definitions are the views at one time. They are immutable.
type Definitions struct {
	// Number counts redefinitions since the engine was made.
	Number uint64
	Plans  map[string]*view.Plan // by name
}

// A Stream is one stream's part of a State.
type Stream struct {
	Schema *event.Schema
	// Marks tells where each source of the stream stands.
	Marks map[event.Source]Mark
	Views map[string]*View
	// Next holds, by name, the versions that are being built beside those in Views.
	Next map[string]*View
	// Tail holds the events after the landed position of their source, and
	// Dead the refused records likewise, one block a message, in log order.
	Tail []*event.Block
	Dead []*event.Block
	// Kept holds landed events that no batch run has taken yet, a block a landing, as
	// far back as their memory reaches; what is behind it is in files alone.
	Kept []*event.Block
	// MaxTime is the greatest event time through A, µs since 1970;
	// math.MinInt64 before the first event.
	MaxTime int64
	// LogTime is the log's clock at the applied position, µs since 1970.
	LogTime int64

	tailBytes int64
	viewBytes int64
}

// A Mark is where one source stands in a State.
type Mark struct {
	Floor      uint64 // the source's epoch begins after this sequence
	Applied    uint64 // A
	Landed     uint64 // Tail holds the source's events after this
	DeadLanded uint64 // Dead holds the source's refused records after this
	Closed     bool   // a newer epoch has begun: Applied will not move again
}

// A View is one view's part of a State: segments in order.
type View struct {
	Plan     *view.Plan
	Segments []*Segment
}

// A Segment holds a view's partials of one range. It never straddles a seal.
type Segment struct {
	event.Range
	Pieces []Piece
	// Errors holds the rows on which an expression of the view failed.
	Errors []duckdb.Batch
	Sealed bool
}

// A Piece is the partial rows of one micro-batch, or of several merged.
type Piece struct {
	Batches []duckdb.Batch
	through uint64 // the newest position that it counts
	rows    int
	level   int   // how often it was merged
	bytes   int64 // about how much memory it takes
	index   *index
}

// Rows is how many partial rows the piece has.
func (p *Piece) Rows() int { return p.rows }

func emptyStream(sc StreamConfig) *Stream {
	s := &Stream{Schema: sc.Schema, Marks: map[event.Source]Mark{}, Views: map[string]*View{}, Next: map[string]*View{}, MaxTime: math.MinInt64}
	for _, p := range sc.Plans {
		if !p.Direct {
			s.Views[p.Name] = &View{Plan: p}
		}
	}
	return s
}

// clone copies the stream and its maps; slices and views are shared until
// replaced.
func (s *Stream) clone() *Stream {
	c := *s
	c.Marks, c.Views, c.Next = maps.Clone(s.Marks), maps.Clone(s.Views), maps.Clone(s.Next)
	return &c
}

// Applied is the cut A of all streams: where an answer from this State is given.
func (st *State) Applied() event.Cut {
	cut := event.Cut{}
	for _, s := range st.Streams {
		for src, m := range s.Marks {
			cut[src] = m.Applied
		}
	}
	return cut
}

// Watermark is the greatest event time seen; false before the first event.
func (s *Stream) Watermark() (time.Time, bool) {
	return time.UnixMicro(s.MaxTime).UTC(), s.MaxTime != math.MinInt64
}

// KeptBytes is about how much memory landed events take, which are kept for speed alone.
func (st *State) KeptBytes() int64 {
	var n int64
	for _, s := range st.Streams {
		n += sizeOf(s.Kept)
	}
	return n
}

// Bytes is about how much memory partials and tails take, which only landing and a batch
// run give back.
func (st *State) Bytes() int64 {
	var n int64
	for _, s := range st.Streams {
		n += s.tailBytes + s.viewBytes
	}
	return n
}

// View finds a view by name, with the stream that it reads.
func (st *State) View(name string) (*Stream, *View) {
	for _, s := range st.Streams {
		if v := s.Views[name]; v != nil {
			return s, v
		}
	}
	return nil, nil
}

// Of finds the version of a view that a plan describes: the one that answers, or the
// one that is built beside it. Both are nil if the State has it no more.
func (st *State) Of(p *view.Plan) (*Stream, *View) {
	s := st.Streams[p.Stream]
	if s == nil {
		return nil, nil
	}
	for _, v := range []*View{s.Views[p.Name], s.Next[p.Name]} {
		if v != nil && v.Plan.Version == p.Version {
			return s, v
		}
	}
	return nil, nil
}

// covers reports whether the State counts the event at p.
func (st *State) covers(p event.Position) (bool, error) {
	s := st.Streams[p.Stream]
	if s == nil {
		return false, fmt.Errorf("position %s: no stream %q", p, p.Stream)
	}
	m, known := s.Marks[p.Source]
	if known && p.Seq <= m.Applied {
		return true, nil
	}
	if known && m.Closed {
		return false, fmt.Errorf("%s: %w", p, ErrPositionLost)
	}
	if !known {
		for src := range s.Marks {
			if src.Partition == p.Partition && src.Epoch > p.Epoch {
				return false, fmt.Errorf("%s: %w", p, ErrPositionLost)
			}
		}
		return false, fmt.Errorf("position %s: the stream has no such epoch or partition; use a position that ingest answered", p)
	}
	return false, nil
}

// After gives the ranges that the segments after the cut cover, and the
// segments themselves. A segment that straddles the cut is left out: the
// coverage check then finds the hole.
func (v *View) After(cut event.Cut) (ranges []event.Range, segments []*Segment) {
	for _, seg := range v.Segments {
		if seg.After >= cut[seg.Source] {
			ranges = append(ranges, seg.Range)
			segments = append(segments, seg)
		}
	}
	return ranges, segments
}

// Since gives partial rows that have every window and key that events after the
// cut have changed: those of all pieces that reach beyond it.
func (v *View) Since(cut event.Cut) []duckdb.Batch {
	var out []duckdb.Batch
	for _, seg := range v.Segments {
		for _, p := range seg.Pieces {
			if p.through > cut[seg.Source] {
				out = append(out, p.Batches...)
			}
		}
	}
	return out
}

// Rows is the number of partial rows in the segments.
func (v *View) Rows() int {
	n := 0
	for _, seg := range v.Segments {
		for _, p := range seg.Pieces {
			n += p.rows
		}
	}
	return n
}

// TailAfter gives the raw events of the sources after the cut, as batches, with
// the ranges that they cover.
func (s *Stream) TailAfter(cut event.Cut) (ranges []event.Range, batches []duckdb.Batch) {
	return after(s.Tail, cut)
}

// DeadAfter is TailAfter for the refused records.
func (s *Stream) DeadAfter(cut event.Cut) (ranges []event.Range, batches []duckdb.Batch) {
	return after(s.Dead, cut)
}

func after(tail []*event.Block, cut event.Cut) (ranges []event.Range, batches []duckdb.Batch) {
	for _, b := range tail {
		if b.After < cut[b.Source] {
			continue
		}
		if n := len(ranges); n > 0 && ranges[n-1].Source == b.Source && ranges[n-1].Through == b.After {
			ranges[n-1].Through = b.Through
		} else {
			ranges = append(ranges, b.Range)
		}
		if b.Len() > 0 {
			batches = append(batches, b)
		}
	}
	return ranges, batches
}
