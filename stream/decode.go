package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/tailwater/tailwater/event"
)

// A Decoder reads envelopes of one stream. It is not safe for use by several
// goroutines: it keeps one long-lived Arrow reader per schema, because making a
// reader costs more than decoding a small batch.
type Decoder struct {
	schema *event.Schema
	known  map[string]*batchReader // by fingerprint
}

// NewDecoder makes a decoder that yields rows of schema. Envelopes written
// under one of the older schemas are fitted to it: columns are found by
// name, those they lack are NULL.
func NewDecoder(schema *event.Schema, older ...*event.Schema) *Decoder {
	d := &Decoder{schema: schema, known: map[string]*batchReader{}}
	for _, s := range append(older, schema) {
		d.known[s.Fingerprint()] = &batchReader{schema: s}
	}
	return d
}

// Decode is NewDecoder and Decoder.Decode for a single envelope.
func Decode(data []byte, schema *event.Schema, older ...*event.Schema) (*Envelope, error) {
	return NewDecoder(schema, older...).Decode(data)
}

// Decode reads an envelope. The result shares no memory with data and its
// buffers start at multiples of 8 bytes, as native readers need. It never
// panics: bytes that are not an envelope, are corrupt, or are of an unknown
// schema give an error.
func (d *Decoder) Decode(data []byte) (*Envelope, error) {
	h, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	env := &Envelope{ID: h.id, Stamp: h.stamp, Fingerprint: h.fingerprint}
	if env.Refused, err = readRefused(h.refusedPart, h.refused); err != nil {
		return nil, err
	}
	if h.rows == 0 {
		return env, nil
	}
	reader := d.known[h.fingerprint]
	if reader == nil {
		return nil, fmt.Errorf("envelope's schema %s is not known: stream %s has %s", h.fingerprint, d.schema.Stream, d.schema.Fingerprint())
	}
	batch, err := reader.read(h.arrowPart)
	if err != nil {
		return nil, fmt.Errorf("arrow record batch: %w", err)
	}
	if batch.NumRows() != int64(h.rows) {
		return nil, fmt.Errorf("arrow record batch has %d rows, the header says %d", batch.NumRows(), h.rows)
	}
	if env.Rows, err = fit(batch, reader.schema, d.schema); err != nil {
		return nil, err
	}
	return env, nil
}

// A batchReader decodes bare record-batch messages of one schema.
type batchReader struct {
	schema *event.Schema
	source *messageSource
	ipc    *ipc.Reader
}

func (r *batchReader) read(data []byte) (batch arrow.RecordBatch, err error) {
	defer func() {
		// The Arrow library panics on crafted metadata. Its reader is not
		// usable after that.
		if p := recover(); p != nil {
			batch, err = nil, fmt.Errorf("malformed: %v", p)
		}
		if err != nil {
			r.ipc = nil
		}
	}()
	if r.ipc == nil {
		if err := r.open(); err != nil {
			return nil, err
		}
	}
	if len(data) < 8 || binary.LittleEndian.Uint32(data) != 0xFFFFFFFF {
		return nil, errors.New("malformed: no continuation marker")
	}
	metaLen := uint64(binary.LittleEndian.Uint32(data[4:]))
	if metaLen < 8 || 8+metaLen > uint64(len(data)) {
		return nil, errors.New("malformed: metadata length")
	}
	meta, body := bytes.Clone(data[8:8+metaLen]), alignedCopy(data[8+metaLen:])
	r.source.next = ipc.NewMessage(memory.NewBufferBytes(meta), memory.NewBufferBytes(body))
	if r.source.next.Type() != ipc.MessageRecordBatch {
		return nil, errors.New("malformed: no record batch")
	}
	got, err := r.ipc.Read()
	if err != nil {
		return nil, err
	}
	if err := checkBatch(got, r.schema); err != nil {
		return nil, err
	}
	got.Retain() // the reader releases its own reference at the next message
	return got, nil
}

