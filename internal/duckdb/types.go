package duckdb

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/tailwater/tailwater/event"
)

// printed holds the types that DuckDB prints by one name and that event knows.
var printed = map[string]event.Kind{
	"BOOLEAN": event.Boolean, "TINYINT": event.TinyInt, "SMALLINT": event.SmallInt,
	"INTEGER": event.Integer, "BIGINT": event.BigInt, "HUGEINT": event.HugeInt,
	"FLOAT": event.Float, "DOUBLE": event.Double, "VARCHAR": event.Varchar,
	"JSON": event.JSON, "BLOB": event.Blob, "DATE": event.Date,
	"TIMESTAMP": event.Timestamp, "TIMESTAMP WITH TIME ZONE": event.Timestamp,
}

// instead tells what to use in place of a type that event does not know.
var instead = map[string]string{
	"UTINYINT": "SMALLINT", "USMALLINT": "INTEGER", "UINTEGER": "BIGINT",
	"UBIGINT": "DECIMAL(20,0)", "UHUGEINT": "VARCHAR", "BIGNUM": "VARCHAR",
	"UUID": "VARCHAR", "BIT": "VARCHAR", "ENUM": "VARCHAR", "GEOMETRY": "BLOB",
	"INTERVAL": "BIGINT microseconds", "TIME": "BIGINT microseconds", "TIME_NS": "BIGINT nanoseconds",
	"TIME WITH TIME ZONE": "TIMESTAMP",
	"TIMESTAMP_S":         "TIMESTAMP", "TIMESTAMP_MS": "TIMESTAMP", "TIMESTAMP_NS": "TIMESTAMP",
	"STRUCT": "JSON", "MAP": "JSON", "UNION": "JSON", "LIST": "JSON", "VARIANT": "JSON",
	`"NULL"`: "a cast to the type that is meant", "NULL": "a cast to the type that is meant",
}

// ParseType reads a type as DuckDB prints it. A TIMESTAMP WITH TIME ZONE is a
// Timestamp, in UTC. For a type that tables here cannot hold, the error says
// which to use instead.
func ParseType(sqlType string) (event.Type, error) {
	text := strings.ToUpper(strings.TrimSpace(sqlType))
	if kind, ok := printed[text]; ok {
		return event.Type{Kind: kind}, nil
	}
	name, rest, _ := strings.Cut(text, "(")
	if strings.HasSuffix(text, "]") {
		name = "LIST"
	}
	if name == "DECIMAL" {
		precision, scale, ok := strings.Cut(strings.TrimSuffix(rest, ")"), ",")
		p, err1 := strconv.ParseUint(strings.TrimSpace(precision), 10, 8)
		s, err2 := strconv.ParseUint(strings.TrimSpace(scale), 10, 8)
		if !ok || err1 != nil || err2 != nil || p < 1 || p > 38 || s > p {
			return event.Type{}, fmt.Errorf("type %s: want DECIMAL(precision,scale) with a precision through 38", sqlType)
		}
		return event.Type{Kind: event.Decimal, Precision: uint8(p), Scale: uint8(s)}, nil
	}
	if use, ok := instead[name]; ok {
		return event.Type{}, fmt.Errorf("type %s is not supported: use %s", sqlType, use)
	}
	return event.Type{}, fmt.Errorf("type %s is not supported", sqlType)
}

// simple pairs kinds with DuckDB's type ids, but for Decimal and JSON, which
// need more than an id.
var simple = map[event.Kind]mapping.Type{
	event.Boolean: mapping.TypeBoolean, event.TinyInt: mapping.TypeTinyInt, event.SmallInt: mapping.TypeSmallInt,
	event.Integer: mapping.TypeInteger, event.BigInt: mapping.TypeBigInt, event.HugeInt: mapping.TypeHugeInt,
	event.Float: mapping.TypeFloat, event.Double: mapping.TypeDouble, event.Varchar: mapping.TypeVarchar,
	event.JSON: mapping.TypeVarchar, event.Blob: mapping.TypeBlob, event.Date: mapping.TypeDate,
	event.Timestamp: mapping.TypeTimestamp,
}

