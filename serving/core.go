package serving

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/internal/macro"
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
	// Apply brings the views to what the project's files say, and returns what was
	// done; with dryRun it tells what would be.
	Apply(ctx context.Context, dryRun bool) (any, error)
	// Applying tells how far Apply is, if it is at work.
	Applying(ctx context.Context) (any, error)
	// History lists the versions that a view has had, oldest first; ErrNotFound if it
	// never was.
	History(ctx context.Context, view string) (any, error)
	// Mend is told that the warehouse's file is damaged, and returns at once.
	Mend(why error)
}

// CoreConfig is what a Core puts together.
type CoreConfig struct {
	Speed     *speed.Engine
	Warehouse *warehouse.Warehouse
	Streams   []*event.Schema
	// Plans are the views of a core without a speed layer, which binds statements and
	// answers none. The speed layer's are those of its State.
	Plans []*view.Plan
	// References are the project's own tables.
	References []Reference
	// Macros are the project's own; nil if there are none.
	Macros *macro.Set
	// GateDB is an in-memory engine that holds no data: the gate's connections
	// come from it.
	GateDB     *duckdb.DB
	Operations Operations
	// ResultBytes is how much memory results take that are kept for those who ask the
	// same before the cut moves. 64 MiB: some thousand panels of a dashboard.
	ResultBytes int64
	// MinMergedRows is from how many merged partial rows on those that came later are
	// merged with the rows of their own windows alone. 5,000: with fewer it is no gain.
	MinMergedRows int64
	// MemoryLimit is how much the process may take, in bytes, by what Resident says,
	// before queries are stopped; without both nothing is watched.
	MemoryLimit int64
	Resident    func() int64
	// QueryMemory is how much of the engine's memory the queries of one principal may
	// hold together, in bytes; 0 leaves it to the principals' own limits.
	QueryMemory int64
	Logger      *slog.Logger // nil discards
}

// A Reference is a small table of the project's own, held in memory.
type Reference struct {
	Name string
	// Version changes with the content: an answer that read the table names it.
	Version string
	Rows    *duckdb.Relation
}

// Core answers queries from a State, a warehouse transaction and the landed
// files. It implements Queries.
type Core struct {
	Operations
	speed     *speed.Engine
	warehouse *warehouse.Warehouse
	streams   []*event.Schema
	fixed     *speed.Definitions // of a core without a speed layer
	gate      *Gate
	gateDB    *duckdb.DB
	logger    *slog.Logger
	live      *liveFeeds
	checks    sync.Map // view → *checked
	parity    *parity
	shared    *shared
	memory    *memoryWatch
	held      *memoryShares
	turns     *turns
	points    points
	panes     loosePanes
	minMerged int64
	// references by name
	references map[string]Reference
}

// NewCore puts the layers together. Whoever stops the layers calls StopLive first.
func NewCore(cfg CoreConfig) *Core {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.ResultBytes = cmp.Or(cfg.ResultBytes, 64<<20)
	c := &Core{shared: newShared(cfg.ResultBytes), panes: loosePanes{known: map[string]panesAt{}}, minMerged: cmp.Or(cfg.MinMergedRows, minMergedRows), memory: newMemoryWatch(cfg.MemoryLimit, cfg.Resident),
		Operations: cfg.Operations, speed: cfg.Speed, warehouse: cfg.Warehouse, streams: cfg.Streams, gateDB: cfg.GateDB, logger: cfg.Logger,
		references: map[string]Reference{}, fixed: &speed.Definitions{Plans: map[string]*view.Plan{}}, live: newLiveFeeds()}
	for _, p := range cfg.Plans {
		c.fixed.Plans[p.Name] = p
	}
	for _, r := range cfg.References {
		c.references[r.Name] = r
	}
	c.turns = newTurns(func() any { return c.speed.State() })
	c.held = newMemoryShares(cfg.QueryMemory, cfg.Warehouse, c.turns)
	c.parity = newParity()
	c.points.lines = map[*view.Plan]*pointLine{}
	c.points.held.limit = maxHeldBytes
	c.gate = NewGate(cfg.GateDB, c)
	c.gate.macros = cfg.Macros
	return c
}

// definitions are the views at this moment. What takes them and then a pin must look
// at the pin's: between the two some view may be redefined.
func (c *Core) definitions() *speed.Definitions {
	if c.speed == nil {
		return c.fixed
	}
	return c.speed.State().Definitions
}

// Redefined counts how often views were redefined.
func (c *Core) Redefined() uint64 { return c.definitions().Number }

// Streams lists the streams.
func (c *Core) Streams() []*event.Schema { return c.streams }

// errorsTableName is the relation of the rows on which a view failed.
const errorsTableName = "tailwater.view_errors"

// referencesTableName is the relation of the reference tables and their versions.
const referencesTableName = "tailwater.reference_tables"

