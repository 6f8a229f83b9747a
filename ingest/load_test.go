package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tailwater/tailwater/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, log *memLog, cfg Config) *httptest.Server {
	t.Helper()
	h, err := NewHandler(map[string]Target{"orders": {Schema: orders(), Publisher: log}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// TestConcurrentRequestsDoNotMix sends distinguishable bodies from many
// clients, plain and compressed, and finds each event once in the log.
func TestConcurrentRequestsDoNotMix(t *testing.T) {
	registry := prometheus.NewRegistry()
	log := &memLog{stream: "orders"}
	server := serve(t, log, Config{Workers: 2, SliceRows: 7, Metrics: registry})
	const clients, requests, events = 8, 20, 25
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for r := range requests {
				var body strings.Builder
				for e := range events {
					id := (c*requests+r)*events + e + 1
					fmt.Fprintf(&body, `{"id":%d,"item":"item-%d","price":%d.25}`+"\n", id, id, id)
					if e == 0 {
						body.WriteString("{\"id\":\"bad\"}\n")
					}
				}
				encoding := []string{"identity", "gzip", "zstd"}[(c+r)%3]
				payload := []byte(body.String())
				if encoding != "identity" {
					payload = compress(t, encoding, payload)
				}
				request, _ := http.NewRequest(http.MethodPost, server.URL+"/v1/streams/orders/events", bytes.NewReader(payload))
				request.Header.Set("Content-Encoding", encoding)
				answer, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				text, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				if answer.StatusCode != 200 || !bytes.Contains(text, []byte(`"accepted":25,"rejected":[{"line":2,"field":"id"`)) {
					t.Errorf("%d %s", answer.StatusCode, text)
				}
			}
		})
	}
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()

	seen := map[string]bool{}
	for _, m := range log.messages {
		for row := range (Decoded{Rows: m.rows}).Accepted() {
			id := m.rows.Column(0).ValueStr(row)
			if seen[id] || m.rows.Column(1).ValueStr(row) != "item-"+id || m.rows.Column(2).ValueStr(row) != id+"25" {
				t.Fatalf("event %s twice, or mixed: %s %s", id, m.rows.Column(1).ValueStr(row), m.rows.Column(2).ValueStr(row))
			}
			seen[id] = true
		}
	}
	if want := clients * requests * events; len(seen) != want {
		t.Errorf("%d events in the log, want %d", len(seen), want)
	}
	for name, want := range map[string]float64{
		"tailwater_ingest_events_total": 4000, "tailwater_ingest_rejected_total": 160, "tailwater_ingest_requests_total": 160,
	} {
		if got := counter(t, registry, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// counter gives the sum of a counter over its labels.
func counter(t *testing.T, r *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestBytesInFlightAreBoundedAndGivenBack holds requests in the log until no
// bytes are left, sees the next one answered 503, and after their release
// the same one accepted.
func TestBytesInFlightAreBoundedAndGivenBack(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	log := blockingLog{arrived, release}
	h, err := NewHandler(map[string]Target{"orders": {Schema: orders(), Publisher: log}}, Config{
		WireBytes: minShare, Limits: Limits{BodyBytes: minShare, DecodedBytes: minShare}, InFlightBytes: 1, // raised to three bodies
		Wait: time.Millisecond, RetryAfter: 3 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	post := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/streams/orders/events", strings.NewReader(`{"id":1}`)))
		return w
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if w := post(); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
		<-arrived
	}
	if w := post(); w.Code != 503 || w.Header().Get("Retry-After") != "3" || !strings.Contains(w.Body.String(), `"busy"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(release)
	wg.Wait()
	go func() { <-arrived }()
	if w := post(); w.Code != 200 {
		t.Errorf("after the release: %d %s", w.Code, w.Body)
	}
}

// TestFailedRequestsGiveTheirBytesBack sends what fails at every stage, more
// often than the bytes in flight would last.
func TestFailedRequestsGiveTheirBytesBack(t *testing.T) {
	log := &memLog{stream: "orders", before: func(int) error { return ErrUnavailable }}
	h, err := NewHandler(map[string]Target{"orders": {Schema: orders(), Publisher: log}}, Config{
		WireBytes: minShare, Limits: Limits{BodyBytes: minShare, DecodedBytes: minShare}, InFlightBytes: 1, Wait: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	bomb := string(compress(t, "gzip", bytes.Repeat([]byte("\n"), 10*minShare)))
	for range 10 {
		for _, c := range []struct {
			kind, encoding, body string
			status               int
		}{
			{"application/x-ndjson", "", `{"id":1}`, 503},
			{"application/json", "", `[{"id":1}`, 400},
			{"application/json", "gzip", `junk`, 400},
			{"application/json", "gzip", bomb, 413},
			{"", "", strings.Repeat("{\"id\":1}\n", 400), 413}, // 16 bytes decoded for 9
		} {
			r := httptest.NewRequest(http.MethodPost, "/v1/streams/orders/events", strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.kind)
			r.Header.Set("Content-Encoding", c.encoding)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || strings.Contains(w.Body.String(), `"busy"`) {
				t.Fatalf("%.20q: %d %s, want %d", c.body, w.Code, w.Body, c.status)
			}
		}
	}
}

// TestClientThatStopsSendingIsCutOff opens a request and never ends its body.
func TestClientThatStopsSendingIsCutOff(t *testing.T) {
	log := &memLog{stream: "orders"}
	server := serve(t, log, Config{ReadTimeout: 10 * time.Millisecond})
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/streams/orders/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"id\":1}\n")
	text, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(text, []byte("HTTP/1.1 408")) {
		t.Errorf("%v: %s", err, text)
	}
	if rows, _ := log.stored(); rows != 0 {
		t.Errorf("%d rows of an unfinished body stored", rows)
	}
}

// TestBodyOfUnknownLengthGrowsItsBuffer sends a chunked body larger than the first read.
func TestBodyOfUnknownLengthGrowsItsBuffer(t *testing.T) {
	log := &memLog{stream: "orders"}
	server := serve(t, log, Config{})
	body := strings.Repeat("{\"id\":1,\"item\":\"abcdefgh\"}\n", 20_000)
	answer, err := http.Post(server.URL+"/v1/streams/orders/events", "application/x-ndjson", io.MultiReader(strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	if rows, _ := log.stored(); answer.StatusCode != 200 || rows != 20_000 || len(log.messages) != 2 {
		t.Errorf("status %d, %d rows in %d messages", answer.StatusCode, rows, len(log.messages))
	}
}

// TestSlicesEndAtTheirBytes keeps each message near SliceBytes.
func TestSlicesEndAtTheirBytes(t *testing.T) {
	d, err := NewDecoder(orders(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(strings.Repeat(`{"id":1,"item":"`+strings.Repeat("x", 1000)+"\"}\n", 100) + strings.Repeat(strings.Repeat("y", 1000)+"\n", 100))
	slices, total, err := decodeSlices(d, body, layoutLines, Config{SliceRows: 1000, SliceBytes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	rows, refused, sum := 0, 0, 0
	for _, s := range slices {
		rows, refused, sum = rows+s.Accepted(), refused+len(s.Refused), sum+s.Size
		if s.Size > 12_000 {
			t.Errorf("a slice of %d bytes", s.Size)
		}
	}
	if rows != 100 || refused != 100 || sum != total || len(slices) < 18 {
		t.Errorf("%d rows, %d refused, %d of %d bytes in %d slices", rows, refused, sum, total, len(slices))
	}
}

// blockingLog holds each message until release is closed.
type blockingLog struct{ arrived, release chan struct{} }

func (l blockingLog) Publish(_ context.Context, rows arrow.RecordBatch, refused []event.Refused) (event.Position, error) {
	l.arrived <- struct{}{}
	<-l.release
	return event.Position{Source: event.Source{Stream: "orders", Epoch: 1}, Seq: 1}, nil
}

func BenchmarkHTTP(b *testing.B) {
	// The ceiling of the room: everything but the network and the log.
	log := dropLog{}
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, err := NewHandler(map[string]Target{"payments": {Schema: payments(), Publisher: log}}, Config{})
			if err != nil {
				b.Fatal(err)
			}
			body := paymentLines(n, 0)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/streams/payments/events", bytes.NewReader(body)))
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// dropLog forgets everything at once.
type dropLog struct{}

func (dropLog) Publish(context.Context, arrow.RecordBatch, []event.Refused) (event.Position, error) {
	return event.Position{Source: event.Source{Stream: "payments", Epoch: 1}, Seq: 1}, nil
}
