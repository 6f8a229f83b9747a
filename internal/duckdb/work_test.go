package duckdb

import (
	"testing"
	"time"
)

func TestWorkIsSeenWhileItIsDone(t *testing.T) {
	db, err := Open(t.Context(), Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		ended <- c.Exec(t.Context(), "SELECT count(*) FROM range(100000) AS a, range(100000) AS b WHERE a.range + b.range = 7")
	}()
	for c.Work().Call < 20*time.Millisecond {
		if len(ended) > 0 {
			t.Fatal(<-ended)
		}
	}
	c.Interrupt()
	if err := <-ended; err == nil {
		t.Fatal("it was not interrupted")
	}
	after := db.Work()[c]
	if after.Call != 0 || after.Done < 20*time.Millisecond {
		t.Errorf("after a call: %+v", after)
	}
	rows, err := c.Query(t.Context(), "SELECT count(*) FROM range(3000000)")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rows.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := c.Work().Computed() - after.Done; took < rows.computed || c.Work().Call != 0 {
		t.Errorf("the steps took %s, the connection says %s more", rows.computed, took)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if left := db.Work(); len(left) != 0 {
		t.Errorf("closed connections: %v", left)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
