package stream

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/tailwater/tailwater/event"
)

// blockOverhead is about what a block takes besides its columns and records.
const blockOverhead = 512

// decoded is a message that is ready to be delivered, whichever way it came.
type decoded struct {
	seq     uint64
	stamp   int64  // µs since 1970
	size    int    // of the message, bytes
	schema  string // fingerprint; empty for a message that is no envelope
	rows    arrow.RecordBatch
	refused []event.Refused
}

// deliver makes d the next block. This is the one place where log time moves,
// ids are remembered and seals by schema, size and age are drawn.
func (f *follower) deliver(ctx context.Context, d decoded) error {
	if d.schema != "" && d.schema != f.schema {
		// Files and segments end where the columns changed. Being drawn from the log
		// alone, the seal needs nobody who remembers that it is still to be drawn.
		if f.schema != "" {
			if err := f.seal(ctx); err != nil {
				return err
			}
		}
		f.schema = d.schema
	}
	f.logTime = max(f.logTime, d.stamp)
	f.stamp = d.stamp
	b := f.block(d.seq)
	rows := batchRows(d.rows)
	if rows > 0 {
		run := event.Run{Seq: d.seq, At: f.logTime, Rows: rows}
		b.Batch = d.rows
		if dedup := f.t.cfg.Dedup; dedup != nil {
			evicted := dedup.Evicted()
			run.Idx, b.Duplicates = dedup.filter(d.rows.Column(f.t.cfg.Schema.IDColumn), f.logTime)
			if evicted == 0 && dedup.Evicted() > 0 {
				f.t.cfg.Logger.Error("more ids than are remembered: duplicates may be counted before the window ends; shorten dedup_window or raise the bound", "source", f.t.cfg.Source.String())
			}
		}
		if b.Duplicates > 0 {
			run.Rows = len(run.Idx)
			b.Batch = nil
			if run.Rows > 0 {
				b.Batch = takeRows(d.rows, run.Idx)
			}
		}
		if run.Rows > 0 {
			b.Runs = []event.Run{run}
		}
	}
	if len(d.refused) > 0 {
		b.Refused = make([]event.Refused, len(d.refused))
		for i, r := range d.refused {
			r.Seq, r.Idx, r.At = d.seq, uint32(rows+i), f.logTime
			b.Refused[i] = r
		}
	}
	b.Size = rowsBytes(b.Batch) + refusedBytes(b.Refused) + blockOverhead
	f.opened(d.size)
	b.Seal = f.openBytes >= f.t.cfg.SealBytes || f.logTime-f.openLogTime >= f.t.cfg.SealAge.Microseconds()
	return f.send(ctx, b)
}

// block starts the block that follows the last one.
func (f *follower) block(through uint64) *event.Block {
	return &event.Block{
		Range:   event.Range{Source: f.t.cfg.Source, After: f.at, Through: through},
		Schema:  f.t.cfg.Schema,
		LogTime: f.logTime,
		Stamp:   f.stamp,
		Size:    blockOverhead,
	}
}

// opened notes that something waits for a seal.
func (f *follower) opened(bytes int) {
	if !f.open {
		f.open, f.openLogTime, f.openBytes = true, f.logTime, 0
		f.age.Reset(f.t.cfg.SealAge)
	}
	f.openBytes += int64(bytes)
}

// seal draws a seal where the last block ended, as an empty block, unless
// there is one already.
func (f *follower) seal(ctx context.Context) error {
	if !f.open {
		return nil
	}
	b := f.block(f.at)
	b.Seal = true
	return f.send(ctx, b)
}

// send gives b to every applier's lane, and waits while one is full.
func (f *follower) send(ctx context.Context, b *event.Block) error {
	for _, l := range f.t.lanes {
		if err := l.push(ctx, b); err != nil {
			return err
		}
	}
	f.at = b.Through
	f.blocks++
	if b.Seal {
		f.open = false
		f.age.Stop()
	}
	f.t.delivered.Store(f.at)
	f.t.logTime.Store(f.logTime)
	return nil
}

// serveSeals takes new requests for seals without waiting, and answers those
// whose place is reached.
func (f *follower) serveSeals(ctx context.Context) error {
	for {
		select {
		case req := <-f.t.seals:
			f.waiting = append(f.waiting, req)
			f.head = max(f.head, req.target)
			continue
		default:
		}
		break
	}
	kept := f.waiting[:0]
	for _, req := range f.waiting {
		if req.target > f.at {
			kept = append(kept, req)
			continue
		}
		if err := f.seal(ctx); err != nil {
			return err
		}
		req.reply <- sealed{f.at, f.blocks}
	}
	f.waiting = kept
	return nil
}
