package serving

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
)

// writeChunk is about how many bytes of rows are gathered before a write.
const writeChunk = 16 << 10

func appendBase64(dst, value []byte) []byte { return base64.StdEncoding.AppendEncode(dst, value) }

// appendCompact drops the white space of a JSON text: a line break would end a
// line of NDJSON.
func appendCompact(dst, raw []byte) []byte {
	out := bytes.NewBuffer(dst)
	if json.Compact(out, raw) != nil {
		return appendString(dst, raw)
	}
	return out.Bytes()
}

// rowsJSON writes rows as objects; what stands before and after each tells JSON
// from NDJSON.
type rowsJSON struct {
	columns []event.Column
	names   [][]byte // `"name":`, quoted
	before  string   // of every row but the first
	after   string   // of every row
	first   bool
	buf     []byte
	scratch []byte
}

func newRowsJSON(columns []event.Column, before, after string) rowsJSON {
	r := rowsJSON{columns: columns, before: before, after: after, first: true}
	for _, name := range uniqueNames(columns) {
		r.names = append(r.names, append(appendString(nil, []byte(name)), ':'))
	}
	return r
}

func (r *rowsJSON) rows(w io.Writer, batch arrow.RecordBatch) error {
	cells, err := cellsOf(r.columns, batch)
	if err != nil {
		return err
	}
	r.buf = r.buf[:0]
	for i := range int(batch.NumRows()) {
		if !r.first {
			r.buf = append(r.buf, r.before...)
		}
		r.first = false
		r.object(cells, batch, i)
		r.buf = append(r.buf, r.after...)
		if len(r.buf) >= writeChunk {
			if _, err := w.Write(r.buf); err != nil {
				return err
			}
			r.buf = r.buf[:0]
		}
	}
	_, err = w.Write(r.buf)
	return err
}

// object appends row i.
func (r *rowsJSON) object(cells []cell, batch arrow.RecordBatch, i int) {
	r.buf = append(r.buf, '{')
	for k, c := range cells {
		if k > 0 {
			r.buf = append(r.buf, ',')
		}
		r.buf = append(r.buf, r.names[k]...)
		r.value(c, r.columns[k].Kind, batch.Column(k), i)
	}
	r.buf = append(r.buf, '}')
}

func (r *rowsJSON) value(c cell, kind event.Kind, values arrow.Array, i int) {
	if values.IsNull(i) {
		r.buf = append(r.buf, "null"...)
		return
	}
	var bare bool
	r.scratch, bare = c(r.scratch[:0], i)
	switch {
	case kind == event.JSON:
		r.buf = appendRaw(r.buf, r.scratch)
	case bare:
		r.buf = append(r.buf, r.scratch...)
	default:
		r.buf = appendString(r.buf, r.scratch)
	}
}

// jsonEncoder writes one object: meta, data, rows, complete, cut, head,
// watermark, statistics, in this order. Without end it is no JSON.
type jsonEncoder struct{ rowsJSON }

func newJSON(columns []event.Column) encoder {
	return &jsonEncoder{newRowsJSON(columns, ",\n", "")}
}

func (e *jsonEncoder) begin(w io.Writer, a *Answer) error {
	_, err := w.Write(append(appendMeta([]byte{'{'}, a.Columns), ",\n\"data\":["...))
	return err
}

// appendMeta writes the member meta: the columns' names and types.
func appendMeta(buf []byte, columns []event.Column) []byte {
	buf = append(buf, `"meta":[`...)
	for i, name := range uniqueNames(columns) {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, `{"name":`...)
		buf = appendString(buf, []byte(name))
		buf = append(buf, `,"type":`...)
		buf = appendString(buf, []byte(columns[i].Type.String()))
		buf = append(buf, '}')
	}
	return append(buf, ']')
}

// appendWatermark writes the watermarks by stream, in order.
func appendWatermark(buf []byte, watermark map[string]time.Time) []byte {
	buf = append(buf, '{')
	for i, stream := range sortedKeys(watermark) {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(appendString(buf, []byte(stream)), ':', '"')
		buf = watermark[stream].UTC().AppendFormat(buf, timeLayout)
		buf = append(buf, '"')
	}
	return append(buf, '}')
}

