package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/ingest"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// A draft is what a sample tells about a stream.
type draft struct {
	stream  string
	columns []draftColumn
	time    int // the time column; -1 if there is none
	key     int // the column to group by; -1
	number  int // the column to sum; -1
	notes   []string
}

type draftColumn struct {
	name    string
	sql     string // the name as SQL writes it
	sqlType string
	format  string // strptime format of a time; "" if ISO 8601 or no time
}

// sampleRows is how much of a sample is looked at for formats and keys: enough
// to meet a day above 12, little enough to be done at once.
const sampleRows = 100_000

// keyValuesMax is how many values a column may have to be a good first key.
const keyValuesMax = 1000

// draftFrom reads a sample with an engine that reaches its folder alone.
func draftFrom(ctx context.Context, file string, format fileFormat, stream string) (_ *draft, err error) {
	if format == "" {
		if format, err = formatOf(file); err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	db, err := openFileEngine(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Connect()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	s := &sampler{ctx: ctx, conn: conn, file: path, path: duckdb.Literal(path), format: format}
	d := &draft{stream: stream, time: -1, key: -1, number: -1}
	if err := s.columns(d); err != nil {
		return nil, err
	}
	for i := range d.columns {
		if err := s.times(d, &d.columns[i]); err != nil {
			return nil, err
		}
	}
	return d, s.choose(d)
}

func formatOf(file string) (_ fileFormat, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in, err := decompress(bufio.NewReaderSize(f, 64<<10))
	if err != nil {
		return "", err
	}
	return detectFormat(file, in), nil
}

// A sampler asks the engine about one file.
type sampler struct {
	ctx    context.Context
	conn   *duckdb.Conn
	file   string
	path   string // file as a literal
	format fileFormat
	raw    string // FROM item with every column as text, as it is written in the file
}

// typed is the FROM item with the engine's guesses of types.
func (s *sampler) typed() string {
	switch s.format {
	case formatParquet:
		return "read_parquet(" + s.path + ")"
	case formatCSV:
		return fmt.Sprintf("read_csv(%s, sample_size = %d)", s.path, sampleRows)
	}
	return fmt.Sprintf("read_json(%s, format = 'auto', sample_size = %d)", s.path, sampleRows)
}

// streamTypes maps types that a stream does not have to those that hold the
// same as text or a wider number.
var streamTypes = map[string]string{
	"UTINYINT": "SMALLINT", "USMALLINT": "INTEGER", "UINTEGER": "BIGINT", "UBIGINT": "DECIMAL(20,0)", "HUGEINT": "DECIMAL(38,0)",
	"UUID": "VARCHAR", "TIME": "VARCHAR", "TIME WITH TIME ZONE": "VARCHAR", "INTERVAL": "VARCHAR", "ENUM": "VARCHAR", "BLOB": "VARCHAR", "BIT": "VARCHAR", "UHUGEINT": "VARCHAR",
	"TIMESTAMP_S": "TIMESTAMP", "TIMESTAMP_MS": "TIMESTAMP", "TIMESTAMP_NS": "TIMESTAMP", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
	"STRUCT": "JSON", "MAP": "JSON", "UNION": "JSON", "VARIANT": "JSON", `"NULL"`: "VARCHAR",
}

// columns reads names and types, and prepares raw.
func (s *sampler) columns(d *draft) error {
	described, err := s.conn.Describe(s.ctx, "SELECT * FROM "+s.typed())
	if err != nil {
		return err
	}
	plain, err := s.plainWords()
	if err != nil {
		return err
	}
	texts := make([]string, len(described))
	for i, c := range described {
		if strings.HasPrefix(c.Name, "_") {
			return fmt.Errorf("the field %q begins with an underscore, as the system's own do; rename it in the source of the events", c.Name)
		}
		t := c.SQLType
		name, _, _ := strings.Cut(t, "(")
		if use, ok := streamTypes[name]; ok {
			t = use
		}
		if strings.HasSuffix(c.SQLType, "]") {
			t = "JSON"
		}
		if c.SQLType == "HUGEINT" || c.SQLType == "UBIGINT" {
			if t, err = s.narrow(c.Name, t); err != nil {
				return err
			}
		}
		d.columns = append(d.columns, draftColumn{name: c.Name, sql: plain(c.Name), sqlType: t})
		texts[i] = duckdb.Literal(c.Name) + ": 'VARCHAR'"
	}
	switch s.format {
	case formatParquet:
		s.raw = s.typed()
	case formatCSV:
		s.raw = tableFunction(s.file, formatCSV)
	default:
		s.raw = fmt.Sprintf("read_json(%s, format = 'auto', columns = {%s})", s.path, strings.Join(texts, ", "))
	}
	return nil
}

// narrow gives BIGINT if all values of a wider integer fit it: to the reader of
// JSON positive numbers are unsigned, and with a negative one among them, wider still.
func (s *sampler) narrow(name, wide string) (string, error) {
	r, err := s.conn.Collect(s.ctx, fmt.Sprintf("SELECT bool_and(TRY_CAST(%s AS BIGINT) IS NOT NULL OR %[1]s IS NULL) IS TRUE FROM %s", duckdb.Ident(name), s.typed()))
	if err != nil {
		return "", fmt.Errorf("column %s: %w", name, err)
	}
	if r.Value(0, 0).(bool) {
		return "BIGINT", nil
	}
	return wide, nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// plainWords gives the function that writes a name in SQL, quoted only if it must be.
func (s *sampler) plainWords() (func(string) string, error) {
	r, err := s.conn.Collect(s.ctx, "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
	if err != nil {
		return nil, err
	}
	reserved := map[string]bool{}
	for i := range r.Len() {
		reserved[r.Value(i, 0).(string)] = true
	}
	return func(name string) string {
		if plainWord.MatchString(name) && !reserved[strings.ToLower(name)] {
			return name
		}
		return duckdb.Ident(name)
	}, nil
}

// timeFormats are those that a sample's times are tried in, the unambiguous
// first; American before European dates, and said so when both fit.
var timeFormats = []string{
	"%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d%H%M%S", "%Y%m%d %H%M%S", "%Y%m%d",
	"%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y",
	"%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%d-%b-%Y %H:%M:%S", "%d-%b-%Y", "%d %b %Y %H:%M:%S", "%b %d, %Y", "%b %d %Y %H:%M:%S",
	"%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%Y",
	"%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y",
	"%s", "%Q",
}

var namesTime = regexp.MustCompile(`(?i)(time|date|epoch|^ts$|_ts$|_at$)`)

// times decides whether a column is a time and how it is written. The judge is
// the decoder of ingest, with the text as it stands in the file: what the engine
// takes for a time, ingest may not.
func (s *sampler) times(d *draft, c *draftColumn) error {
	isTime := c.sqlType == "TIMESTAMP" || c.sqlType == "DATE"
	isEpoch := c.sqlType == "BIGINT" && namesTime.MatchString(c.name)
	if s.format == formatParquet && isTime || !isTime && !isEpoch && c.sqlType != "VARCHAR" {
		return nil // Parquet's own times are sent as ISO 8601
	}
	body, n, err := s.texts(c)
	if err != nil || n == 0 {
		return err
	}
	formats := slices.Concat([]string{""}, timeFormats)
	if isEpoch {
		formats = epochFormats(body)
	}
	var fit []string
	for _, f := range formats {
		ok, err := fits(body, n, f)
		if err != nil {
			return err
		}
		if ok {
			fit = append(fit, f)
		}
	}
	switch {
	case len(fit) == 0 && isTime:
		c.sqlType = "VARCHAR"
		d.notes = append(d.notes, fmt.Sprintf("%s looks like a time, but no format that is known fits all values; it is text until you name one with -- time-format", c.name))
	case len(fit) == 0:
	default:
		if c.format = fit[0]; c.sqlType != "DATE" {
			c.sqlType = "TIMESTAMP"
		}
		if len(fit) > 1 && strings.HasPrefix(fit[0], "%m/") {
			d.notes = append(d.notes, fmt.Sprintf("%s fits %s and %s; the first is taken", c.name, fit[0], fit[1]))
		}
	}
	return nil
}

// texts gives the column's values as lines {"t": "…"}.
func (s *sampler) texts(c *draftColumn) (body []byte, n int, err error) {
	column := duckdb.Ident(c.name)
	r, err := s.conn.Collect(s.ctx, fmt.Sprintf(`SELECT DISTINCT to_json({t: %s::VARCHAR})::VARCHAR FROM (SELECT %s FROM %s LIMIT %d) WHERE %s IS NOT NULL`, column, column, s.raw, sampleRows, column))
	if err != nil {
		return nil, 0, fmt.Errorf("column %s: %w", c.name, err)
	}
	for i := range r.Len() {
		body = append(append(body, r.Value(i, 0).(string)...), '\n')
	}
	return body, r.Len(), nil
}

// epochFormats gives the format of counts since 1970 that lie in the years 2000
// to 2100: what else a number may be, it is no time.
func epochFormats(body []byte) []string {
	var formats []string
	for digits, format := range map[*regexp.Regexp]string{
		regexp.MustCompile(`^(\{"t":"(9[4-9]\d|[1-3]\d{3}|40\d\d)\d{6}"\}\n)+$`): "%s",
		regexp.MustCompile(`^(\{"t":"(9[4-9]\d|[1-3]\d{3}|40\d\d)\d{9}"\}\n)+$`): "%Q",
	} {
		if digits.Match(body) {
			formats = append(formats, format)
		}
	}
	return formats
}

// fits reports whether ingest reads all n lines of body as times of the format.
func fits(body []byte, n int, format string) (bool, error) {
	schema := &event.Schema{Stream: "sample", Columns: []event.Column{{Name: "t", Type: event.Type{Kind: event.Timestamp}, NotNull: true}}, IDColumn: -1}
	if format != "" {
		schema.Formats = map[int]string{0: format}
	}
	decoder, err := ingest.NewDecoder(schema, ingest.Limits{})
	if err != nil {
		return false, err
	}
	first := body[:slices.Index(body, '\n')+1] // most formats fail at the first
	if decoded, err := decoder.Decode(first, false); err != nil || decoded.Accepted() != 1 {
		return false, nil
	}
	decoded, err := decoder.Decode(body, false)
	return err == nil && decoded.Accepted() == n, nil
}

// choose picks the time column, the key and the number of the first view.
func (s *sampler) choose(d *draft) error {
	least := int64(keyValuesMax + 1)
	for i, c := range d.columns {
		isNumber := slices.Contains([]string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE"}, c.sqlType) || strings.HasPrefix(c.sqlType, "DECIMAL")
		switch {
		case d.time < 0 && (c.sqlType == "TIMESTAMP" || c.sqlType == "DATE"):
			d.time = i
		case d.number < 0 && isNumber && !namesID.MatchString(c.name):
			d.number = i
		case c.sqlType == "VARCHAR":
			column := duckdb.Ident(c.name)
			r, err := s.conn.Collect(s.ctx, fmt.Sprintf("SELECT count(DISTINCT %s) FROM (SELECT %s FROM %s LIMIT %d)", column, column, s.raw, sampleRows))
			if err != nil {
				return fmt.Errorf("column %s: %w", c.name, err)
			}
			if n := r.Value(0, 0).(int64); n >= 2 && n < least {
				d.key, least = i, n
			}
		}
	}
	if d.time < 0 {
		d.notes = append(d.notes, "no column is a time: the view has no window, and events cannot be paced with send --speed")
	}
	return nil
}

var namesID = regexp.MustCompile(`(?i)(^id$|_id$|[a-z]Id$|^key$)`)

func (d *draft) viewName() string {
	if d.time < 0 {
		return d.stream + "_totals"
	}
	return d.stream + "_hourly"
}

// streamSQL writes the stream's file. NOT NULL is left to the author: that a
// sample has no NULL does not say that no event will.
func (d *draft) streamSQL() string {
	var b strings.Builder
	if d.time >= 0 {
		fmt.Fprintf(&b, "-- time: %s\n", d.columns[d.time].name)
	}
	for i, c := range d.columns {
		switch {
		case c.format != "" && i == d.time:
			fmt.Fprintf(&b, "-- time-format: %s\n", c.format)
		case c.format != "":
			fmt.Fprintf(&b, "-- time-format: %s = %s\n", c.name, c.format)
		}
	}
	fmt.Fprintf(&b, "CREATE TABLE %s (\n", d.stream)
	for i, c := range d.columns {
		comma := ","
		if i == len(d.columns)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, "  %s %s%s\n", c.sql, c.sqlType, comma)
	}
	b.WriteString(");\n")
	return b.String()
}

// viewSQL writes the first view: by the hour and the key, how many and how much.
func (d *draft) viewSQL() string {
	var outputs, groups []string
	about := "Events"
	if d.key >= 0 {
		outputs = append(outputs, d.columns[d.key].sql)
		groups = append(groups, d.columns[d.key].sql)
		about += " by " + d.columns[d.key].name
	}
	outputs = append(outputs, "count(*) AS events")
	if d.number >= 0 {
		c := d.columns[d.number]
		outputs = append(outputs, fmt.Sprintf("sum(%s) AS %s", c.sql, alias(c.name, "_sum")), fmt.Sprintf("avg(%s) AS %s", c.sql, alias(c.name, "_avg")))
	}
	if d.time >= 0 {
		about += " and hour"
		groups = append(groups, "tumble("+d.columns[d.time].sql+", INTERVAL '1 hour')")
		outputs = slices.Insert(outputs, 0, "window_start", "window_end")
	}
	text := "-- description: " + about + "\nSELECT\n  " + strings.Join(outputs, ",\n  ") + "\nFROM " + d.stream + "\n"
	if len(groups) > 0 {
		text += "GROUP BY " + strings.Join(groups, ", ") + "\n"
	}
	return text
}

// alias names a derived column, quoted if the name is no plain word.
func alias(name, suffix string) string {
	if plainWord.MatchString(name) {
		return name + suffix
	}
	return duckdb.Ident(name + suffix)
}
