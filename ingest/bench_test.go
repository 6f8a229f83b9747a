package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/event"
)

// payments is a stream of twelve columns, as a payment processor would have it.
func payments() *event.Schema {
	id, at := col("event_id", event.Varchar), col("ts", event.Timestamp)
	id.NotNull, at.NotNull = true, true
	return &event.Schema{
		Stream: "payments",
		Columns: []event.Column{
			id, at, col("merchant_id", event.BigInt), col("customer_id", event.BigInt), decimal("amount", 12, 2), col("currency", event.Varchar),
			col("status", event.Varchar), col("country", event.Varchar), col("card", event.Varchar), col("latency_ms", event.Double), col("attempt", event.Integer), col("test", event.Boolean),
		},
		TimeColumn: 1, IDColumn: 0,
	}
}

// paymentLines gives n lines of 270 bytes; every bad-th is refused (0: none).
func paymentLines(n, bad int) []byte {
	var w strings.Builder
	for i := range n {
		amount := fmt.Sprintf("%d.%02d", i*7919%100000, i%100)
		if bad > 0 && i%bad == 0 {
			amount = `"a lot"`
		}
		fmt.Fprintf(&w, `{"event_id":"3f2504e0-4f89-41d3-9a0c-%012d","ts":"2026-11-20T09:%02d:%02d.%06dZ","merchant_id":%d,"customer_id":%d,"amount":%s,"currency":"EUR","status":"authorized","country":"DE","card":"visa-debit","latency_ms":%d.%d,"attempt":%d,"test":false}`+"\n",
			i, i/60%60, i%60, i*37%1000000, 100000+i%5000, 700000000+i*13, amount, i%300, i%1000, i%3+1)
	}
	return []byte(w.String())
}

func BenchmarkDecode(b *testing.B) {
	const n = 1000
	array := func(lines []byte) []byte {
		return []byte("[" + strings.ReplaceAll(strings.TrimSpace(string(lines)), "\n", ",") + "]")
	}
	for _, c := range []struct {
		name  string
		body  []byte
		array bool
	}{
		{"lines", paymentLines(n, 0), false},
		{"lines-1%-bad", paymentLines(n, 100), false},
		{"array", array(paymentLines(n, 0)), true},
		{"lines-spaced", []byte(strings.ReplaceAll(strings.ReplaceAll(string(paymentLines(n, 0)), `":`, `": `), `,"`, `, "`)), false},
	} {
		b.Run(c.name, func(b *testing.B) {
			d, err := NewDecoder(payments(), Limits{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				out, err := d.Decode(c.body, c.array)
				if err != nil || out.Accepted()+len(out.Refused) != n {
					b.Fatal(out.Accepted(), err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
