package serving

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/view"
)

// What a principal does not see does not exist for it: the same answers, word for
// word, as for a name that nobody has.

// plan gives a view that the principal of ctx sees; nil if there is none.
func (c *Core) plan(ctx context.Context, name string) *view.Plan {
	if !access.From(ctx).Sees(name) {
		return nil
	}
	return c.definitions().Plans[name]
}

// Tables lists what SQL of the principal of ctx can name; it makes the core the
// gate's Catalog.
func (c *Core) Tables(ctx context.Context) []string {
	p := access.From(ctx)
	return slices.DeleteFunc(c.tables(), func(name string) bool { return !p.Sees(name) })
}

// known leaves of a cut the streams that the principal of ctx may know of: those it
// sees, and those below the views and dead letters that it sees. Without them it
// could not wait for a position of its own view; the others' names are none of its
// business.
func (c *Core) known(ctx context.Context, cut event.Cut) event.Cut {
	p := access.From(ctx)
	if p == nil || p.Tables == nil {
		return cut
	}
	out := event.Cut{}
	for src, seq := range cut {
		if c.knows(p, src.Stream) {
			out[src] = seq
		}
	}
	return out
}

func (c *Core) knows(p *access.Principal, stream string) bool {
	if p.Sees(stream) || p.Sees(event.DeadName(stream)) {
		return true
	}
	for name, plan := range c.definitions().Plans {
		if plan.Stream == stream && p.Sees(name) {
			return true
		}
	}
	return false
}

// knownMarks is known for watermarks.
func (c *Core) knownMarks(ctx context.Context, marks map[string]time.Time) map[string]time.Time {
	p := access.From(ctx)
	if p == nil || p.Tables == nil {
		return marks
	}
	out := map[string]time.Time{}
	for stream, at := range marks {
		if c.knows(p, stream) {
			out[stream] = at
		}
	}
	return out
}

// scopedAnswer leaves in an answer what the principal of ctx may know. The answer is
// the asker's own: those who share its rows have others.
func (c *Core) scopedAnswer(ctx context.Context, a *Answer) *Answer {
	if a != nil {
		a.Cut, a.Head, a.Watermark = c.known(ctx, a.Cut), c.known(ctx, a.Head), c.knownMarks(ctx, a.Watermark)
	}
	return a
}

// scoped leaves in an event what the principal of ctx may know. The event's maps are
// the feed's: they are replaced, not changed.
func (c *Core) scoped(ctx context.Context, ev *LiveEvent) *LiveEvent {
	ev.Cut, ev.Head, ev.Batched = c.known(ctx, ev.Cut), c.known(ctx, ev.Head), c.known(ctx, ev.Batched)
	ev.Watermark = c.knownMarks(ctx, ev.Watermark)
	return ev
}

// mayWait refuses positions of streams that the principal of ctx cannot know of, in
// the words for one that there is not.
func (c *Core) mayWait(ctx context.Context, after *event.Position, at event.Cut) error {
	p := access.From(ctx)
	if p == nil || p.Tables == nil {
		return nil
	}
	positions := []event.Position{}
	if after != nil {
		positions = append(positions, *after)
	}
	for src, seq := range at {
		positions = append(positions, event.Position{Source: src, Seq: seq})
	}
	for _, pos := range positions {
		if !c.knows(p, pos.Stream) {
			return &Refusal{Code: "position", Message: fmt.Sprintf("position %s: no stream %q", pos, pos.Stream)}
		}
	}
	return nil
}
