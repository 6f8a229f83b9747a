package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// runCLI runs a command line and gives what it left.
func runCLI(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

func tempFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustContain(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %q:\n%s", what, p, text)
		}
	}
}

func TestEveryVerbHasAnExampleInItsHelp(t *testing.T) {
	code, out, _ := runCLI(t, "")
	if code != 0 {
		t.Errorf("no arguments: %d", code)
	}
	mustContain(t, "help", out, "init", "validate", "serve", "demo", "send", "sql", "view", "batch", "status", "key", "healthcheck", "version")
	for _, verb := range []string{"init", "validate", "serve", "demo", "send", "sql", "view", "batch", "status", "key", "healthcheck", "version"} {
		code, out, _ := runCLI(t, "", verb, "--help")
		if code != 0 || !strings.Contains(out, "\n    tailwater "+verb) {
			t.Errorf("%s: %d\n%s", verb, code, out)
		}
	}
}

func TestCommandLinesThatMakeNoSense(t *testing.T) {
	for args, want := range map[string]string{
		"snd x":                       "send",
		"send s":                      "FILE",
		"send s f --batch 0":          "--batch",
		"send s f --rate 1 --speed 2": "can't be used together",
		"view":                        "VIEW",
		"sql x --format xml":          "table",
		"serve --land-age soon":       "--land-age",
	} {
		code, _, err := runCLI(t, "", strings.Fields(args)...)
		if code != exitUsage || !strings.Contains(strings.ToLower(err), strings.ToLower(want)) {
			t.Errorf("%s: %d %s", args, code, err)
		}
	}
}

func TestNoServerSaysHowToStartOne(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	for _, args := range [][]string{{"status"}, {"sql", "SELECT 1"}, {"view", "v"}, {"batch", "list"}, {"send", "s", "-"}} {
		code, _, err := runCLI(t, "", append(args, "--url", srv.URL)...)
		if code != exitFailure || !strings.Contains(err, "tailwater serve") {
			t.Errorf("%v: %d %s", args, code, err)
		}
	}
}

// serveText answers every request with one text, and shows the last request.
func serveText(t *testing.T, headers map[string]string, body string) (url string, last func() string) {
	t.Helper()
	var mu sync.Mutex
	var seen string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen = strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Accept") + " " + string(sent))
		mu.Unlock()
		for k, v := range headers {
			w.Header().Set(k, v)
		}
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() string { mu.Lock(); defer mu.Unlock(); return seen }
}

const answerJSON = `{"meta":[{"name":"city","type":"VARCHAR"},{"name":"n","type":"BIGINT"}],"data":[{"city":"Köln\u001b[31m","n":12345678901234567},{"city":null,"n":5}],` +
	`"rows":2,"complete":true,"cut":{"s/1/0":7},"head":{"s/1/0":9},"watermark":{"s":"2001-01-01T00:00:00Z"},"statistics":{"elapsed_ms":1.5}}`

func TestSQLPrintsATable(t *testing.T) {
	url, last := serveText(t, nil, answerJSON)
	code, out, err := runCLI(t, "", "sql", "SELECT 1", "--url", url, "--after", "s/1/0/7")
	// The escape is shown, not sent to the terminal.
	mustContain(t, "table", out, `Köln\x1b[31m  12345678901234567`, "NULL                          5")
	mustContain(t, "facts", err, "2 rows · complete · cut s/1/0:7 · watermark s 2001-01-01T00:00:00Z · 1.5 ms")
	if code != 0 || last() != `POST /v1/sql?after=s%2F1%2F0%2F7 application/json {"sql":"SELECT 1"}` {
		t.Errorf("%d %s", code, last())
	}
}

func TestOtherFormatsAreTheServersBytes(t *testing.T) {
	url, last := serveText(t, map[string]string{"X-Tailwater-Complete": "true", "X-Tailwater-Rows": "1", "X-Tailwater-Cut": "s/1/0:7"}, "a,b\r\n1,\"x\"\r\n")
	code, out, err := runCLI(t, "SELECT 1", "sql", "-", "--url", url, "--format", "csv")
	if code != 0 || out != "a,b\r\n1,\"x\"\r\n" || !strings.Contains(last(), "text/csv") || !strings.Contains(err, "1 row · complete · cut s/1/0:7") {
		t.Errorf("%d %q %s %s", code, out, err, last())
	}
}

func TestAnIncompleteOrBrokenAnswerFails(t *testing.T) {
	url, _ := serveText(t, nil, strings.Replace(answerJSON, `"complete":true`, `"complete":false`, 1))
	code, _, err := runCLI(t, "", "view", "v", "--url", url)
	if code != exitFailure || !strings.Contains(err, "INCOMPLETE") {
		t.Errorf("incomplete: %d %s", code, err)
	}
	url, _ = serveText(t, map[string]string{"Content-Length": "1000"}, answerJSON[:100])
	for _, format := range []string{"table", "json"} {
		code, _, err = runCLI(t, "", "view", "v", "--url", url, "--format", format)
		if code != exitFailure || !strings.Contains(err, "broke off") {
			t.Errorf("broken %s: %d %s", format, code, err)
		}
	}
}

