package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tailwater/tailwater/lake"
)

func TestARunBringsWhatLandedToTheWarehouseAndTellsOfIt(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), nil)
	r.land(10)
	run := r.must(OnSchedule, false)
	if run.ID != 1 || run.Trigger != OnSchedule || run.Status != "succeeded" || run.Rows != 10 || run.Rebuild || run.Error != "" ||
		fmt.Sprint(run.Views) != "[hourly total]" || run.Through.String() != "pay/1/0:10" || !run.Finished.After(run.Started) {
		t.Errorf("the run is %s", text(run))
	}
	if got := r.told(); got != "[hourly:10 total:10]" {
		t.Errorf("Loaded was told %s", got)
	}
	if got := r.total(); got != "10 55" {
		t.Errorf("total is %s", got)
	}
	r.land(5)
	if run := r.must(OnSchedule, false); run.ID != 2 || run.Rows != 5 || run.Through[src] != 15 {
		t.Errorf("the second run is %s", text(run))
	}
	if run := r.must(OnDemand, true); run.ID != 3 || run.Rows != 15 || !run.Rebuild {
		t.Errorf("the rebuild is %s", text(run))
	}
	if got := r.total(); got != "15 120" {
		t.Errorf("total is %s", got)
	}
}

func TestARunWithoutNewsIsRecordedOnDemandAlone(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), nil)
	r.land(3)
	r.must(AtStart, false)
	r.told()
	for _, trigger := range []string{OnSchedule, OnPressure, AtStart} {
		if run := r.must(trigger, false); run.ID != 0 || run.Rows != 0 {
			t.Errorf("%s: %s", trigger, text(run))
		}
	}
	if n := len(r.history()); n != 1 {
		t.Errorf("%d runs are recorded, one had news", n)
	}
	// Who missed the first telling, because the process died before it, hears it now.
	if got := r.told(); got != strings.TrimSpace("["+strings.TrimSpace(strings.Repeat("hourly:3 total:3 ", 3))+"]") {
		t.Errorf("Loaded was told %s", got)
	}
	if run := r.must(OnDemand, false); run.ID != 2 || run.Rows != 0 || run.Status != "succeeded" {
		t.Errorf("on demand: %s", text(run))
	}
	if n := len(r.history()); n != 2 {
		t.Errorf("%d runs are recorded", n)
	}
}

func TestARunNamesTheViewsThatMoved(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), nil)
	r.land(4)
	r.cfg.Streams[0].Plans = r.plans[1:]
	if run := r.must(OnSchedule, false); fmt.Sprint(run.Views) != "[total]" {
		t.Errorf("the first run is %s", text(run))
	}
	r.cfg.Streams[0].Plans = r.plans // the project got a view
	if run := r.must(OnSchedule, false); fmt.Sprint(run.Views) != "[hourly]" || run.Rows != 0 || run.ID != 2 {
		t.Errorf("the second run is %s", text(run))
	}
	if run := r.must(OnDemand, false); len(run.Views) != 0 {
		t.Errorf("the third run is %s", text(run))
	}
}

func TestARunRefusesAStreamThatAnotherServerTookOver(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), nil)
	r.land(4)
	next := src
	next.Epoch++
	_, err := r.cfg.Streams[0].Table.OpenEpoch(t.Context(), next, lake.Mark{Floor: 4})
	check(t, err)
	run, err := r.Run(t.Context(), OnSchedule, false)
	if err == nil || !strings.Contains(err.Error(), "epoch 2 of stream pay") || run.Status != "failed" || r.told() != "[]" {
		t.Errorf("got %v, %s", err, text(run))
	}
	r.cfg.Streams[0].Epoch = next.Epoch // after a restart it is ours
	if run := r.must(OnSchedule, false); run.Rows != 4 || run.Through.String() != "pay/1/0:4,pay/2/0:4" {
		t.Errorf("after the restart: %s", text(run))
	}
}

func TestOnlyRunsThatAreInAHurryLandFirst(t *testing.T) {
	var r *rig
	landed := 0
	r = newRig(t, lake.NewMemoryBucket(), func(c *Config) {
		c.Land = func(context.Context) error { landed++; r.land(2); return nil }
	})
	for trigger, want := range map[string]int64{OnDemand: 2, OnPressure: 2, OnSchedule: 0, AtStart: 0} {
		before := landed
		if run := r.must(trigger, false); run.Rows != want || int64(landed-before)*2 != want {
			t.Errorf("%s: %d landings, run %s", trigger, landed-before, text(run))
		}
	}
}

func TestAFailedRunIsRecordedAndTheNextMakesUpForIt(t *testing.T) {
	away := errors.New("the log is away")
	var landing error
	r := newRig(t, lake.NewMemoryBucket(), func(c *Config) { c.Land = func(context.Context) error { return landing } })
	r.land(4)
	landing = away
	run, err := r.Run(t.Context(), OnDemand, false)
	if !errors.Is(err, away) || run.Status != "failed" || !strings.HasPrefix(run.Error, "land before the run: the log is away") || run.ID != 1 {
		t.Errorf("a landing that failed: %v, %s", err, text(run))
	}
	landing = nil
	r.bucket.Inject(func(op lake.Op) lake.Fault {
		if strings.HasPrefix(op.Key, "pay/") {
			return lake.Fail
		}
		return lake.NoFault
	})
	run, err = r.Run(t.Context(), OnSchedule, false)
	if err == nil || run.Status != "failed" || !strings.Contains(run.Error, "snapshot of pay") || run.ID != 2 {
		t.Errorf("a lake that failed: %v, %s", err, text(run))
	}
	if got := r.told(); got != "[]" || r.total() != "0 <nil>" {
		t.Errorf("failed runs told %s and made the total %s", got, r.total())
	}
	r.bucket.Inject(nil)
	if run := r.must(OnSchedule, false); run.Rows != 4 || run.ID != 3 {
		t.Errorf("the retry is %s", text(run))
	}
	var statuses []string
	runs, err := r.Runs(t.Context())
	check(t, err)
	for _, run := range runs {
		statuses = append(statuses, fmt.Sprint(run.ID, " ", run.Status))
	}
	if got := strings.Join(statuses, ", "); got != "3 succeeded, 2 failed, 1 failed" {
		t.Errorf("history is %s", got)
	}
}

