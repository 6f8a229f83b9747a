package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tailwater/tailwater/batch"
	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// Ready returns why no answers can be given yet, or nil.
func (n *node) Ready() error {
	if n.ready.Load() {
		return nil
	}
	return fmt.Errorf("%w: %s", serving.ErrNotReady, n.starting.Load())
}

// Heads gives H of every stream.
func (n *node) Heads(context.Context) event.Cut {
	cut := event.Cut{}
	for _, pl := range n.pipelines {
		cut[pl.source] = pl.head()
	}
	return cut
}

// RunBatch lands what was accepted and advances the warehouse.
func (n *node) RunBatch(ctx context.Context, rebuild bool) (any, error) {
	if err := n.Ready(); err != nil {
		return nil, err
	}
	run, err := n.batch.Run(ctx, batch.OnDemand, rebuild)
	if err != nil {
		return nil, fmt.Errorf("batch run %d: %w", run.ID, err)
	}
	return run, nil
}

// Runs lists the latest batch runs.
func (n *node) Runs(ctx context.Context) (any, error) {
	runs, err := n.batch.Runs(ctx)
	return map[string]any{"runs": runs}, err
}

// ledger adds up: received = accepted + refused + duplicates, through A; what is
// landed is counted through L.
type ledger struct {
	Received   uint64 `json:"received"`
	Accepted   uint64 `json:"accepted"`
	Refused    uint64 `json:"refused"`
	Duplicates uint64 `json:"duplicates"`
	LandedRows uint64 `json:"landed_rows"`
}

type streamStatus struct {
	Stream      string     `json:"stream"`
	Epoch       uint32     `json:"epoch"`
	Head        uint64     `json:"head"`
	Applied     uint64     `json:"applied"`
	Landed      uint64     `json:"landed"`
	DeadLanded  uint64     `json:"dead_landed"`
	Batched     uint64     `json:"batched"`
	LagMessages uint64     `json:"lag_messages"` // H − A
	LagSeconds  float64    `json:"lag_seconds"`  // age of the newest applied message if something is waiting, else 0
	Watermark   *time.Time `json:"watermark"`
	TailEvents  int        `json:"tail_events"`
	Lost        []string   `json:"lost"`
	Landing     string     `json:"landing_error,omitempty"`
	Ledger      ledger     `json:"ledger"`
}

type viewStatus struct {
	View        string `json:"view"`
	Stream      string `json:"stream"`
	Version     string `json:"version"`
	Batched     uint64 `json:"batched"`
	Applied     uint64 `json:"applied"`
	Complete    bool   `json:"complete"`
	SpeedRows   int    `json:"speed_rows"`
	SpeedPieces int    `json:"speed_pieces"`
	// Difference is what the last parity check found; CheckError why the last one on
	// the schedule could not be made.
	Difference *int64     `json:"difference"`
	CheckedAt  *time.Time `json:"checked_at"`
	CheckError string     `json:"check_error,omitempty"`
}

// checked adds what the view's parity checks came to.
func (v *viewStatus) checked(known serving.Parity) {
	if !known.Checked.IsZero() {
		at := known.Checked.UTC()
		v.Difference, v.CheckedAt = &known.Difference, &at
	}
	if known.Err != nil {
		v.CheckError = known.Err.Error()
	}
}

// Status tells where everything stands. It answers while the node recovers.
func (n *node) Status(ctx context.Context) (any, error) {
	out := map[string]any{"version": version(), "uptime_seconds": time.Since(n.started).Seconds()}
	err := n.Ready()
	out["ready"] = err == nil
	if err != nil {
		out["reason"] = err.Error()
	}
	tx, err := n.warehouse.Begin(ctx)
	if err != nil {
		return nil, err
	}
	marks := tx.Marks()
	tx.Close()
	streams, views, who := []streamStatus{}, []viewStatus{}, access.From(ctx)
	state := n.speed.State()
	for _, s := range n.project.Streams {
		pl := n.pipelines[s.Name]
		st := pl.status(marks)
		if who.Sees(s.Name) {
			streams = append(streams, st)
		}
		for _, p := range n.plansOf(s.Name) {
			_, v := state.Of(p)
			if v == nil || !who.Sees(p.Name) {
				continue // nil: redefined this very moment
			}
			vs := viewStatus{View: p.Name, Stream: s.Name, Version: p.Version, Applied: st.Applied,
				Batched: marks[warehouse.ViewObject(p)][pl.source], SpeedRows: v.Rows(), Complete: complete(state, p, marks[warehouse.ViewObject(p)])}
			for _, seg := range v.Segments {
				vs.SpeedPieces += len(seg.Pieces)
			}
			vs.checked(n.core.Parity(p.Name))
			views = append(views, vs)
		}
	}
	out["streams"], out["views"] = streams, views
	return out, nil
}

// complete reports whether S and what the State holds of a view tile everything
// through A.
func complete(st *speed.State, p *view.Plan, s event.Cut) bool {
	stream, v := st.Of(p)
	if v == nil {
		return false
	}
	ranges, _ := v.After(s)
	for src, through := range s {
		ranges = append(ranges, event.Range{Source: src, Through: through})
	}
	for src, m := range stream.Marks {
		holes, overlaps := event.Holes(event.Range{Source: src, After: m.Floor, Through: m.Applied}, ranges)
		if len(holes)+len(overlaps) > 0 {
			return false
		}
	}
	return true
}

