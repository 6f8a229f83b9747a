package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/view"
)

// A server takes new columns by making its node anew, as a restart does: what a node
// knows of a stream's columns never changes while it lives. Requests wait meanwhile:
//
//	questions are held, and those under way end
//	events are held, and those under way are answered: the log has them
//	the node ends, as in a crash; the lake gets the columns, a new node starts and
//	applies the log; the gates open
//
// The views stay as they are. They are redefined by the new node, beside answers.

// eventsHeld bounds how long events wait for the end of requests that were under way;
// clients wait for their answers no longer than a minute.
const eventsHeld = 10 * time.Second

// The gates of a server, by what passes: the rest is answered by whoever can.
type gates struct{ events, questions, live gate }

func (g *gates) of(r *http.Request) *gate {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	switch {
	case !ok || path == "apply":
		return nil
	case strings.HasPrefix(path, "streams/") && strings.HasSuffix(path, "/events"):
		return &g.events
	case strings.HasPrefix(path, "views/") && strings.HasSuffix(path, "/live"):
		return &g.live
	}
	return &g.questions
}

func (g *gates) open() {
	g.events.open()
	g.questions.open()
	g.live.open()
}

// serve passes a request through its gate to the node that is there then.
func (srv *server) serve(w http.ResponseWriter, r *http.Request) {
	if g := srv.gates.of(r); g != nil {
		if g.enter(r.Context()) != nil {
			return // the client has gone
		}
		defer g.leave()
	}
	(*srv.handler.Load()).ServeHTTP(w, r)
}

// hold waits until no request is under way, and holds all that come.
func (srv *server) hold(ctx context.Context) error {
	g := &srv.gates
	g.questions.shut()
	limited, cancel := context.WithTimeout(ctx, srv.settings.QueryTimeout+time.Second)
	defer cancel()
	if err := errors.Join(g.questions.emptied(limited), srv.postgres.suspend(limited)); err != nil {
		return fmt.Errorf("queries have not ended: %w; apply again", err)
	}
	g.events.shut()
	limited, cancel = context.WithTimeout(ctx, eventsHeld)
	defer cancel()
	if err := g.events.emptied(limited); err != nil {
		return fmt.Errorf("a request of events was still under way after %s: apply again", eventsHeld)
	}
	// From here on there is no way back: live views have been ended. Who does not take
	// the end of one is not waited for, as it holds nothing of the node.
	g.live.shut()
	srv.node.core.StopLive()
	_ = g.live.emptied(limited)
	return nil
}

// renew replaces the node by one of the project. After an error the old one goes on,
// unless it had ended: then the process ends too, and the next start finishes.
func (srv *server) renew(p *project.Project) (*node, error) {
	srv.changing.Lock()
	defer srv.changing.Unlock()
	ctx, old := context.Background(), srv.node
	if old.draining.Load() {
		return nil, errors.New("the server is stopping: its next start takes the columns")
	}
	queries, problems, err := serving.BindQueries(ctx, p)
	if err == nil && len(problems) > 0 {
		err = problems
	}
	if err != nil {
		return nil, err
	}
	if err := old.reachLake(ctx); err != nil {
		return nil, fmt.Errorf("the lake does not answer: %w", err)
	}
	began := time.Now()
	defer srv.gates.open()
	if err := srv.hold(ctx); err != nil {
		return nil, errors.Join(err, srv.openPostgres(ctx, old))
	}
	old.draining.Store(true)
	srv.starting("taking the new columns of streams")
	old.kill()
	n, err := startNode(ctx, p, srv.parts)
	if err == nil {
		srv.node = n
		err = n.awaitReady()
	}
	if err == nil {
		handler := n.handler(srv.settings, queries, srv.auditor(), srv.parts.logger, srv.postgres.metrics()...)
		err = srv.openPostgres(ctx, n)
		srv.handle(handler)
	}
	if err != nil {
		err = fmt.Errorf("take new columns: %w", err)
		select {
		case srv.parts.failed <- err:
		default: // the first one is enough
		}
		return nil, err
	}
	n.parts.logger.Info("new columns are taken", "requests_held", time.Since(began).Round(time.Millisecond))
	return n, nil
}

// reachLake proves that a new node could open its tables.
func (n *node) reachLake(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	for _, pl := range n.pipelines {
		if _, err := pl.events.table.Snapshot(limited); err != nil {
			return err
		}
	}
	return nil
}

// openPostgres lets Postgres clients in, to the node.
func (srv *server) openPostgres(ctx context.Context, n *node) error {
	if srv.postgres == nil {
		return nil
	}
	return srv.postgres.open(ctx, n, srv.settings, srv.auditor())
}

// awaitReady waits until answers are given.
func (n *node) awaitReady() error {
	select {
	case <-n.readied:
		return nil
	case <-n.run.Done():
		return context.Cause(n.run)
	}
}

// takeColumns has the server take new columns, and then redefines the views.
func (n *node) takeColumns(ctx context.Context, p *project.Project, streams []streamChange) (any, error) {
	same, err := n.withStreams(ctx, p.Streams)
	if err != nil {
		return nil, fmt.Errorf("plan the views over the new columns: %w", err)
	}
	if !n.redefinition.mu.TryLock() {
		return nil, fmt.Errorf("%w: views are being redefined already; `tailwater apply` again when that is done", serving.ErrConflict)
	}
	type end struct {
		did applied
		err error
	}
	ended := make(chan end, 1)
	go func() { // of no node: it sees one end
		next, err := n.parts.renew(same)
		if err != nil {
			n.redefinition.mu.Unlock()
			ended <- end{err: err}
			return
		}
		next.redefinition.mu.Lock()
		defer next.redefinition.mu.Unlock()
		did, err := next.redefine(next.run, p)
		if err != nil {
			err = fmt.Errorf("the new columns are taken; redefine views: %w", err)
		}
		did.Streams = streams
		ended <- end{did, err}
	}()
	select {
	case e := <-ended:
		if e.err != nil {
			return nil, &serving.Refusal{Code: "apply", Message: e.err.Error(), Hint: "the old versions of views go on answering; `tailwater apply` tries again"}
		}
		return e.did, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// withStreams gives the running project, its views as they answer now, over streams
// with more columns.
func (n *node) withStreams(ctx context.Context, streams []*project.Stream) (*project.Project, error) {
	planner, err := view.NewPlanner(ctx)
	if err != nil {
		return nil, err
	}
	defer planner.Close()
	p := *n.project
	p.Streams, p.Views = streams, nil
	files := map[string]string{}
	for _, v := range n.project.Views {
		files[v.Name] = v.File
	}
	for _, running := range n.plans() {
		file := firstOf(files[running.Name], project.ViewsDir+"/"+running.Name+".sql")
		plan, err := p.PlanView(ctx, planner, running.Name, file, running.SQL)
		if err != nil {
			return nil, err
		}
		p.Views = append(p.Views, &project.View{Plan: plan, File: file})
	}
	return &p, nil
}