func TestViewPassesItsFilter(t *testing.T) {
	url, last := serveText(t, nil, answerJSON)
	code, _, err := runCLI(t, "", "view", "v", "--url", url, "--from", "2001-01-01", "--to", "2002-01-01", "--where", "a=x=y;z", "--where", "b=", "--order=-n,city", "--limit", "5")
	if code != 0 || last() != "GET /v1/views/v?from=2001-01-01&limit=5&order=-n%2Ccity&to=2002-01-01&where.a=x%3Dy%3Bz&where.b= application/json" {
		t.Errorf("%d %s %s", code, err, last())
	}
}

func TestCheckFailsUnlessTheDifferenceIsZero(t *testing.T) {
	url, last := serveText(t, nil, `{"view":"v","difference":0,"rows":3,"cut":{"s/1/0":7},"missing":[],"extra":[]}`)
	code, out, err := runCLI(t, "", "view", "v", "--check", "--url", url)
	if code != 0 || out != "difference: 0\n" || !strings.HasPrefix(last(), "GET /v1/views/v/check ") || !strings.Contains(err, "3 rows") {
		t.Errorf("%d %s %s", code, out, err)
	}
	if code, _, err := runCLI(t, "", "view", "v", "--check", "--at", "s/1/0:7", "--url", url); code != 0 || !strings.HasPrefix(last(), "GET /v1/views/v/check?at=s%2F1%2F0%3A7 ") {
		t.Errorf("%d %s %s", code, last(), err)
	}
	url, _ = serveText(t, nil, `{"view":"v","difference":2,"rows":3,"missing":[{"n":1}],"extra":[{"n":2}]}`)
	if code, _, err := runCLI(t, "", "view", "v", "--check", "--at", "s/1/0:7", "--url", url); code != exitFailure || !strings.Contains(err, "at s/1/0:7") {
		t.Errorf("%d %s", code, err)
	}
	code, out, err = runCLI(t, "", "view", "v", "--check", "--url", url)
	mustContain(t, "check", out, "difference: 2", `missing  {"n":1}`, `extra    {"n":2}`)
	if code != exitFailure || !strings.Contains(err, "--rebuild") {
		t.Errorf("%d %s", code, err)
	}
}

func TestBatchAndStatus(t *testing.T) {
	run := `{"id":"r1","started":"2001-01-01T00:00:00Z","finished":"","status":"ok","rows":12,"through":{"s/1/0":7},"error":""}`
	url, last := serveText(t, nil, run)
	code, out, err := runCLI(t, "", "batch", "run", "--rebuild", "--url", url)
	mustContain(t, "run", out, "r1", "ok", "12", "s/1/0 7")
	if code != 0 || last() != "POST /v1/batch/run?rebuild=true application/json" {
		t.Errorf("%d %s %s", code, err, last())
	}
	url, _ = serveText(t, nil, strings.Replace(run, `"error":""`, `"error":"disk full"`, 1))
	if code, _, err := runCLI(t, "", "batch", "run", "--url", url); code != exitFailure || !strings.Contains(err, "disk full") {
		t.Errorf("%d %s", code, err)
	}
	for _, list := range []string{"[" + run + "]", `{"runs":[` + run + "]}"} {
		url, _ = serveText(t, nil, list)
		if code, out, err := runCLI(t, "", "batch", "list", "--url", url); code != 0 || !strings.Contains(out, "r1") {
			t.Errorf("%d %s %s", code, out, err)
		}
	}
	url, _ = serveText(t, nil, `{"ready":true,"version":"1","streams":[{"stream":"s","head":9,"new":{"b":1,"a":null},"ledger":{"received":5,"accepted":4}}],"views":[{"view":"v","stream":"s","complete":true}],"batch":{}}`)
	code, out, err = runCLI(t, "", "status", "--url", url)
	mustContain(t, "status", out, "tailwater 1", "a -, b 1", "received  accepted", "true")
	if code != 0 {
		t.Error(err)
	}
	url, _ = serveText(t, nil, `{"ready":false,"reason":"applying the log"}`)
	if code, _, err := runCLI(t, "", "status", "--json", "--url", url); code != exitFailure || !strings.Contains(err, "applying the log") {
		t.Errorf("%d %s", code, err)
	}
}

func TestACancelledVerbEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fakeServer{info: `{}`, refuse: func(int) (int, string) {
		cancel()
		return 503, ""
	}}
	url := f.start(t)
	var out, err bytes.Buffer
	if code := Main(ctx, []string{"send", "s", "-", "--url", url}, strings.NewReader("{}\n"), &out, &err); code != exitFailure {
		t.Errorf("%d %s", code, err.String())
	}
}
