package duckdb

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// share makes a handle that is closed with the test.
func share(t testing.TB, columns []event.Column, batches ...Batch) *Handle {
	t.Helper()
	h := Share(columns)
	t.Cleanup(h.Close)
	h.Set(batches)
	return h
}

// sample is a value of every type for row i, or nil for NULL.
func sample(t event.Type, i int) any {
	if i%7 == 3 {
		return nil
	}
	sign := int64(1 - i%2*2)
	switch t.Kind {
	case event.Boolean:
		return i%3 == 0
	case event.TinyInt:
		return sign * int64(i%128)
	case event.SmallInt:
		return sign * int64(i)
	case event.Integer:
		return sign * int64(i) * 100_000
	case event.BigInt:
		return sign * int64(i) << 40
	case event.HugeInt:
		return new(big.Int).Lsh(big.NewInt(sign*int64(i)), 90)
	case event.Float, event.Double:
		return float64(sign) * float64(i) / 4
	case event.Decimal:
		v := decimal128.FromI64(sign * int64(i%10000))
		if t.Precision > 18 {
			v = v.Mul(decimal128.FromI64(1e18))
		} else if t.Precision > 9 {
			v = v.Mul(decimal128.FromI64(1e13))
		}
		return v.ToString(int32(t.Scale))
	case event.Varchar, event.Blob:
		s := strings.Repeat("é", []int{0, 1, 6, 7, 2500}[i%5]) + []string{"", fmt.Sprint(i)}[i%2]
		if t.Kind == event.Blob {
			return []byte(s + "\xff")
		}
		return s
	case event.JSON:
		return fmt.Sprintf(`{"i": %d}`, i)
	case event.Date:
		return time.Unix(sign*int64(i)*86400, 0).UTC()
	case event.Timestamp:
		return time.UnixMicro(sign * int64(i) * 1_234_567).UTC()
	}
	panic(t.String())
}

// put appends a value of sample.
func put(b array.Builder, t event.Type, v any) {
	if v == nil {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(v.(bool))
	case *array.Int8Builder:
		b.Append(int8(v.(int64)))
	case *array.Int16Builder:
		b.Append(int16(v.(int64)))
	case *array.Int32Builder:
		b.Append(int32(v.(int64)))
	case *array.Int64Builder:
		if t.Kind == event.Decimal {
			d, err := decimal128.FromString(v.(string), int32(t.Precision), int32(t.Scale))
			if err != nil {
				panic(err)
			}
			v = int64(d.LowBits())
		}
		b.Append(v.(int64))
	case *array.Decimal128Builder:
		if t.Kind == event.HugeInt {
			b.Append(decimal128.FromBigInt(v.(*big.Int)))
			return
		}
		d, err := decimal128.FromString(v.(string), int32(t.Precision), int32(t.Scale))
		if err != nil {
			panic(err)
		}
		b.Append(d)
	case *array.Float32Builder:
		b.Append(float32(v.(float64)))
	case *array.Float64Builder:
		b.Append(v.(float64))
	case *array.StringBuilder:
		b.Append(v.(string))
	case *array.BinaryBuilder:
		b.Append(v.([]byte))
	case *array.Date32Builder:
		b.Append(arrow.Date32(v.(time.Time).Unix() / 86400))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.(time.Time).UnixMicro()))
	default:
		panic(fmt.Sprintf("%T", b))
	}
}

// samples makes a batch of sample rows [from, from+n).
func samples(columns []event.Column, from, n int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(columns))
	defer b.Release()
	for i := range n {
		for j, c := range columns {
			put(b.Field(j), c.Type, sample(c.Type, from+i))
		}
	}
	return b.NewRecordBatch()
}

func everyType() []event.Column {
	var columns []event.Column
	for k := event.Boolean; k <= event.Timestamp; k++ {
		if k != event.Decimal {
			columns = append(columns, event.Column{Name: strings.ToLower(k.String()), Type: event.Type{Kind: k}})
		}
	}
	for _, p := range []uint8{4, 9, 18, 38} {
		columns = append(columns, event.Column{Name: fmt.Sprint("decimal", p), Type: event.Type{Kind: event.Decimal, Precision: p, Scale: 3}})
	}
	return columns
}

