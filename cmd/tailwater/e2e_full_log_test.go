package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A link is a network connection to a server that can be cut.
type link struct {
	addr, to string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func startLink(t *testing.T, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{addr: listener.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.carry(c) })
		}
	})
	t.Cleanup(func() { listener.Close(); l.cut(); wg.Wait() })
	return l
}

// carry copies both ways until one side ends or the link is cut.
func (l *link) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		return
	}
	l.conns[near], l.conns[far] = true, true
	l.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(far, near); far.Close(); near.Close() })
	io.Copy(near, far)
	far.Close()
	near.Close()
	wg.Wait()
	l.mu.Lock()
	delete(l.conns, near)
	delete(l.conns, far)
	l.mu.Unlock()
}

// cut ends all connections and lets no new one through.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for c := range l.conns {
		c.Close()
	}
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// A bulk is requests of one form.
type bulk struct {
	rows int // a request
	text int // bytes of text in every row, besides the rest
}

// request writes the request of a number. It compresses badly, so that a log is
// full soon.
func (b bulk) request(number int) string {
	r := rand.New(rand.NewPCG(uint64(number), 5))
	var sb strings.Builder
	for i := range b.rows {
		merchant := merchants[i%3]
		if b.text > 0 {
			text := make([]byte, b.text)
			for k := range text {
				text[k] = 'a' + byte(r.IntN(26))
			}
			merchant = string(text)
		}
		sb.WriteString(payment(fmt.Sprintf("f%d-%d-%x", number, i, r.Uint64()), i%60, merchant, 100, "7"))
	}
	return sb.String()
}

// fillLog sends requests until the log is full: first with
// several clients, whose requests share messages, then with one. It gives the
// number of requests acknowledged, which are numbered from 0 but for those
// refused, the next number, and the last refusal.
func fillLog(t *testing.T, p *process, b bulk, clients int) (acknowledged, next int, full reply) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	isFull := false
	for range clients {
		wg.Go(func() {
			for {
				mu.Lock()
				request := next
				next++
				stop := isFull
				mu.Unlock()
				if stop {
					return
				}
				_, err := p.post(t.Context(), "payments", b.request(request))
				mu.Lock()
				if err == nil {
					acknowledged++
				}
				isFull = isFull || err != nil
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for ; ; next++ {
		r := p.call(http.MethodPost, paymentsPath, strings.NewReader(b.request(next)))
		if r.status != http.StatusOK {
			if a := mustDecode[ingested](t, r.body); a.Accepted != 0 {
				t.Errorf("refused, and %d accepted: the body fits one message", a.Accepted)
			}
			return acknowledged, next + 1, r
		}
		acknowledged++
	}
}

func TestAFullLogRefusesAndRecoversByItself(t *testing.T) {
	for name, c := range map[string]struct {
		bulk
		clients int
		killed  bool
	}{
		"small requests":                      {bulk{300, 0}, 0, false},
		"large requests that share a message": {bulk{6000, 0}, 4, false},
		"events near the limit of a record":   {bulk{1, 1_000_000}, 0, false},
		"killed while full":                   {bulk{4000, 0}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s3 := startMinIO(t)
			link := startLink(t, s3.Endpoint)
			env, args := external(t, "embedded", s3)
			args = append(args, "--s3-endpoint", "http://"+link.addr, "--log-max-bytes", "16MB", "--land-bytes", "1MB", "--land-age", "100ms", "--batch-schedule", "off")
			data := t.TempDir()
			project := worldFolder(t)
			p := startReady(t, project, data, env, args...)
			link.cut() // the lake is away, so that nothing leaves the log

			sent, next, full := fillLog(t, p, c.bulk, c.clients)
			full.refusal(t, http.StatusServiceUnavailable, "log_full")
			if after, err := strconv.Atoi(full.header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
				t.Errorf("Retry-After: %q", full.header.Get("Retry-After"))
			}
			if sent == 0 {
				t.Fatal("the log was full from the beginning")
			}
			// The log being full stops nobody from asking.
			p.caughtUp()
			judgeFull(t, p, sent*c.rows)
			if c.killed {
				p.kill()
			}
			link.mend()
			if c.killed {
				p = startReady(t, project, data, env, args...)
				judgeFull(t, p, sent*c.rows)
			}
			// There is room again, and not only for what is left below the limit.
			for goal := sent + sent/8 + 1; sent < goal; sent, next = sent+1, next+1 {
				p.eventually("a request is taken again", 10*time.Second, func() bool {
					r := p.call(http.MethodPost, paymentsPath, strings.NewReader(c.request(next)))
					if r.status != http.StatusOK {
						r.refusal(t, http.StatusServiceUnavailable, "log_full")
					}
					return r.status == http.StatusOK
				})
			}
			p.caughtUp()
			judgeFull(t, p, sent*c.rows)
			p.stop()
			ids := lakeIDs(t, download(t, s3, "lake/payments"))
			for id, n := range ids {
				if n != 1 {
					t.Fatalf("lake: event %s is there %d times", id, n)
				}
			}
			if len(ids) != sent*c.rows {
				t.Fatalf("lake: %d events, %d were acknowledged", len(ids), sent*c.rows)
			}
			p = startReady(t, project, data, env, args...)
			judgeFull(t, p, sent*c.rows)
			p.stop()
		})
	}
}

// judgeFull expects every acknowledged event, once, in the stream and in the view.
func judgeFull(t *testing.T, p *process, acknowledged int) {
	t.Helper()
	r := p.sqlRow("SELECT count(*) AS n, count(DISTINCT id) AS ids, (SELECT sum(n) FROM hourly) AS hourly FROM payments")
	for _, name := range []string{"n", "ids", "hourly"} {
		if fmt.Sprint(r[name]) != fmt.Sprint(acknowledged) {
			t.Fatalf("%v, but %d were acknowledged", r, acknowledged)
		}
	}
	if d, text := p.difference("hourly"); d != 0 {
		t.Fatalf("difference %d: %s", d, text)
	}
}
