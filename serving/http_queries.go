package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/project"
)

// queryInfo is a query as /v1/queries lists it.
type queryInfo struct {
	Query       string           `json:"query"`
	Description string           `json:"description,omitempty"`
	Parameters  []queryParameter `json:"parameters"`
	Columns     []streamColumn   `json:"columns"`
	SQL         string           `json:"sql"`
}

type queryParameter struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Required bool   `json:"required"`
	Default  any    `json:"default,omitempty"`
}

func describeQuery(q NamedQuery) queryInfo {
	info := queryInfo{Query: q.Name, Description: q.Description, Parameters: []queryParameter{}, Columns: []streamColumn{}, SQL: q.SQL}
	for _, p := range q.Parameters {
		info.Parameters = append(info.Parameters, queryParameter{p.Name, p.Type.String(), !p.Optional, p.Default})
	}
	for i, name := range uniqueNames(q.Columns) {
		info.Columns = append(info.Columns, streamColumn{Name: name, Type: q.Columns[i].Type.String()})
	}
	return info
}

// seenQueries are those of which the principal of ctx sees every table: the others do
// not exist for it.
func (s *server) seenQueries(ctx context.Context) []NamedQuery {
	p := access.From(ctx)
	return slices.DeleteFunc(slices.Clone(s.cfg.Queries), func(q NamedQuery) bool {
		return slices.ContainsFunc(q.Tables, func(table string) bool { return !p.Sees(table) })
	})
}

func (s *server) queries(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	list := []queryInfo{}
	for _, q := range s.seenQueries(r.Context()) {
		list = append(list, describeQuery(q))
	}
	return reply(w)(map[string]any{"queries": list}, nil)
}

// parseQueryRequest makes a statement of a query and the values given for it, in the
// URL or, with POST, as a JSON object.
func (s *server) parseQueryRequest(r *http.Request) (request SQLRequest, err error) {
	name := r.PathValue("query")
	queries := s.seenQueries(r.Context())
	i := slices.IndexFunc(queries, func(q NamedQuery) bool { return q.Name == name })
	if i < 0 {
		var names []string
		for _, q := range queries {
			names = append(names, q.Name)
		}
		return request, notFound("query", name, names)
	}
	q, values := queries[i], r.URL.Query()
	allowed := slices.Clone(sqlParameters)
	for _, p := range q.Parameters {
		allowed = append(allowed, p.Name)
	}
	if err := checkParameters(values, allowed); err != nil {
		return request, err
	}
	given, err := s.bodyValues(r)
	if err != nil {
		return request, err
	}
	for name := range given {
		if !slices.ContainsFunc(q.Parameters, func(p project.QueryParameter) bool { return p.Name == name }) {
			return request, &Refusal{Code: "unknown_parameter", Message: fmt.Sprintf("there is no parameter %q", name), Hint: "the parameters are " + strings.Join(allowed, ", ")}
		}
	}
	request.SQL = q.SQL
	for _, p := range q.Parameters {
		v, inBody := given[p.Name]
		switch {
		case inBody && values.Has(p.Name):
			return request, badParameter(p.Name, "is given in the URL and in the body")
		case values.Has(p.Name):
			v, inBody = values.Get(p.Name), true
		case !inBody && !p.Optional:
			return request, badParameter(p.Name, "is missing: it is %s", p.Type)
		case !inBody:
			v = p.Default
		}
		if text, isText := v.(string); isText && inBody {
			if v, err = p.Value(text); err != nil {
				return request, &Refusal{Code: "bad_parameter", Message: err.Error()}
			}
		}
		request.Parameters = append(request.Parameters, Parameter{Name: p.Name, Value: v, Type: p.Type.String()})
	}
	return request, s.parseMoment(r, values, &request)
}

// bodyValues reads the values in a body: texts, or nil for null.
func (s *server) bodyValues(r *http.Request) (map[string]any, error) {
	if r.Method != http.MethodPost {
		return nil, nil
	}
	body, err := s.readBody(r)
	if err != nil || len(strings.TrimSpace(string(body))) == 0 {
		return nil, err
	}
	out := map[string]any{}
	const hint = `send the values as an object, as in {"country": "DE"}`
	if err := decodeStrict(body, &out, hint); err != nil {
		return nil, err
	}
	for name, v := range out {
		switch v := v.(type) {
		case json.Number:
			out[name] = v.String()
		case bool:
			out[name] = fmt.Sprint(v)
		case string, nil:
		default:
			text, err := json.Marshal(v) // of a JSON parameter; others refuse it
			if err != nil {
				return nil, badBody(err, hint)
			}
			out[name] = string(text)
		}
	}
	return out, nil
}
