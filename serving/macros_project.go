package serving

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/macro"
)

// The project's own macros are written out before the statement is checked, as those
// of macros.go are, and are trusted no more than what the user wrote.

// expandMacros writes the project's macros out, in place.
func (g *Gate) expandMacros(ctx context.Context, sql string, statement any) error {
	if g.macros == nil {
		return nil
	}
	conn, err := g.db.Connect()
	if err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	defer conn.Close()
	err = g.macros.Expand(ctx, conn, statement)
	var wrong *macro.Error
	if errors.As(err, &wrong) {
		return &Refusal{Code: "bad_argument", Message: wrong.Message, Hint: wrong.Hint, Position: charAt(sql, wrong.Offset)}
	}
	return err
}

// temporaryMacros makes the macros for one connection, to bind what a user wrote.
func (g *Gate) temporaryMacros(ctx context.Context, conn *duckdb.Conn) (string, error) {
	statements, err := g.macros.Statements(func(expr map[string]any) (string, error) { return macro.Print(ctx, conn, expr) })
	return strings.Join(statements, ";\n"), err
}
