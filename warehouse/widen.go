package warehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// Widen gives the facts of a stream the columns that it has gained; they are NULL in the
// rows that are there. The partial rows of views are not touched: a view that reads a
// new column is another version. It is to be called before facts are read or added,
// and is harmless where nothing is missing.
func (w *Warehouse) Widen(ctx context.Context, s *event.Schema) error {
	w.advancing.Lock()
	defer w.advancing.Unlock()
	if w.db == nil {
		return errors.New("warehouse: closed")
	}
	conn, err := w.db.Connect()
	if err != nil {
		return fmt.Errorf("warehouse: connect: %w", err)
	}
	defer conn.Close() // rolls an unfinished transaction back
	if err := conn.Exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return fmt.Errorf("warehouse: begin: %w", err)
	}
	have, err := factsColumns(ctx, conn, s.Stream)
	if err != nil {
		return fmt.Errorf("warehouse: columns of the facts of %s: %w", s.Stream, err)
	}
	if len(have) == 0 {
		return nil // the batch run that makes the table makes it with all of them
	}
	for _, c := range s.Relation() {
		if slices.Contains(have, c.Name) {
			continue
		}
		if err := conn.Exec(ctx, "ALTER TABLE "+factsTable(s.Stream)+" ADD COLUMN "+duckdb.Ident(c.Name)+" "+c.Type.String()); err != nil {
			return fmt.Errorf("warehouse: add column %s to the facts of %s: %w", c.Name, s.Stream, err)
		}
	}
	if err := conn.Exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("warehouse: commit: %w", err)
	}
	return nil
}

// factsColumns gives the names of the columns of a stream's facts; none if there is no
// table.
func factsColumns(ctx context.Context, conn *duckdb.Conn, stream string) ([]string, error) {
	rel, err := conn.Collect(ctx, "SELECT column_name FROM duckdb_columns() WHERE schema_name = 'facts' AND table_name = "+duckdb.Literal(stream))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, b := range rel.Batches {
		names := b.Column(0).(*array.String)
		for i := range names.Len() {
			out = append(out, names.Value(i))
		}
	}
	return out, nil
}
