package postgres

import "github.com/prometheus/client_golang/prometheus"

// metrics are the server's own.
type metrics struct {
	connections prometheus.Gauge
	statements  *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tailwater_postgres_connections", Help: "Sessions of the Postgres protocol.",
		}),
		statements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tailwater_postgres_statements_total", Help: "Statements over the Postgres protocol, by kind and SQLSTATE.",
		}, []string{"kind", "sqlstate"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tailwater_postgres_statement_seconds", Help: "Time of statements over the Postgres protocol, by kind.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16), // 1 ms to 33 s
		}, []string{"kind"}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.connections, m.statements, m.seconds}
}
