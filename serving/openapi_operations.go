package serving

import "net/http"

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// An operation describes a route. The tests hold the table against the routes, and
// the examples in it against a server.
type operation struct {
	pattern     string // of the route
	summary     string
	description string
	parameters  []parameter
	body        object // by media type; nil if none is taken
	rows        bool   // the answer is rows, in one of formats
	answer      object // else: the schema of the JSON answer
	media       string // else: the media type of an answer that is no JSON
	statuses    []int  // of errors; 400 and 500 are everybody's
	created     bool   // success is 201
	elsewhere   bool   // the route is not this handler's
	anything    bool   // parameters that are not known are let pass
}

// A parameter is one of the URL.
type parameter struct {
	name        string
	in          string // "path" or, if empty, "query"
	schema      object
	description string
	example     any
	required    bool
	repeated    bool // may be given several times
}

func typed(t string) object       { return object{"type": t} }
func schemaRef(n string) object   { return object{"$ref": "#/components/schemas/" + n} }
func arrayOf(items object) object { return object{"type": "array", "items": items} }
func enumOf(values ...any) object { return object{"type": "string", "enum": values} }

// Parameters that several operations have.
var (
	paramView    = parameter{name: "view", in: "path", schema: typed("string"), required: true, description: "the view's name"}
	paramStream  = parameter{name: "stream", in: "path", schema: typed("string"), required: true, description: "the stream's name"}
	paramQuery   = parameter{name: "query", in: "path", schema: typed("string"), required: true, description: "the query's name"}
	paramTimeout = parameter{name: "timeout", schema: typed("string"), example: "10s", description: "limit of the query, waiting included: a Go duration, or seconds"}
	paramAfter   = parameter{name: "after", schema: typed("string"), description: "a position that ingest answered: wait until the answer covers it"}
	paramAt      = parameter{name: "at", schema: typed("string"), description: "a cut that an answer had: answer as of then"}
	paramFrom    = parameter{name: "from", schema: typed("string"), example: "2024-05-01T00:00:00Z", description: "windows whose window_start is at or after it: RFC 3339, or a date or time in UTC"}
	paramTo      = parameter{name: "to", schema: typed("string"), example: "2024-05-02", description: "windows whose window_start is before it"}
	paramWhere   = parameter{name: "where.KEY", schema: typed("string"), repeated: true, description: "rows whose key has the value; given several times, one of the values. where.KEY.gte, .gt, .lte, .lt and .ne compare instead"}
	paramIsNull  = parameter{name: "isnull", schema: typed("string"), repeated: true, description: "a key that is NULL"}
	paramNotNull = parameter{name: "notnull", schema: typed("string"), repeated: true, description: "a key that is not NULL"}
)

