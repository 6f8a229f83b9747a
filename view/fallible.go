package view

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// A typer knows the types of row expressions, and which of them can fail on
// some event. The answer "cannot" buys a statement without TRY, so it is only
// given where it is certain.
type typer struct {
	session
	q     *query
	stub  string // a FROM item with the stream's columns and no rows
	types map[string]string
}

// learn types n and everything below it.
func (t *typer) learn(roots ...node) error {
	var exprs []node
	var sqls []string
	for _, root := range roots {
		walk(root, func(n node) bool {
			if _, ok := t.types[canonical(n)]; !ok {
				exprs = append(exprs, n)
			}
			return true
		})
	}
	for _, n := range exprs {
		sql, err := t.print(n)
		if err != nil {
			return err
		}
		sqls = append(sqls, sql)
	}
	if len(sqls) == 0 {
		return nil
	}
	described, err := t.conn.Describe(t.ctx, "SELECT "+strings.Join(sqls, ", ")+" FROM "+t.stub)
	if err != nil {
		return t.blame(roots, err)
	}
	for i, n := range exprs {
		t.types[canonical(n)] = described[i].SQLType
	}
	return nil
}

// blame finds which of the expressions the engine refuses.
func (t *typer) blame(roots []node, cause error) error {
	for _, n := range roots {
		sql, err := t.print(n)
		if err != nil {
			return err
		}
		if _, err = t.conn.Describe(t.ctx, "SELECT "+sql+" FROM "+t.stub); err != nil {
			return t.q.fail(n, "", "%s", engineText(err))
		}
	}
	return cause
}

// zoned is the one type that is read as another: results hold it as TIMESTAMP.
const zoned = "TIMESTAMP WITH TIME ZONE"

// engineText is what DuckDB says, without the line that quotes the rewritten
// text, which the author never wrote.
func engineText(err error) string {
	var e *duckdb.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	message, _, _ := strings.Cut(e.Message, "\n\nLINE ")
	message, _, _ = strings.Cut(message, "\n\nStack Trace")
	if short, candidates, ok := strings.Cut(message, "Candidate functions:"); ok && len(candidates) > 300 {
		message = short // an operator's list of candidates fills a page
	}
	return strings.Join(strings.Fields(message), " ")
}

func (t *typer) raw(n node) string { return t.types[canonical(n)] }

// kind gives n's type; Invalid when no column of a view can have it.
func (t *typer) kind(n node) event.Type {
	raw := t.raw(n)
	typ, err := duckdb.ParseType(raw)
	if err != nil || raw == zoned {
		return event.Type{}
	}
	return typ
}

func constant(n node) bool {
	return !contains(n, func(m node) bool { return names(m) != nil })
}

// checkConstants runs what depends on no event once, now: a constant that
// fails would fail on every row.
func (t *typer) checkConstants(root node) (err error) {
	walk(root, func(n node) bool {
		if err != nil || names(n) != nil || class(n) == "CONSTANT" {
			return false
		}
		if !constant(n) {
			return true
		}
		var sql string
		if sql, err = t.print(n); err == nil {
			if _, e := t.conn.Collect(t.ctx, "SELECT CAST(("+sql+") AS VARCHAR)"); e != nil {
				wrong := t.q.fail(n, "", "this fails on every event: %s", engineText(e))
				wrong.final = true
				err = wrong
			}
		}
		return false
	})
	return err
}

// safe reports whether n can be evaluated on every event. The types of n must
// be learnt and its constants checked.
func (t *typer) safe(n node) bool {
	if constant(n) || names(n) != nil {
		return true
	}
	children := true
	_, _ = rewrite(n, func(c node) (node, error) { children = children && t.safe(c); return c, nil })
	if !children {
		return false
	}
	switch class(n) {
	case "COMPARISON":
		return t.comparable(sub(n, "left"), sub(n, "right"))
	case "BETWEEN":
		return t.comparable(sub(n, "input"), sub(n, "lower")) && t.comparable(sub(n, "input"), sub(n, "upper")) &&
			t.comparable(sub(n, "lower"), sub(n, "upper"))
	case "CONJUNCTION":
		return t.all(list(n, "children"), event.Type{Kind: event.Boolean})
	case "OPERATOR":
		return t.safeOperator(n)
	case "CAST":
		return isSet(n, "try_cast") || widens(t.kind(sub(n, "child")), t.kind(n))
	case "CASE":
		result := t.kind(n)
		for _, c := range list(n, "case_checks") {
			check := c.(node)
			if t.kind(sub(check, "when_expr")).Kind != event.Boolean || !t.becomes(sub(check, "then_expr"), result) {
				return false
			}
		}
		return t.becomes(sub(n, "else_expr"), result)
	case "FUNCTION":
		return t.safeFunction(n)
	}
	return false
}

func (t *typer) all(nodes []any, typ event.Type) bool {
	for _, c := range nodes {
		if t.kind(c.(node)) != typ {
			return false
		}
	}
	return true
}

func (t *typer) safeOperator(n node) bool {
	children := list(n, "children")
	switch text(n, "type") {
	case "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_TRY":
		return true
	case "OPERATOR_NOT":
		return t.all(children, event.Type{Kind: event.Boolean})
	case "OPERATOR_COALESCE":
		for _, c := range children {
			if !t.becomes(c.(node), t.kind(n)) {
				return false
			}
		}
		return true
	case "COMPARE_IN", "COMPARE_NOT_IN":
		for i, a := range children {
			for _, b := range children[:i] {
				if !t.comparable(a.(node), b.(node)) {
					return false
				}
			}
		}
		return true
	}
	return false
}

