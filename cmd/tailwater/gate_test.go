package main

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestAShutGateHoldsWhoComesAndWaitsForWhoIsInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		var running sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		if err := g.enter(ctx); err != nil {
			t.Fatal(err)
		}
		g.shut()
		g.shut()
		entered := 0
		for range 3 {
			running.Go(func() {
				if err := g.enter(t.Context()); err == nil {
					entered++
					g.leave()
				}
			})
			synctest.Wait()
		}
		var emptied bool
		running.Go(func() { emptied = g.emptied(t.Context()) == nil })
		synctest.Wait()
		if entered != 0 || emptied {
			t.Errorf("%d entered, emptied: %t", entered, emptied)
		}
		cancel()
		if err := g.enter(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that has gone: %v", err)
		}
		if err := g.emptied(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting no longer: %v", err)
		}
		g.leave()
		synctest.Wait()
		if entered != 0 || !emptied {
			t.Errorf("%d entered, emptied: %t", entered, emptied)
		}
		g.open()
		running.Wait()
		if entered != 3 {
			t.Errorf("%d entered", entered)
		}
	})
}
