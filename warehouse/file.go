package warehouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// inUse tells a file held by another process from a broken one.
func inUse(err error) bool {
	return strings.Contains(err.Error(), "Could not set lock on file")
}

// Damaged tells that the engine found a broken block in the file. Blocks are
// checked when they are read, not when the file is opened.
func Damaged(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Corrupt database file")
}

// prepareFile makes the file's own tables in an empty file, and refuses a file
// of another format.
func prepareFile(ctx context.Context, db *duckdb.DB) error {
	conn, err := db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	err = conn.Exec(ctx, `
		BEGIN;
		CREATE SCHEMA IF NOT EXISTS tw;
		CREATE SCHEMA IF NOT EXISTS facts;
		CREATE SCHEMA IF NOT EXISTS partials;
		CREATE SCHEMA IF NOT EXISTS loose;
		CREATE SCHEMA IF NOT EXISTS errors;
		CREATE TABLE IF NOT EXISTS tw.meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL);
		CREATE TABLE IF NOT EXISTS tw.marks (object VARCHAR NOT NULL, stream VARCHAR NOT NULL, epoch INTEGER NOT NULL, part INTEGER NOT NULL, through BIGINT NOT NULL, merged_rows BIGINT NOT NULL, loose_rows BIGINT NOT NULL);
		CREATE TABLE IF NOT EXISTS tw.origins (stream VARCHAR NOT NULL, table_id VARCHAR NOT NULL, version BIGINT NOT NULL, commit_id VARCHAR NOT NULL);
		INSERT INTO tw.meta SELECT 'format', '`+format+`' WHERE NOT EXISTS (FROM tw.meta WHERE key = 'format');
		COMMIT;`)
	if err != nil {
		return err
	}
	found, err := conn.Collect(ctx, "SELECT value FROM tw.meta WHERE key = 'format'")
	if err != nil {
		return err
	}
	if got := stringAt(found, 0, 0); got != format {
		return fmt.Errorf("the file has format %s, this program writes %s", got, format)
	}
	return nil
}

// sizes are how many partial rows an object has.
type sizes struct{ merged, loose int64 }

// readMarks gives, by object, S and the sizes, as the transaction of the connection
// sees them.
func readMarks(ctx context.Context, conn *duckdb.Conn) (marks map[string]event.Cut, rows map[string]sizes, err error) {
	rel, err := conn.Collect(ctx, marksSQL)
	if err != nil {
		return nil, nil, fmt.Errorf("read marks: %w", err)
	}
	marks, rows = marksOf(rel)
	return marks, rows, nil
}

// marksSQL reads S, and how many partial rows there are, by object.
const marksSQL = "SELECT object, stream, epoch, part, through, merged_rows, loose_rows FROM tw.marks"

// marksOf reads the rows of marksSQL.
func marksOf(rel *duckdb.Relation) (marks map[string]event.Cut, rows map[string]sizes) {
	marks, rows = map[string]event.Cut{}, map[string]sizes{}
	for _, b := range rel.Batches {
		object, stream := b.Column(0).(*array.String), b.Column(1).(*array.String)
		epoch, part := b.Column(2).(*array.Int32), b.Column(3).(*array.Int32)
		through := b.Column(4).(*array.Int64)
		merged, loose := b.Column(5).(*array.Int64), b.Column(6).(*array.Int64)
		for i := range b.Len() {
			// The strings are copied: they would keep the whole batch alive.
			src := event.Source{Stream: strings.Clone(stream.Value(i)), Epoch: uint32(epoch.Value(i)), Partition: uint32(part.Value(i))}
			name := strings.Clone(object.Value(i))
			if marks[name] == nil {
				marks[name] = event.Cut{}
			}
			marks[name][src], rows[name] = uint64(through.Value(i)), sizes{merged.Value(i), loose.Value(i)}
		}
	}
	return marks, rows
}

// An Origin is the commit of a lake table from which the warehouse was last
// advanced.
type Origin struct {
	TableID  string
	Version  int64
	CommitID string
}

// Origins gives the origin of each stream. The caller compares them with the
// lake at start, and calls Recreate on a mismatch.
func (w *Warehouse) Origins(ctx context.Context) (map[string]Origin, error) {
	conn, err := w.db.Connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	rel, err := conn.Collect(ctx, "SELECT stream, table_id, version, commit_id FROM tw.origins")
	if err != nil {
		return nil, fmt.Errorf("warehouse: read origins: %w", err)
	}
	out := map[string]Origin{}
	for _, b := range rel.Batches {
		for i := range b.Len() {
			out[b.Column(0).(*array.String).Value(i)] = Origin{
				TableID:  b.Column(1).(*array.String).Value(i),
				Version:  b.Column(2).(*array.Int64).Value(i),
				CommitID: b.Column(3).(*array.String).Value(i),
			}
		}
	}
	return out, nil
}

// stringAt reads one value of a VARCHAR column; empty if there is no such row.
func stringAt(rel *duckdb.Relation, column, row int) string {
	for _, b := range rel.Batches {
		if row < b.Len() {
			return b.Column(column).(*array.String).Value(row)
		}
		row -= b.Len()
	}
	return ""
}

// int64At reads one value of a BIGINT column; 0 if there is no such row.
func int64At(rel *duckdb.Relation, column, row int) int64 {
	for _, b := range rel.Batches {
		if row < b.Len() {
			return b.Column(column).(*array.Int64).Value(row)
		}
		row -= b.Len()
	}
	return 0
}
