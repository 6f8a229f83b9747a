package config

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
)

// A Size is a number of bytes. Units with an "i" count by 1,024, the others by
// 1,000, as DuckDB reads them.
type Size int64

// Units of Size.
const (
	KB Size = 1e3
	MB Size = 1e6
	GB Size = 1e9
)

// ParseSize reads "64MB", "1.5 GiB" or a plain number of bytes.
func ParseSize(text string) (Size, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size; write 64MB, 1.5GB or 1GiB", text)
	}
	return Size(n), nil
}

// UnmarshalText is ParseSize for flags, environment and file.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// MarshalText gives String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String gives the exact size in the largest unit that divides it, in a form
// that both ParseSize and DuckDB's memory_limit read.
func (s Size) String() string {
	for _, unit := range []struct {
		name string
		size Size
	}{{"TB", 1e12}, {"TiB", 1 << 40}, {"GB", GB}, {"GiB", 1 << 30}, {"MB", MB}, {"MiB", 1 << 20}, {"KB", KB}, {"KiB", 1 << 10}} {
		if s != 0 && s%unit.size == 0 {
			return strconv.FormatInt(int64(s/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}
