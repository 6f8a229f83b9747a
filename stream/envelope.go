package stream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/tailwater/tailwater/event"
)

// The layout of an envelope, version 1. Integers are little-endian.
//
//	offset  size  field
//	     0     4  magic "TWEV"
//	     4     2  version, 1
//	     6     2  header length, 64
//	     8     8  stamp: µs since 1970 by the writer's clock, int64
//	    16    16  id, unique to the envelope; also its Nats-Msg-Id, in hexadecimal
//	    32     8  schema fingerprint (event.Schema.Fingerprint, as bytes)
//	    40     4  rows
//	    44     4  refused records
//	    48     4  length of the refused section without its padding
//	    52     4  length of the Arrow section
//	    56     4  zero
//	    60     4  CRC-32C of all other bytes: 0 to 60, then 64 to the end
//	    64        refused section, padded with zeros to a multiple of 8
//	              Arrow section
//
// The refused section is, for each record in order: line (uvarint), then
// field, reason and raw, each as a length (uvarint) and its bytes.
//
// The Arrow section is one encapsulated IPC message of type RecordBatch, as
// https://arrow.apache.org/docs/format/Columnar.html describes it: metadata
// version 5, no compression, no dictionaries, no Schema message before it (the
// fingerprint names the schema), columns in the storage types of
// event.Type.Arrow. It is absent when there are no rows.
//
// The events' indexes are 0 to rows-1, those of the refused records follow.
const (
	envelopeMagic   = "TWEV"
	envelopeVersion = 1
	headerBytes     = 64
	crcOffset       = 60
)

