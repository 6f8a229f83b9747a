package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/speed"
	"github.com/tailwater/tailwater/view"
	"github.com/tailwater/tailwater/warehouse"
)

// Operations is what the core asks of the program around it.
type Operations interface {
	// Landed gives the latest snapshot of a stream's table, or of its dead
	// letters' (event.DeadName), from memory. A snapshot must be announced
	// here before the speed layer is told that it landed.
	Landed(table string) *lake.Snapshot
	// Heads gives the head of each stream's log, H.
	Heads(ctx context.Context) event.Cut
	Status(ctx context.Context) (any, error)
	Ready() error
	RunBatch(ctx context.Context, rebuild bool) (any, error)
	Runs(ctx context.Context) (any, error)
	// Mend is told that the warehouse's file is damaged, and returns at once.
	Mend(why error)
}

// CoreConfig is what a Core puts together.
type CoreConfig struct {
	Speed     *speed.Engine
	Warehouse *warehouse.Warehouse
	Streams   []*event.Schema
	Plans     []*view.Plan
	// GateDB is an in-memory engine that holds no data: the gate's connections
	// come from it.
	GateDB     *duckdb.DB
	Operations Operations
	Logger     *slog.Logger // nil discards
}

// Core answers queries from a State, a warehouse transaction and the landed
// files. It implements Queries.
type Core struct {
	Operations
	speed     *speed.Engine
	warehouse *warehouse.Warehouse
	streams   []*event.Schema
	plans     map[string]*view.Plan // by name
	gate      *Gate
	gateDB    *duckdb.DB
	logger    *slog.Logger
	live      *liveFeeds
	checks    map[string]*checked // by view
}

// NewCore puts the layers together. Whoever stops the layers calls StopLive first.
func NewCore(cfg CoreConfig) *Core {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Core{Operations: cfg.Operations, speed: cfg.Speed, warehouse: cfg.Warehouse, streams: cfg.Streams, gateDB: cfg.GateDB, logger: cfg.Logger,
		plans: map[string]*view.Plan{}, live: newLiveFeeds(), checks: map[string]*checked{}}
	for _, p := range cfg.Plans {
		c.plans[p.Name] = p
		c.checks[p.Name] = newChecked()
	}
	c.gate = NewGate(cfg.GateDB, c)
	return c
}

// Streams lists the streams.
func (c *Core) Streams() []*event.Schema { return c.streams }

// errorsTableName is the relation of the rows on which a view failed.
const errorsTableName = "tailwater.view_errors"