// becomes reports whether n's values can always be cast to typ; NULL can.
func (t *typer) becomes(n node, typ event.Type) bool {
	if class(n) == "CONSTANT" && isSet(sub(n, "value"), "is_null") {
		return true
	}
	return widens(t.kind(n), typ)
}

// comparable reports whether comparing a and b needs no cast that can fail.
func (t *typer) comparable(a, b node) bool {
	x, y := t.kind(a), t.kind(b)
	if x.Kind == event.Invalid || y.Kind == event.Invalid {
		return false
	}
	if x.Kind == y.Kind && x.Kind != event.Decimal {
		return true
	}
	if isNumber(x) && isNumber(y) {
		if isFloat(x) || isFloat(y) {
			return true
		}
		xi, xs := digits(x)
		yi, ys := digits(y)
		return x.Kind != event.Decimal && y.Kind != event.Decimal || max(xi-xs, yi-ys)+max(xs, ys) <= 38
	}
	// A string constant is cast to the other side's type, and was tried.
	return t.literal(a, y) || t.literal(b, x)
}

// literal reports whether n is a string constant that casts to typ.
func (t *typer) literal(n node, typ event.Type) bool {
	if class(n) != "CONSTANT" {
		return false
	}
	sql, err := t.print(n)
	if err != nil {
		return false
	}
	_, err = t.conn.Collect(t.ctx, "SELECT CAST(CAST("+sql+" AS "+typ.String()+") AS VARCHAR)")
	return err == nil
}

// digits gives precision and scale of an exact number.
func digits(t event.Type) (precision, scale int) {
	switch t.Kind {
	case event.TinyInt:
		return 3, 0
	case event.SmallInt:
		return 5, 0
	case event.Integer:
		return 10, 0
	case event.BigInt:
		return 19, 0
	case event.Decimal:
		return int(t.Precision), int(t.Scale)
	}
	return 39, 0 // HUGEINT: more than a DECIMAL holds
}

func isInteger(t event.Type) bool { return t.Kind >= event.TinyInt && t.Kind <= event.HugeInt }
func isFloat(t event.Type) bool   { return t.Kind == event.Float || t.Kind == event.Double }
func isNumber(t event.Type) bool  { return isInteger(t) || isFloat(t) || t.Kind == event.Decimal }

// widens reports whether every value of from has a value in to.
func widens(from, to event.Type) bool {
	switch {
	case from.Kind == event.Invalid || to.Kind == event.Invalid:
		return false
	case from == to || to.Kind == event.Varchar || to.Kind == event.Double && isNumber(from):
		return true
	case isInteger(to):
		return from.Kind == event.Boolean || isInteger(from) && from.Kind <= to.Kind
	case to.Kind == event.Float:
		return isInteger(from)
	case to.Kind == event.Decimal && (isInteger(from) || from.Kind == event.Decimal):
		fp, fs := digits(from)
		return fp-fs <= int(to.Precision)-int(to.Scale) && fs <= int(to.Scale)
	case to.Kind == event.Boolean:
		return isNumber(from)
	case to.Kind == event.Date:
		return from.Kind == event.Timestamp
	}
	return false
}

// total are functions that give a value or NULL for all arguments of these
// kinds, by name.
var total = map[string][]event.Kind{
	"lower": {event.Varchar}, "upper": {event.Varchar}, "length": {event.Varchar}, "strlen": {event.Varchar},
	"trim": {event.Varchar}, "ltrim": {event.Varchar}, "rtrim": {event.Varchar},
	"||": {event.Varchar}, "contains": {event.Varchar}, "prefix": {event.Varchar}, "suffix": {event.Varchar},
	"starts_with": {event.Varchar}, "ends_with": {event.Varchar}, "~~": {event.Varchar}, "!~~": {event.Varchar},
	"isfinite": {event.Double, event.Float}, "isnan": {event.Double, event.Float}, "isinf": {event.Double, event.Float},
	"year": {event.Timestamp, event.Date}, "month": {event.Timestamp, event.Date}, "day": {event.Timestamp, event.Date},
	"hour": {event.Timestamp}, "minute": {event.Timestamp}, "dayofweek": {event.Timestamp, event.Date},
	"abs": {event.Double, event.Float}, "floor": {event.Double}, "ceil": {event.Double},
}

func (t *typer) safeFunction(n node) bool {
	name, children := function(n), list(n, "children")
	if kinds, ok := total[name]; ok {
		for _, c := range children {
			is := false
			for _, k := range kinds {
				is = is || t.kind(c.(node)).Kind == k
			}
			if !is {
				return false
			}
		}
		return true
	}
	if len(children) != 2 {
		return false
	}
	x, y, result := t.kind(children[0].(node)), t.kind(children[1].(node)), t.kind(n)
	switch name {
	case "+", "-", "*", "/":
		if !isNumber(x) || !isNumber(y) {
			return false
		}
		if result.Kind == event.Double {
			return true // IEEE 754: infinities and NaN, no errors
		}
		if result.Kind != event.Decimal || name == "/" {
			return false
		}
		xp, xs := digits(x)
		yp, ys := digits(y)
		if name == "*" {
			return int(result.Precision) >= xp+yp
		}
		return int(result.Precision) > max(xp-xs, yp-ys)+max(xs, ys)
	case "%", "//":
		return isInteger(x) && isInteger(y) && positive(children[1].(node))
	}
	return false
}

// positive reports whether n is a number constant above zero.
func positive(n node) bool {
	num, ok := sub(n, "value")["value"].(json.Number)
	return class(n) == "CONSTANT" && ok && num.String() > "0" && num.String()[0] != '-'
}
