package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
)

func TestAPlanTellsWhatAChangeOfFilesDoes(t *testing.T) {
	p := worldProject(t)
	var running []runningView
	for _, v := range p.Plans() {
		is := runningView{v.Name, v.Stream, v.Version, v.SQL}
		switch v.Name {
		case "busy":
			is.SQL += " LIMIT 3"
		case "coded":
			is.Version = "another"
		case "hourly":
			continue
		}
		running = append(running, is)
	}
	running = append(running, runningView{"gone", "payments", "1", "SELECT"})
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rate := rateOf([]batch.Run{
		{Status: "succeeded", Rows: 10, Started: start, Finished: start.Add(time.Second)},
		{Status: "succeeded", Rows: 100_000, Started: start, Finished: start.Add(2 * time.Second)},
		{Status: "failed", Rows: 900_000, Started: start, Finished: start.Add(time.Second)}})
	var got []string
	for _, c := range changesOf(running, p, cost{events: map[string]int64{"payments": 150_000}, rate: rate}) {
		text := c.Change + " " + c.View
		if c.Events != nil {
			text += fmt.Sprintf(" %d in %.1f", *c.Events, *c.Seconds)
		}
		if c.Change != unchanged {
			got = append(got, text)
		}
	}
	if want := "swap busy, rebuild coded 150000 in 3.0, drop gone, new hourly 150000 in 3.0"; strings.Join(got, ", ") != want {
		t.Errorf("%s", strings.Join(got, ", "))
	}
}

func TestAPlanTellsWhatAChangeOfFilesDoesToStreams(t *testing.T) {
	p := worldProject(t)
	running := func() *event.Schema { s := *p.Streams[0].Schema; s.Columns = slices.Clone(s.Columns); return &s }
	for want, change := range map[string]func(s *event.Schema){
		"": func(*event.Schema) {},
		"stream payments: adds column weight DOUBLE; old events give NULL":         func(s *event.Schema) { s.Columns = s.Columns[:5] },
		"stream payments: other annotations, from the next event on":               func(s *event.Schema) { s.DedupWindow = time.Minute },
		"stream other: is gone; its events stay in the lake\nstream payments: new": func(s *event.Schema) { s.Stream = "other" },
		`streams/payments.sql: stream payments: column "old" is gone; give it back, or name a new stream`: func(s *event.Schema) {
			s.Columns = append(s.Columns, event.Column{Name: "old", Type: event.Type{Kind: event.Date}})
		},
	} {
		p.Streams[0].Schema.Columns[5].NotNull = false // it may be new
		was := running()
		change(was)
		changes, problems := streamChangesOf([]*event.Schema{was}, p)
		var got []string
		for _, c := range changes {
			got = append(got, c.line())
		}
		for _, problem := range problems {
			got = append(got, problem.Error())
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), want)
		}
	}
}

func TestAPlanTellsThatOtherColumnsAreLookedUp(t *testing.T) {
	p := worldProject(t)
	lookup := func(version, from string) []event.Lookup {
		return []event.Lookup{{Columns: []int{2}, Keys: []int{0}, Reference: "merchants", Version: version, From: []string{from}, By: []string{"id"}}}
	}
	was := *p.Streams[0].Schema
	p.Streams[0].Schema.Lookups = lookup("v2", "category")
	for _, c := range []struct {
		was  []event.Lookup
		want int
	}{{nil, 1}, {lookup("v2", "name"), 1}, {lookup("v1", "category"), 0}} {
		was.Lookups = c.was
		changes, problems := streamChangesOf([]*event.Schema{&was}, p)
		if len(changes) != c.want || len(problems) > 0 || c.want > 0 && changes[0].Change != newAnnotation {
			t.Errorf("%v: %v, %v", c.was, changes, problems)
		}
	}
}