// Errors that queries may end with besides 400 and 500.
var queryStatuses = []int{http.StatusNotAcceptable, http.StatusGone, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// viewShape are the parameters of a view's rows behind those that filter them.
var viewShape = []parameter{
	{name: "by", schema: typed("string"), repeated: true, example: "window_start:1d", description: "group up to these keys, and to the window or a coarser one (window_start:6h, :day, :week, :month, :quarter, :year), exactly; empty makes one row of all"},
	{name: "fill", schema: enumOf("null", "0", "previous", "linear"), example: "0", description: "add the windows without events, for each combination of keys in the answer, from from to to or between its first and last window"},
	{name: "top", schema: typed("integer"), example: 3, description: "only so many rows, those with the greatest values of the column in of; needs of"},
	{name: "of", schema: typed("string"), description: "the column of top; with a dash before it the smallest values; needs top"},
	{name: "per", schema: typed("string"), repeated: true, description: "columns: top counts for each combination of their values; needs top"},
	{name: "order", schema: typed("string"), repeated: true, description: "output columns, separated by commas; a dash turns one round"},
	{name: "limit", schema: typed("integer"), example: 2, description: "at most so many rows; up to 100,000 they are a page, and next leads on"},
	{name: "offset", schema: typed("integer"), example: 1, description: "leave out the first rows"},
	{name: "cursor", schema: typed("string"), description: "next of the page before; the other parameters as they were"},
	paramAt, paramAfter, paramTimeout,
}

// operations describes all routes.
var operations = []operation{
	{pattern: "GET /v1/views", summary: "The views", answer: arrayOf(schemaRef("View"))},
	{pattern: "GET /v1/views/{view}", summary: "Rows of a view", rows: true, statuses: append([]int{404, 304}, queryStatuses...),
		description: "What the batch layer and the speed layer have counted, merged at one cut.",
		parameters:  append([]parameter{paramView, paramFrom, paramTo, paramWhere, paramIsNull, paramNotNull}, viewShape...)},
	{pattern: "GET /v1/views/{view}/live", summary: "A view as it changes", media: "text/event-stream", statuses: []int{404, 422, 429, 503},
		description: "Server-sent events: snapshot with all rows, then change with those that changed.",
		parameters: []parameter{paramView, paramFrom, paramTo, paramWhere, paramIsNull, paramNotNull,
			{name: "every", schema: typed("string"), example: "250ms", description: "least time between two events, 50ms to 1m"}}},
	{pattern: "GET /v1/views/{view}/check", summary: "A view against its own SQL over the raw events", answer: schemaRef("Check"), statuses: append([]int{404}, queryStatuses...),
		parameters: []parameter{paramView, paramTimeout, paramAt, {name: "max_age", schema: typed("string"), example: "10s", description: "an earlier comparison will do that is not older; not with at"}}},
	{pattern: "GET /v1/views/{view}/history", summary: "The versions that a view has had", answer: object{"type": "object", "required": []any{"versions"}, "properties": object{"versions": arrayOf(schemaRef("Version"))}},
		parameters: []parameter{paramView}, statuses: []int{404, 503}},
	{pattern: "GET /v1/sql", summary: "Rows of a SELECT, by URL", rows: true, statuses: append([]int{304}, queryStatuses...),
		parameters: []parameter{
			{name: "sql", schema: typed("string"), required: true, example: "SELECT 1 AS one", description: "one SELECT, VALUES, DESCRIBE or EXPLAIN in DuckDB's SQL"},
			{name: "p1", schema: typed("string"), description: "the value of $1, and so on: p2, p3, …"},
			{name: "p.NAME", schema: typed("string"), description: "the value of $NAME"}, paramAt, paramAfter, paramTimeout}},
	{pattern: "POST /v1/sql", summary: "Rows of a SELECT", rows: true, statuses: append([]int{413, 415}, queryStatuses...),
		parameters: []parameter{paramAt, paramAfter, paramTimeout},
		body: object{
			"application/json": object{"schema": schemaRef("Statement"), "example": object{"sql": "SELECT $1 + 1 AS two", "parameters": []any{1}}},
			"application/sql":  object{"schema": typed("string"), "example": "SELECT 1 AS one"},
			"text/plain":       object{"schema": typed("string"), "example": "SELECT 1 AS one"},
		}},
	{pattern: "GET /v1/queries", summary: "The project's queries", answer: object{"type": "object", "required": []any{"queries"}, "properties": object{"queries": arrayOf(schemaRef("Query"))}}},
	{pattern: "GET /v1/queries/{query}", summary: "Rows of a query", rows: true, statuses: append([]int{404, 304}, queryStatuses...),
		description: "The query's own parameters, as its address below lists them, and:", parameters: []parameter{paramQuery, paramAt, paramAfter, paramTimeout}},
	{pattern: "POST /v1/queries/{query}", summary: "Rows of a query, its values in the body", rows: true, statuses: append([]int{404, 413}, queryStatuses...),
		parameters: []parameter{paramQuery, paramAt, paramAfter, paramTimeout},
		body:       object{"application/json": object{"schema": object{"type": "object"}}}},
	{pattern: "GET /v1/streams", summary: "The streams", answer: object{"type": "object", "required": []any{"streams"}, "properties": object{"streams": arrayOf(schemaRef("Stream"))}}},
	{pattern: "GET /v1/streams/{stream}", summary: "A stream's columns", answer: schemaRef("Stream"), parameters: []parameter{paramStream}, statuses: []int{404}},
	{pattern: "POST /v1/streams/{stream}/events", summary: "Send events", answer: schemaRef("Accepted"), elsewhere: true, anything: true,
		description: "200 when everything is on disk: each record was accepted, or kept as a dead letter.",
		parameters:  []parameter{paramStream}, statuses: []int{404, 405, 408, 413, 415, 503},
		body: object{
			"application/x-ndjson": object{"schema": typed("string")},
			"application/json":     object{"schema": object{"anyOf": []any{typed("object"), arrayOf(typed("object"))}}},
		}},
	{pattern: "GET /v1/status", summary: "How far every layer is", answer: typed("object")},
	{pattern: "POST /v1/batch/run", summary: "Run a batch now", answer: schemaRef("Run"), statuses: []int{503, 504},
		parameters: []parameter{{name: "rebuild", schema: typed("boolean"), example: false, description: "compute everything anew from the lake"}}},
	{pattern: "GET /v1/batch/runs", summary: "The latest batch runs", answer: object{"type": "object", "required": []any{"runs"}, "properties": object{"runs": arrayOf(schemaRef("Run"))}}},
	{pattern: "POST /v1/apply", summary: "Bring the views to what the project's files say", answer: schemaRef("Applied"), statuses: []int{409, 422, 503, 504},
		description: "New versions are built beside the old, which answer until all of them are swapped in at one cut. The answer comes after that; a client that leaves does not end it.",
		parameters:  []parameter{{name: "dry_run", schema: typed("boolean"), example: true, description: "tell what would be done, and what is wrong with the files"}}},
	{pattern: "GET /v1/apply", summary: "How far applying is", answer: schemaRef("Applying")},
	{pattern: "GET /v1/keys", summary: "The keys, without their secrets", statuses: []int{409}, answer: object{"type": "object", "required": []any{"keys"}, "properties": object{"keys": arrayOf(schemaRef("Key"))}}},
	{pattern: "POST /v1/keys", summary: "Make a key", description: "The answer has its secret, which is shown this once.", answer: schemaRef("Key"), created: true, statuses: []int{409, 413, 503},
		body: object{"application/json": object{"schema": schemaRef("NewKey"), "example": object{"name": "grafana", "roles": []any{"query"}}}}},
	{pattern: "DELETE /v1/keys/{key}", summary: "Revoke a key", answer: schemaRef("Key"), statuses: []int{404, 409, 503},
		parameters: []parameter{{name: "key", in: "path", schema: typed("string"), required: true, description: "the key's name"}}},
	{pattern: "GET /v1/session", summary: "Who asks, and whether authentication is on", answer: typed("object"), elsewhere: true, anything: true},
	{pattern: "GET /openapi.json", summary: "This document", answer: typed("object")},
	{pattern: "GET /healthz", summary: "Whether the process lives", answer: typed("object"), anything: true},
	{pattern: "GET /readyz", summary: "Whether answers are given", answer: typed("object"), statuses: []int{503}, anything: true},
	{pattern: "GET /metrics", summary: "Prometheus' text format", media: "text/plain", anything: true},
}
