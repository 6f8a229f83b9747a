package main

import (
	"slices"
	"strings"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/project"
)

// unchanged is what a view is that answers as before; the other words for a change
// are those of its history.
const unchanged = "unchanged"

// A runningView is a view as a server answers it, or did before it stopped.
type runningView struct {
	View    string `json:"view"`
	Stream  string `json:"stream"`
	Version string `json:"version"`
	SQL     string `json:"sql"` // the whole file
}

// A viewChange is what a project's files do to one view.
type viewChange struct {
	View    string `json:"view"`
	Change  string `json:"change"`
	Stream  string `json:"stream"`
	File    string `json:"file,omitempty"`
	Version string `json:"version"`
	Was     string `json:"was,omitempty"` // the version before
	// Events are to be read to build it, in about Seconds; nil if none are.
	Events     *int64            `json:"events,omitempty"`
	Seconds    *float64          `json:"seconds,omitempty"`
	Difference *batch.Difference `json:"difference,omitempty"`
}

// A cost says how many events a stream has, and how many of them a batch run reads
// in a second.
type cost struct {
	events map[string]int64 // by stream
	rate   float64
}

// usualRate is that of a machine with two cores, for those that have run no batch.
const usualRate = 500_000

// rateOf gives the events a second of the largest of some runs: small ones tell of
// what every run costs.
func rateOf(runs []batch.Run) float64 {
	var rows int64
	rate := float64(usualRate)
	for _, r := range runs {
		if took := r.Finished.Sub(r.Started).Seconds(); r.Status == "succeeded" && r.Rows > rows && took > 0 {
			rows, rate = r.Rows, float64(r.Rows)/took
		}
	}
	return rate
}

// changesOf compares what runs with what the files say, by view.
func changesOf(running []runningView, p *project.Project, c cost) []viewChange {
	before := map[string]runningView{}
	for _, r := range running {
		before[r.View] = r
	}
	var out []viewChange
	for _, v := range p.Views {
		is := viewChange{View: v.Name, Change: batch.NewView, Stream: v.Stream, File: v.File, Version: v.Version}
		if was, ok := before[v.Name]; ok {
			is.Was = was.Version
			switch {
			case was.Version != v.Version:
				is.Change = batch.RebuildView
			case was.SQL != v.SQL:
				is.Change = batch.SwapView
			default:
				is.Change = unchanged
			}
		}
		if !v.Direct && (is.Change == batch.NewView || is.Change == batch.RebuildView) {
			events := c.events[v.Stream]
			seconds := float64(events) / c.rate
			is.Events, is.Seconds = &events, &seconds
		}
		delete(before, v.Name)
		out = append(out, is)
	}
	for _, was := range before {
		out = append(out, viewChange{View: was.View, Change: batch.DropView, Stream: was.Stream, Version: was.Version})
	}
	slices.SortFunc(out, func(a, b viewChange) int { return strings.Compare(a.View, b.View) })
	return out
}

// changed reports whether some view is not as before.
func changed(changes []viewChange) bool {
	return slices.ContainsFunc(changes, func(c viewChange) bool { return c.Change != unchanged })
}
