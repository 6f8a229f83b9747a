package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// pageProject has a view of every shape that the page draws: windows, ranks, figures.
var pageProject = map[string]string{
	"streams/orders.sql":   "-- time: ts\n-- id: id\nCREATE TABLE orders (id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, shop VARCHAR, amount DECIMAL(12,2) NOT NULL);",
	"views/minutes.sql":    "-- description: orders of each shop, minute by minute\nSELECT window_start, window_end, shop, count(*) AS orders, sum(amount) AS revenue FROM orders GROUP BY tumble(ts, INTERVAL '1 minute'), shop",
	"views/shops.sql":      "SELECT shop, count(*) AS orders, sum(amount) AS revenue, avg(amount) AS mean FROM orders GROUP BY shop",
	"views/everything.sql": "SELECT count(*) AS orders, sum(amount) AS revenue FROM orders",
}

// pageOrders gives n orders, ten a minute, and in the end one that does not fit.
func pageOrders(n int) string {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id":"o%d","ts":%q,"shop":"shop %d","amount":"%d.50"}`+"\n", i, start.Add(time.Duration(i)*6*time.Second).Format(time.RFC3339), i*i%11%7, 3+i%90)
	}
	b.WriteString(`{"id":"bad","ts":"2026-03-01T12:00:00Z","amount":"much"}` + "\n")
	return b.String()
}

func servePage(t *testing.T, project, data string, args ...string) *process {
	t.Helper()
	p := startProcess(t, project, data, nil, append([]string{"--batch-schedule", "off"}, args...)...)
	if p == nil || !p.awaitReady() {
		t.Fatal("ended before it was ready")
	}
	return p
}

// fillPage sends orders to both layers: 400 are batched, 200 are not.
func fillPage(t *testing.T, p *process) {
	t.Helper()
	lines := strings.SplitAfter(pageOrders(600), "\n")
	p.mustPost("orders", strings.Join(lines[:400], ""))
	p.batch("")
	p.mustPost("orders", strings.Join(lines[400:], ""))
}

const (
	proven = `document.querySelector('.difference')?.dataset.tone === 'good' && document.querySelector('[data-difference]').textContent === '0'`
	// Windows, ranks and figures have both their parts.
	drawn = `['.chart .bar-batch', '.chart .bar-speed', '.ranked .part-batch', '.stats .part-speed'].every((x) => [...document.querySelectorAll(x)].some((e) => e.getBoundingClientRect().width > 0 && e.getBoundingClientRect().height > 0))`
)

// lookAtCards scrolls to every view of the overview: what is out of sight holds no
// connection.
func (w *page) lookAtCards() {
	w.t.Helper()
	for i := range eval[int](w, `document.querySelectorAll('.card').length`) {
		card := fmt.Sprintf(`document.querySelectorAll('.card')[%d]`, i)
		eval[bool](w, `(`+card+`.scrollIntoView({ block: 'center' }), true)`)
		w.until("a card has its numbers", `/\d/.test(`+card+`.querySelector('.figure').textContent)`)
	}
	w.until("each shape has drawn both its parts", drawn)
	eval[bool](w, `(scrollTo(0, 0), true)`)
}

// TestThePageIsQuietAndFits opens every page in light, in dark and on a phone.
func TestThePageIsQuietAndFits(t *testing.T) {
	p := servePage(t, writeFiles(t, pageProject), t.TempDir())
	fillPage(t, p)
	pages := []struct{ name, path, seen string }{
		{"overview", "#/", proven},
		{"view", "#/views/minutes", `document.querySelectorAll('tbody tr').length > 10 && document.querySelectorAll('.chart .bar-batch').length > 0`},
		{"pipeline", "#/pipeline", `document.querySelectorAll('.ruler text').length > 2`},
		{"batch", "#/batch", `document.querySelectorAll('tbody tr').length === 1`},
		{"dead", "#/dead", `document.querySelector('.letter')?.innerText.includes('much')`},
		{"sql", "#/sql", `document.querySelectorAll('.tables details').length === 5`},
	}
	for _, s := range []screen{desktop, night, phone} {
		t.Run(s.name, func(t *testing.T) {
			w := openPage(t, p, s, "/")
			for _, at := range pages {
				eval[string](w, fmt.Sprintf(`location.hash = %q`, at.path))
				w.until(at.name+" is drawn", at.seen)
				if at.name == "overview" {
					w.lookAtCards()
				}
				if width := eval[int64](w, `document.documentElement.scrollWidth`); width > s.width {
					t.Errorf("%s is %d px wide on a screen of %d", at.name, width, s.width)
				}
				if scheme := eval[string](w, `document.documentElement.dataset.theme`); scheme != s.scheme {
					t.Errorf("%s is %s on a system that wants %s", at.name, scheme, s.scheme)
				}
				w.picture(at.name + "-" + s.name)
			}
			w.mustBeQuiet()
		})
	}
}

