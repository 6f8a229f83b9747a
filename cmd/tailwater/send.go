package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"
)

// SendCmd sends a file of events to a stream.
type SendCmd struct {
	Stream string `arg:"" help:"The stream." placeholder:"STREAM"`
	File   string `arg:"" help:"NDJSON, JSON, CSV or Parquet; - is standard input." placeholder:"FILE"`

	Format        fileFormat `help:"Format of the file, if its name and content do not tell: ${enum}." enum:",ndjson,json,csv,parquet" default:"" placeholder:"FORMAT"`
	Batch         int        `help:"Events in one request." default:"1000"`
	Clients       int        `help:"Requests at once; 1 keeps the file's order." default:"4"`
	Rate          float64    `help:"Send so many events a second." placeholder:"N" xor:"pace"`
	Speed         float64    `help:"Send as time passed in the events, so many times as fast." placeholder:"N" xor:"pace"`
	Shuffle       int        `help:"Mix the order among so many neighbours, to see late events at work." placeholder:"N"`
	AllowRejected bool       `help:"Exit with 0 even if events were rejected."`
	JSON          bool       `name:"json" help:"Print the result as JSON."`
	remote
}

// Help is shown by --help.
func (c *SendCmd) Help() string {
	return `Events that do not fit the stream are rejected one by one, and kept by the server in STREAM_dead. The position printed at the end makes a query wait until it covers everything sent: --after POSITION.

Examples:

    tailwater send flights flights.json
    tailwater send flights flights.parquet --speed 100
    kcat -C -t flights | tailwater send flights -`
}

// Bounds of a request: one that is stored in one piece cannot be stored by half,
// so that sending it once more doubles nothing. The server's pieces are 1 MiB.
const (
	batchRecordsMax = 10_000
	batchBytesMax   = 512 << 10
)

// Validate is called by kong.
func (c *SendCmd) Validate() error {
	switch {
	case c.Batch < 1 || c.Batch > batchRecordsMax:
		return fmt.Errorf("--batch must be 1 to %d", batchRecordsMax)
	case c.Clients < 1 || c.Clients > 256:
		return errors.New("--clients must be 1 to 256")
	case c.Rate < 0 || c.Speed < 0:
		return errors.New("--rate and --speed must be greater than 0")
	case c.Shuffle < 0 || c.Shuffle > 1_000_000:
		return errors.New("--shuffle must be 0 to 1000000")
	}
	return nil
}

// A streamInfo is what the server says about a stream.
type streamInfo struct {
	Time       string       `json:"time"`
	TimeFormat string       `json:"time_format"`
	ID         string       `json:"id"`
	Columns    []columnJSON `json:"columns"`
}

// Run sends the file: one reader fills batches, several senders empty them, and
// the channel between holds no more batches than there are senders.
func (c *SendCmd) Run(ctx context.Context, out *output) (err error) {
	var info streamInfo
	if _, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/streams/" + url.PathEscape(c.Stream)}, &info); err != nil {
		return err
	}
	pace, err := c.newPacer(info)
	if err != nil {
		return err
	}
	source, err := openRecords(ctx, c.File, c.Format, out.in)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer func() { err = errors.Join(err, source.close()) }()
	if c.Shuffle > 1 {
		source = newShuffled(source, c.Shuffle)
	}
	started := time.Now()
	total := &sendTally{unit: source.unit()}
	show := newProgress(out, total, source.fraction)
	group, sending := errgroup.WithContext(ctx)
	batches := make(chan *sendBatch, c.Clients)
	group.Go(func() error {
		defer close(batches)
		return fill(sending, source, c.Batch, pace, batches)
	})
	for range c.Clients {
		group.Go(func() error {
			for b := range batches {
				if err := c.post(sending, b, info.ID != "", total); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	show.stop()
	return c.report(out, total, time.Since(started), err)
}

// report prints what became of the events, also when sending broke off.
func (c *SendCmd) report(out *output, t *sendTally, took time.Duration, failed error) error {
	if c.JSON {
		result := struct {
			Accepted  int64       `json:"accepted"`
			Rejected  int64       `json:"rejected"`
			Records   []rejection `json:"rejected_records"`
			Position  string      `json:"position"`
			ElapsedMS int64       `json:"elapsed_ms"`
		}{t.accepted, t.rejected, t.first, t.position(), took.Milliseconds()}
		if err := json.NewEncoder(out.out).Encode(result); err != nil {
			return err
		}
	} else {
		for _, r := range t.first {
			field := ""
			if r.Field != "" {
				field = printable(r.Field) + ": "
			}
			fmt.Fprintf(out.err, "rejected: %s %d: %s%s\n", t.unit, r.Line, field, printable(r.Reason))
		}
		if more := t.rejected - int64(len(t.first)); more > 0 {
			fmt.Fprintf(out.err, "rejected: %d more\n", more)
		}
		fmt.Fprintf(out.out, "accepted %d, rejected %d, position %s, %.1f s, %.0f events/s\n", t.accepted, t.rejected, firstOf(t.position(), "none"), took.Seconds(), float64(t.accepted)/max(took.Seconds(), 1e-3))
	}
	if failed != nil {
		return fmt.Errorf("send %s: %w", c.File, failed)
	}
	if t.rejected > 0 && !c.AllowRejected {
		return fmt.Errorf("%s rejected; they are kept in %s_dead with their reasons (--allow-rejected makes this no failure)", plural(t.rejected, "event"), c.Stream)
	}
	return nil
}

// A sendBatch is the body of one request.
type sendBatch struct {
	body  []byte
	lines []int64 // each record's number in the file
}

func (b *sendBatch) add(record []byte, number int64) {
	b.body = append(append(b.body, record...), '\n')
	b.lines = append(b.lines, number)
}

// fill reads records into batches. A batch ends when it is full, or when the
// next record is not due yet.
func fill(ctx context.Context, source recordSource, size int, pace *pacer, batches chan<- *sendBatch) error {
	b := &sendBatch{}
	flush := func() error {
		if len(b.lines) == 0 {
			return nil
		}
		select {
		case batches <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b = &sendBatch{}
		return nil
	}
	for {
		record, number, err := source.next(ctx)
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return errors.Join(err, flush()) // what was read is sent
		}
		if wait := pace.wait(record, time.Now()); wait > 0 {
			if err := flush(); err != nil {
				return err
			}
			if err := sleep(ctx, wait); err != nil {
				return err
			}
		}
		if len(b.lines) == size || len(b.lines) > 0 && len(b.body)+len(record) > batchBytesMax {
			if err := flush(); err != nil {
				return err
			}
		}
		b.add(record, number)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
