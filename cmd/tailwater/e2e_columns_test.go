package main

import (
	"context"
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

// widerStream is worldStream with two more columns.
var widerStream = strings.Replace(worldStream, "weight DOUBLE NOT NULL\n", "weight DOUBLE NOT NULL,\n  shop VARCHAR,\n  tip DECIMAL(10,2)\n", 1)

// shopPayments makes payments that have the new columns; every third has no tip.
func shopPayments(prefix string, n int) string {
	var sb strings.Builder
	for i, line := range strings.SplitAfter(strings.TrimSpace(payments(prefix, n)), "\n") {
		extra := fmt.Sprintf(`,"shop":"s%d","tip":%d.50}`, i%2, i)
		if i%3 == 0 {
			extra = fmt.Sprintf(`,"shop":"s%d"}`, i%2)
		}
		sb.WriteString(strings.Replace(line, "}", extra, 1))
	}
	return sb.String()
}

// versions gives the views' versions.
func (p *process) versions() string {
	p.t.Helper()
	var out []string
	for _, v := range mustDecode[[]runningView](p.t, p.call(http.MethodGet, "/v1/views", nil).must(p.t)) {
		out = append(out, v.View+" "+v.Version)
	}
	return strings.Join(out, "\n")
}

// judgeShops compares raw SQL and views with what was sent: old events without the
// columns, and sent ones of shopPayments(_, 30) each.
func judgeShops(t *testing.T, p *process, old, sent int) {
	t.Helper()
	p.caughtUp()
	// Of 30: 15 a shop; 20 tips, i + 0.50 of each i that 3 does not divide.
	got := p.sqlRow("SELECT count(*) AS n, count(shop) AS shops, count(*) FILTER (shop = 's1') AS one, count(tip) AS tips, sum(tip)::VARCHAR AS sum, sum(amount)::VARCHAR AS total FROM payments")
	cents := 0
	for _, n := range []int{100, 50, 40} {
		if old >= n {
			old -= n
			cents += n*100 + n*(n-1)/2
		}
	}
	if old != 0 {
		t.Fatalf("%d events are of no request", old)
	}
	for range sent {
		cents += 30*100 + 30*29/2
	}
	want := map[string]string{"shops": fmt.Sprint(30 * sent), "one": fmt.Sprint(15 * sent), "tips": fmt.Sprint(20 * sent), "sum": fmt.Sprintf("%d.00", 310*sent), "total": fmt.Sprintf("%d.%02d", cents/100, cents%100)}
	if sent == 0 {
		want["sum"] = "<nil>"
	}
	for name, w := range want {
		if fmt.Sprint(got[name]) != w {
			t.Errorf("%s is %v, want %s: %v", name, got[name], w, got)
		}
	}
	for _, name := range []string{"overall", "hourly", "moving"} {
		if d, text := p.difference(name); d != 0 {
			t.Errorf("difference: %s", text)
		}
	}
	if all := p.sqlRow("SELECT n, total::VARCHAR AS total FROM overall"); fmt.Sprint(all["n"]) != fmt.Sprint(got["n"]) || all["total"] != got["total"] {
		t.Errorf("the view says %v, the events %v", all, got)
	}
	dead := p.sqlRow("SELECT count(*) AS n, min(field) AS field FROM payments_dead")
	if fmt.Sprintf("%v of %v", dead["n"], dead["field"]) != "1 of shop" {
		t.Errorf("dead letters: %v", dead)
	}
}

func TestAStreamGainsColumnsAtARestart(t *testing.T) {
	folder, data := worldFolder(t), t.TempDir()
	file := filepath.Join(folder, "streams", "payments.sql")
	p := startReady(t, folder, data, nil, quiet...)
	p.mustPost("payments", payments("a", 100))
	early := strings.Replace(payment("early", 1, "m", 100, "7"), "}", `,"shop":"s9"}`, 1)
	if in := p.mustPost("payments", early); in.Accepted != 0 {
		t.Fatalf("an unknown field was accepted: %+v", in)
	}
	p.batch("")
	p.mustPost("payments", payments("b", 50))
	p.stop() // lands them: they are not in the warehouse
	p = startReady(t, folder, data, nil, quiet...)
	p.mustPost("payments", payments("c", 40)) // stay in the log
	before := p.versions()
	judgeWiderPlan(t, p, folder, file)
	p.kill()
	putFile(t, file, widerStream)
	// The next start dies when the lake has the columns, and nothing else has.
	if p := startProcess(t, folder, data, []string{"TAILWATER_FAILPOINTS=after-commit-put=exit"}, quiet...); p != nil {
		<-p.done
		if !strings.Contains(p.output(), "new columns") {
			t.Fatalf("it died elsewhere:\n%s", p.output())
		}
	}
	p = startReady(t, folder, data, nil, quiet...)
	judgeShops(t, p, 190, 0)
	if after := p.versions(); after != before || strings.Contains(p.output(), "filling the warehouse") {
		t.Errorf("views were\n%s\nand are\n%s\n%s", before, after, p.output())
	}
	p.mustPost("payments", shopPayments("d", 30))
	judgeShops(t, p, 190, 1)
	p.kill() // the log has events of both kinds
	p = startReady(t, folder, data, nil, quiet...)
	judgeShops(t, p, 190, 1)
	p.batch("")
	p.mustPost("payments", shopPayments("e", 30))
	p.mustPost("payments", shopPayments("d", 30)) // duplicates
	judgeShops(t, p, 190, 2)
	judgeShopViews(t, p, folder)
	p.batch("?rebuild=true")
	judgeShops(t, p, 190, 2)
	p.stop()
	putFile(t, file, worldStream)
	putFile(t, filepath.Join(folder, "views", "overall.sql"), worldViews["overall"])
	putFile(t, filepath.Join(folder, "views", "shops.sql"), worldViews["coded"])
	if code, _, text := runBinary(t, nil, append([]string{"serve", folder, "--data", data, "--http", "127.0.0.1:0"}, quiet...)...); code == 0 || !strings.Contains(text, `column "shop" is gone; give it back`) {
		t.Errorf("a server with the older columns: %d\n%s", code, text)
	}
}

// judgeWiderPlan has the files say different things, while the server runs.
func judgeWiderPlan(t *testing.T, p *process, folder, file string) {
	t.Helper()
	putFile(t, file, widerStream)
	code, out, _ := runCLI(t, "", "plan", folder, "--url", p.url)
	if code != 0 || !strings.HasPrefix(out, "stream payments: adds columns shop VARCHAR, tip DECIMAL(10,2); old events give NULL\n") {
		t.Errorf("plan: %d\n%s", code, out)
	}
	putFile(t, file, strings.Replace(worldStream, "DECIMAL(10,2)", "DECIMAL(12,2)", 1))
	code, out, _ = runCLI(t, "", "plan", folder, "--url", p.url)
	if want := `refuse: streams/payments.sql: stream payments: column "amount" is DECIMAL(12,2) now and was DECIMAL(10,2); give it its old type`; code == 0 || !strings.Contains(out, want) {
		t.Errorf("plan: %d\n%s", code, out)
	}
	putFile(t, file, widerStream)
	_, out, _ = runCLI(t, "", "plan", folder, "--url", p.url, "--json")
	if plan := mustDecode[applied](t, []byte(out)); len(plan.Streams) != 1 || plan.Streams[0].Change != addsColumns || len(plan.Streams[0].Added) != 2 || plan.Streams[0].Added[1].Type != "DECIMAL(10,2)" {
		t.Errorf("plan --json: %s", out)
	}
	putFile(t, file, worldStream)
}

// A columnsLoad sends events and asks while a server takes new columns.
type columnsLoad struct {
	p       *process
	stop    atomic.Bool
	wider   atomic.Bool // events have the new columns
	sent    atomic.Int64
	shops   atomic.Int64 // of those sent
	wrong   atomic.Pointer[string]
	running sync.WaitGroup
}

func (l *columnsLoad) fail(text string) { l.wrong.CompareAndSwap(nil, &text) }

func (l *columnsLoad) send(client int) {
	for i := 0; !l.stop.Load() && l.wrong.Load() == nil; i++ {
		make, wider := payments, l.wider.Load()
		if wider {
			make = shopPayments
		}
		in, err := l.p.post(context.Background(), "payments", make(fmt.Sprintf("l%d-%d-", client, i), 10))
		if err != nil || in.Accepted != 10 {
			l.fail(fmt.Sprintf("events with the new columns: %t: %+v, %v", wider, in, err))
			return
		}
		l.sent.Add(10)
		if wider {
			l.shops.Add(10)
		}
	}
}

// ask follows the number of events, which never falls.
func (l *columnsLoad) ask() {
	for last := int64(0); !l.stop.Load() && l.wrong.Load() == nil; {
		a, err := l.p.get("/v1/views/overall", "")
		if err != nil || len(a.Data) != 1 || !a.Complete {
			l.fail(fmt.Sprintf("%+v, %v", a, err))
			return
		}
		n, _ := a.Data[0]["n"].(json.Number).Int64()
		if n < last {
			l.fail(fmt.Sprintf("%d events after %d", n, last))
		}
		last = n
	}
}

func TestARunningServerTakesNewColumns(t *testing.T) {
	folder, data := worldFolder(t), t.TempDir()
	file := filepath.Join(folder, "streams", "payments.sql")
	p := startReady(t, folder, data, nil, quiet...)
	p.mustPost("payments", payments("a", 100))
	p.batch("")
	p.stop()
	// This one dies when the lake has a new column, and the next node is not there yet.
	p = startReady(t, folder, data, []string{"TAILWATER_FAILPOINTS=after-commit-put=exit"}, quiet...)
	p.mustPost("payments", payments("b", 20))
	early := strings.Replace(worldStream, "weight DOUBLE NOT NULL\n", "weight DOUBLE NOT NULL,\n  early VARCHAR\n", 1)
	putFile(t, file, early)
	if status, err := p.trigger("/v1/apply"); err == nil {
		t.Fatalf("apply was answered with %d", status)
	}
	<-p.done
	if !strings.Contains(p.output(), "new columns") {
		t.Fatalf("it died elsewhere:\n%s", p.output())
	}
	p = startReady(t, folder, data, nil, append([]string{"--postgres", "127.0.0.1:0"}, quiet...)...)
	l := &columnsLoad{p: p}
	for client := range 2 {
		l.running.Go(func() { l.send(client) })
	}
	l.running.Go(l.ask)
	defer l.running.Wait()
	defer l.stop.Store(true)
	p.eventually("events come", 10*time.Second, func() bool { return l.sent.Load() > 100 || l.wrong.Load() != nil })
	putFile(t, file, strings.Replace(early, "early VARCHAR\n", "early VARCHAR,\n  shop VARCHAR,\n  tip DECIMAL(10,2)\n", 1))
	putFile(t, filepath.Join(folder, "views", "overall.sql"), "SELECT count(*) AS n, sum(amount) AS total, count(shop) AS shops FROM payments\n")
	code, out, text := runCLI(t, "", "apply", "--url", p.url)
	if code != 0 || !strings.Contains(out, "stream payments: adds columns shop VARCHAR, tip DECIMAL(10,2)") || !strings.Contains(out, "rebuild   overall") || !strings.Contains(out, "unchanged hourly") {
		t.Fatalf("apply: %d\n%s%s\n%s", code, out, text, p.output())
	}
	l.wider.Store(true)
	p.eventually("events with the new columns come", 10*time.Second, func() bool { return l.shops.Load() > 100 || l.wrong.Load() != nil })
	l.stop.Store(true)
	l.running.Wait()
	if wrong := l.wrong.Load(); wrong != nil {
		t.Fatal(*wrong)
	}
	for range 2 { // and after a restart
		p.caughtUp()
		if all := p.sqlRow("SELECT n, shops FROM overall"); fmt.Sprint(all["n"]) != fmt.Sprint(120+l.sent.Load()) || fmt.Sprint(all["shops"]) != fmt.Sprint(l.shops.Load()) {
			t.Errorf("the view says %v; %d events were sent, %d with a shop", all, 120+l.sent.Load(), l.shops.Load())
		}
		for _, name := range []string{"overall", "hourly"} {
			if d, text := p.difference(name); d != 0 {
				t.Errorf("difference: %s", text)
			}
		}
		p.kill()
		p = startReady(t, folder, data, nil, quiet...)
	}
	p.stop()
}

// judgeShopViews lets one view gain a column, and adds another over one.
func judgeShopViews(t *testing.T, p *process, folder string) {
	t.Helper()
	putFile(t, filepath.Join(folder, "views", "overall.sql"), "SELECT count(*) AS n, sum(amount) AS total, count(shop) AS shops FROM payments\n")
	putFile(t, filepath.Join(folder, "views", "shops.sql"), "SELECT shop, count(*) AS n, sum(tip) AS tips FROM payments GROUP BY shop\n")
	did := mustDecode[applied](t, p.call(http.MethodPost, "/v1/apply", nil).must(t))
	for _, c := range did.Changes {
		if want := map[string]string{"overall": "rebuild", "shops": "new"}[c.View]; c.Change != firstOf(want, unchanged) {
			t.Errorf("%+v", c)
		}
	}
	if all := p.sqlRow("SELECT * FROM overall"); all["shops"] != json.Number("60") || all["n"] != json.Number("250") {
		t.Errorf("the view that gained a column: %v", all)
	}
	got := p.mustGet("/v1/sql", "SELECT shop, n, tips::VARCHAR AS tips FROM shops ORDER BY shop NULLS FIRST")
	if text := fmt.Sprint(got.Data); text != "[map[n:190 shop:<nil> tips:<nil>] map[n:30 shop:s0 tips:310.00] map[n:30 shop:s1 tips:310.00]]" {
		t.Errorf("the view over a new column: %s", text)
	}
	if d, text := p.difference("shops"); d != 0 {
		t.Errorf("difference: %s", text)
	}
}
