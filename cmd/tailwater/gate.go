package main

import (
	"context"
	"sync"
)

// A gate counts the requests of one kind that are under way, and can hold those that
// come: they wait at it, and are not refused.
type gate struct {
	mu     sync.Mutex
	inside int
	held   chan struct{} // closed when the gate opens again; nil while it is open
	empty  chan struct{} // closed when the last one has left; nil while nobody waits for that
}

// enter waits until the gate is open. leave is to be called after a nil.
func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		held := g.held
		if held == nil {
			g.inside++
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// shut holds whoever comes from now on.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == nil {
		g.held = make(chan struct{})
	}
}

// open lets all in that wait. It is harmless on an open gate.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != nil {
		close(g.held)
		g.held = nil
	}
}

// emptied waits until nobody is inside. The gate is shut.
func (g *gate) emptied(ctx context.Context) error {
	g.mu.Lock()
	if g.inside == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
