// Package event holds the words that every other room speaks: where an event
// is (Source, Position, Range, Cut), what it looks like (Type, Column, Schema),
// how a run of events travels (Block, Refused), and the two interfaces that
// hold the house together. The log and a lake table are both a Reader; the
// speed layer and the lander are both an Applier.
//
// The package knows Apache Arrow and nothing else of this module.
//
// Two words are used with one meaning everywhere: "after" is exclusive and
// "through" is inclusive, so a Range is (After, Through].
package event

import "context"

// A Reader yields the events of a range.
type Reader interface {
	// Read calls yield with blocks that tile r in order: the first block's
	// After is r.After, each next block's After is the Through of the one
	// before, the last one's Through is r.Through, and every accepted event
	// of the range is in exactly one block. A range without events is
	// still yielded, as a block without rows.
	//
	// Read returns the first error of yield as it is. A block may be kept
	// after yield returns: it is immutable.
	Read(ctx context.Context, r Range, yield func(*Block) error) error
}

// An Applier takes blocks in order.
type Applier interface {
	// Apply takes the next block of b.Source. Its After must be the Through
	// that was applied last for that source; otherwise Apply returns a
	// *GapError and changes nothing. When Apply returns nil the block is
	// applied as a whole, seal included; when it returns an error the
	// block was not applied at all and may be offered again.
	Apply(ctx context.Context, b *Block) error
}
