package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/batch"
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
