package ui

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, url string, header http.Header) *http.Response {
	t.Helper()
	request := httptest.NewRequest(method, url, nil)
	for name, values := range header {
		request.Header[name] = values
	}
	recorder := httptest.NewRecorder()
	Handler().ServeHTTP(recorder, request)
	return recorder.Result()
}

func TestFilesAreServedWithTheirTypeAndOnce(t *testing.T) {
	for url, contentType := range map[string]string{
		"/":                       "text/html; charset=utf-8",
		"/assets/app.js":          "text/javascript; charset=utf-8",
		"/assets/styles/base.css": "text/css; charset=utf-8",
		"/assets/icon.svg":        "image/svg+xml",
		"/assets/fonts/geist-latin-wght-normal.woff2": "font/woff2",
	} {
		r := get(t, http.MethodGet, url, nil)
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != contentType {
			t.Errorf("%s: %d %s, want %s", url, r.StatusCode, r.Header.Get("Content-Type"), contentType)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: headers %v", url, r.Header)
		}
		again := get(t, http.MethodGet, url, http.Header{"If-None-Match": {r.Header.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: %d for the ETag that it gave, want 304", url, again.StatusCode)
		}
		if head := get(t, http.MethodHead, url, nil); head.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: %d", url, head.StatusCode)
		}
	}
}

func TestThePageIsKeptToItsServer(t *testing.T) {
	rules := get(t, http.MethodGet, "/", nil).Header.Get("Content-Security-Policy")
	for _, rule := range []string{"default-src 'none'", "script-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"} {
		if !strings.Contains(rules, rule) {
			t.Errorf("the policy lacks %s: %s", rule, rules)
		}
	}
	if strings.Contains(rules, "unsafe") {
		t.Errorf("the policy allows inline code: %s", rules)
	}
}

func TestWhatIsNotThereIsSaidSo(t *testing.T) {
	for _, url := range []string{"/assets/none.js", "/assets/", "/assets/../ui.go", "/index.html"} {
		if r := get(t, http.MethodGet, url, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", url, r.StatusCode)
		}
	}
}

var (
	imported = regexp.MustCompile(`(?m)^(?:import|export) [^;]*?from '([^']+)'`)
	linked   = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"|url\("([^"]+)"\)`)
	foreign  = regexp.MustCompile(`(?:https?:)?//[a-z0-9-]+\.[a-z]`)
)

// A module that is missing shows only in a browser, and then as an empty page.
func TestEveryReferenceLeadsToAFile(t *testing.T) {
	used := map[string]bool{"index.html": true}
	walk(t, func(name, text string) {
		var targets []string
		for _, m := range imported.FindAllStringSubmatch(text, -1) {
			targets = append(targets, path.Join(path.Dir(name), m[1]))
		}
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			if m[1] != "" {
				targets = append(targets, strings.TrimPrefix(m[1], "/"))
			} else {
				targets = append(targets, path.Join(path.Dir(name), m[2]))
			}
		}
		for _, target := range targets {
			used[target] = true
			if _, err := fs.Stat(files, target); err != nil {
				t.Errorf("%s refers to %s, which is not there", name, target)
			}
		}
	})
	walk(t, func(name, _ string) {
		if !used[name] && path.Base(name) != "LICENSE.txt" {
			t.Errorf("nothing refers to %s", name)
		}
	})
}

func TestNothingIsFetchedFromElsewhere(t *testing.T) {
	walk(t, func(name, text string) {
		if path.Ext(name) == ".txt" || path.Ext(name) == ".woff2" {
			return
		}
		text = strings.ReplaceAll(text, "http://www.w3.org/", "") // names of XML, not addresses
		if found := foreign.FindString(text); found != "" {
			t.Errorf("%s names another host: %s", name, found)
		}
	})
}

func walk(t *testing.T, visit func(name, text string)) {
	t.Helper()
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err == nil {
			visit(name, string(body))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
