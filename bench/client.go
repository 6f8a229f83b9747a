package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A load is clients that send events at one server. Each writes HTTP/1.1 by itself
// on a connection of its own, one request at a time: net/http would cost more
// than the server does.
type load struct {
	addr    string
	clients int
	rows    int     // events a request
	rate    float64 // events a second of all clients together; 0: as fast as they are answered
	number  uint64  // tells the ids of this load from others at the same server
	// clock gives the event time of a request that is sent when so many
	// events were sent before; nil: now.
	clock func(events uint64) time.Time

	senders  []*sender
	requests atomic.Uint64
	accepted atomic.Uint64
	refused  atomic.Uint64 // requests that were told to come again later
	stop     chan struct{}
	running  sync.WaitGroup
	limit    uint64 // events after which it ends by itself; 0: none
}

// A sender is one client.
type sender struct {
	connection
	load  *load
	body  *body
	whole []byte    // head and body in one piece, of which body.text is the rest
	ms    []float64 // latency of each request that was accepted
	err   error
}

// A connection carries one request at a time.
type connection struct {
	conn net.Conn
	read []byte // as long as the longest answer
}

func dial(addr string, longest int) (c connection, err error) {
	c.read = make([]byte, longest)
	c.conn, err = net.Dial("tcp", addr)
	return c, err
}

// ask sends a whole request and gives the answer, whose body is valid until the next.
func (c *connection) ask(request []byte) (code int, body []byte, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, nil, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, nil, err
	}
	return c.answer()
}

// open connects all clients and makes their bodies.
func (l *load) open() error {
	l.stop = make(chan struct{})
	for i := range l.clients {
		s := &sender{load: l, body: newBody(l.rows, l.number, uint64(i))}
		head := fmt.Appendf(nil, "POST /v1/streams/payments/events HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n", l.addr, len(s.body.text))
		s.whole = append(head, s.body.text...)
		s.body.text = s.whole[len(head):]
		l.senders = append(l.senders, s)
		var err error
		if s.connection, err = dial(l.addr, 16<<10); err != nil {
			l.close()
			return err
		}
	}
	return nil
}

func (l *load) close() {
	for _, s := range l.senders {
		if s.conn != nil {
			s.conn.Close()
		}
	}
}

// start lets the clients send until finish, or until limit events were accepted.
func (l *load) start(ctx context.Context) {
	began := time.Now()
	for i, s := range l.senders {
		l.running.Go(func() { s.err = s.run(ctx, began, i) })
	}
}

// finish ends the load, waits for the requests under way, and gives their
// latencies and the first error.
func (l *load) finish() (ms []float64, err error) {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	return l.wait()
}

// wait waits for a load that ends by itself.
func (l *load) wait() (ms []float64, err error) {
	l.running.Wait()
	l.close()
	for _, s := range l.senders {
		ms = append(ms, s.ms...)
		err = errors.Join(err, s.err)
	}
	return ms, err
}

