package view

import (
	"strings"

	"github.com/tailwater/tailwater/event"
)

// A Role says what an output column is to those who draw the view.
type Role string

// The roles.
const (
	RoleWindowStart Role = "window_start"
	RoleWindowEnd   Role = "window_end"
	RoleKey         Role = "key"
	// RoleSum is a plain count or sum: over two disjoint sets of events the
	// values add up, so an answer can be told apart into its parts.
	RoleSum     Role = "sum"
	RoleMeasure Role = "measure"
)

// Local reports whether each row of the answer depends on the events of its own
// window and keys alone, which are columns of its partial rows. It is so but for
// LIMIT, QUALIFY and window functions, and for windows that are made of panes, or
// reference tables that are joined after the merge.
func (p *Plan) Local() bool { return p.KeysLocal() && p.stmts.reshape == (template{}) }

// KeysLocal reports whether each row of the answer depends on the partial rows of its
// keys alone.
func (p *Plan) KeysLocal() bool { return p.stmts.pushable && !p.Direct && !p.AfterMerge() }

// Groups are the columns that identify a row of the answer: the window's start, if
// there is a window, and the keys. They are the first of Partial where the answer is
// Local.
func (p *Plan) Groups() []event.Column { return p.merged()[:len(p.groups())] }

// merged are the columns of the merged rows that finish takes, or fold.
func (p *Plan) merged() []event.Column {
	if p.finishes != nil {
		return p.finishes
	}
	return p.Partial
}

// KeyedSQL is AnswerSQL with the columns of Groups behind those of Output.
func (p *Plan) KeyedSQL(partials string, f Filter) (string, error) {
	return p.answer(Split{Loose: partials}, f, true)
}

// NarrowedSQL is a FROM item of those partial rows whose window and keys some row
// of changed has. changed is a FROM item with the columns of Partial.
func (p *Plan) NarrowedSQL(partials, changed string) string {
	groups := p.groups()
	if len(groups) == 0 {
		return partials
	}
	same := make([]string, len(groups))
	for i, c := range groups {
		same[i] = "_f." + c + " IS NOT DISTINCT FROM _c." + c
	}
	list := strings.Join(groups, ", ")
	return "(SELECT _f.* FROM (FROM " + partials + ") AS _f SEMI JOIN (SELECT DISTINCT " + list + " FROM " + changed + ") AS _c ON " + strings.Join(same, " AND ") + ") AS _w"
}

// roles tells the role of each output column.
func (b *builder) roles() []Role {
	var out []Role
	for _, it := range b.q.items {
		role := RoleMeasure
		switch {
		case isBound(it.expr) && names(it.expr)[0] == refStart:
			role = RoleWindowStart
		case isBound(it.expr):
			role = RoleWindowEnd
		case b.q.key(it.expr) >= 0:
			role = RoleKey
		default:
			if c := b.calls[canonical(it.expr)]; c != nil && sums[c.name] && !c.distinct {
				role = RoleSum
			}
		}
		out = append(out, role)
	}
	return out
}

// sums are the aggregates of RoleSum.
var sums = map[string]bool{"count_star": true, "count": true, "count_if": true, "countif": true, "sum": true}
