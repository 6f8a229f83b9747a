package ingest

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tailwater/tailwater/event"
)

// one reads the next record of the body, into the columns or to the refused;
// false if there is none.
func (d *Decoder) one() (bool, error) {
	switch d.layout {
	case layoutArray:
		return d.element()
	case layoutObject:
		return d.object()
	}
	for d.pos < len(d.body) {
		start, end := d.pos, len(d.body)
		d.pos = end
		if i := bytes.IndexByte(d.body[start:], '\n'); i >= 0 {
			end = start + i
			d.pos = end + 1
		}
		d.line++
		line := d.body[start:end]
		p := skipSpace(line, 0)
		if p == len(line) {
			continue
		}
		text := d.text
		filled, q := d.record(line, p)
		if q >= 0 && skipSpace(line, q) != len(line) {
			q = d.refuse("", "more follows after the object; one line holds one event")
		}
		d.settle(bytes.TrimSuffix(line[p:], []byte("\r")), filled, q, text)
		return true, nil
	}
	return false, nil
}

// settle adds or drops the record that was read to the position q, or refused (-1).
func (d *Decoder) settle(raw []byte, filled, q, text int) {
	d.records++
	switch {
	case len(raw) > d.limits.RecordBytes:
		d.refuse("", fmt.Sprintf("the record has %d bytes; %d are allowed", len(raw), d.limits.RecordBytes))
	case d.invalid && !utf8.Valid(raw):
		d.refuse("", "not UTF-8")
	case q >= 0:
		d.add(filled, len(raw))
		return
	}
	d.drop(raw, text)
}

// element reads the next element of an array. A bad one is passed over by its
// brackets; if even these do not match, the body is unusable.
func (d *Decoder) element() (bool, error) {
	if d.pos >= len(d.body) {
		if d.pos > len(d.body) {
			return false, nil
		}
		return false, fmt.Errorf("%w: the array is not closed; it was cut off after element %d", ErrUnusable, d.line)
	}
	d.line++
	start, text := d.pos, d.text
	filled, q := d.record(d.body, start)
	end := q
	if q < 0 {
		if end = skipBroken(d.body, start); end < 0 {
			return false, fmt.Errorf("%w: element %d of the array does not end: %s", ErrUnusable, d.line, d.why)
		}
	}
	raw := d.body[start:end]
	p := skipSpace(d.body, end)
	switch {
	case p < len(d.body) && d.body[p] == ',':
		d.pos = skipSpace(d.body, p+1)
		if d.pos == len(d.body) {
			return false, fmt.Errorf("%w: the array is not closed; it was cut off after element %d", ErrUnusable, d.line)
		}
	case p < len(d.body) && d.body[p] == ']':
		if err := d.arrayEnds(p + 1); err != nil {
			return false, err
		}
	default:
		return false, fmt.Errorf("%w: after element %d of the array comes %s, not a comma or ]", ErrUnusable, d.line, describe(d.body, p))
	}
	d.settle(bytes.TrimRight(raw, " \t\r\n"), filled, q, text)
	return true, nil
}

// arrayEnds checks that nothing follows the bracket before p, and marks the
// array as read by a position beyond the body.
func (d *Decoder) arrayEnds(p int) error {
	if p = skipSpace(d.body, p); p < len(d.body) {
		return fmt.Errorf("%w: after the array comes %s; send one array, or one event a line as application/x-ndjson", ErrUnusable, describe(d.body, p))
	}
	d.pos = len(d.body) + 1
	return nil
}

// object reads the whole body as one record.
func (d *Decoder) object() (bool, error) {
	p := skipSpace(d.body, d.pos)
	if p == len(d.body) {
		return false, nil
	}
	if d.body[p] != '{' {
		return false, fmt.Errorf("%w: it begins with %s, not with { or [", ErrUnusable, describe(d.body, p))
	}
	d.line++
	text := d.text
	filled, q := d.record(d.body, p)
	end := q
	if q < 0 {
		if end = closing(d.body, p); end < 0 {
			return false, fmt.Errorf("%w: the object is not closed: %s", ErrUnusable, d.why)
		}
	}
	if after := skipSpace(d.body, end); after < len(d.body) {
		return false, fmt.Errorf("%w: after the object comes %s; send many events one a line as application/x-ndjson, or as an array", ErrUnusable, describe(d.body, after))
	}
	d.pos = len(d.body)
	d.settle(bytes.TrimRight(d.body[p:], " \t\r\n"), filled, q, text)
	return true, nil
}

