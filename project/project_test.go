package project

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load writes files into a new project and loads it.
func load(t *testing.T, files map[string]string) (*Project, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	planner, err := view.NewPlanner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	return Load(t.Context(), dir, planner)
}

const flights = `-- Departures, as the airports report them.
-- time: date
-- time-format: %Y/%m/%d %H:%M
CREATE TABLE flights (
  date TIMESTAMP NOT NULL, -- the comma, in a comment
  "delay" INTEGER,
  distance DECIMAL(18, 2),
  origin VARCHAR NOT NULL,
  seen TIMESTAMPTZ,
  extra JSON
);
`

func TestStreamsAreReadWithTheirAnnotations(t *testing.T) {
	p, err := load(t, map[string]string{
		"streams/flights.sql": flights,
		"streams/payments.sql": "-- see https://example.org for the fields\r\n-- time: day\r\n-- time-format: booked = %d.%m.%Y\r\n-- time-format: %F\r\n-- ID: Key\r\n-- dedup-window: 24h\r\n\r\n" +
			"create table if not exists payments(key varchar, day date, booked timestamp,)",
		"streams/clicks.sql": "-- id: page\nCREATE TABLE clicks (page VARCHAR)",
		"streams/README.md":  "not SQL",
	})
	if err != nil {
		t.Fatal(err)
	}
	clicks, flight, pay := p.Streams[0].Schema, p.Streams[1], p.Streams[2].Schema
	f := flight.Schema
	if flight.Name != "flights" || f.Stream != "flights" || f.TimeColumn != 0 || flight.TimeFormat != "%Y/%m/%d %H:%M" || f.Formats[0] != flight.TimeFormat || f.IDColumn != -1 || f.DedupWindow != 0 || flight.File != "streams/flights.sql" {
		t.Errorf("flights: %+v %+v", flight, f)
	}
	want := []event.Column{
		{Name: "date", Type: event.Type{Kind: event.Timestamp}, NotNull: true},
		{Name: "delay", Type: event.Type{Kind: event.Integer}},
		{Name: "distance", Type: event.Type{Kind: event.Decimal, Precision: 18, Scale: 2}},
		{Name: "origin", Type: event.Type{Kind: event.Varchar}, NotNull: true},
		{Name: "seen", Type: event.Type{Kind: event.Timestamp}},
		{Name: "extra", Type: event.Type{Kind: event.JSON}},
	}
	for i, c := range want {
		if f.Columns[i] != c {
			t.Errorf("column %d: %+v, want %+v", i, f.Columns[i], c)
		}
	}
	if pay.TimeColumn != 1 || pay.IDColumn != 0 || pay.DedupWindow != 24*time.Hour || pay.Formats[1] != "%F" || pay.Formats[2] != "%d.%m.%Y" {
		t.Errorf("payments: %+v", pay)
	}
	if clicks.TimeColumn != -1 || clicks.DedupWindow != time.Hour || clicks.Formats != nil || p.Schemas()["clicks"] != clicks {
		t.Errorf("clicks: %+v", clicks)
	}
}

