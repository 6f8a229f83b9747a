package serving

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/internal/access"
)

const adminSecret = "0123456789abcdefghijklmn"

// kept is an audit log in memory.
type kept struct {
	mu      sync.Mutex
	entries []AuditEntry
}

func (k *kept) Record(e AuditEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entries = append(k.entries, e)
}

// last gives the entry of the latest request; the server records it when the client
// may have its answer already.
func (k *kept) last(t *testing.T, n int) AuditEntry {
	t.Helper()
	waitFor(t, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return len(k.entries) >= n })
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.entries[n-1]
}

// guarded is a handler as the program builds it, with keys, and an ingest that takes
// everything.
type guarded struct {
	http.Handler
	keys    *access.Keys
	audit   *kept
	log     *bytes.Buffer
	secrets map[string]string
}

func newGuarded(t *testing.T, on bool) *guarded {
	t.Helper()
	g := &guarded{audit: &kept{}, log: &bytes.Buffer{}, secrets: map[string]string{"admin": adminSecret}}
	if on {
		var err error
		if g.keys, err = access.Open(t.Context(), access.Config{Admin: adminSecret}); err != nil {
			t.Fatal(err)
		}
		for _, role := range []access.Role{access.Ingest, access.Query, access.Operate} {
			g.create(t, access.Key{Name: string(role), Roles: []access.Role{role}})
		}
		g.create(t, access.Key{Name: "scoped", Roles: []access.Role{access.Query, access.Ingest}, Tables: []string{"plain"}})
	}
	log := slog.New(slog.NewTextHandler(g.log, nil))
	registry := prometheus.NewRegistry()
	guard := NewGuard(GuardConfig{Keys: g.keys, Audit: g.audit, Hosts: []string{"tail.example"}, Log: log})
	mux := http.NewServeMux()
	mux.Handle("/v1/streams/{stream}/events", guard.Ingest(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") })))
	mux.Handle("/", NewHandler(&fakeQueries{}, Config{Metrics: registry, Register: registry, Log: log, Keys: g.keys, Tables: func() []string { return []string{"payments", "plain", "daily"} }}))
	g.Handler = guard.Wrap(mux)
	return g
}

func (g *guarded) create(t *testing.T, k access.Key) {
	t.Helper()
	secret, _, err := g.keys.Create(t.Context(), "admin", k)
	if err != nil {
		t.Fatal(err)
	}
	g.secrets[k.Name] = secret
}

// ask sends a request; headers are names and values in turn.
func (g *guarded) ask(method, path, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:8080"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w.Result()
}

func (g *guarded) as(name string) []string {
	if name == "" {
		return nil
	}
	return []string{"Authorization", "Bearer " + g.secrets[name]}
}

// routes are all routes that the program has, and what a success of each needs.
var routes = []struct {
	method, path, body string
	roles              string // that are let in; "*" for everybody
}{
	{"GET", "/v1/views", "", "query"},
	{"GET", "/v1/views/daily", "", "query"},
	{"GET", "/v1/views/daily/live", "", "query"},
	{"GET", "/v1/views/daily/check", "", "query"},
	{"POST", "/v1/sql", `{"sql":"SELECT 1"}`, "query"},
	{"GET", "/v1/streams", "", "query ingest"},
	{"GET", "/v1/streams/payments", "", "query ingest"},
	{"POST", "/v1/streams/payments/events", "{}", "ingest"},
	{"GET", "/v1/status", "", "operate"},
	{"POST", "/v1/batch/run", "", "operate"},
	{"GET", "/v1/batch/runs", "", "operate"},
	{"GET", "/metrics", "", "operate"},
	{"GET", "/v1/keys", "", ""},
	{"POST", "/v1/keys", `{}`, ""},
	{"DELETE", "/v1/keys/nobody", "", ""},
	{"GET", "/v1/session", "", "ingest query operate"},
	{"GET", "/healthz", "", "*"},
	{"GET", "/readyz", "", "*"},
	{"GET", "/v1/nothing", "", "ingest query operate"}, // who has a key may be told that there is nothing
}

func TestEveryRouteAsksForItsRole(t *testing.T) {
	g := newGuarded(t, true)
	for _, r := range routes {
		for _, who := range []string{"", "ingest", "query", "operate", "admin"} {
			want := 0 // let in
			switch {
			case r.roles == "*" || who == "admin":
			case who == "":
				want = http.StatusUnauthorized
			case !slices.Contains(strings.Fields(r.roles), who):
				want = http.StatusForbidden
			}
			resp := g.ask(r.method, r.path, r.body, g.as(who)...)
			body, _ := io.ReadAll(resp.Body)
			got := resp.StatusCode
			if got != http.StatusUnauthorized && got != http.StatusForbidden {
				got = 0
			}
			if got != want {
				t.Errorf("%s %s as %q: %d %s, want %d", r.method, r.path, who, resp.StatusCode, body, want)
			}
			if want == http.StatusUnauthorized && len(resp.Header.Values("WWW-Authenticate")) != 2 {
				t.Errorf("%s %s: challenges %v", r.method, r.path, resp.Header.Values("WWW-Authenticate"))
			}
			if want == http.StatusForbidden && r.roles != "" && !strings.Contains(string(body), "role "+strings.Fields(r.roles)[0]) && !strings.Contains(string(body), "roles "+strings.Fields(r.roles)[0]) {
				t.Errorf("%s %s does not say which role is missing: %s", r.method, r.path, body)
			}
		}
	}
}

func TestEveryRouteHasARole(t *testing.T) {
	for _, pattern := range handledPatterns(t) {
		if _, known := routeRoles[pattern]; !known {
			t.Errorf("%s is in no line of routeRoles, so that only admins may ask it: say which role may", pattern)
		}
	}
}

var patternText = regexp.MustCompile(`"((?:GET|HEAD|POST|PUT|PATCH|DELETE) /[^" ]*)"`)

// handledPatterns reads the routes out of the sources: those of a mux cannot be
// listed.
func handledPatterns(t *testing.T) (patterns []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "http_auth.go" || strings.HasPrefix(file, "openapi") {
			continue // what describes routes registers none
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range patternText.FindAllStringSubmatch(string(text), -1) {
			patterns = append(patterns, m[1])
		}
	}
	if len(patterns) < 15 {
		t.Fatalf("only %v were found", patterns)
	}
	return patterns
}

func TestKeysAreTakenInEveryFormThatClientsHave(t *testing.T) {
	g := newGuarded(t, true)
	key := g.secrets["query"]
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	for form, want := range map[string]int{
		"Bearer " + key: 200, "bearer " + key: 200, "Bearer  " + key + " ": 200,
		basic("grafana", key): 200, basic("", key): 200, basic(key, ""): 200,
		key: 401, "Bearer": 401, "Bearer " + key[:20]: 401, "Digest " + key + "x": 401, basic("query", "x"): 401, "Basic !": 401,
	} {
		if resp := g.ask("GET", "/v1/views", "", "Authorization", form); resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", form, resp.StatusCode, want)
		}
	}
}

func TestARevokedKeyIsRefusedAtOnce(t *testing.T) {
	g := newGuarded(t, true)
	if resp := g.ask("DELETE", "/v1/keys/query", "", g.as("admin")...); resp.StatusCode != 200 {
		t.Fatalf("revoke: %d", resp.StatusCode)
	}
	resp := g.ask("GET", "/v1/views", "", g.as("query")...)
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 401 || !strings.Contains(string(body), "revoked") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestAScopedKeyIsHeldToItsTables(t *testing.T) {
	g := newGuarded(t, true)
	list, _ := io.ReadAll(g.ask("GET", "/v1/streams", "", g.as("scoped")...).Body)
	if strings.Contains(string(list), "payments") || !strings.Contains(string(list), "plain") {
		t.Errorf("%s", list)
	}
	for path, want := range map[string]int{"/v1/streams/payments": 404, "/v1/streams/plain": 200} {
		resp := g.ask("GET", path, "", g.as("scoped")...)
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != want || want == 404 && strings.Contains(strings.ReplaceAll(string(body), `\"payments\"`, ""), "payments") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		if resp := g.ask("POST", path+"/events", "{}", g.as("scoped")...); resp.StatusCode != want {
			t.Errorf("send to %s: %d", path, resp.StatusCode)
		}
	}
}

func TestAdminsMakeKeysWhoseSecretIsShownOnce(t *testing.T) {
	g := newGuarded(t, true)
	resp := g.ask("POST", "/v1/keys", `{"name":"new","roles":["query"],"tables":["daily"],"expires_in":"1h","limits":{"timeout_ms":500,"rows":7,"memory":50000000}}`, g.as("admin")...)
	var made keyInfo
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != 201 || made.Status != "active" || made.By != "admin" {
		t.Fatalf("%d %+v %v", resp.StatusCode, made, err)
	}
	p, err := g.keys.Authenticate(made.Secret)
	if err != nil || p.Limits != (access.Limits{Time: 500 * time.Millisecond, Rows: 7, Memory: 50e6}) || p.Sees("payments") {
		t.Errorf("%+v %v", p, err)
	}
	list, _ := io.ReadAll(g.ask("GET", "/v1/keys", "", g.as("admin")...).Body)
	if !strings.Contains(string(list), `"name":"new"`) || strings.Contains(string(list), "secret") || strings.Contains(string(list), made.Secret[8:20]) {
		t.Errorf("%s", list)
	}
	for body, want := range map[string]int{
		`{"name":"new","roles":["query"]}`:                      409,
		`{"name":"other","roles":["root"]}`:                     400,
		`{"name":"other","roles":[]}`:                           400,
		`{"name":"admin","roles":["query"]}`:                    400,
		`{"name":"other","roles":["query"],"tables":["dayly"]}`: 400,
		`{"name":"other","roles":["query"],"more":1}`:           400,
		`{"name":"other","roles":["query"],"expires_in":"-1h"}`: 400,
	} {
		if resp := g.ask("POST", "/v1/keys", body, g.as("admin")...); resp.StatusCode != want {
			text, _ := io.ReadAll(resp.Body)
			t.Errorf("%s: %d %s, want %d", body, resp.StatusCode, text, want)
		}
	}
	if resp := g.ask("DELETE", "/v1/keys/nobody", "", g.as("admin")...); resp.StatusCode != 404 {
		t.Errorf("revoke nobody: %d", resp.StatusCode)
	}
	if resp := newGuarded(t, false).ask("GET", "/v1/keys", ""); resp.StatusCode != 409 {
		t.Errorf("with authentication off: %d", resp.StatusCode)
	}
}

const pageOrigin = "http://localhost:8080"

// signIn gives the cookie of a session.
func (g *guarded) signIn(t *testing.T, name string) *http.Cookie {
	t.Helper()
	resp := g.ask("POST", "/v1/session", `{"key":"`+g.secrets[name]+`"}`, "Origin", pageOrigin)
	if resp.StatusCode != 200 || len(resp.Cookies()) != 1 {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	return resp.Cookies()[0]
}

func TestThePageSignsInWithACookieThatNoScriptReads(t *testing.T) {
	g := newGuarded(t, true)
	c := g.signIn(t, "operate")
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" || c.MaxAge <= 0 || strings.Contains(c.Value, g.secrets["operate"]) {
		t.Errorf("%+v", c)
	}
	cookie := []string{"Cookie", c.Name + "=" + c.Value}
	if resp := g.ask("GET", "/v1/status", "", cookie...); resp.StatusCode != 200 {
		t.Errorf("status: %d", resp.StatusCode)
	}
	if resp := g.ask("GET", "/v1/views", "", cookie...); resp.StatusCode != 403 {
		t.Errorf("a session has other roles than its key: %d", resp.StatusCode)
	}
	who, _ := io.ReadAll(g.ask("GET", "/v1/session", "", cookie...).Body)
	if !strings.Contains(string(who), `"principal":"operate"`) {
		t.Errorf("%s", who)
	}
	out := g.ask("DELETE", "/v1/session", "", append(cookie, "Origin", pageOrigin)...)
	if out.StatusCode != 200 || len(out.Cookies()) != 1 || out.Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign out: %d %v", out.StatusCode, out.Header)
	}
	for what, resp := range map[string]*http.Response{
		"a wrong key":      g.ask("POST", "/v1/session", `{"key":"tw_wrong"}`, "Origin", pageOrigin),
		"a forged session": g.ask("GET", "/v1/status", "", "Cookie", c.Name+"="+c.Value+"x"),
		"another site":     g.ask("POST", "/v1/session", `{"key":"`+g.secrets["query"]+`"}`, "Origin", "http://evil.example"),
		"no key":           g.ask("POST", "/v1/session", `{`, "Origin", pageOrigin),
	} {
		if resp.StatusCode < 400 || resp.Header.Get("Set-Cookie") != "" && !strings.Contains(resp.Header.Get("Set-Cookie"), "Max-Age=0") {
			t.Errorf("%s: %d %v", what, resp.StatusCode, resp.Header)
		}
	}
	if resp := g.ask("GET", "/v1/status", "", "Sec-Fetch-Mode", "cors"); len(resp.Header.Values("WWW-Authenticate")) != 1 {
		t.Errorf("a browser is asked with its own dialog: %v", resp.Header)
	}
}

func TestAnotherSiteCannotUseABrowsersSession(t *testing.T) {
	g := newGuarded(t, true)
	c := g.signIn(t, "operate")
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("x", g.secrets["operate"])
	for credential, header := range map[string][]string{"cookie": {"Cookie", c.Name + "=" + c.Value}, "password": {"Authorization", r.Header.Get("Authorization")}} {
		for _, x := range []struct {
			method  string
			headers []string
			cookie  int // what a session gets
			basic   int // what a password gets
		}{
			{"POST", []string{"Origin", pageOrigin}, 200, 200},
			{"POST", []string{"Sec-Fetch-Site", "same-origin"}, 200, 200},
			{"POST", nil, 403, 200}, // no browser is so quiet
			{"POST", []string{"Origin", "http://localhost:9999"}, 403, 403},
			{"POST", []string{"Origin", "null"}, 403, 403},
			{"POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://localhost:9999"}, 403, 403},
			{"POST", []string{"Sec-Fetch-Site", "cross-site"}, 403, 403},
			{"GET", nil, 200, 200},
			{"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403, 403},
			{"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 200, 200},
			{"GET", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200, 200},
		} {
			want := map[string]int{"cookie": x.cookie, "password": x.basic}[credential]
			path := map[string]string{"POST": "/v1/batch/run", "GET": "/v1/status"}[x.method]
			if resp := g.ask(x.method, path, "", append(slices.Clone(header), x.headers...)...); resp.StatusCode != want {
				t.Errorf("%s, %s %v: %d, want %d", credential, x.method, x.headers, resp.StatusCode, want)
			}
		}
	}
	bearer := append(g.as("operate"), "Origin", "http://evil.example") // no site can add this header to a form or an image
	if resp := g.ask("POST", "/v1/batch/run", "", bearer...); resp.StatusCode != 200 {
		t.Errorf("a program that sends Origin: %d", resp.StatusCode)
	}
}

func TestWithoutAuthenticationNoSiteReachesThroughABrowser(t *testing.T) {
	g := newGuarded(t, false)
	for _, x := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"POST", "/v1/batch/run", nil, 200}, // curl
		{"POST", "/v1/batch/run", []string{"Origin", pageOrigin}, 200},
		{"POST", "/v1/batch/run", []string{"Origin", "http://evil.example"}, 403},
		{"POST", "/v1/batch/run", []string{"Origin", "http://localhost:3000"}, 403},
		{"POST", "/v1/streams/payments/events", []string{"Origin", "http://evil.example", "Content-Type", "text/plain"}, 403},
		{"POST", "/v1/streams/payments/events", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", "/v1/status", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"GET", "/v1/status", []string{"Host", "rebound.evil.example:8080"}, 421},
		{"POST", "/v1/sql", []string{"Host", "rebound.evil.example:8080", "Origin", "http://rebound.evil.example:8080"}, 421},
		{"GET", "/healthz", []string{"Host", "anything.example"}, 200},
		{"GET", "/v1/status", []string{"Host", "127.0.0.1:8080"}, 200},
		{"GET", "/v1/status", []string{"Host", "[::1]:8080"}, 200},
		{"GET", "/v1/status", []string{"Host", "[::1]"}, 200},
		{"GET", "/v1/status", []string{"Host", "192.168.1.7"}, 200},
		{"GET", "/v1/status", []string{"Host", "tailwater:8080"}, 200}, // as containers call each other
		{"GET", "/v1/status", []string{"Host", "app.localhost"}, 200},
		{"GET", "/v1/status", []string{"Host", "Tail.Example.:80"}, 200},
		{"GET", "/v1/status", []string{"Host", "localhost.evil.example"}, 421},
		{"GET", "/v1/session", nil, 200},
	} {
		if resp := g.ask(x.method, x.path, "", x.headers...); resp.StatusCode != x.want {
			body, _ := io.ReadAll(resp.Body)
			t.Errorf("%s %s %v: %d %s, want %d", x.method, x.path, x.headers, resp.StatusCode, body, x.want)
		}
	}
	if len(g.audit.entries) != 0 {
		t.Errorf("recorded %+v", g.audit.entries)
	}
}

func TestAnswersCannotBeFramedRunOrSniffed(t *testing.T) {
	for _, on := range []bool{true, false} {
		g := newGuarded(t, on)
		for _, path := range []string{"/v1/views", "/healthz", "/v1/nothing", "/v1/session"} {
			h := g.ask("GET", path, "", "Authorization", "Bearer "+adminSecret).Header
			if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %v", path, h)
			}
		}
	}
}

