package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write sample.ndjson anew")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// lines gives what is sent for the payments [from, to).
func lines(g *Generator, from, to uint64) []byte {
	var out []byte
	for n := from; n < to; n++ {
		out = g.Append(out, n)
	}
	return out
}

func TestASeedAlwaysMakesTheSamePayments(t *testing.T) {
	const want = "23b1d8688b7e9ae81d27d013a1e22c4f35f9f0442b580a3af432c7185096bdaa"
	if got := fmt.Sprintf("%x", sha256.Sum256(lines(New(1, 200, noon, 0), 0, 10_000))); got != want {
		t.Errorf("the first 10,000 payments of seed 1 have the hash %s, want %s: whoever repeats a run gets other payments now", got, want)
	}
	if bytes.Equal(lines(New(1, 200, noon, 0), 0, 10), lines(New(2, 200, noon, 0), 0, 10)) {
		t.Error("another seed makes the same payments")
	}
}

func TestAPaymentIsTheSameWhenItIsMadeAgain(t *testing.T) {
	whole := New(7, 200, noon, 0)
	later := New(7, 200, whole.At(4999), 5000) // another process, which goes on
	for n := uint64(5100); n < 6000; n++ {
		a, b := whole.payment(n), later.payment(n)
		a.ts, b.ts = time.Time{}, time.Time{} // both clocks were rounded
		if a != b {
			t.Fatalf("payment %d is %+v, and made again %+v", n, a, b)
		}
	}
}

// A record is a line of the stream, if it is one.
type record struct {
	ID       string
	TS       time.Time
	Card     string
	Merchant string
	Country  string
	Amount   float64
	Status   string
}

// sorted tells the payments from the records that do not fit, and counts the
// payments that are sent twice.
func sorted(t *testing.T, body []byte) (payments []record, malformed, duplicates int) {
	t.Helper()
	seen := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(body)), "\n") {
		var r record
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil || r.Merchant == "" {
			malformed++
			continue
		}
		if first, twice := seen[r.ID]; twice {
			duplicates++
			if first != line {
				t.Errorf("the duplicate is another payment:\n%s\n%s", first, line)
			}
			continue
		}
		seen[r.ID] = line
		payments = append(payments, r)
	}
	return payments, malformed, duplicates
}

func TestPaymentsAreSpreadAsTheyShouldBe(t *testing.T) {
	const count = 200_000
	g := New(1, 200, noon, 0)
	payments, malformed, duplicates := sorted(t, lines(g, 0, count))
	if len(payments) != count {
		t.Fatalf("%d payments of %d", len(payments), count)
	}
	said, late, disorder, declined := 0, 0, 0, 0
	shops, places := map[string]int{}, map[string]int{}
	var newest time.Time
	for n, p := range payments {
		if p.ID != ID(uint64(n)) {
			t.Fatalf("payment %d is %s", n, p.ID)
		}
		if g.Malformed(uint64(n)) {
			said++
		}
		made := g.At(uint64(n))
		if p.TS.After(made) || made.Sub(p.TS) > 16*time.Minute {
			t.Fatalf("payment %d of %s has the time %s", n, made, p.TS)
		}
		if made.Sub(p.TS) >= 2*time.Second {
			late++
		}
		if p.TS.Before(newest) {
			disorder++
		} else {
			newest = p.TS
		}
		if p.Status == "declined" {
			declined++
		}
		shops[p.Merchant]++
		places[p.Country]++
	}
	share := func(what string, n int, least, most float64) {
		if got := float64(n) / count; got < least || got > most {
			t.Errorf("%s: %.5f of all, want %v to %v", what, got, least, most)
		}
	}
	share("late", late, 0.017, 0.023)
	share("out of order", disorder, 0.3, 0.99)
	share("malformed", malformed, 0.0016, 0.0024)
	share("duplicates", duplicates, 0.0024, 0.0036)
	share("declined", declined, 0.01, 0.05)
	share("the first merchant", shops[merchants[0].name], 0.06, 0.15)
	share("the last merchant", shops[merchants[len(merchants)-1].name], 0.002, 0.02)
	share("the first country", places["DE"], 0.19, 0.25)
	if said != malformed || len(shops) != len(merchants) || len(places) != len(countries) {
		t.Errorf("%d malformed and %d announced, %d merchants, %d countries", malformed, said, len(shops), len(places))
	}
}

