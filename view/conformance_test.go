package view

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/conformance"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// conformSeed names the environment variable that makes the test below run its
// share of the comparisons, in a process whose zone is TZ.
const conformSeed = "TAILWATER_TEST_CONFORM_SEED"

// minCells is how many cells must be compared in all.
const minCells = 200_000

// Every kind of window with every aggregate over random streams: the answer that is
// put together from merged partials of random runs must be that of plain SQL over
// the raw events, which is written by hand here and shares nothing with the
// planner; under several zones of the process.
func TestEveryWindowWithEveryAggregateEqualsPlainSQL(t *testing.T) {
	if seed, err := strconv.ParseUint(os.Getenv(conformSeed), 10, 64); err == nil {
		fmt.Printf("\ncells %d\n", conform(t, seed))
		return
	}
	began, cells := time.Now(), 0
	for i, zone := range []string{"UTC", "America/New_York", "Australia/Lord_Howe"} {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "TZ="+zone, fmt.Sprintf("%s=%d", conformSeed, i+1))
		out, err := child.CombinedOutput()
		found := regexp.MustCompile(`\ncells (\d+)\n`).FindSubmatch(out)
		if err != nil || found == nil {
			t.Fatalf("with TZ=%s: %v\n%s", zone, err, out)
		}
		n, _ := strconv.Atoi(string(found[1]))
		cells += n
	}
	if cells < minCells {
		t.Errorf("%d cells compared, want %d", cells, minCells)
	}
	t.Logf("%d cells equal in %v", cells, time.Since(began).Round(time.Millisecond))
}

// A conformCase is a case with its plan; nil if another share has it.
type conformCase struct {
	*conformance.Case
	plan *Plan
}

// conformCases plans a share of all cases. Planning is what takes the time: each share
// has a third of the views, of every window.
func conformCases(t *testing.T, seed uint64) []*conformCase {
	planner, err := NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	var out []*conformCase
	for _, c := range conformance.Cases(conformance.Options{Together: 15}) {
		out = append(out, &conformCase{Case: c})
		if len(out)%3 != int(seed)%3 {
			continue
		}
		out[len(out)-1].plan, err = planner.Plan(t.Context(), Definition{Name: "v", SQL: c.SQL(), Bounds: c.Bounds, Timezone: c.Timezone, Cap: c.Cap}, map[string]*event.Schema{"trades": trades()})
		if err != nil {
			t.Fatalf("%s: %v", c.SQL(), err)
		}
	}
	return out
}

// conform compares a share of the cells and gives their number. Each view meets a
// stream of one size, each window streams of all.
func conform(t *testing.T, seed uint64) (cells int) {
	cases, b := conformCases(t, seed), newBench(t)
	sizes := []int{100, 200, 60, 0, 150, 25, 1}
	for round, size := range sizes {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		stream := conformance.RandomStream(r, size)
		for i, c := range cases {
			if c.plan == nil || i/3%len(sizes) != round {
				continue
			}
			n, err := c.compare(b, r, stream)
			if cells += n; err != nil {
				t.Fatalf("seed %d, %d events, %s: %s\n%v", seed, size, c.Window, c.SQL(), err)
			}
		}
	}
	return cells
}

// compare puts the answer together in several ways and holds each against the oracle.
func (c *conformCase) compare(b bench, r *rand.Rand, stream conformance.Stream) (cells int, err error) {
	relation := c.plan.Schema.Relation()
	want := b.over(relation, stream.All, c.Oracle)
	oracle := duckdb.Share(want.Columns)
	defer oracle.Close()
	oracle.Set(want.Batches)
	some := c.Narrow(r, want)
	where, f := some.SQL, narrowed(some)
	narrow, err := b.conn.Collect(b.t.Context(), "SELECT * FROM "+oracle.SQL()+where)
	if err != nil {
		return 0, err
	}
	for _, side := range []struct {
		how  string
		f    Filter
		want *duckdb.Relation
	}{{"whole", Filter{}, want}, {"filtered" + where, f, narrow}} {
		for how, got := range c.answers(b, r, stream, side.f) {
			n, err := c.Differs(got, side.want)
			if cells += n; err != nil {
				return cells, fmt.Errorf("%s, %s: %w", how, side.how, err)
			}
		}
	}
	n, err := c.Differs(b.over(relation, stream.All, c.plan.PlainSQL), want)
	if err != nil {
		err = fmt.Errorf("PlainSQL: %w", err)
	}
	return cells + n, err
}

// answers gives the plan's answer in each way in which it is put together.
func (c *conformCase) answers(b bench, r *rand.Rand, stream conformance.Stream, f Filter) map[string]*duckdb.Relation {
	if c.plan.Direct {
		mixed := slices.Clone(stream.All)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		return map[string]*duckdb.Relation{"over the stream": b.over(c.plan.Schema.Relation(), mixed, answer(b.t, c.plan, f))}
	}
	parts := mergedPartials(b, r, c.plan, stream.Runs)
	return map[string]*duckdb.Relation{
		"from merged partials": b.over(c.plan.Partial, parts, answer(b.t, c.plan, f)),
		"as a split":           splitAnswer(b, r, c.plan, parts, f),
	}
}

// narrowed gives a narrowing as the planner takes it.
func narrowed(n conformance.Narrowed) Filter {
	f := Filter{From: n.From, To: n.To}
	for _, k := range n.Keys {
		f.Where = append(f.Where, Equal{Key: k.Name, Value: k.Value, Null: k.Null})
	}
	return f
}
