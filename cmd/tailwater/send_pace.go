package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/ingest"
)

// paceGrain is how much too early a record may be sent: waiting for each of many
// records a second would cost more than it tells.
const paceGrain = 5 * time.Millisecond

// A pacer says when a record is due: so many a second, or when its time has come
// in a clock that runs speed times as fast as real time. The zero pacer never waits.
type pacer struct {
	rate, speed float64
	column      string
	decoder     *ingest.Decoder // of the time column alone

	started time.Time // when the first record was due
	count   int64
	first   int64 // the first record's time, µs since 1970
}

func (c *SendCmd) newPacer(info streamInfo) (*pacer, error) {
	p := &pacer{rate: c.Rate, speed: c.Speed, column: info.Time}
	if c.Speed == 0 {
		return p, nil
	}
	if info.Time == "" {
		return nil, fmt.Errorf("--speed: stream %s has no time column; name one with `-- time: column` in its file, or use --rate", c.Stream)
	}
	schema := &event.Schema{Stream: c.Stream, Columns: []event.Column{{Name: info.Time, Type: event.Type{Kind: event.Timestamp}, NotNull: true}}, IDColumn: -1}
	if info.TimeFormat != "" {
		schema.Formats = map[int]string{0: info.TimeFormat}
	}
	var err error
	p.decoder, err = ingest.NewDecoder(schema, ingest.Limits{})
	return p, err
}

// wait gives how long to wait before the record is sent, at the time now. A
// record out of order, or without a time that can be read, is due at once.
func (p *pacer) wait(record []byte, now time.Time) time.Duration {
	var due time.Duration // after the first record
	switch {
	case p.rate > 0:
		due = time.Duration(float64(p.count) / p.rate * float64(time.Second))
	case p.speed > 0:
		at, ok := p.timeOf(record)
		if !ok {
			return 0
		}
		if p.count == 0 {
			p.first = at
		}
		due = time.Duration(min(float64(at-p.first)/p.speed*float64(time.Microsecond), math.MaxInt64/2))
	default:
		return 0
	}
	if p.count == 0 {
		p.started = now
	}
	p.count++
	if wait := p.started.Add(due).Sub(now); wait > paceGrain {
		return wait
	}
	return 0
}

// timeOf reads the record's time as ingest will.
func (p *pacer) timeOf(record []byte) (us int64, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(record, &fields) != nil {
		return 0, false
	}
	body, err := json.Marshal(map[string]json.RawMessage{p.column: fields[p.column]})
	if err != nil {
		return 0, false
	}
	decoded, err := p.decoder.Decode(body, false)
	if err != nil || decoded.Accepted() != 1 {
		return 0, false
	}
	return int64(decoded.Rows.Column(0).(*array.Timestamp).Value(0)), true
}

// A shuffled source gives each record at random among a window of neighbours,
// the same way every time.
type shuffled struct {
	recordSource
	random *rand.Rand
	window []numbered
	size   int
	ended  bool
}

type numbered struct {
	bytes  []byte
	number int64
}

func newShuffled(source recordSource, size int) *shuffled {
	return &shuffled{recordSource: source, random: rand.New(rand.NewPCG(1, 2)), size: size}
}

func (s *shuffled) next(ctx context.Context) ([]byte, int64, error) {
	for !s.ended && len(s.window) < s.size {
		record, number, err := s.recordSource.next(ctx)
		if errors.Is(err, io.EOF) {
			s.ended = true
			break
		}
		if err != nil {
			return nil, 0, err
		}
		s.window = append(s.window, numbered{record, number})
	}
	last := len(s.window) - 1
	if last < 0 {
		return nil, 0, io.EOF
	}
	i := s.random.IntN(len(s.window))
	r := s.window[i]
	s.window[i], s.window[last] = s.window[last], numbered{}
	s.window = s.window[:last]
	return r.bytes, r.number, nil
}

// progress shows how far sending is: as a bar on a terminal, as a line every few
// seconds elsewhere.
type progress struct {
	done chan struct{}
	wg   sync.WaitGroup
}

const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 5 * time.Second // a log that is read later needs no more
)

// newProgress starts showing the tally; fraction is asked in between.
func newProgress(out *output, t *sendTally, fraction func() float64) *progress {
	p := &progress{done: make(chan struct{})}
	file, isFile := out.err.(*os.File)
	onTerminal := isFile && term.IsTerminal(int(file.Fd()))
	every, show := lineEvery, func() {
		accepted, rejected, retries := t.counts()
		fmt.Fprintf(out.err, "sending: accepted %d, rejected %d, retries %d\n", accepted, rejected, retries)
	}
	finish := func() {}
	if onTerminal {
		bar := progressbar.NewOptions64(1000, progressbar.OptionSetWriter(out.err), progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(true))
		every, show = barEvery, func() {
			accepted, rejected, retries := t.counts()
			bar.Describe(fmt.Sprintf("accepted %d  rejected %d  retries %d", accepted, rejected, retries))
			_ = bar.Set64(int64(1000 * min(max(fraction(), 0), 0.999))) // a bar is never worth an error
		}
		finish = func() { _ = bar.Finish() }
	}
	p.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show()
			case <-p.done:
				finish()
				return
			}
		}
	})
	return p
}

// stop ends the display and waits for it.
func (p *progress) stop() {
	close(p.done)
	p.wg.Wait()
}