// TestAnEventIsSeenAtOnce measures in the page itself, from the server's answer to
// the changed number. The best of three counts: the machine that tests run on may
// be busy with others at any one moment, but hardly at three.
func TestAnEventIsSeenAtOnce(t *testing.T) {
	p := servePage(t, writeFiles(t, pageProject), t.TempDir())
	fillPage(t, p)
	w := openPage(t, p, desktop, "/")
	w.until("the overview is drawn", drawn)
	var took []float64
	for i := range 3 {
		took = append(took, eval[float64](w, fmt.Sprintf(`(async () => {
			const total = document.querySelector('[data-total="everything"]');
			const before = total.textContent;
			let saw;
			const seen = new Promise((resolve) => { saw = resolve; });
			new MutationObserver(() => total.textContent !== before && saw(performance.now())).observe(total, { childList: true, characterData: true, subtree: true });
			const answer = await fetch('/v1/streams/orders/events', { method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' },
				body: '{"id":"now%d","ts":"2026-03-01T13:00:0%dZ","shop":"shop 1","amount":"1.25"}\n' });
			if (!answer.ok) throw new Error(await answer.text());
			const answered = performance.now();
			setTimeout(() => saw(answered + 1e6), 20000);
			return (await seen) - answered;
		})()`, i, i)))
	}
	t.Logf("seen %.0f ms after the answer", took)
	if best := slices.Min(took); best > 500 {
		t.Errorf("an event was seen %.0f ms after it was answered, at best; want 500", best)
	}
	w.mustBeQuiet()
}

// fixedAddress gives an address that is free, and below those that the system deals
// out: nobody gets it while the server is down.
func fixedAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))
		if listener, err := net.Listen("tcp", address); err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("no free port from 20000 to 29999")
	return ""
}

// TestTheDifferenceStaysZeroOverAKill watches the number all the time while the
// server is killed and started again with the same port and data.
func TestTheDifferenceStaysZeroOverAKill(t *testing.T) {
	project, data := writeFiles(t, pageProject), t.TempDir()
	address := fixedAddress(t)
	p := servePage(t, project, data, "--http", address)
	fillPage(t, p)
	w := openPage(t, p, desktop, "/")
	w.until("the difference is proven", proven+" && "+drawn)
	eval[bool](w, `(() => {
		const number = document.querySelector('[data-difference]');
		window.readings = new Set([number.textContent]);
		new MutationObserver(() => readings.add(number.textContent)).observe(number, { childList: true, characterData: true, subtree: true });
		window.total = document.querySelector('[data-total="everything"]').textContent;
		return true;
	})()`)

	p.kill()
	w.until("the page says that the connection is lost", `document.querySelector('.state').textContent.startsWith('connection lost') && document.querySelector('.difference').dataset.tone === 'stale'`)
	w.picture("lost-light")

	again := servePage(t, project, data, "--http", address)
	w.p = again
	w.until("the difference is proven again", proven+` && document.querySelector('.state').textContent === 'ready'`)
	if readings := eval[[]string](w, `[...readings]`); !slices.Equal(readings, []string{"0"}) {
		t.Errorf("the difference read %q", readings)
	}
	again.mustPost("orders", `{"id":"after","ts":"2026-03-01T13:00:00Z","shop":"shop 1","amount":"1.25"}`)
	w.until("an event sent after the kill is shown", `document.querySelector('[data-total="everything"]').textContent === '601' && window.total === '600'`)
}

