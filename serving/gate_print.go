package serving

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// places are names that stand in a printed statement where something else will. They
// hold what no author of a statement can know beforehand.
type places struct{ prefix string }

func newPlaces() places { return places{"tw_" + strings.ToLower(rand.Text()) + "_"} }

// name gives the name of the n-th place; all have one length.
func (p places) name(n int) string { return fmt.Sprintf("%s%05d", p.prefix, n) }

// cut takes a text apart at the places.
func (p places) cut(sql string) *printed {
	var out printed
	for {
		before, rest, found := strings.Cut(sql, p.prefix)
		out.texts = append(out.texts, before)
		if !found {
			return &out
		}
		n, err := strconv.Atoi(rest[:5])
		if err != nil {
			panic("serving: a place without a number") // the names are all of name's making
		}
		out.places = append(out.places, n)
		sql = rest[5:]
	}
}

// A printed is a text with places in it: texts[i], places[i], texts[i+1] and so on.
type printed struct {
	texts  []string
	places []int
}

// fill puts something in each place.
func (p *printed) fill(with func(place int) string) string {
	var sb strings.Builder
	for i, text := range p.texts {
		sb.WriteString(text)
		if i < len(p.places) {
			sb.WriteString(with(p.places[i]))
		}
	}
	return sb.String()
}

// print prints the SELECT of a part's first rows, with a place for the part.
func (t *top) print(db *duckdb.DB, at places, alias string) error {
	tree, err := db.Parse(context.Background(), fmt.Sprintf("SELECT * FROM %s AS %s ORDER BY 1 LIMIT %d", at.name(0), duckdb.Ident(alias), t.rows))
	if err != nil {
		return err
	}
	node := duckdb.Statements(tree)[0].(map[string]any)["node"].(map[string]any)
	node["where_clause"] = t.query["where_clause"]
	node["modifiers"].([]any)[0] = t.query["modifiers"].([]any)[0]
	sql, err := db.Print(context.Background(), tree)
	if err != nil {
		return err
	}
	t.printed = at.cut(sql)
	return nil
}
