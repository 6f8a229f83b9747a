package view

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// A list keeps the first elements of a group, up to the view's cap, as one text: its
// elements in order, listMark between them. An element is a key of fixed width, whose
// order as text is that of the list, and, unless the value is NULL, a colon and the
// value. Merging texts is sorting their elements and keeping the first again, so that
// how the events were divided does not matter, and a group with more elements than
// the cap stays one whatever joins it. How many there were is a count beside it, which
// the view reports as a column. Texts are plain columns, as all partial rows are.

const (
	listCapDefault = 1_000
	listCapMost    = 100_000

	listMark = "chr(31)"
	listFlaw = "chr(27)" // before what stands for a mark in a value
)

// lists are the aggregates that keep elements.
var lists = map[string]bool{"list": true, "string_agg": true}

// listing reports whether n calls an aggregate that keeps elements up to the cap.
func listing(n node) bool { return lists[cmp.Or(sameAs[function(n)], function(n))] }

// readCap reads the annotation that says how many elements a list may have.
func (q *query) readCap() error {
	if q.cap = listCapDefault; q.def.Cap == "" {
		return nil
	}
	n, err := strconv.Atoi(q.def.Cap)
	if err != nil || n < 1 || n > listCapMost {
		return q.def.errorAt(-1, fmt.Sprintf("write -- cap: %d", listCapDefault), fmt.Sprintf("cap %q is no whole number from 1 to %d", q.def.Cap, listCapMost))
	}
	q.cap = n
	return nil
}

// listOrder reads ORDER BY in a list's call: "" is the order of the stream, "ASC" and
// "DESC" are by its time column. ok is false for any other.
func (q *query) listOrder(n node) (direction string, ok bool) {
	orders := list(sub(n, "order_bys"), "orders")
	if len(orders) == 0 {
		return "", true
	}
	first := orders[0].(node)
	parts := names(sub(first, "expression"))
	if len(orders) > 1 || parts == nil || q.schema.TimeColumn < 0 || text(first, "null_order") == "NULLS FIRST" ||
		!strings.EqualFold(parts[len(parts)-1], q.schema.Columns[q.schema.TimeColumn].Name) {
		return "", false
	}
	if text(first, "type") == "DESCENDING" {
		return "DESC", true
	}
	return "ASC", true
}

// reportCaps puts a column behind each that has lists in it, which says whether
// elements were left out of them. What shows nowhere must not depend on a list.
func (s session) reportCaps(q *query) error {
	if err := q.readCap(); err != nil {
		return err
	}
	shown := map[string]bool{}
	var items []item
	for _, it := range q.items {
		items = append(items, it)
		full, err := s.over(q, it.expr, shown)
		if err != nil || full == "" {
			if err != nil {
				return err
			}
			continue
		}
		more := item{name: it.name + "_capped"}
		for _, other := range q.items {
			if strings.EqualFold(other.name, more.name) {
				taken := q.fail(other.expr, "give it another name with AS", "%s is the column that tells whether elements were left out of %s", more.name, it.name)
				taken.final = true
				return taken
			}
		}
		if more.expr, err = s.parse(full); err != nil {
			return err
		}
		items = append(items, more)
	}
	for _, n := range q.finishing()[len(q.items):] {
		var hidden node
		walk(n, func(m node) bool {
			if listing(m) && !shown[canonical(m)] {
				hidden = m
			}
			return hidden == nil
		})
		if hidden != nil {
			return q.fail(hidden, "put it into the SELECT list too, so that its column tells whether it is whole", "%s is kept up to a number of elements", function(hidden))
		}
	}
	if q.def.Cap != "" && len(shown) == 0 {
		return q.def.errorAt(-1, "leave the annotation out", "only lists have a cap, and this view keeps none")
	}
	q.items = items
	return nil
}

// over is the condition that some list of an expression has more elements than are
// kept, "" if it has no lists. It notes them in shown.
func (s session) over(q *query, n node, shown map[string]bool) (string, error) {
	var conditions []string
	var failed error
	walk(n, func(m node) bool {
		switch {
		case failed != nil:
		case class(m) == "WINDOW" && contains(m, listing):
			failed = q.fail(m, "compute it in a query over the view", "a window function over lists cannot tell whether they are whole")
		case listing(m):
			shown[canonical(m)] = true
			var count string
			if count, failed = s.elements(m); failed == nil {
				conditions = append(conditions, fmt.Sprintf("%s > %d", count, q.cap))
			}
			return false
		}
		return failed == nil
	})
	return strings.Join(conditions, " OR "), failed
}

// elements counts the elements that a list would have without a cap.
func (s session) elements(n node) (string, error) {
	arg, where := "*", ""
	if cmp.Or(sameAs[function(n)], function(n)) == "string_agg" {
		sql, err := s.print(list(n, "children")[0].(node))
		if err != nil {
			return "", err
		}
		arg = sql
	}
	if f := sub(n, "filter"); f != nil {
		sql, err := s.print(f)
		if err != nil {
			return "", err
		}
		where = filterOf(sql)
	}
	return "count(" + arg + ")" + where, nil
}

