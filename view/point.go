package view

import "strings"

// The columns of PointSQL's groups besides those of the keys.
const (
	PointFrom = "pane_from"
	PointTo   = "pane_to"
)

// PointSQL is KeyedSQL of the groups that a relation names. It has a row for each of
// them, with the columns of the keys in the partial rows and, if there is a window,
// those of the first and behind the last of its panes. No two rows may have the same
// keys. The view must be Local and have keys.
//
// The text does not depend on what is asked: it can be prepared once. The relation
// stands in it once, in a join whose other side is the partial rows: DuckDB 1.5.5 keeps
// the filters that it makes of a join's rows in a prepared statement, and may read a
// table by those of the last execution if the join is not the table's own.
func (p *Plan) PointSQL(partials, groups string) (string, error) {
	var same []string
	for _, k := range p.Keys {
		same = append(same, "_f."+k.Column+" = _q."+k.Column)
	}
	if p.Window != nil {
		same = append(same, "_f.pane >= _q."+PointFrom, "_f.pane < _q."+PointTo)
	}
	narrowed := "(SELECT _f.* FROM (FROM " + partials + ") AS _f JOIN " + groups + " AS _q ON " + strings.Join(same, " AND ") + ") AS _n"
	return p.answer(Split{Loose: narrowed}, Filter{}, true)
}
