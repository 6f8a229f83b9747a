package stream

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// An idSet holds ids in the order in which they were accepted, and finds one by
// its key: a ring of the ids, and an open-addressed table of places in the ring
// with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithm L;
// deletion by algorithm R, without tombstones). An id takes 40 bytes when the table
// is half full: a Go map of the same takes 100 and three times as long.
type idSet struct {
	ring  []accepted
	head  int // of the oldest
	count int
	// slots hold 0 if free, else a tag, which is the upper bits of the key's hash, and
	// in the lower placeBits 1 + the place in the ring. The tag's own lower bits are
	// the slot at which the search begins, so that nothing but a likely find looks
	// into the ring. Their number is a power of two and over 3/2 of the ring's.
	slots  []uint64
	warmed uint64
	seed   [2]uint64 // of the hash: whoever chooses ids must not choose collisions
}

type idKey [16]byte

type accepted struct {
	key idKey
	at  int64 // log time, µs
}

const (
	firstIDs  = 1024 // the size of the first ring
	placeBits = 26   // 64 M ids at most
	placeMask = 1<<placeBits - 1
)

func newIDSet() *idSet {
	return &idSet{seed: [2]uint64{rand.Uint64(), rand.Uint64()}}
}

// tag gives the upper bits of the key's hash.
func (s *idSet) tag(k *idKey) uint64 {
	a := binary.LittleEndian.Uint64(k[:8]) ^ s.seed[0]
	b := binary.LittleEndian.Uint64(k[8:]) ^ s.seed[1]
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b|1)
	hi, lo = bits.Mul64(hi^lo^a, 0xd6e8feb86659fd93)
	return (hi ^ lo) >> placeBits
}

// find gives the slot of the key, or the free one in which it would be.
func (s *idSet) find(k *idKey, tag uint64) (slot int, found bool) {
	mask := len(s.slots) - 1
	for i := int(tag) & mask; ; i = (i + 1) & mask {
		v := s.slots[i]
		if v == 0 {
			return i, false
		}
		if v>>placeBits == tag && s.ring[v&placeMask-1].key == *k {
			return i, true
		}
	}
}

// warm loads the slots in which searches for the keys begin. The loads do not depend
// on each other, so the processor waits for many at once, where searches one after
// the other would each wait for memory.
func (s *idSet) warm(keys []idKey) {
	if len(s.slots) == 0 {
		return
	}
	mask, sum := len(s.slots)-1, uint64(0)
	for i := range keys {
		sum += s.slots[int(s.tag(&keys[i]))&mask]
	}
	s.warmed += sum // a use, lest the compiler drop the loads
}

// add keeps an id as the newest and reports whether it was new. If the set holds
// most ids already, it forgets the oldest and says so.
func (s *idSet) add(k idKey, at int64, most int) (isNew, forgot bool) {
	if s.count == len(s.ring) && s.count < most {
		s.grow(min(max(firstIDs, 2*len(s.ring)), most))
	}
	tag := s.tag(&k)
	slot, found := s.find(&k, tag)
	if found {
		return false, false
	}
	if s.count == most {
		s.dropOldest()
		forgot = true
		slot, _ = s.find(&k, tag) // what was dropped may have moved slots
	}
	place := (s.head + s.count) % len(s.ring)
	s.ring[place] = accepted{k, at}
	s.count++
	s.slots[slot] = tag<<placeBits | uint64(place+1)
	return true, forgot
}

// expire forgets what was accepted longer than the window before now.
func (s *idSet) expire(now, window int64) {
	for s.count > 0 && now-s.ring[s.head].at > window {
		s.dropOldest()
	}
}

func (s *idSet) dropOldest() {
	k := &s.ring[s.head].key
	mask, mine := len(s.slots)-1, uint64(s.head+1)
	free := int(s.tag(k)) & mask
	for s.slots[free]&placeMask != mine {
		free = (free + 1) & mask
	}
	s.slots[free] = 0
	// Close the gap: what would have been found by passing over it moves into it.
	for i := (free + 1) & mask; s.slots[i] != 0; i = (i + 1) & mask {
		home := int(s.slots[i]>>placeBits) & mask
		if (i-home)&mask >= (i-free)&mask {
			s.slots[free], s.slots[i] = s.slots[i], 0
			free = i
		}
	}
	s.head = (s.head + 1) % len(s.ring)
	s.count--
}

// grow makes room for n ids.
func (s *idSet) grow(n int) {
	if n <= len(s.ring) {
		return
	}
	ring := make([]accepted, n)
	kept := copy(ring, s.ring[s.head:min(s.head+s.count, len(s.ring))])
	copy(ring[kept:], s.ring[:s.count-kept])
	s.ring, s.head = ring, 0
	size := 1 << bits.Len(uint(n+n/2)) // more than n: there is always a free one
	s.slots = make([]uint64, size)
	for i := range s.count {
		k := &s.ring[i].key
		tag := s.tag(k)
		slot, _ := s.find(k, tag)
		s.slots[slot] = tag<<placeBits | uint64(i+1)
	}
}
