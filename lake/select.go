package lake

import (
	"context"
	"fmt"
	"strings"

	"github.com/tailwater/tailwater/event"
)

// SelectSQL gives a DuckDB SELECT whose result is the rows of the ranges, with
// the columns of Schema.Relation in order, in their declared types, timestamps
// naive and in UTC. The ranges must not overlap. It reads the files' local copies,
// which LocalPaths fetches now. Without files it is an empty SELECT of the same
// types.
func (s *Snapshot) SelectSQL(ctx context.Context, ranges []event.Range) (string, error) {
	for _, r := range ranges {
		if r.Empty() {
			continue
		}
		if _, err := s.covered(r); err != nil {
			return "", err
		}
	}
	paths, err := s.LocalPaths(ctx, s.Overlapping(ranges))
	if err != nil {
		return "", err
	}
	if len(paths) == 0 {
		return emptySQL(s.Schema.Relation()), nil
	}
	var cols, files, where []string
	for _, c := range s.Schema.Relation() {
		cols = append(cols, columnSQL(c))
	}
	for _, p := range paths {
		files = append(files, "'"+strings.ReplaceAll(p, "'", "''")+"'")
	}
	for _, r := range ranges {
		if !r.Empty() {
			where = append(where, fmt.Sprintf("(%s = %d AND %s = %d AND %s > %d AND %s <= %d)",
				event.ColEpoch, r.Epoch, event.ColPartition, r.Partition, event.ColSeq, r.After, event.ColSeq, r.Through))
		}
	}
	// Without hive_partitioning = false, a directory named a=b would be a column.
	return fmt.Sprintf("SELECT %s FROM read_parquet([%s], hive_partitioning = false) WHERE %s",
		strings.Join(cols, ", "), strings.Join(files, ", "), strings.Join(where, " OR ")), nil
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
		cols = append(cols, fmt.Sprintf("CAST(NULL AS %s) AS %s", c.Type, quote(c.Name)))
	}
	return "SELECT " + strings.Join(cols, ", ") + " WHERE false"
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
