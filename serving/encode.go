package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
)

// An encoder writes one answer in one format. begin is called once, rows for
// each batch, end once and only if every row was written. What begin and rows
// write must not be readable as a whole answer without what end writes, or else
// rely on the response being cut off: see send.
type encoder interface {
	begin(w io.Writer, a *Answer) error
	rows(w io.Writer, batch arrow.RecordBatch) error
	end(w io.Writer, a *Answer, rows int64, elapsed time.Duration) error
}

// formats in the order of preference when a client takes anything.
var formats = []struct {
	mediaType string
	make      func(columns []event.Column) encoder
}{
	{"application/json", newJSON},
	{"application/x-ndjson", newNDJSON},
	{"text/csv", newCSV},
	{"application/vnd.apache.arrow.stream", newArrow},
	{"application/vnd.apache.parquet", newParquet},
	{sheetType, newSheet},
}

// negotiate picks the format that an Accept header (RFC 9110, 12.5.1) likes
// best: the highest q of the most specific range that matches; among equals the
// first of formats. Its index is -1 if none is acceptable.
func negotiate(accept []string) int {
	header := strings.TrimSpace(strings.Join(accept, ","))
	if header == "" {
		return 0
	}
	best, bestQ := -1, 0.0
	for i, f := range formats {
		if q := quality(header, f.mediaType); q > bestQ {
			best, bestQ = i, q
		}
	}
	return best
}

// quality is the q of the most specific range of the header that matches.
func quality(header, mediaType string) float64 {
	family, _, _ := strings.Cut(mediaType, "/")
	q, specific := 0.0, 0
	for _, item := range strings.Split(header, ",") {
		parts := strings.Split(item, ";")
		level := 0
		switch strings.ToLower(strings.TrimSpace(parts[0])) {
		case mediaType:
			level = 3
		case family + "/*":
			level = 2
		case "*/*":
			level = 1
		}
		if level <= specific {
			continue
		}
		q, specific = 1, level
		for _, p := range parts[1:] {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			if strings.EqualFold(name, "q") {
				n, err := strconv.ParseFloat(value, 64)
				if err != nil || n < 0 || n > 1 {
					n = 0
				}
				q = n
			}
		}
	}
	return q
}

// uniqueNames gives the columns names that differ, without regard to case:
// what repeats gets _1, _2, … in order.
func uniqueNames(columns []event.Column) []string {
	taken := map[string]bool{}
	for _, c := range columns {
		taken[strings.ToLower(c.Name)] = true
	}
	seen := map[string]bool{}
	names := make([]string, len(columns))
	for i, c := range columns {
		name := c.Name
		for n := 1; seen[strings.ToLower(name)]; n++ {
			if next := c.Name + "_" + strconv.Itoa(n); !taken[strings.ToLower(next)] {
				name = next
				taken[strings.ToLower(next)] = true
			}
		}
		seen[strings.ToLower(name)] = true
		names[i] = name
	}
	return names
}

// Headers that say about an answer what the JSON format says in its members.
const (
	headerComplete  = "X-Tailwater-Complete"
	headerCut       = "X-Tailwater-Cut"
	headerHead      = "X-Tailwater-Head"
	headerWatermark = "X-Tailwater-Watermark"
	headerRows      = "X-Tailwater-Rows" // a trailer if the answer is long
)

