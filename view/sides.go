package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What depends on all values of a group (distinct values, quantiles, the mode) is kept
// as rows of their own, one for each value, beside the group's: side rows. They have
// the number of their side in the column side, the value in v0, v1, …, and how often
// it occurs in a slot. A group's own row has baseSide there, and no value. So partial
// rows stay plain columns that are merged by GROUP BY, whatever the aggregate.

// A side is one expression whose values are kept.
type side struct {
	value  string // SQL over relEvents
	filter string // without it, all events
	count  int    // the slot that counts them; first, with the first position, is -1 if nobody asked
	first  int
}

func valueName(i int) string { return "v" + strconv.Itoa(i) }

// sideID is GROUPING_ID of the rows of a side, of n: the bit of each value by which
// they are not grouped. sideID(n, n) is that of the groups' own rows.
func sideID(i, n int) int {
	all := 1<<n - 1
	if i == n {
		return all
	}
	return all &^ (1 << (n - 1 - i))
}

// sideOf finds or makes the side of a value.
func (b *builder) sideOf(value, filter string) int {
	i := slices.IndexFunc(b.sides, func(s side) bool { return s.value == value && s.filter == filter })
	if i < 0 {
		i = len(b.sides)
		b.sides = append(b.sides, side{value: value, filter: filter, first: -1})
		b.sides[i].count = b.add(slot{op: "count", side: i + 1})
	}
	return i
}

// folded adds a column to the merged groups, computed from side rows, and gives it.
func (b *builder) folded(sql string) string {
	i := slices.Index(b.folds, sql)
	if i < 0 {
		i = len(b.folds)
		b.folds = append(b.folds, sql)
	}
	return relMerged + "." + foldName(i)
}

func foldName(i int) string { return "d" + strconv.Itoa(i) }

// ofValues is the value of a call that is computed from side rows.
func (b *builder) ofValues(c *call) string {
	value := c.arg
	switch c.name {
	case "approx_count_distinct":
		value = leastBucket(c.arg)
		b.remember(value, c.safe, c.name+" of")
	case "approx_quantile":
		value = bucket(c.arg)
		b.remember(value, c.safe, c.name+" of")
	}
	i := b.sideOf(value, c.filter)
	v, count := valueName(i), slotName(b.sides[i].count)
	where := func(more ...string) string {
		return filterOf(append([]string{"side = " + sideMark(i), v + " IS NOT NULL"}, more...)...)
	}
	running, total := "_running_"+strconv.Itoa(i), "_total_"+strconv.Itoa(i)
	// The least value up to which more than so many lie.
	least := func(rank string) string {
		if !slices.Contains(b.ranked, i) {
			b.ranked = append(b.ranked, i)
		}
		return "min(" + v + ")" + where(running+" > "+rank)
	}
	q := number(c.constant)
	disc := "greatest(1, " + total + " - floor(" + total + " - " + q + " * " + total + ")) - 1"
	switch c.name {
	case "count":
		return "coalesce(" + b.folded("count("+v+")"+where()) + ", 0)"
	case "sum", "avg", "mean":
		return b.folded(c.name + "(" + v + ")" + where())
	case "mode":
		if b.sides[i].first < 0 {
			b.remember(rowPosition, true, "position")
			b.sides[i].first = b.add(slot{op: "min", arg: rowPosition, side: i + 1})
		}
		return b.folded("arg_max(" + v + ", {'c': " + count + ", 'p': -" + slotName(b.sides[i].first) + "})" + where())
	case "histogram":
		return b.folded("map_from_entries(list({'k': " + v + ", 'v': CAST(" + count + " AS UBIGINT)} ORDER BY " + v + ")" + where() + ")")
	case "quantile_disc":
		return b.folded(least(disc))
	case "approx_quantile":
		return unbucket(b.folded(least(disc)))
	case "approx_count_distinct":
		hash := leastHash(c.arg)
		b.remember(hash, c.safe, c.name+" of")
		h := slotName(b.add(slot{op: "min", arg: hash, side: i + 1}))
		return "coalesce(" + estimate(b.folded("count("+v+")"+where()), b.folded("sum("+h+")"+where())) + ", 0)"
	}
	if c.name == "median" {
		q = "0.5"
	}
	at := "(" + q + " * (" + total + " - 1))"
	low, high := b.folded(least("floor("+at+")")), b.folded(least("ceil("+at+")"))
	between := b.folded("max(" + at + " - floor(" + at + "))" + where())
	// As DuckDB weighs them: a difference of the two is no number where one is infinite.
	return "CASE WHEN " + low + " = " + high + " THEN CAST(" + low + " AS DOUBLE) ELSE CAST(" + low + " AS DOUBLE) * (1 - " + between + ") + CAST(" + high + " AS DOUBLE) * " + between + " END"
}