func TestScanGivesBackEveryType(t *testing.T) {
	columns := everyType()
	c := open(t, Options{})
	const rows = 5003
	all := samples(columns, 0, rows)
	for name, batches := range map[string][]Batch{
		"one batch":     {RecordBatch(all)},
		"slices":        {RecordBatch(all.NewSlice(0, 13)), RecordBatch(all.NewSlice(13, 13)), RecordBatch(all.NewSlice(13, 2100)), RecordBatch(all.NewSlice(2100, rows))},
		"several":       {RecordBatch(samples(columns, 0, 1)), RecordBatch(samples(columns, 1, 3000)), RecordBatch(samples(columns, 3001, rows-3001))},
		"many of a few": split(all, 37),
	} {
		h := share(t, columns, batches...)
		r, err := c.Collect(t.Context(), "SELECT * FROM "+h.SQL())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Len() != rows {
			t.Fatalf("%s: %d rows", name, r.Len())
		}
		for j, col := range columns {
			if r.Columns[j] != col {
				t.Errorf("%s: column %v, want %v", name, r.Columns[j], col)
			}
			for i := range rows {
				if got, want := valueText(r.Value(i, j)), valueText(sample(col.Type, i)); got != want {
					t.Fatalf("%s: row %d of %s is %.40q, want %.40q", name, i, col.Name, got, want)
				}
			}
		}
		// A result is in the form that can be shared again.
		again := share(t, r.Columns, r.Batches...)
		if got := show(t, c, "SELECT count(*) FROM (SELECT * FROM "+h.SQL()+" EXCEPT ALL SELECT * FROM "+again.SQL()+")"); got != "0" {
			t.Errorf("%s: %s rows differ when shared again", name, got)
		}
	}
}

func split(b arrow.RecordBatch, size int64) []Batch {
	var out []Batch
	for at := int64(0); at < b.NumRows(); at += size {
		out = append(out, RecordBatch(b.NewSlice(at, min(at+size, b.NumRows()))))
	}
	return out
}

// numbers is a relation (k BIGINT, s VARCHAR) of rows [from, through].
func numbers(from, through int) Batch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(numberColumns))
	defer b.Release()
	for i := from; i <= through; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("s%d", i%10))
	}
	return RecordBatch(b.NewRecordBatch())
}

var numberColumns = []event.Column{
	{Name: "k", Type: event.Type{Kind: event.BigInt}, NotNull: true},
	{Name: "s", Type: event.Type{Kind: event.Varchar}, NotNull: true},
}

