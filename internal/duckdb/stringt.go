package duckdb

import "unsafe"

// stringT is DuckDB's string_t, 16 bytes: the length, then either up to 12
// bytes in place, padded with zeros, or the first four bytes and a pointer to all
// of them (https://duckdb.org/docs/stable/internals/vector, "String Vectors").
type stringT struct {
	length uint32
	inline [12]byte // prefix in [0:4], pointer in [4:12] if length > 12
}

// inlineBytes is the length of the longest string that needs no pointer.
const inlineBytes = 12

// bytes is the string's memory, which the engine owns.
func (s *stringT) bytes() []byte {
	if s.length <= inlineBytes {
		return s.inline[:s.length]
	}
	return unsafe.Slice((*byte)(s.pointer()), s.length)
}

// pointer is where the bytes of a string of more than inlineBytes are.
func (s *stringT) pointer() unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&s.inline[4])) }

// setInline makes s hold b, of at most 12 bytes.
func (s *stringT) setInline(b []byte) {
	*s = stringT{length: uint32(len(b))}
	copy(s.inline[:], b)
}

// setLong makes s hold b, of more than 12 bytes, of which there is a copy at
// at, in memory that lives as long as the engine's vector.
func (s *stringT) setLong(b []byte, at unsafe.Pointer) {
	s.length = uint32(len(b))
	copy(s.inline[:4], b)
	*(*unsafe.Pointer)(unsafe.Pointer(&s.inline[4])) = at
}
