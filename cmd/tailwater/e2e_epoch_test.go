package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const ordersStream = "CREATE TABLE orders (n BIGINT NOT NULL);\n"

// An operator replaces the log by an empty one, and later puts the old one back:
// what the lake holds of it must not be counted a second time.
func TestAnOldLogThatIsBroughtBackIsNotCountedTwice(t *testing.T) {
	project, data := t.TempDir(), t.TempDir()
	putFile(t, filepath.Join(project, "streams", "orders.sql"), ordersStream)
	putFile(t, filepath.Join(project, "views", "total.sql"), "SELECT count(*) AS n, sum(n) AS total FROM orders\n")
	run := func(body, want string) {
		t.Helper()
		p := startProcess(t, project, data, nil)
		if p == nil || !p.awaitReady() {
			t.Fatal("the process ended by itself")
		}
		if body != "" {
			if _, err := p.post(t.Context(), "orders", body); err != nil {
				t.Fatal(err)
			}
			p.batch("")
		}
		got := p.mustGet("/v1/sql", "SELECT string_agg(n, ',' ORDER BY n) AS all FROM orders").Data[0]["all"]
		if got != want {
			t.Fatalf("the stream has %v, want %s\n%s", got, want, p.output())
		}
		if d, text := p.difference("total"); d != 0 {
			t.Fatalf("difference %d: %s", d, text)
		}
		p.stop()
	}
	log := filepath.Join(data, "log")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	run("{\"n\":1}\n{\"n\":2}\n", "1,2")
	run("{\"n\":3}\n", "1,2,3")
	move(log, log+"-old")
	run("{\"n\":4}\n", "1,2,3,4")
	move(log, log+"-new")
	move(log+"-old", log)
	run("{\"n\":5}\n", "1,2,3,4,5")
	run("", "1,2,3,4,5")
}

// A second server on the same lake takes the stream over; the first must end
// rather than land a log that nobody reads back.
func TestASecondServerOnTheLakeEndsTheFirst(t *testing.T) {
	project, lake := t.TempDir(), t.TempDir()
	putFile(t, filepath.Join(project, "streams", "orders.sql"), ordersStream)
	start := func() *process {
		t.Helper()
		p := startProcess(t, project, t.TempDir(), nil, "--lake", lake, "--land-age", "200ms", "--batch-schedule", "off")
		if p == nil || !p.awaitReady() {
			t.Fatal("the process ended by itself")
		}
		return p
	}
	first := start()
	if _, err := first.post(t.Context(), "orders", "{\"n\":1}\n"); err != nil {
		t.Fatal(err)
	}
	first.batch("")
	second := start()
	if _, err := first.post(t.Context(), "orders", "{\"n\":2}\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("the first server goes on:\n%s", first.output())
	}
	if first.err == nil || !strings.Contains(first.output(), "epoch 2") {
		t.Fatalf("the first server ended with %v:\n%s", first.err, first.output())
	}
	if got := second.mustGet("/v1/sql", "SELECT count(*) AS n FROM orders").Data[0]["n"]; got.(interface{ String() string }).String() != "1" {
		t.Fatalf("the second server answers %v events, want the one that landed", got)
	}
}
