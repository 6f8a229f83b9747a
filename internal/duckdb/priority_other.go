//go:build !linux

package duckdb

// lowerPriority does nothing: priorities are those of processes here.
func lowerPriority() {}