// sideMark stands for the id of a side until all sides are known.
func sideMark(i int) string { return "<side " + strconv.Itoa(i) + ">" }

func (b *builder) withSides(sql string) string {
	for i := range b.sides {
		sql = strings.ReplaceAll(sql, sideMark(i), strconv.Itoa(sideID(i, len(b.sides))))
	}
	return sql
}

func number(f float64) string { return "CAST(" + strconv.FormatFloat(f, 'g', -1, 64) + " AS DOUBLE)" }

// Approximate distinct values: of 2^14 buckets, by the first bits of the hash, the
// least hash in each. Its distance from the bucket's beginning says how full the
// bucket is (Giroire 2009, order statistics); the standard error is 0.81 %.
const distinctBits = 14

func leastBucket(arg string) string {
	return fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN CAST(hash(%s) >> %d AS INTEGER) END", arg, arg, 64-distinctBits)
}

// leastHash is the 32 bits behind those of the bucket.
func leastHash(arg string) string {
	return fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN CAST((hash(%s) >> %d) & 4294967295 AS BIGINT) END", arg, arg, 32-distinctBits)
}

// estimate is the number of distinct values with so many buckets filled and this sum
// of their least hashes: buckets · filled / (Σ fractions + empty).
func estimate(filled, sum string) string {
	const buckets = 1 << distinctBits
	return fmt.Sprintf("CAST(round(CASE WHEN %[1]s = 0 THEN 0 ELSE %[3]d * CAST(%[1]s AS DOUBLE) / (%[2]s / 4294967296.0 + (%[3]d - %[1]s)) END) AS BIGINT)", filled, sum, buckets)
}

// Approximate quantiles: exact ones of buckets whose bounds grow by γ = 1.01/0.99, so
// that a bucket's middle is within 1 % of its values (DDSketch: Masson, Rim and Lee
// 2019). Zero, signs and what is not finite have places of their own.
const (
	bucketLog  = "0.020000666706669543" // ln(1.01/0.99)
	bucketZero = 100_000                // beyond every ln(x)/ln γ of a DOUBLE
	bucketInf  = 1_000_000
	bucketNaN  = 2_000_000
)

func bucket(arg string) string {
	x := "CAST(" + arg + " AS DOUBLE)"
	magnitude := fmt.Sprintf("(%d + CAST(ceil(ln(abs(%s)) / %s) AS INTEGER))", bucketZero, x, bucketLog)
	return fmt.Sprintf("CASE WHEN %[1]s IS NULL THEN NULL WHEN isnan(%[1]s) THEN %[2]d WHEN isinf(%[1]s) THEN sign(%[1]s) * %[3]d WHEN %[1]s = 0 THEN 0 WHEN %[1]s > 0 THEN %[4]s ELSE -%[4]s END",
		x, bucketNaN, bucketInf, magnitude)
}

// unbucket is the middle of a bucket.
func unbucket(b string) string {
	middle := fmt.Sprintf("0.99 * exp((abs(%s) - %d) * %s)", b, bucketZero, bucketLog)
	return fmt.Sprintf("CASE WHEN %[1]s IS NULL THEN NULL WHEN %[1]s = %[2]d THEN CAST('nan' AS DOUBLE) WHEN abs(%[1]s) = %[3]d THEN sign(%[1]s) * CAST('inf' AS DOUBLE) WHEN %[1]s = 0 THEN 0.0 ELSE sign(%[1]s) * %[4]s END",
		b, bucketNaN, bucketInf, middle)
}