func TestStatementsOverAScanAreRight(t *testing.T) {
	c := open(t, Options{Threads: 2})
	h := share(t, numberColumns, numbers(0, 4999), numbers(5000, 9999))
	for sql, want := range map[string]string{
		"SELECT count(*) FROM %s":                                          "10000",
		"SELECT count(*) FROM %s WHERE k < 1000":                           "1000",
		"SELECT s FROM %s WHERE k = 7777":                                  "s7",
		"SELECT k FROM %s WHERE s = 's3' AND k > 9980 ORDER BY k":          "9983;9993",
		"SELECT s, k FROM %s WHERE k BETWEEN 41 AND 42 ORDER BY k":         "s1,41;s2,42",
		"SELECT s, count(*), min(k) FROM %s GROUP BY s ORDER BY s LIMIT 2": "s0,1000,0;s1,1000,1",
		"SELECT count(*) FROM %[1]s a JOIN %[1]s b ON a.k = b.k + 1":       "9999",
		"SELECT max(a.k) FROM %s a JOIN range(5) r(i) ON a.k = r.i * 10":   "40",
		"SELECT count(*) FROM (FROM %s LIMIT 10)":                          "10",
		"SELECT 1 FROM %s LIMIT 1":                                         "1",
		"SELECT k, k FROM %s WHERE k = 5":                                  "5,5",
		"SELECT (SELECT max(k) FROM %s), 'x' WHERE EXISTS (FROM %[1]s)":    "9999,x",
	} {
		sql = fmt.Sprintf(sql, h.SQL())
		if got := show(t, c, sql); got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
}

func TestPreparedStatementReadsWhatWasSetLast(t *testing.T) {
	c := open(t, Options{})
	h := share(t, numberColumns)
	s, err := c.Prepare(t.Context(), "SELECT count(*), coalesce(sum(k), 0)::BIGINT FROM "+h.SQL()+" WHERE k <= $1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, step := range []struct {
		set  []Batch
		want string
	}{
		{nil, "0,0"},
		{[]Batch{numbers(1, 10)}, "10,55"},
		{[]Batch{numbers(1, 3000), numbers(3001, 6000)}, "100,5050"},
		{[]Batch{}, "0,0"},
		{[]Batch{numbers(100, 100)}, "1,100"},
	} {
		h.Set(step.set)
		r, err := s.Collect(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(r); got != step.want {
			t.Errorf("got %s, want %s", got, step.want)
		}
	}
	h.Close()
	if _, err := s.Collect(t.Context(), 100); err == nil || !strings.Contains(err.Error(), "relation") {
		t.Errorf("after Close of the handle: %v", err)
	}
}

func TestRunningStatementReadsWhatItBeganWith(t *testing.T) {
	c := open(t, Options{Threads: 1})
	h := share(t, numberColumns, numbers(0, 99_999))
	rows, err := c.Query(t.Context(), "SELECT k FROM "+h.SQL())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	h.Set([]Batch{numbers(0, 0)})
	h.Close()
	n := int64(0)
	for b, err := rows.Next(t.Context()); err == nil; b, err = rows.Next(t.Context()) {
		n += b.NumRows()
	}
	if n != 100_000 {
		t.Errorf("read %d rows of 100000", n)
	}
}

func TestEveryDatabaseSeesSharedRelations(t *testing.T) {
	h := share(t, numberColumns, numbers(1, 4))
	for range 2 {
		c := open(t, Options{Locked: true})
		other := connect(t, c.db)
		if got := show(t, other, "SELECT sum(k)::BIGINT FROM "+h.SQL()); got != "10" {
			t.Errorf("got %s", got)
		}
		other.Close()
	}
}

func TestOneRelationIsReadWhileItIsReplaced(t *testing.T) {
	contents := [][]Batch{{numbers(1, 5000)}, {numbers(1, 3000), numbers(3001, 9000)}, nil}
	sums := map[string]bool{"0": true, "12502500": true, "40504500": true}
	h := share(t, numberColumns)
	var readers sync.WaitGroup
	for range 2 {
		c := open(t, Options{Threads: 2})
		readers.Go(func() {
			for range 200 {
				r, err := c.Collect(context.Background(), "SELECT coalesce(sum(k), 0)::BIGINT FROM "+h.SQL())
				if err != nil || !sums[text(r)] {
					t.Errorf("got %v, %v", r, err)
					return
				}
			}
		})
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				h.Set(contents[i%len(contents)])
			}
		}
	}()
	readers.Wait()
	close(stop)
	<-done
}

func TestBlockIsReadWithItsPositions(t *testing.T) {
	c := open(t, Options{})
	schema := &event.Schema{Stream: "s", Columns: numberColumns, TimeColumn: -1, IDColumn: -1}
	b := &event.Block{
		Range:  event.Range{Source: event.Source{Stream: "s", Epoch: 2, Partition: 1}, After: 6, Through: 9},
		Schema: schema,
		Batch:  numbers(1, 3).(recordBatch).RecordBatch,
		Runs:   []event.Run{{Seq: 7, At: 1_000_000, Rows: 2}, {Seq: 9, At: 2_000_000, Rows: 1, Idx: []uint32{5}}},
	}
	h := share(t, schema.Relation(), b, &event.Block{Schema: schema})
	if got := show(t, c, "SELECT k, _epoch, _partition, _seq, _idx, _ingested_at FROM "+h.SQL()); got !=
		"1,2,1,7,0,1970-01-01T00:00:01;2,2,1,7,1,1970-01-01T00:00:01;3,2,1,9,5,1970-01-01T00:00:02" {
		t.Errorf("got %s", got)
	}
}

// The memory of a block that every statement has read must go when its owner
// lets go, also while the statements stay prepared.
func TestScansLetBatchesGo(t *testing.T) {
	c := open(t, Options{})
	h := share(t, numberColumns)
	s, err := c.Prepare(t.Context(), "SELECT max(k), max(s) FROM "+h.SQL())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	type held struct{ Batch }
	put := func() weak.Pointer[held] {
		b := &held{numbers(1, 5000)}
		h.Set([]Batch{b})
		return weak.Make(b)
	}
	for name, run := range map[string]func() error{
		"prepared": func() error { _, err := s.Collect(t.Context()); return err },
		"failed": func() error {
			_, err := c.Collect(t.Context(), "SELECT (k - 4000)::UTINYINT::INTEGER FROM "+h.SQL())
			if err == nil {
				return errors.New("no error")
			}
			return nil
		},
		"abandoned": func() error {
			rows, err := c.Query(t.Context(), "FROM "+h.SQL())
			if err == nil {
				rows.Close()
			}
			return err
		},
	} {
		batch := put()
		if err := run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h.Set(nil)
		runtime.GC()
		if batch.Value() != nil {
			t.Errorf("%s: the batch is still held", name)
		}
	}
}