// jsonAlias is how DuckDB marks the VARCHARs that are JSON.
const jsonAlias = "JSON"

// logicalType makes DuckDB's type. The caller destroys it.
func logicalType(t event.Type) (mapping.LogicalType, error) {
	if t.Kind == event.Decimal {
		return mapping.CreateDecimalType(t.Precision, t.Scale), nil
	}
	id, ok := simple[t.Kind]
	if !ok {
		return mapping.LogicalType{}, fmt.Errorf("type %s has no counterpart in DuckDB", t)
	}
	l := mapping.CreateLogicalType(id)
	if t.Kind == event.JSON {
		mapping.LogicalTypeSetAlias(l, jsonAlias)
	}
	return l, nil
}

// kindOf reads DuckDB's type; ok is false if event has no such type.
func kindOf(l mapping.LogicalType) (t event.Type, ok bool) {
	switch id := mapping.GetTypeId(l); id {
	case mapping.TypeDecimal:
		return event.Type{Kind: event.Decimal, Precision: mapping.DecimalWidth(l), Scale: mapping.DecimalScale(l)}, true
	case mapping.TypeTimestampTZ:
		return event.Type{Kind: event.Timestamp}, true
	case mapping.TypeVarchar:
		if mapping.LogicalTypeGetAlias(l) == jsonAlias {
			return event.Type{Kind: event.JSON}, true
		}
		return event.Type{Kind: event.Varchar}, true
	default:
		kind, ok := kinds[id]
		return event.Type{Kind: kind}, ok
	}
}

// kinds is the inverse of simple.
var kinds = func() map[mapping.Type]event.Kind {
	m := map[mapping.Type]event.Kind{}
	for kind, id := range simple {
		if kind != event.JSON {
			m[id] = kind
		}
	}
	return m
}()

// typeNames are the types of results that have no event.Type.
var typeNames = map[mapping.Type]string{
	mapping.TypeUTinyInt: "UTINYINT", mapping.TypeUSmallInt: "USMALLINT", mapping.TypeUInteger: "UINTEGER",
	mapping.TypeUBigInt: "UBIGINT", mapping.TypeUHugeInt: "UHUGEINT", mapping.TypeBigNum: "BIGNUM",
	mapping.TypeUUID: "UUID", mapping.TypeBit: "BIT", mapping.TypeEnum: "ENUM", mapping.TypeGeometry: "GEOMETRY",
	mapping.TypeInterval: "INTERVAL", mapping.TypeTime: "TIME", mapping.TypeTimeNS: "TIME_NS",
	mapping.TypeTimeTZ:     "TIME WITH TIME ZONE",
	mapping.TypeTimestampS: "TIMESTAMP_S", mapping.TypeTimestampMS: "TIMESTAMP_MS", mapping.TypeTimestampNS: "TIMESTAMP_NS",
	mapping.TypeStruct: "STRUCT", mapping.TypeMap: "MAP", mapping.TypeUnion: "UNION", mapping.TypeList: "LIST",
	mapping.TypeArray: "LIST", mapping.TypeVariant: "VARIANT", mapping.TypeSQLNull: "NULL",
}

// resultColumns describes a result, or says which column must be cast.
func resultColumns(result *mapping.Result) ([]event.Column, error) {
	columns := make([]event.Column, mapping.ColumnCount(result))
	for i := range columns {
		at := mapping.IdxT(i)
		l := mapping.ColumnLogicalType(result, at)
		t, ok := kindOf(l)
		id := mapping.GetTypeId(l)
		mapping.DestroyLogicalType(&l)
		columns[i] = event.Column{Name: mapping.ColumnName(result, at), Type: t}
		if !ok {
			name := typeNames[id]
			use := instead[name]
			if use == "" {
				use = "VARCHAR"
			}
			return nil, fmt.Errorf("column %q has type %s, which results cannot carry: cast it, to %s for example", columns[i].Name, name, use)
		}
	}
	return columns, nil
}