func setFacts(h http.Header, a *Answer) {
	h.Set(headerComplete, strconv.FormatBool(a.Complete))
	h.Set(headerCut, a.Cut.String())
	h.Set(headerHead, a.Head.String())
	var marks []string
	for _, stream := range sortedKeys(a.Watermark) {
		marks = append(marks, stream+"="+a.Watermark[stream].UTC().Format(timeLayout))
	}
	if marks != nil {
		h.Set(headerWatermark, strings.Join(marks, ","))
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// sendBuffer is how much of a response is held back. An answer that fits is
// sent with its length, its row count and, if it fails, a proper status.
const sendBuffer = 64 << 10

// A sink is the response's body: the first sendBuffer bytes are held back, then
// it streams.
type sink struct {
	w       http.ResponseWriter
	held    []byte
	started bool
	written int64
	max     int64 // bytes; 0 = no limit
}

func (s *sink) Write(p []byte) (int, error) {
	s.written += int64(len(p))
	if s.max > 0 && s.written > s.max {
		return 0, fmt.Errorf("%w: the response is longer than %d bytes", ErrTooLarge, s.max)
	}
	if !s.started && len(s.held)+len(p) <= sendBuffer {
		s.held = append(s.held, p...)
		return len(p), nil
	}
	if err := s.start(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

// start sends the status, the headers and what was held back.
func (s *sink) start() error {
	if s.started {
		return nil
	}
	s.started = true
	s.w.Header().Set("Trailer", headerRows)
	_, err := s.w.Write(s.held)
	s.held = nil
	return err
}

// finish sends an answer that was held back whole, or else the trailer.
func (s *sink) finish(rows int64) error {
	s.w.Header().Set(headerRows, strconv.FormatInt(rows, 10))
	if s.started {
		return nil
	}
	s.w.Header().Set("Content-Length", strconv.Itoa(len(s.held)))
	_, err := s.w.Write(s.held)
	return err
}

// errCut says that a response broke off after its first byte had been sent. The
// connection must be aborted: an end of the body would make it look whole.
var errCut = errors.New("response cut off")

// send writes the answer in a format of formats. If it fails before anything
// was sent, the error is for the client; after that it wraps errCut.
func send(ctx context.Context, w http.ResponseWriter, a *Answer, format int, limit Config, started time.Time) (rows int64, err error) {
	out := &sink{w: w, max: limit.MaxBytes}
	enc := formats[format].make(a.Columns)
	w.Header().Set("Content-Type", formats[format].mediaType)
	w.Header().Add("Vary", "Accept")
	setFacts(w.Header(), a)
	rows, err = encode(ctx, out, enc, a, limit.MaxRows, started)
	if err == nil {
		err = out.finish(rows)
	}
	if err != nil && out.started {
		return rows, fmt.Errorf("%w: %w", errCut, err)
	}
	return rows, err
}

func encode(ctx context.Context, w io.Writer, enc encoder, a *Answer, maxRows int64, started time.Time) (rows int64, err error) {
	if err := enc.begin(w, a); err != nil {
		return 0, err
	}
	next, end := readAhead(ctx, a.Next)
	defer end()
	for {
		batch, err := next()
		if errors.Is(err, io.EOF) {
			return rows, enc.end(w, a, rows, time.Since(started))
		}
		if err != nil {
			return rows, err
		}
		rows += batch.NumRows()
		if maxRows > 0 && rows > maxRows {
			return rows, fmt.Errorf("%w: more than %d rows", ErrTooLarge, maxRows)
		}
		if err := enc.rows(w, batch); err != nil {
			return rows, err
		}
	}
}

// readAhead gives the batches of next, of which the engine makes one while another is
// being sent; from the second on, since most answers have no more than one. end waits
// until next is not called any more.
func readAhead(ctx context.Context, next func(context.Context) (arrow.RecordBatch, error)) (take func() (arrow.RecordBatch, error), end func()) {
	type fetched struct {
		batch arrow.RecordBatch
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	var ahead chan fetched
	taken := 0
	take = func() (arrow.RecordBatch, error) {
		if taken++; taken <= 2 {
			return next(ctx)
		}
		if ahead == nil {
			ahead = make(chan fetched, 1)
			go func() {
				defer close(ahead)
				for {
					b, err := next(ctx)
					select {
					case ahead <- fetched{b, err}:
					case <-ctx.Done():
						return
					}
					if err != nil {
						return
					}
				}
			}()
		}
		f, ok := <-ahead
		if !ok { // it was told the end already, or ctx has ended
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, io.EOF
		}
		return f.batch, f.err
	}
	return take, func() {
		cancel()
		if ahead != nil {
			for range ahead {
			}
		}
	}
}