func TestUnknownRelationIsAnError(t *testing.T) {
	c := open(t, Options{})
	for _, sql := range []string{"FROM tw_scan(0)", "FROM tw_scan(987654321)", "FROM tw_scan(-1)", "FROM tw_scan(NULL)"} {
		if r, err := c.Collect(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "no relation") {
			t.Errorf("%s answers %v, %v", sql, r, err)
		}
	}
}

// badBatch fails in its own ways.
type badBatch struct {
	Batch
	column func(int) arrow.Array
}

func (b badBatch) Column(i int) arrow.Array { return b.column(i) }

func TestFaultyBatchesFailTheStatementAlone(t *testing.T) {
	c := open(t, Options{})
	good := numbers(1, 3000)
	h := share(t, numberColumns)
	for want, column := range map[string]func(int) arrow.Array{
		"panic: lost the column":                    func(int) arrow.Array { panic("lost the column") },
		"values of BIGINT are stored as int64, not": func(int) arrow.Array { return good.Column(1) },
		"more rows than the column's 10":            func(int) arrow.Array { return array.NewSlice(good.Column(0), 0, 10) },
		"not valid UTF-8": func(i int) arrow.Array {
			b := array.NewStringBuilder(memory.DefaultAllocator)
			defer b.Release()
			for range 3000 {
				b.Append("caf\xc3")
			}
			return []arrow.Array{good.Column(0), b.NewArray()}[i]
		},
	} {
		h.Set([]Batch{good, badBatch{good, column}})
		if _, err := c.Collect(t.Context(), "SELECT max(k), max(s) FROM "+h.SQL()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		h.Set([]Batch{good})
		if got := show(t, c, "SELECT max(k) FROM "+h.SQL()); got != "3000" {
			t.Errorf("after it: %s", got)
		}
	}
}

func TestStringCutInsideACharacterIsRefused(t *testing.T) {
	c := open(t, Options{})
	// Each byte sequence is invalid alone; together they are "é".
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.Append("\xc3")
	b.Append("\xa9")
	columns := []event.Column{{Name: "s", Type: event.Type{Kind: event.Varchar}}}
	rb := array.NewRecordBatch(event.ArrowSchema(columns), []arrow.Array{b.NewArray()}, 2)
	h := share(t, columns, RecordBatch(rb))
	if _, err := c.Collect(t.Context(), "FROM "+h.SQL()); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("got %v", err)
	}
}

func TestDecimalBeyondItsPrecisionIsRefused(t *testing.T) {
	c := open(t, Options{})
	for _, p := range []uint8{4, 9} {
		columns := []event.Column{{Name: "d", Type: event.Type{Kind: event.Decimal, Precision: p}}}
		b := array.NewInt64Builder(memory.DefaultAllocator)
		b.Append(1 << 40)
		rb := array.NewRecordBatch(event.ArrowSchema(columns), []arrow.Array{b.NewArray()}, 1)
		b.Release()
		h := share(t, columns, RecordBatch(rb))
		if _, err := c.Collect(t.Context(), "FROM "+h.SQL()); err == nil || !strings.Contains(err.Error(), "is no DECIMAL") {
			t.Errorf("precision %d: %v", p, err)
		}
	}
}

func TestSharedJSONIsJSON(t *testing.T) {
	c := open(t, Options{})
	columns := []event.Column{{Name: "j", Type: event.Type{Kind: event.JSON}}}
	h := share(t, columns, RecordBatch(samples(columns, 0, 2)))
	if got := show(t, c, "SELECT typeof(j), (j->>'i')::INTEGER, j.i::VARCHAR FROM "+h.SQL()+" ORDER BY 2"); got != "JSON,0,0;JSON,1,1" {
		t.Errorf("got %s", got)
	}
}
