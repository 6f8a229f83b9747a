package project

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// A Query is a SELECT with parameters that is answered under a name of its own.
// Whether the engine takes it is for serving to say, which has the gate.
type Query struct {
	Name        string
	File        string // relative to the project's folder, with slashes
	Description string
	SQL         string // the file's text
	Parameters  []QueryParameter
}

// A QueryParameter is declared by "-- param: name TYPE" or "-- param: name TYPE = value".
type QueryParameter struct {
	Name string
	Type event.Type
	// Default is the value where none is given, in the form that Value gives; nil is
	// NULL. It counts only if Optional.
	Default  any
	Optional bool
	Line     int // of the declaration
}

// TakenParameters are the names that every query takes already.
var TakenParameters = []string{"at", "after", "timeout"}

var parameterLine = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)\s+([A-Za-z]+[A-Za-z0-9]*(?:\s*\([0-9,\s]*\))?)\s*(?:=\s*(.*))?$`)

// otherNames are usual names of types that the engine prints otherwise.
var otherNames = map[string]string{"INT": "INTEGER", "INT4": "INTEGER", "INT8": "BIGINT", "LONG": "BIGINT", "TEXT": "VARCHAR", "STRING": "VARCHAR",
	"BOOL": "BOOLEAN", "REAL": "FLOAT", "FLOAT8": "DOUBLE", "NUMERIC": "DECIMAL", "DATETIME": "TIMESTAMP"}

// loadQueries reads the annotations; the statements are looked at elsewhere.
func (l *loader) loadQueries(sources []source) {
	for _, src := range sources {
		notes, problems := readAnnotations(src, queryAnnotations)
		q := &Query{Name: src.name, File: src.file, Description: notes.text("description"), SQL: src.text}
		for i := range notes {
			n := &notes[i]
			if n.key != "param" {
				continue
			}
			p, message, hint := readParameter(n.value)
			taken := func(o QueryParameter) bool { return strings.EqualFold(o.Name, p.Name) }
			if message == "" && slices.ContainsFunc(q.Parameters, taken) {
				message, hint = fmt.Sprintf("the parameter %s is declared twice", p.Name), "keep one of them"
			}
			if message != "" {
				problems = append(problems, &Problem{src.file, n.value0.line, n.value0.column, message, hint})
				continue
			}
			p.Line = n.key0.line
			q.Parameters = append(q.Parameters, p)
		}
		l.problems = append(l.problems, problems...)
		if len(problems) == 0 {
			l.project.Queries = append(l.project.Queries, q)
		}
	}
	slices.SortFunc(l.project.Queries, func(a, b *Query) int { return strings.Compare(a.Name, b.Name) })
}

// readParameter reads a declaration; message says what is wrong with it.
func readParameter(text string) (p QueryParameter, message, hint string) {
	m := parameterLine.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return p, fmt.Sprintf("%q declares no parameter", text), "write `-- param: country VARCHAR`, or `-- param: least DECIMAL(18,2) = 0`"
	}
	p.Name = m[1]
	if slices.Contains(TakenParameters, strings.ToLower(p.Name)) {
		return p, fmt.Sprintf("the parameter %s has the name of one that every query takes", p.Name), "rename it"
	}
	name, rest, _ := strings.Cut(strings.ToUpper(m[2]), "(")
	if known, ok := otherNames[strings.TrimSpace(name)]; ok {
		name = known
	}
	if rest != "" {
		rest = "(" + rest
	}
	typ, err := duckdb.ParseType(strings.TrimSpace(name) + rest)
	if err != nil || typ.Kind == event.Blob {
		return p, fmt.Sprintf("parameter %s: %s is no type of a parameter", p.Name, m[2]), "use VARCHAR, BIGINT, DECIMAL(18,2), DOUBLE, BOOLEAN, DATE, TIMESTAMP or another of a stream's types"
	}
	p.Type = typ
	if value := strings.TrimSpace(m[3]); value != "" {
		p.Optional = true
		if strings.EqualFold(value, "NULL") {
			return p, "", ""
		}
		if len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
			value = strings.ReplaceAll(value[1:len(value)-1], "''", "'")
		}
		if p.Default, err = p.Value(value); err != nil {
			return p, "the default of " + err.Error(), ""
		}
	}
	return p, "", ""
}

// Value reads a value of the parameter, and gives it as a text that the engine casts
// to the type without loss. The error names the parameter and the type.
func (p QueryParameter) Value(text string) (string, error) {
	fail := func(example string) (string, error) {
		return "", fmt.Errorf("parameter %s is %s, and %q is none: write it as %s", p.Name, p.Type, text, example)
	}
	trimmed := strings.TrimSpace(text)
	switch p.Type.Kind {
	case event.Varchar:
		if strings.ContainsRune(text, 0) {
			return "", fmt.Errorf("parameter %s holds a NUL character", p.Name)
		}
		return text, nil
	case event.JSON:
		if !json.Valid([]byte(text)) {
			return fail(`{"a": 1}`)
		}
		return text, nil
	case event.Boolean:
		switch strings.ToLower(trimmed) {
		case "true", "1":
			return "true", nil
		case "false", "0":
			return "false", nil
		}
		return fail("true or false")
	case event.TinyInt, event.SmallInt, event.Integer, event.BigInt, event.HugeInt:
		bits := map[event.Kind]uint{event.TinyInt: 7, event.SmallInt: 15, event.Integer: 31, event.BigInt: 63, event.HugeInt: 127}[p.Type.Kind]
		n, ok := new(big.Int).SetString(trimmed, 10)
		if !ok || len(trimmed) > 41 || n.Cmp(new(big.Int).Lsh(big.NewInt(1), bits)) >= 0 || n.Cmp(new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), bits))) < 0 {
			return fail("a whole number in its range, such as 42")
		}
		return n.String(), nil
	case event.Decimal:
		if !fitsDecimal(trimmed, int(p.Type.Precision), int(p.Type.Scale)) {
			return fail("a number that its digits hold, such as 12.5")
		}
		return trimmed, nil
	case event.Float, event.Double:
		if _, err := strconv.ParseFloat(trimmed, 64); err != nil || strings.ContainsAny(trimmed, "xX_pP") {
			return fail("a number, such as 0.5 or 1e6")
		}
		return trimmed, nil
	case event.Date:
		if _, err := time.Parse("2006-01-02", trimmed); err != nil {
			return fail("2024-05-01")
		}
		return trimmed, nil
	case event.Timestamp:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
			if t, err := time.Parse(layout, trimmed); err == nil {
				return t.UTC().Format("2006-01-02 15:04:05.999999"), nil
			}
		}
		return fail("2024-05-01T12:00:00Z")
	}
	return fail("a value")
}

var decimalText = regexp.MustCompile(`^[+-]?([0-9]*)(?:\.([0-9]*))?$`)

// fitsDecimal reports whether no digit of the number is lost.
func fitsDecimal(text string, precision, scale int) bool {
	m := decimalText.FindStringSubmatch(text)
	if m == nil || m[1]+m[2] == "" {
		return false
	}
	return len(strings.TrimLeft(m[1], "0")) <= precision-scale && len(strings.TrimRight(m[2], "0")) <= scale
}

// Sample is a value of the parameter with which the statement can be bound before
// anybody has asked.
func (p QueryParameter) Sample() any {
	if p.Optional {
		return p.Default
	}
	switch p.Type.Kind {
	case event.Varchar:
		return ""
	case event.JSON:
		return "null"
	case event.Boolean:
		return "false"
	case event.Date, event.Timestamp:
		return "2024-01-01"
	}
	return "1"
}
