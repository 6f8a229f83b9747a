package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// healthServer answers one path with a status, and all others with 404.
func healthServer(t *testing.T, path string, status int, body string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestHealthcheckHasAnExampleInItsHelp(t *testing.T) {
	code, out, _ := runCLI(t, "", "healthcheck", "--help")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	mustContain(t, "help", out, "\n    tailwater healthcheck\n", "--live", "--url", "--timeout", "--json")
}

func TestHealthcheckSucceedsOnlyOn200(t *testing.T) {
	const notReady = `{"code":"not_ready","detail":"not ready: applying the log","hint":"watch /readyz"}`
	for name, c := range map[string]struct {
		path, flags string
		status      int
		body        string
		code        int
		stderr      string
	}{
		"ready":              {"/readyz", "", 200, `{"ready":true}`, 0, ""},
		"alive":              {"/healthz", "--live", 200, `{"alive":true}`, 0, ""},
		"starting":           {"/readyz", "", 503, notReady, exitFailure, "/readyz answered 503: not ready: applying the log"},
		"alive, not ready":   {"/healthz", "", 200, `{"status":"starting"}`, exitFailure, "/readyz answered 404"},
		"not this server":    {"/healthz", "--live", 204, "", exitFailure, "only 200"},
		"an error of a kind": {"/healthz", "--live", 500, "out of luck", exitFailure, "out of luck"},
	} {
		t.Run(name, func(t *testing.T) {
			url := healthServer(t, c.path, c.status, c.body)
			code, out, stderr := runCLI(t, "", append([]string{"healthcheck", "--url", url}, strings.Fields(c.flags)...)...)
			if code != c.code || !strings.Contains(stderr, c.stderr) || (code == 0) != (stderr == "") {
				t.Errorf("%d, stderr %q", code, stderr)
			}
			if code == 0 != strings.Contains(out, "healthy: "+url+c.path) {
				t.Errorf("stdout %q", out)
			}
		})
	}
}

func TestHealthcheckGivesUpInTime(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	code, _, stderr := runCLI(t, "", "healthcheck", "--timeout", "50ms", "--url", srv.URL)
	if code != exitFailure || !strings.Contains(stderr, "no answer from "+srv.URL+"/readyz within 50ms") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestHealthcheckSaysWhyThereIsNoAnswer(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	for url, want := range map[string]string{srv.URL: "tailwater serve", "localhost:8080": "--url"} {
		code, _, stderr := runCLI(t, "", "healthcheck", "--url", url)
		if code != exitFailure || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s", url, code, stderr)
		}
	}
	if code, _, stderr := runCLI(t, "", "healthcheck", "--timeout", "0s"); code != exitFailure || !strings.Contains(stderr, "--timeout") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestHealthcheckAnswersInJSON(t *testing.T) {
	for status, wantCode := range map[int]int{200: 0, 503: exitFailure} {
		url := healthServer(t, "/readyz", status, `{"code":"not_ready","detail":"soon"}`)
		code, out, stderr := runCLI(t, "", "healthcheck", "--json", "--url", url)
		var h health
		if err := json.Unmarshal([]byte(out), &h); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if code != wantCode || h.Healthy != (wantCode == 0) || h.Status != status || h.URL != url || h.Path != "/readyz" {
			t.Errorf("%d %+v", code, h)
		}
		if wantCode != 0 && (!strings.Contains(h.Reason, "soon") || !strings.Contains(stderr, "soon")) {
			t.Errorf("no reason: %+v, %s", h, stderr)
		}
	}
}
