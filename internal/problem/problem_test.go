package problem

import (
	"net/http/httptest"
	"testing"
	"time"
)

func TestProblemsAreWrittenAsRFC9457Says(t *testing.T) {
	for _, c := range []struct {
		p    Problem
		want string
	}{
		{Problem{Status: 404, Code: "not_found", Detail: "there is nothing -> <x>"},
			`{"type":"urn:tailwater:problem:not_found","title":"Not found","status":404,"detail":"there is nothing -> <x>","code":"not_found"}`},
		{Problem{Status: 400, Code: "sql", Detail: "no column \"x\"", Hint: "name another", Position: 8, Candidates: []string{"y"}, Instance: "urn:tailwater:request:r1"},
			`{"type":"urn:tailwater:problem:sql","title":"SQL error","status":400,"detail":"no column \"x\"","code":"sql","hint":"name another","position":8,"candidates":["y"],"instance":"urn:tailwater:request:r1"}`},
		{Problem{Status: 503, Code: "log_full", Detail: "full", RetryAfter: 1100 * time.Millisecond, More: map[string]int{"accepted": 3}},
			`{"type":"urn:tailwater:problem:log_full","title":"Log full","status":503,"detail":"full","code":"log_full","accepted":3}`},
		{Problem{Status: 503, Code: "busy", More: struct{}{}}, `{"type":"urn:tailwater:problem:busy","title":"Busy","status":503,"detail":"","code":"busy"}`},
	} {
		w := httptest.NewRecorder()
		c.p.Write(w)
		if w.Body.String() != c.want+"\n" || w.Code != c.p.Status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		if c.p.RetryAfter > 0 && w.Header().Get("Retry-After") != "2" {
			t.Errorf("Retry-After: %s", w.Header().Get("Retry-After"))
		}
	}
}
