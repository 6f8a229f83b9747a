package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A flight is one row of the well-known flights samples.
type flight struct {
	Date        string `json:"date"`
	Delay       *int64 `json:"delay"`
	Distance    *int64 `json:"distance"`
	Origin      string `json:"origin"`
	Destination string `json:"destination"`

	seq int64 // of the message that holds it, once acknowledged
}

// flightData gives the rows of the file that TAILWATER_TEST_FLIGHTS names, a
// JSON array, or rows of the same form.
func flightData(t *testing.T, r *rand.Rand) []flight {
	t.Helper()
	if path := os.Getenv("TAILWATER_TEST_FLIGHTS"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return mustDecode[[]flight](t, text)
	}
	airports := []string{"ATL", "BOS", "DTW", "HNL", "LAS", "OAK", "PHX", "SFO"}
	rows := make([]flight, 4000)
	for i := range rows {
		from := r.IntN(len(airports))
		to := (from + 1 + r.IntN(len(airports)-1)) % len(airports)
		delay, distance := int64(r.NormFloat64()*40), int64(100+300*max(from, to)+17*min(from, to))
		at := time.Date(2001, 1, 1, 0, r.IntN(14*24*60), 0, 0, time.UTC)
		rows[i] = flight{Date: at.Format("2006/01/02 15:04"), Delay: &delay, Distance: &distance, Origin: airports[from], Destination: airports[to]}
		if r.IntN(40) == 0 {
			rows[i].Delay = nil // cancelled
		}
	}
	return rows
}

// requests shuffles the rows and cuts them into requests.
func requests(r *rand.Rand, rows []flight) [][]*flight {
	var out [][]*flight
	order := r.Perm(len(rows))
	for len(order) > 0 {
		n := min(len(order), 1+r.IntN(25))
		var one []*flight
		for _, i := range order[:n] {
			one = append(one, &rows[i])
		}
		out, order = append(out, one), order[n:]
	}
	return out
}

// flightBody writes lines or an array.
func flightBody(t *testing.T, rows []*flight, array bool) string {
	t.Helper()
	var lines []string
	for _, f := range rows {
		line, err := json.Marshal(f)
		if err != nil {
			t.Error(err)
		}
		lines = append(lines, string(line))
	}
	if array {
		return "[" + strings.Join(lines, ",\n") + "]"
	}
	return strings.Join(lines, "\n")
}

// A flightTally is one row of a view, recounted.
type flightTally struct {
	flights, miles, late, worst int64
	distances                   int64
	delays                      []float64
}

func tallyFlights(rows []flight, through int64, key func(*flight) string) map[string]*flightTally {
	out := map[string]*flightTally{}
	for i := range rows {
		f := &rows[i]
		if f.seq == 0 || f.seq > through {
			continue
		}
		t := out[key(f)]
		if t == nil {
			t = &flightTally{worst: math.MinInt64}
			out[key(f)] = t
		}
		t.flights++
		if f.Distance != nil {
			t.miles += *f.Distance
			t.distances++
		}
		if f.Delay != nil {
			t.delays = append(t.delays, float64(*f.Delay))
			t.worst = max(t.worst, *f.Delay)
			if *f.Delay > 60 {
				t.late++
			}
		}
	}
	return out
}

func originHour(f *flight) string {
	at, err := time.Parse("2006/01/02 15:04", f.Date)
	if err != nil {
		return err.Error()
	}
	return at.Truncate(time.Hour).Format(time.RFC3339) + " " + f.Origin
}

func route(f *flight) string { return f.Origin + " " + f.Destination }

// cellIs compares a cell with an integer, or with NULL.
func cellIs(got any, want int64, null bool) bool {
	n, ok := got.(json.Number)
	return null && got == nil || !null && ok && n.String() == fmt.Sprint(want)
}

