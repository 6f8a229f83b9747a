package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving"
)

// Kinds of statements, for metrics and for who answers.
const (
	kindSession   = "session"
	kindData      = "data"
	kindCatalogue = "catalogue"
)

// A statement is one that was parsed, and can be run with arguments.
type statement struct {
	piece
	kind       string
	parameters []uint32 // object ids of their types
	// columns is nil if there are no rows; known once the statement was described.
	columns []column
	// open runs the statement. A nil source means that there are no rows; then, or
	// instead of SELECT, tag says what was done.
	open func(ctx context.Context, ss *session, args []argument) (src *source, tag string, err error)
	// endsBlock lets it run in a block that has failed.
	endsBlock  bool
	copy       bool
	copyFormat copyFormat
}

func (st *statement) empty() bool { return len(st.words) == 0 }

// highestParameter gives the n of the highest $n in the text.
func (p piece) highestParameter() int {
	highest := 0
	for _, t := range p.words {
		if t.kind == tokenParameter {
			if n, err := strconv.Atoi(t.text[1:]); err == nil {
				highest = max(highest, n)
			}
		}
	}
	return highest
}

// maxParameters is as many as a Bind message can carry.
const maxParameters = 65_535

// plan decides who answers a statement. With prepare it is also bound, so that
// parameters and columns are known and what is wrong is said now; without, running
// it says that.
func (ss *session) plan(p piece, oids []uint32, prepare bool) (*statement, error) {
	if len(p.words) == 0 {
		return &statement{piece: p, kind: kindSession}, nil
	}
	if err := ss.allowed(); err != nil {
		return nil, err
	}
	if st, err := ss.local(p); st != nil || err != nil {
		return st, err
	}
	if ss.tx == 'E' {
		return nil, &wireError{code: codeFailedTransaction, message: "current transaction is aborted, commands ignored until end of transaction block"}
	}
	n := p.highestParameter()
	if n > maxParameters {
		return nil, &wireError{code: codeUnknownParameter, message: fmt.Sprintf("there is no parameter $%d", n)}
	}
	if ss.Catalog.concerns(p) {
		st, err := ss.catalogueStatement(p, oids, prepare)
		if err == nil || !isUnknownTable(err) {
			return st, err
		}
		// It names something of the catalogue, and a table that is not of it: the
		// core knows, or says best what is wrong.
		if st, coreErr := ss.dataStatement(p, oids, prepare); coreErr == nil {
			return st, nil
		}
		return nil, err
	}
	return ss.dataStatement(p, oids, prepare)
}

// isUnknownTable reports whether the catalogue does not know a table.
func isUnknownTable(err error) bool {
	var r *serving.Refusal
	return errors.As(err, &r) && r.Code == "unknown_table"
}

// dataStatement is a statement that the core answers.
func (ss *session) dataStatement(p piece, oids []uint32, prepare bool) (*statement, error) {
	st := &statement{piece: p, kind: kindData, parameters: parameterTypes(oids, p.highestParameter())}
	arrayParameters(p, st.parameters)
	sql := inMain(p)
	st.open = func(ctx context.Context, ss *session, args []argument) (*source, string, error) {
		src, err := ss.data(ctx, sql, args)
		return src, "", err
	}
	if !prepare {
		return st, nil
	}
	ctx, done := ss.limited()
	defer done()
	prepared, err := ss.Queries.Prepare(ctx, sql)
	if err != nil {
		return nil, because(ctx, err)
	}
	for i, c := range prepared.Parameters {
		if i < len(st.parameters) && st.parameters[i] == 0 {
			st.parameters[i] = parameterOID(c.Type)
		}
	}
	defaultTypes(st.parameters)
	st.columns = columnsOf(prepared.Columns)
	return st, nil
}

// because gives why ctx ended, if it did, instead of what came of that.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// limited gives the context of work that is no portal's.
func (ss *session) limited() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ss.base)
	ss.running(cancel)
	timed, stop := context.WithTimeoutCause(ctx, ss.settings.timeout(), errTimeout)
	return timed, func() {
		ss.running(nil)
		stop()
		cancel(nil)
	}
}

