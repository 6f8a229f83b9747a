//go:build !failpoints

// Package fault names the places at which tests make the program fail. In an
// ordinary build every call is an empty function that the compiler removes;
// with the build tag "failpoints" a test, or the environment variable
// TAILWATER_FAILPOINTS of the process, arms them.
package fault

// Hit returns an error, panics, or kills the process if the point is armed.
func Hit(Point) error { return nil }
