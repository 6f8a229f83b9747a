package openapitest

import (
	"strings"
	"testing"
)

func parsed(t *testing.T, text string) any {
	t.Helper()
	v, err := decode(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestValuesAreHeldAgainstTheirSchema(t *testing.T) {
	document := parsed(t, `{"components":{"schemas":{"name":{"type":"string","enum":["a","b"]}}}}`).(map[string]any)
	for _, c := range []struct{ schema, value, wrong string }{
		{`{}`, `[1,"x"]`, ""},
		{`{"type":"integer"}`, `12345678901234567890`, ""},
		{`{"type":"integer"}`, `1.5`, "$: 1.5 is not"},
		{`{"type":["number","null"]}`, `null`, ""},
		{`{"type":["number","null"]}`, `"1"`, "not of type"},
		{`{"type":"array","items":{"$ref":"#/components/schemas/name"}}`, `["a","c"]`, "$[1]: c is none of"},
		{`{"$ref":"#/components/schemas/nome"}`, `1`, "leads nowhere"},
		{`{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}`, `{"a":true}`, ""},
		{`{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}`, `{}`, "member a is missing"},
		{`{"type":"object","properties":{"a":{"type":"boolean"}},"additionalProperties":false}`, `{"b":1}`, "no member b"},
		{`{"additionalProperties":{"type":"integer"}}`, `{"b":"x"}`, "$.b:"},
		{`{"anyOf":[{"type":"string"},{"type":"integer"}]}`, `1`, ""},
		{`{"anyOf":[{"type":"string"},{"type":"integer"}]}`, `true`, "not of type"},
		{`{"pattern":"x"}`, `"x"`, "pattern is not known"},
	} {
		err := Check(document, parsed(t, c.schema).(map[string]any), parsed(t, c.value))
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s against %s: %v", c.value, c.schema, err)
		}
	}
}