// run sends. At a rate, the clients take turns, evenly spread; one that is late
// sends at once until it has caught up.
func (s *sender) run(ctx context.Context, began time.Time, index int) error {
	l := s.load
	var every time.Duration
	if l.rate > 0 {
		every = time.Duration(float64(l.clients*l.rows) / l.rate * float64(time.Second))
	}
	next := began.Add(every * time.Duration(index) / time.Duration(l.clients))
	for {
		if wait := time.Until(next); every > 0 && wait > 0 {
			select {
			case <-time.After(wait):
			case <-l.stop:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		next = next.Add(every)
		select {
		case <-l.stop:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
		request := l.requests.Add(1)
		if l.limit > 0 && (request-1)*uint64(l.rows) >= l.limit {
			return nil
		}
		at := time.Now()
		if l.clock != nil {
			at = l.clock((request - 1) * uint64(l.rows))
		}
		s.body.renew(request, at)
		if err := s.send(ctx); err != nil {
			return err
		}
	}
}

// send makes one request, again and again while the server asks to come later.
func (s *sender) send(ctx context.Context) error {
	for {
		began := time.Now()
		code, answer, err := s.ask(s.whole)
		switch {
		case err != nil:
			return err
		case code == 503:
			s.load.refused.Add(1)
			select {
			case <-time.After(20 * time.Millisecond):
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case code != 200:
			return fmt.Errorf("answer %d: %s", code, answer)
		}
		if rest, ok := bytes.CutPrefix(answer, []byte(`{"accepted":`)); ok {
			n, _, _ := bytes.Cut(rest, []byte(","))
			if string(n) != strconv.Itoa(s.body.rows) {
				return fmt.Errorf("not all of %d events were accepted: %s", s.body.rows, answer)
			}
		}
		s.load.accepted.Add(uint64(s.body.rows))
		s.ms = append(s.ms, ms(time.Since(began)))
		return nil
	}
}

var (
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("Content-Length: ")
)

// answer reads one response, which is short and has a length.
func (c *connection) answer() (code int, body []byte, err error) {
	n, end, length := 0, -1, 0
	for end < 0 || n < end+length {
		if n == len(c.read) {
			return 0, nil, fmt.Errorf("an answer of over %d bytes: %.200s", n, c.read)
		}
		m, err := c.conn.Read(c.read[n:])
		if n += m; err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, err
		}
		if end >= 0 {
			continue
		}
		at := bytes.Index(c.read[:n], headEnd)
		if at < 0 {
			continue
		}
		end = at + len(headEnd)
		head := c.read[:end]
		if len(head) < 12 {
			return 0, nil, fmt.Errorf("no HTTP: %q", head)
		}
		if code, err = strconv.Atoi(string(head[9:12])); err != nil {
			return 0, nil, fmt.Errorf("no HTTP: %q", head)
		}
		_, rest, found := bytes.Cut(head, contentLength)
		if !found {
			return 0, nil, fmt.Errorf("an answer without a length: %q", head)
		}
		digits, _, _ := bytes.Cut(rest, []byte("\r"))
		if length, err = strconv.Atoi(string(digits)); err != nil {
			return 0, nil, err
		}
	}
	return code, c.read[end : end+length], nil
}

// A window is what a load did in the measured part of a run.
type window struct {
	events    float64
	seconds   float64
	clientCPU time.Duration
	cpuBegan  time.Duration // the server's, when the window began
	before    uint64        // events accepted before it
	ms        []float64     // of all requests, those before the window too
	refused   uint64
	others    float64 // cores that other processes kept busy
}

func (w window) rate() float64 { return w.events / w.seconds }

// usPerEvent spreads CPU time over events.
func usPerEvent(cpu time.Duration, events float64) float64 {
	return float64(cpu) / float64(time.Microsecond) / events
}

// measure lets the load run, and measures what it does after warm.
func (l *load) measure(ctx context.Context, p *process, warm, length time.Duration) (w window, err error) {
	if err := l.open(); err != nil {
		return w, err
	}
	l.start(ctx)
	if err = pause(ctx, warm); err == nil {
		w, err = l.observe(ctx, p, length)
	}
	ms, ended := l.finish()
	w.ms, w.refused = ms, l.refused.Load()
	return w, errors.Join(err, ended)
}

func (l *load) observe(ctx context.Context, p *process, length time.Duration) (w window, err error) {
	if w.cpuBegan, err = p.cpu(); err != nil {
		return w, err
	}
	own, began := selfCPU(), time.Now()
	others := othersCPU(w.cpuBegan, own)
	w.before = l.accepted.Load()
	if err = pause(ctx, length); err != nil {
		return w, err
	}
	w.events, w.seconds = float64(l.accepted.Load()-w.before), time.Since(began).Seconds()
	w.clientCPU = selfCPU() - own
	end, err := p.cpu()
	w.others = (othersCPU(end, own+w.clientCPU) - others).Seconds() / w.seconds
	return w, err
}

// settled gives the server's CPU time per event, from the window's begin until now,
// when the load has ended and what was put off is done.
func (l *load) settled(p *process, w window) (usEach float64, err error) {
	now, err := p.cpu()
	return usPerEvent(now-w.cpuBegan, float64(l.accepted.Load()-w.before)), err
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fill sends a number of events as fast as they are taken.
func fill(ctx context.Context, addr string, number, events uint64, clock func(uint64) time.Time) error {
	l := &load{addr: addr, clients: 4, rows: int(min(5_000, events)), number: number, limit: events, clock: clock}
	if err := l.open(); err != nil {
		return err
	}
	l.start(ctx)
	_, err := l.wait()
	return err
}