// Each case is one file of a stream called s, and what its one problem says.
func TestProblemsOfAStreamHavePlaceAndRemedy(t *testing.T) {
	for name, c := range map[string]struct{ sql, want, hint string }{
		"empty":                  {"-- nothing\n", "s.sql: the file is empty", "CREATE TABLE"},
		"other statement":        {"SELECT 1", "s.sql:1:1: want CREATE TABLE, found SELECT", "CREATE TABLE"},
		"or replace":             {"CREATE OR REPLACE TABLE s (a INT)", "s.sql:1:8: want CREATE TABLE, found OR", "CREATE TABLE"},
		"as select":              {"CREATE TABLE s AS SELECT 1 AS a", "s.sql:1:16: want a name and a list", "CREATE TABLE"},
		"list, then select":      {"CREATE TABLE s (a) AS SELECT 1", "s.sql:1:20: the statement goes on", "one statement"},
		"two statements":         {"CREATE TABLE s (a INT);\nCREATE TABLE u (a INT);", "s.sql:2:1: the statement goes on", "one statement"},
		"qualified name":         {"CREATE TABLE main.s (a INT)", "s.sql:1:18: want a name", "CREATE TABLE"},
		"name differs":           {"CREATE TABLE S (a INT)", "s.sql:1:14: the file is called s and the table S", "rename the file"},
		"no end of list":         {"CREATE TABLE s (a INT", "s.sql:1:16: the list of columns that opens here has no end", ")"},
		"no end of string":       {"CREATE TABLE s (a INT) 'x", "s.sql:1:24: the text that begins here has no end", "close it"},
		"no columns":             {"CREATE TABLE s ()", "s.sql:1:14: the stream has no column", "CREATE TABLE"},
		"default":                {"CREATE TABLE s (a INT DEFAULT 7)", "s.sql:1:23: column a: streams have no DEFAULT", "coalesce"},
		"primary key":            {"CREATE TABLE s (\n  a INT PRIMARY KEY\n)", "s.sql:2:9: column a: streams have no PRIMARY", "-- id: column"},
		"table constraint":       {"CREATE TABLE s (a INT, UNIQUE (a))", "s.sql:1:24: streams have no UNIQUE", "-- id: column"},
		"check":                  {"CREATE TABLE s (a INT NOT NULL CHECK (a > 0))", "s.sql:1:32: column a: streams have no CHECK", "WHERE"},
		"computed":               {"CREATE TABLE s (a INT, b INT AS (a + 1))", "s.sql:1:30: column b: streams have no AS", "views"},
		"unknown type":           {"CREATE TABLE s (\n  a INT,\n  ü TIMESTAMPP\n)", "s.sql:3:5: column ü: Type with name TIMESTAMPP does not exist", "TIMESTAMP"},
		"unsupported type":       {"CREATE TABLE s (a UBIGINT)", "s.sql:1:17: column a: type UBIGINT is not supported", "DECIMAL(20,0)"},
		"nested type":            {"CREATE TABLE s (a STRUCT(x INT, y INT)[])", "s.sql:1:17: column a: type", "JSON"},
		"wide integer":           {"CREATE TABLE s (a HUGEINT)", "s.sql:1:17: column a: streams have no HUGEINT", "DECIMAL(38,0)"},
		"binary":                 {"CREATE TABLE s (a BLOB)", "s.sql:1:17: column a: streams have no BLOB", "base64"},
		"no type":                {"CREATE TABLE s (a INT, b)", "s.sql:1:24: column b: ", ""},
		"reserved name":          {"CREATE TABLE s (a INT, at INT)", "s.sql:1:27: column at: syntax error", `write "at"`},
		"column twice":           {"CREATE TABLE s (a INT,\n A INT)", "s.sql:2:2: column A is already in line 1", "rename"},
		"system column":          {"CREATE TABLE s (_seq INT)", "s.sql:1:17: column _seq begins with an underscore", "system's own"},
		"unknown annotation":     {"-- a comment\n-- tiem: a\nCREATE TABLE s (a TIMESTAMP)", `s.sql:2:4: unknown annotation "tiem"`, `"time"`},
		"annotation of views":    {"-- description: x\nCREATE TABLE s (a TIMESTAMP)", `s.sql:1:4: unknown annotation`, "leave out the colon"},
		"annotation twice":       {"-- time: a\n-- time: a\nCREATE TABLE s (a TIMESTAMP)", `s.sql:2:4: the annotation "time" is already in line 1`, "keep one"},
		"annotation empty":       {"-- time:\nCREATE TABLE s (a TIMESTAMP)", `s.sql:1:4: the annotation "time" has no value`, "behind the colon"},
		"unknown time column":    {"-- time: stamp\nCREATE TABLE s (stmap TIMESTAMP)", `s.sql:1:10: annotation "time": there is no column stamp`, "stmap"},
		"time is no time":        {"-- time: a\nCREATE TABLE s (a VARCHAR)", "s.sql:1:10: column a is a VARCHAR", "TIMESTAMP"},
		"format without time":    {"-- time-format: %Y\nCREATE TABLE s (a TIMESTAMP)", "s.sql:1:4: the format belongs to no column", "-- time: column"},
		"format of a text":       {"-- time-format: a = %Y\nCREATE TABLE s (a VARCHAR)", "s.sql:1:17: column a is a VARCHAR", "TIMESTAMP"},
		"format twice":           {"-- time: a\n-- time-format: %F\n-- time-format: a = %F\nCREATE TABLE s (a TIMESTAMP)", "s.sql:3:4: column a has a format already", "keep one"},
		"unknown directive":      {"-- time: a\n-- time-format: %Y-%k\nCREATE TABLE s (a TIMESTAMP)", "s.sql:2:17: time-format \"%Y-%k\": the directive %k is not known", "%Y %y"},
		"no directive":           {"-- time: a\n-- time-format: yyyy\nCREATE TABLE s (a TIMESTAMP)", "s.sql:2:17: time-format \"yyyy\" has no directive", "%Y"},
		"unknown id":             {"-- id: b\nCREATE TABLE s (a INT)", `s.sql:1:8: annotation "id": there is no column b`, "has a"},
		"window without id":      {"-- dedup-window: 1h\nCREATE TABLE s (a INT)", "s.sql:1:4: a dedup-window needs an id", "-- id: column"},
		"window is no duration":  {"-- id: a\n-- dedup-window: 1 day\nCREATE TABLE s (a INT)", "s.sql:2:18: dedup-window \"1 day\" is not a duration", "24h"},
		"time of a broken table": {"-- tiem: a\nCREATE TABLE s (a UUID)", "s.sql:2:17: column a: type UUID", "VARCHAR"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, map[string]string{"streams/s.sql": c.sql})
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			last := problems[len(problems)-1]
			if name != "time of a broken table" && len(problems) != 1 || !strings.HasPrefix(last.Error(), "streams/"+c.want) || !strings.Contains(last.Error(), c.hint) {
				t.Errorf("got  %v\nwant %s … %s", err, c.want, c.hint)
			}
		})
	}
}

