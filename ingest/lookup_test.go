package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
)

type tableRows struct{ arrow.RecordBatch }

func (r tableRows) Len() int { return int(r.NumRows()) }

// decoding gives the rows of lines.
func decoding(t testing.TB, d *Decoder, lines string) Decoded {
	t.Helper()
	out, err := d.Decode([]byte(lines), false)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// looking gives a decoder with one lookup, whose table has the columns of the stream
// that the lookup names, as lines.
func looking(t testing.TB, s *event.Schema, keys, columns []int, lines string) *Decoder {
	t.Helper()
	l := event.Lookup{Keys: keys, Columns: columns, Reference: "things"}
	of := &event.Schema{Stream: "things", TimeColumn: -1, IDColumn: -1}
	for i, c := range append(append([]int{}, keys...), columns...) {
		of.Columns = append(of.Columns, s.Columns[c])
		if i < len(keys) {
			l.By = append(l.By, s.Columns[c].Name)
		} else {
			l.From = append(l.From, s.Columns[c].Name)
		}
	}
	rows, err := NewDecoder(of, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	out := decoding(t, rows, lines)
	if len(out.Refused) > 0 {
		t.Fatalf("%+v", out.Refused)
	}
	table, err := NewTable(s, l, []tableRows{{out.Rows}})
	if err != nil {
		t.Fatal(err)
	}
	s.Lookups = []event.Lookup{l}
	d, err := NewDecoder(s, Limits{}, table)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func plainStream(columns ...event.Column) *event.Schema {
	return &event.Schema{Stream: "s", Columns: columns, TimeColumn: -1, IDColumn: -1}
}

func TestEveryTypeIsLookedUpAndLookedUpBy(t *testing.T) {
	for typ, values := range map[event.Column][3]string{
		col("x", event.Boolean): {"true", "false", "false"}, col("x", event.TinyInt): {"-128", "7", "8"}, col("x", event.SmallInt): {"-32768", "7", "8"},
		col("x", event.Integer): {"-2147483648", "7", "8"}, col("x", event.BigInt): {"-9223372036854775808", "7", "8"}, decimal("x", 12, 2): {"-1.5", "0.07", "0.08"},
		decimal("x", 38, 4): {"-1234567890123456789012345678901234.5678", "0.0007", "8"}, col("x", event.Varchar): {`"ä\"b"`, `""`, `"c"`},
		col("x", event.Date): {`"1969-12-31"`, `"2024-02-29"`, `"2024-03-01"`}, col("x", event.Timestamp): {`"1969-12-31T23:59:59.999999"`, `"2024-02-29T00:00:00"`, `"2024-03-01"`},
		col("x", event.Float): {"-1.5", "3.25", "0"}, col("x", event.Double): {"-1.5e300", "0.1", "0"}, col("x", event.JSON): {`{"a": [1]}`, `"x"`, "0"},
	} {
		name := typ.Type.String()
		d := looking(t, plainStream(col("k", event.BigInt), typ), []int{0}, []int{1}, fmt.Sprintf(`{"k":1,"x":%s}`+"\n"+`{"k":2,"x":%s}`+"\n"+`{"k":3}`, values[0], values[1]))
		plain, err := NewDecoder(plainStream(col("k", event.BigInt), typ), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"k":2,"x":%s}`+"\n"+`{"k":1,"x":%s}`+"\n"+`{"k":3}`+"\n"+`{"k":4}`+"\n"+`{}`+"\n"+`{"k":null}`+"\n"+`{"k":1,"x":%[2]s}`, values[1], values[0])
		if got, want := show(decoding(t, d, "{\"k\":2}\n{\"k\":1}\n{\"k\":3}\n{\"k\":4}\n{}\n{\"k\":null}\n{\"k\":1}")), show(decoding(t, plain, want)); got != want {
			t.Errorf("%s looked up:\n%s\nwant\n%s", name, got, want)
		}
		if typ.Kind == event.Float || typ.Kind == event.Double || typ.Kind == event.JSON {
			continue // a project refuses them as keys
		}
		d = looking(t, plainStream(typ, col("v", event.Varchar)), []int{0}, []int{1}, fmt.Sprintf(`{"x":%s,"v":"one"}`+"\n"+`{"x":%s,"v":"two"}`+"\n"+`{"v":"of nothing"}`, values[0], values[1]))
		got := decoding(t, d, fmt.Sprintf(`{"x":%s}`+"\n"+`{"x":%s}`+"\n"+`{"x":%s}`+"\n"+`{"x":null}`+"\n{}", values[1], values[0], values[2]))
		other := "-"
		if typ.Kind == event.Boolean {
			other = "two"
		}
		if found := texts(got, 1); found != "two,one,"+other+",-,-" {
			t.Errorf("looked up by %s: %s", name, found)
		}
	}
}

// texts shows the values of a column, NULL as "-".
func texts(out Decoded, column int) string {
	var list []string
	for i := range out.Accepted() {
		if a := out.Rows.Column(column); a.IsNull(i) {
			list = append(list, "-")
		} else {
			list = append(list, a.ValueStr(i))
		}
	}
	return strings.Join(list, ",")
}

func TestAKeyOfSeveralColumnsIsEqualIfAllAre(t *testing.T) {
	s := plainStream(col("a", event.Varchar), col("v", event.Integer), col("n", event.Integer), col("b", event.Varchar), col("w", event.Varchar))
	d := looking(t, s, []int{0, 3, 2}, []int{1, 4}, `{"a":"x","b":"yz","n":1,"v":1,"w":"first"}
{"a":"xy","b":"z","n":1,"v":2}
{"a":"","b":"","n":0,"v":3,"w":"empty"}
{"a":"x","n":1,"v":4}`)
	out := decoding(t, d, `{"n":1,"a":"x","b":"yz"}
{"n":1,"a":"xy","b":"z"}
{"n":0,"a":"","b":""}
{"n":2,"a":"x","b":"yz"}
{"n":1,"a":"xyz","b":""}
{"n":1,"a":"x"}
{"n":1,"a":"x","b":"yz"}`)
	if v, w := texts(out, 1), texts(out, 4); v != "1,2,3,-,-,-,1" || w != "first,-,empty,-,-,-,first" {
		t.Errorf("%s and %s", v, w)
	}
}

func TestARecordWithAValueOfItsOwnForALookedUpColumnIsRefused(t *testing.T) {
	d := looking(t, plainStream(col("k", event.Varchar), col("v", event.Varchar)), []int{0}, []int{1}, `{"k":"a","v":"A"}`)
	out := decoding(t, d, `{"k":"a"}
{"k":"a","v":"other"}
{"V":null,"k":"a"}
{"k":"a","nope":1}
{"k":"a"}`)
	if got := texts(out, 1); got != "A,A" || len(out.Refused) != 3 {
		t.Fatalf("%s, %+v", got, out.Refused)
	}
	for i, want := range []string{"v: the column is looked up in the reference table things: leave it out", "v: the column is looked up in the reference table things: leave it out", "nope: unknown field; the stream has: k"} {
		if r := out.Refused[i]; r.Field+": "+r.Reason != want || r.Line != int64(i+2) || len(r.Raw) == 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestLookedUpTextCountsInASlice(t *testing.T) {
	long := strings.Repeat("x", 1000)
	d := looking(t, plainStream(col("k", event.Integer), col("v", event.Varchar)), []int{0}, []int{1}, `{"k":1,"v":"`+long+`"}`)
	slices, size, err := decodeSlices(d, []byte(strings.Repeat(`{"k":1}`+"\n", 100)), layoutLines, Config{SliceRows: 1000, SliceBytes: 10_000}.withDefaults())
	if err != nil || len(slices) != 10 || size < 100_000 {
		t.Errorf("%d slices of %d bytes, %v", len(slices), size, err)
	}
}

func TestATableThatCannotBeLookedUpInIsAnError(t *testing.T) {
	s := plainStream(col("k", event.Integer), col("v", event.Varchar))
	rows, err := NewDecoder(plainStream(s.Columns...), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l := event.Lookup{Keys: []int{0}, Columns: []int{1}, By: []string{"k"}, From: []string{"v"}, Reference: "things"}
	for lines, want := range map[string]string{
		`{"k":1,"v":"a"}` + "\n" + `{"k":1,"v":"b"}`:        "has a key twice, in its row 2",
		`{"k":1,"v":"` + strings.Repeat("x", 70_000) + `"}`: "column v: a text has 70000 bytes, and 65536 may be looked up",
	} {
		if _, err := NewTable(s, l, []tableRows{{decoding(t, rows, lines).Rows}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s.Lookups = []event.Lookup{l}
	if _, err := NewDecoder(s, Limits{}); err == nil {
		t.Error("a decoder without the table of its lookup")
	}
}

// By one VARCHAR key.
func BenchmarkLookup(b *testing.B) {
	const n = 1000
	schema := func() *event.Schema {
		return plainStream(col("merchant", event.Varchar), col("category", event.Varchar))
	}
	for _, keys := range []int{0, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			d, err := NewDecoder(schema(), Limits{})
			if err != nil {
				b.Fatal(err)
			}
			if keys > 0 {
				var table strings.Builder
				for i := range keys {
					fmt.Fprintf(&table, `{"merchant":"merchant-%d","category":"category %d"}`+"\n", i, i%100)
				}
				d = looking(b, schema(), []int{0}, []int{1}, table.String())
			}
			var body []byte
			for i := range n {
				body = fmt.Appendf(body, `{"merchant":"merchant-%d"}`+"\n", i*7919%max(keys, n))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if out, err := d.Decode(body, false); err != nil || out.Accepted() != n || keys > 0 != (out.Rows.Column(1).NullN() == 0) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		})
	}
}
