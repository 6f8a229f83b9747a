package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/serving"
)

// A follower keeps what it was told of a live view: the counts by key.
type follower struct {
	sub  *serving.Subscription
	rows map[string]int64
}

// live takes the next event of a live view, if there is one, and compares all that
// was told so far with a recount at the event's cut.
func (w *world) live() {
	w.t.Helper()
	name := []string{"hourly", "busy", "overall"}[w.rng.IntN(3)]
	f, patience := w.followers[name], 50*time.Millisecond
	if f == nil {
		sub, err := w.node.core.Live(w.t.Context(), serving.LiveRequest{Name: name})
		if err != nil {
			w.fatalf("live %s: %v", name, err)
		}
		f, patience = &follower{sub: sub, rows: map[string]int64{}}, 30*time.Second
		w.followers[name] = f
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	ev, err := f.sub.Next(ctx)
	switch {
	case errors.Is(err, serving.ErrNotReady): // the node is gone
		f.sub.Close()
		delete(w.followers, name)
		return
	case errors.Is(err, context.DeadlineExceeded) && patience < time.Second:
		return
	case err != nil:
		w.fatalf("live %s: %v", name, err)
	}
	if ev.Snapshot {
		clear(f.rows)
	}
	for _, text := range ev.Rows {
		var r struct {
			Key string
			Row *struct{ N int64 }
		}
		if err := json.Unmarshal(text, &r); err != nil {
			w.fatalf("live %s: %v: %s", name, err, text)
		}
		if r.Row == nil {
			delete(f.rows, r.Key)
		} else {
			f.rows[r.Key] = r.Row.N
		}
	}
	if want := w.liveCounts(name, ev.Cut); !ev.Complete || !maps.Equal(f.rows, want) {
		w.fatalf("live %s at %s: complete %t, got %v, want %v", name, ev.Cut, ev.Complete, f.rows, want)
	}
}

// liveCounts recounts a view, by the keys that live rows have.
func (w *world) liveCounts(name string, cut event.Cut) map[string]int64 {
	type group struct {
		hour     int64
		merchant any
	}
	groups := map[group]int64{}
	if name == "overall" {
		groups[group{}] = 0
	}
	for _, r := range w.accepted(cut) {
		switch {
		case name == "overall":
			groups[group{}]++
		case name == "hourly":
			groups[group{r.ts - mod(r.ts, 3_600_000_000), r.key()}]++
		case r.cents >= 1000:
			groups[group{0, r.key()}]++
		}
	}
	want := map[string]int64{}
	for g, n := range groups {
		key := []any{}
		if name == "hourly" {
			key = append(key, time.UnixMicro(g.hour).UTC().Format(time.RFC3339))
		}
		if name != "overall" {
			key = append(key, g.merchant)
		}
		text, err := json.Marshal(key)
		if err != nil {
			w.fatalf("%v", err)
		}
		if name != "busy" || n > 3 {
			want[string(text)] = n
		}
	}
	return want
}
