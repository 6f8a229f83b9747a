package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A page is the server's page in a real Chromium, watched for what must not happen.
type page struct {
	t    *testing.T
	ctx  context.Context
	p    *process
	host string

	mu      sync.Mutex
	errors  []string // exceptions, console errors
	foreign []string // requests to other hosts
}

// A screen is what a page is seen on.
type screen struct {
	name          string
	width, height int64
	scheme        string // prefers-color-scheme
}

var (
	desktop = screen{"light", 1440, 1000, "light"}
	night   = screen{"dark", 1440, 1000, "dark"}
	phone   = screen{"phone", 360, 780, "light"}
)

// openPage starts a browser of its own, with an empty profile, and opens path.
func openPage(t *testing.T, p *process, s screen, path string) *page {
	t.Helper()
	browser := os.Getenv("TAILWATER_TEST_BROWSER")
	if browser == "" {
		t.Fatal("TAILWATER_TEST_BROWSER must name a Chromium: `make test` finds or installs one, tools/browser prints its path")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(browser), chromedp.Flag("headless", "new"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-extensions", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-background-timer-throttling", true), chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true), chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	host, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	w := &page{t: t, ctx: ctx, p: p, host: host.Host}
	w.must(chromedp.Do(ctx))
	w.must(chromedp.Listen(ctx, w.watch))
	must1 := func(_ any, err error) { t.Helper(); w.must(err) }
	must1(chromedp.Call(ctx, network.Enable, network.EnableParams{}))
	must1(chromedp.Call(ctx, log.Enable, cdp.Empty{}))
	must1(chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}}}))
	must1(chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: s.height, DeviceScaleFactor: 1, Mobile: s.width < 600}))
	w.must(chromedp.Do(ctx, chromedp.Navigate(p.url+path)))
	return w
}

// watch notes what must not happen. It is called in order, by one goroutine.
func (w *page) watch(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		w.errors = append(w.errors, text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			w.errors = append(w.errors, fmt.Sprintf("console.%s with %d arguments", e.Type, len(e.Args)))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" {
			w.errors = append(w.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "data" && u.Host != w.host {
			w.foreign = append(w.foreign, e.Request.URL)
		}
	}
}

func (w *page) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("browser: %v\n%s", err, w.p.output())
	}
}

// mustBeQuiet fails the test if the page complained or asked another host.
func (w *page) mustBeQuiet() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errors) > 0 {
		w.t.Errorf("errors in the page:\n%s", strings.Join(w.errors, "\n"))
	}
	if len(w.foreign) > 0 {
		w.t.Errorf("requests to other hosts:\n%s", strings.Join(w.foreign, "\n"))
	}
}

// eval gives the value of an expression; a promise is awaited.
func eval[T any](w *page, expression string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 60*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", expression, err, w.p.output())
	}
	return v
}

// until waits in the page for a condition; it looks twenty times a second, drawn or not.
func (w *page) until(what, condition string) {
	w.t.Helper()
	held := eval[bool](w, `new Promise((resolve) => {
		const end = performance.now() + 45000;
		const look = () => {
			if (`+condition+`) resolve(true);
			else if (performance.now() > end) resolve(false);
			else setTimeout(look, 50);
		};
		look();
	})`)
	if !held {
		w.t.Fatalf("after 45 s still not: %s (%s)\nthe page says:\n%s\nthe server:\n%s", what, condition, eval[string](w, `document.body.innerText`), w.p.output())
	}
}

// key presses keys as a keyboard does.
func (w *page) key(keys string, options ...chromedp.KeyOption) {
	w.t.Helper()
	w.must(chromedp.Do(w.ctx, chromedp.KeyEvent(keys, options...)))
}

// picture keeps what is seen, if anybody wants it.
func (w *page) picture(name string) {
	w.t.Helper()
	dir := os.Getenv("TAILWATER_TEST_ARTIFACTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(w.ctx, chromedp.CaptureScreenshot())
	w.must(err)
	w.must(os.MkdirAll(dir, 0o755))
	w.must(os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}