func (pl *pipeline) status(marks map[string]event.Cut) streamStatus {
	n := pl.node
	s := n.speed.State().Streams[pl.schema.Stream]
	m := s.Marks[pl.source]
	snap := n.Landed(pl.schema.Stream)
	out := streamStatus{
		Stream: pl.schema.Stream, Epoch: pl.source.Epoch, Head: pl.head(), Applied: m.Applied,
		Landed: m.Landed, DeadLanded: m.DeadLanded, Batched: marks[warehouse.FactsObject(pl.schema.Stream)][pl.source],
		Lost: []string{}, Landing: pl.events.Status().Error,
	}
	if out.Head > out.Applied {
		out.LagMessages = out.Head - out.Applied
		out.LagSeconds = max(0, time.Since(time.UnixMicro(s.LogTime)).Seconds())
	}
	if at, ok := s.Watermark(); ok {
		out.Watermark = &at
	}
	for _, r := range pl.tap.Lost() {
		out.Lost = append(out.Lost, r.String())
	}
	for _, b := range s.Tail {
		out.TailEvents += b.Len()
	}
	out.Ledger = ledgerOf(snap, s.Tail)
	return out
}

// ledgerOf adds what the lake has counted and what is in the tail behind it.
func ledgerOf(snap *lake.Snapshot, tail []*event.Block) ledger {
	var l ledger
	landed := snap.Through()
	for _, m := range snap.Marks {
		l.Accepted += m.Accepted
		l.Refused += m.Refused
		l.Duplicates += m.Duplicates
	}
	l.LandedRows = l.Accepted
	for _, b := range tail {
		if b.After >= landed[b.Source] {
			l.Accepted += uint64(b.Len())
			l.Refused += uint64(len(b.Refused))
			l.Duplicates += uint64(b.Duplicates)
		}
	}
	l.Received = l.Accepted + l.Refused + l.Duplicates
	return l
}

// collector shows the positions and sizes of a node as Prometheus metrics.
type collector struct{ n *node }

var (
	descPosition = prometheus.NewDesc("tailwater_position", "Sequence through which a stream is at each mark: head (H), applied (A), landed (L), batched (S).", []string{"stream", "mark"}, nil)
	descEvents   = prometheus.NewDesc("tailwater_events_total", "Events by what became of them, over the life of the stream.", []string{"stream", "outcome"}, nil)
	descLag      = prometheus.NewDesc("tailwater_lag_messages", "Messages in the log that are not applied yet (H - A).", []string{"stream"}, nil)
	descComplete = prometheus.NewDesc("tailwater_view_complete", "1 if the layers cover every position of the view without a hole.", []string{"view"}, nil)
	descMemory   = prometheus.NewDesc("tailwater_speed_bytes", "Memory of partials and raw tail in the speed layer.", nil, nil)
	descKept     = prometheus.NewDesc("tailwater_kept_bytes", "Memory of landed events that are kept until a batch run has taken them.", nil, nil)
	descPoints   = prometheus.NewDesc("tailwater_point_bytes", "Memory of batched partial rows that are kept for questions for single groups.", nil, nil)
	descPending  = prometheus.NewDesc("tailwater_landing_pending_bytes", "Bytes that wait for the lake.", []string{"stream"}, nil)
	descReady    = prometheus.NewDesc("tailwater_ready", "1 if answers are given.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPosition, descEvents, descLag, descComplete, descMemory, descKept, descPoints, descPending, descReady} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descReady, boolean(c.n.ready.Load()))
	gauge(descMemory, float64(c.n.speed.State().Bytes()))
	gauge(descKept, float64(c.n.speed.State().KeptBytes()))
	gauge(descPoints, float64(c.n.core.PointBytes()))
	tx, err := c.n.warehouse.Begin(context.Background())
	if err != nil {
		return
	}
	marks := tx.Marks()
	tx.Close()
	state := c.n.speed.State()
	for name, pl := range c.n.pipelines {
		st := pl.status(marks)
		gauge(descPosition, float64(st.Head), name, "head")
		gauge(descPosition, float64(st.Applied), name, "applied")
		gauge(descPosition, float64(st.Landed), name, "landed")
		gauge(descPosition, float64(st.Batched), name, "batched")
		gauge(descLag, float64(st.LagMessages), name)
		gauge(descPending, float64(pl.events.Status().PendingBytes+pl.dead.Status().PendingBytes), name)
		for outcome, v := range map[string]uint64{"accepted": st.Ledger.Accepted, "refused": st.Ledger.Refused, "duplicate": st.Ledger.Duplicates} {
			ch <- prometheus.MustNewConstMetric(descEvents, prometheus.CounterValue, float64(v), name, outcome)
		}
		for _, p := range c.n.plansOf(name) {
			gauge(descComplete, boolean(complete(state, p, marks[warehouse.ViewObject(p)])), p.Name)
		}
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
