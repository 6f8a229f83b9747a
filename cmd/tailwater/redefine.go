package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// A redefinition brings the views of a running node to what the project's files say.
//
//	Build     the warehouse counts the new versions through L, in steps
//	Add       from the cut X on, the speed layer counts them too
//	Run       lands what was accepted, and S of every version passes X
//	Append    the history has the new versions: after a crash they are the ones
//	Redefine  they answer, from one publication to the next, at one cut
//
// Until Append the old versions answer, after a crash as well, and whatever fails
// leaves them. A crash behind it finds new versions in the history that nobody has
// had an answer from.
type redefinition struct {
	mu         sync.Mutex // held by the one that is under way
	at         atomic.Pointer[applying]
	pending    bool            // the node has started with versions that are to be replaced
	unrecorded []batch.Version // that it has started with
}

// applying tells how far a redefinition is.
type applying struct {
	Applying bool   `json:"applying"`
	Phase    string `json:"phase"`
	Done     int64  `json:"done"`  // events read
	Total    int64  `json:"total"` // of so many
	Error    string `json:"error,omitempty"`
}

// applied is what a redefinition did, or would do.
type applied struct {
	DryRun   bool             `json:"dry_run"`
	Streams  []streamChange   `json:"streams"` // those that change
	Changes  []viewChange     `json:"changes"`
	Cut      event.Cut        `json:"cut"`      // of the swap
	Problems project.Problems `json:"problems"` // why nothing can be done
}