func TestNamesThatCannotBeStreams(t *testing.T) {
	for base, want := range map[string]string{"_x": "underscore", "a-b": "letters, digits", "1st": "letter first", "x_dead": "dead letters", "Tailwater": "the system's own", "tailwater_runs": "the system's own"} {
		_, err := load(t, map[string]string{"streams/" + base + ".sql": "CREATE TABLE x (a INT)"})
		if err == nil || !strings.Contains(err.Error(), "streams/"+base+".sql: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", base, err)
		}
	}
	_, err := load(t, map[string]string{"streams/x.sql": "CREATE TABLE x (a INT)", "views/X.sql": "SELECT count(*) FROM x"})
	if err == nil || !strings.Contains(err.Error(), "views/X.sql: X is already the name of streams/x.sql") {
		t.Errorf("view called as a stream: %v", err)
	}
}

func TestProblemsOfAllFilesComeTogetherInOrder(t *testing.T) {
	_, err := load(t, map[string]string{
		"streams/b.sql": "-- tiem: a\nCREATE TABLE b (a UUID, c BLOB)",
		"streams/a.sql": "CREATE TABLE a (x INT DEFAULT 1)",
		"views/v.sql":   "-- descripton: d\nSELECT count(*) FROM b",
	})
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var places []string
	for _, p := range problems {
		places = append(places, strings.SplitN(p.Error(), ": ", 2)[0])
	}
	// The view over b is not judged: b is broken.
	want := "streams/a.sql:1:23 streams/b.sql:1:4 streams/b.sql:2:17 streams/b.sql:2:25 views/v.sql:1:4"
	if got := strings.Join(places, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	text, err := json.Marshal(problems[1])
	if err != nil || string(text) != `{"file":"streams/b.sql","line":1,"column":4,"message":"unknown annotation \"tiem\"","hint":"did you mean \"time\"?"}` {
		t.Errorf("%s %v", text, err)
	}
}

func TestViewsArePlannedOverTheStreams(t *testing.T) {
	p, err := load(t, map[string]string{
		"streams/flights.sql": flights,
		"views/by_origin.sql": "-- description: Delays by airport\n\nSELECT origin, count(*) AS n, sum(delay) AS delay\nFROM flights GROUP BY origin;\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	v := p.Views[0]
	if v.Name != "by_origin" || v.Stream != "flights" || v.Description != "Delays by airport" || len(v.Output) != 3 || p.Plans()[0] != v.Plan {
		t.Errorf("%+v", v)
	}
}

func TestProblemsOfAViewHaveTheirPlaceInTheFile(t *testing.T) {
	_, err := load(t, map[string]string{
		"streams/flights.sql": flights,
		"views/v.sql":         "-- description: x\n\nSELECT orign, count(*) AS n\nFROM flights GROUP BY 1\n",
	})
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 1 {
		t.Fatalf("got %v", err)
	}
	if p := problems[0]; p.File != "views/v.sql" || p.Line != 3 || p.Column != 8 {
		t.Errorf("%v", p)
	}
}

func TestAFolderThatIsNoProjectIsRefused(t *testing.T) {
	_, err := load(t, map[string]string{"other.txt": ""})
	if err == nil || !strings.Contains(err.Error(), "tailwater init") {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := Load(context.Background(), filepath.Join(t.TempDir(), "absent"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent folder: %v", err)
	}
	_, err = load(t, map[string]string{"tailwater.yaml": ""})
	if err == nil || !strings.Contains(err.Error(), "no stream") {
		t.Errorf("no stream: %v", err)
	}
}

func TestAnEndedContextIsNoProblemOfTheFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "streams"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "streams", "s.sql"), []byte("CREATE TABLE s (a INT)"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Load(ctx, dir, nil)
	var problems Problems
	if !errors.Is(err, context.Canceled) || errors.As(err, &problems) {
		t.Errorf("got %v", err)
	}
}
