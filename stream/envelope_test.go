package stream

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/tailwater/tailwater/event"
)

func TestEnvelopeReturnsWhatWasEncoded(t *testing.T) {
	refused := []event.Refused{
		{Line: 7, Field: "amount", Reason: "not a number", Raw: []byte(`{"amount":"x"}`)},
		{Reason: "not JSON"},
	}
	for name, env := range map[string]*Envelope{
		"rows":             {Stamp: 5, Rows: rows(1, "a", "", "c", "d")},
		"rows and refused": {Stamp: -5, Rows: rows(1, "a"), Refused: refused},
		"refused":          {Stamp: 1 << 50, Refused: refused},
		"nothing":          {Stamp: 9},
		"a slice":          {Stamp: 9, Rows: rows(1, "a", "", "c", "d", "e", "f").NewSlice(1, 5)},
	} {
		t.Run(name, func(t *testing.T) {
			env.ID = newID()
			data, err := Encode(env, payments())
			if err != nil {
				t.Fatal(err)
			}
			// One byte off: the decoder must not depend on data's alignment.
			shifted := append([]byte{0}, data...)[1:]
			got, err := Decode(shifted, payments())
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != env.ID || got.Stamp != env.Stamp || !reflect.DeepEqual(got.Refused, env.Refused) {
				t.Errorf("got %+v, want %+v", got, env)
			}
			if (got.Rows == nil) != (env.Rows == nil) || got.Rows != nil && !array.RecordEqual(got.Rows, env.Rows) {
				t.Errorf("rows: got %v, want %v", got.Rows, env.Rows)
			}
			clear(shifted)
			if got.Rows != nil && !array.RecordEqual(got.Rows, env.Rows) {
				t.Error("decoded rows share memory with the message")
			}
		})
	}
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	data := envelope(t, 1, rows(1, "a", "b"), event.Refused{Reason: "r", Raw: []byte("raw")})
	d := NewDecoder(payments())
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x40
		if _, err := d.Decode(bad); err == nil {
			t.Fatalf("byte %d flipped: no error", i)
		}
		if _, err := d.Decode(data[:i]); err == nil {
			t.Fatalf("cut at %d: no error", i)
		}
	}
	if _, err := d.Decode(data); err != nil {
		t.Fatalf("decoder is unusable after errors: %v", err)
	}
}

func TestEnvelopeOfUnknownSchemaIsRefused(t *testing.T) {
	other := payments()
	other.Columns = slices.Clone(other.Columns)
	other.Columns[1].Name = "sum"
	_, err := Decode(envelope(t, 1, rows(1, "a")), other)
	if err == nil || !strings.Contains(err.Error(), "is not known") {
		t.Errorf("got %v", err)
	}
}

func TestEnvelopeOfOlderSchemaIsFitted(t *testing.T) {
	newer := payments()
	newer.Columns = append([]event.Column{{Name: "fresh", Type: event.Type{Kind: event.Double}}}, newer.Columns...)
	env, err := Decode(envelope(t, 1, rows(1, "a", "b")), newer, payments())
	if err != nil {
		t.Fatal(err)
	}
	if env.Rows.Column(0).NullN() != 2 || env.Rows.Column(1).ValueStr(1) != "b" {
		t.Errorf("got %v", env.Rows)
	}
	newer.Columns[0].NotNull = true
	if _, err := Decode(envelope(t, 1, rows(1, "a")), newer, payments()); err == nil {
		t.Error("a NOT NULL column was filled with NULLs")
	}
}

func TestRefusedRecordsAreBounded(t *testing.T) {
	huge := event.Refused{Reason: strings.Repeat("r", 1<<20), Field: strings.Repeat("f", 1<<20), Raw: make([]byte, 1<<20)}
	env, err := Decode(envelope(t, 1, nil, huge), payments())
	if err != nil {
		t.Fatal(err)
	}
	if r := env.Refused[0]; len(r.Raw) != MaxRawBytes || len(r.Reason) != maxTextBytes || len(r.Field) != maxTextBytes {
		t.Errorf("got %d, %d, %d bytes", len(r.Raw), len(r.Reason), len(r.Field))
	}
}

func TestTakeRowsEqualsRowByRow(t *testing.T) {
	all := rows(1, "a", "", "c", "d", "e", "f", "g", "h", "i", "j", "k")
	for _, batch := range []int64{0, 3} {
		part := all.NewSlice(batch, all.NumRows())
		keep := []uint32{0, 2, 3, 6, 7}
		got := takeRows(part, keep)
		for c := range part.NumCols() {
			if err := array.ValidateFull(got.Column(int(c))); err != nil {
				t.Error(err)
			}
			for k, row := range keep {
				if g, w := got.Column(int(c)).ValueStr(k), part.Column(int(c)).ValueStr(int(row)); g != w {
					t.Errorf("column %d row %d: got %s, want %s", c, row, g, w)
				}
			}
		}
	}
}

// FuzzDecode repairs the checksum, so that what a foreign program crafted gets
// past it; no bytes may make the decoder panic, or its result when it is read.
func FuzzDecode(f *testing.F) {
	f.Add(envelope(f, 1, rows(1, "a", "", "c")), true)
	f.Add(envelope(f, 1, nil, event.Refused{Reason: "r", Raw: []byte("raw")}), true)
	f.Add([]byte("TWEV"), false)
	d := NewDecoder(payments())
	f.Fuzz(func(t *testing.T, data []byte, repair bool) {
		if repair && len(data) >= headerBytes {
			data = bytes.Clone(data)
			binary.LittleEndian.PutUint32(data[crcOffset:], checksum(data))
		}
		env, err := d.Decode(data)
		if err != nil {
			return
		}
		if env.Rows != nil {
			for _, c := range env.Rows.Columns() {
				_ = c.String()
			}
			NewDedup(1, 0).filter(env.Rows.Column(0), 1)
			takeRows(env.Rows, []uint32{0})
		}
	})
}
