package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tailwater/tailwater/event"
)

// A Mark is what the lake knows about a stream's log.
type Mark struct {
	// Any is false for a lake that never held anything of the stream.
	Any bool
	// Epoch is the newest epoch, Floor the position at which it began
	// (exclusive), Through the position landed through in it.
	Epoch          uint32
	Floor, Through uint64
	// Stamp is that of the message at Through (Block.Stamp, or
	// Resolution.Stamp if nothing was landed since the epoch began), µs
	// since 1970. 0 says that no message was there, purged or never
	// written: then there must be none now.
	Stamp int64
	// FloorTime is the log time with which the epoch began (TapConfig.LogTime
	// of its first tap), µs since 1970; 0 if unknown. It matters only if
	// another program's clock lags behind the log's.
	FloorTime int64
}

// A Resolution says under which epoch the log goes on, and from where.
type Resolution struct {
	Epoch uint32
	// After is where the tap starts. NewEpoch asks for an empty commit that
	// opens the epoch at Floor, which is then the same as After, before the
	// tap starts.
	After    uint64
	NewEpoch bool
	Floor    uint64
	// Stamp is that of the message at After, to be kept for Mark.Stamp and
	// given to TapConfig.Stamp; 0 if there is none.
	Stamp int64
}

// Times gives what the lake holds of the messages (after, through]: for each
// sequence that has rows, good or dead, their log time, µs since 1970
// (_ingested_at). Of a sequence that several epochs used it tells the one in
// force at mark: the newest epoch whose floor is below it (see Lineage).
type Times func(ctx context.Context, after, through uint64) (map[uint64]int64, error)

// Lineage cuts the messages (after, through] into the ranges of the epochs in
// which they are in force. floors[i] is the floor of epoch i+1, and the last
// epoch is the current one: a message above its floor is its own, one below
// is that of the lineage before, because a new epoch begins after the last
// message that was still the same.
func Lineage(stream string, partition uint32, floors []uint64, after, through uint64) []event.Range {
	var out []event.Range
	for i := len(floors) - 1; i >= 0 && through > after; i-- {
		from := max(after, floors[i])
		if i == 0 {
			from = after
		}
		if through > from {
			out = append(out, event.Range{Source: event.Source{Stream: stream, Epoch: uint32(i + 1), Partition: partition}, After: from, Through: through})
			through = from
		}
	}
	slices.Reverse(out)
	return out
}

// Resolve compares the log with what the lake holds, before anything is
// appended or read.
//
// The log is the same if it reaches the position landed through and the message
// there carries the same stamp; if it was purged meanwhile, the next one must
// carry a later stamp. Otherwise the log lost a suffix or was
// made anew: sequences were, or will be, given out a second time, and a new
// epoch begins after the last message that is equal to what the lake holds.
//
// A message is equal if it gives the log time under which the lake holds its
// rows. One of which the lake holds no rows (all duplicates, or a tick) is
// taken for equal only if an equal one follows; otherwise it is delivered
// again, and deduplication finds the same duplicates.
func Resolve(ctx context.Context, log Log, mark Mark, times Times) (Resolution, error) {
	first, last, err := log.Bounds(ctx)
	if err != nil {
		return Resolution{}, fmt.Errorf("resolve epoch: %w", err)
	}
	if !mark.Any {
		// A new lake on a log that was used before begins with what is there.
		return Resolution{Epoch: 1, After: first - 1, NewEpoch: true, Floor: first - 1}, nil
	}
	same, err := sameLog(ctx, log, mark, last)
	if err != nil {
		return Resolution{}, fmt.Errorf("resolve epoch: %w", err)
	}
	if same {
		return Resolution{Epoch: mark.Epoch, After: mark.Through, Floor: mark.Floor, Stamp: mark.Stamp}, nil
	}
	after, stamp, err := lastEqual(ctx, log, mark, times, first, last)
	if err != nil {
		return Resolution{}, fmt.Errorf("resolve epoch: %w", err)
	}
	if after == mark.Through && stamp != 0 {
		// Only the stamp was not kept: the rows at Through are the same.
		return Resolution{Epoch: mark.Epoch, After: after, Floor: mark.Floor, Stamp: stamp}, nil
	}
	return Resolution{Epoch: mark.Epoch + 1, After: after, NewEpoch: true, Floor: after, Stamp: stamp}, nil
}

