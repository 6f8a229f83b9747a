package postgres

import (
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tailwater/tailwater/event"
)

// A column is a column of a result as clients see it.
type column struct {
	name   string
	oid    uint32
	size   int16 // bytes of a value; -1 if they differ
	typmod int32 // precision and scale of a numeric; -1 for none
	typ    event.Type
	// element is the type of an array's elements; such a column arrives as JSON.
	element uint32
}

// wireType is how a type of answers is announced.
type wireType struct {
	oid  uint32
	size int16
}

// wireTypes pairs the types of answers with Postgres'. A TIMESTAMP has no zone
// in Tailwater, and is UTC.
var wireTypes = map[event.Kind]wireType{
	event.Boolean: {pgtype.BoolOID, 1},
	event.TinyInt: {pgtype.Int2OID, 2}, event.SmallInt: {pgtype.Int2OID, 2}, event.Integer: {pgtype.Int4OID, 4}, event.BigInt: {pgtype.Int8OID, 8},
	event.HugeInt: {pgtype.NumericOID, -1}, event.Decimal: {pgtype.NumericOID, -1},
	event.Float: {pgtype.Float4OID, 4}, event.Double: {pgtype.Float8OID, 8},
	event.Varchar: {pgtype.TextOID, -1}, event.JSON: {pgtype.JSONOID, -1}, event.Blob: {pgtype.ByteaOID, -1},
	event.Date: {pgtype.DateOID, 4}, event.Timestamp: {pgtype.TimestampOID, 8},
}

// columnsOf announces the columns of an answer.
func columnsOf(columns []event.Column) []column {
	out := make([]column, len(columns))
	for i, c := range columns {
		out[i] = columnOf(c.Name, c.Type)
		if c.Name == "count_star()" { // the engine's name of count(*), which nobody else expects
			out[i].name = "count"
		}
	}
	return out
}

func columnOf(name string, t event.Type) column {
	w := wireTypes[t.Kind]
	return column{name: name, oid: w.oid, size: w.size, typmod: typmod(t), typ: t}
}

// typmod is how Postgres writes a numeric's precision and scale.
func typmod(t event.Type) int32 {
	if t.Kind == event.Decimal {
		return int32(t.Precision)<<16 | int32(t.Scale) + 4
	}
	return -1
}

// parameterOID is what a statement's parameter of an inferred type is announced
// as. A client that knows about zones sends an instant for a timestamptz, and the
// engine reads it as UTC; for a timestamp it would send the hands of its clock.
func parameterOID(t event.Type) uint32 {
	if t.Kind == event.Timestamp {
		return pgtype.TimestamptzOID
	}
	if w, ok := wireTypes[t.Kind]; ok {
		return w.oid
	}
	return pgtype.TextOID
}

// catalogTypes pairs types of the catalogue's columns, as the engine prints them,
// with Postgres', where columnOf would say something else.
var catalogTypes = map[string]wireType{
	"UINTEGER":  {pgtype.OIDOID, 4},
	"UBIGINT":   {pgtype.Int8OID, 8},
	"UTINYINT":  {pgtype.Int2OID, 2},
	"USMALLINT": {pgtype.Int4OID, 4},
}

// arrayTypes pairs lists with arrays, and those with their elements.
var arrayTypes = map[string]struct{ array, element uint32 }{
	"VARCHAR[]":  {pgtype.TextArrayOID, pgtype.TextOID},
	"SMALLINT[]": {pgtype.Int2ArrayOID, pgtype.Int2OID},
	"INTEGER[]":  {pgtype.Int4ArrayOID, pgtype.Int4OID},
	"BIGINT[]":   {pgtype.Int8ArrayOID, pgtype.Int8OID},
	"UINTEGER[]": {pgtype.OIDArrayOID, pgtype.OIDOID},
}

// engineTypes are the types to which a parameter's text is cast in the engine, by
// the type that the client says it has. Text is not among them: drivers send text
// for whatever they cannot name, and Postgres' own literals are untyped too.
var engineTypes = map[uint32]string{
	pgtype.DateOID: "DATE", pgtype.TimestampOID: "TIMESTAMP", pgtype.TimestamptzOID: "TIMESTAMP WITH TIME ZONE",
	pgtype.TimeOID: "TIME", pgtype.IntervalOID: "INTERVAL", pgtype.UUIDOID: "UUID", pgtype.ByteaOID: "BLOB",
	pgtype.JSONOID: "JSON", pgtype.JSONBOID: "JSON",
	pgtype.BoolArrayOID: "BOOLEAN[]", pgtype.Int2ArrayOID: "SMALLINT[]", pgtype.Int4ArrayOID: "INTEGER[]", pgtype.Int8ArrayOID: "BIGINT[]",
	pgtype.Float4ArrayOID: "FLOAT[]", pgtype.Float8ArrayOID: "DOUBLE[]", pgtype.TextArrayOID: "VARCHAR[]", pgtype.VarcharArrayOID: "VARCHAR[]",
}
