package serving

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/project"
)

// payProject is the project of the rig, with queries.
func payProject(r *rig, queries ...*project.Query) *project.Project {
	p := &project.Project{Streams: []*project.Stream{{Name: "pay", Schema: paySchema()}}, Queries: queries}
	for _, plan := range r.plans {
		p.Views = append(p.Views, &project.View{Plan: plan})
	}
	return p
}

var payQuery = &project.Query{Name: "of_key", File: "queries/of_key.sql", Description: "what a key has",
	SQL: "-- param: k VARCHAR\nSELECT k, count(*) AS c, sum(n) AS s\nFROM pay WHERE k = $k AND n >= $least AND ($until IS NULL OR ts < $until)\nGROUP BY k -- by key",
	Parameters: []project.QueryParameter{
		{Name: "k", Type: event.Type{Kind: event.Varchar}},
		{Name: "least", Type: event.Type{Kind: event.BigInt}, Optional: true, Default: "-1000"},
		{Name: "until", Type: event.Type{Kind: event.Timestamp}, Optional: true},
	}}

func TestQueriesOfTheProjectAreServed(t *testing.T) {
	r := newRig(t)
	queries, problems, err := BindQueries(t.Context(), payProject(r, payQuery))
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	s := siteOver(r, Config{Queries: queries})
	s.send(300)
	want := func(condition string) string {
		return strings.TrimSpace(s.ask("SELECT k, count(*), sum(n) FROM pay WHERE k = 'a' AND " + condition + " GROUP BY k"))
	}
	row := func(body string) string {
		return strings.NewReplacer(`{"k":"`, "", `","c":`, "|", `,"s":`, "|", "}\n", "").Replace(body)
	}
	for query, condition := range map[string]string{
		"k=a": "true", "k=a&least=10": "n >= 10", "k=a&until=1970-01-01T02:00:00Z": "ts < '1970-01-01 02:00:00'", "k=a&at=pay/1/0:50": "_seq <= 50",
	} {
		if got := row(s.lines("/v1/queries/of_key?" + query)); got != want(condition) {
			t.Errorf("%s: %q, want %q", query, got, want(condition))
		}
	}
	for body, condition := range map[string]string{
		`{"k": "a"}`: "true", `{"k": "a", "least": 10, "until": null}`: "n >= 10",
	} {
		request, err := http.NewRequest("POST", s.server.URL+"/v1/queries/of_key?timeout=5s", strings.NewReader(body))
		must(t, err)
		request.Header.Set("Accept", "application/x-ndjson")
		if response, got := s.do(request); response.StatusCode != 200 || row(got) != want(condition) {
			t.Errorf("%s: %d %s, want %q", body, response.StatusCode, got, want(condition))
		}
	}
	for query, says := range map[string]string{
		"": "k: is missing: it is VARCHAR", "k=a&least=1.5": `parameter least is BIGINT, and \"1.5\" is none`, "k=a&until=soon": "TIMESTAMP", "k=a&lest=1": "there is no parameter",
	} {
		response, body := s.get("/v1/queries/of_key?" + query)
		if response.StatusCode != 400 || !strings.Contains(body, says) {
			t.Errorf("%q: %d %s", query, response.StatusCode, body)
		}
	}
	if response, body := s.get("/v1/queries/of_kay?k=a"); response.StatusCode != 404 || !strings.Contains(body, "of_key") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	if _, body := s.get("/v1/queries"); !strings.Contains(body, `"parameters":[{"name":"k","type":"VARCHAR","required":true},{"name":"least","type":"BIGINT","required":false,"default":"-1000"}`) || !strings.Contains(body, `{"name":"s","type":"HUGEINT"`) {
		t.Error(body)
	}
}

func TestQueriesThatCannotRunAreProblemsOfTheirFiles(t *testing.T) {
	r := newRig(t)
	var queries []*project.Query
	want := map[string]string{
		"SELECT\n  nn FROM pay":              `:2:3: Referenced column "nn" not found`,
		"SELECT k FROM pay WHERE k = $other": "declare each parameter",
		"SELECT k FROM payments":             `:1:15: there is no table "payments"; the tables are`,
		"DELETE FROM pay":                    "only SELECT",
		"SELECT 1; SELECT 2":                 "exactly one statement",
		"SELECT read_text('/etc/passwd')":    "read_text is not available",
		"EXPLAIN SELECT 1":                   "one SELECT",
		"SELECT sum(k) FROM pay":             "sum(VARCHAR)",
	}
	for sql := range want {
		queries = append(queries, &project.Query{Name: "q", File: "queries/q.sql", SQL: sql})
	}
	queries[0].Parameters = nil
	for _, q := range queries {
		if strings.Contains(q.SQL, "$k") {
			q.Parameters = []project.QueryParameter{{Name: "k", Type: event.Type{Kind: event.Varchar}}}
		}
		bound, problems, err := BindQueries(t.Context(), payProject(r, q))
		if err != nil || len(bound) > 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), want[q.SQL]) {
			t.Errorf("%s: %v %v %v", q.SQL, bound, problems, err)
		}
	}
}

func TestAKeySeesTheQueriesOfItsTables(t *testing.T) {
	r := newRig(t)
	r.send(20)
	ofView := &project.Query{Name: "of_view", File: "queries/of_view.sql", SQL: "SELECT sum(c) AS c FROM hourly"}
	queries, problems, err := BindQueries(t.Context(), payProject(r, payQuery, ofView))
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	handler := NewHandler(r, Config{Queries: queries})
	ask := func(who *access.Principal, path, tag string) *httptest.ResponseRecorder {
		request := httptest.NewRequest("GET", path, nil)
		request.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request.WithContext(access.With(t.Context(), who)))
		return w
	}
	narrow := &access.Principal{Name: "narrow", Roles: []access.Role{access.Query}, Tables: []string{"hourly"}}
	wide := &access.Principal{Name: "wide", Roles: []access.Role{access.Query}}
	for _, path := range []string{"/v1/queries", "/openapi.json"} {
		if body := ask(narrow, path, "").Body.String(); !strings.Contains(body, "of_view") || strings.Contains(body, "of_key") || strings.Contains(body, "ranked") {
			t.Errorf("%s shows %s", path, body)
		}
		if body := ask(wide, path, "").Body.String(); !strings.Contains(body, "of_key") {
			t.Errorf("%s shows %s", path, body)
		}
	}
	if w := ask(narrow, "/v1/queries/of_key?k=a", ""); w.Code != 404 || strings.Contains(w.Body.String(), "there are of_key") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	first := ask(narrow, "/v1/queries/of_view", "")
	tag := first.Header().Get("ETag")
	if first.Code != 200 || tag == "" {
		t.Fatalf("%d %s %v", first.Code, first.Body, first.Header())
	}
	if w := ask(narrow, "/v1/queries/of_view", tag); w.Code != 304 {
		t.Errorf("the same again is %d", w.Code)
	}
	if w := ask(wide, "/v1/queries/of_view", tag); w.Code != 200 {
		t.Errorf("another's tag is %d", w.Code)
	}
}
