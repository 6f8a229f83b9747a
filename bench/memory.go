package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// measureMemory watches the server's memory under a steady load. It is flat if it is
// no more late than early, by a fifth.
func measureMemory(ctx context.Context, b *bench) error {
	s := b.sizes
	name := fmt.Sprintf("memory/%dk", s.memoryRate/1000)
	if !b.wants(name) {
		return nil
	}
	dir, remove, err := b.scratch("memory")
	if err != nil {
		return err
	}
	defer remove()
	if err := writeProject(dir, true, true); err != nil {
		return err
	}
	p, err := b.serve(ctx, dir, dir+"/data", "--batch-schedule", "@every "+s.memoryBatch.String())
	if err != nil {
		return err
	}
	defer p.kill()
	l := background(p.addr, s.memoryRate, 1)
	if err := l.open(); err != nil {
		return err
	}
	l.start(ctx)
	began := time.Now()
	early, err := b.memoryUntil(ctx, name, p, began, s.memoryEarly)
	var late watched
	if err == nil {
		late, err = b.memoryUntil(ctx, name, p, began, s.memoryLate)
	}
	_, ended := l.finish()
	if err := errors.Join(err, ended); err != nil {
		return fmt.Errorf("%w\n%s", err, p.output())
	}
	used, err := p.cpu()
	if err != nil {
		return err
	}
	sent := float64(l.accepted.Load())
	r := Result{Name: name, Value: late.rss / early.rss, Unit: "late/early", Target: atMost(1.2), ServerCPU: usPerEvent(used, sent), More: []Figure{
		{"early_rss_mb", early.rss / 1e6}, {"late_rss_mb", late.rss / 1e6}, {"greatest_rss_mb", max(early.greatest, late.greatest) / 1e6},
		{"early_go_heap_mb", early.heap / 1e6}, {"late_go_heap_mb", late.heap / 1e6}, {"events_per_s", sent / time.Since(began).Seconds()}, {"early_s", s.memoryEarly.Seconds()}, {"late_s", s.memoryLate.Seconds()}}}
	b.add(r)
	return nil
}

// watched is the memory around a moment, bytes.
type watched struct{ rss, greatest, heap float64 }

// memoryUntil waits for a moment of the load. The memory there is the median of the
// time between two batches before it: a single look meets a batch or not.
func (b *bench) memoryUntil(ctx context.Context, name string, p *process, began time.Time, at time.Duration) (w watched, err error) {
	var rss, heap []float64
	from := at - min(b.sizes.memoryBatch, at/2)
	every := max(at/200, 20*time.Millisecond)
	for time.Since(began) < at {
		b.progress.say("%s, until %s", name, at)
		if err := pause(ctx, every); err != nil {
			return w, err
		}
		bytes, err := p.rss()
		if err != nil {
			return w, err
		}
		w.greatest = max(w.greatest, bytes)
		if time.Since(began) < from {
			continue
		}
		rss = append(rss, bytes)
		inUse, err := p.metric(ctx, "go_memstats_heap_inuse_bytes")
		if err != nil {
			return w, err
		}
		heap = append(heap, inUse)
	}
	if len(rss) == 0 {
		return w, fmt.Errorf("no sample before %s", at)
	}
	w.rss, w.heap = median(rss), median(heap)
	w.greatest = max(w.greatest, slices.Max(rss))
	return w, nil
}
