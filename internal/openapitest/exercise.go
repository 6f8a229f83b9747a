package openapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Examples are what a document cannot know of a server.
type Examples struct {
	// Names are for the parts of a path: "view" and so on.
	Names map[string]string
	// Values are for parameters that have no example, by name.
	Values map[string]string
	// Bodies are for operations that have no example of one, by path.
	Bodies map[string]string
}

// An Exerciser sends the requests that a document describes, and notes where the
// server does not answer as it says.
type Exerciser struct {
	Base     string // of the server's addresses
	Client   *http.Client
	Examples Examples

	document map[string]any
	wrong    []string
	// Requests counts what was sent, Successes what was answered with 2xx.
	Requests, Successes int
}

// Run fetches the document and goes through all of it.
func (e *Exerciser) Run(ctx context.Context) (wrong []string, err error) {
	response, err := e.send(ctx, http.MethodGet, "/openapi.json", "", "")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	value, err := decode(response.Body)
	if err != nil {
		return nil, fmt.Errorf("the document: %w", err)
	}
	e.document = value.(map[string]any)
	paths := e.document["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for method, o := range paths[path].(map[string]any) {
			if err := e.operation(ctx, strings.ToUpper(method), path, o.(map[string]any)); err != nil {
				return nil, err
			}
		}
	}
	return e.wrong, nil
}

func decode(r io.Reader) (value any, err error) {
	d := json.NewDecoder(r)
	d.UseNumber()
	err = d.Decode(&value)
	return value, err
}

// operation asks with what is required alone, with each other parameter in turn, and
// with one that does not exist.
func (e *Exerciser) operation(ctx context.Context, method, path string, o map[string]any) error {
	at, required, optional := path, url.Values{}, url.Values{}
	parameters, _ := o["parameters"].([]any)
	for _, p := range parameters {
		p := p.(map[string]any)
		name := p["name"].(string)
		switch {
		case p["in"] == "path":
			at = strings.ReplaceAll(at, "{"+name+"}", url.PathEscape(e.Examples.Names[name]))
		case p["required"] == true:
			required.Set(name, e.example(p))
		default:
			optional.Set(name, e.example(p))
		}
	}
	if strings.Contains(at, "{") {
		e.wrong = append(e.wrong, path+": a part of it is no parameter")
		return nil
	}
	taken, _ := o["requestBody"].(map[string]any)
	content, _ := taken["content"].(map[string]any)
	bodies := []string{""}
	if content != nil {
		bodies = slices.Sorted(maps.Keys(content))
	}
	names := append([]string{""}, slices.Sorted(maps.Keys(optional))...)
	if o["x-ignores-unknown-parameters"] != true {
		names = append(names, unknownName)
	}
	for _, media := range bodies {
		body := ""
		if media != "" {
			body = e.body(path, media, content[media].(map[string]any))
		}
		for _, name := range names {
			query := maps.Clone(required)
			if name != "" {
				query.Set(name, optional.Get(name))
			}
			if err := e.request(ctx, method, at+"?"+query.Encode(), media, body, o, name == unknownName); err != nil {
				return err
			}
		}
	}
	return nil
}

// unknownName is a parameter that no server has.
const unknownName = "no_such_parameter"

func (e *Exerciser) example(p map[string]any) string {
	v := p["example"]
	if list, ok := v.([]any); ok {
		v = list[0]
	}
	if v == nil {
		return e.Examples.Values[p["name"].(string)]
	}
	return fmt.Sprint(v)
}

func (e *Exerciser) body(path, media string, content map[string]any) string {
	switch v := content["example"].(type) {
	case nil:
		return e.Examples.Bodies[path]
	case string:
		if media != "application/json" {
			return v
		}
	}
	text, err := json.Marshal(content["example"])
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	return string(text)
}

func (e *Exerciser) send(ctx context.Context, method, path, media, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, e.Base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	e.Requests++
	return e.Client.Do(r)
}

// request sends one, and compares the answer with the operation's responses.
func (e *Exerciser) request(ctx context.Context, method, path, media, body string, o map[string]any, refused bool) error {
	ctx, cancel := context.WithCancel(ctx) // a stream of events never ends by itself
	defer cancel()
	response, err := e.send(ctx, method, path, media, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	note := func(format string, args ...any) {
		e.wrong = append(e.wrong, fmt.Sprintf("%s %s: %d: ", method, path, response.StatusCode)+fmt.Sprintf(format, args...))
	}
	described, ok := o["responses"].(map[string]any)[fmt.Sprint(response.StatusCode)].(map[string]any)
	if !ok {
		note("the document knows no such answer")
		return nil
	}
	if response.StatusCode/100 == 2 {
		e.Successes++
	}
	mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	content, _ := described["content"].(map[string]any)
	form, ok := content[mediaType].(map[string]any)
	if err != nil || !ok {
		note("the content type %q is not described", response.Header.Get("Content-Type"))
		return nil
	}
	if !strings.HasSuffix(mediaType, "json") {
		return nil
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	value, err := decode(bytes.NewReader(text))
	if err != nil {
		note("no JSON: %v", err)
		return nil
	}
	if schema, ok := form["schema"].(map[string]any); ok {
		if err := Check(e.document, schema, value); err != nil {
			note("%v in %.300s", err, text)
		}
	}
	if object, _ := value.(map[string]any); refused != (object["code"] == "unknown_parameter") {
		note("an unknown parameter is refused: %t; %.300s", !refused, text)
	}
	return nil
}
