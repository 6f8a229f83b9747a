package main

import (
	"context"
	"sync"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/speed"
)

// skipping stands before the speed layer. The tap starts where the slower of the
// two tables is; of the blocks that the speed layer had from the lake, only the
// refused records are passed on.
type skipping struct {
	applier *speed.Applier
	through uint64        // the speed layer has the events through here from the lake
	passed  chan struct{} // closed when the tap is there
	pass    sync.Once     // closes it: a block can be offered again
}

func newSkipping(a *speed.Applier, after, through uint64) *skipping {
	s := &skipping{applier: a, through: through, passed: make(chan struct{})}
	if after >= through {
		s.pass.Do(func() { close(s.passed) })
	}
	return s
}

// skip passes on what is new of a block that the speed layer has, and reports
// whether it was one.
func (s *skipping) skip(b *event.Block) bool {
	if b.After >= s.through {
		return false
	}
	s.applier.ApplyRefused(b)
	if b.Through == s.through {
		s.pass.Do(func() { close(s.passed) })
	}
	return true
}

// cut gives what the speed layer has not of a block of lost messages that reaches
// over the position where it stands; other blocks as they are.
func (s *skipping) cut(b *event.Block) *event.Block {
	rest, ok := b.Behind(s.through)
	if !ok {
		return b
	}
	s.pass.Do(func() { close(s.passed) })
	return rest
}

// Apply implements event.Applier.
func (s *skipping) Apply(ctx context.Context, b *event.Block) error {
	b = s.cut(b)
	if s.skip(b) {
		return nil
	}
	return s.applier.Apply(ctx, b)
}

// ApplyMany takes neighbouring blocks as one micro-batch.
func (s *skipping) ApplyMany(ctx context.Context, blocks []*event.Block) error {
	for len(blocks) > 0 {
		blocks[0] = s.cut(blocks[0])
		if !s.skip(blocks[0]) {
			break
		}
		blocks = blocks[1:]
	}
	if len(blocks) == 0 {
		return nil
	}
	return s.applier.ApplyMany(ctx, blocks)
}

// landing hands each block to the two landers.
type landing struct {
	pl   *pipeline
	have *event.Block // the events' lander has it, the dead letters' does not yet
}

// Apply is offered the same block again if one of the landers failed: the other
// must not get it twice.
func (l *landing) Apply(ctx context.Context, b *event.Block) error {
	if l.have != b {
		if err := l.pl.events.Apply(ctx, b); err != nil {
			return err
		}
		l.have = b
	}
	if err := l.pl.dead.Apply(ctx, b); err != nil {
		return err
	}
	l.have = nil
	return nil
}