// cellNear compares a cell with a double, or with NULL.
func cellNear(got any, want float64, null bool) bool {
	n, ok := got.(json.Number)
	if null || !ok {
		return null && got == nil
	}
	f, err := n.Float64()
	return err == nil && math.Abs(f-want) <= 1e-9*math.Max(1, math.Abs(want))
}

// judgeByOrigin compares every cell of by_origin with the recount.
func judgeByOrigin(rows []flight, a answered) error {
	want := tallyFlights(rows, a.Cut["flights/1/0"], originHour)
	if len(a.Data) != len(want) {
		return fmt.Errorf("%d rows, want %d", len(a.Data), len(want))
	}
	for _, r := range a.Data {
		start := fmt.Sprint(r["window_start"])
		w := want[start+" "+fmt.Sprint(r["origin"])]
		if w == nil {
			return fmt.Errorf("row %v should not be", r)
		}
		at, err := time.Parse(time.RFC3339, start)
		none := len(w.delays) == 0
		mean := 0.0
		for _, d := range w.delays {
			mean += d / float64(len(w.delays))
		}
		if err != nil || r["window_end"] != at.Add(time.Hour).Format(time.RFC3339) || !cellIs(r["flights"], w.flights, false) ||
			!cellNear(r["mean_delay"], mean, none) || !cellIs(r["worst"], w.worst, none) || !cellIs(r["late"], w.late, false) {
			return fmt.Errorf("row %v, want %+v", r, *w)
		}
	}
	return nil
}

// judgeRoutes compares every cell of routes, or of its SQL over the stream.
func judgeRoutes(rows []flight, a answered) error {
	want := tallyFlights(rows, a.Cut["flights/1/0"], route)
	if len(a.Data) != len(want) {
		return fmt.Errorf("%d rows, want %d", len(a.Data), len(want))
	}
	for _, r := range a.Data {
		w := want[fmt.Sprint(r["origin"], " ", r["destination"])]
		if w == nil {
			return fmt.Errorf("row %v should not be", r)
		}
		if !cellIs(r["flights"], w.flights, false) || !cellIs(r["miles"], w.miles, w.distances == 0) || !cellNear(r["spread"], spread(w.delays), len(w.delays) == 0) {
			return fmt.Errorf("row %v, want %+v with spread %v", r, *w, spread(w.delays))
		}
	}
	return nil
}

// judgeTotals compares counts of the stream and of both views at one cut.
func judgeTotals(rows []flight, a answered) error {
	all := tallyFlights(rows, a.Cut["flights/1/0"], func(*flight) string { return "" })[""]
	if all == nil {
		all = &flightTally{}
	}
	r := a.Data[0]
	none := all.flights == 0
	if !cellIs(r["flights"], all.flights, false) || !cellIs(r["timed"], int64(len(all.delays)), false) || !cellIs(r["miles"], all.miles, all.distances == 0) ||
		!cellIs(r["origins"], all.flights, none) || !cellIs(r["routed"], all.flights, none) {
		return fmt.Errorf("got %v, want %d flights, %d with a delay, %d miles", r, all.flights, len(all.delays), all.miles)
	}
	return nil
}

// flightQuestions are asked while flights come in.
var flightQuestions = []struct {
	name, path, sql string
	judge           func([]flight, answered) error
}{
	{"by_origin", "/v1/views/by_origin", "", judgeByOrigin},
	{"totals", "/v1/sql", `SELECT count(*) AS flights, count(delay) AS timed, sum(distance) AS miles,
  (SELECT sum(flights) FROM by_origin) AS origins, (SELECT sum(flights) FROM routes) AS routed FROM flights`, judgeTotals},
	{"routes", "/v1/views/routes", "", judgeRoutes},
	{"the SQL of routes", "/v1/sql", "SELECT origin, destination, count(*) AS flights, sum(distance) AS miles, stddev_pop(delay) AS spread FROM flights GROUP BY origin, destination", judgeRoutes},
}

// An asking is an answer to be judged when it is known what was acknowledged.
type asking struct {
	question int
	answer   answered
}

