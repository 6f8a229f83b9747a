package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"
)

// A share is what one request holds of the bytes in flight. It only waits when
// it holds nothing, so requests cannot wait for each other in a circle.
type share struct {
	flight *semaphore.Weighted
	bytes  int64
}

// cover makes the share at least bytes large, without waiting.
func (s *share) cover(bytes int64) bool {
	if bytes <= s.bytes {
		return true
	}
	if !s.flight.TryAcquire(bytes - s.bytes) {
		return false
	}
	s.bytes = bytes
	return true
}

func (s *share) release() {
	s.flight.Release(s.bytes)
	s.bytes = 0
}

// firstRead is the room for a body whose length is not told. A larger one
// doubles its room as it comes.
const firstRead = 64 << 10

// minShare is charged for every body, for the request around it.
const minShare = 4 << 10

// maxPooled is the largest buffer kept; one large request should not be paid
// for by every later one.
const maxPooled = 4 << 20

// pools keep what is costly to make between requests.
type pools struct {
	buffers sync.Pool // of *[]byte
	gzip    sync.Pool // of *gzip.Reader
	zstd    sync.Pool // of *zstd.Decoder, each with its window
}

// takeBuffer gives an empty buffer with room for size bytes.
func (p *pools) takeBuffer(size int) *[]byte {
	if b, ok := p.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, max(size, firstRead))
	return &b
}

func (p *pools) giveBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		p.buffers.Put(b)
	}
}

var errOverLimit = errors.New("over the limit")
var errBusy = errors.New("no bytes left in flight")

// fill reads r to its end into *b, of which other bytes are held besides. It
// fails with errOverLimit beyond limit bytes, with errBusy if the share cannot
// grow with the buffer, or as r does.
func fill(b *[]byte, r io.Reader, limit int, other int64, held *share) error {
	for {
		if len(*b) == cap(*b) {
			grown := make([]byte, len(*b), min(2*cap(*b), limit+1))
			copy(grown, *b)
			*b = grown
		}
		n, err := r.Read((*b)[len(*b):min(cap(*b), limit+1)])
		*b = (*b)[:len(*b)+n]
		if len(*b) > limit {
			return errOverLimit
		}
		if !held.cover(other + int64(len(*b))) {
			return errBusy
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// receive reads the request's body as it is sent. The caller owns the buffer.
func (h *handler) receive(w http.ResponseWriter, r *http.Request, held *share) (*[]byte, *failure) {
	tooLarge := &failure{status: http.StatusRequestEntityTooLarge, code: "too_large",
		message: fmt.Sprintf("the body is over %d bytes", h.cfg.WireBytes), hint: "send it in parts; nothing was stored"}
	size := int64(firstRead)
	if r.ContentLength >= 0 {
		size = max(r.ContentLength, minShare)
	}
	if r.ContentLength > int64(h.cfg.WireBytes) {
		return nil, tooLarge
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Wait)
	defer cancel()
	if err := held.flight.Acquire(ctx, size); err != nil {
		if r.Context().Err() != nil {
			return nil, failCanceled
		}
		return nil, h.failBusy()
	}
	held.bytes = size
	// A server without deadlines (a test's recorder) is no reason to refuse.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(h.cfg.ReadTimeout))
	b := h.pools.takeBuffer(int(size) + 1) // one more, so that the end is seen without growing
	err := fill(b, r.Body, h.cfg.WireBytes, 0, held)
	if err == nil {
		// The deadline ends with the body: the server goes on listening for a
		// client that hangs up, and would take a deadline that passes while
		// the log still writes for that. After an error it must stay, or the
		// server would wait for the rest of the body without end.
		_ = conn.SetReadDeadline(time.Time{})
		return b, nil
	}
	h.pools.giveBuffer(b)
	switch {
	case errors.Is(err, errOverLimit):
		return nil, tooLarge
	case errors.Is(err, errBusy):
		return nil, h.failBusy()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &failure{status: http.StatusRequestTimeout, code: "timeout", message: fmt.Sprintf("the body did not arrive within %s", h.cfg.ReadTimeout), hint: "send smaller bodies; nothing was stored"}
	}
	return nil, &failure{status: http.StatusBadRequest, code: "bad_body", message: "the body broke off", hint: "nothing was stored"}
}

// decompress gives what wire holds, within the limit for a body. The caller
// owns the buffer.
func (h *handler) decompress(encoding string, wire []byte, held *share) (*[]byte, *failure) {
	limit := h.cfg.Limits.BodyBytes
	out := h.pools.takeBuffer(min(4*len(wire), limit) + 1) // JSON shrinks to a quarter or less
	err := h.pools.inflate(out, encoding, wire, limit, held)
	if err == nil {
		return out, nil
	}
	h.pools.giveBuffer(out)
	switch {
	case errors.Is(err, errOverLimit):
		return nil, &failure{status: http.StatusRequestEntityTooLarge, code: "too_large",
			message: fmt.Sprintf("the body is over %d bytes when decompressed", limit), hint: "send it in parts; nothing was stored"}
	case errors.Is(err, errBusy):
		return nil, h.failBusy()
	}
	return nil, &failure{status: http.StatusBadRequest, code: "bad_body", message: fmt.Sprintf("the body is not %s: %v", encoding, err),
		hint: "check that it was compressed once and sent whole; nothing was stored"}
}

func (p *pools) inflate(out *[]byte, encoding string, wire []byte, limit int, held *share) error {
	source := bytes.NewReader(wire)
	if encoding == "gzip" {
		z, ok := p.gzip.Get().(*gzip.Reader)
		if !ok {
			z = new(gzip.Reader)
		}
		defer p.gzip.Put(z)
		if err := z.Reset(source); err != nil {
			return err
		}
		return fill(out, z, limit, int64(len(wire)), held)
	}
	z, ok := p.zstd.Get().(*zstd.Decoder)
	if !ok {
		var err error
		// One goroutine, ours. A window of 8 MiB is what RFC 8878 (section
		// 3.1.1.1.2) asks of every decoder; a frame may ask for gigabytes.
		z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return err
		}
	}
	defer p.zstd.Put(z)
	if err := z.Reset(source); err != nil {
		return err
	}
	defer z.Reset(nil) // lets go of wire
	return fill(out, z, limit, int64(len(wire)), held)
}
