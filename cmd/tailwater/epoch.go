package main

import (
	"context"
	"fmt"
	"maps"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/stream"
)

// resolveEpoch compares the log with the lake and opens a new epoch if the log
// lost what the lake holds.
func (pl *pipeline) resolveEpoch(ctx context.Context, events, dead *lake.Table) error {
	snap, err := events.Snapshot(ctx)
	if err != nil {
		return err
	}
	deadSnap, err := dead.Snapshot(ctx)
	if err != nil {
		return err
	}
	current := newestSource(pl.schema.Stream, snap)
	mark, known := snap.Marks[current]
	times := heldTimes(current, snap, deadSnap)
	res, err := stream.Resolve(ctx, pl.log, streamMark(current.Epoch, mark, known), times)
	if err != nil {
		return fmt.Errorf("compare log and lake: %w", err)
	}
	if deadMark := deadSnap.Marks[current]; known && !res.NewEpoch && deadMark.Through > mark.Through {
		// The dead letters landed further than the events before a crash. If the
		// log lost a suffix between the two, what comes next has other
		// positions than the dead letters that are stored.
		further, err := stream.Resolve(ctx, pl.log, streamMark(current.Epoch, deadMark, true), times)
		if err != nil {
			return fmt.Errorf("compare log and dead letters: %w", err)
		}
		if further.NewEpoch {
			res = stream.Resolution{Epoch: further.Epoch, After: mark.Through, NewEpoch: true, Floor: mark.Through, Stamp: mark.Stamp}
		}
	}
	if res.NewEpoch && known {
		if res, err = pl.rejoin(ctx, res, snap, deadSnap); err != nil {
			return fmt.Errorf("compare log and lake: %w", err)
		}
	}
	pl.source = event.Source{Stream: pl.schema.Stream, Epoch: res.Epoch}
	if res.NewEpoch && known {
		pl.node.parts.logger.Error("the log went back or was made anew: a new epoch begins; what had landed stays, what was only in the log is lost",
			"stream", pl.schema.Stream, "epoch", res.Epoch, "after", res.Floor, "landed_through", mark.Through)
	}
	logTime := lastLogTime(snap)
	opening := lake.Mark{Floor: res.Floor, FloorTime: logTime, Stamp: res.Stamp, LogTime: logTime}
	if m, open := snap.Marks[pl.source]; open {
		opening = lake.Mark{Floor: m.Floor, FloorTime: m.FloorTime, LogTime: m.FloorTime}
	}
	// Both tables must know the epoch before its first event can arrive. A crash
	// between the two commits is mended here at the next start.
	for table, s := range map[*lake.Table]*lake.Snapshot{events: snap, dead: deadSnap} {
		if _, open := s.Marks[pl.source]; open {
			continue
		}
		if _, err := table.OpenEpoch(ctx, pl.source, opening); err != nil {
			return fmt.Errorf("open epoch %d: %w", res.Epoch, err)
		}
	}
	return nil
}

// rejoin compares a log that is not that of the newest epoch with the earlier
// ones: an old log may have been brought back. What the lake holds of it in any
// epoch must not be counted again, so the new epoch begins after the last message
// that is equal in one of them.
func (pl *pipeline) rejoin(ctx context.Context, res stream.Resolution, snap, deadSnap *lake.Snapshot) (stream.Resolution, error) {
	for src, m := range snap.Marks {
		if src.Epoch+1 >= res.Epoch {
			continue // the newest: compared already
		}
		old, err := stream.Resolve(ctx, pl.log, streamMark(src.Epoch, m, true), heldTimes(src, snap, deadSnap))
		if err != nil {
			return res, err
		}
		if old.After > res.Floor {
			res.After, res.Floor, res.Stamp = old.After, old.After, old.Stamp
		}
	}
	return res, nil
}

// newestSource gives the source of the table's newest epoch; epoch 0 if the table
// knows none.
func newestSource(name string, s *lake.Snapshot) event.Source {
	src := event.Source{Stream: name}
	for have := range s.Marks {
		src.Epoch = max(src.Epoch, have.Epoch)
	}
	return src
}

func streamMark(epoch uint32, m lake.Mark, known bool) stream.Mark {
	return stream.Mark{Any: known, Epoch: epoch, Floor: m.Floor, Through: m.Through, Stamp: m.Stamp, FloorTime: m.FloorTime}
}

// heldTimes tells Resolve under which log time the lake holds the rows of a
// message, good or dead, in the epoch in which the message is in force.
func heldTimes(current event.Source, snaps ...*lake.Snapshot) stream.Times {
	return func(ctx context.Context, after, through uint64) (map[uint64]int64, error) {
		all := map[uint64]int64{}
		for _, s := range snaps {
			floors := make([]uint64, current.Epoch)
			for src, m := range s.Marks {
				if src.Partition == current.Partition && src.Epoch <= current.Epoch {
					floors[src.Epoch-1] = m.Floor
				}
			}
			for _, r := range stream.Lineage(current.Stream, current.Partition, floors, after, through) {
				m := s.Marks[r.Source]
				r.After, r.Through = max(r.After, m.Floor), min(r.Through, m.Through)
				if r.Empty() {
					continue
				}
				times, err := s.Times(ctx, r)
				if err != nil {
					return nil, err
				}
				maps.Copy(all, times)
			}
		}
		return all, nil
	}
}
