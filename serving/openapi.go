package serving

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/problem"
)

// openapi answers the document: the routes, and the project's own views, queries and
// streams with their columns.
func (s *server) openapi(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	views, err := s.viewsOf(r)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-cache")
	return reply(w)(s.document(r, views), nil)
}

// A documentedView is what the document needs of a view, as /v1/views lists it.
type documentedView struct {
	View, Description string
	Keys              []string
	Window            *struct{}
	Columns           []struct{ Name, Type string }
}

func (s *server) viewsOf(r *http.Request) (views []documentedView, err error) {
	listed, err := s.q.Views(r.Context())
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(listed)
	if err != nil {
		return nil, fmt.Errorf("list the views: %w", err)
	}
	if err := json.Unmarshal(text, &views); err != nil {
		return nil, fmt.Errorf("list the views: %w", err)
	}
	return views, nil
}

func (s *server) document(r *http.Request, views []documentedView) object {
	paths := object{}
	add := func(path, method string, o object) {
		of, ok := paths[path].(object)
		if !ok {
			of = object{}
			paths[path] = of
		}
		of[strings.ToLower(method)] = o
	}
	for _, o := range operations {
		method, path, _ := strings.Cut(o.pattern, " ")
		if path != "/metrics" || s.cfg.Metrics != nil {
			add(path, method, o.json(nil))
		}
	}
	for _, v := range views {
		add("/v1/views/"+v.View, http.MethodGet, operationOf("GET /v1/views/{view}").ofView(v).json(rowSchema(v.Columns)))
	}
	for _, q := range s.seenQueries(r.Context()) {
		rows := rowSchemaOf(q.Columns)
		add("/v1/queries/"+q.Name, http.MethodGet, operationOf("GET /v1/queries/{query}").ofQuery(q).json(rows))
		add("/v1/queries/"+q.Name, http.MethodPost, operationOf("POST /v1/queries/{query}").ofQuery(q).json(rows))
	}
	for _, schema := range s.seen(r.Context()) {
		add("/v1/streams/"+schema.Stream+"/events", http.MethodPost, operationOf("POST /v1/streams/{stream}/events").ofStream(schema).json(nil))
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "Tailwater", "version": "1", "description": "Real-time and historical answers over event streams, exact at one cut. " +
			"Parameters that an address does not know are refused."},
		"paths":      paths,
		"components": object{"schemas": schemas, "securitySchemes": object{"key": object{"type": "http", "scheme": "bearer"}}},
		"security":   []any{object{}, object{"key": []any{}}}, // authentication may be off
	}
}

func operationOf(pattern string) operation {
	return operations[slices.IndexFunc(operations, func(o operation) bool { return o.pattern == pattern })]
}

// without drops the parameters of the path, and the named ones.
func (o operation) without(names ...string) operation {
	o.parameters = slices.DeleteFunc(slices.Clone(o.parameters), func(p parameter) bool { return p.in == "path" || slices.Contains(names, p.name) })
	return o
}

// ofView is the operation for one view: its keys are parameters by name.
func (o operation) ofView(v documentedView) operation {
	o = o.without("where.KEY")
	o.summary, o.description = "Rows of the view "+v.View, v.Description
	types := map[string]string{}
	for _, c := range v.Columns {
		types[strings.ToLower(c.Name)] = c.Type
	}
	keys := slices.Clone(v.Keys)
	if v.Window != nil {
		keys = append(keys, "window_start")
	} else {
		o = o.without("from", "to", "fill")
	}
	for _, k := range keys {
		typ := types[strings.ToLower(k)]
		o.parameters = append(o.parameters, parameter{name: "where." + k, schema: typed("string"), repeated: true, description: strings.TrimSpace(typ + " of the key, or several")})
		for _, end := range sortedKeys(comparisons) {
			o.parameters = append(o.parameters, parameter{name: "where." + k + end, schema: typed("string"), description: "rows whose key is " + comparisons[end] + " the value"})
		}
	}
	return o
}