// record reads the object at p into the columns and gives how many of them got
// a value, and the position after the object; -1 if it is refused.
func (d *Decoder) record(b []byte, p int) (filled, next int) {
	if p >= len(b) || b[p] != '{' {
		return 0, d.refuse("", "an event is a JSON object, not "+describe(b, p))
	}
	d.stamp++
	p = skipSpace(b, p+1)
	if p < len(b) && b[p] == '}' {
		return 0, d.complete(0, p+1)
	}
	for link := &d.first; ; {
		c := &d.cols[*link]
		if !bytes.HasPrefix(b[p:], c.quoted) {
			if p = d.key(b, p, link); p < 0 {
				return 0, -1
			}
			c = &d.cols[*link]
		} else {
			p += len(c.quoted)
		}
		link = &c.next
		if c.seen == d.stamp {
			return 0, d.refuse(c.Name, "the field is there twice")
		}
		c.seen = d.stamp
		if p = skipSpace(b, p); p == len(b) || b[p] != ':' {
			return 0, d.refuse(c.Name, "not JSON: the colon after the key is missing")
		}
		if p = skipSpace(b, p+1); p == len(b) {
			return 0, d.refuse(c.Name, "the record is cut off")
		}
		if b[p] == 'n' && hasWord(b, p, "null") {
			p += len("null")
		} else {
			if p = d.value(c, b, p); p < 0 {
				return 0, -1
			}
			c.got = d.stamp
			filled++
		}
		p = skipSpace(b, p)
		switch {
		case p == len(b):
			return 0, d.refuse("", "the record is cut off")
		case b[p] == ',':
			p = skipSpace(b, p+1)
		case b[p] == '}':
			return filled, d.complete(filled, p+1)
		default:
			return 0, d.refuse(c.Name, "not JSON: a comma or a closing brace is missing before "+describe(b, p))
		}
	}
}

// complete checks, at the end of a record, that every NOT NULL column has its value.
func (d *Decoder) complete(filled, next int) int {
	if filled == d.sent {
		return next
	}
	for i := range d.cols {
		c := &d.cols[i]
		if !c.NotNull || c.got == d.stamp {
			continue
		}
		if c.seen == d.stamp {
			return d.refuse(c.Name, "null, but the column is NOT NULL")
		}
		return d.refuse(c.Name, "missing, but the column is NOT NULL")
	}
	return next
}

// key reads the key at p, which is not the one that link predicts, and makes
// link predict it. Names match exactly, or else without regard to case, as in SQL.
func (d *Decoder) key(b []byte, p int, link *int) (next int) {
	if p >= len(b) || b[p] != '"' {
		return d.refuse("", "not JSON: a key in quotes is wanted, not "+describe(b, p))
	}
	name, next, why := unescape(d.scratch[:0], b, p+1)
	d.scratch = name
	if why != "" {
		return d.refuse("", "in a key: "+why)
	}
	col, ok := d.byName[string(name)]
	if !ok {
		if col = d.source.Index(string(name)); col < 0 {
			return d.refuse(strings.ToValidUTF8(clip(name), "�"), d.unknown)
		}
	}
	if c := &d.cols[col]; c.lookedUp != "" {
		return d.refuse(c.Name, "the column is looked up in the reference table "+c.lookedUp+": leave it out")
	}
	*link = col
	if c := &d.cols[col]; !bytes.Equal(c.quoted, b[p:next]) {
		c.quoted = bytes.Clone(b[p:next])
	}
	return next
}

// value reads the value at p, which is not null, into c.
func (d *Decoder) value(c *column, b []byte, p int) int {
	switch c.Kind {
	case event.Varchar:
		return d.varchar(c, b, p)
	case event.JSON:
		// The record around it is the first level.
		next, why := skipValue(b, p, d.limits.Depth-1)
		if why != "" {
			return d.refuse(c.Name, why)
		}
		d.appendText(c, b[p:next])
		return next
	case event.Boolean:
		return d.boolean(c, b, p)
	case event.Timestamp, event.Date:
		return d.time(c, b, p)
	}
	if b[p] != '"' {
		n, next := parseNumber(b, p)
		if next < 0 {
			return d.mismatch(c, b, p)
		}
		if why := c.appendNumber(n, b[p:next]); why != "" {
			return d.refuse(c.Name, fmt.Sprintf("%s: %s for %s", clip(b[p:next]), why, c.Type))
		}
		return next
	}
	text, next := d.quoted(c, b, p)
	if next < 0 {
		return -1
	}
	n, end := parseNumber(text, 0)
	if end != len(text) || end == 0 {
		return d.mismatch(c, b, p)
	}
	if why := c.appendNumber(n, text); why != "" {
		return d.refuse(c.Name, fmt.Sprintf("%s: %s for %s", clip(text), why, c.Type))
	}
	return next
}

