package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const newOverall = "SELECT count(*) AS n, max(amount) AS top FROM payments\n"

// A definitionReader asks for the view overall again and again, and notes an answer
// that is none: of the old definition after one of the new, or with fewer events than
// an earlier one, or with a difference.
type definitionReader struct {
	p       *process
	stop    atomic.Bool
	seenOld atomic.Int64
	seenNew atomic.Int64
	wrong   atomic.Pointer[string]
	running sync.WaitGroup
}

func (r *definitionReader) fail(text string) { r.wrong.CompareAndSwap(nil, &text) }

func (r *definitionReader) run(path, sql string) {
	last := int64(0)
	for !r.stop.Load() {
		wasNew := r.seenNew.Load() > 0 // somebody had the new answer before this question
		a, err := r.p.get(path, sql)
		if err != nil || len(a.Data) != 1 || !a.Complete {
			r.fail(fmt.Sprintf("%s: %v, %v", path, a.Data, err))
			return
		}
		_, isOld := a.Data[0]["total"]
		_, isNew := a.Data[0]["top"]
		n, _ := a.Data[0]["n"].(json.Number).Int64()
		if isOld == isNew || isOld && wasNew || n < last {
			r.fail(fmt.Sprintf("%s: %v after %d events, new answers before: %t", path, a.Data[0], last, wasNew))
		}
		last = n
		if isNew {
			r.seenNew.Add(1)
		} else {
			r.seenOld.Add(1)
		}
	}
}

func (r *definitionReader) check() {
	for !r.stop.Load() {
		if d, text := r.p.difference("overall"); d != 0 {
			r.fail("difference: " + text)
		}
	}
}

func TestAViewIsRedefinedWhileEventsComeAndReadersAsk(t *testing.T) {
	folder, data := worldFolder(t), t.TempDir()
	file := filepath.Join(folder, "views", "overall.sql")
	// The first process dies when it has built the new version and is about to commit.
	p := startReady(t, folder, data, []string{"TAILWATER_FAILPOINTS=before-batch-commit=exit:1"}, quiet...)
	p.mustPost("payments", payments("a", 300))
	p.batch("")
	p.eventually("the versions are recorded", 10*time.Second, func() bool { return p.call(http.MethodGet, "/v1/views/overall/history", nil).status == http.StatusOK })
	putFile(t, file, newOverall)
	if status, err := p.trigger("/v1/apply"); err == nil {
		t.Fatalf("apply was answered with %d", status)
	}
	<-p.done
	// The second cannot build: the old definition answers, though the file is the new.
	p = startReady(t, folder, data, []string{"TAILWATER_FAILPOINTS=before-batch-commit=error"}, quiet...)
	p.eventually("the build has failed", 20*time.Second, func() bool { return strings.Contains(p.output(), "go on answering") })
	if a := p.mustGet("/v1/views/overall", ""); a.Data[0]["total"] == nil {
		t.Errorf("after a crash in the midst the view answers %v", a.Data)
	}
	putFile(t, file, "SELECT count(*) AS n, max(amout) AS top FROM payments\n")
	plan := mustDecode[applied](t, p.call(http.MethodPost, "/v1/apply?dry_run=true", nil).must(t))
	if len(plan.Problems) != 1 || plan.Problems[0].File != "views/overall.sql" || plan.Problems[0].Line != 1 || plan.Problems[0].Column == 0 {
		t.Errorf("the plan of a wrong file: %+v", plan.Problems)
	}
	if reply := p.call(http.MethodPost, "/v1/apply", nil); reply.status != http.StatusBadRequest || !strings.Contains(string(reply.body), "amout") {
		t.Errorf("applying a wrong file: %d %s", reply.status, reply.body)
	}
	putFile(t, file, newOverall)
	redefineUnderLoad(t, p)
	judgeHistory(t, p)
	p.stop()
	p = startReady(t, folder, data, nil, quiet...)
	if a := p.mustGet("/v1/views/overall", ""); a.Data[0]["top"] == nil {
		t.Errorf("after a restart the view answers %v", a.Data)
	}
	p.stop()
}

func redefineUnderLoad(t *testing.T, p *process) {
	r := &definitionReader{p: p}
	r.running.Go(func() { r.run("/v1/views/overall", "") })
	r.running.Go(func() { r.run("/v1/sql", "SELECT * FROM overall") })
	r.running.Go(r.check)
	r.running.Go(func() {
		for i := 0; !r.stop.Load(); i++ {
			if _, err := p.post(t.Context(), "payments", payments(fmt.Sprintf("l%d-", i), 20)); err != nil {
				r.fail(err.Error())
				return
			}
		}
	})
	defer r.running.Wait()
	defer r.stop.Store(true)
	p.eventually("old answers", 20*time.Second, func() bool { return r.seenOld.Load() > 5 || r.wrong.Load() != nil })
	did := mustDecode[applied](t, p.call(http.MethodPost, "/v1/apply", nil).must(t))
	for _, c := range did.Changes {
		want := unchanged
		if c.View == "overall" {
			want = "rebuild"
		}
		if c.Change != want {
			t.Errorf("%+v", c)
		}
	}
	p.eventually("new answers", 20*time.Second, func() bool { return r.seenNew.Load() > 10 || r.wrong.Load() != nil })
	if wrong := r.wrong.Load(); wrong != nil {
		t.Error(*wrong)
	}
}

func judgeHistory(t *testing.T, p *process) {
	code, out, errText := runCLI(t, "", "view", "history", "overall", "--url", p.url)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 4 || !strings.Contains(lines[2], "new") || !strings.Contains(lines[3], "rebuild") || !strings.Contains(lines[3], "payments/1/0:") {
		t.Errorf("%d\n%s%s", code, out, errText)
	}
}
