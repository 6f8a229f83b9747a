//go:build !linux

package aside

// lower does nothing: priorities are those of processes here.
func lower(int) {}

func threadID() int { return 0 }

func spare() bool { return false }

func keepOff(int) {}

func letBack(int) {}