func TestEveryRequestWithAKeyAndEveryDenialIsRecorded(t *testing.T) {
	g := newGuarded(t, true)
	server := httptest.NewServer(g)
	defer server.Close()
	ask := func(method, path, body, key string) {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			return // an answer that is cut off
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	for i, x := range []struct {
		method, path, body, key string
		want                    AuditEntry
	}{
		{"POST", "/v1/sql?timeout=1s", `{"sql":"SELECT 1"}`, g.secrets["query"], AuditEntry{Principal: "query", Action: "POST /v1/sql", Target: "/v1/sql", Statement: "SELECT 1", Outcome: "ok", Code: "200", Rows: 1}},
		{"POST", "/v1/sql", `{"sql":"refused"}`, g.secrets["query"], AuditEntry{Principal: "query", Action: "POST /v1/sql", Target: "/v1/sql", Statement: "refused", Outcome: "failed", Code: "400", Rows: -1}},
		{"GET", "/v1/views/long", "", g.secrets["query"], AuditEntry{Principal: "query", Action: "GET /v1/views/{view}", Target: "/v1/views/long", Outcome: "ok", Code: "200", Rows: 20_000}},
		{"GET", "/v1/views/cut", "", g.secrets["query"], AuditEntry{Principal: "query", Action: "GET /v1/views/{view}", Target: "/v1/views/cut", Outcome: "aborted", Code: "200", Rows: -1}},
		{"GET", "/v1/status", "", g.secrets["query"], AuditEntry{Principal: "query", Action: "GET /v1/status", Target: "/v1/status", Outcome: "denied", Code: "403", Rows: -1}},
		{"GET", "/v1/status", "", "tw_wrong", AuditEntry{Action: "GET ", Target: "/v1/status", Outcome: "denied", Code: "401", Rows: -1}},
		{"GET", "/v1/status", "", "", AuditEntry{Action: "GET ", Target: "/v1/status", Outcome: "denied", Code: "401", Rows: -1}},
		{"POST", "/v1/streams/payments/events", "{}", g.secrets["ingest"], AuditEntry{Principal: "ingest", Action: "POST /v1/streams/{stream}/events", Target: "/v1/streams/payments/events", Outcome: "ok", Code: "200", Rows: -1}},
	} {
		ask(x.method, x.path, x.body, x.key)
		got := g.audit.last(t, i+1)
		if got.Protocol != "http" || got.Remote == "" || got.Elapsed <= 0 || got.Time.IsZero() {
			t.Errorf("%+v", got)
		}
		got.Time, got.Elapsed, got.Remote, got.Protocol, got.RequestID = time.Time{}, 0, "", "", ""
		if got != x.want {
			t.Errorf("%s %s:\ngot  %+v\nwant %+v", x.method, x.path, got, x.want)
		}
	}
	ask("GET", "/healthz", "", "")
	all := fmt.Sprintf("%+v\n%s", g.audit.entries, g.log)
	for name, secret := range g.secrets {
		if strings.Contains(all, secret) {
			t.Errorf("the secret of %s is in the log or the audit log", name)
		}
	}
	if strings.Contains(all, "/healthz") {
		t.Error("health checks are recorded")
	}
}

func TestTheAuditLogIsLinesOfJSONInAFileThatMayBeRenamed(t *testing.T) {
	var said bytes.Buffer
	path := filepath.Join(t.TempDir(), "audit.log")
	a, err := OpenAudit(path, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	a.Record(AuditEntry{Time: time.Unix(0, 0), Principal: "p", Statement: strings.Repeat("ä", 3000) + "\n", Outcome: OutcomeOK, Rows: -1})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := a.Reopen(); err != nil {
		t.Fatal(err)
	}
	a.Record(AuditEntry{Outcome: OutcomeDenied, Rows: 5})
	for name, wantRows := range map[string]any{path + ".1": nil, path: 5.0} {
		text, err := os.ReadFile(name)
		var line map[string]any
		if err != nil || json.Unmarshal(text, &line) != nil || bytes.Count(text, []byte("\n")) != 1 || line["rows"] != wantRows || len(text) > 3000 {
			t.Errorf("%s: %s %v", name, text, err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a.Record(AuditEntry{})
	a.Record(AuditEntry{})
	if strings.Count(said.String(), "WITHOUT") != 1 {
		t.Errorf("said %s", said.String())
	}
	if err := a.Close(); err != nil {
		t.Error("closed twice:", err)
	}
}

func TestAKeysOwnLimitsHold(t *testing.T) {
	g := newGuarded(t, true)
	g.create(t, access.Key{Name: "narrow", Roles: []access.Role{access.Query}, Limits: access.Limits{Time: 2 * time.Second, Rows: 100, Bytes: 1 << 20}})
	for path, want := range map[string]int{"/v1/views/daily": 200, "/v1/views/daily?timeout=3s": 400, "/v1/views/daily?timeout=1s": 200} {
		if resp := g.ask("GET", path, "", g.as("narrow")...); resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	echo, _ := io.ReadAll(g.ask("POST", "/v1/sql", `{"sql":"x"}`, g.as("narrow")...).Body)
	if !strings.Contains(string(echo), "timeout=2s") {
		t.Errorf("%s", echo)
	}
	server := httptest.NewServer(g)
	defer server.Close()
	r, err := http.NewRequest("GET", server.URL+"/v1/views/long", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+g.secrets["narrow"])
	resp, err := server.Client().Do(r)
	if err != nil {
		return // cut off
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("20,000 rows for a key of 100: %d, %d bytes", resp.StatusCode, len(body))
	}
}

func TestALiveViewEndsWithItsKey(t *testing.T) {
	r := newRig(t)
	r.send(5)
	keys, err := access.Open(t.Context(), access.Config{Admin: adminSecret})
	must(t, err)
	secret, _, err := keys.Create(t.Context(), "admin", access.Key{Name: "page", Roles: []access.Role{access.Query}})
	must(t, err)
	server := httptest.NewServer(NewGuard(GuardConfig{Keys: keys}).Wrap(NewHandler(r.Core, Config{Keys: keys})))
	defer server.Close()
	request, err := http.NewRequest("GET", server.URL+"/v1/views/total/live?every=50ms", nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+secret)
	response, err := server.Client().Do(request)
	must(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	event := func() string {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "data: ") {
				return lines.Text()
			}
		}
		return ""
	}
	if first := event(); !strings.Contains(first, `"c":5`) {
		t.Fatalf("%s", first)
	}
	r.send(1)
	if second := event(); !strings.Contains(second, `"c":6`) {
		t.Fatalf("%s", second)
	}
	_, err = keys.Revoke(t.Context(), "page")
	must(t, err)
	r.send(1)
	if third := event(); third != "" {
		t.Errorf("after the end of its key: %s", third)
	}
}