// sidesSQL makes events → partial rows and side rows, in one scan: GROUPING SETS.
func (b *builder) sidesSQL(p parts, row func(string) string) template {
	var values, columns, sets []string
	for _, s := range b.sides {
		value := row(s.value)
		if s.filter != "" {
			value = "CASE WHEN " + row(s.filter) + " THEN " + value + " END"
		}
		if slices.Contains(p.group, value) { // a key, by which all rows are grouped
			value = "CASE WHEN true THEN " + value + " END"
		}
		values = append(values, value)
	}
	id := "GROUPING_ID(" + strings.Join(values, ", ") + ")"
	for i, g := range p.group {
		columns = append(columns, g+" AS "+p.names[i])
	}
	columns = append(columns, "CAST("+id+" AS INTEGER) AS side")
	for i, v := range values {
		columns = append(columns, v+" AS "+valueName(i))
	}
	for i, s := range b.slots {
		of := len(b.sides)
		if s.side > 0 {
			of = s.side - 1
		}
		columns = append(columns, fmt.Sprintf("CASE WHEN %s = %d THEN %s END AS %s", id, sideID(of, len(b.sides)), s.partial(row), slotName(i)))
	}
	for i := range len(values) + 1 {
		set := slices.Clone(p.group)
		if i < len(values) {
			set = append(set, values[i])
		}
		sets = append(sets, "("+strings.Join(set, ", ")+")")
	}
	return template{"SELECT " + strings.Join(columns, ", ") + p.from.before, p.from.after + " GROUP BY GROUPING SETS (" + strings.Join(sets, ", ") + ")"}
}

// partialKey are the columns that identify a partial row.
func (b *builder) partialKey() []string {
	out := b.groupColumns()
	if len(b.sides) == 0 {
		return out
	}
	out = append(out, "side")
	for i := range b.sides {
		out = append(out, valueName(i))
	}
	return out
}

// fold makes merged rows of windows, with their side rows, → one row for each window
// and keys. The zero template is for views without sides.
func (b *builder) fold() template {
	if len(b.sides) == 0 {
		return template{}
	}
	group := b.finishColumns()
	columns := slices.Clone(group)
	own := filterOf(fmt.Sprintf("side = %d", sideID(len(b.sides), len(b.sides))))
	for i, s := range b.slots {
		value := "any_value(" + slotName(i) + ")" + own
		switch {
		case s.side > 0:
			continue
		case s.op == "count":
			value = "coalesce(" + value + ", 0)"
		}
		columns = append(columns, value+" AS "+slotName(i))
	}
	for i, f := range b.folds {
		columns = append(columns, b.withSides(f)+" AS "+foldName(i))
	}
	var ranks []string
	for _, i := range b.ranked {
		known := fmt.Sprintf("sum(CASE WHEN %s IS NOT NULL THEN %s END) OVER (%s", valueName(i), slotName(b.sides[i].count), over(append(slices.Clone(group), "side")))
		ranks = append(ranks, fmt.Sprintf("%sORDER BY %s) AS _running_%d", known, valueName(i), i), fmt.Sprintf("%s) AS _total_%d", known, i))
	}
	t := template{"SELECT " + strings.Join(columns, ", ") + " FROM ", " AS _p"}
	if len(ranks) > 0 {
		t.before += "(SELECT *, " + strings.Join(ranks, ", ") + " FROM "
		t.after += ") AS _q"
	}
	if len(group) > 0 {
		t.after += " GROUP BY " + strings.Join(group, ", ")
	}
	return t
}

// leasts adds, to the events of a view's own SQL, the least hash of each bucket of
// each group, on one event of it: what approximate distinct values are computed from.
func (b *builder) leasts(group []string) template {
	var columns []string
	for _, c := range b.ordered {
		if c.name != "approx_count_distinct" {
			continue
		}
		bucket, hash := leastBucket(c.arg), leastHash(c.arg)
		if c.filter != "" {
			hash = "CASE WHEN " + c.filter + " THEN " + hash + " END"
		}
		per := append(slices.Clone(group), bucket)
		columns = append(columns, fmt.Sprintf("CASE WHEN row_number() OVER (%sORDER BY %s) = 1 THEN %s END AS %s", over(per), hash, hash, strings.TrimPrefix(c.least, relEvents+".")))
	}
	if len(columns) == 0 {
		return template{}
	}
	return template{"SELECT *, " + strings.Join(columns, ", ") + " FROM ", " AS " + relEvents}
}

// mergedStub is a FROM item with the columns of the rows that finish takes, and none.
func (b *builder) mergedStub(p *Plan) (string, error) {
	rows := stub(p.merged(), "p")
	if p.stmts.fold == (template{}) {
		return rows, nil
	}
	columns, err := b.conn.Describe(b.ctx, p.stmts.fold.over(rows))
	if err != nil {
		return "", err
	}
	items := make([]string, len(columns))
	for i, c := range columns {
		items[i] = "CAST(NULL AS " + c.SQLType + ") AS " + c.Name
	}
	return "(SELECT " + strings.Join(items, ", ") + " WHERE false) AS p", nil
}
