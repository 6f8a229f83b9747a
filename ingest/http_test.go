package ingest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tailwater/tailwater/event"
)

// TestHTTPScripts runs testdata/http.txt, which explains itself.
func TestHTTPScripts(t *testing.T) {
	const path = "testdata/http.txt"
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(file), "\n=== ")
	rewritten := head + "\n"
	for _, script := range strings.Split(rest, "\n=== ") {
		title, script, _ := strings.Cut(script, "\n")
		request, want, _ := strings.Cut(script, "---\n")
		var got string
		t.Run(title, func(t *testing.T) {
			got = runScript(t, request)
			if !*rewrite && strings.TrimRight(got, "\n") != strings.TrimRight(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
		rewritten += "=== " + title + "\n" + request + "---\n" + got + "\n"
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(strings.TrimRight(rewritten, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// runScript sends one request and tells the answer and what the log got.
func runScript(t *testing.T, script string) string {
	head, body, _ := strings.Cut(script, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	log := &memLog{stream: "orders"}
	payload := []byte(strings.TrimSuffix(body, "\n"))
	header := http.Header{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "!repeat":
			n, _ := strconv.Atoi(value)
			payload = bytes.Repeat(append(payload, '\n'), n)
		case "!compress":
			payload = compress(t, value, payload)
		case "!cut":
			payload = payload[:len(payload)-5]
		case "!log":
			log.before = logScript(value)
		default:
			header.Add(name, value)
		}
	}
	h, err := NewHandler(map[string]Target{"orders": {Schema: orders(), Publisher: log}, "clicks": {Schema: orders(), Publisher: log}}, Config{
		Limits: Limits{BodyBytes: 4000, RecordBytes: 500, Refused: 150}, WireBytes: 2000, SliceRows: 3,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, target, bytes.NewReader(payload))
	r.Header = header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	out := fmt.Sprintf("%d\n", w.Code)
	for _, name := range []string{"Allow", "Accept-Encoding", "Retry-After"} {
		if v := w.Header().Get(name); v != "" {
			out += name + ": " + v + "\n"
		}
	}
	out += w.Body.String()
	for i, m := range log.messages {
		out += fmt.Sprintf("message %d: %d rows, %d refused\n", i+1, Decoded{Rows: m.rows}.Accepted(), len(m.refused))
	}
	return out
}

func orders() *event.Schema {
	id := col("id", event.BigInt)
	id.NotNull = true
	return &event.Schema{Stream: "orders", Columns: []event.Column{id, col("item", event.Varchar), decimal("price", 9, 2)}, TimeColumn: -1, IDColumn: 0}
}

// logScript makes the log fail at its n-th message: "full 2", "gone 1", "passing 1", "broken 1".
func logScript(text string) func(int) error {
	what, at, _ := strings.Cut(text, " ")
	n, _ := strconv.Atoi(at)
	err := map[string]error{
		"full":    fmt.Errorf("publish to orders: %w (1 GiB); land or purge, or raise log.bytes", ErrFull),
		"gone":    fmt.Errorf("publish to orders: %w", ErrUnavailable),
		"passing": fmt.Errorf("publish to orders: %w", passing{1500 * time.Millisecond}),
		"broken":  errors.New("open /secret/path: input/output error"),
	}[what]
	return func(seq int) error {
		if seq == n {
			return err
		}
		return nil
	}
}

func compress(t *testing.T, encoding string, b []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if encoding == "zstd" {
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(out.Bytes())
}
