package speed

import (
	"slices"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// Events that have landed are kept in memory for a while, until a batch run has taken
// them: they lie in many small files, and opening twenty of them takes longer than
// counting ten million facts. What is kept is a copy: without it they are read from the
// files.
const keptBytes = 32 << 20

// keptParts is how many landings, at least, the memory of a stream is for. A larger
// landing makes large files, which need no help.
const keptParts = 4

// keptBound is the memory for one stream.
func (e *Engine) keptBound() int64 { return e.cfg.KeptBytes / int64(len(e.workers)) }

// join gives the events of the tail that have landed through the position as one block;
// nil if they are not to be kept.
func (s *Stream) join(src event.Source, through uint64, bound int64) *event.Block {
	var blocks []*event.Block
	for _, b := range s.Tail {
		if b.Source == src && b.Through <= through {
			blocks = append(blocks, b)
		}
	}
	if len(blocks) == 0 || sizeOf(blocks) > bound/keptParts {
		return nil
	}
	joined, err := event.Join(blocks)
	if err != nil {
		return nil // the range has a hole, or columns were added: the files have it
	}
	return joined
}

// keep adds what has landed to what is kept; without a block, or when it does not follow,
// what was kept of the source before it is forgotten. s is a copy that may be changed.
func (s *Stream) keep(src event.Source, landed *event.Block, bound int64) {
	end := uint64(0)
	for _, b := range s.Kept {
		if b.Source == src {
			end = b.Through
		}
	}
	var kept []*event.Block
	for _, b := range s.Kept {
		if b.Source != src || landed != nil && end == landed.After {
			kept = append(kept, b)
		}
	}
	if landed != nil {
		kept = append(kept, landed)
	}
	size, drop := sizeOf(kept), 0
	for drop < len(kept) && size > bound {
		size -= int64(kept[drop].Size)
		drop++
	}
	s.Kept = slices.Delete(kept, 0, drop)
}

// sizeOf is about how much memory blocks take.
func sizeOf(blocks []*event.Block) (bytes int64) {
	for _, b := range blocks {
		bytes += int64(b.Size)
	}
	return bytes
}

// Batched tells that the warehouse has a stream's events through the cut: those that
// were kept in memory until then are dropped in the next State.
func (e *Engine) Batched(stream string, through event.Cut) {
	if len(e.State().Streams[stream].Kept) == 0 {
		return
	}
	e.publish(stream, func(s *Stream) bool {
		before := len(s.Kept)
		for src, seq := range through {
			s.Kept = keepAfter(s.Kept, src, seq)
		}
		return len(s.Kept) != before
	})
}

// KeptAfter gives the landed events of the sources after the cut that are in memory: of
// each source all from some position on through its landed one, in order, with the
// ranges that they cover.
func (s *Stream) KeptAfter(cut event.Cut) (ranges []event.Range, batches []duckdb.Batch) {
	end := event.Cut{}
	for _, b := range s.Kept {
		end[b.Source] = b.Through
	}
	var blocks []*event.Block
	for _, b := range s.Kept {
		if m, known := s.Marks[b.Source]; known && end[b.Source] == m.Landed {
			blocks = append(blocks, b)
		}
	}
	return after(blocks, cut)
}
