package lake

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/tailwater/tailwater/event"
)

// The Delta form of a schema (PROTOCOL.md, "Schema Serialization Format").
type deltaSchema struct {
	Type   string       `json:"type"` // "struct"
	Fields []deltaField `json:"fields"`
}

type deltaField struct {
	Name     string         `json:"name"`
	Type     any            `json:"type"` // a string for every type of ours
	Nullable bool           `json:"nullable"`
	Metadata map[string]any `json:"metadata"`
}

// sqlTypeKey keeps, in a field's metadata, the declared type where Delta's own
// says less: JSON is a string to it.
const sqlTypeKey = "tailwater.type"

func deltaType(t event.Type) (string, error) {
	switch t.Kind {
	case event.Boolean:
		return "boolean", nil
	case event.TinyInt:
		return "byte", nil
	case event.SmallInt:
		return "short", nil
	case event.Integer:
		return "integer", nil
	case event.BigInt:
		return "long", nil
	case event.Float:
		return "float", nil
	case event.Double:
		return "double", nil
	case event.Decimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale), nil
	case event.Varchar, event.JSON:
		return "string", nil
	case event.Blob:
		return "binary", nil
	case event.Date:
		return "date", nil
	case event.Timestamp:
		return "timestamp", nil
	}
	return "", fmt.Errorf("a column of type %s cannot be stored; cast it to DECIMAL, BIGINT or VARCHAR", t)
}

// schemaString gives the table's schema: the stream's columns and the position
// columns.
func schemaString(s *event.Schema) (string, error) {
	out := deltaSchema{Type: "struct"}
	for _, c := range s.Relation() {
		t, err := deltaType(c.Type)
		if err != nil {
			return "", fmt.Errorf("column %q: %w", c.Name, err)
		}
		meta := map[string]any{}
		if c.Kind == event.JSON {
			meta[sqlTypeKey] = c.Type.String()
		}
		out.Fields = append(out.Fields, deltaField{c.Name, t, !c.NotNull, meta})
	}
	text, err := json.Marshal(out)
	return string(text), err
}

// missingColumns gives the columns of the stream that a table of the schema has to gain,
// in order. A schema that cannot be brought to the stream's by that is an error that
// names the first column that differs, and what to do.
func missingColumns(have string, want *event.Schema) ([]event.Column, error) {
	var h deltaSchema
	if err := json.Unmarshal([]byte(have), &h); err != nil {
		return nil, fmt.Errorf("schema of the table: %w", err)
	}
	columns := make([]event.Column, len(h.Fields))
	for i, f := range h.Fields {
		columns[i] = f.column()
	}
	own := len(columns) - len(event.PositionColumns)
	if own < 0 || !slices.Equal(columns[own:], event.PositionColumns) {
		return nil, errors.New("the last columns of the table are not those of positions; another program has changed it: restore it to the version before")
	}
	return event.Added(columns[:own], want.Columns)
}

// column reads a field; one of a type that no stream has is of kind Invalid.
func (f deltaField) column() event.Column {
	c := event.Column{Name: f.Name, NotNull: !f.Nullable}
	name, _ := f.Type.(string)
	for k := event.Boolean; k <= event.Timestamp; k++ {
		t := event.Type{Kind: k}
		if k == event.Decimal {
			if _, err := fmt.Sscanf(name, "decimal(%d,%d)", &t.Precision, &t.Scale); err != nil {
				continue
			}
		}
		if text, err := deltaType(t); err != nil || text != name {
			continue
		}
		// JSON is a string with a note.
		if declared, noted := f.Metadata[sqlTypeKey].(string); !noted || declared == k.String() {
			c.Type = t
			break
		}
	}
	return c
}

// parquetNode gives the Parquet form of a column, with the encoding that was
// smallest for its kind of values: deltas for what is counted or measured in
// whole numbers, a dictionary for text until the text turns out not to repeat. Text
// that is known not to repeat, as ids, gets none: filling it is half of the work.
func parquetNode(c event.Column, unique bool) parquet.Node {
	var n parquet.Node
	switch c.Kind {
	case event.Boolean:
		n = parquet.Leaf(parquet.BooleanType)
	case event.TinyInt:
		n = parquet.Encoded(parquet.Int(8), &parquet.DeltaBinaryPacked)
	case event.SmallInt:
		n = parquet.Encoded(parquet.Int(16), &parquet.DeltaBinaryPacked)
	case event.Integer:
		n = parquet.Encoded(parquet.Leaf(parquet.Int32Type), &parquet.DeltaBinaryPacked)
	case event.BigInt:
		n = parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.DeltaBinaryPacked)
	case event.Float:
		n = parquet.Leaf(parquet.FloatType)
	case event.Double:
		n = parquet.Leaf(parquet.DoubleType)
	case event.Decimal:
		n = decimalNode(c.Type)
	case event.Varchar, event.JSON:
		n = parquet.String()
		if !unique {
			n = parquet.Encoded(n, &parquet.RLEDictionary)
		}
	case event.Blob:
		n = parquet.Leaf(parquet.ByteArrayType)
	case event.Date:
		n = parquet.Encoded(parquet.Date(), &parquet.DeltaBinaryPacked)
	case event.Timestamp:
		n = parquet.Encoded(parquet.TimestampAdjusted(parquet.Microsecond, true), &parquet.DeltaBinaryPacked)
	}
	if !c.NotNull {
		n = parquet.Optional(n)
	}
	return n
}

// decimalNode picks the smallest physical type (parquet-format, LogicalTypes.md,
// "DECIMAL"): int32 to precision 9, int64 to 18, bytes beyond.
func decimalNode(t event.Type) parquet.Node {
	s, p := int(t.Scale), int(t.Precision)
	switch {
	case p <= 9:
		return parquet.Encoded(parquet.Decimal(s, p, parquet.Int32Type), &parquet.DeltaBinaryPacked)
	case p <= 18:
		return parquet.Encoded(parquet.Decimal(s, p, parquet.Int64Type), &parquet.DeltaBinaryPacked)
	}
	return parquet.Decimal(s, p, parquet.FixedLenByteArrayType(decimalBytes(p)))
}

// decimalBytes is the smallest n with 10^p ≤ 2^(8n−1).
func decimalBytes(p int) int {
	sizes := [...]int{19: 9, 20: 9, 21: 9, 22: 10, 23: 10, 24: 11, 25: 11, 26: 11, 27: 12, 28: 12, 29: 13, 30: 13, 31: 13, 32: 14, 33: 14, 34: 15, 35: 15, 36: 16, 37: 16, 38: 16}
	return sizes[p]
}

// An orderedGroup is a Parquet group whose fields keep their order; the
// library's own sorts them by name.
type orderedGroup struct {
	parquet.Group
	order map[string]int
}

// Fields gives the fields in the columns' order.
func (g orderedGroup) Fields() []parquet.Field {
	fields := g.Group.Fields()
	slices.SortFunc(fields, func(a, b parquet.Field) int { return cmp.Compare(g.order[a.Name()], g.order[b.Name()]) })
	return fields
}

// parquetSchema is the schema of a table's data files: one leaf a column of
// event.Schema.Relation, in order.
func parquetSchema(s *event.Schema) *parquet.Schema {
	g := orderedGroup{parquet.Group{}, map[string]int{}}
	for i, c := range s.Relation() {
		g.Group[c.Name] = parquetNode(c, i == s.IDColumn || c.Kind == event.JSON)
		g.order[c.Name] = i
	}
	return parquet.NewSchema(s.Stream, g)
}
