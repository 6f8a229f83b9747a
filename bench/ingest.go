package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tailwater/tailwater/ingest"
	"github.com/tailwater/tailwater/stream"
)

// measureIngest sends events over HTTP.
func measureIngest(ctx context.Context, b *bench) error {
	for _, rows := range b.sizes.batches {
		if name := fmt.Sprintf("ingest/alone/%d", rows); b.wants(name) {
			if err := b.ingestAlone(ctx, name, rows); err != nil {
				return err
			}
		}
	}
	for _, c := range []struct {
		name string
		rate float64
	}{{"ingest/all/400k", 400_000}, {"ingest/all/flat-out", 0}} {
		if b.wants(c.name) {
			if err := b.ingestAll(ctx, c.name, c.rate); err != nil {
				return err
			}
		}
	}
	return nil
}

// clientsFor is how many clients send requests of so many events.
func clientsFor(rows int) int {
	switch {
	case rows < 10:
		return 512
	case rows < 1000:
		return 64
	}
	return 8
}

// Landing is pushed off where it is not to be measured: no seal is drawn. The rows
// are still written into the open Parquet file, which nothing can push off.
var landingOff = []string{"--log-max-bytes", "40GB", "--land-bytes", "20GB", "--land-age", "1h", "--batch-schedule", "off"}

// ingestAlone measures ingest without views, without landing, and the same client
// against less and less of a server.
func (b *bench) ingestAlone(ctx context.Context, name string, rows int) error {
	target := map[int]*Target{1_000: atLeast(1_000_000)}[rows]
	r := Result{Name: name, Unit: "events/s", Target: target, LimitIs: "raw JetStream publishing, messages as large and as many in flight"}
	var limits, null, path, nullClient, server, client, caughtUp, perMessage, others, millis []float64
	clients := clientsFor(rows)
	ours := func() error {
		w, err := b.runAlone(ctx, rows, clients)
		if err != nil {
			return err
		}
		r.Runs = append(r.Runs, w.rate())
		server = append(server, w.serverCPU)
		client = append(client, usPerEvent(w.clientCPU, w.events))
		caughtUp = append(caughtUp, w.caughtUp)
		perMessage = append(perMessage, w.perMessage)
		others = append(others, w.others)
		millis = append(millis, w.ms...)
		return nil
	}
	limit := func() error {
		rate, err := b.rawLog(ctx, int(median(perMessage)))
		limits = append(limits, rate)
		return err
	}
	less := func(kind string, rates, clientCPU *[]float64) func() error {
		return func() error {
			w, err := b.runChild(ctx, kind, rows, clients)
			if err == nil {
				*rates = append(*rates, w.rate())
				*clientCPU = append(*clientCPU, usPerEvent(w.clientCPU, w.events))
			}
			return err
		}
	}
	var pathClient []float64
	if err := b.alternate(ctx, name, ours, limit, less(nullServer, &null, &nullClient), less(pathServer, &path, &pathClient)); err != nil {
		return err
	}
	r.Limit, r.ServerCPU, r.ClientCPU = median(limits), median(server), median(client)
	r.More = append(latencies("", millis),
		Figure{"clients", float64(clients)}, Figure{"path_events_per_s", median(path)}, Figure{"null_events_per_s", median(null)},
		Figure{"null_client_us_per_event", median(nullClient)}, Figure{"events_per_message", median(perMessage)}, Figure{"applied_after_s", median(caughtUp)}, Figure{"others_cores", median(others)})
	b.add(r)
	return nil
}

// A served is what one run against a server of its own gave.
type served struct {
	window
	serverCPU           float64 // µs an event, until all was applied
	perMessage          float64 // events of a log message
	unapplied, unlanded float64 // events at the end of the load
	caughtUp            float64 // s from there until all was applied
}

func (b *bench) runAlone(ctx context.Context, rows, clients int) (served, error) {
	return b.runServer(ctx, false, &load{clients: clients, rows: rows}, b.sizes.window, landingOff...)
}

// runServer measures a load at a new server, with or without views.
func (b *bench) runServer(ctx context.Context, views bool, l *load, length time.Duration, args ...string) (r served, err error) {
	dir, remove, err := b.scratch("serve")
	if err != nil {
		return r, err
	}
	defer remove()
	if err := writeProject(dir, true, views); err != nil {
		return r, err
	}
	p, err := b.serve(ctx, dir, dir+"/data", args...)
	if err != nil {
		return r, err
	}
	defer p.kill()
	l.addr = p.addr
	if r.window, err = l.measure(ctx, p, b.sizes.warm, length); err != nil {
		return r, fmt.Errorf("%w\n%s", err, p.output())
	}
	s, err := p.status(ctx)
	if err != nil {
		return r, err
	}
	marks := s.Streams[0]
	r.perMessage = float64(l.accepted.Load()) / float64(marks.Head)
	r.unapplied = float64(marks.Head-marks.Applied) * r.perMessage
	r.unlanded = float64(marks.Head-marks.Landed) * r.perMessage
	took, err := p.caughtUp(ctx, time.Minute)
	if err != nil {
		return r, err
	}
	r.caughtUp = took.Seconds()
	r.serverCPU, err = l.settled(p, r.window)
	return r, err
}

