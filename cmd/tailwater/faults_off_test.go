//go:build !failpoints

package main

// Without fault points in the build there is nothing to arm.
func faultOperations(*world) []operation { return nil }

func disarm() {}
