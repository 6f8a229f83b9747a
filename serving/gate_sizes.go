package serving

import (
	"fmt"
	"strings"
)

// The engine cannot be stopped while it plans, and some small statements take it
// minutes: it repeats the text behind an alias wherever the alias stands, tries
// orders of joins, and binds a scalar subquery up to three times. The bounds are
// a fifth, or less, of what took a second.
const (
	maxJoined      = 24     // tables in one join, those of its subqueries included
	maxLeaves      = 500    // tables read, those of a WITH clause once for each use
	maxBound       = 5_000  // tables bound, those of a scalar subquery three times
	maxAliased     = 1_000  // parts that uses of aliases within their own SELECT repeat
	maxColumns     = 10_000 // that stars may become, at starColumns for a table
	starColumns    = 30
	maxConjunction = 500    // conditions of one AND or OR
	maxArrays      = 10_000 // values of array types
	maxSets        = 128    // grouping sets: each is an aggregation of its own
	maxSetKeys     = 1_000  // keys of all grouping sets
	maxWindows     = 200    // calls with OVER
	maxPivot       = 500    // columns of a PIVOT
)

// A size is what a query costs to plan.
type size struct {
	leaves  int // tables read
	joined  int // tables that are joined with each other
	bound   int // tables that the engine binds
	columns int // of the result
}

// add puts a part beside what there is: a subquery, a table.
func (s *size) add(part size) {
	s.leaves = min(s.leaves+part.leaves, maxLeaves+1) // no overflow, however the uses double
	s.joined = min(s.joined+part.joined, maxJoined+1)
	s.bound = min(s.bound+part.bound, maxBound+1)
	s.columns = min(s.columns+part.columns, maxColumns+1)
}

// measured runs check and gives the size of what it walks.
func (w *walker) measured(check func() error) (size, error) {
	outer := w.size
	w.size = size{}
	err := check()
	inner := w.size
	w.size = outer
	return inner, err
}

// bounded refuses what is too large to plan.
func (w *walker) bounded(s size) error {
	switch {
	case s.joined > maxJoined:
		return &Refusal{Code: "too_complex", Message: fmt.Sprintf("more than %d tables are joined", maxJoined), Hint: "aggregate before joining, or split the statement"}
	case s.leaves > maxLeaves:
		return &Refusal{Code: "too_complex", Message: fmt.Sprintf("the statement reads more than %d tables, those of a WITH clause once for each use", maxLeaves), Hint: "use each name of a WITH clause fewer times"}
	case s.bound > maxBound:
		return &Refusal{Code: "too_complex", Message: "scalar subqueries are nested too deeply", Hint: "join instead"}
	case s.columns > maxColumns:
		return &Refusal{Code: "too_complex", Message: fmt.Sprintf("the stars of the statement may become more than %d columns", maxColumns), Hint: "name the columns"}
	}
	return nil
}

// groupingSets bounds what ROLLUP, CUBE and GROUPING SETS multiply to.
func (w *walker) groupingSets(node map[string]any) error {
	sets, _ := node["group_sets"].([]any)
	keys := 0
	for _, set := range sets {
		list, _ := set.([]any)
		keys += len(list)
	}
	if len(sets) > maxSets || len(sets) > 1 && keys > maxSetKeys {
		return &Refusal{Code: "too_complex", Message: fmt.Sprintf("the statement has more than %d grouping sets, or %d keys in them", maxSets, maxSetKeys), Hint: "name the GROUPING SETS that are needed"}
	}
	return nil
}

// selectList checks the items of a SELECT before the rest of the node, which may
// use their aliases: the engine puts the whole expression in place of each use.
func (w *walker) selectList(node map[string]any, in *scope) error {
	items, _ := node["select_list"].([]any)
	w.aliases = append(w.aliases, map[string]int{})
	known := w.aliases[len(w.aliases)-1]
	for _, e := range items {
		before := w.nodes + w.aliased
		if err := w.expr(e, in); err != nil {
			return err
		}
		item, _ := e.(map[string]any)
		if alias := strings.ToLower(text(item, "alias")); alias != "" {
			known[alias] = max(known[alias], w.nodes+w.aliased-before)
		}
	}
	return nil
}

// useOfAlias counts what a name repeats, if it is one of an item of the SELECT.
func (w *walker) useOfAlias(node map[string]any) error {
	names, _ := node["column_names"].([]any)
	if len(names) == 0 {
		return nil
	}
	name, _ := names[len(names)-1].(string)
	for _, known := range w.aliases {
		w.aliased += max(0, known[strings.ToLower(name)]-1)
	}
	if w.aliased > maxAliased {
		return w.refuse(node, "too_complex", "compute it in a subquery, and use its column", "the aliases of the SELECT list stand for too much")
	}
	return nil
}

// pivot bounds the columns that PIVOT makes: the values of its keys, multiplied.
// The parser gives the tree of those with their values written out alone.
func (w *walker) pivot(node map[string]any) error {
	made := 1
	pivots, _ := node["pivots"].([]any)
	for _, p := range pivots {
		pivot, _ := p.(map[string]any)
		entries, _ := pivot["entries"].([]any)
		made *= max(len(entries), 1)
		if made > maxPivot {
			return w.refuse(node, "too_complex", "", "PIVOT makes more than %d columns", maxPivot)
		}
	}
	aggregates, _ := node["aggregates"].([]any)
	w.size.add(size{columns: made * max(len(aggregates), 1)})
	return nil
}

// stars counts the columns that a SELECT list may have.
func stars(node map[string]any, from int) int {
	items, _ := node["select_list"].([]any)
	n := 0
	for _, e := range items {
		n = min(n+1+starsIn(e)*max(from, 1), maxColumns+1)
	}
	return n
}

func starsIn(v any) int {
	switch v := v.(type) {
	case []any:
		n := 0
		for _, e := range v {
			n += starsIn(e)
		}
		return n
	case map[string]any:
		if text(v, "type") == "SELECT_NODE" {
			return 0
		}
		if text(v, "class") == "STAR" {
			return 1
		}
		n := 0
		for _, e := range v {
			n += starsIn(e)
		}
		return n
	}
	return 0
}
