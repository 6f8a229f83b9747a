package stream

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

func numberKey(n uint64) (k idKey) {
	binary.LittleEndian.PutUint64(k[:], n)
	return k
}

// TestIDSetIsAMapThatForgetsTheOldest adds and expires at random and compares with
// a map and a list.
func TestIDSetIsAMapThatForgetsTheOldest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newIDSet()
		most := rapid.IntRange(1, 3000).Draw(t, "most")
		keys := uint64(rapid.IntRange(1, 4000).Draw(t, "keys"))
		type entry struct {
			n  uint64
			at int64
		}
		var order []entry
		known := map[uint64]bool{}
		forget := func() {
			delete(known, order[0].n)
			order = order[1:]
		}
		now := int64(0)
		for range rapid.IntRange(1, 20).Draw(t, "rounds") {
			if rapid.Bool().Draw(t, "expire") {
				now += rapid.Int64Range(0, 50).Draw(t, "later")
				s.expire(now, 100)
				for len(order) > 0 && now-order[0].at > 100 {
					forget()
				}
			}
			if rapid.IntRange(0, 9).Draw(t, "grow") == 0 {
				s.grow(min(most, len(s.ring)+rapid.IntRange(0, 5000).Draw(t, "by")))
			}
			random := rapid.Uint64().Draw(t, "seed")
			for range rapid.IntRange(0, 800).Draw(t, "adds") {
				random = random*6364136223846793005 + 1442695040888963407
				n := random >> 33 % keys
				isNew, forgot := s.add(numberKey(n), now, most)
				if isNew == known[n] {
					t.Fatalf("key %d: new %t, known %t", n, isNew, known[n])
				}
				if forgot != (isNew && len(order) == most) {
					t.Fatalf("forgot %t with %d of %d", forgot, len(order), most)
				}
				if !isNew {
					continue
				}
				if forgot {
					forget()
				}
				order, known[n] = append(order, entry{n, now}), true
			}
			if s.count != len(order) {
				t.Fatalf("%d ids, want %d", s.count, len(order))
			}
		}
		for n := range keys {
			k := numberKey(n)
			if len(s.slots) == 0 {
				break
			}
			if _, found := s.find(&k, s.tag(&k)); found != known[n] {
				t.Fatalf("key %d: found %t, want %t", n, found, known[n])
			}
		}
		if len(order) > 0 && (s.ring[s.head].key != numberKey(order[0].n) || s.ring[s.head].at != order[0].at) {
			t.Fatal("the oldest is another")
		}
	})
}

func BenchmarkDedup(b *testing.B) {
	s := newIDSet()
	n := uint64(0)
	for b.Loop() {
		n++
		k := hashKey(string(binary.LittleEndian.AppendUint64(nil, n)))
		s.add(k, int64(n), 4<<20)
	}
}
