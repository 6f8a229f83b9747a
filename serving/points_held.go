package serving

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/aside"
	"github.com/tailwater/tailwater/speed"
)

// The warehouse's partial rows of views that are asked for single groups are held in
// memory, found by their keys: to answer for eight keys, the engine read all rows of all
// the row groups that they lie in, which took three quarters of the time of an answer.
// Partial rows through S are always the same ones, so that what is held answers until the
// State has let go what is behind that S; the first question after a batch run has them
// read again, and the table answers meanwhile.
const (
	maxHeldRows  = 250_000  // of one view; larger ones are read from their tables
	maxHeldBytes = 64 << 20 // of all views
	// holdTimeout bounds the reading of one view.
	holdTimeout = time.Minute
	// holdNice lowers the priority of the reading, for which nobody waits.
	holdNice = 5
)

// A heldBatch is the warehouse's partial rows of a view through s.
type heldBatch struct {
	s     event.Cut
	made  uint64 // of the warehouse when they were read
	piece speed.Piece
}

// heldBatches are those of all lines, by how long nobody has asked for them.
type heldBatches struct {
	limit int64 // of bytes

	mu    sync.Mutex
	lines []*pointLine // the longest first
	bytes int64
}

// of gives what is held for the line; nil if nothing is.
func (h *heldBatches) of(l *pointLine) *heldBatch {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.batch == nil {
		return nil
	}
	i := slices.Index(h.lines, l)
	h.lines = append(slices.Delete(h.lines, i, i+1), l)
	return l.batch
}

// put holds rows for the line, in place of older ones and of those of lines that others
// were asked after. Too many are not held.
func (h *heldBatches) put(l *pointLine, b *heldBatch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(l)
	if b.piece.Bytes() > h.limit {
		return
	}
	for h.bytes+b.piece.Bytes() > h.limit {
		h.drop(h.lines[0])
	}
	l.batch = b
	h.lines = append(h.lines, l)
	h.bytes += b.piece.Bytes()
}

// forget lets go what is held for the line.
func (h *heldBatches) forget(l *pointLine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(l)
}

// drop is forget; mu is held.
func (h *heldBatches) drop(l *pointLine) {
	if l.batch == nil {
		return
	}
	h.bytes -= l.batch.piece.Bytes()
	l.batch = nil
	i := slices.Index(h.lines, l)
	h.lines = slices.Delete(h.lines, i, i+1)
}

// PointBytes is how much memory the partial rows take that are held for questions for
// single groups.
func (c *Core) PointBytes() int64 {
	h := &c.points.held
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes
}

// hold begins to read the view's partial rows through s, which is S now, unless that is
// going on. rows is how many there are. What was read through s once and is not held is
// too much, or others need the memory: it is not read again before S moves. hold is
// called by run, which keeps the server from ending meanwhile.
func (l *pointLine) hold(rows int64, s event.Cut) {
	tried := l.tried.Load()
	if rows > maxHeldRows || tried != nil && tried.made == l.core.warehouse.Made() && maps.Equal(tried.s, s) || !l.holding.CompareAndSwap(false, true) {
		return
	}
	l.core.points.running.Go(func() {
		defer l.holding.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), holdTimeout)
		defer cancel()
		b, err := aside.Run(holdNice, func() (*heldBatch, error) { return l.readBatch(ctx) })
		if err != nil {
			// The table goes on answering, and tells those who ask what is wrong with it.
			l.core.logger.Warn("partial rows of a view could not be held in memory", "view", l.plan.Name, "error", err)
			l.tried.Store(&heldBatch{s: s, made: l.core.warehouse.Made()})
			return
		}
		l.core.points.held.put(l, b)
		l.tried.Store(&heldBatch{s: b.s, made: b.made})
	})
}

func (l *pointLine) readBatch(ctx context.Context) (*heldBatch, error) {
	made := l.core.warehouse.Made()
	tx, err := l.core.warehouse.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Close()
	sql, s := tx.Partials(l.plan)
	rel, err := tx.Conn.Collect(ctx, sql)
	if err != nil {
		return nil, err
	}
	return &heldBatch{s: s, made: made, piece: speed.IndexedPiece(rel, l.keyColumns())}, nil
}

// keyColumns are where the keys stand in the partial rows.
func (l *pointLine) keyColumns() (columns []int) {
	for i := range l.plan.Keys {
		columns = append(columns, len(l.plan.Groups())-len(l.plan.Keys)+i)
	}
	return columns
}

// A moment is what a batch of questions is answered from.
type moment struct {
	pin      *pin
	partials string        // the relation of partial rows, of which those of l.held are a part
	inMemory []speed.Piece // from which l.held is to be filled
}

// moment takes a pin and what there is at it. The pin is the caller's, even beside an
// error, unless it is nil.
func (l *pointLine) moment(ctx context.Context) (moment, error) {
	if m, ok := l.remembered(); ok {
		return m, nil
	}
	p, err := l.core.pinBy(ctx, nil, l.reader.Begin)
	if err != nil {
		return moment{}, err
	}
	if p.plan(l.plan.Name) != l.plan {
		return moment{pin: p}, errRedefined
	}
	split := p.tx.Split(l.plan)
	l.hold(split.BaseRows+split.LooseRows, split.S)
	return moment{p, united(split.Base, split.Loose, l.heldSelect()), p.heldPieces(l.plan, split.S)}, nil
}

// remembered is moment without the warehouse: the pin has no transaction. What is held
// through some S, and the State's segments behind that S, do not change any more, and
// either tile everything through A, or the State has let segments go since a batch run:
// then there is no such moment.
func (l *pointLine) remembered() (moment, bool) {
	b := l.core.points.held.of(l)
	if b == nil || b.made != l.core.warehouse.Made() || l.core.Ready() != nil {
		return moment{}, false
	}
	st := l.core.speed.State()
	p := &pin{core: l.core, state: st, cut: st.Applied(), stats: map[string]any{}, turn: new(turn)}
	if p.plan(l.plan.Name) != l.plan || ahead(map[string]event.Cut{"": b.s}, p.cut) {
		return moment{}, false
	}
	pieces := p.heldPieces(l.plan, b.s)
	if len(p.problems) > 0 {
		return moment{}, false
	}
	p.tx = l.reader.Outside()
	p.stats["held_rows"] = b.piece.Rows()
	return moment{p, united(l.heldSelect()), append([]speed.Piece{b.piece}, pieces...)}, true
}

func (l *pointLine) heldSelect() string {
	return "SELECT " + columnList(l.plan.Partial) + " FROM " + l.held.SQL()
}
