//go:build failpoints

package main

import "github.com/tailwater/tailwater/internal/fault"

// faultOperations arms a random fault point: one of its next hits fails. Tests
// that run side by side may meet each other's faults, which is as good.
func faultOperations(w *world) []operation {
	return []operation{{"fault", 15, func() {
		fault.Arm(fault.Points[w.rng.IntN(len(fault.Points))], fault.Error, w.rng.IntN(3), 1)
	}}}
}

func disarm() { fault.Disarm() }