// TestThePageIsThereWhileTheServerStarts opens it with a start that takes its time.
func TestThePageIsThereWhileTheServerStarts(t *testing.T) {
	srv := &server{}
	srv.starting("replaying the log")
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*srv.handler.Load()).ServeHTTP(w, r) }))
	defer listener.Close()
	p := &process{t: t, url: listener.URL}
	w := openPage(t, p, desktop, "/")
	w.until("the page says what start-up is doing", `document.querySelector('.banner').innerText.includes('replaying the log') && document.querySelector('.state').textContent === 'starting'`)
	w.picture("starting-light")
}

// TestThePageIsUsedByKeyboard reaches the navigation, writes SQL and reads its rows.
func TestThePageIsUsedByKeyboard(t *testing.T) {
	p := servePage(t, writeFiles(t, pageProject), t.TempDir())
	fillPage(t, p)
	w := openPage(t, p, desktop, "/")
	w.until("the overview is drawn", drawn)

	var order []string
	for range 4 {
		w.key(kb.Tab)
		order = append(order, eval[string](w, `document.activeElement.innerText.trim()`))
	}
	if want := []string{"Skip to the content", "Tailwater", "Overview", "Views"}; !slices.Equal(order, want) {
		t.Errorf("Tab reaches %q, want %q", order, want)
	}
	if !eval[bool](w, `document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineStyle !== 'none'`) {
		t.Error("the link with the focus has no ring")
	}

	w.key("?")
	w.until("help is open", `document.querySelector('dialog').open`)
	w.picture("help-light")
	w.key(kb.Escape)
	w.key("3")
	w.until("3 is the pipeline", `location.hash === '#/pipeline'`)
	w.key("/")
	w.until("the editor has the focus", `document.activeElement.id === 'sql'`)

	run := func(statement string) {
		t.Helper()
		text, _ := json.Marshal(statement)
		eval[bool](w, fmt.Sprintf(`(document.activeElement.value = %s, true)`, text))
		w.key(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl))
	}
	run("SELECT shop, 170141183460469231731687303715884105727::HUGEINT AS huge, sum(amount) AS revenue FROM orders GROUP BY shop ORDER BY shop")
	w.until("the rows are shown with all their digits", `document.querySelectorAll('.result tbody tr').length === 6 && document.querySelector('.result tbody').innerText.includes('170,141,183,460,469,231,731,687,303,715,884,105,727')`)
	w.picture("sql-result-light")
	run("SELECT shop\nFROM order")
	w.until("an error is shown with its place", `document.querySelector('.problem-box')?.innerText.includes('^')`)
	w.picture("sql-error-light")
}

// TestThePageCountsExactly asks the page's own arithmetic.
func TestThePageCountsExactly(t *testing.T) {
	p := servePage(t, writeFiles(t, pageProject), t.TempDir())
	w := openPage(t, p, desktop, "/")
	got := eval[string](w, `(async () => {
		const { parse, sum, minus, compare } = await import('/assets/core/exact.js');
		const { exact, rounded, compact, cell, time, json } = await import('/assets/core/format.js');
		const [a, b] = parse('[12345678901234567890.10, 0.90]');
		return [
			exact(sum([a, b])), exact(minus(b, a)), exact(sum([0.1, 0.2])), exact(sum([])), exact(parse('-1234567')),
			json(parse('{"x":[1.50,1e400,"a\\u00e4\\"",null,true],"__proto__":{"y":-0.0}}')),
			[3, null, 20, a].sort(compare).join(' '),
			rounded(1234.56789), rounded(0.333333333), compact(1234567), compact(999950), compact(-0.25),
			cell(parse('1.10'), 'DECIMAL(3,2)').text, time('2026-03-01T12:00:00.5Z'), time('2026-03-01T00:00:00Z'),
		].join('\n');
	})()`)
	want := strings.Join([]string{
		"12,345,678,901,234,567,891.00", "−12,345,678,901,234,567,889.20", "0.3", "0", "−1,234,567",
		`{"x": [1.50, 1e400, "aä\"", null, true], "__proto__": {"y": -0.0}}`,
		"3 20 12345678901234567890.10 ",
		"1,234.57", "0.333333", "1.2M", "1M", "−0.25",
		"1.10", "2026-03-01 12:00:00.5", "2026-03-01 00:00",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
