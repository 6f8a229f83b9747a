package serving

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever of the landed events is in memory, in files alone, or in both, an answer has
// each of them once, and so have those that name a time.
func TestLandedEventsAreReadFromMemoryOrFromTheirFiles(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	r := newRig(t)
	const columns = "count(*) AS events, sum(n) AS n, min(_seq) AS first, count(k) AS k, max(ts) AS newest"
	fromMemory, fromFiles := 0, 0
	for step := range 40 {
		switch random.IntN(8) {
		case 0, 1:
			r.send(10 + random.IntN(40))
			r.land()
		case 2:
			r.send(70 + random.IntN(40)) // too many to be kept
			r.land()
		case 3:
			r.send(1 + random.IntN(5))
			r.send(1 + random.IntN(5))
			r.land()
		case 4:
			if r.landed.Load() != nil {
				r.batch()
			}
		default:
			r.send(1 + random.IntN(5))
		}
		if r.at == 0 || r.landed.Load() == nil {
			continue
		}
		kept, files := r.layers()
		if kept {
			fromMemory++
		}
		if files {
			fromFiles++
		}
		var events, n, k, last int64
		inHour, newest := 0, int64(0)
		from, to := time.UnixMicro(3600_000_000).UTC(), time.UnixMicro(7200_000_000).UTC()
		for seq := int64(1); seq <= int64(r.at); seq++ {
			x := seq * 7919
			events, n, newest = events+1, n+x%101-50, max(newest, x%20_000)
			if x%5 != 0 {
				k++
			}
			if at := x % 20_000; at >= 3600 && at < 7200 {
				inHour++
			}
			last = seq
		}
		want := fmt.Sprintf("%d|%d|1|%d|%s\n", events, n, k, time.Unix(newest, 0).UTC().Format("2006-01-02T15:04:05"))
		got := r.ask(fmt.Sprintf("SELECT %s FROM pay WHERE %d > 0", columns, step+1))
		if got != want {
			t.Fatalf("step %d, through %d: %swant %s", step, last, got, want)
		}
		const layout = "2006-01-02 15:04:05"
		if got := r.ask(fmt.Sprintf("SELECT count(*) AS n%d FROM pay WHERE ts >= '%s' AND ts < '%s'", step, from.Format(layout), to.Format(layout))); got != fmt.Sprintln(inHour) {
			t.Fatalf("step %d: %s events within the hour, want %d", step, got, inHour)
		}
		if got := r.ask(fmt.Sprintf("SELECT count(*) AS n%d FROM pay", step)); got != fmt.Sprintln(events) {
			t.Fatalf("step %d: %s events, want %d", step, got, events)
		}
		if step%5 == 0 {
			r.sameAt(r.cutNow())
		}
	}
	if fromMemory < 5 || fromFiles < 5 {
		t.Errorf("%d answers were partly from memory, %d from files: the test has lost its point", fromMemory, fromFiles)
	}
}

// layers reports whether landed events are read from memory, and whether from files.
func (r *rig) layers() (kept, files bool) {
	p, err := r.pin(r.t.Context(), nil)
	must(r.t, err)
	defer p.close()
	s := p.state.Streams["pay"]
	_, batch := p.tx.Facts(s.Schema)
	ranges, _ := s.KeptAfter(batch)
	landed, _, err := p.landed(r.t.Context(), "pay", s, batch, begins(ranges), nil)
	must(r.t, err)
	return len(ranges) > 0, landed != ""
}