func (e *jsonEncoder) end(w io.Writer, a *Answer, rows int64, elapsed time.Duration) error {
	statistics := map[string]any{"elapsed_ms": float64(elapsed.Microseconds()) / 1000}
	for name, v := range a.Statistics {
		statistics[name] = v
	}
	extra, err := json.Marshal(statistics)
	if err != nil {
		return err
	}
	buf := []byte("],\n\"rows\":")
	buf = strconv.AppendInt(buf, rows, 10)
	buf = append(buf, `,"complete":`...)
	buf = strconv.AppendBool(buf, a.Complete)
	buf = append(append(buf, `,"cut":`...), cutJSON(a.Cut)...)
	buf = append(append(buf, `,"head":`...), cutJSON(a.Head)...)
	buf = appendWatermark(append(buf, `,"watermark":`...), a.Watermark)
	if a.Following != "" {
		buf = appendString(append(buf, `,"next":`...), []byte(a.Following))
	}
	buf = append(append(buf, `,"statistics":`...), extra...)
	_, err = w.Write(append(buf, '}', '\n'))
	return err
}

// cutJSON writes a cut as {"stream/epoch/partition":seq}, in order.
func cutJSON(c event.Cut) json.RawMessage {
	buf := []byte{'{'}
	for i, s := range c.Sources() {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(appendString(buf, []byte(s.String())), ':')
		buf = strconv.AppendUint(buf, c[s], 10)
	}
	return append(buf, '}')
}

// ndjsonEncoder writes one object a line. A client knows that it has all only by
// the end of the body.
type ndjsonEncoder struct{ rowsJSON }

func newNDJSON(columns []event.Column) encoder {
	return &ndjsonEncoder{newRowsJSON(columns, "", "\n")}
}

func (e *ndjsonEncoder) begin(io.Writer, *Answer) error                     { return nil }
func (e *ndjsonEncoder) end(io.Writer, *Answer, int64, time.Duration) error { return nil }

// csvEncoder writes RFC 4180 with a header line. NULL is an empty field, the
// empty string a quoted one.
type csvEncoder struct {
	columns []event.Column
	buf     []byte
	scratch []byte
}

func newCSV(columns []event.Column) encoder { return &csvEncoder{columns: columns} }

func (e *csvEncoder) begin(w io.Writer, a *Answer) error {
	e.buf = e.buf[:0]
	for i, name := range uniqueNames(a.Columns) {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		e.buf = appendField(e.buf, []byte(name))
	}
	_, err := w.Write(append(e.buf, '\r', '\n'))
	return err
}

func (e *csvEncoder) rows(w io.Writer, batch arrow.RecordBatch) error {
	cells, err := cellsOf(e.columns, batch)
	if err != nil {
		return err
	}
	e.buf = e.buf[:0]
	for i := range int(batch.NumRows()) {
		for k, c := range cells {
			if k > 0 {
				e.buf = append(e.buf, ',')
			}
			if !batch.Column(k).IsNull(i) {
				e.scratch, _ = c(e.scratch[:0], i)
				e.buf = appendField(e.buf, e.scratch)
			}
		}
		e.buf = append(e.buf, '\r', '\n')
		if len(e.buf) >= writeChunk {
			if _, err := w.Write(e.buf); err != nil {
				return err
			}
			e.buf = e.buf[:0]
		}
	}
	_, err = w.Write(e.buf)
	return err
}

func (e *csvEncoder) end(io.Writer, *Answer, int64, time.Duration) error { return nil }

// plainField finds, in one pass, most fields that need no quotes.
func plainField(field []byte) bool {
	for _, c := range field {
		if c >= utf8.RuneSelf || c == ',' || c == '"' || c == '\r' || c == '\n' {
			return false
		}
	}
	return len(field) > 0
}

// appendField quotes a field if it must be, or if it is empty.
func appendField(dst, field []byte) []byte {
	if plainField(field) {
		return append(dst, field...)
	}
	if !utf8.Valid(field) {
		field = bytes.ToValidUTF8(field, []byte("\uFFFD"))
	}
	if len(field) > 0 && !bytes.ContainsAny(field, ",\"\r\n") {
		return append(dst, field...)
	}
	dst = append(dst, '"')
	dst = append(dst, bytes.ReplaceAll(field, []byte{'"'}, []byte{'"', '"'})...)
	return append(dst, '"')
}