// askFlights asks until done is closed, and once more.
func askFlights(t *testing.T, p *process, done <-chan struct{}) []asking {
	var out []asking
	last := int64(0)
	for i, more := 0, true; more; i++ {
		select {
		case <-done:
			more = false
		default:
		}
		q := flightQuestions[i%len(flightQuestions)]
		a, err := p.get(q.path, q.sql)
		if err != nil || !a.Complete {
			t.Errorf("%s: complete %v, %v", q.name, a.Complete, err)
			return out
		}
		cut := a.Cut["flights/1/0"]
		if cut < last {
			t.Errorf("%s: the cut went back from %d to %d", q.name, last, cut)
		}
		last = cut
		out = append(out, asking{i % len(flightQuestions), a})
	}
	return out
}

// sendFlights sends with several clients and notes where each row went.
func sendFlights(t *testing.T, p *process, all [][]*flight) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range next {
				rows := all[i]
				a, err := p.post(t.Context(), "flights", flightBody(t, rows, i%3 == 0))
				if err != nil || a.Accepted != len(rows) || len(a.Rejected) > 0 {
					t.Errorf("request %d of %d rows: %+v, %v", i, len(rows), a, err)
					continue
				}
				var seq int64
				if _, err := fmt.Sscanf(a.Position, "flights/1/0/%d", &seq); err != nil {
					t.Errorf("position %q: %v", a.Position, err)
				}
				for _, f := range rows {
					f.seq = seq
				}
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wg.Wait()
}

func TestEveryAnswerAboutFlightsEqualsARecountAtItsCut(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 31))
	rows := flightData(t, r)
	const project = "../../examples/flights"
	data := t.TempDir()
	p := startReady(t, project, data, nil, "--land-age", "150ms", "--batch-schedule", "off")

	done := make(chan struct{})
	answers := make([][]asking, 2)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = askFlights(t, p, done) })
	}
	runs := 0
	wg.Go(func() {
		for more := true; more; runs++ {
			select {
			case <-done:
				more = false
			default:
			}
			resp, err := p.trigger("/v1/batch/run")
			if err != nil || resp != 200 {
				t.Errorf("batch run: %d, %v", resp, err)
				return
			}
		}
	})
	sendFlights(t, p, requests(r, rows))
	close(done)
	wg.Wait()

	cuts := map[int64]bool{}
	asked := slices.Concat(answers...)
	for _, a := range asked {
		cuts[a.answer.Cut["flights/1/0"]] = true
		if err := flightQuestions[a.question].judge(rows, a.answer); err != nil {
			t.Fatalf("%s at %v: %v", flightQuestions[a.question].name, a.answer.Cut, err)
		}
	}
	if len(cuts) < 5 || runs < 2 {
		t.Errorf("the questions saw %d cuts and %d batch runs: too few to prove anything", len(cuts), runs)
	}
	t.Logf("%d flights, %d answers at %d cuts, %d batch runs", len(rows), len(asked), len(cuts), runs)
	judgeFlightsAtRest(t, p, rows)
	p.stop()
	p = startReady(t, project, data, nil, quiet...)
	judgeFlightsAtRest(t, p, rows)
	p.stop()
}

// judgeFlightsAtRest expects that every row counts.
func judgeFlightsAtRest(t *testing.T, p *process, rows []flight) {
	t.Helper()
	p.caughtUp()
	for _, q := range flightQuestions {
		if err := q.judge(rows, p.mustGet(q.path, q.sql)); err != nil {
			t.Fatalf("%s at rest: %v", q.name, err)
		}
	}
	if n := p.count("flights"); n != fmt.Sprint(len(rows)) {
		t.Fatalf("%s flights, %d were acknowledged", n, len(rows))
	}
	for _, name := range []string{"by_origin", "routes"} {
		if d, text := p.difference(name); d != 0 {
			t.Fatalf("difference of %s is %d: %s", name, d, text)
		}
	}
}