func (d *Decoder) appendText(c *column, text []byte) {
	c.text = append(c.text, text...)
	c.halves = append(c.halves, int32(len(c.text)))
	d.text += len(text)
}

func (d *Decoder) varchar(c *column, b []byte, p int) int {
	if b[p] != '"' {
		return d.mismatch(c, b, p)
	}
	q := scanPlain(b, p+1)
	if q < len(b) && b[q] == '"' {
		d.appendText(c, b[p+1:q])
		return q + 1
	}
	text, next, why := unescape(d.scratch[:0], b, p+1)
	d.scratch = text
	if why != "" {
		return d.refuse(c.Name, why)
	}
	d.appendText(c, text)
	return next
}

// quoted reads the string at p. What it gives is valid until the next call.
func (d *Decoder) quoted(c *column, b []byte, p int) (text []byte, next int) {
	q := scanPlain(b, p+1)
	if q < len(b) && b[q] == '"' {
		return b[p+1 : q], q + 1
	}
	text, next, why := unescape(d.scratch[:0], b, p+1)
	d.scratch = text
	if why != "" {
		return nil, d.refuse(c.Name, why)
	}
	return text, next
}

func (d *Decoder) boolean(c *column, b []byte, p int) int {
	next := p
	text := b[p:]
	if b[p] == '"' {
		if text, next = d.quoted(c, b, p); next < 0 {
			return -1
		}
	}
	quoted := next > p
	for v, word := range [...]string{"false", "true"} {
		switch {
		case quoted && string(text) == word:
		case !quoted && hasWord(b, p, word):
			next = p + len(word)
		default:
			continue
		}
		c.halves = append(c.halves, int32(v))
		return next
	}
	return d.mismatch(c, b, p)
}

// time reads a Timestamp or Date from a string, or from a number if the
// column's format counts from 1970.
func (d *Decoder) time(c *column, b []byte, p int) int {
	var text []byte
	next := -1
	switch {
	case b[p] == '"':
		if text, next = d.quoted(c, b, p); next < 0 {
			return -1
		}
	case c.format != nil && c.format.epoch:
		if _, next = parseNumber(b, p); next >= 0 {
			text = b[p:next]
		}
	}
	if next < 0 {
		return d.mismatch(c, b, p)
	}
	var us int64
	var why string
	dateOnly := true
	if c.format != nil {
		us, why = c.format.Parse(text)
	} else {
		us, dateOnly, why = parseISO(text)
	}
	if why != "" {
		return d.refuse(c.Name, fmt.Sprintf("%q: %s", clip(text), why))
	}
	if c.Kind == event.Timestamp {
		c.words = append(c.words, us)
		return next
	}
	if !dateOnly {
		return d.refuse(c.Name, fmt.Sprintf("%q: a time in a DATE column; send the date alone, or make the column a TIMESTAMP", clip(text)))
	}
	day := us / dayMicros
	if us%dayMicros < 0 {
		day--
	}
	c.halves = append(c.halves, int32(day))
	return next
}

// mismatch refuses the value at p for its kind.
func (d *Decoder) mismatch(c *column, b []byte, p int) int {
	got := describe(b, p)
	why := fmt.Sprintf("%s wanted, not %s", c.Type, got)
	switch {
	case got == "a number" && c.Kind == event.Varchar:
		why += "; put it in quotes"
	case got == "a number" && c.Kind == event.Timestamp:
		why += "; if it counts from 1970, give the column the format %s (seconds) or %Q (milliseconds)"
	case b[p] == '"':
		if text, next := d.quoted(c, b, p); next < 0 {
			return -1
		} else {
			why = fmt.Sprintf("%s wanted, not the text %q", c.Type, clip(text))
		}
	}
	return d.refuse(c.Name, why)
}

// describe says what begins at p, for a reason.
func describe(b []byte, p int) string {
	if p >= len(b) {
		return "the end"
	}
	switch c := b[p]; {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a text"
	case hasWord(b, p, "true"), hasWord(b, p, "false"):
		return "a boolean"
	case hasWord(b, p, "null"):
		return "null"
	case hasWord(b, p, "NaN"), hasWord(b, p, "Infinity"), hasWord(b, p, "-Infinity"):
		return "NaN or Infinity, which JSON does not have"
	case c == '-' || '0' <= c && c <= '9':
		if _, next := parseNumber(b, p); next >= 0 {
			return "a number"
		}
		return "a number that JSON does not know"
	case c < 0x20 || c >= 0x7f:
		return fmt.Sprintf("the byte 0x%02x", c)
	}
	return fmt.Sprintf("the character %q", b[p])
}

// clip cuts a value quoted in a reason to 40 bytes.
func clip(b []byte) string {
	const most = 40
	if len(b) <= most {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:most]), "") + "…"
}
