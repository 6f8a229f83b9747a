package project

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// ReferenceDir holds the project's reference tables: reference/NAME.csv, .parquet, or
// .sql, a SELECT over the others.
const ReferenceDir = "reference"

// referenceBytesMax bounds a file: its rows are held in memory.
const referenceBytesMax = 64 << 20

// A Reference is a small table of the project's own, which queries join: countries,
// tariffs, names of devices. It is read when the project is loaded.
type Reference struct {
	Name string
	File string // relative to the project's folder, with slashes
	// SQL, unless empty, computes the table from others. Whether the engine takes it is
	// for serving to say, which has the gate and sets Version and Rows.
	SQL string
	// Version is the SHA-256 of the file, or of the rows that were computed, its first
	// 16 hexadecimal digits: another content is another version.
	Version string
	Rows    *duckdb.Relation
}

// loadReferences reads the reference tables.
func (l *loader) loadReferences(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, ReferenceDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		l.problem(ReferenceDir, place{}, err.Error(), "")
		return nil
	}
	absolute, err := filepath.Abs(filepath.Join(dir, ReferenceDir))
	if err != nil {
		return err
	}
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, MemoryLimit: "512MB", AllowedDirs: []string{absolute}, Locked: true})
	if err != nil {
		return fmt.Errorf("open an engine to read reference tables: %w", err)
	}
	defer db.Close()
	for _, e := range entries {
		extension := filepath.Ext(e.Name())
		base := strings.TrimSuffix(e.Name(), extension)
		if e.IsDir() || strings.HasPrefix(base, ".") || extension != ".csv" && extension != ".parquet" && extension != ".sql" {
			continue
		}
		file := ReferenceDir + "/" + e.Name()
		if !l.claim(base, file) {
			continue
		}
		l.broken[strings.ToLower(base)] = true // until it is read
		if extension == ".sql" {
			text, err := readFile(filepath.Join(absolute, e.Name()))
			if err != nil || strings.TrimSpace(text) == "" {
				l.problem(file, place{}, textOfError(err, "the file is empty"), "write one SELECT over other reference tables into it")
				continue
			}
			delete(l.broken, strings.ToLower(base))
			l.project.References = append(l.project.References, &Reference{Name: base, File: file, SQL: text})
			continue
		}
		r, err := readReference(ctx, db, filepath.Join(absolute, e.Name()))
		var engine *duckdb.Error
		switch {
		case errors.As(err, &engine):
			message, _, _ := strings.Cut(engine.Message, "\nLINE ") // which quotes a statement of ours
			l.problem(file, place{}, strings.TrimSpace(strings.ReplaceAll(message, absolute+string(filepath.Separator), "")), "")
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			l.problem(file, place{}, err.Error(), "")
		default:
			delete(l.broken, strings.ToLower(base))
			r.Name, r.File = base, file
			l.project.References = append(l.project.References, r)
		}
	}
	slices.SortFunc(l.project.References, func(a, b *Reference) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// textOfError gives an error's text, or else another.
func textOfError(err error, otherwise string) string {
	if err != nil {
		return err.Error()
	}
	return otherwise
}

// readReference reads a file. CSV has a header; its types are the engine's guess, of
// all rows, so that the same content always has the same types.
func readReference(ctx context.Context, db *duckdb.DB, path string) (*Reference, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > referenceBytesMax {
		return nil, fmt.Errorf("the file has %d bytes, a reference table has at most %d; send what is larger to a stream", info.Size(), referenceBytesMax)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	conn, err := db.Connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	from := "read_parquet(" + duckdb.Literal(path) + ")"
	if filepath.Ext(path) == ".csv" {
		from = "read_csv(" + duckdb.Literal(path) + ", header = true, delim = ',', quote = '\"', escape = '\"', sample_size = -1)"
	}
	columns, err := conn.Columns(ctx, "SELECT * FROM "+from)
	if err != nil {
		return nil, err
	}
	var items []string
	for _, c := range columns {
		item := duckdb.Ident(c.Name)
		if _, err := duckdb.ParseType(c.SQLType); err != nil {
			return nil, fmt.Errorf("the column %s has the type %s, which no table here can have; store it as text or a number", c.Name, c.SQLType)
		}
		items = append(items, item)
	}
	rel, err := conn.Collect(ctx, "SELECT "+strings.Join(items, ", ")+" FROM "+from)
	if err != nil {
		return nil, err
	}
	return &Reference{Version: hex.EncodeToString(sum[:8]), Rows: rel}, nil
}
