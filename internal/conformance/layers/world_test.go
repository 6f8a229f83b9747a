package layers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/conformance"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/stream"
	"github.com/tailwater/tailwater/view"
)

// A world is what outlives a server: log, lake, the warehouse's file, and what the
// test knows of all accepted events. Every random choice comes from rng.
type world struct {
	t       *testing.T
	name    string // of the sequence, with its seed
	rng     *rand.Rand
	dir     string
	log     *stream.MemoryLog
	bucket  *lake.MemoryBucket
	clock   time.Time
	draw    func(n int) arrow.RecordBatch
	planner *view.Planner
	plain   *duckdb.Conn

	events  []accepted
	defined []*defined
	node    *node
	image   string // an older copy of the warehouse's file; empty if there is none
	turn    int    // how the next redefinition ends
	trace   []string
	result  result
}

// An accepted message is one that must count.
type accepted struct {
	at   event.Position
	rows duckdb.Batch
}

// A defined view is a case with the version of it that answers.
type defined struct {
	versions [2]*conformance.Case // of the same window and aggregates
	plans    [2]*view.Plan        // of versions; planned when first needed
	now      int
}

// newWorld begins a sequence with all views of the windows.
func newWorld(t *testing.T, name string, rng *rand.Rand, turn int, windows []string) *world {
	w := &world{
		t: t, name: name, rng: rng, turn: turn, dir: t.TempDir(), log: stream.NewMemoryLog(0), bucket: lake.NewMemoryBucket(),
		clock: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), draw: conformance.Drawing(rng), result: newResult(),
	}
	var err error
	w.planner, err = view.NewPlanner(t.Context())
	w.must(err)
	db, err := duckdb.Open(t.Context(), duckdb.Options{Threads: 1})
	w.must(err)
	w.plain, err = db.Connect()
	w.must(err)
	t.Cleanup(func() { w.planner.Close(); w.plain.Close(); db.Close() })
	rotation := rng.IntN(100)
	first, second := cases(rotation), cases(rotation+1)
	for i, c := range first {
		if slices.Contains(windows, c.Window) {
			d := &defined{versions: [2]*conformance.Case{c, second[i]}}
			w.plan(d, 0)
			w.defined = append(w.defined, d)
		}
	}
	w.node = startNode(w)
	return w
}

// cases are few wide views: planning and preparing them is a large part of the time.
func cases(rotation int) []*conformance.Case {
	return conformance.Cases(conformance.Options{Together: 21, Rotation: rotation, Alternate: true, Joined: 4})
}

