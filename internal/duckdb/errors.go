package duckdb

import (
	"context"
	"strings"
)

// An Error is an error of the engine, or of a statement that was cancelled.
type Error struct {
	// Type is DuckDB's class of error without the word "Error": "Parser",
	// "Binder", "Catalog", "Conversion", "Out of Range", "Out of Memory",
	// "IO", "Permission", "TransactionContext", "INTERRUPT", …
	Type string
	// Message is DuckDB's text without the class, with its candidates and
	// the line that points at the place.
	Message string
	// causes are what ended the context, if that is why the statement failed.
	causes []error
}

func (e *Error) Error() string {
	if e.Type == "" {
		return e.Message
	}
	return e.Type + " Error: " + e.Message
}

// Unwrap gives the context's error and its cause, for a cancelled statement.
func (e *Error) Unwrap() []error { return e.causes }

// newError splits "Binder Error: text" into class and text.
func newError(text string) *Error {
	class, rest, ok := strings.Cut(text, " Error: ")
	if !ok || len(class) > 40 || strings.Contains(class, "\n") {
		return &Error{Message: text}
	}
	return &Error{Type: class, Message: rest}
}

// failure gives the error of a statement under ctx: the engine's, which says
// that the context ended if it did.
func failure(ctx context.Context, text string) error {
	e := newError(text)
	if ctx.Err() != nil {
		e.causes = []error{ctx.Err()}
		if cause := context.Cause(ctx); cause != ctx.Err() {
			e.causes = append(e.causes, cause)
		}
		e.Type, e.Message = "", "statement stopped: "+context.Cause(ctx).Error()
	}
	return e
}

// A ParseError says that a statement could not be parsed.
type ParseError struct {
	Message string
	// Position is where, in characters from 0; -1 if it is not known.
	Position int
}

func (e *ParseError) Error() string { return e.Message }
