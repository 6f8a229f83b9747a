//go:build !linux

package batch

// lowerPriority does nothing: priorities are those of processes here.
func lowerPriority() {}