func TestFraudComesInBurstsOfOneCard(t *testing.T) {
	for rate, blocks := range map[float64]uint64{0.5: 50, 8: 50, 200: 5, 2000: 1} {
		g := New(3, rate, noon, 0)
		bursts, honest := 0, map[string]int{}
		for block := range blocks {
			byCard := map[uint64][]payment{}
			for n := block * g.block; n < (block+1)*g.block; n++ {
				if p, ok := g.fraud(n); ok {
					byCard[p.card] = append(byCard[p.card], p)
				} else if p := g.payment(n); p.cents < 1000 {
					honest[fmt.Sprint(p.card, p.ts.Truncate(time.Minute))]++
				}
			}
			for _, ps := range byCard {
				bursts++
				took := ps[len(ps)-1].ts.Sub(ps[0].ts)
				if len(ps) < 10 || len(ps) > 20 || took > 60*time.Second || rate >= 8 && took > 10*time.Second {
					t.Errorf("rate %v: a burst of %d payments within %s", rate, len(ps), took)
				}
				for _, p := range ps {
					if p.cents >= 1000 {
						t.Errorf("a payment of %d cents", p.cents)
					}
				}
			}
		}
		if bursts != int(blocks) {
			t.Errorf("rate %v: %d bursts, want %d", rate, bursts, blocks)
		}
		for card, n := range honest {
			if n >= 5 {
				t.Errorf("rate %v: honest card %s pays %d small amounts within a minute, which looks like fraud", rate, card, n)
			}
		}
	}
}

func TestWhatIsDueIsWhatWasMade(t *testing.T) {
	for _, rate := range []float64{0.5, 200, 50_000} {
		g := New(1, rate, noon, 1000)
		if g.Due(noon) != 1000 || g.Due(noon.Add(-time.Hour)) != 1000 {
			t.Errorf("rate %v: payments are due before the start", rate)
		}
		for _, after := range []time.Duration{time.Second, 17 * time.Second, time.Hour, 30 * time.Hour} {
			next := g.Due(noon.Add(after))
			if next > 1000 && g.At(next-1).After(noon.Add(after+time.Microsecond)) || g.At(next).Before(noon.Add(after-time.Microsecond)) {
				t.Errorf("rate %v after %s: %d is due, made at %s and the next at %s", rate, after, next-1, g.At(next-1), g.At(next))
			}
		}
		day := float64(g.Due(noon.Add(24*time.Hour)) - 1000)
		if math.Abs(day/(rate*86400)-1) > 0.001 {
			t.Errorf("rate %v: %v payments in a day", rate, day)
		}
	}
}

func TestTimeRunsForwardThroughTheNumbers(t *testing.T) {
	g := New(1, 200, noon, 0)
	slow, fast := math.Inf(1), 0.0
	for n := uint64(0); n < 200*3600; n += 200 {
		passed := g.At(n + 200).Sub(g.At(n)).Seconds()
		slow, fast = min(slow, passed), max(fast, passed)
	}
	if slow < 0.7 || fast > 1.3 || fast-slow < 0.15 {
		t.Errorf("a second's payments take %.3f to %.3f s", slow, fast)
	}
}

func TestIDsAreNumbersThatSortAsText(t *testing.T) {
	if !(ID(9) < ID(10)) || !(ID(99_999) < ID(100_000)) {
		t.Error("a greater number has a smaller id")
	}
	for _, n := range []uint64{0, 1, 10, 999_999_999_999} {
		if got, err := Number(ID(n)); err != nil || got != n {
			t.Errorf("%d became %d, %v", n, got, err)
		}
		if got := string(payment{n: n}.appendID(nil)); got != ID(n) {
			t.Errorf("payment %d has the id %s", n, got)
		}
	}
	for _, id := range []string{"", "p1", "s000000000001", "p00000000000x"} {
		if _, err := Number(id); err == nil {
			t.Errorf("%q is taken for an id", id)
		}
	}
}

// sampleLines are 400 payments without anything that does not fit. Their ids are
// not those of a running demo.
func sampleLines() []byte {
	g := New(1, 2, noon, 0)
	var out []byte
	for n := uint64(0); n < 400; n++ {
		out = g.payment(n).append(out)
	}
	return bytes.ReplaceAll(out, []byte(`"id":"p`), []byte(`"id":"s`))
}

func TestTheSampleIsWhatTheGeneratorMakes(t *testing.T) {
	if *rewrite {
		if err := os.WriteFile("sample.ndjson", sampleLines(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile("sample.ndjson"); err != nil || !bytes.Equal(got, sampleLines()) {
		t.Errorf("sample.ndjson is not what the generator makes (%v); `go test ./demo -rewrite` writes it anew", err)
	}
}

func TestTheProjectIsWrittenOnceAndThenTheUsers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "project")
	if err := WriteProject(dir); err != nil {
		t.Fatal(err)
	}
	view := filepath.Join(dir, "views", "revenue.sql")
	want, err := os.ReadFile("views/revenue.sql")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(view); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: %s", err, got)
	}
	if err := os.WriteFile(view, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteProject(dir); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(view); string(got) != "mine" {
		t.Errorf("the user's view became %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "..", ".project-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func BenchmarkAppend(b *testing.B) {
	g := New(1, 50_000, noon, 0)
	var out []byte
	for n := uint64(0); b.Loop(); n++ {
		out = g.Append(out[:0], n)
	}
}
