package event

import (
	"fmt"
	"strings"
)

// A stream changes in one way: it gains columns that may be NULL, behind those that it
// has. What was written before, in log, lake and warehouse, then keeps its meaning, and
// is NULL in the new columns.

// A ColumnsError says why columns cannot follow others.
type ColumnsError struct{ Message, Remedy string }

func (e *ColumnsError) Error() string { return e.Message + "; " + e.Remedy }

// Added gives the columns that a stream gains when those of now follow those of was.
// Any other change is a *ColumnsError.
func Added(was, now []Column) ([]Column, error) {
	for i, old := range was {
		if i < len(now) && now[i] == old {
			continue
		}
		return nil, changedColumn(was, now, i)
	}
	added := now[len(was):]
	for _, c := range added {
		if c.NotNull {
			return nil, &ColumnsError{fmt.Sprintf("column %q is new and NOT NULL, and earlier events have no value for it", c.Name), "leave NOT NULL out"}
		}
	}
	return added, nil
}

const newStream = ", or name a new stream"

// changedColumn tells what became of column i, the first one that is not as it was.
func changedColumn(was, now []Column, i int) error {
	old := was[i]
	at := (&Schema{Columns: now}).Index(old.Name)
	var next Column
	if i < len(now) {
		next = now[i]
	}
	isNew := next.Name != "" && (&Schema{Columns: was}).Index(next.Name) < 0
	switch {
	case at < 0 && isNew && next.Type == old.Type:
		return &ColumnsError{fmt.Sprintf("column %q is named %q now", old.Name, next.Name), "give it its old name, under which its values are stored, and let views rename it" + newStream}
	case at < 0:
		return &ColumnsError{fmt.Sprintf("column %q is gone", old.Name), "give it back" + newStream}
	case now[at].Name != old.Name:
		return &ColumnsError{fmt.Sprintf("column %q is written %q now", old.Name, now[at].Name), "write it as before"}
	case now[at].Type != old.Type:
		return &ColumnsError{fmt.Sprintf("column %q is %s now and was %s", old.Name, now[at].Type, old.Type), "give it its old type and let views cast it, add another column at the end" + newStream}
	case now[at].NotNull && !old.NotNull:
		return &ColumnsError{fmt.Sprintf("column %q is NOT NULL now and was not", old.Name), "leave NOT NULL out" + newStream}
	case old.NotNull && !now[at].NotNull:
		return &ColumnsError{fmt.Sprintf("column %q was NOT NULL and is not now", old.Name), "write NOT NULL again" + newStream}
	case isNew:
		return &ColumnsError{fmt.Sprintf("column %q is new and stands before %q", next.Name, old.Name), "put it at the end"}
	}
	return &ColumnsError{fmt.Sprintf("column %q has another place than before", old.Name), "leave the columns in their order, new ones at the end"}
}

// Definition gives a column as CREATE TABLE has it.
func (c Column) Definition() string {
	name := c.Name
	if strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	if c.NotNull {
		return name + " " + c.Type.String() + " NOT NULL"
	}
	return name + " " + c.Type.String()
}

// Older gives every schema that the stream can have had: those with fewer of the
// columns at its end that may be NULL. What is written under one of them names it by
// its fingerprint, so that nothing has to remember which there were.
func (s *Schema) Older() []*Schema {
	var out []*Schema
	for n := len(s.Columns) - 1; n > 0 && !s.Columns[n].NotNull; n-- {
		older := *s
		older.Columns = s.Columns[:n:n]
		if older.TimeColumn >= n {
			older.TimeColumn = -1
		}
		if older.IDColumn >= n {
			older.IDColumn = -1
		}
		out = append(out, &older)
	}
	return out
}
