package postgres

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A frame is a message of the client, not decoded yet.
type frame struct {
	kind byte
	body []byte
}

// An inbox reads ahead of the session, so that a client that leaves or cancels
// is noticed while its query runs. It holds a bounded number of bytes: a client that
// pipelines more waits.
type inbox struct {
	mu     sync.Mutex
	change *sync.Cond
	frames []frame
	bytes  int
	err    error // of the reader; the frames before it are still given
	closed bool
}

const (
	inboxBytes      = 1 << 20
	maxMessageBytes = 4 << 20  // statements end at 64 KB; the rest is for parameters
	maxStartBytes   = 10_000   // as Postgres bounds start-up packets
	maxAuthBytes    = 64 << 10 // before anybody is known, little is read
)

var errMessageTooLong = errors.New("a message is longer than this server takes")

func newInbox() *inbox {
	in := &inbox{}
	in.change = sync.NewCond(&in.mu)
	return in
}

// fill reads until the connection ends; gone is called then.
func (in *inbox) fill(r *bufio.Reader, gone func()) {
	defer gone()
	for {
		f, err := readFrame(r, maxMessageBytes)
		in.mu.Lock()
		switch {
		case err != nil && in.err == nil:
			in.err = err
		case err == nil:
			in.frames = append(in.frames, f)
			in.bytes += len(f.body) + 16
		}
		in.change.Broadcast()
		for in.bytes > inboxBytes && !in.closed {
			in.change.Wait()
		}
		done := in.closed || err != nil
		in.mu.Unlock()
		if done {
			return
		}
	}
}

// next waits for a frame; io.EOF when the client has left.
func (in *inbox) next() (frame, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.frames) == 0 && in.err == nil {
		in.change.Wait()
	}
	if len(in.frames) == 0 {
		return frame{}, in.err
	}
	f := in.frames[0]
	in.frames = in.frames[1:]
	in.bytes -= len(f.body) + 16
	in.change.Broadcast()
	return f, nil
}

// close lets a reader that waits for room go.
func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.change.Broadcast()
}

// readFrame reads one message.
func readFrame(r *bufio.Reader, max int) (frame, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := int(binary.BigEndian.Uint32(head[1:])) - 4
	if n < 0 || n > max {
		return frame{}, fmt.Errorf("%w: %d bytes, %d are allowed", errMessageTooLong, n, max)
	}
	f := frame{kind: head[0], body: make([]byte, n)}
	_, err := io.ReadFull(r, f.body)
	return f, err
}

// stop makes next give err once the frames that are there have been taken.
func (in *inbox) stop(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	in.change.Broadcast()
}
