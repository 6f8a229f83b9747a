package postgres

import (
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// flushBytes is where rows are sent although more follow: large enough that
// system calls do not count, small enough that the first rows are soon there.
const flushBytes = 64 << 10

// writeTimeout is how long a client may take no rows before it is given up: its
// query holds a snapshot.
const writeTimeout = 60 * time.Second

// A writer gathers messages.
type writer struct {
	conn net.Conn
	buf  []byte
	err  error // once a write failed, nothing else is tried
}

// send appends a message.
func (w *writer) send(m pgproto3.BackendMessage) {
	buf, err := m.Encode(w.buf)
	if err != nil { // a message that is larger than the protocol can say
		w.err = err
		return
	}
	w.buf = buf
}

// full sends what is there if it is worth a system call.
func (w *writer) full() error {
	if len(w.buf) < flushBytes {
		return w.err
	}
	return w.flush()
}

func (w *writer) flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, w.err = w.conn.Write(w.buf)
	w.buf = w.buf[:0]
	if cap(w.buf) > 4*flushBytes {
		w.buf = nil // one huge value is not kept
	}
	return w.err
}