// tables lists what SQL can name.
func (c *Core) tables() []string {
	names := []string{errorsTableName, referencesTableName}
	for _, s := range c.streams {
		names = append(names, s.Stream, event.DeadName(s.Stream))
	}
	for name := range c.definitions().Plans {
		names = append(names, name)
	}
	for name := range c.references {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// View answers with the rows of a view.
func (c *Core) View(ctx context.Context, r ViewRequest) (*Answer, error) {
	redefined, plan := c.Redefined(), c.plan(ctx, r.Name) // in this order: an answer may be newer than its question
	if plan == nil {
		return nil, c.noView(ctx, r.Name)
	}
	if err := c.mayWait(ctx, r.After, r.At); err != nil {
		return nil, err
	}
	if r.After != nil {
		if err := c.wait(ctx, *r.After); err != nil {
			return nil, err
		}
		r.After = nil
	}
	key, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return c.ask(ctx, fmt.Sprintf("view %d %s", redefined, key), []string{plan.Stream}, r.At, func() (*Answer, error) { return c.view(ctx, r) })
}

// ask answers a question in its canonical form, over some streams, from what is
// known already or by compute.
func (c *Core) ask(ctx context.Context, key string, streams []string, at event.Cut, compute func() (*Answer, error)) (*Answer, error) {
	if err := c.Ready(); err != nil {
		return nil, err
	}
	var asked event.Cut
	if at == nil {
		asked = c.speed.State().Applied()
	}
	a, err := c.shared.answer(ctx, key, streams, asked, compute, func(a *Answer) {
		a.Head = c.Heads(ctx)
		a.Statistics["shared"] = true
		for src, through := range asked {
			if !slices.Contains(streams, src.Stream) {
				a.Cut[src] = through // the rows are those of this cut as well
			}
		}
	})
	return c.scopedAnswer(ctx, a), err
}

// view computes the rows of a view.
func (c *Core) view(ctx context.Context, r ViewRequest) (*Answer, error) {
	if a, err := c.point(ctx, r); a != nil || err != nil {
		return a, err
	}
	p, err := c.query(ctx, r.At)
	if err != nil {
		return nil, err
	}
	plan := p.plan(r.Name)
	if plan == nil {
		p.close()
		return nil, c.noView(ctx, r.Name)
	}
	sql, err := p.answer(ctx, plan, r.Filter)
	if err == nil {
		err = p.readable(ctx, plan, r.Filter)
	}
	ordering := 0
	if err == nil && r.Filter.Paged {
		if ordering, err = plan.PageColumns(r.Filter); err != nil {
			err = refuseFilter(err)
		}
	}
	if err != nil {
		p.close()
		return nil, p.failed(ctx, err)
	}
	a, err := p.run(ctx, sql)
	if err != nil {
		return nil, err
	}
	a.Repeatable, a.Ordering = true, ordering
	return a, nil
}

// refuseFilter is for what a planner says of a filter.
func refuseFilter(err error) error { return &Refusal{Code: "filter", Message: err.Error()} }

// Cut is the cut at which an answer would be given now.
func (c *Core) Cut(ctx context.Context) (event.Cut, error) {
	if err := c.Ready(); err != nil {
		return nil, err
	}
	return c.known(ctx, c.speed.State().Applied()), nil
}

// readable checks that the values of a filter are of their keys' types, which the
// statement itself finds only when it has a row to compare.
func (p *pin) readable(ctx context.Context, plan *view.Plan, f view.Filter) error {
	types := map[string]event.Type{"window_start": {Kind: event.Timestamp}}
	for _, k := range plan.Keys {
		types[strings.ToLower(k.Name)] = k.Type
	}
	for _, w := range f.Values() {
		typ, known := types[strings.ToLower(w.Key)]
		if !known || w.Null || typ.Kind == event.Varchar {
			continue
		}
		if _, err := p.tx.Conn.Collect(ctx, "SELECT CAST("+duckdb.Literal(w.Value)+" AS "+typ.String()+") AS v"); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return refuseFilter(fmt.Errorf("%s is %s, and %q is none", w.Key, typ, w.Value))
		}
	}
	return nil
}

func (c *Core) noView(ctx context.Context, name string) error {
	var names []string
	for n := range c.definitions().Plans {
		if c.plan(ctx, n) != nil {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return fmt.Errorf("%w: view %q; there are: %s", ErrNotFound, name, strings.Join(names, ", "))
}

// Views lists the views with their columns, and what each of them is.
func (c *Core) Views(ctx context.Context) (any, error) {
	type column struct {
		Name     string    `json:"name"`
		Type     string    `json:"type"`
		Role     view.Role `json:"role"`
		Additive bool      `json:"additive"`
	}
	type window struct {
		Kind    string `json:"kind"`
		SizeMS  int64  `json:"size_ms"`
		SlideMS int64  `json:"slide_ms,omitempty"`
		MaxMS   int64  `json:"max_ms,omitempty"`
		Unit    string `json:"unit,omitempty"`
		Zone    string `json:"timezone,omitempty"`
	}
	type entry struct {
		View        string   `json:"view"`
		Direct      bool     `json:"direct"` // computed from the events when it is asked for
		References  []string `json:"references,omitempty"`
		Stream      string   `json:"stream"`
		Version     string   `json:"version"`
		Description string   `json:"description,omitempty"`
		Window      *window  `json:"window"`
		Keys        []string `json:"keys"`
		Columns     []column `json:"columns"`
		SQL         string   `json:"sql"`
	}
	out := []entry{}
	for _, p := range c.definitions().Plans {
		if !access.From(ctx).Sees(p.Name) {
			continue
		}
		e := entry{View: p.Name, Direct: p.Direct, References: p.References, Stream: p.Stream, Version: p.Version, Description: p.Description, Keys: []string{}, SQL: p.SQL}
		if !access.From(ctx).Sees(p.Stream) {
			e.SQL, e.References = "", nil // they tell of what the key may not see
		}
		if p.Window != nil {
			w := p.Window
			e.Window = &window{w.Kind, w.Size.Milliseconds(), w.Slide.Milliseconds(), w.Max.Milliseconds(), w.Unit, w.Zone}
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
