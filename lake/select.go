package lake

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
)

// SelectSQL gives a DuckDB SELECT whose result is the rows of the ranges, with
// the columns of Schema.Relation in order, in their declared types, timestamps
// naive and in UTC. The ranges must not overlap. It reads the files' local copies,
// which LocalPaths fetches now. Without files it is an empty SELECT of the same
// types.
func (s *Snapshot) SelectSQL(ctx context.Context, ranges []event.Range) (string, error) {
	return s.SelectWithin(ctx, ranges, nil)
}

// A Bound is the values that are looked for in a TIMESTAMP column, in µs since 1970;
// math.MinInt64 and math.MaxInt64 stand for none.
type Bound struct{ Least, Greatest int64 }

// Bounds are by the columns' names in lower case.
type Bounds map[string]Bound

// SelectWithin is SelectSQL for those who will leave out rows outside the bounds,
// and those with NULL there: files are left out, and not even fetched, by the statistics
// in the table's log, and the engine skips row groups by theirs, which it cannot do by a
// condition on the columns that the SELECT gives. Columns of other types are not looked at.
func (s *Snapshot) SelectWithin(ctx context.Context, ranges []event.Range, within Bounds) (string, error) {
	for _, r := range ranges {
		if r.Empty() {
			continue
		}
		if _, err := s.covered(r); err != nil {
			return "", err
		}
	}
	overlapping := slices.DeleteFunc(s.Overlapping(ranges), func(f File) bool { return f.outside(within) })
	paths, err := s.LocalPaths(ctx, overlapping)
	if err != nil {
		return "", err
	}
	layouts, err := s.layouts(overlapping, paths)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, l := range layouts {
		if part, some := s.selectFiles(l, ranges, within); some {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return emptySQL(s.Schema.Relation()), nil
	}
	return strings.Join(parts, " UNION ALL "), nil
}

// selectFiles gives the SELECT over the files of a layout; false if none of their rows
// is within the bounds.
func (s *Snapshot) selectFiles(l *layout, ranges []event.Range, within Bounds) (sql string, some bool) {
	var cols, files, where []string
	for _, c := range s.Schema.Relation() {
		if l.lacks[c.Name] {
			cols = append(cols, nullSQL(c))
			continue
		}
		cols = append(cols, columnSQL(c))
	}
	for _, p := range l.paths {
		files = append(files, "'"+strings.ReplaceAll(p, "'", "''")+"'")
	}
	for _, r := range ranges {
		if !r.Empty() {
			where = append(where, fmt.Sprintf("(%s = %d AND %s = %d AND %s > %d AND %s <= %d)",
				event.ColEpoch, r.Epoch, event.ColPartition, r.Partition, event.ColSeq, r.After, event.ColSeq, r.Through))
		}
	}
	condition := strings.Join(where, " OR ")
	if len(where) > 1 {
		condition = "(" + condition + ")"
	}
	if !slices.ContainsFunc(l.files, func(f File) bool {
		return !slices.ContainsFunc(ranges, func(r event.Range) bool { return f.within(r) })
	}) {
		condition = "true" // the positions need not be read
	}
	for _, c := range s.Schema.Columns {
		b, known := within[strings.ToLower(c.Name)]
		if !known || c.Kind != event.Timestamp {
			continue
		}
		if l.lacks[c.Name] {
			return "", false
		}
		if b.Least != math.MinInt64 {
			condition += fmt.Sprintf(" AND %s >= %s", quote(c.Name), instant(b.Least))
		}
		if b.Greatest != math.MaxInt64 {
			condition += fmt.Sprintf(" AND %s <= %s", quote(c.Name), instant(b.Greatest))
		}
	}
	// Without hive_partitioning = false, a directory named a=b would be a column.
	return fmt.Sprintf("SELECT %s FROM read_parquet([%s], hive_partitioning = false) WHERE %s",
		strings.Join(cols, ", "), strings.Join(files, ", "), condition), true
}

// instant writes a TIMESTAMPTZ, which is what a Parquet column of instants is read as.
func instant(us int64) string {
	return "TIMESTAMPTZ '" + time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05.999999") + "+00'"
}

// columnSQL gives a column in its declared type. A cast that changes nothing is
// removed by the engine. Timestamps in Parquet are instants: epoch_us takes them
// apart without regard to a session's time zone.
func columnSQL(c event.Column) string {
	name := quote(c.Name)
	if c.Kind == event.Timestamp {
		return fmt.Sprintf("make_timestamp(epoch_us(%s)) AS %s", name, name)
	}
	return fmt.Sprintf("CAST(%s AS %s) AS %s", name, c.Type, name)
}

func emptySQL(columns []event.Column) string {
	var cols []string
	for _, c := range columns {
		cols = append(cols, nullSQL(c))
	}
	return "SELECT " + strings.Join(cols, ", ") + " WHERE false"
}

func nullSQL(c event.Column) string {
	return fmt.Sprintf("CAST(NULL AS %s) AS %s", c.Type, quote(c.Name))
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
