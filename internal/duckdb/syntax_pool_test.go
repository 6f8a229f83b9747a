package duckdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

func TestTextsAreParsedAndPrintedOnKeptConnections(t *testing.T) {
	db, err := Open(t.Context(), Options{Threads: 1, Locked: true})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for i := range 12 {
		running.Go(func() {
			for k := range 20 {
				text := fmt.Sprintf("SELECT %d AS a FROM t WHERE (b = 'ü%d')", i, k)
				tree, err := db.Parse(t.Context(), text)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := db.Print(t.Context(), tree); err != nil || got != text {
					t.Errorf("%s came back as %s: %v", text, got, err)
				}
				var syntax *ParseError
				if _, err := db.Parse(t.Context(), "SELECT FROM WHERE"); !errors.As(err, &syntax) {
					t.Errorf("no parse error: %v", err)
				}
			}
		})
	}
	running.Wait()
	if kept := len(db.syntax); kept == 0 || kept > maxSyntaxConns {
		t.Errorf("%d connections are kept", kept)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	before := len(db.syntax)
	if _, err := db.Parse(ended, "SELECT 1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(db.syntax) >= before {
		t.Error("a connection on which something failed was kept")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if _, err := db.Parse(t.Context(), "SELECT 1"); err == nil {
		t.Error("a closed database parses")
	}
}
