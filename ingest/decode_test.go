package ingest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the expected parts of testdata")

func col(name string, k event.Kind) event.Column {
	return event.Column{Name: name, Type: event.Type{Kind: k}}
}

func decimal(name string, precision, scale uint8) event.Column {
	return event.Column{Name: name, Type: event.Type{Kind: event.Decimal, Precision: precision, Scale: scale}}
}

// everyKind has a column of each type that a stream can have.
func everyKind() *event.Schema {
	id := col("id", event.BigInt)
	id.NotNull = true
	return &event.Schema{
		Stream: "every",
		Columns: []event.Column{
			id, col("b", event.Boolean), col("i8", event.TinyInt), col("i16", event.SmallInt), col("i32", event.Integer),
			col("f32", event.Float), col("f64", event.Double), decimal("d", 12, 2), decimal("wide", 38, 4),
			col("s", event.Varchar), col("j", event.JSON), col("day", event.Date), col("ts", event.Timestamp),
			col("epoch", event.Timestamp), col("us", event.Timestamp),
		},
		TimeColumn: 12, IDColumn: 0,
		Formats: map[int]string{13: "%s", 14: "%m/%d/%Y %I:%M:%S %p"},
	}
}

// show writes rows as "name=value" of what is not NULL, one row a line.
func show(out Decoded) string {
	var w strings.Builder
	for row := range out.Accepted() {
		for i := range int(out.Rows.NumCols()) {
			if a := out.Rows.Column(i); a.IsValid(row) {
				fmt.Fprintf(&w, "%s=%s ", out.Rows.ColumnName(i), a.ValueStr(row))
			}
		}
		w.WriteString("\n")
	}
	for _, r := range out.Refused {
		fmt.Fprintf(&w, "refused line %d, field %q: %s\n  raw %q\n", r.Line, r.Field, r.Reason, r.Raw)
	}
	return w.String()
}

