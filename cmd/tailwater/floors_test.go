package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors says on which floor each room stands. Imports only go down, and rooms of
// one floor do not know each other, but for the words and tools of the ground
// floor.
var floors = map[string]int{
	"cmd/tailwater": 4, "bench": 4, "internal/conformance/layers": 4,
	"serving": 3, "batch": 3, "serving/postgres": 3,
	"stream": 2, "ingest": 2, "speed": 2, "lake": 2, "warehouse": 2, "project": 2, "demo": 2,
	"view":  1,
	"event": 0, "internal/duckdb": 0, "internal/macro": 0, "internal/config": 0, "internal/fault": 0, "internal/access": 0, "internal/problem": 0, "internal/aside": 0, "internal/openapitest": 0, "internal/conformance": 0,
	"serving/ui": 0, "serving/gatecorpus": 0,
}

// groundOrder is the order on the ground floor: a room may import those before it.
var groundOrder = []string{"internal/aside", "internal/fault", "internal/problem", "internal/access", "event", "internal/duckdb", "internal/macro", "internal/config", "internal/conformance"}

func TestImportsOnlyGoDown(t *testing.T) {
	const module = "github.com/tailwater/tailwater/"
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(p.ImportPath, module)
		floor, known := floors[room]
		if !known {
			t.Errorf("%s stands on no floor: give it one in this test and in docs/architecture.md", room)
			continue
		}
		for _, imported := range p.Imports {
			below, ours := strings.CutPrefix(imported, module)
			if !ours || floors[below] < floor || floor == 0 && before(below, room) || room == "serving/postgres" && below == "serving" {
				continue
			}
			t.Errorf("%s (floor %d) imports %s (floor %d)", room, floor, below, floors[below])
		}
	}
}

func before(a, b string) bool {
	for _, room := range groundOrder {
		switch room {
		case b:
			return false
		case a:
			return true
		}
	}
	return false
}