// learnList reads what a list has besides its value: its order, and the separator that
// string_agg puts between elements.
func (b *builder) learnList(c *call, args []node) ([]node, error) {
	c.cap, c.separator = b.q.cap, duckdb.Literal(",")
	c.direction, _ = b.q.listOrder(c.node)
	c.order = " ORDER BY " + rowPosition
	if c.direction != "" {
		c.order = " ORDER BY " + b.time() + " " + c.direction + " NULLS LAST, " + rowPosition
	}
	if len(args) < 2 {
		return args, nil
	}
	wrong := b.q.fail(args[1], "write it in quotes", "the separator of %s is one constant text", c.name)
	wrong.final = true
	if !constant(args[1]) {
		return nil, wrong
	}
	sql, err := b.print(args[1])
	if err != nil {
		return nil, err
	}
	rel, err := b.conn.Collect(b.ctx, "SELECT CAST("+sql+" AS VARCHAR)")
	if err != nil || rel.Len() != 1 {
		return nil, wrong
	}
	separator, ok := rel.Value(0, 0).(string)
	if !ok {
		return nil, wrong
	}
	c.separator = duckdb.Literal(separator)
	return args[:1], nil
}

// Keys are hexadecimal numbers of one width: positions have 126 bits, and times, in
// microseconds, 64; what is added makes each a bit longer than that.
const (
	positionWidth = 32
	positionBase  = "85070591730234615865843651857942052864" // 2^126
	timeWidth     = 17
	timeBase      = "27670116110564327424" // 2^64 + 2^63
	timeTop       = "27670116110564327423"
)

// listKey is an element's key, and its width.
func (b *builder) listKey(direction string) (string, int) {
	position := "hex(" + rowPosition + " + " + positionBase + ")"
	us := "epoch_us(" + b.time() + ")"
	switch direction {
	case "ASC":
		us += " + " + timeBase
	case "DESC":
		us = timeTop + " - " + us
	default:
		return position, positionWidth
	}
	last := duckdb.Literal(strings.Repeat("Z", timeWidth)) // behind every time
	return "coalesce(hex(" + us + "), " + last + ") || " + position, timeWidth + positionWidth
}

// listed is the value of a list, or of a text put together from one.
func (b *builder) listed(c *call) string {
	key, width := b.listKey(c.direction)
	typ := c.typ
	filter := c.filter
	if c.name == "string_agg" {
		typ = event.Type{Kind: event.Varchar}
		filter = "(" + c.arg + ") IS NOT NULL"
		if c.filter != "" {
			filter = "(" + c.filter + ") AND " + filter
		}
		b.remember(filter, true, "FILTER") // the argument and the filter fail on their own
	}
	value := "CAST(" + c.arg + " AS VARCHAR)"
	back := fmt.Sprintf("substr(_v, %d)", width+2)
	if typ.Kind == event.Varchar || typ.Kind == event.JSON {
		value = "replace(replace(" + value + ", " + listFlaw + ", " + listFlaw + " || 'e'), " + listMark + ", " + listFlaw + " || 's')"
		back = "replace(replace(" + back + ", " + listFlaw + " || 's', " + listMark + "), " + listFlaw + " || 'e', " + listFlaw + ")"
	}
	element := key + " || coalesce(':' || " + value + ", '')"
	b.remember(element, true, c.name+" of")
	kept := merged(b.add(slot{op: "list", arg: element, filter: filter, cap: c.cap}))
	all := fmt.Sprintf("list_transform(string_split(%s, %s), lambda _v: CASE WHEN length(_v) > %d THEN CAST(%s AS %s) END)", kept, listMark, width, back, typ)
	if c.name == "string_agg" {
		return "array_to_string(" + all + ", " + c.separator + ")"
	}
	return all
}

// plainList is the list in the view's own SQL.
func (c *call) plainList() string {
	conditions := c.conditions()
	if c.name == "list" {
		return fmt.Sprintf("list_slice(list(%s%s)%s, 1, %d)", c.arg, c.order, filterOf(conditions...), c.cap)
	}
	known := filterOf(append(conditions, "("+c.arg+") IS NOT NULL")...)
	return fmt.Sprintf("array_to_string(list_slice(list(CAST(%s AS VARCHAR)%s)%s, 1, %d), %s)", c.arg, c.order, known, c.cap, c.separator)
}

// firstOf sorts a list of elements and makes the first of them a text again.
func (s slot) firstOf(elements string) string {
	return fmt.Sprintf("array_to_string(list_slice(list_sort(%s), 1, %d), %s)", elements, s.cap, listMark)
}
