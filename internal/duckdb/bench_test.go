package duckdb

import (
	"fmt"
	"testing"
)

func BenchmarkScan20k(b *testing.B) {
	benchmark(b, "SELECT max(k), max(s) FROM %s")
}

func BenchmarkGroupedAggregate20k(b *testing.B) {
	benchmark(b, "SELECT s, count(*), sum(k)::BIGINT FROM %s GROUP BY s")
}

func benchmark(b *testing.B, sql string) {
	c := open(b, Options{Threads: 1})
	h := share(b, numberColumns, numbers(0, 19_999))
	s, err := c.Prepare(b.Context(), fmt.Sprintf(sql, h.SQL()))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if _, err := s.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}