// Tables lists what SQL can name; it makes the core the gate's Catalog.
func (c *Core) Tables() []string {
	names := []string{errorsTableName}
	for _, s := range c.streams {
		names = append(names, s.Stream, event.DeadName(s.Stream))
	}
	for name := range c.plans {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// A pin is one moment held for one query: a State taken before the warehouse
// transaction, and that transaction. Every relation of the query is read at the
// cut of the State.
type pin struct {
	core     *Core
	state    *speed.State
	tx       *warehouse.Txn
	cut      event.Cut
	handles  []*duckdb.Handle
	problems []string // holes and overlaps in the coverage; empty if complete
	stats    map[string]any
	once     sync.Once
}

// pin takes a State, then begins. If a batch run has passed the State (S > A),
// it waits for a newer one: the speed layer is on its way there.
func (c *Core) pin(ctx context.Context, after *event.Position) (*pin, error) {
	if err := c.Ready(); err != nil {
		return nil, err
	}
	if after != nil {
		if _, err := c.speed.Wait(ctx, *after); err != nil {
			switch {
			case errors.Is(err, speed.ErrPositionLost):
				return nil, fmt.Errorf("%w: %v", ErrPositionLost, err)
			case ctx.Err() != nil:
				return nil, fmt.Errorf("%w: position %s is not applied yet", ErrTimeout, after)
			}
			return nil, &Refusal{Code: "position", Message: err.Error()}
		}
	}
	for {
		changed := c.speed.Changed()
		st := c.speed.State()
		tx, err := c.warehouse.Begin(ctx)
		if err != nil {
			return nil, err
		}
		cut := st.Applied()
		if !ahead(tx.Marks(), cut) {
			return &pin{core: c, state: st, tx: tx, cut: cut, stats: map[string]any{}}, nil
		}
		tx.Close()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// ahead reports whether some S is beyond the cut.
func ahead(marks map[string]event.Cut, cut event.Cut) bool {
	for _, s := range marks {
		for src, through := range s {
			if at, ok := cut[src]; ok && through > at {
				return true
			}
		}
	}
	return false
}

// close lets everything go. It is idempotent.
func (p *pin) close() {
	p.once.Do(func() {
		p.tx.Close()
		for _, h := range p.handles {
			h.Close()
		}
	})
}

// run executes the statement in the pin's transaction; the answer owns the pin.
func (p *pin) run(ctx context.Context, sql string) (*Answer, error) {
	rows, err := p.tx.Conn.Query(ctx, sql)
	if err != nil {
		p.close()
		return nil, p.core.queryError(ctx, err)
	}
	a := &Answer{
		Columns:    rows.Columns(),
		Complete:   len(p.problems) == 0,
		Cut:        p.cut,
		Head:       p.core.Heads(ctx),
		Watermark:  p.watermark(),
		Statistics: p.stats,
		Close:      func() { rows.Close(); p.close() },
	}
	if !a.Complete {
		p.stats["incomplete"] = p.problems
	}
	a.Next = func(ctx context.Context) (arrow.RecordBatch, error) {
		b, err := rows.Next(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, p.core.queryError(ctx, err)
		}
		return b, err
	}
	return a, nil
}

// queryError tells the end of a query's time from a failure, and has a damaged
// warehouse mended.
func (c *Core) queryError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if warehouse.Damaged(err) {
		c.Mend(err)
		return fmt.Errorf("%w: the warehouse's file is damaged and is being made anew from the lake", ErrNotReady)
	}
	return err
}

func (p *pin) watermark() map[string]time.Time {
	w := map[string]time.Time{}
	for name, s := range p.state.Streams {
		if at, ok := s.Watermark(); ok {
			w[name] = at
		}
	}
	return w
}

// View answers with the rows of a view.
func (c *Core) View(ctx context.Context, r ViewRequest) (*Answer, error) {
	plan := c.plans[r.Name]
	if plan == nil {
		return nil, c.noView(r.Name)
	}
	p, err := c.pin(ctx, r.After)
	if err != nil {
		return nil, err
	}
	sql, err := plan.AnswerSQL(p.partials(plan, r.Filter), r.Filter)
	if err == nil {
		err = p.readable(ctx, plan, r.Filter)
	}
	if err != nil {
		p.close()
		return nil, &Refusal{Code: "filter", Message: err.Error()}
	}
	return p.run(ctx, sql)
}

// readable checks that the values of a filter are of their keys' types, which the
// statement itself finds only when it has a row to compare.
func (p *pin) readable(ctx context.Context, plan *view.Plan, f view.Filter) error {
	types := map[string]event.Type{"window_start": {Kind: event.Timestamp}}
	for _, k := range plan.Keys {
		types[strings.ToLower(k.Name)] = k.Type
	}
	for _, w := range f.Where {
		typ, known := types[strings.ToLower(w.Key)]
		if !known || w.Null || typ.Kind == event.Varchar {
			continue
		}
		if _, err := p.tx.Conn.Collect(ctx, "SELECT CAST("+duckdb.Literal(w.Value)+" AS "+typ.String()+") AS v"); err != nil {
			return fmt.Errorf("%s is %s, and %q is none", w.Key, typ, w.Value)
		}
	}
	return nil
}

func (c *Core) noView(name string) error {
	var names []string
	for n := range c.plans {
		names = append(names, n)
	}
	slices.Sort(names)
	return fmt.Errorf("%w: view %q; there are: %s", ErrNotFound, name, strings.Join(names, ", "))
}

// Views lists the views with their columns, and what each of them is.
func (c *Core) Views(context.Context) (any, error) {
	type column struct {
		Name     string    `json:"name"`
		Type     string    `json:"type"`
		Role     view.Role `json:"role"`
		Additive bool      `json:"additive"`
	}
	type window struct {
		Kind   string `json:"kind"`
		SizeMS int64  `json:"size_ms"`
	}
	type entry struct {
		View        string   `json:"view"`
		Stream      string   `json:"stream"`
		Version     string   `json:"version"`
		Description string   `json:"description,omitempty"`
		Window      *window  `json:"window"`
		Keys        []string `json:"keys"`
		Columns     []column `json:"columns"`
		SQL         string   `json:"sql"`
	}
	out := []entry{}
	for _, p := range c.plans {
		e := entry{View: p.Name, Stream: p.Stream, Version: p.Version, Description: p.Description, Keys: []string{}, SQL: p.SQL}
		if p.Window != nil {
			e.Window = &window{p.Window.Kind, p.Window.Size.Milliseconds()}
		}
		for _, k := range p.Keys {
			e.Keys = append(e.Keys, k.Name)
		}
		for i, col := range p.Output {
			shown := column{Name: col.Name, Type: col.Type.String(), Role: p.Roles[i]}
			if shown.Role == view.RoleSum {
				shown.Role, shown.Additive = view.RoleMeasure, true
			}
			e.Columns = append(e.Columns, shown)
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.View, b.View) })
	return out, nil
}

// SQL answers with the rows of a statement over streams, dead letters and views.
func (c *Core) SQL(ctx context.Context, r SQLRequest) (*Answer, error) {
	st, err := c.gate.Admit(ctx, r.SQL)
	if err != nil {
		return nil, err
	}
	p, err := c.pin(ctx, r.After)
	if err != nil {
		return nil, err
	}
	relations := map[string]string{}
	for _, table := range st.Tables {
		if relations[table], err = p.relation(ctx, table); err != nil {
			p.close()
			return nil, err
		}
	}
	sql, err := st.Rewrite(relations)
	if err == nil {
		sql, err = p.presentable(ctx, sql)
	}
	if err != nil {
		p.close()
		if own := c.ownError(ctx, r.SQL); own != nil {
			err = own
		}
		return nil, c.queryError(ctx, err)
	}
	return p.run(ctx, sql)
}

// ownError gives the engine's objection to a statement as its author wrote it,
// with the place and the candidates in the author's text: it binds the statement
// over empty tables of the catalogue's names. nil if it binds there.
func (c *Core) ownError(ctx context.Context, sql string) error {
	conn, err := c.gateDB.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Exec(ctx, c.emptyTables()); err != nil {
		return err
	}
	_, err = conn.Describe(ctx, sql)
	var engine *duckdb.Error
	if errors.As(err, &engine) {
		return &Refusal{Code: "sql", Message: engine.Message}
	}
	return nil
}

// emptyTables makes the catalogue's tables, without rows, for one connection.
func (c *Core) emptyTables() string {
	var sb strings.Builder
	table := func(name string, columns []event.Column) {
		var defs []string
		for _, col := range columns {
			defs = append(defs, duckdb.Ident(col.Name)+" "+col.Type.String())
		}
		fmt.Fprintf(&sb, "CREATE TEMP TABLE %s (%s);\n", duckdb.Ident(name), strings.Join(defs, ", "))
	}
	for _, s := range c.streams {
		table(s.Stream, s.Relation())
		dead := event.DeadSchema(s.Stream)
		table(dead.Stream, dead.Relation())
	}
	for _, p := range c.plans {
		table(p.Name, p.Output)
	}
	return sb.String()
}

// presentable wraps a statement so that every column has a type that answers
// can carry: nested values become JSON, others text.
func (p *pin) presentable(ctx context.Context, sql string) (string, error) {
	columns, err := p.tx.Conn.Describe(ctx, sql)
	if err != nil {
		return "", err
	}
	names, items, wrap := make([]string, len(columns)), make([]string, len(columns)), false
	for i, col := range columns {
		names[i] = fmt.Sprintf("c%d", i)
		items[i] = names[i] + " AS " + duckdb.Ident(col.Name)
		if _, err := duckdb.ParseType(col.SQLType); err == nil {
			continue
		}
		wrap = true
		items[i] = "CAST(" + names[i] + " AS " + presentType(col.SQLType) + ") AS " + duckdb.Ident(col.Name)
	}
	if !wrap {
		return sql, nil
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM (" + sql + ") AS answer(" + strings.Join(names, ", ") + ")", nil
}

// presentType is what a type outside event's kinds is shown as.
func presentType(sqlType string) string {
	switch {
	case strings.HasPrefix(sqlType, "STRUCT("), strings.HasPrefix(sqlType, "MAP("), strings.HasSuffix(sqlType, "]"):
		return "JSON"
	case sqlType == "UBIGINT":
		return "HUGEINT"
	case sqlType == "UTINYINT", sqlType == "USMALLINT", sqlType == "UINTEGER":
		return "BIGINT"
	case strings.HasPrefix(sqlType, "TIMESTAMP"):
		return "TIMESTAMP"
	}
	return "VARCHAR"
}
