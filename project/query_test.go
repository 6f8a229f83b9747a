package project

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/event"
)

func TestQueriesDeclareTheirParameters(t *testing.T) {
	p, err := load(t, map[string]string{
		"streams/flights.sql": flights,
		// A query may have the name of a stream: it is no table.
		"queries/flights.sql": "-- description: by origin\n-- param: origin text\n-- param: least decimal(18, 2) = 0\n-- param: label VARCHAR = 'it''s'\n-- param: since TIMESTAMP = NULL\nSELECT 1",
		"queries/all.sql":     "SELECT 1",
	})
	if err != nil {
		t.Fatal(err)
	}
	q := p.Queries[1]
	got := fmt.Sprintln(q.Name, q.File, q.Description)
	for _, param := range q.Parameters {
		got += fmt.Sprintln(param.Name, param.Type, param.Optional, param.Default, param.Line)
	}
	if want := "flights queries/flights.sql by origin\norigin VARCHAR false <nil> 2\nleast DECIMAL(18,2) true 0 3\nlabel VARCHAR true it's 4\nsince TIMESTAMP true <nil> 5\n"; got != want || len(p.Queries) != 2 {
		t.Errorf("got\n%s", got)
	}
}

func TestDeclarationsThatMakeNoSenseAreReported(t *testing.T) {
	_, err := load(t, map[string]string{
		"streams/flights.sql": flights,
		"queries/q.sql":       "-- param: 1x VARCHAR\n-- param: a\n-- param: a UUID\n-- param: at DATE\n-- param: b INTEGER = soon\n-- param: c DATE\n-- param: C DATE\n-- parm: d DATE\n-- param: e BLOB\nSELECT 1",
	})
	want := []string{`:1:11: "1x VARCHAR" declares no parameter`, `:2:11: "a" declares`, ":3:11: parameter a: UUID is no type", ":4:11: the parameter at has the name",
		`:5:11: the default of parameter b is INTEGER, and "soon" is none`, ":7:11: the parameter C is declared twice", `:8:4: unknown annotation "parm"; did you mean "param"?`, ":9:11: parameter e: BLOB"}
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d problems:\n%v", len(lines), err)
	}
	for i, w := range want {
		if !strings.Contains(lines[i], w) {
			t.Errorf("%s\ndoes not say %s", lines[i], w)
		}
	}
}

func TestValuesAreOfTheirTypeAndKeepEveryDigit(t *testing.T) {
	decimal := event.Type{Kind: event.Decimal, Precision: 5, Scale: 2}
	of := func(k event.Kind) event.Type { return event.Type{Kind: k} }
	for _, c := range []struct {
		typ        event.Type
		text, want string
	}{
		{of(event.Varchar), "a'b ", "a'b "}, {of(event.Boolean), "TRUE", "true"}, {of(event.Boolean), "0", "false"}, {of(event.TinyInt), "-128", "-128"},
		{of(event.BigInt), " 9223372036854775807", "9223372036854775807"}, {decimal, "-123.45", "-123.45"}, {decimal, "0123.4500", "0123.4500"}, {decimal, ".5", ".5"},
		{of(event.Double), "1e300", "1e300"}, {of(event.Date), "2024-02-29", "2024-02-29"}, {of(event.Timestamp), "2024-05-01T12:00:00+02:00", "2024-05-01 10:00:00"},
		{of(event.JSON), `{"a":1}`, `{"a":1}`},
	} {
		p := QueryParameter{Name: "p", Type: c.typ}
		if got, err := p.Value(c.text); got != c.want || err != nil {
			t.Errorf("%s %q: %q %v", c.typ, c.text, got, err)
		}
		if v, ok := p.Sample().(string); ok {
			if _, err := p.Value(v); err != nil {
				t.Errorf("the sample of %s: %v", c.typ, err)
			}
		}
	}
	for _, c := range []struct {
		typ  event.Type
		text string
	}{
		{of(event.Varchar), "a\x00"}, {of(event.Boolean), "yes"}, {of(event.TinyInt), "128"}, {of(event.Integer), "1.5"}, {of(event.Integer), ""}, {of(event.BigInt), "9223372036854775808"},
		{decimal, "1234.5"}, {decimal, "1.005"}, {decimal, "1e2"}, {decimal, "."}, {of(event.Double), "0x1p3"}, {of(event.Double), "1_0"}, {of(event.Date), "2024-02-30"}, {of(event.Timestamp), "noon"}, {of(event.JSON), "{"},
	} {
		if got, err := (QueryParameter{Name: "p", Type: c.typ}).Value(c.text); err == nil || !strings.Contains(err.Error(), "parameter p") {
			t.Errorf("%s %q is %q (%v)", c.typ, c.text, got, err)
		}
	}
}
