package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An event keeps what its reference table said when it came in, whatever the table
// says later and however often the event is read again.
func TestEventsKeepWhatWasLookedUpWhenTheyCameIn(t *testing.T) {
	project, data := writeFiles(t, map[string]string{
		"tailwater.yaml": "{}\n",
		"streams/payments.sql": "-- id: id\n-- lookup: category = merchants.category by merchant\n" +
			"CREATE TABLE payments (id VARCHAR NOT NULL, merchant VARCHAR, amount BIGINT, category VARCHAR);\n",
		"views/categories.sql":    "SELECT category, count(*) AS n, sum(amount) AS amount FROM payments GROUP BY category\n",
		"reference/merchants.csv": "merchant,category\nacme,tools\nbakery,food\n",
	}), t.TempDir()
	p := startReady(t, project, data, nil, quiet...)
	post := func(body string) {
		t.Helper()
		answer, err := p.post(t.Context(), "payments", body)
		if err != nil || answer.Accepted != 3 || len(answer.Rejected) != 1 || !strings.Contains(string(answer.Rejected[0]), "looked up in the reference table merchants") {
			t.Fatalf("%+v %s %v", answer, answer.Rejected, err)
		}
		p.mustGet("/v1/views/categories?after="+answer.Position, "")
	}
	version := func() string {
		stream := mustDecode[struct {
			Lookups []struct {
				Column, Reference, Version, From string
				By                               []string
			}
		}](t, p.call("GET", "/v1/streams/payments", nil).must(t))
		if len(stream.Lookups) != 1 || stream.Lookups[0].Column != "category" || stream.Lookups[0].By[0] != "merchant" {
			t.Fatalf("%+v", stream)
		}
		return stream.Lookups[0].Version
	}
	is := func(want string) {
		t.Helper()
		for _, from := range []string{"categories", "(SELECT category, count(*) AS n, sum(amount) AS amount FROM payments GROUP BY category)"} {
			var got []string
			for _, row := range p.mustGet("/v1/sql", "SELECT coalesce(category, '-') AS c, n, amount FROM "+from+" ORDER BY c").Data {
				got = append(got, fmt.Sprintf("%v:%v:%v", row["c"], row["n"], row["amount"]))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %s, want %s", from, got, want)
			}
		}
		if difference, text := p.difference("categories"); difference != 0 {
			t.Error(text)
		}
	}
	post(`{"id":"1","merchant":"acme","amount":1}
{"id":"2","merchant":"bakery","amount":2}
{"id":"3","merchant":"cinema","amount":4}
{"id":"4","merchant":"cinema","amount":4,"category":"fun"}`)
	is("-:1:4 food:1:2 tools:1:1")
	before := version()

	if err := os.WriteFile(filepath.Join(project, "reference/merchants.csv"), []byte("merchant,category\nacme,hardware\nbakery,food\ncinema,fun\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.kill()
	p = startReady(t, project, data, nil, quiet...)
	is("-:1:4 food:1:2 tools:1:1")
	if now := version(); now == before || len(now) != 16 {
		t.Errorf("version %s after %s", now, before)
	}
	post(`{"id":"5","merchant":"acme","amount":8}
{"id":"6","merchant":"cinema","amount":16}
{"id":"1","merchant":"acme","amount":1}
{"id":"7","merchant":"acme","category":null}`) // the third is a duplicate, which was looked up anew
	const both = "-:1:4 food:1:2 fun:1:16 hardware:1:8 tools:1:1"
	is(both)
	p.batch("?rebuild=true")
	is(both)
	dead := p.mustGet("/v1/sql", "SELECT line, field, decode(raw) AS raw FROM payments_dead ORDER BY _seq").Data
	if len(dead) != 2 || fmt.Sprintf("%v %v", dead[0]["line"], dead[0]["field"]) != "4 category" {
		t.Errorf("dead letters %v", dead)
	}
	var shown struct {
		Streams []struct{ Lookups []map[string]any }
	}
	_, out, _ := runCLI(t, "", "validate", project, "--json")
	if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.Streams[0].Lookups[0]["reference"] != "merchants" {
		t.Errorf("%v\n%s", err, out)
	}
	if _, out, _ := runCLI(t, "", "validate", project); !slices.Contains(strings.Split(out, "\n"), "  category VARCHAR · looked up: merchants.category by merchant") {
		t.Error(out)
	}
}