// Apply implements serving.Operations. What was begun is brought to its end even if
// the client leaves.
func (n *node) Apply(ctx context.Context, dryRun bool) (any, error) {
	if err := n.Ready(); err != nil {
		return nil, err
	}
	p, streams, problems, err := n.reload(ctx)
	if err != nil {
		return nil, err
	}
	if dryRun {
		out := applied{DryRun: true, Streams: streams, Changes: []viewChange{}, Cut: n.speed.State().Applied(), Problems: append(project.Problems{}, problems...)}
		if p != nil {
			out.Changes, err = n.changes(ctx, p)
		}
		return out, err
	}
	if len(problems) > 0 {
		return nil, &serving.Refusal{Code: "project", Message: problems.Error(), Hint: "nothing has changed; `tailwater plan` shows what would"}
	}
	if len(streams) > 0 {
		return n.takeColumns(ctx, p, streams)
	}
	if !n.redefinition.mu.TryLock() {
		return nil, fmt.Errorf("%w: views are being redefined already; `tailwater apply` again when that is done", serving.ErrConflict)
	}
	type end struct {
		did applied
		err error
	}
	ended := make(chan end, 1)
	n.running.Go(func() {
		defer n.redefinition.mu.Unlock()
		did, err := n.redefine(n.run, p)
		if err != nil && n.run.Err() == nil {
			n.parts.logger.Error("redefine views: the old versions go on answering", "error", err)
		}
		ended <- end{did, err}
	})
	select {
	case e := <-ended:
		if e.err != nil {
			return nil, &serving.Refusal{Code: "apply", Message: e.err.Error(), Hint: "the old versions go on answering; `tailwater apply` tries again"}
		}
		return e.did, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Applying implements serving.Operations.
func (n *node) Applying(context.Context) (any, error) {
	if at := n.redefinition.at.Load(); at != nil {
		return *at, nil
	}
	return applying{Phase: "idle"}, nil
}

// say notes how far the redefinition is.
func (r *redefinition) say(at applying) { r.at.Store(&at) }

// changes compares what answers with a project.
func (n *node) changes(ctx context.Context, p *project.Project) ([]viewChange, error) {
	runs, err := n.batch.Runs(ctx)
	if err != nil {
		return nil, err
	}
	c := cost{events: map[string]int64{}, rate: rateOf(runs)}
	for name := range n.pipelines {
		c.events[name] = n.Landed(name).Rows()
	}
	var running []runningView
	for _, v := range n.plans() {
		running = append(running, runningView{v.Name, v.Stream, v.Version, v.SQL})
	}
	return changesOf(running, p, c), nil
}

// redefine does it; redefinition.mu is held.
func (n *node) redefine(ctx context.Context, p *project.Project) (did applied, err error) {
	r := &n.redefinition
	defer func() {
		last := applying{Phase: "done"}
		if err != nil {
			last = applying{Phase: "failed", Error: err.Error()}
		}
		r.say(last)
	}()
	changes, err := n.changes(ctx, p)
	if err != nil {
		return did, err
	}
	did = applied{Streams: []streamChange{}, Changes: changes, Cut: n.speed.State().Applied(), Problems: project.Problems{}}
	if !changed(changes) {
		return did, nil
	}
	s := swap{node: n, old: n.speed.State().Definitions.Plans}
	for i, c := range changes {
		if c.Change == batch.DropView {
			s.records = append(s.records, batch.Version{View: c.View, Stream: c.Stream, Version: c.Version, Change: c.Change, Cut: event.Cut{}})
			continue
		}
		v := p.Views[slices.IndexFunc(p.Views, func(v *project.View) bool { return v.Name == c.View })]
		plan := v.Plan
		switch c.Change {
		case unchanged:
			plan = s.old[c.View]
		case batch.NewView, batch.RebuildView:
			if !plan.Direct {
				s.build = append(s.build, plan)
			}
		}
		if c.Change != unchanged {
			s.records = append(s.records, versionOf(plan, v.File, c.Change))
			s.changes = append(s.changes, &changes[i])
		}
		s.plans = append(s.plans, plan)
	}
	did.Cut, err = s.do(ctx)
	return did, err
}

// A swap is one redefinition's way.
type swap struct {
	node    *node
	old     map[string]*view.Plan
	plans   []*view.Plan // all, as they are to be
	build   []*view.Plan // those of them that the warehouse has not
	records []batch.Version
	changes []*viewChange // told the differences

	before *speed.State   // of the moment, with both definitions
	tx     *warehouse.Txn // likewise
}

func (s *swap) do(ctx context.Context) (cut event.Cut, err error) {
	n := s.node
	defer func() {
		if err == nil {
			return
		}
		for _, p := range s.build {
			n.speed.Discard(p)
		}
		n.batch.Define(n.plans()) // the next run drops what was built
	}()
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	n.redefinition.say(applying{Applying: true, Phase: "swapping"})
	for attempt := 0; ; attempt++ {
		if len(s.build) > 0 {
			if _, err := n.batch.Run(ctx, batch.OnDemand, false); err != nil {
				return nil, fmt.Errorf("batch run: %w", err)
			}
		}
		err := n.batch.Redefine(s.plans, func() error { return s.take(ctx) })
		if err == nil {
			break
		}
		if !errors.Is(err, errHole) || attempt == closingsMax {
			return nil, err
		}
	}
	defer s.tx.Close()
	cut = s.before.Applied()
	n.parts.logger.Info("views were redefined", "views", len(s.changes), "cut", cut.String())
	n.redefinition.say(applying{Applying: true, Phase: "comparing"})
	s.compare(ctx, cut)
	return cut, nil
}

// closingsMax is how often a batch run may close a hole that a failed micro-batch
// left, before the redefinition fails.
const closingsMax = 3

var errHole = errors.New("the layers do not cover everything of a new version")

// prepare has both layers count the new versions.
func (s *swap) prepare(ctx context.Context) error {
	n := s.node
	if len(s.build) == 0 {
		return nil
	}
	var said time.Time
	err := n.batch.Build(ctx, s.build, func(done, total int64) {
		n.redefinition.say(applying{Applying: true, Phase: "building", Done: done, Total: total})
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			n.parts.logger.Info("building new versions of views", "events", done, "of", total)
		}
	})
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	for _, p := range s.build {
		if _, err := n.speed.Add(ctx, p); err != nil {
			return err
		}
	}
	both := slices.AppendSeq(slices.Clone(s.build), maps.Values(s.old))
	n.batch.Define(both)
	return nil
}

// take lets the new versions answer. No batch run is under way.
func (s *swap) take(ctx context.Context) error {
	n := s.node
	tx, err := n.warehouse.Begin(ctx)
	if err != nil {
		return err
	}
	if err := s.taken(ctx, tx); err != nil {
		tx.Close()
		return err
	}
	s.tx = tx
	return nil
}

func (s *swap) taken(ctx context.Context, tx *warehouse.Txn) (err error) {
	n := s.node
	for _, p := range s.plans { // what has landed may not be applied yet
		for src, through := range tx.Marks()[warehouse.ViewObject(p)] {
			if _, err := n.speed.Wait(ctx, event.Position{Source: src, Seq: through}); err != nil {
				return err
			}
		}
	}
	for _, p := range s.build {
		if !complete(n.speed.State(), p, tx.Marks()[warehouse.ViewObject(p)]) {
			return fmt.Errorf("%w: view %s", errHole, p.Name)
		}
	}
	for i := range s.records {
		s.records[i].Applied = time.Now().UTC()
	}
	limited, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	// The commit point: after a crash the new versions are those that answer.
	if s.records, err = n.versions.Append(limited, s.records); err != nil {
		return err
	}
	s.before, _, err = n.speed.Redefine(s.plans)
	return err
}

// recordTime bounds how long a swap waits for the lake, while no batch runs.
const recordTime = 30 * time.Second

// compare tells the changes, and the history, what became of the rows. The views
// answer already: what fails here is missing, and nothing else.
func (s *swap) compare(ctx context.Context, cut event.Cut) {
	n := s.node
	var compared []batch.Version
	for _, c := range s.changes {
		i := slices.IndexFunc(s.records, func(v batch.Version) bool { return v.View == c.View })
		next := s.plans[slices.IndexFunc(s.plans, func(p *view.Plan) bool { return p.Name == c.View })]
		d, err := n.core.Redefinition(ctx, s.before, s.tx, s.old[c.View], next)
		if err != nil {
			n.parts.logger.Warn("the old and the new answer of a view could not be compared", "view", c.View, "error", err)
			continue
		}
		c.Difference = &batch.Difference{Rows: d.Rows, Added: d.Added, Removed: d.Removed, Changed: d.Changed, Examples: d.Examples}
		version := s.records[i]
		version.Difference, version.Cut = c.Difference, event.Cut{}
		for src, through := range cut {
			if src.Stream == c.Stream {
				version.Cut[src] = through
			}
		}
		compared = append(compared, version)
	}
	limited, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if err := n.versions.Compared(limited, compared); err != nil && ctx.Err() == nil {
		n.parts.logger.Warn("what became of redefined views is not recorded", "error", err)
	}
}
