package demo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A Generator makes payments, numbered from 0 without a gap. What payment n is
// depends on the seed, the rate and n alone, and when it is made also on the
// start; so payments can be made again, in any order, by any process. It may be
// shared by goroutines.
type Generator struct {
	seed  uint64
	rate  float64 // payments a second, as a mean over a day
	start time.Time
	first uint64 // the number that follows at start

	phase float64 // of start, seconds since 1970
	block uint64  // payments in which one burst of fraud lies
	cards uint64
}

const (
	// burstEvery is the mean time from one burst of fraud to the next, burstLasts
	// how long the payments of one are drawn out.
	burstEvery = 90 * time.Second
	burstLasts = 6 * time.Second
	// blockMin leaves honest payments between the bursts of a low rate.
	blockMin = 64

	// A card pays once in ten minutes, so that several payments of one within a
	// minute mean something at any rate.
	cardsPerRate = 600
	cardsMin     = 5000

	malformedShare = 0.002
	duplicateShare = 0.003
	lateShare      = 0.02
	roamingShare   = 0.08 // of payments outside the card's own country

	dayRhythm, minuteRhythm = 0.15, 0.1 // amplitudes; their sum stays below 1
	dayPeak                 = 17 * 3600 // seconds since midnight, UTC
)

// New makes a generator whose payment first is the first one due after start.
func New(seed uint64, rate float64, start time.Time, first uint64) *Generator {
	return &Generator{
		seed: mix(seed), rate: rate, start: start, first: first,
		phase: float64(start.UnixMicro()) / 1e6,
		block: max(blockMin, uint64(rate*burstEvery.Seconds())),
		cards: max(cardsMin, uint64(rate*cardsPerRate)),
	}
}

// At gives the moment at which payment n is made; numbers before the first lie
// before start.
func (g *Generator) At(n uint64) time.Time {
	return g.start.Add(time.Duration(g.after(float64(int64(n-g.first))+1) * float64(time.Second)))
}

// after gives the seconds from start to the count-th payment. Time runs faster
// and slower through the numbers, by the hour of the day and within each minute.
func (g *Generator) after(count float64) float64 {
	even := count / g.rate
	return even + g.swing(even) - g.swing(0)
}

func (g *Generator) swing(even float64) float64 {
	const day, minute = 86400 / (2 * math.Pi), 60 / (2 * math.Pi)
	at := g.phase + even
	return -dayRhythm*day*math.Sin((at-dayPeak)/day) - minuteRhythm*minute*math.Sin(at/minute)
}

// Due gives the number of the first payment that is not made yet at now.
func (g *Generator) Due(now time.Time) uint64 {
	passed := now.Sub(g.start).Seconds()
	if passed <= 0 {
		return g.first
	}
	most := int(passed*g.rate/(1-dayRhythm-minuteRhythm)) + 1
	return g.first + uint64(sort.Search(most, func(i int) bool { return g.after(float64(i)+1) > passed }))
}

// Append appends what a client sends for payment n, as lines of JSON: sometimes
// an earlier payment once more, as after a lost answer; sometimes a record that
// does not fit the stream; and, last of all, the payment. So a stream that holds
// the payment was sent everything before it.
func (g *Generator) Append(dst []byte, n uint64) []byte {
	random := g.random(n, extrasOf)
	malformed, duplicate := random.Float64() < malformedShare, random.Float64() < duplicateShare
	if back := 1 + random.Uint64N(50); duplicate && n >= g.first+back {
		dst = g.payment(n - back).append(dst)
	}
	if malformed {
		dst = g.payment(n).appendMalformed(dst, n, int(random.Uint64N(malformedKinds)))
	}
	return g.payment(n).append(dst)
}

// AppendPayment appends payment n alone.
func (g *Generator) AppendPayment(dst []byte, n uint64) []byte {
	return g.payment(n).append(dst)
}

// Malformed tells whether Append adds a record that does not fit.
func (g *Generator) Malformed(n uint64) bool {
	return g.random(n, extrasOf).Float64() < malformedShare
}

// idDigits make the greatest id as text that of the newest payment.
const idDigits = 12

// ID gives the id of payment n.
func ID(n uint64) string { return fmt.Sprintf("p%0*d", idDigits, n) }

// IDPattern matches the ids that ID gives, as a regular expression.
const IDPattern = "p[0-9]{12}"

// Number gives the number of the payment with an id.
func Number(id string) (uint64, error) {
	digits, ok := strings.CutPrefix(id, "p")
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || len(digits) != idDigits || err != nil {
		return 0, fmt.Errorf("%q is no id of the demo, such as %s", id, ID(17))
	}
	return n, nil
}

// What random numbers are drawn for. Each has a sequence of its own, so that a
// change of one leaves the others.
const (
	paymentOf = iota
	extrasOf
	burstOf
	cardOf
)

func (g *Generator) random(n uint64, what uint64) *rand.Rand {
	return rand.New(rand.NewPCG(g.seed+what, mix(n)))
}

// mix makes neighbours differ in every bit (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