func (o operation) ofQuery(q NamedQuery) operation {
	o = o.without()
	o.summary, o.description = "Rows of the query "+q.Name, q.Description
	properties, required := object{}, []any{}
	for _, p := range q.Parameters {
		schema := schemaOf(p.Type, p.Optional)
		if p.Default != nil {
			schema["default"] = p.Default
		}
		properties[p.Name] = schema
		if !p.Optional {
			required = append(required, p.Name)
		}
		if o.body == nil {
			o.parameters = append(o.parameters, parameter{name: p.Name, schema: schema, required: !p.Optional, example: p.Sample(), description: p.Type.String()})
		}
	}
	if o.body != nil {
		o.body = object{"application/json": object{"schema": object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}}}
	}
	return o
}

func (o operation) ofStream(s *event.Schema) operation {
	o = o.without()
	o.summary = "Send events to the stream " + s.Stream
	properties, required := object{}, []any{}
	for _, c := range s.Columns {
		properties[c.Name] = schemaOf(c.Type, !c.NotNull)
		if c.NotNull {
			required = append(required, c.Name)
		}
	}
	record := object{"type": "object", "properties": properties, "required": required}
	o.body = object{
		"application/x-ndjson": object{"schema": object{"type": "string", "description": "one object a line"}},
		"application/json":     object{"schema": object{"anyOf": []any{record, arrayOf(record)}}},
	}
	return o
}

// json writes the operation; row is the schema of one row, nil if it is not known.
func (o operation) json(row object) object {
	out := object{"summary": o.summary, "responses": o.responses(row)}
	if o.description != "" {
		out["description"] = o.description
	}
	var parameters []any
	for _, p := range o.parameters {
		shown := object{"name": p.name, "in": p.in, "schema": p.schema, "required": p.required, "description": p.description}
		if p.in == "" {
			shown["in"] = "query"
		}
		if p.repeated {
			shown["schema"], shown["style"], shown["explode"] = arrayOf(p.schema), "form", true
		}
		if p.example != nil {
			shown["example"] = p.example
			if p.repeated {
				shown["example"] = []any{p.example}
			}
		}
		parameters = append(parameters, shown)
	}
	if parameters != nil {
		out["parameters"] = parameters
	}
	if o.body != nil {
		out["requestBody"] = object{"content": o.body}
	}
	if o.anything {
		out["x-ignores-unknown-parameters"] = true
	}
	return out
}

func (o operation) responses(row object) object {
	content := object{}
	switch {
	case o.media != "":
		content[o.media] = object{"schema": typed("string")}
	case o.rows:
		for _, f := range formats {
			content[f.mediaType] = object{}
		}
		content["application/json"] = object{"schema": answerSchema(row)}
	default:
		content["application/json"] = object{"schema": o.answer}
	}
	success := http.StatusOK
	if o.created {
		success = http.StatusCreated
	}
	out := object{strconv.Itoa(success): object{"description": http.StatusText(success), "content": content}}
	for _, status := range append([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusInternalServerError}, o.statuses...) {
		text := http.StatusText(status)
		if status == http.StatusNotModified {
			out[strconv.Itoa(status)] = object{"description": "If-None-Match names the present answer"}
			continue
		}
		out[strconv.Itoa(status)] = object{"description": text, "content": object{problem.ContentType: object{"schema": schemaRef("Problem")}}}
	}
	return out
}

// schemaOf is the JSON form of a type's values.
func schemaOf(t event.Type, null bool) object {
	types, out := []any{}, object{}
	switch t.Kind {
	case event.JSON:
		return object{"description": "any JSON"}
	case event.Boolean:
		types = append(types, "boolean")
	case event.TinyInt, event.SmallInt, event.Integer, event.BigInt, event.HugeInt:
		types = append(types, "integer")
	case event.Decimal:
		types = append(types, "number")
	case event.Float, event.Double:
		types = append(types, "number", "string") // "NaN", "Infinity"
	case event.Date:
		types, out["format"] = append(types, "string"), "date"
	case event.Timestamp:
		types, out["format"] = append(types, "string"), "date-time"
	case event.Blob:
		types, out["contentEncoding"] = append(types, "string"), "base64"
	default:
		types = append(types, "string")
	}
	if null {
		types = append(types, "null")
	}
	out["description"] = t.String()
	if out["type"] = any(types); len(types) == 1 {
		out["type"] = types[0]
	}
	return out
}

func rowSchemaOf(columns []event.Column) object {
	properties := object{}
	for i, name := range uniqueNames(columns) {
		properties[name] = schemaOf(columns[i].Type, true)
	}
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}
