package serving

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/tailwater/tailwater/lake"
)

// boundSlack is how much wider a bound is taken than it is written: it must never
// leave out a row that the condition itself, which stays, would keep.
const boundSlack = time.Second

// bound is what WHERE says of a table's time columns, with constants and AND alone:
// landed files keep the least and greatest value of each of their parts, and what
// lies outside need not be read. Names are in lower case.
func (w *walker) bound(where any, alias string, to lake.Bounds) {
	node, _ := where.(map[string]any)
	switch text(node, "class") {
	case "CONJUNCTION":
		children, _ := node["children"].([]any)
		if text(node, "type") == "CONJUNCTION_AND" {
			for _, child := range children {
				w.bound(child, alias, to)
			}
		}
	case "BETWEEN":
		if column := ownColumn(node["input"], alias); column != "" {
			w.tighten(to, column, "COMPARE_GREATERTHANOREQUALTO", node["lower"])
			w.tighten(to, column, "COMPARE_LESSTHANOREQUALTO", node["upper"])
		}
	case "COMPARISON":
		if column := ownColumn(node["left"], alias); column != "" {
			w.tighten(to, column, text(node, "type"), node["right"])
		} else if column := ownColumn(node["right"], alias); column != "" {
			w.tighten(to, column, mirrored[text(node, "type")], node["left"])
		}
	}
}

// mirrored are comparisons read from right to left.
var mirrored = map[string]string{
	"COMPARE_EQUAL": "COMPARE_EQUAL", "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
	"COMPARE_GREATERTHAN": "COMPARE_LESSTHAN", "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}

// ownColumn gives the name of a column of the table, in lower case; "" if the
// expression is something else.
func ownColumn(v any, alias string) string {
	node, _ := v.(map[string]any)
	names, _ := node["column_names"].([]any)
	if text(node, "class") != "COLUMN_REF" || len(names) == 0 || len(names) > 3 {
		return ""
	}
	name, _ := names[len(names)-1].(string)
	if len(names) > 1 {
		if table, _ := names[len(names)-2].(string); !strings.EqualFold(table, alias) {
			return ""
		}
	}
	return strings.ToLower(name)
}

// tighten takes one comparison with a constant into the bounds.
func (w *walker) tighten(to lake.Bounds, column, comparison string, value any) {
	at, clock, ok := w.instant(value)
	if !ok {
		return
	}
	b, known := to[column]
	if !known {
		b = lake.Bound{Least: math.MinInt64, Greatest: math.MaxInt64}
	}
	slack := boundSlack.Microseconds()
	switch comparison {
	case "COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_EQUAL":
		b.Least = max(b.Least, at-slack)
	}
	switch comparison {
	case "COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_EQUAL":
		if !clock { // by the time that the statement runs the clock has moved on
			b.Greatest = min(b.Greatest, at+slack)
		}
	}
	to[column] = b
}

// instant reads a constant that a timestamp is compared with, in µs since 1970, or
// the clock less a constant; clock tells the two apart. What it isn't sure of it
// leaves: a literal in another form, or months, which have no fixed length.
func (w *walker) instant(v any) (us int64, clock, ok bool) {
	node, _ := v.(map[string]any)
	literal, isText := stringConstant(v)
	target, _ := node["cast_type"].(map[string]any)
	if id := text(target, "id"); id == "DATE" || id == "TIMESTAMP" || id == "TIMESTAMP WITH TIME ZONE" {
		literal, isText = stringConstant(node["child"])
	}
	if isText {
		for _, layout := range []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05.999999", "2006-01-02T15:04:05.999999", "2006-01-02T15:04:05.999999Z"} {
			if t, err := time.Parse(layout, literal); err == nil && t.Year() > 1 {
				return t.UnixMicro(), false, true
			}
		}
		return 0, false, false
	}
	name := strings.ToLower(text(node, "function_name"))
	args, _ := node["children"].([]any)
	switch {
	case text(node, "class") == "CAST" && text(target, "id") == "TIMESTAMP":
		us, clock, ok = w.instant(node["child"])
		return us, clock, ok && clock
	case text(node, "class") != "FUNCTION":
		return 0, false, false
	case (name == "now" || name == "transaction_timestamp" || name == "get_current_timestamp") && len(args) == 0:
		return w.now.UnixMicro(), true, true
	case name == "-" && len(args) == 2:
		at, clock, ok := w.instant(args[0])
		seconds, unit, known := w.evaluate(args[1], 0)
		if !ok || !clock || !known || unit != interval || !fixedLength(args[1]) || math.Abs(seconds) > 1e10 {
			return 0, false, false
		}
		return at - int64(seconds*1e6), true, true
	}
	return 0, false, false
}

// fixedLength reports whether an interval has no part that is longer in one month
// than in another.
func fixedLength(v any) bool {
	printed, err := json.Marshal(v)
	if err != nil {
		return false
	}
	low := strings.ToLower(string(printed))
	for _, unit := range []string{"month", "quarter", "year", "decade", "centur", "millenni", "mon", "yr"} {
		if strings.Contains(low, unit) {
			return false
		}
	}
	return true
}