func TestRunsTakeTurns(t *testing.T) {
	var r *rig
	var active, overlapping atomic.Int32
	r = newRig(t, lake.NewMemoryBucket(), func(c *Config) {
		c.Land = func(context.Context) error {
			if active.Add(1) > 1 {
				overlapping.Add(1)
			}
			r.land(1) // takes its time: files, and a commit
			active.Add(-1)
			return nil
		}
	})
	var running sync.WaitGroup
	for range 6 {
		running.Go(func() {
			if _, err := r.Run(t.Context(), OnDemand, false); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if n := overlapping.Load(); n > 0 {
		t.Errorf("%d runs began while another was under way", n)
	}
	runs, err := r.Runs(t.Context())
	check(t, err)
	for i, run := range runs {
		if run.ID != int64(6-i) || run.Rows != 1 {
			t.Errorf("run %d is %s", i, text(run))
		}
	}
	if got := r.total(); len(runs) != 6 || got != "6 21" {
		t.Errorf("%d runs, total %s", len(runs), got)
	}
}

func TestHistorySurvivesReopeningNewestFirst(t *testing.T) {
	bucket := lake.NewMemoryBucket()
	var want []string
	var id int64
	for round := range 3 {
		t.Run(fmt.Sprint("opening ", round), func(t *testing.T) {
			fail := errors.New("it's \"quoted\"\nand ends, with a comma,")
			r := newRig(t, bucket, func(c *Config) { c.Land = func(context.Context) error { return fail } })
			if got := r.history(); !slices.Equal(got, want) {
				t.Fatalf("reopened\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			add := func(run Run) {
				t.Helper()
				if id++; run.ID != id {
					t.Errorf("run %d has number %d", id, run.ID)
				}
				want = append([]string{text(run)}, want...)
			}
			r.land(3)
			add(r.must(AtStart, false))
			add(r.must(OnSchedule, true))
			failed, err := r.Run(t.Context(), OnDemand, false)
			if !errors.Is(err, fail) {
				t.Fatal(err)
			}
			add(failed)
			if got := r.history(); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			latest, err := r.cfg.History.Latest(t.Context(), 2)
			if err != nil || len(latest) != 2 || latest[0].ID != id || latest[1].ID != id-1 {
				t.Errorf("the latest two are %v, %v", latest, err)
			}
		})
	}
}

func TestARunStandsWhenItCannotBeRecorded(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), nil)
	r.land(4)
	r.bucket.Inject(func(op lake.Op) lake.Fault {
		if strings.HasPrefix(op.Key, HistoryTable+"/") {
			return lake.Fail
		}
		return lake.NoFault
	})
	if run := r.must(OnDemand, false); run.Rows != 4 || run.Status != "succeeded" || run.ID != 0 {
		t.Errorf("got %s", text(run))
	}
	r.bucket.Inject(nil)
	if got := r.total(); got != "4 10" {
		t.Errorf("total is %s", got)
	}
	if run := r.must(OnDemand, false); run.ID != 1 {
		t.Errorf("the next run is %s", text(run))
	}
}

// TestARecordThatWasGivenUpDoesNotBlockTheNext gives up waiting for a record while
// the store is away: it lands later, and the numbers go on after it.
func TestARecordThatWasGivenUpDoesNotBlockTheNext(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), nil)
	ctx, giveUp := context.WithCancel(t.Context())
	r.bucket.Inject(func(op lake.Op) lake.Fault {
		if strings.HasPrefix(op.Key, HistoryTable+"/") && op.Method == "PutIfAbsent" {
			giveUp()
			return lake.Fail
		}
		return lake.NoFault
	})
	if _, err := r.Run(ctx, OnDemand, false); err != nil {
		t.Fatal(err)
	}
	r.bucket.Inject(nil)
	check(t, r.cfg.History.lander.Wait(t.Context(), HistorySource, 1))
	if run := r.must(OnDemand, false); run.ID != 2 || len(r.history()) != 2 {
		t.Errorf("got %s among %d", text(run), len(r.history()))
	}
}

func TestWithoutAHistoryRunsAreNotListed(t *testing.T) {
	r := newRig(t, lake.NewMemoryBucket(), func(c *Config) { c.History, c.Loaded, c.Now = nil, nil, nil })
	r.land(2)
	if run := r.must(OnDemand, false); run.Rows != 2 || run.ID != 0 || time.Since(run.Started) > time.Hour {
		t.Errorf("got %s", text(run))
	}
	if _, err := r.Runs(t.Context()); err == nil || !strings.Contains(err.Error(), "no history") {
		t.Errorf("got %v", err)
	}
}
