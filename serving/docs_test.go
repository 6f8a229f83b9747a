package serving

import (
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/view"
)

// TestTheExamplesOfTheDocumentationAreTaken asks what docs/http.md asks of the demo.
func TestTheExamplesOfTheDocumentationAreTaken(t *testing.T) {
	text, err := os.ReadFile("../docs/http.md")
	must(t, err)
	planner, err := view.NewPlanner(t.Context())
	must(t, err)
	defer planner.Close()
	demo, err := project.Load(t.Context(), "../demo", planner)
	must(t, err)
	queries, problems, err := BindQueries(t.Context(), demo)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	handler := NewHandler(&fakeQueries{}, Config{Queries: queries})
	examples := 0
	for _, line := range strings.Split(string(text), "\n") {
		address, ok := strings.CutPrefix(line, "    GET ")
		if !ok || strings.Contains(address, "orders") { // that is the README's project
			continue
		}
		examples++
		address = strings.ReplaceAll(address, " ", "%20")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", address, nil))
		if w.Code != 200 {
			t.Errorf("%s: %d %s", address, w.Code, w.Body)
		}
		at, err := url.Parse(address)
		must(t, err)
		name, isView := strings.CutPrefix(at.Path, "/v1/views/")
		if !isView {
			continue
		}
		i := slices.IndexFunc(demo.Views, func(v *project.View) bool { return v.Name == name })
		if i < 0 {
			t.Errorf("%s: the demo has no such view", address)
			continue
		}
		request, err := parseViewRequest(name, at.Query())
		must(t, err)
		if _, err := demo.Views[i].AnswerSQL("partials", request.Filter); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if examples < 7 {
		t.Errorf("%d examples", examples)
	}
}
