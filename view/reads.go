package view

import (
	"strings"

	"github.com/tailwater/tailwater/event"
)

// A readColumns gathers which columns of its stream a statement can depend on, from
// names alone: one that it has no name for, and takes by no star, may be added to the
// stream and leaves the view as it is.
type readColumns struct {
	named map[string]bool // lower case; aliases, and columns of other tables, among them
	alone map[string]bool // those of them that stand without a table
	rows  map[string]bool // lower-case names under which a whole row can be taken
	all   bool
}

// look takes note of one node of the statement.
func (c *readColumns) look(n node) {
	if c.named == nil {
		c.named, c.alone, c.rows = map[string]bool{}, map[string]bool{}, map[string]bool{}
	}
	switch {
	case text(n, "type") == "BASE_TABLE":
		c.rows[strings.ToLower(text(n, "table_name"))] = true
		c.rows[strings.ToLower(text(n, "alias"))] = true
	case text(n, "type") == "JOIN":
		c.all = c.all || text(n, "ref_type") == "NATURAL"
		for _, name := range list(n, "using_columns") {
			if name, ok := name.(string); ok {
				c.named[strings.ToLower(name)] = true
			}
		}
	case class(n) == "STAR":
		c.all = true
	}
	parts := names(n)
	for _, name := range parts {
		c.named[strings.ToLower(name)] = true
	}
	if len(parts) == 1 {
		c.alone[strings.ToLower(parts[0])] = true
	}
}

// of gives those of the schema's columns, in order.
func (c *readColumns) of(schema *event.Schema) []string {
	all := c.all
	for row := range c.rows {
		all = all || c.alone[row] && schema.Index(row) < 0
	}
	var out []string
	for _, column := range schema.Columns {
		if all || c.named[strings.ToLower(column.Name)] {
			out = append(out, column.Name)
		}
	}
	return out
}