// runChild measures the same load against one of the bench's own servers.
func (b *bench) runChild(ctx context.Context, kind string, rows, clients int) (w window, err error) {
	dir, remove, err := b.scratch("child")
	if err != nil {
		return w, err
	}
	defer remove()
	p, err := b.child(ctx, kind, dir)
	if err != nil {
		return w, err
	}
	defer p.kill()
	l := &load{addr: p.addr, clients: clients, rows: rows}
	return l.measure(ctx, p, b.sizes.warm/2, b.sizes.window/2)
}

// rawLog publishes messages of so many events to a log with the server's own
// settings, as the publisher does: one in flight while they are small, else four.
func (b *bench) rawLog(ctx context.Context, rows int) (eventsPerSecond float64, err error) {
	data, err := envelope(rows)
	if err != nil {
		return 0, err
	}
	dir, remove, err := b.scratch("log")
	if err != nil {
		return 0, err
	}
	defer remove()
	broker, err := stream.OpenBroker(ctx, stream.BrokerConfig{StoreDir: dir})
	if err != nil {
		return 0, err
	}
	defer broker.Close()
	log, err := broker.Log(ctx, "raw", 1<<40)
	if err != nil {
		return 0, err
	}
	flying := 1
	if len(data) >= 150<<10 {
		flying = 4
	}
	var stored atomic.Int64
	var failed error
	var once sync.Once
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	for range flying {
		workers.Go(func() {
			for run.Err() == nil {
				if err := appendOne(ctx, log, data); err != nil {
					once.Do(func() { failed = err; cancel() })
					return
				}
				stored.Add(1)
			}
		})
	}
	err = pause(run, b.sizes.warm/2)
	before, began := stored.Load(), time.Now()
	err = errors.Join(err, pause(run, b.sizes.window/2))
	rate := float64(stored.Load()-before) * float64(rows) / time.Since(began).Seconds()
	cancel()
	workers.Wait()
	if failed != nil {
		return 0, failed
	}
	return rate, err
}

// appendOne stores one message and waits until it is on disk.
func appendOne(ctx context.Context, log stream.Log, data []byte) error {
	var id [16]byte
	rand.Read(id[:])
	pending, err := log.Append(ctx, hex.EncodeToString(id[:]), data)
	if err == nil {
		_, err = pending.Wait(ctx)
	}
	return err
}

// envelope gives the log message that the server would make of so many events.
func envelope(rows int) ([]byte, error) {
	schema := payments()
	d, err := ingest.NewDecoder(schema, ingest.Limits{})
	if err != nil {
		return nil, err
	}
	body := newBody(max(rows, 1), 0, 0)
	body.renew(1, time.Now())
	out, err := d.Decode(body.text, false)
	if err != nil {
		return nil, err
	}
	return stream.Encode(&stream.Envelope{Stamp: time.Now().UnixMicro(), Rows: out.Rows}, schema)
}

// ingestAll measures everything at once: two views, landing, and the same clients.
// It keeps up if the views are through the log a second after the load has ended.
func (b *bench) ingestAll(ctx context.Context, name string, rate float64) error {
	r := Result{Name: name, Unit: "events/s", Note: "2 views, landing; kept up"}
	if rate > 0 {
		// Clients that pace themselves end a little below the rate.
		r.Target = atLeast(0.99 * rate)
	}
	var server, client, behind, unlanded, unapplied, others, millis []float64
	err := b.alternate(ctx, name, func() error {
		a, err := b.runAll(ctx, rate)
		if err != nil {
			return err
		}
		r.Runs = append(r.Runs, a.rate())
		server = append(server, a.serverCPU)
		client = append(client, usPerEvent(a.clientCPU, a.events))
		behind = append(behind, a.caughtUp)
		unlanded = append(unlanded, a.unlanded)
		unapplied = append(unapplied, a.unapplied)
		others = append(others, a.others)
		millis = append(millis, a.ms...)
		return nil
	})
	if err != nil {
		return err
	}
	if late := median(behind); late > 1 {
		r.Note = "2 views, landing; did not keep up"
		if r.Target != nil {
			r.Target.Broken = "did not keep up"
		}
	}
	r.ServerCPU, r.ClientCPU = median(server), median(client)
	r.More = append(latencies("ack_", millis), Figure{"A_lag_events", median(unapplied)}, Figure{"A_caught_up_after_s", median(behind)}, Figure{"L_lag_events", median(unlanded)}, Figure{"others_cores", median(others)})
	b.add(r)
	return nil
}

func (b *bench) runAll(ctx context.Context, rate float64) (served, error) {
	return b.runServer(ctx, true, &load{clients: 8, rows: 1_000, rate: rate}, b.sizes.heldFor, "--batch-schedule", "off", "--log-max-bytes", "40GB")
}
