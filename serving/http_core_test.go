package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A site is the handler over a rig.
type site struct {
	*rig
	server *httptest.Server
}

func newSite(t *testing.T, cfg Config) *site { return siteOver(newRig(t), cfg) }

func siteOver(r *rig, cfg Config) *site {
	s := &site{rig: r, server: httptest.NewServer(NewHandler(r, cfg))}
	r.t.Cleanup(s.server.Close)
	return s
}

// get asks for a path, with headers as "Name: value".
func (s *site) get(path string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequest("GET", s.server.URL+path, nil)
	must(s.t, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return s.do(r)
}

func (s *site) do(r *http.Request) (*http.Response, string) {
	s.t.Helper()
	response, err := s.server.Client().Do(r)
	must(s.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(s.t, err)
	return response, string(body)
}

func (s *site) lines(path string) string {
	s.t.Helper()
	response, body := s.get(path, "Accept: application/x-ndjson")
	if response.StatusCode != 200 {
		s.t.Fatalf("%s: %d %s", path, response.StatusCode, body)
	}
	return body
}

func TestPagesAreOfTheCutOfTheFirst(t *testing.T) {
	s := newSite(t, Config{})
	s.send(500)
	for _, shape := range []string{"", "order=-s", "by=k", "by=window_start:2h&fill=0&order=window_start", "top=3&of=c&per=k", "where.k=a&where.k=b&order=c", "where.k.gte=b", "isnull=k"} {
		want := s.lines("/v1/views/hourly?" + shape)
		path := "/v1/views/hourly?limit=2&" + shape
		got, pages := "", 0
		for path != "" {
			response, body := s.get(path)
			var page struct {
				Data []json.RawMessage
				Next string
				Cut  map[string]uint64
			}
			if err := json.Unmarshal([]byte(body), &page); err != nil || response.StatusCode != 200 {
				t.Fatalf("%s: %d %s", path, response.StatusCode, body)
			}
			for _, row := range page.Data {
				got += string(row) + "\n"
			}
			path = ""
			if page.Next != "" {
				link, _, _ := strings.Cut(strings.TrimPrefix(response.Header.Get("Link"), "<"), ">")
				path = link
				if u, err := url.Parse(link); err != nil || u.Query().Get("cursor") != page.Next {
					t.Errorf("the link %q is not to %s", link, page.Next)
				}
			}
			if pages++; pages == 1 {
				s.send(7) // the next pages do not see it
			} else if pages == 2 {
				s.land()
				s.batch()
			}
		}
		if wanted := strings.Count(want, "\n"); shape == "" && strings.Count(got, "\n") != wanted || shape != "" && sortedLines(got) != sortedLines(want) {
			t.Errorf("%s: pages have\n%s, at once it was\n%s", shape, got, want)
		}
	}
	_, body := s.get("/v1/views/hourly?limit=2")
	var page struct{ Next string }
	must(t, json.Unmarshal([]byte(body), &page))
	for query, code := range map[string]string{
		"limit=2&order=k&cursor=" + page.Next: "bad_cursor", "limit=2&cursor=x": "bad_cursor", "cursor=" + page.Next: "bad_cursor", "limit=2&offset=1&cursor=" + page.Next: "bad_cursor",
	} {
		if response, body := s.get("/v1/views/hourly?" + query); response.StatusCode != 400 || !strings.Contains(body, code) {
			t.Errorf("%s: %d %s", query, response.StatusCode, body)
		}
	}
}

func sortedLines(text string) string {
	lines := map[string]int{}
	for _, l := range strings.Split(text, "\n") {
		lines[l]++
	}
	return fmt.Sprint(lines)
}

func TestAnUnchangedAnswerIs304(t *testing.T) {
	s := newSite(t, Config{})
	s.send(100)
	for _, path := range []string{"/v1/views/hourly?order=k", "/v1/sql?sql=" + url.QueryEscape("SELECT count(*) AS n FROM pay")} {
		response, _ := s.get(path)
		tag := response.Header.Get("ETag")
		if !strings.HasPrefix(tag, `W/"`) || response.Header.Get("Cache-Control") != "private, no-cache" {
			t.Fatalf("%s: headers %v", path, response.Header)
		}
		s.land()
		s.batch() // moves S, and no event
		response, body := s.get(path, `If-None-Match: "other", `+tag)
		if response.StatusCode != 304 || body != "" || response.Header.Get("ETag") != tag {
			t.Errorf("%s: %d %q %v", path, response.StatusCode, body, response.Header)
		}
		if response, _ := s.get(path, "If-None-Match: "+tag, "Accept: text/csv"); response.StatusCode != 200 {
			t.Errorf("%s: another format is %d", path, response.StatusCode)
		}
		at := path + "&at=" + s.cutNow().String()
		was, _ := s.get(at)
		s.send(1)
		if response, _ := s.get(path, "If-None-Match: "+tag); response.StatusCode != 200 || response.Header.Get("ETag") == tag {
			t.Errorf("%s: after an event it is %d %s", path, response.StatusCode, response.Header.Get("ETag"))
		}
		if response, _ := s.get(at, "If-None-Match: "+was.Header.Get("ETag")); response.StatusCode != 304 {
			t.Errorf("%s: a past cut changes: %d", at, response.StatusCode)
		}
	}
	for _, sql := range []string{"SELECT now() AS t", "SELECT random() AS t", "SELECT current_date AS t", "SELECT count(*) FROM pay USING SAMPLE 10%"} {
		if response, body := s.get("/v1/sql?sql=" + url.QueryEscape(sql)); response.StatusCode != 200 || response.Header.Get("ETag") != "" {
			t.Errorf("%s: %d %s has the tag %s", sql, response.StatusCode, body, response.Header.Get("ETag"))
		}
	}
}

func TestValuesAreBoundOverHTTP(t *testing.T) {
	s := newSite(t, Config{})
	s.send(300)
	at := s.cutNow().String()
	want := s.lines("/v1/sql?sql=" + url.QueryEscape("SELECT count(*) AS n FROM pay WHERE k = 'a' AND n > 5"))
	s.send(50)
	for _, body := range []string{
		`{"sql": "SELECT count(*) AS n FROM pay WHERE k = $1 AND n > $2", "parameters": ["a", 5], "at": "` + at + `"}`,
		`{"sql": "SELECT count(*) AS n FROM pay WHERE k = $k AND n > $low", "parameters": {"k": "a", "low": 5}, "timeout": "2s", "at": {"pay/1/0": 300}}`,
		`{"sql": "SELECT count(*) AS n FROM pay WHERE k = ? AND n > ?", "parameters": ["a", "5"], "timeout": 2, "at": "` + at + `", "after": "pay/1/0/300"}`,
	} {
		r, err := http.NewRequest("POST", s.server.URL+"/v1/sql", strings.NewReader(body))
		must(t, err)
		r.Header.Set("Accept", "application/x-ndjson")
		if response, got := s.do(r); response.StatusCode != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", body, response.StatusCode, got, want)
		}
	}
	sql := url.QueryEscape("SELECT count(*) AS n FROM pay WHERE k = $1 AND n > $2")
	if got := s.lines("/v1/sql?p1=a&p2=5&at=" + at + "&sql=" + sql); got != want {
		t.Errorf("by GET it is %s", got)
	}
	sql = url.QueryEscape("SELECT count(*) AS n FROM pay WHERE k = $k AND n > $low")
	if got := s.lines("/v1/sql?p.k=a&p.low=5&timeout=5&at=" + at + "&sql=" + sql); got != want {
		t.Errorf("by GET it is %s", got)
	}
	for path, code := range map[string]string{
		"/v1/sql?sql=SELECT+$1": "bad_parameter", "/v1/sql?sql=SELECT+1&p1=3": "bad_parameter", "/v1/sql?sql=SELECT+1&p0=3": "unknown_parameter",
		"/v1/sql?sql=SELECT+1&p.=3": "unknown_parameter", "/v1/sql?sql=SELECT+1&at=x": "bad_position", "/v1/sql?sql=SELECT+1&at=pay/9/0:1": "position",
	} {
		if response, body := s.get(path); response.StatusCode != 400 || !strings.Contains(body, code) {
			t.Errorf("%s: %d %s", path, response.StatusCode, body)
		}
	}
}

// entering tells when a statement is on its way to the engine.
type entering struct {
	Queries
	sql chan struct{}
}

func (e entering) SQL(ctx context.Context, r SQLRequest) (*Answer, error) {
	e.sql <- struct{}{}
	return e.Queries.SQL(ctx, r)
}

func TestAClientThatGoesAwayEndsItsQuery(t *testing.T) {
	r := newRig(t)
	r.send(3000)
	queries := entering{r.Core, make(chan struct{}, 1)}
	handler := NewHandler(queries, Config{MaxRows: 1e12, MaxBytes: 1 << 50})
	left := make(chan time.Time, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { left <- time.Now() }()
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	for name, sql := range map[string]string{
		"before the first row": "SELECT sum(a.n * b.n * c.n) FROM pay AS a, pay AS b, pay AS c WHERE a.n + b.n + c.n > 7",
		"among the rows":       "SELECT a.n, b.k, c.ts FROM pay AS a, pay AS b, pay AS c",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/sql?sql="+url.QueryEscape(sql), nil)
		must(t, err)
		r.Header.Set("Accept", "application/x-ndjson")
		gone := make(chan time.Time, 1)
		leave := func() { gone <- time.Now(); cancel() }
		if name == "before the first row" {
			go func() { <-queries.sql; leave() }()
		}
		response, err := server.Client().Do(r)
		if err == nil {
			if _, err := io.ReadFull(response.Body, make([]byte, 1<<20)); err != nil {
				t.Fatalf("%s: rows do not come as they are found: %v", name, err)
			}
			leave()
			<-queries.sql
			response.Body.Close()
		}
		took := (<-left).Sub(<-gone)
		t.Logf("%s: the engine was free %s after the client had gone", name, took.Round(time.Millisecond))
		if took > 2*time.Second {
			t.Errorf("%s: that is too long", name)
		}
	}
}
