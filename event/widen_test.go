package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// columnsOf reads "name TYPE [NOT NULL], …" of a few types.
func columnsOf(t *testing.T, text string) []Column {
	t.Helper()
	var out []Column
	for _, def := range strings.Split(text, ", ") {
		name, rest, _ := strings.Cut(def, " ")
		kind, notNull := strings.CutSuffix(rest, " NOT NULL")
		at := slices.Index(kindNames[:], kind)
		if at < 0 {
			t.Fatal(def)
		}
		out = append(out, Column{Name: name, Type: Type{Kind: Kind(at)}, NotNull: notNull})
	}
	return out
}

func TestAStreamGainsNullableColumnsAtItsEndAndNothingElse(t *testing.T) {
	was := columnsOf(t, "id VARCHAR NOT NULL, ts TIMESTAMP, n BIGINT")
	for now, want := range map[string]string{
		"id VARCHAR NOT NULL, ts TIMESTAMP, n BIGINT":                        "[]",
		"id VARCHAR NOT NULL, ts TIMESTAMP, n BIGINT, x VARCHAR, y DOUBLE":   "[x VARCHAR y DOUBLE]",
		"id VARCHAR NOT NULL, ts TIMESTAMP, n BIGINT, x VARCHAR NOT NULL":    `column "x" is new and NOT NULL, and earlier events have no value for it; leave NOT NULL out`,
		"id VARCHAR NOT NULL, ts TIMESTAMP":                                  `column "n" is gone; give it back, or name a new stream`,
		"id VARCHAR NOT NULL, n BIGINT":                                      `column "ts" is gone; give it back, or name a new stream`,
		"id VARCHAR NOT NULL, at TIMESTAMP, n BIGINT":                        `column "ts" is named "at" now; give it its old name`,
		"id VARCHAR NOT NULL, ts TIMESTAMP, N BIGINT":                        `column "n" is written "N" now; write it as before`,
		"id VARCHAR NOT NULL, ts TIMESTAMP, n HUGEINT":                       `column "n" is HUGEINT now and was BIGINT; give it its old type`,
		"id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, n BIGINT":               `column "ts" is NOT NULL now and was not; leave NOT NULL out`,
		"id VARCHAR, ts TIMESTAMP, n BIGINT":                                 `column "id" was NOT NULL and is not now; write NOT NULL again`,
		"id VARCHAR NOT NULL, x VARCHAR, ts TIMESTAMP, n BIGINT":             `column "x" is new and stands before "ts"; put it at the end`,
		"id VARCHAR NOT NULL, n BIGINT, ts TIMESTAMP":                        `column "ts" has another place than before; leave the columns in their order`,
		"id VARCHAR NOT NULL, ts TIMESTAMP, x VARCHAR, y VARCHAR, n VARCHAR": `column "n" is VARCHAR now and was BIGINT`,
	} {
		added, err := Added(was, columnsOf(t, now))
		var defs []string
		for _, c := range added {
			defs = append(defs, c.Definition())
		}
		got := fmt.Sprint(defs)
		var e *ColumnsError
		if errors.As(err, &e) {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s\n%s\nwant\n%s", now, got, want)
		}
	}
}

func TestOlderSchemasHaveFewerOfTheNullableColumnsAtTheEnd(t *testing.T) {
	s := &Schema{Stream: "s", Columns: columnsOf(t, "id VARCHAR NOT NULL, ts TIMESTAMP, n BIGINT NOT NULL, x VARCHAR, y VARCHAR"), TimeColumn: 1, IDColumn: 4}
	older := s.Older()
	if len(older) != 2 || len(older[0].Columns) != 4 || len(older[1].Columns) != 3 || older[0].TimeColumn != 1 || older[0].IDColumn != -1 {
		t.Fatalf("%+v", older)
	}
	for _, o := range older {
		if added, err := Added(o.Columns, s.Columns); err != nil || len(added) != 5-len(o.Columns) {
			t.Errorf("%v: %v, %v", o.Columns, added, err)
		}
		if o.Fingerprint() == s.Fingerprint() {
			t.Error("an older schema has the fingerprint of the present one")
		}
	}
}