func sameLog(ctx context.Context, log Log, mark Mark, last uint64) (bool, error) {
	if last < mark.Through {
		return false, nil
	}
	if mark.Through == 0 {
		return true, nil
	}
	m, err := log.Get(ctx, mark.Through)
	if err == nil {
		return StampOf(m) == mark.Stamp, nil
	}
	if !errors.Is(err, ErrNotExist) {
		return false, err
	}
	// Purged: stamps rise, so what follows in the same log is younger.
	next, err := log.Next(ctx, mark.Through)
	if errors.Is(err, ErrNotExist) {
		return true, nil
	}
	return err == nil && StampOf(next) > mark.Stamp, err
}

// chunk is how many sequences are asked of the lake at once.
const chunk = 1 << 16

// errStop ends a subscription from inside.
var errStop = errors.New("stop")

// lastEqual returns the last message of the log that the lake holds alike,
// and its stamp; the position before the log's first if there is none.
func lastEqual(ctx context.Context, log Log, mark Mark, times Times, first, last uint64) (uint64, int64, error) {
	end, err := lastExisting(ctx, log, first, min(last, mark.Through))
	if err != nil {
		return 0, 0, err
	}
	if end < first {
		if last < mark.Through {
			return last, 0, nil // nothing is left to compare, and nothing to deliver
		}
		return first - 1, 0, nil
	}
	c := comparison{mark: mark, times: times, after: first - 1, through: min(last, mark.Through), equal: first - 1}
	if err := c.begin(ctx); err != nil {
		return 0, 0, err
	}
	err = log.Subscribe(ctx, first-1, func(m Message) error {
		if m.Seq > end {
			return errStop
		}
		if err := c.take(ctx, m); err != nil {
			return err
		}
		if m.Seq == end {
			return errStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return 0, 0, err
	}
	return c.equal, c.stamp, nil
}

// lastExisting finds the last message at or before seq; below first if there
// is none. Messages at the end are seldom deleted, so it looks one by one.
func lastExisting(ctx context.Context, log Log, first, seq uint64) (uint64, error) {
	for ; seq >= first && seq > 0; seq-- {
		_, err := log.Get(ctx, seq)
		if err == nil || !errors.Is(err, ErrNotExist) {
			return seq, err
		}
	}
	return first - 1, nil
}

// A comparison walks log and lake side by side.
type comparison struct {
	mark    Mark
	times   Times
	after   uint64 // the lake was asked through this
	through uint64
	held    map[uint64]int64

	logTime int64 // running maximum through the last message taken
	taken   uint64
	equal   uint64
	stamp   int64 // of the message at equal
}

// begin finds the log time before the first message in what the lake holds
// of the messages before it, which the log has purged.
func (c *comparison) begin(ctx context.Context) error {
	c.taken = c.after
	for through, width := c.after, uint64(1024); through > 0; width *= 2 {
		after := through - min(width, through)
		held, err := c.times(ctx, after, through)
		if err != nil {
			return fmt.Errorf("log times (%d,%d] of the lake: %w", after, through, err)
		}
		if len(held) > 0 {
			for _, at := range held {
				c.logTime = max(c.logTime, at)
			}
			return nil
		}
		through = after
	}
	return nil
}

// take compares the next message, and stops at the first that differs.
func (c *comparison) take(ctx context.Context, m Message) error {
	for m.Seq > c.after {
		to := min(c.after+chunk, c.through)
		held, err := c.times(ctx, c.after, to)
		if err != nil {
			return fmt.Errorf("log times (%d,%d] of the lake: %w", c.after, to, err)
		}
		// What the lake holds of messages that the log has deleted counts
		// towards log time all the same.
		c.held, c.after = merge(c.held, held, c.taken), to
	}
	for seq := c.taken + 1; seq < m.Seq; seq++ {
		c.logTime = max(c.logTime, c.held[seq])
	}
	c.taken = m.Seq
	stamp := StampOf(m)
	if m.Seq > c.mark.Floor {
		c.logTime = max(c.logTime, c.mark.FloorTime)
	}
	c.logTime = max(c.logTime, stamp)
	if m.Seq == c.mark.Through && c.mark.Stamp != 0 && stamp != c.mark.Stamp {
		return errStop
	}
	at, known := c.held[m.Seq]
	if !known {
		return nil
	}
	if at != c.logTime {
		return errStop
	}
	c.equal, c.stamp = m.Seq, stamp
	return nil
}

// merge keeps of old what lies after taken, and adds more.
func merge(old, more map[uint64]int64, taken uint64) map[uint64]int64 {
	out := make(map[uint64]int64, len(more))
	for seq, at := range old {
		if seq > taken {
			out[seq] = at
		}
	}
	for seq, at := range more {
		out[seq] = at
	}
	return out
}
