package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// openVersions opens the history of views, and decides which versions the node
// starts with: those that answered last, as long as they can be planned from their
// recorded text and the warehouse has their partial rows. settleViews then brings
// them to what the files say, beside answers.
func (n *node) openVersions(ctx, run context.Context) error {
	table, err := n.lake.Table(ctx, batch.VersionsSchema())
	if err != nil {
		return err
	}
	if _, err := table.OpenEpoch(ctx, batch.VersionsSource, lake.Mark{}); err != nil {
		return err
	}
	if n.versionsOf, err = n.newLander(ctx, table, nil); err != nil {
		return err
	}
	n.versionsOf.start(run, n)
	n.versions = batch.NewVersions(table, n.versionsOf.Lander)
	all, err := n.versions.All(ctx)
	if err != nil {
		return err
	}
	return n.chooseViews(ctx, lastVersions(all))
}

// lastVersions gives the version of each view that answered last.
func lastVersions(all []batch.Version) map[string]batch.Version {
	last := map[string]batch.Version{}
	for _, v := range all {
		last[v.View] = v
		if v.Change == batch.DropView {
			delete(last, v.View)
		}
	}
	return last
}

// runningViews gives them as they are compared with a project.
func runningViews(last map[string]batch.Version) []runningView {
	var out []runningView
	for _, v := range last {
		out = append(out, runningView{v.View, v.Stream, v.Version, v.SQL})
	}
	return out
}

func (n *node) chooseViews(ctx context.Context, last map[string]batch.Version) error {
	marks, err := n.marksBefore(ctx)
	if err != nil {
		return err
	}
	var planner *view.Planner
	defer func() {
		if planner != nil {
			planner.Close()
		}
	}()
	changes := map[string]viewChange{}
	for _, c := range changesOf(runningViews(last), n.project, cost{rate: usualRate}) {
		changes[c.View] = c
	}
	for _, v := range n.project.Views {
		c := changes[v.Name]
		if c.Change == batch.RebuildView {
			if planner == nil {
				if planner, err = view.NewPlanner(ctx); err != nil {
					return err
				}
			}
			was := last[v.Name]
			// What cannot be planned any more, as after a change of the engine, has no
			// partial rows to answer from either: the new version is filled at once.
			old, err := n.project.PlanView(ctx, planner, was.View, was.File, was.SQL)
			if err == nil && old.Version == was.Version && (old.Direct || len(marks[warehouse.ViewObject(old)]) > 0) {
				n.initial = append(n.initial, old)
				n.redefinition.pending = true
				continue
			}
		}
		n.initial = append(n.initial, v.Plan)
		if c.Change != unchanged {
			n.redefinition.unrecorded = append(n.redefinition.unrecorded, versionOf(v.Plan, v.File, c.Change))
		}
	}
	for name, c := range changes {
		if c.Change == batch.DropView {
			n.redefinition.unrecorded = append(n.redefinition.unrecorded, batch.Version{View: name, Stream: c.Stream, Version: c.Version, Change: c.Change, Applied: time.Now().UTC()})
		}
	}
	return nil
}

// marksBefore gives S of what the warehouse has. A damaged one has nothing:
// verifyWarehouse makes it anew.
func (n *node) marksBefore(ctx context.Context) (map[string]event.Cut, error) {
	tx, err := n.warehouse.Begin(ctx)
	if warehouse.Damaged(err) && ctx.Err() == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer tx.Close()
	return tx.Marks(), nil
}

func versionOf(p *view.Plan, file, change string) batch.Version {
	return batch.Version{View: p.Name, Stream: p.Stream, Version: p.Version, File: file, SQL: p.SQL, Change: change, Applied: time.Now().UTC(), Cut: event.Cut{}}
}

// settleViews records the versions that the node has started with, and redefines
// those that were to answer until the new ones are built.
func (n *node) settleViews(ctx context.Context) {
	r := &n.redefinition
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := n.versions.Append(ctx, r.unrecorded); err != nil && ctx.Err() == nil {
		n.parts.logger.Warn("the versions of views are not recorded: after a change of their files they will not answer until the new ones are built", "error", err)
	}
	if !r.pending || ctx.Err() != nil {
		return
	}
	n.parts.logger.Info("views were redefined: the old versions answer until the new are built")
	if _, err := n.redefine(ctx, n.project); err != nil && ctx.Err() == nil {
		n.parts.logger.Error("redefine views: the old versions go on answering; `tailwater apply` tries again", "error", err)
	}
}

// History lists the versions that a view has had.
func (n *node) History(ctx context.Context, name string) (any, error) {
	all, err := n.versions.All(ctx)
	if err != nil {
		return nil, err
	}
	who, own := access.From(ctx), []batch.Version{}
	for _, v := range all {
		if v.View != name || !who.Sees(name) {
			continue
		}
		if !who.Sees(v.Stream) {
			v.SQL, v.Cut = "", event.Cut{} // they tell of what the key may not see
		}
		own = append(own, v)
	}
	if len(own) == 0 {
		return nil, fmt.Errorf("%w: view %q has no history", serving.ErrNotFound, name)
	}
	return map[string]any{"versions": own}, nil
}

// reload reads the project's files again, and tells what they do to the streams. What
// is wrong with them comes back as problems, and so does what cannot be done.
func (n *node) reload(ctx context.Context) (*project.Project, []streamChange, project.Problems, error) {
	p, err := checkProject(ctx, n.project.Dir)
	var problems project.Problems
	if errors.As(err, &problems) {
		return nil, []streamChange{}, problems, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	changes, problems := streamChangesOf(schemas(n.project), p)
	return p, changes, slices.Concat(problems, n.needRestart(changes), referencesChanged(n.project, p)), nil
}