func (r *batchReader) open() error {
	r.source = &messageSource{schema: r.schema.Arrow()}
	reader, err := ipc.NewReaderFromMessageReader(r.source, ipc.WithAllocator(noAllocator{}))
	if err != nil {
		return fmt.Errorf("open arrow reader: %w", err)
	}
	r.ipc = reader
	return nil
}

// checkBatch proves that reading the batch stays inside its buffers and that
// native code finds them aligned: the checksum does not keep out a message
// that another program crafted.
func checkBatch(batch arrow.RecordBatch, schema *event.Schema) error {
	if err := array.ValidateRecordFull(batch); err != nil {
		return err
	}
	for i, col := range batch.Columns() {
		if schema.Columns[i].NotNull && col.NullN() > 0 {
			return fmt.Errorf("column %s is NOT NULL and has NULLs", schema.Columns[i].Name)
		}
		for _, b := range col.Data().Buffers() {
			if b != nil && b.Len() > 0 && uintptr(unsafe.Pointer(&b.Bytes()[0]))%8 != 0 {
				return fmt.Errorf("column %s is not aligned", schema.Columns[i].Name)
			}
		}
	}
	return nil
}

// alignedCopy copies into memory that starts at a multiple of 8 bytes.
func alignedCopy(data []byte) []byte {
	if len(data) == 0 {
		return []byte{}
	}
	words := make([]uint64, (len(data)+7)/8)
	out := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[:len(data)]
	copy(out, data)
	return out
}

// A messageSource feeds an ipc.Reader: the schema first, then next.
type messageSource struct {
	schema *arrow.Schema // nil once it was read
	next   *ipc.Message
}

func (s *messageSource) Message() (*ipc.Message, error) {
	if s.schema != nil {
		var buf bytes.Buffer
		payload := ipc.GetSchemaPayload(s.schema, memory.DefaultAllocator)
		defer payload.Release()
		if _, err := payload.WritePayload(&buf); err != nil {
			return nil, err
		}
		s.schema = nil
		return ipc.NewMessageReader(&buf).Message()
	}
	if s.next == nil {
		return nil, io.EOF
	}
	m := s.next
	s.next = nil
	return m, nil
}

func (s *messageSource) Retain()  {}
func (s *messageSource) Release() {}

// noAllocator refuses what the reader would allocate for itself, which is the
// room for decompression: our batches are not compressed, and a crafted length
// must not take the process's memory.
type noAllocator struct{}

func (noAllocator) Allocate(int) []byte           { panic("compressed or of foreign byte order") }
func (noAllocator) Reallocate(int, []byte) []byte { panic("compressed or of foreign byte order") }
func (noAllocator) Free([]byte)                   {}

// fit turns rows of one schema into rows of another.
func fit(batch arrow.RecordBatch, from, to *event.Schema) (arrow.RecordBatch, error) {
	if from.Fingerprint() == to.Fingerprint() {
		return batch, nil
	}
	rows := int(batch.NumRows())
	cols := make([]arrow.Array, len(to.Columns))
	for i, c := range to.Columns {
		at := from.Index(c.Name)
		switch {
		case at < 0 && c.NotNull:
			return nil, fmt.Errorf("column %s is NOT NULL and the envelope's older schema lacks it", c.Name)
		case at < 0:
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, c.Arrow(), rows)
		case from.Columns[at].Type != c.Type:
			return nil, fmt.Errorf("column %s is %s in the envelope's older schema, now %s", c.Name, from.Columns[at].Type, c.Type)
		case c.NotNull && batch.Column(at).NullN() > 0:
			return nil, fmt.Errorf("column %s is NOT NULL and has NULLs in the envelope's older schema", c.Name)
		default:
			cols[i] = batch.Column(at)
		}
	}
	return array.NewRecordBatch(to.Arrow(), cols, int64(rows)), nil
}
