package serving

import (
	"maps"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/duckdb"
)

// record is an object with these members, of which all but the optional are there.
func record(members object, optional ...string) object {
	required := []any{}
next:
	for _, name := range sortedKeys(members) {
		for _, o := range optional {
			if o == name {
				continue next
			}
		}
		required = append(required, name)
	}
	return object{"type": "object", "properties": members, "required": required, "additionalProperties": false}
}

var columnSchema = record(object{"name": typed("string"), "type": typed("string")})

// answerSchema is an answer in JSON; row is nil if its columns are not known.
func answerSchema(row object) object {
	if row == nil {
		return schemaRef("Answer")
	}
	members := maps.Clone(answerMembers)
	members["data"] = arrayOf(row)
	return record(members, "next")
}

var answerMembers = object{
	"meta": arrayOf(columnSchema), "data": arrayOf(typed("object")), "rows": typed("integer"), "complete": typed("boolean"),
	"cut": schemaRef("Cut"), "head": schemaRef("Cut"), "watermark": object{"type": "object", "additionalProperties": typed("string")},
	"next": object{"type": "string", "description": "the cursor of the next page"}, "statistics": typed("object"),
}

// schemas are those that operations refer to.
var schemas = object{
	"Cut":    object{"type": "object", "description": "the position of each source, inclusive", "additionalProperties": typed("integer")},
	"Answer": record(answerMembers, "next"),
	"Problem": object{"type": "object", "description": "RFC 9457. Codes do not change, texts do.", "required": []any{"type", "title", "status", "detail", "code"}, "properties": object{
		"type": typed("string"), "title": typed("string"), "status": typed("integer"), "detail": typed("string"), "code": typed("string"),
		"hint":       object{"type": "string", "description": "what to do about it"},
		"position":   object{"type": []any{"integer", "string"}, "description": "a character of the SQL, from 1; of ingest, the position of what is stored"},
		"candidates": arrayOf(typed("string")), "instance": typed("string"),
		"accepted": typed("integer"), "rejected": arrayOf(schemaRef("Rejection")), "rejected_total": typed("integer"),
	}, "additionalProperties": false},
	"Statement": record(object{
		"sql":        typed("string"),
		"parameters": object{"anyOf": []any{arrayOf(object{}), typed("object")}, "description": "a list for $1, $2, …, or an object for $name"},
		"timeout":    object{"type": []any{"string", "number"}}, "at": object{"anyOf": []any{typed("string"), schemaRef("Cut")}}, "after": typed("string"),
	}, "parameters", "timeout", "at", "after"),
	"View": record(object{
		"view": typed("string"), "stream": typed("string"), "version": typed("string"), "description": typed("string"),
		"window": object{"anyOf": []any{typed("null"), record(object{"kind": typed("string"), "size_ms": typed("integer"), "slide_ms": typed("integer"), "max_ms": typed("integer"), "unit": typed("string"), "timezone": typed("string")}, "slide_ms", "max_ms", "unit", "timezone")}},
		"direct": typed("boolean"), "references": arrayOf(typed("string")), "keys": arrayOf(typed("string")), "sql": typed("string"),
		"columns": arrayOf(record(object{"name": typed("string"), "type": typed("string"), "role": enumOf("window_start", "window_end", "key", "measure"), "additive": typed("boolean")})),
	}, "description", "references"),
	"Stream": record(object{
		"stream": typed("string"), "columns": arrayOf(record(object{"name": typed("string"), "type": typed("string"), "not_null": typed("boolean")})),
		"time": typed("string"), "time_format": typed("string"), "formats": object{"type": "object", "additionalProperties": typed("string")}, "id": typed("string"),
		"lookups": arrayOf(record(object{"column": typed("string"), "reference": typed("string"), "version": typed("string"), "from": typed("string"), "by": arrayOf(typed("string"))})),
	}, "time", "time_format", "formats", "id", "lookups"),
	"Query": record(object{
		"query": typed("string"), "description": typed("string"), "sql": typed("string"),
		"parameters": arrayOf(record(object{"name": typed("string"), "type": typed("string"), "required": typed("boolean"), "default": typed("string")}, "default")),
		"columns":    arrayOf(record(object{"name": typed("string"), "type": typed("string"), "not_null": typed("boolean")})),
	}, "description"),
	"Check": record(object{
		"view": typed("string"), "difference": typed("integer"), "rows": typed("integer"), "cut": schemaRef("Cut"),
		"missing": arrayOf(typed("object")), "extra": arrayOf(typed("object")), "elapsed_ms": typed("number"), "age_ms": typed("number"),
	}),
	"Key": record(object{
		"name": typed("string"), "roles": arrayOf(typed("string")), "tables": object{"type": []any{"array", "null"}, "items": typed("string")},
		"created": typed("string"), "created_by": typed("string"), "expires": object{"type": []any{"string", "null"}}, "revoked": object{"type": []any{"string", "null"}},
		"status": enumOf("active", "expired", "revoked"), "limits": typed("object"), "secret": typed("string"),
	}, "secret"),
	"NewKey": record(object{
		"name": typed("string"), "roles": arrayOf(enumOf("ingest", "query", "operate", "admin")), "tables": arrayOf(typed("string")),
		"expires_in": typed("string"), "limits": typed("object"),
	}, "tables", "expires_in", "limits"),
	"Rejection": record(object{"line": typed("integer"), "field": typed("string"), "reason": typed("string")}),
	"Accepted": record(object{
		"accepted": typed("integer"), "rejected": arrayOf(schemaRef("Rejection")), "rejected_total": typed("integer"), "position": typed("string"),
	}, "rejected_total"),
	"Difference": record(object{
		"rows": typed("integer"), "added": typed("integer"), "removed": typed("integer"), "changed": typed("integer"),
		"examples": object{"type": []any{"array", "null"}, "items": typed("object")},
	}),
	"Version": record(object{
		"number": typed("integer"), "view": typed("string"), "stream": typed("string"), "version": typed("string"), "file": typed("string"), "sql": typed("string"),
		"change": enumOf("new", "swap", "rebuild", "drop"), "applied": typed("string"), "cut": schemaRef("Cut"), "difference": schemaRef("Difference"),
	}, "difference"),
	"Applied": record(object{
		"dry_run": typed("boolean"), "streams": arrayOf(schemaRef("StreamChange")), "changes": arrayOf(schemaRef("Change")), "cut": schemaRef("Cut"),
		"problems": arrayOf(record(object{"file": typed("string"), "line": typed("integer"), "column": typed("integer"), "message": typed("string"), "hint": typed("string")}, "line", "column", "hint")),
	}),
	"StreamChange": record(object{
		"stream": typed("string"), "change": enumOf("new", "columns", "annotations", "drop"), "file": typed("string"),
		"added": arrayOf(record(object{"name": typed("string"), "type": typed("string")})),
	}, "file", "added"),
	"Change": record(object{
		"view": typed("string"), "change": enumOf("unchanged", "new", "swap", "rebuild", "drop"), "stream": typed("string"), "file": typed("string"),
		"version": typed("string"), "was": typed("string"), "events": typed("integer"), "seconds": typed("number"), "difference": schemaRef("Difference"),
	}, "events", "seconds", "was", "file", "difference"),
	"Applying": record(object{
		"applying": typed("boolean"), "phase": typed("string"), "done": typed("integer"), "total": typed("integer"), "error": typed("string"),
	}, "error"),
	"Run": record(object{
		"id": typed("integer"), "trigger": enumOf("schedule", "demand", "start", "pressure"), "rebuild": typed("boolean"), "started": typed("string"), "finished": typed("string"),
		"status": enumOf("succeeded", "failed"), "rows": typed("integer"), "views": object{"type": []any{"array", "null"}, "items": typed("string")}, "through": schemaRef("Cut"), "error": typed("string"),
	}, "error"),
}

// rowSchema is a row of a view. An answer that is grouped up has fewer columns.
func rowSchema(columns []struct{ Name, Type string }) object {
	properties := object{}
	for _, c := range columns {
		typ, err := duckdb.ParseType(c.Type)
		if err != nil {
			typ = event.Type{Kind: event.JSON} // any value
		}
		properties[c.Name] = schemaOf(typ, true)
	}
	return object{"type": "object", "properties": properties}
}
