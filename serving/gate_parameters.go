package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A Parameter is a value for $1 or $name in a statement. It becomes a constant of
// the tree before the Gate looks at it, so that a size may be a parameter, and no
// text of it is ever parsed as SQL.
type Parameter struct {
	Name string // "1", "2", … or a name, without the dollar sign
	// Value is nil, bool, int64, float64, json.Number or string. A string without
	// a Type is an untyped literal: it takes the type of what it is compared with.
	Value any
	// Type, unless empty, is the engine type that the value is cast to.
	Type string
}

// sql writes the value as a literal.
func (p Parameter) sql() (string, error) {
	var text string
	switch v := p.Value.(type) {
	case nil:
		text = "NULL"
	case bool:
		text = strconv.FormatBool(v)
	case int64:
		text = strconv.FormatInt(v, 10)
	case json.Number:
		if _, err := strconv.ParseFloat(v.String(), 64); err != nil || strings.ContainsAny(v.String(), "xXpPnN_") {
			return "", &Refusal{Code: "bad_parameter", Message: fmt.Sprintf("parameter $%s: %q is no number", p.Name, v)}
		}
		text = v.String()
	case float64:
		text = "CAST('" + strconv.FormatFloat(v, 'g', -1, 64) + "' AS DOUBLE)"
		if math.IsInf(v, 0) || math.IsNaN(v) {
			text = "CAST('" + strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+") + "' AS DOUBLE)"
		}
	case string:
		if strings.ContainsRune(v, 0) {
			return "", &Refusal{Code: "bad_parameter", Message: fmt.Sprintf("parameter $%s holds a NUL character", p.Name)}
		}
		text = duckdb.Literal(v)
	default:
		return "", fmt.Errorf("parameter $%s: a %T cannot be a value", p.Name, p.Value)
	}
	if p.Type != "" {
		text = "CAST(" + text + " AS " + p.Type + ")"
	}
	return text, nil
}

// parameterNames gives the parameters of a parsed statement: the numbered ones in
// order, then the named ones as they first appear.
func parameterNames(statement any) []string {
	node, _ := statement.(map[string]any)
	list, _ := node["named_param_map"].([]any)
	var names []string
	for _, e := range list {
		entry, _ := e.(map[string]any)
		names = append(names, text(entry, "key"))
	}
	slices.SortFunc(names, func(a, b string) int {
		na, errA := strconv.Atoi(a)
		nb, errB := strconv.Atoi(b)
		switch {
		case errA == nil && errB == nil:
			return na - nb
		case errA == nil:
			return -1
		case errB == nil:
			return 1
		}
		return strings.Compare(a, b)
	})
	return names
}

// bindParameters puts the values in the places of a statement's parameters.
func (g *Gate) bindParameters(ctx context.Context, statement any, values []Parameter) error {
	wanted := parameterNames(statement)
	if len(wanted) == 0 && len(values) == 0 {
		return nil
	}
	constants := map[string]any{}
	for _, v := range values {
		if !slices.Contains(wanted, v.Name) {
			return &Refusal{Code: "bad_parameter", Message: fmt.Sprintf("the statement has no parameter $%s", v.Name), Hint: parameterHint(wanted)}
		}
		literal, err := v.sql()
		if err != nil {
			return err
		}
		if constants[v.Name], err = g.constant(ctx, literal); err != nil {
			return &Refusal{Code: "bad_parameter", Message: fmt.Sprintf("parameter $%s: the type %s is not known", v.Name, v.Type)}
		}
	}
	for _, name := range wanted {
		if _, ok := constants[name]; !ok {
			return &Refusal{Code: "bad_parameter", Message: fmt.Sprintf("parameter $%s has no value", name), Hint: parameterHint(wanted)}
		}
	}
	if err := g.name(ctx, parameterOutputs(statement, nil)); err != nil {
		return err
	}
	putConstants(statement, constants)
	return nil
}

// putConstants replaces the parameters of a statement.
func putConstants(statement any, constants map[string]any) {
	node, _ := statement.(map[string]any)
	node["named_param_map"] = []any{}
	eachParameter(node["node"], func(p map[string]any) { replaceParameter(p, constants[text(p, "identifier")]) })
}

// parameterOutputs adds the columns without an alias in which a parameter stands:
// their names must not depend on its value.
func parameterOutputs(v any, to []map[string]any) []map[string]any {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			to = parameterOutputs(e, to)
		}
	case map[string]any:
		list, _ := v["select_list"].([]any)
		for _, e := range list {
			if output, ok := e.(map[string]any); ok && text(output, "alias") == "" && text(output, "class") != "STAR" && hasParameter(output) {
				to = append(to, output)
			}
		}
		for _, e := range v {
			to = parameterOutputs(e, to)
		}
	}
	return to
}

func hasParameter(v any) (found bool) {
	eachParameter(v, func(map[string]any) { found = true })
	return found
}

// constant parses an expression, which must be one and nothing else.
func (g *Gate) constant(ctx context.Context, expression string) (any, error) {
	tree, err := g.parse(ctx, "SELECT "+expression)
	if err != nil {
		return nil, err
	}
	statements := duckdb.Statements(tree)
	list, _ := statements[0].(map[string]any)["node"].(map[string]any)["select_list"].([]any)
	if len(statements) != 1 || len(list) != 1 {
		return nil, &Refusal{Code: "syntax", Message: "an expression is expected"}
	}
	return list[0], nil
}

func parameterHint(wanted []string) string {
	if len(wanted) == 0 {
		return "it has none"
	}
	return "its parameters are $" + strings.Join(wanted, ", $")
}

// eachParameter visits the parameters of a tree.
func eachParameter(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			eachParameter(e, visit)
		}
	case map[string]any:
		if text(v, "class") == "PARAMETER" {
			visit(v)
			return
		}
		for _, e := range v {
			eachParameter(e, visit)
		}
	}
}

// replaceParameter turns the node of a parameter into a copy of a constant. Nodes
// of one parameter must not share members: the Gate changes them one by one.
func replaceParameter(node map[string]any, constant any) {
	alias := text(node, "alias")
	copied, _ := clone(constant).(map[string]any)
	clear(node)
	for name, v := range copied {
		node[name] = v
	}
	node["alias"] = alias
}

func clone(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[name] = clone(e)
		}
		return out
	}
	return v
}