// data runs a statement in the core, in a block at the cut of the block's first.
func (ss *session) data(ctx context.Context, sql string, args []argument) (*source, error) {
	r := serving.SQLRequest{SQL: sql, Parameters: args, Timeout: ss.settings.timeout()}
	if ss.tx == 'T' {
		r.At = ss.cut
	}
	a, err := ss.Queries.SQL(ctx, r)
	if err != nil {
		return nil, because(ctx, err)
	}
	if ss.tx == 'T' && ss.cut == nil {
		ss.cut = a.Cut
	}
	src := &source{columns: columnsOf(a.Columns), next: a.Next, close: a.Close, cut: a.Cut}
	if !a.Complete {
		src.warning = "the answer is incomplete: the layers do not cover every position through its cut, and numbers may be low"
	}
	return src, nil
}

// inMain writes the schema public, under which clients find the tables, as the
// engine's main, and the literals of arrays as the engine's. The text keeps its
// length where it can, so that positions stay right.
func inMain(p piece) string {
	var sb strings.Builder
	last := 0
	put := func(t token, text string) {
		sb.WriteString(p.sql[last:t.at] + text)
		last = t.at + len(t.text)
	}
	for i, t := range p.words {
		public := t.kind == tokenWord && strings.EqualFold(t.text, "public") || t.text == `"public"`
		switch {
		case public && p.word(i+1).is(".") && !p.word(i-1).is("."):
			put(t, "main"+strings.Repeat(" ", len(t.text)-len("main")))
		case t.kind == tokenString && strings.HasPrefix(t.text, "'{") && p.word(i+1).is("::") && p.word(i+3).is("["):
			if list, err := arrayLiteral(t.value()); err == nil {
				put(t, duckdb.Literal(list))
			}
		}
	}
	return sb.String() + p.sql[last:]
}

// parameterTypes gives n types, those of the client first; 0 is for unknown.
func parameterTypes(oids []uint32, n int) []uint32 {
	out := make([]uint32, max(n, len(oids)))
	copy(out, oids)
	for i, oid := range out {
		if oid == pgtype.UnknownOID {
			out[i] = 0
		}
	}
	return out
}

// arrayParameters finds the types of parameters that are cast to arrays, $1::int[]:
// the engine has no word for them.
func arrayParameters(p piece, oids []uint32) {
	for i, t := range p.words {
		n, err := strconv.Atoi(strings.TrimPrefix(t.text, "$"))
		if t.kind != tokenParameter || err != nil || n < 1 || oids[n-1] != 0 || !p.word(i+1).is("::") || !p.word(i+3).is("[") {
			continue
		}
		oids[n-1] = arrayNames[p.word(i+2).name()]
	}
}

// arrayNames are the array types by the names of their elements.
var arrayNames = map[string]uint32{
	"bool": pgtype.BoolArrayOID, "boolean": pgtype.BoolArrayOID, "int2": pgtype.Int2ArrayOID, "smallint": pgtype.Int2ArrayOID,
	"int": pgtype.Int4ArrayOID, "int4": pgtype.Int4ArrayOID, "integer": pgtype.Int4ArrayOID, "int8": pgtype.Int8ArrayOID, "bigint": pgtype.Int8ArrayOID,
	"real": pgtype.Float4ArrayOID, "float": pgtype.Float4ArrayOID, "float4": pgtype.Float4ArrayOID, "double": pgtype.Float8ArrayOID, "float8": pgtype.Float8ArrayOID,
	"text": pgtype.TextArrayOID, "varchar": pgtype.TextArrayOID,
}

// defaultTypes makes text of what nobody knows.
func defaultTypes(oids []uint32) {
	for i, oid := range oids {
		if oid == 0 {
			oids[i] = pgtype.TextOID
		}
	}
}

func textBatch(columns []event.Column, rows [][]string) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	defer b.Release()
	for _, r := range rows {
		for i, v := range r {
			b.Field(i).(*array.StringBuilder).Append(v)
		}
	}
	return b.NewRecordBatch()
}
