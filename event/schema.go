package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// A Kind is a column's type without its parameters.
type Kind uint8

// The kinds that a stream's column, a partial or an answer can have. The
// comment gives the Arrow type in which blocks hold the values (Type.Arrow).
const (
	Invalid   Kind = iota
	Boolean        // bool
	TinyInt        // int8
	SmallInt       // int16
	Integer        // int32
	BigInt         // int64
	HugeInt        // decimal128(38, 0), the 128 bits of the integer; never in a stream
	Float          // float32
	Double         // float64
	Decimal        // int64, unscaled, up to precision 18; decimal128 beyond
	Varchar        // utf8
	JSON           // utf8, one JSON value
	Blob           // binary; never in a stream but its dead letters
	Date           // date32
	Timestamp      // timestamp[us], UTC, without a zone
)

var kindNames = [...]string{"INVALID", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "JSON", "BLOB", "DATE", "TIMESTAMP"}

func (k Kind) String() string { return kindNames[k] }

// A Type is a column's type. Precision and Scale are those of a Decimal.
type Type struct {
	Kind             Kind
	Precision, Scale uint8
}

// String gives the type as SQL writes it.
func (t Type) String() string {
	if t.Kind == Decimal {
		return fmt.Sprintf("DECIMAL(%d,%d)", t.Precision, t.Scale)
	}
	return t.Kind.String()
}

// Wide reports whether values take 16 bytes.
func (t Type) Wide() bool { return t.Kind == HugeInt || t.Kind == Decimal && t.Precision > 18 }

// Arrow gives the type in which blocks and Go-held partials store values.
func (t Type) Arrow() arrow.DataType {
	switch t.Kind {
	case Boolean:
		return arrow.FixedWidthTypes.Boolean
	case TinyInt:
		return arrow.PrimitiveTypes.Int8
	case SmallInt:
		return arrow.PrimitiveTypes.Int16
	case Integer:
		return arrow.PrimitiveTypes.Int32
	case BigInt:
		return arrow.PrimitiveTypes.Int64
	case HugeInt:
		return &arrow.Decimal128Type{Precision: 38}
	case Float:
		return arrow.PrimitiveTypes.Float32
	case Double:
		return arrow.PrimitiveTypes.Float64
	case Decimal:
		if t.Wide() {
			return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
		}
		return arrow.PrimitiveTypes.Int64
	case Varchar, JSON:
		return arrow.BinaryTypes.String
	case Blob:
		return arrow.BinaryTypes.Binary
	case Date:
		return arrow.FixedWidthTypes.Date32
	case Timestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	}
	panic("event: no Arrow type for " + t.Kind.String())
}

// A Column is a named, typed column.
type Column struct {
	Name string
	Type
	NotNull bool
}

// A Schema describes the events of one stream.
type Schema struct {
	Stream  string
	Columns []Column
	// TimeColumn is the index of the event-time column, a Timestamp or Date;
	// -1 if the stream has none.
	TimeColumn int
	// Formats holds, by column index, the strptime format in which the
	// column's timestamps arrive; columns not in it are ISO 8601.
	Formats map[int]string
	// IDColumn is the index of the column that identifies an event for
	// deduplication; -1 switches deduplication off.
	IDColumn int
	// DedupWindow is how far back, in log time, a duplicate id is looked for.
	DedupWindow time.Duration
	// Lookups give values to columns that events come without.
	Lookups []Lookup
}

// A Lookup fills columns of an event when it comes in, from the row of a reference
// table that has the event's key. From then on they are columns as others.
type Lookup struct {
	Columns, Keys []int // of the stream
	Reference     string
	Version       string   // of the table
	From, By      []string // the table's columns for Columns and Keys
}

// Index finds a column by name, without regard to case; -1 if there is none.
func (s *Schema) Index(name string) int {
	for i := range s.Columns {
		if strings.EqualFold(s.Columns[i].Name, name) {
			return i
		}
	}
	return -1
}

// SetFormat sets the strptime format of a column's timestamps.
func (s *Schema) SetFormat(column int, format string) {
	if s.Formats == nil {
		s.Formats = map[int]string{}
	}
	s.Formats[column] = format
}

// Arrow gives the Arrow schema of the stream's record batches: the columns
// alone, in order, in storage types.
func (s *Schema) Arrow() *arrow.Schema { return ArrowSchema(s.Columns) }

// ArrowSchema gives the storage schema of columns. A field's nullability is
// the column's.
func ArrowSchema(columns []Column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Arrow(), Nullable: !c.NotNull}
	}
	return arrow.NewSchema(fields, nil)
}

// Fingerprint identifies the columns: 16 hexadecimal digits of the SHA-256 of
// their names, types and nullability in order.
func (s *Schema) Fingerprint() string {
	h := sha256.New()
	for _, c := range s.Columns {
		fmt.Fprintf(h, "%q %s %t\n", c.Name, c.Type, c.NotNull)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// The position columns stand behind a stream's own columns in every
// relation of its events: blocks, lake files and facts alike.
const (
	ColEpoch      = "_epoch"       // INTEGER
	ColPartition  = "_partition"   // INTEGER
	ColSeq        = "_seq"         // BIGINT
	ColIdx        = "_idx"         // INTEGER
	ColIngestedAt = "_ingested_at" // TIMESTAMP, log time as a running maximum
)

// PositionColumns are the five position columns in order.
var PositionColumns = []Column{
	{ColEpoch, Type{Kind: Integer}, true},
	{ColPartition, Type{Kind: Integer}, true},
	{ColSeq, Type{Kind: BigInt}, true},
	{ColIdx, Type{Kind: Integer}, true},
	{ColIngestedAt, Type{Kind: Timestamp}, true},
}

// Relation gives the stream's columns followed by the position columns.
func (s *Schema) Relation() []Column {
	out := make([]Column, 0, len(s.Columns)+len(PositionColumns))
	return append(append(out, s.Columns...), PositionColumns...)
}

// DeadName is the name of a stream's dead-letter table.
func DeadName(stream string) string { return stream + "_dead" }

// DeadSchema describes the dead letters of a stream: the line of the request
// (from 1; 0 if unknown), the field (may be empty), the reason, the raw bytes.
func DeadSchema(stream string) *Schema {
	return &Schema{
		Stream: DeadName(stream),
		Columns: []Column{
			{"line", Type{Kind: BigInt}, true},
			{"field", Type{Kind: Varchar}, true},
			{"reason", Type{Kind: Varchar}, true},
			{"raw", Type{Kind: Blob}, true},
		},
		TimeColumn: -1,
		IDColumn:   -1,
	}
}
