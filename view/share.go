package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// parts are a partial statement in pieces, so that views that group the same
// events alike can share one. A statement of another form has no parts.
type parts struct {
	group, slots []string // SQL of the columns: pane and keys, then state
	names        []string // of group, then of slots
	from         template // "FROM … WHERE …"
}

func (p parts) template() template {
	columns := slices.Concat(p.group, p.slots)
	for i := range columns {
		columns[i] += " AS " + p.names[i]
	}
	t := template{"SELECT " + strings.Join(columns, ", ") + p.from.before, p.from.after}
	for i := range p.group {
		t.after += []string{" GROUP BY ", ", "}[min(i, 1)] + fmt.Sprint(i+1)
	}
	return t
}

// sharing tells which views can share: those whose events are the same, by the
// text of FROM and WHERE, and whose groups are, in any order. Where an expression
// can fail, FROM has all row expressions of the view in it, because an event that
// fails one view is left out of that view alone: only views of the same row
// expressions share.
func (p *Plan) sharing() string {
	s := p.stmts.parts
	if s.from == (template{}) {
		return fmt.Sprintf("%p", p) // with none: two versions of a view have one name
	}
	return strings.Join(append([]string{p.Stream, s.from.before, s.from.after}, slices.Sorted(slices.Values(s.group))...), "\x00")
}

// A SharedPartial is views over one stream whose partial rows come from one statement:
// they have the same window and keys and count the same events.
type SharedPartial struct {
	Plans []*Plan

	partial template
	columns [][]int // for each of Plans, those of the statement that are its Partial; nil if it is alone
}

// Share puts views over one stream into groups, in order of their first views.
// Every view is in one of them, most often alone.
func Share(plans []*Plan) []SharedPartial {
	var groups []SharedPartial
	at := map[string]int{}
	for _, p := range plans {
		id := p.sharing()
		i, ok := at[id]
		if !ok {
			i = len(groups)
			at[id] = i
			groups = append(groups, SharedPartial{})
		}
		groups[i].Plans = append(groups[i].Plans, p)
	}
	for i := range groups {
		groups[i].unite()
	}
	return groups
}

// unite makes the statement with the slots of all views.
func (s *SharedPartial) unite() {
	first := s.Plans[0].stmts
	if len(s.Plans) == 1 {
		s.partial = first.partial
		return
	}
	all := parts{group: first.parts.group, from: first.parts.from}
	for _, p := range s.Plans {
		for _, slot := range p.stmts.parts.slots {
			if !slices.Contains(all.slots, slot) {
				all.slots = append(all.slots, slot)
			}
		}
	}
	for _, p := range s.Plans {
		var columns []int
		for _, k := range p.stmts.parts.group {
			columns = append(columns, slices.Index(all.group, k))
		}
		for _, slot := range p.stmts.parts.slots {
			columns = append(columns, len(all.group)+slices.Index(all.slots, slot))
		}
		s.columns = append(s.columns, columns)
	}
	for i := range len(all.group) + len(all.slots) {
		all.names = append(all.names, fmt.Sprintf("c%d", i))
	}
	s.partial = all.template()
}

// PartialSQL gives the statement events → partial rows of all views of the group.
// It may fail where a view's own would not: on state of another view.
func (s *SharedPartial) PartialSQL(events string) string { return s.partial.over(events) }

// Of picks the partial rows of a view, Plans[i], from those of the statement. It
// copies nothing.
func (s *SharedPartial) Of(i int, rows *duckdb.Relation) *duckdb.Relation {
	if len(s.Plans) == 1 {
		return rows
	}
	of := &duckdb.Relation{Columns: s.Plans[i].Partial}
	for _, b := range rows.Batches {
		of.Batches = append(of.Batches, picked{b, s.columns[i]})
	}
	return of
}

// picked are some columns of a batch.
type picked struct {
	duckdb.Batch
	columns []int
}

func (p picked) Column(i int) arrow.Array { return p.Batch.Column(p.columns[i]) }
