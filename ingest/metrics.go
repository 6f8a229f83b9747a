package ingest

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the room's counters. They exist without a registry too; then
// nobody reads them.
type metrics struct {
	events, refused, bytes *prometheus.CounterVec
	requests               *prometheus.CounterVec
	seconds                *prometheus.HistogramVec
}

// newMetrics registers with r, once: a second handler needs a registry, or
// labels, of its own.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "tailwater", Subsystem: "ingest", Name: name, Help: help}, labels)
	}
	return &metrics{
		events:   counter("events_total", "Events accepted and on disk.", "stream"),
		refused:  counter("rejected_total", "Records refused and kept as dead letters.", "stream"),
		bytes:    counter("received_bytes_total", "Bytes of bodies as received.", "stream"),
		requests: counter("requests_total", "Requests by status; those for unknown streams have an empty stream.", "stream", "status"),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{Namespace: "tailwater", Subsystem: "ingest", Name: "request_seconds",
			Help:    "From the request's header to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15), // 0.5 ms, under one fsync, to 8 s, over Wait
		}, []string{"stream"}),
	}
}

func (m *metrics) received(stream string, bytes int) {
	m.bytes.WithLabelValues(stream).Add(float64(bytes))
}

func (m *metrics) stored(stream string, a *answer) {
	if a == nil {
		return
	}
	m.events.WithLabelValues(stream).Add(float64(a.Accepted))
	m.refused.WithLabelValues(stream).Add(float64(a.total))
}

func (m *metrics) request(stream string, status int, begin time.Time) {
	m.requests.WithLabelValues(stream, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(stream).Observe(time.Since(begin).Seconds())
}
