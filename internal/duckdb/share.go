package duckdb

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/tailwater/tailwater/event"
)

// shared finds handles by id. It is the one table of this process, because a C
// callback can be given a number but no Go pointer, and because one Go-held
// relation is read from several databases. Entries live from Share to Close.
var shared = struct {
	sync.RWMutex
	byID map[int64]*Handle
	last int64 // ids are never given out twice
}{byID: map[int64]*Handle{}}

// A Handle is a Go-held relation that SQL sees as tw_scan(id), on every
// connection of every database of the process. Its methods may be called from
// several goroutines.
type Handle struct {
	id      int64
	columns []event.Column
	content atomic.Pointer[[]Batch]
}

// Share makes a relation without rows. The owner closes it.
func Share(columns []event.Column) *Handle {
	h := &Handle{columns: slices.Clone(columns)}
	h.content.Store(new([]Batch))
	shared.Lock()
	defer shared.Unlock()
	shared.last++
	h.id = shared.last
	shared.byID[h.id] = h
	return h
}

// ID is the argument of tw_scan.
func (h *Handle) ID() int64 { return h.id }

// Set replaces the rows. A statement reads what was set when its execution
// began, to its end, whatever is set meanwhile; a prepared statement is bound
// once and reads what was set last. The batches are kept, not copied.
func (h *Handle) Set(batches []Batch) {
	content := slices.Clone(batches)
	h.content.Store(&content)
}

// Close takes the relation away: tw_scan(id) is an error from now on, while
// statements that are running read on. A second call does nothing.
func (h *Handle) Close() {
	shared.Lock()
	defer shared.Unlock()
	delete(shared.byID, h.id)
	h.content.Store(new([]Batch))
}

// SQL is the relation as it stands in a FROM clause.
func (h *Handle) SQL() string { return "tw_scan(" + strconv.FormatInt(h.id, 10) + ")" }

// lookup finds an open handle; nil if there is none.
func lookup(id int64) *Handle {
	shared.RLock()
	defer shared.RUnlock()
	return shared.byID[id]
}
