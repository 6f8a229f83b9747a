package view

import (
	"fmt"

	"github.com/tailwater/tailwater/event"
)

// A view that cannot be put together from partial rows is planned over the stream: its
// own SQL is run over the events through the cut, whenever it is asked for. That is as
// exact as any other view, and costs what the events cost.

// direct makes a plan over the stream of what is known of the query.
func (b *builder) direct(p *Plan) (*Plan, error) {
	p.Direct = true
	p.stmts.partial, p.stmts.merge, p.stmts.reshape, p.stmts.fold = template{}, template{}, template{}, template{}
	p.stmts.parts = parts{}
	p.stmts.regroup.obstacle = "it is computed from the events"
	b.nameKeys(p)
	p.Roles = b.roles()
	if b.q.window != nil {
		p.Partial = append(p.Partial, event.Column{Name: "pane", Type: event.Type{Kind: event.Timestamp}})
	}
	for _, k := range p.Keys {
		p.Partial = append(p.Partial, event.Column{Name: k.Column, Type: k.Type})
	}
	if err := b.typePlain(p); err != nil {
		return nil, err
	}
	p.stmts.finish = p.stmts.plain
	if err := b.typeOrder(p, b.typer.stub); err != nil {
		return nil, err
	}
	p.stmts.bounds = b.bounds(p.stmts.plain, p.Output)
	if _, err := b.columns(p.CheckedSQL(b.typer.stub)); err != nil {
		return nil, fmt.Errorf("planner: type the bounds of view %s: %w", p.Name, err)
	}
	p.Version = b.version(p)
	return p, nil
}
