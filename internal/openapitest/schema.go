// Package openapitest holds a server against its OpenAPI document; it is for tests. It
// checks JSON values against the part of JSON Schema that the document uses: a keyword
// that it does not know is an error, so that none is passed over.
package openapitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// Check reports the first place at which a value, decoded with UseNumber, is not as
// the schema says. References are looked up in the document.
func Check(document, schema map[string]any, value any) error {
	return check(document, schema, value, "$")
}

// known are the keywords; those with false say nothing of a value.
var known = map[string]bool{"$ref": true, "type": true, "properties": true, "required": true, "items": true, "additionalProperties": true, "enum": true, "anyOf": true,
	"description": false, "example": false, "examples": false, "format": false, "contentEncoding": false, "default": false, "title": false}

func check(document, schema map[string]any, value any, at string) error {
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		if _, ok := known[keyword]; !ok {
			return fmt.Errorf("%s: the keyword %s is not known", at, keyword)
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		to, err := resolve(document, ref)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return check(document, to, value, at)
	}
	if list, ok := schema["anyOf"].([]any); ok {
		var last error
		for _, one := range list {
			if last = check(document, one.(map[string]any), value, at); last == nil {
				break
			}
		}
		if last != nil {
			return last
		}
	}
	if t, ok := schema["type"]; ok {
		types, isList := t.([]any)
		if !isList {
			types = []any{t}
		}
		if !slices.ContainsFunc(types, func(t any) bool { return is(value, t.(string)) }) {
			return fmt.Errorf("%s: %.100v is not of type %v", at, value, t)
		}
	}
	if list, ok := schema["enum"].([]any); ok && !slices.ContainsFunc(list, func(v any) bool { return fmt.Sprint(v) == fmt.Sprint(value) }) {
		return fmt.Errorf("%s: %.100v is none of %v", at, value, list)
	}
	switch v := value.(type) {
	case map[string]any:
		return checkObject(document, schema, v, at)
	case []any:
		items, _ := schema["items"].(map[string]any)
		for i, e := range v {
			if err := check(document, items, e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkObject(document, schema map[string]any, object map[string]any, at string) error {
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			return fmt.Errorf("%s: the member %s is missing", at, name)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		of, ok := properties[name].(map[string]any)
		if !ok {
			switch more := schema["additionalProperties"].(type) {
			case map[string]any:
				of = more
			case bool:
				if !more {
					return fmt.Errorf("%s: there is no member %s", at, name)
				}
			}
		}
		if err := check(document, of, object[name], at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// is reports whether a value is of a type of JSON Schema.
func is(value any, t string) bool {
	switch v := value.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case json.Number:
		if t == "integer" {
			r, ok := new(big.Rat).SetString(v.String())
			return ok && r.IsInt()
		}
		return t == "number"
	case []any:
		return t == "array"
	case map[string]any:
		return t == "object"
	}
	return false
}

// resolve looks up "#/components/schemas/NAME".
func resolve(document map[string]any, ref string) (map[string]any, error) {
	var at any = document
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		object, _ := at.(map[string]any)
		at = object[part]
	}
	to, ok := at.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s leads nowhere", ref)
	}
	return to, nil
}
