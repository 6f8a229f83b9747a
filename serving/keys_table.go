package serving

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/lake"
)

// KeysTableName is the lake table that holds the keys: like the history of runs they
// cannot be derived from anything else.
const KeysTableName = "tailwater_keys"

// KeysSource numbers changes of keys as a stream numbers messages.
var KeysSource = event.Source{Stream: KeysTableName, Epoch: 1}

// KeysSchema describes the table: one row for each change of a key, the whole key in
// it; the last row of a name holds.
func KeysSchema() *event.Schema {
	column := func(name string, k event.Kind) event.Column {
		return event.Column{Name: name, Type: event.Type{Kind: k}, NotNull: true}
	}
	optional := func(name string, k event.Kind) event.Column {
		return event.Column{Name: name, Type: event.Type{Kind: k}}
	}
	return &event.Schema{
		Stream: KeysTableName, TimeColumn: -1, IDColumn: -1,
		Columns: []event.Column{
			column("name", event.Varchar), column("roles", event.Varchar), optional("tables", event.Varchar), column("limits", event.Varchar),
			column("created", event.Timestamp), column("created_by", event.Varchar), optional("expires", event.Timestamp), optional("revoked", event.Timestamp),
			column("sha256", event.Varchar), column("scram_salt", event.Varchar), column("scram_iterations", event.BigInt),
			column("scram_stored_key", event.Varchar), column("scram_server_key", event.Varchar),
		},
	}
}

// KeysTable keeps keys in a lake table; it implements access.Store.
type KeysTable struct {
	table  *lake.Table
	lander *lake.Lander

	mu   sync.Mutex
	last uint64 // the number of the last change, whether it has landed or waits for the lake
}

// NewKeysTable keeps keys in the table, through a lander whose Run the caller has
// started.
func NewKeysTable(table *lake.Table, lander *lake.Lander) *KeysTable {
	return &KeysTable{table: table, lander: lander, last: table.Latest().Marks[KeysSource].Through}
}

// Load implements access.Store.
func (t *KeysTable) Load(ctx context.Context) ([]access.Key, error) {
	snap, err := t.table.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	latest := map[string]access.Key{}
	err = snap.Read(ctx, event.Range{Source: KeysSource, Through: snap.Marks[KeysSource].Through}, func(b *event.Block) error {
		for row := range b.Len() {
			k, err := keyAt(b, row)
			if err != nil {
				return fmt.Errorf("table %s: %w", KeysTableName, err)
			}
			latest[k.Name] = k
		}
		return nil
	})
	return slices.Collect(maps.Values(latest)), err
}

// Put implements access.Store. A change whose landing was not waited for lands when
// the lake is back: an unknown secret's key, or a revocation that holds already.
func (t *KeysTable) Put(ctx context.Context, k access.Key) error {
	batch, err := keyBatch(k)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := time.Now().UnixMicro()
	b := &event.Block{
		Range:  event.Range{Source: KeysSource, After: t.last, Through: t.last + 1},
		Schema: KeysSchema(), Batch: batch, Seal: true, LogTime: at,
		Runs: []event.Run{{Seq: t.last + 1, At: at, Rows: 1}}, Size: 1024,
	}
	if err := t.lander.Apply(ctx, b); err != nil {
		return err
	}
	t.last++
	return t.lander.Wait(ctx, KeysSource, t.last)
}

var keyBytes = base64.StdEncoding

func keyBatch(k access.Key) (arrow.RecordBatch, error) {
	limits, err := json.Marshal(k.Limits)
	if err != nil {
		return nil, err
	}
	roles, err := json.Marshal(k.Roles)
	if err != nil {
		return nil, err
	}
	bld := array.NewRecordBuilder(memory.DefaultAllocator, KeysSchema().Arrow())
	defer bld.Release()
	text := func(i int, s string) { bld.Field(i).(*array.StringBuilder).Append(s) }
	at := func(i int, t time.Time) {
		if t.IsZero() {
			bld.Field(i).AppendNull()
			return
		}
		bld.Field(i).(*array.TimestampBuilder).Append(arrow.Timestamp(t.UnixMicro()))
	}
	text(0, k.Name)
	text(1, string(roles))
	if k.Tables == nil {
		bld.Field(2).AppendNull()
	} else {
		tables, err := json.Marshal(k.Tables)
		if err != nil {
			return nil, err
		}
		text(2, string(tables))
	}
	text(3, string(limits))
	at(4, k.Created)
	text(5, k.By)
	at(6, k.Expires)
	at(7, k.Revoked)
	text(8, keyBytes.EncodeToString(k.Hash))
	text(9, keyBytes.EncodeToString(k.Verifier.Salt))
	bld.Field(10).(*array.Int64Builder).Append(int64(k.Verifier.Iterations))
	text(11, keyBytes.EncodeToString(k.Verifier.StoredKey))
	text(12, keyBytes.EncodeToString(k.Verifier.ServerKey))
	return bld.NewRecordBatch(), nil
}

// keyAt reads a key. What cannot be read is an error: half a key must not open.
func keyAt(b *event.Block, row int) (k access.Key, err error) {
	text := func(i int) string { return b.Column(i).(*array.String).Value(row) }
	at := func(i int) time.Time {
		if b.Column(i).IsNull(row) {
			return time.Time{}
		}
		return time.UnixMicro(int64(b.Column(i).(*array.Timestamp).Value(row))).UTC()
	}
	bytes := func(i int) []byte {
		raw, wrong := keyBytes.DecodeString(text(i))
		if wrong != nil || len(raw) == 0 {
			err = fmt.Errorf("key %s: column %d cannot be read", text(0), i)
		}
		return raw
	}
	object := func(i int, into any) {
		if wrong := json.Unmarshal([]byte(text(i)), into); wrong != nil {
			err = fmt.Errorf("key %s: column %d: %w", text(0), i, wrong)
		}
	}
	k = access.Key{Name: text(0), Created: at(4), By: text(5), Expires: at(6), Revoked: at(7), Hash: bytes(8), Verifier: access.Verifier{
		Salt: bytes(9), Iterations: int(b.Column(10).(*array.Int64).Value(row)), StoredKey: bytes(11), ServerKey: bytes(12),
	}}
	object(1, &k.Roles)
	object(3, &k.Limits)
	if !b.Column(2).IsNull(row) {
		if object(2, &k.Tables); k.Tables == nil {
			k.Tables = []string{} // never all by mistake
		}
	}
	return k, err
}
