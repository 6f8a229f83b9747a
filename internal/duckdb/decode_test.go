package duckdb

import (
	"errors"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
)

// Texts of all lengths, which the engine holds in two ways, come as they are, with NULLs
// and without, through the ends of vectors and batches; and so do the values beside them.
func TestTextsOfAllLengthsAreDecoded(t *testing.T) {
	c := open(t, Options{Threads: 1})
	const rows = 50_000
	want := func(i int) (text string, null bool) {
		if i%7 == 3 {
			return "", true
		}
		b := make([]byte, i*i%29)
		for at := range b {
			b[at] = byte('a' + i%26)
		}
		return string(b), false
	}
	const text = "repeat(chr((97 + i % 26)::INTEGER), (i * i) % 29)"
	for _, from := range []string{"range(50000) t(i)", "stored"} {
		if from == "stored" {
			if err := c.Exec(t.Context(), "CREATE TABLE stored AS SELECT i FROM range(50000) t(i)"); err != nil {
				t.Fatal(err)
			}
		}
		q, err := c.Query(t.Context(), "SELECT i, CASE WHEN i % 7 <> 3 THEN "+text+" END, "+text+" || 'x', CASE WHEN i % 7 <> 3 THEN i::DOUBLE END, 'a constant of many bytes', i % 7 <> 3 FROM "+from)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for {
			b, err := q.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Column(1).(*array.String).ValidateFull(); err != nil {
				t.Fatal(err)
			}
			for i := range int(b.NumRows()) {
				text, null := want(at)
				full := "x"
				if !null {
					full = text + "x"
				}
				got, whole, number := b.Column(1).(*array.String), b.Column(2).(*array.String).Value(i), b.Column(3).(*array.Float64)
				if b.Column(0).(*array.Int64).Value(i) != int64(at) || got.IsNull(i) != null || got.Value(i) != text || !null && whole != full ||
					number.IsNull(i) != null || !null && number.Value(i) != float64(at) || null && number.Value(i) != 0 ||
					b.Column(4).(*array.String).Value(i) != "a constant of many bytes" || b.Column(5).(*array.Boolean).Value(i) == null {
					t.Fatalf("row %d: %q (%v), %q, %v", at, got.Value(i), got.IsNull(i), whole, number.Value(i))
				}
				at++
			}
		}
		q.Close()
		if at != rows {
			t.Errorf("%d rows of %s, want %d", at, from, rows)
		}
	}
}
