package serving

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/internal/openapitest"
)

func TestEveryRouteIsDescribedAndTheReverse(t *testing.T) {
	s := &server{cfg: Config{}}
	registered := []string{"GET /metrics"}
	for _, r := range s.routes() {
		registered = append(registered, r.pattern)
	}
	for _, o := range operations {
		if o.elsewhere == slices.Contains(registered, o.pattern) {
			t.Errorf("%s is described, and registered: %t", o.pattern, !o.elsewhere)
		}
	}
	for _, pattern := range registered {
		if !slices.ContainsFunc(operations, func(o operation) bool { return o.pattern == pattern }) {
			t.Errorf("%s is not described", pattern)
		}
	}
}

func TestEveryParameterThatIsTakenIsDescribed(t *testing.T) {
	for pattern, taken := range map[string][]string{"GET /v1/views/{view}": viewParameters, "POST /v1/sql": sqlParameters, "GET /v1/queries/{query}": sqlParameters, "GET /v1/sql": append([]string{"sql", "p."}, sqlParameters...)} {
		for _, name := range taken {
			if !slices.ContainsFunc(operationOf(pattern).parameters, func(p parameter) bool {
				return p.name == name || strings.HasSuffix(name, ".") && strings.HasPrefix(p.name, name)
			}) {
				t.Errorf("%s takes %s and does not say so", pattern, name)
			}
		}
	}
}

// operated is a rig whose operations answer as the program's do.
type operated struct{ *rig }

func (operated) Status(context.Context) (any, error) { return map[string]any{"ready": true}, nil }
func (operated) RunBatch(context.Context, bool) (any, error) {
	return map[string]any{"id": 1, "trigger": "demand", "rebuild": false, "started": "", "finished": "", "status": "succeeded", "rows": 1, "views": []string{"total"}, "through": map[string]int{"pay/1/0": 1}}, nil
}
func (o operated) Runs(ctx context.Context) (any, error) {
	run, err := o.RunBatch(ctx, false)
	return map[string]any{"runs": []any{run}}, err
}

func (operated) Apply(_ context.Context, dryRun bool) (any, error) {
	return map[string]any{"dry_run": dryRun, "cut": map[string]int{"pay/1/0": 1}, "problems": []any{map[string]any{"file": "views/x.sql", "line": 1, "column": 2, "message": "wrong"}},
		"streams": []any{map[string]any{"stream": "pay", "change": "columns", "file": "streams/pay.sql", "added": []any{map[string]any{"name": "x", "type": "VARCHAR"}}}},
		"changes": []any{map[string]any{"view": "total", "change": "rebuild", "stream": "pay", "file": "views/total.sql", "version": "2", "was": "1", "events": 10, "seconds": 0.5}}}, nil
}
func (operated) Applying(context.Context) (any, error) {
	return map[string]any{"applying": true, "phase": "building", "done": 1, "total": 2}, nil
}
func (operated) History(_ context.Context, view string) (any, error) {
	if view != "hourly" {
		return nil, notFound("view", view, []string{"hourly"})
	}
	return map[string]any{"versions": []any{map[string]any{"number": 1, "view": view, "stream": "pay", "version": "1", "file": "views/hourly.sql", "sql": "SELECT", "change": "rebuild", "applied": "",
		"cut": map[string]int{"pay/1/0": 1}, "difference": map[string]any{"rows": 1, "added": 1, "removed": 0, "changed": 0, "examples": []any{}}}}}, nil
}

func TestTheServerAnswersAsItsOpenAPIDocumentSays(t *testing.T) {
	r := newRig(t)
	r.send(100)
	queries, problems, err := BindQueries(t.Context(), payProject(r, payQuery))
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	registry := prometheus.NewRegistry()
	server := httptest.NewServer(NewHandler(operated{r}, Config{Queries: queries, Metrics: registry, Register: registry}))
	defer server.Close()
	e := openapitest.Exerciser{Base: server.URL, Client: server.Client(), Examples: openapitest.Examples{
		Names: map[string]string{"view": "hourly", "stream": "pay", "query": "of_key", "key": "grafana"},
		Values: map[string]string{"after": "pay/1/0/7", "at": "pay/1/0:50", "isnull": "k", "notnull": "k", "of": "c", "per": "k", "order": "k",
			"where.k": "a", "where.k.gte": "a", "where.window_start": "1970-01-01", "p1": "1", "p.NAME": "1", "until": "2024-01-01"},
		Bodies: map[string]string{"/v1/queries/{query}": `{"k": "a"}`, "/v1/queries/of_key": `{"k": "a", "least": 3}`},
	}}
	wrong, err := e.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		// Events and sessions are others' to answer, who are not here.
		if !strings.Contains(w, "/events") && !strings.Contains(w, "/v1/session") {
			t.Error(w)
		}
	}
	t.Logf("%d requests, %d with success", e.Requests, e.Successes)
	if e.Successes < 60 {
		t.Error("those are few")
	}
}

func TestTheDocumentNamesViewsQueriesAndStreams(t *testing.T) {
	r := newRig(t)
	queries, _, err := BindQueries(t.Context(), payProject(r, payQuery))
	must(t, err)
	s := siteOver(r, Config{Queries: queries})
	_, body := s.get("/openapi.json")
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	must(t, json.Unmarshal([]byte(body), &document))
	if document.OpenAPI != "3.1.0" {
		t.Error(document.OpenAPI)
	}
	for path, says := range map[string]string{
		"/v1/views/hourly": `"name":"where.k.gte"`, "/v1/views/total": `"HUGEINT"`, "/v1/queries/of_key": `"default":"-1000"`, "/v1/streams/pay/events": `"n"`,
	} {
		if text, err := json.Marshal(document.Paths[path]); err != nil || !strings.Contains(string(text), says) {
			t.Errorf("%s: %s", path, text)
		}
	}
}