// TestDecodeScripts runs testdata/decode.txt: "=== layout: name", the body, "---", what comes out.
func TestDecodeScripts(t *testing.T) {
	const path = "testdata/decode.txt"
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(file), "\n=== ")
	rewritten := head + "\n"
	for _, script := range strings.Split(rest, "\n=== ") {
		title, script, _ := strings.Cut(script, "\n")
		body, want, _ := strings.Cut(script, "---\n")
		kind, _, _ := strings.Cut(title, ":")
		var got string
		t.Run(title, func(t *testing.T) {
			got = decodeScript(t, kind, body)
			if !*rewrite && strings.TrimRight(got, "\n") != strings.TrimRight(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
		rewritten += "=== " + title + "\n" + body + "---\n" + got + "\n"
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(strings.TrimRight(rewritten, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// decodeScript decodes a script's body, in which ␀ and ␖ stand for the bytes 0x00
// and 0xff, and checks that a second decoding, record by record, gives the same.
func decodeScript(t *testing.T, kind, body string) string {
	body = strings.NewReplacer("␀", "\x00", "␖", "\xff", "␍", "\r").Replace(body)
	l := map[string]layout{"lines": layoutLines, "array": layoutArray, "object": layoutObject}[kind]
	d, err := NewDecoder(everyKind(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	decode := func(maxRows int) string {
		if err := d.begin([]byte(body), l, maxRows, 1<<30); err != nil {
			return "error: " + err.Error() + "\n"
		}
		var rows, refused string
		for {
			out, done, err := d.next()
			if err != nil {
				return "error: " + err.Error() + "\n"
			}
			r := out
			r.Rows = nil
			refused += show(r)
			out.Refused = nil
			rows += show(out)
			if done {
				return rows + refused
			}
		}
	}
	got := decode(1 << 30)
	if again := decode(1); again != got {
		t.Errorf("row by row it decodes to\n%s\nat once to\n%s", again, got)
	}
	return got
}

func TestLimitsRefuseTheRecordOrTheBody(t *testing.T) {
	long := `{"id":2,"s":"` + strings.Repeat("x", 300) + `"}`
	cases := []struct {
		name   string
		limits Limits
		body   string
		rows   int
		reason string // of the one refused record
		err    string
	}{
		{"record too long", Limits{RecordBytes: 200}, `{"id":1}` + "\n" + long + "\n" + `{"id":3}`, 2, "the record has 315 bytes; 200 are allowed", ""},
		{"raw cut", Limits{RecordBytes: 200, RawBytes: 10}, long, 0, "the record has 315 bytes; 200 are allowed (of the record's 315 bytes, the first 10 are kept)", ""},
		{"depth 3 holds two levels in a column", Limits{Depth: 3}, `{"id":1,"j":[[]]}`, 1, "", ""},
		{"depth 3 does not hold three", Limits{Depth: 3}, `{"id":1,"j":[[{}]]}`, 0, "nested too deep", ""},
		{"body", Limits{BodyBytes: 10}, long, 0, "", "body too large: over 10 bytes"},
		{"records", Limits{Records: 2}, strings.Repeat("{\"id\":1}\n", 3), 0, "", "over 2 records"},
		{"blank lines are no records", Limits{Records: 2}, strings.Repeat("\n", 9) + strings.Repeat("{\"id\":1}\n\n", 2), 2, "", ""},
		{"refused", Limits{Refused: 2}, strings.Repeat("x\n", 3), 0, "", "over 2 of its records were refused, the last one because: an event is a JSON object"},
		{"decoded bytes", Limits{DecodedBytes: 1000}, strings.Repeat("{\"id\":1}\n", 20), 0, "", "over 1000 bytes when decoded"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := NewDecoder(everyKind(), c.limits)
			if err != nil {
				t.Fatal(err)
			}
			out, err := d.Decode([]byte(c.body), false)
			if c.err != "" {
				if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				// The decoder is as good as new.
				if out, err = d.Decode([]byte(`{"id":7}`), false); err != nil && c.name != "decoded bytes" || out.Accepted() != 1 {
					t.Fatalf("afterwards %d rows, %v", out.Accepted(), err)
				}
				return
			}
			if err != nil || out.Accepted() != c.rows {
				t.Fatalf("%d rows, error %v; want %d", out.Accepted(), err, c.rows)
			}
			if c.reason != "" && (len(out.Refused) != 1 || !strings.Contains(out.Refused[0].Reason, c.reason)) {
				t.Errorf("refused %+v, want %q", out.Refused, c.reason)
			}
			if c.limits.RawBytes > 0 && len(out.Refused[0].Raw) != c.limits.RawBytes {
				t.Errorf("%d raw bytes kept, want %d", len(out.Refused[0].Raw), c.limits.RawBytes)
			}
		})
	}
}

func TestBatchesStayWhatTheyWereWhenDecoderAndBodyAreReused(t *testing.T) {
	d, err := NewDecoder(everyKind(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"id":1,"s":"first","j":{"a":1}}` + "\n" + `{"id":2,"bad":1}`)
	out, err := d.Decode(body, false)
	if err != nil {
		t.Fatal(err)
	}
	before := show(out)
	copy(body, `{"id":9,"s":"other","j":{"b":2}}`)
	if _, err := d.Decode(body, false); err != nil {
		t.Fatal(err)
	}
	if after := show(out); after != before {
		t.Errorf("was\n%s\nnow\n%s", before, after)
	}
}

func TestBatchHasTheStreamsArrowSchema(t *testing.T) {
	s := everyKind()
	d, err := NewDecoder(s, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Decode([]byte(`{"id":1}`), false)
	if err != nil {
		t.Fatal(err)
	}
	if !out.Rows.Schema().Equal(s.Arrow()) {
		t.Errorf("schema %s, want %s", out.Rows.Schema(), s.Arrow())
	}
	for i, f := range s.Arrow().Fields() {
		if got := out.Rows.Column(i).DataType(); !arrow.TypeEqual(got, f.Type) {
			t.Errorf("column %s: %s, want %s", f.Name, got, f.Type)
		}
	}
}

func TestNewDecoderNamesTheColumnItCannotDecode(t *testing.T) {
	for _, c := range []struct {
		schema event.Schema
		want   string
	}{
		{event.Schema{Stream: "x"}, "stream x has no columns"},
		{event.Schema{Stream: "x", Columns: []event.Column{col("h", event.HugeInt)}}, "column h: type HUGEINT cannot be in a stream"},
		{event.Schema{Stream: "x", Columns: []event.Column{col("t", event.Timestamp)}, Formats: map[int]string{0: "%Y-%q"}}, `column t: time format "%Y-%q": directive %q is not known`},
	} {
		if _, err := NewDecoder(&c.schema, Limits{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