const (
	// MaxRawBytes is how much of a refused record's raw bytes is kept.
	MaxRawBytes = 64 << 10
	// maxTextBytes bounds the field and reason of a refused record, which
	// quote what a client sent.
	maxTextBytes = 4 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An Envelope is the content of one log message.
type Envelope struct {
	ID      [16]byte
	Stamp   int64             // µs since 1970
	Rows    arrow.RecordBatch // nil when there are none
	Refused []event.Refused   // Seq, Idx and At are not stored: the position gives them
	// Fingerprint is that of the schema it was written under. Encode takes its own.
	Fingerprint string
}

// Encode gives the bytes of env, whose rows have the columns of schema. What
// exceeds the bounds of a refused record is cut off.
func Encode(env *Envelope, schema *event.Schema) ([]byte, error) {
	fingerprint, err := hex.DecodeString(schema.Fingerprint())
	if err != nil {
		return nil, fmt.Errorf("schema fingerprint: %w", err)
	}
	var buf bytes.Buffer
	buf.Grow(headerBytes + 1024 + rowsBytes(env.Rows) + refusedBytes(env.Refused))
	var header [headerBytes]byte
	buf.Write(header[:])
	for i := range env.Refused {
		writeRefused(&buf, trimRefused(env.Refused[i]))
	}
	refusedLen := buf.Len() - headerBytes
	for buf.Len()%8 != 0 {
		buf.WriteByte(0)
	}
	arrowStart, rows := buf.Len(), int64(0)
	if env.Rows != nil && env.Rows.NumRows() > 0 {
		rows = env.Rows.NumRows()
		if err := sameColumns(env.Rows.Schema(), schema.Arrow()); err != nil {
			return nil, err
		}
		payload, err := ipc.GetRecordBatchPayload(env.Rows)
		if err != nil {
			return nil, fmt.Errorf("arrow record batch: %w", err)
		}
		defer payload.Release()
		if _, err := payload.WritePayload(&buf); err != nil {
			return nil, fmt.Errorf("arrow record batch: %w", err)
		}
	}
	data := buf.Bytes()
	if len(data) > math.MaxUint32 || rows > math.MaxUint32 {
		return nil, ErrTooLarge
	}
	copy(data, envelopeMagic)
	le := binary.LittleEndian
	le.PutUint16(data[4:], envelopeVersion)
	le.PutUint16(data[6:], headerBytes)
	le.PutUint64(data[8:], uint64(env.Stamp))
	copy(data[16:], env.ID[:])
	copy(data[32:], fingerprint)
	le.PutUint32(data[40:], uint32(rows))
	le.PutUint32(data[44:], uint32(len(env.Refused)))
	le.PutUint32(data[48:], uint32(refusedLen))
	le.PutUint32(data[52:], uint32(len(data)-arrowStart))
	le.PutUint32(data[crcOffset:], checksum(data))
	return data, nil
}

func checksum(data []byte) uint32 {
	return crc32.Update(crc32.Checksum(data[:crcOffset], castagnoli), castagnoli, data[headerBytes:])
}

// sameColumns tells the first difference in name or type.
func sameColumns(got, want *arrow.Schema) error {
	if got.NumFields() != want.NumFields() {
		return fmt.Errorf("record batch has %d columns, the stream %d", got.NumFields(), want.NumFields())
	}
	for i := range want.NumFields() {
		g, w := got.Field(i), want.Field(i)
		if g.Name != w.Name || !arrow.TypeEqual(g.Type, w.Type) {
			return fmt.Errorf("record batch column %d is %s %s, the stream's is %s %s", i, g.Name, g.Type, w.Name, w.Type)
		}
	}
	return nil
}

// trimRefused keeps what an envelope stores of r, so that a block handed over
// in process equals the one read from the log.
func trimRefused(r event.Refused) event.Refused {
	out := event.Refused{Line: max(r.Line, 0), Field: r.Field, Reason: r.Reason}
	out.Field = out.Field[:min(len(out.Field), maxTextBytes)]
	out.Reason = out.Reason[:min(len(out.Reason), maxTextBytes)]
	if n := min(len(r.Raw), MaxRawBytes); n > 0 {
		out.Raw = r.Raw[:n]
	}
	return out
}

func writeRefused(buf *bytes.Buffer, r event.Refused) {
	var tmp [binary.MaxVarintLen64]byte
	uvarint := func(v uint64) { buf.Write(tmp[:binary.PutUvarint(tmp[:], v)]) }
	uvarint(uint64(r.Line))
	uvarint(uint64(len(r.Field)))
	buf.WriteString(r.Field)
	uvarint(uint64(len(r.Reason)))
	buf.WriteString(r.Reason)
	uvarint(uint64(len(r.Raw)))
	buf.Write(r.Raw)
}

// A header is the checked fixed part of an envelope.
type header struct {
	id          [16]byte
	stamp       int64
	fingerprint string
	rows        uint32
	refused     uint32
	refusedPart []byte
	arrowPart   []byte
}

var errNotEnvelope = errors.New("not an envelope")

// parseHeader checks the frame and the checksum.
func parseHeader(data []byte) (header, error) {
	if len(data) < headerBytes || string(data[:4]) != envelopeMagic {
		return header{}, errNotEnvelope
	}
	le := binary.LittleEndian
	if v := le.Uint16(data[4:]); v != envelopeVersion {
		return header{}, fmt.Errorf("envelope version %d is not known: written by a newer program", v)
	}
	if checksum(data) != le.Uint32(data[crcOffset:]) {
		return header{}, errors.New("envelope is corrupt: its checksum differs")
	}
	refusedLen, arrowLen := uint64(le.Uint32(data[48:])), uint64(le.Uint32(data[52:]))
	padded := (refusedLen + 7) &^ 7
	if le.Uint16(data[6:]) != headerBytes || headerBytes+padded+arrowLen != uint64(len(data)) {
		return header{}, errors.New("envelope's lengths do not add up")
	}
	h := header{
		stamp:       int64(le.Uint64(data[8:])),
		fingerprint: hex.EncodeToString(data[32:40]),
		rows:        le.Uint32(data[40:]),
		refused:     le.Uint32(data[44:]),
		refusedPart: data[headerBytes : headerBytes+refusedLen],
		arrowPart:   data[headerBytes+padded:],
	}
	copy(h.id[:], data[16:])
	if (h.rows == 0) != (arrowLen == 0) || uint64(h.refused)*4 > refusedLen {
		return header{}, errors.New("envelope's counts do not fit its sections")
	}
	return h, nil
}

// StampOf dates a message, in µs since 1970: an envelope by its own stamp,
// any other message by the store's. The tap's log time is the running maximum
// of these.
func StampOf(m Message) int64 {
	if h, err := parseHeader(m.Data); err == nil {
		return h.stamp
	}
	return m.Stamp.Truncate(time.Microsecond).UnixMicro()
}

func readRefused(data []byte, count uint32) ([]event.Refused, error) {
	if count == 0 {
		return nil, nil
	}
	bad := errors.New("envelope's refused records are malformed")
	out := make([]event.Refused, 0, min(count, 1024))
	uvarint := func() (uint64, bool) {
		v, n := binary.Uvarint(data)
		if n <= 0 {
			return 0, false
		}
		data = data[n:]
		return v, true
	}
	take := func(limit int) ([]byte, bool) {
		n, ok := uvarint()
		if !ok || n > uint64(limit) || n > uint64(len(data)) {
			return nil, false
		}
		part := data[:n]
		data = data[n:]
		return part, true
	}
	for range count {
		line, ok1 := uvarint()
		field, ok2 := take(maxTextBytes)
		reason, ok3 := take(maxTextBytes)
		raw, ok4 := take(MaxRawBytes)
		if !ok1 || !ok2 || !ok3 || !ok4 || line > math.MaxInt64 {
			return nil, bad
		}
		r := event.Refused{Line: int64(line), Field: string(field), Reason: string(reason)}
		if len(raw) > 0 {
			r.Raw = bytes.Clone(raw)
		}
		out = append(out, r)
	}
	if len(data) != 0 {
		return nil, bad
	}
	return out, nil
}