func (w *world) String() string {
	return w.name + ": " + strings.Join(w.trace, " ")
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", w, err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) warehousePath() string { return filepath.Join(w.dir, "warehouse", "warehouse.duckdb") }

// now is the clock of the log, and moves with each look at it.
func (w *world) now() time.Time {
	w.clock = w.clock.Add(time.Duration(1+w.rng.IntN(90_000)) * time.Millisecond)
	return w.clock
}

// plan gives a version of a view.
func (w *world) plan(d *defined, version int) *view.Plan {
	if d.plans[version] == nil {
		c := d.versions[version]
		p, err := w.planner.Plan(w.t.Context(), view.Definition{Name: fmt.Sprintf("v%d", len(w.defined)), SQL: c.SQL(), Bounds: c.Bounds, Timezone: c.Timezone, Cap: c.Cap,
			References: map[string][]event.Column{"names": conformance.Names().Columns}},
			map[string]*event.Schema{conformance.Schema().Stream: conformance.Schema()})
		if err != nil {
			w.t.Fatalf("%s: %v\n%s", w, err, c.SQL())
		}
		if d.plans[0] != nil {
			p.Name = d.plans[0].Name
		}
		d.plans[version] = p
	}
	return d.plans[version]
}

// plans gives the views that answer.
func (w *world) plans() []*view.Plan {
	var out []*view.Plan
	for _, d := range w.defined {
		out = append(out, d.plans[d.now])
	}
	return out
}

// step does one random operation, after some of what goes on all the time.
func (w *world) step() {
	all := []struct {
		name   string
		weight int
		do     func()
	}{
		{"batch", 6, func() { w.runBatch(batch.OnSchedule, false) }},
		{"land+batch", 4, func() { w.runBatch(batch.OnDemand, false) }},
		{"rebuild", 3, func() { w.runBatch(batch.OnDemand, true) }},
		{"purge", 4, w.purge},
		{"restart", 10, func() { w.restart(nil) }},
		{"rollback", 6, func() { w.restart(w.rollback) }},
		{"redefine", 11, w.redefine},
		{"compare", 12, func() { w.compare(3) }},
	}
	w.flow()
	at := w.rng.IntN(56) // the sum of the weights
	for _, op := range all {
		if at -= op.weight; at < 0 {
			w.did(op.name)
			op.do()
			return
		}
	}
}

// flow has events come, be applied and land, as chance will have it: speed layer, lake
// and warehouse then stand at different positions.
func (w *world) flow() {
	if w.rng.IntN(3) > 0 {
		w.did("send")
		w.send()
	}
	if w.rng.IntN(3) == 0 {
		w.did("apply")
		w.node.apply(1 + w.rng.IntN(6))
	}
	if w.rng.IntN(3) == 0 {
		w.did("land")
		w.must(w.node.land(w.t.Context()))
	}
}

// did notes what was done, for the trace and the counts.
func (w *world) did(what string) {
	w.trace = append(w.trace, what)
	w.result.Operations[what]++
}

// send has some messages accepted; one of them may be large.
func (w *world) send() {
	ctx := w.t.Context()
	for range 1 + w.rng.IntN(5) {
		rows := w.draw(1 + w.rng.IntN(4))
		if w.rng.IntN(20) == 0 {
			rows = w.draw(20 + w.rng.IntN(20))
		}
		at, err := w.node.publisher.Publish(ctx, rows, nil)
		w.must(err)
		w.events = append(w.events, accepted{at, conformance.Placed(rows, at)})
		w.must(w.node.queue.wait(ctx, at.Seq))
	}
}

// applyAll has the speed layer apply all that waits, in micro-batches of random size.
func (w *world) applyAll() {
	for w.node.apply(1 + w.rng.IntN(8)) {
	}
}

// applyTo has it apply at least through a cut.
func (w *world) applyTo(cut event.Cut) {
	for w.node.applied() < cut[w.node.source] && w.node.apply(1+w.rng.IntN(8)) {
	}
}

func (w *world) runBatch(trigger string, rebuild bool) {
	run, err := w.node.batch.Run(w.t.Context(), trigger, rebuild)
	w.must(err)
	w.applyTo(run.Through) // nothing is answered while S is ahead of A
}

// purge removes from the log what has landed, but for the last message.
func (w *world) purge() {
	if landed := w.node.landed.Load().Marks[w.node.source].Through; landed > 1 {
		w.must(w.log.Purge(w.t.Context(), landed-1))
	}
}

// restart kills the server and starts it again on what is left: whatever down does
// meanwhile, and a warehouse as it was closed, as a crash leaves it, as it was long ago,
// or gone; and sometimes with another version of some view.
func (w *world) restart(down func()) {
	var crashed string
	kind := w.rng.IntN(4)
	if kind == 1 {
		crashed = w.copyWarehouse(w.warehousePath(), "crashed")
	}
	w.node.kill()
	if down != nil {
		down()
	}
	switch {
	case kind == 1:
		w.copyWarehouse(crashed, "warehouse")
	case kind == 2 && w.image != "":
		w.copyWarehouse(w.image, "warehouse")
	case kind == 3:
		w.must(os.RemoveAll(filepath.Dir(w.warehousePath())))
	case w.rng.IntN(2) == 0:
		w.image = w.copyWarehouse(w.warehousePath(), "image")
	}
	if w.rng.IntN(4) == 0 {
		d := w.defined[w.rng.IntN(len(w.defined))]
		w.plan(d, 1-d.now)
		d.now = 1 - d.now
	}
	w.node = startNode(w)
	_, head, err := w.log.Bounds(w.t.Context())
	w.must(err)
	if head > w.node.landed.Load().Marks[w.node.source].Through {
		w.result.Operations["(from the log)"]++
	}
	w.must(w.node.queue.wait(w.t.Context(), head))
	w.applyTo(event.Cut{w.node.source: head}) // before, a server is not ready
	w.compare(2)
}

// copyWarehouse copies the file, and what its log holds, into another directory.
func (w *world) copyWarehouse(from, dir string) string {
	to := filepath.Join(w.dir, dir, filepath.Base(w.warehousePath()))
	w.must(os.RemoveAll(filepath.Dir(to)))
	w.must(os.MkdirAll(filepath.Dir(to), 0o755))
	for _, suffix := range []string{"", ".wal"} {
		data, err := os.ReadFile(from + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		w.must(err)
		w.must(os.WriteFile(to+suffix, data, 0o644))
	}
	return to
}

// rollback makes the log lose a suffix: what of it had not landed is gone, and the
// sequences are given out again.
func (w *world) rollback() {
	first, last, err := w.log.Bounds(w.t.Context())
	w.must(err)
	if last < first {
		return
	}
	landed := w.node.table.Latest().Marks[w.node.source].Through
	through := first - 1 + w.rng.Uint64N(last-first+2)
	if landed >= first && w.rng.IntN(2) == 0 {
		through = landed - 1 - w.rng.Uint64N(min(landed-first+1, 10))
	}
	w.log.Truncate(through)
	w.events = slices.DeleteFunc(w.events, func(e accepted) bool {
		return e.at.Source == w.node.source && e.at.Seq > max(through, landed)
	})
}

// redefine swaps one view for another version beside answers, as the program does, or
// gives it up or crashes on the way.
func (w *world) redefine() {
	ctx, n := w.t.Context(), w.node
	d := w.defined[w.rng.IntN(len(w.defined))]
	old, next := w.plans(), w.plan(d, 1-d.now)
	w.applyAll()
	if !next.Direct {
		w.must(n.batch.Build(ctx, []*view.Plan{next}, func(int64, int64) {}))
		_, err := n.speed.Add(ctx, next)
		w.must(err)
		n.batch.Define(append([]*view.Plan{next}, old...))
	}
	w.send()
	w.node.apply(1 + w.rng.IntN(4))
	w.compareView(d, false)
	end := w.turn % 3
	w.turn++
	if end == 2 {
		w.did("(given up)")
		if !next.Direct {
			n.speed.Discard(next)
		}
		n.batch.Define(old)
		return
	}
	w.runBatch(batch.OnDemand, false)
	if end == 1 {
		w.did("(crash)")
		d.now = w.rng.IntN(2) // the history has the new version, or not yet
		w.restart(nil)
		return
	}
	w.did("(swap)")
	d.now = 1 - d.now
	w.must(n.batch.Redefine(w.plans(), func() error {
		_, _, err := n.speed.Redefine(w.plans())
		return err
	}))
	w.compareView(d, false)
}

// compare compares some of the views.
func (w *world) compare(views int) {
	for _, i := range w.rng.Perm(len(w.defined))[:min(views, len(w.defined))] {
		w.compareView(w.defined[i], false)
	}
}

// end compares all views once more, over enough events for rows of each.
func (w *world) end() {
	for len(w.events) < enough {
		w.send()
	}
	w.applyAll()
	for _, d := range w.defined {
		w.compareView(d, true)
	}
	w.node.kill()
}

const enough = 40 // messages

// compareView holds the answer, or unless whole is set perhaps one at an earlier cut, or
// a part of it, against the plain SQL over the events that were accepted through the cut.
func (w *world) compareView(d *defined, whole bool) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	c, r := d.versions[d.now], serving.ViewRequest{Name: d.plans[d.now].Name}
	cut := w.node.speed.State().Applied()
	if w.node.landed.Load().Marks[w.node.source].Through > cut[w.node.source] {
		w.result.Operations["(lake ahead)"]++
	}
	if !whole && w.rng.IntN(4) == 0 {
		w.result.Operations["(earlier cut)"]++
		cut[w.node.source] -= min(cut[w.node.source], w.rng.Uint64N(8))
		r.At = cut
	}
	events := duckdb.Share(conformance.Schema().Relation())
	defer events.Close()
	var through []duckdb.Batch
	for _, e := range w.events {
		if cut.Covers(e.at) {
			through = append(through, e.rows)
		}
	}
	events.Set(through)
	want, err := w.plain.Collect(ctx, c.Oracle(events.SQL()))
	w.must(err)
	if !whole && w.rng.IntN(3) == 0 {
		part := c.Narrow(w.rng, want)
		r.Filter = view.Filter{From: part.From, To: part.To}
		for _, k := range part.Keys {
			r.Filter.Where = append(r.Filter.Where, view.Equal{Key: k.Name, Value: k.Value, Null: k.Null})
		}
		plain := duckdb.Share(want.Columns)
		defer plain.Close()
		plain.Set(want.Batches)
		want, err = w.plain.Collect(ctx, "SELECT * FROM "+plain.SQL()+part.SQL)
		w.must(err)
	}
	got, err := w.answer(ctx, r, cut)
	cells := 0
	if err == nil {
		cells, err = c.Differs(got, want)
	}
	if err != nil {
		w.t.Fatalf("%s\nat %s of %d events, view %s: %s\n%v", w, cut, len(w.events), c.Window, c.SQL(), err)
	}
	w.result.add(c, got.Len(), cells)
}

// answer asks the serving layer.
func (w *world) answer(ctx context.Context, r serving.ViewRequest, cut event.Cut) (*duckdb.Relation, error) {
	a, err := w.node.core.View(ctx, r)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if !a.Complete || fmt.Sprint(a.Cut) != fmt.Sprint(cut) || a.Statistics["shared"] != nil {
		return nil, fmt.Errorf("complete %t at %s: %v", a.Complete, a.Cut, a.Statistics)
	}
	out := &duckdb.Relation{Columns: a.Columns}
	for {
		b, err := a.Next(ctx)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out.Batches = append(out.Batches, duckdb.RecordBatch(b))
	}
}
