package openapi

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
)

// Example is one call of an operation. In the order of [Examples] they can be sent to a daemon, one after the other, if
// what an answer names (an id) takes the place of what the documented answer names in the calls after it.
type Example struct {
	Operation  string            `json:"operation"`  // operationId
	Name       string            `json:"name"`       // unique in its operation
	Summary    string            `json:"summary"`    // a line for people
	Parameters map[string]string `json:"parameters"` // of path and query
	Request    json.RawMessage   `json:"request"`    // absent: no body; a string where the body is no JSON
	Status     int               `json:"status"`     // absent: 200
	Response   json.RawMessage   `json:"response"`   // absent: not documented; of a stream, an array of its lines
	Open       bool              `json:"open"`       // a stream that ends only with its client
}

// Examples returns all examples.
func Examples() ([]Example, error) {
	names, err := fs.Glob(files, "examples/*.json")
	if err != nil {
		return nil, fmt.Errorf("list the examples: %w", err)
	}
	var all []Example
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		var some []Example
		if err := json.Unmarshal(b, &some); err != nil {
			return nil, fmt.Errorf("decode %s: %w", name, err)
		}
		for i := range some {
			if some[i].Status == 0 {
				some[i].Status = 200
			}
		}
		all = append(all, some...)
	}
	return all, nil
}

// addExamples puts every example where the document has its operation.
func addExamples(doc object, examples []Example) error {
	byID := map[string]object{}
	for op := range operations(doc) {
		id, _ := op["operationId"].(string)
		byID[id] = op
	}
	for _, e := range examples {
		op := byID[e.Operation]
		if op == nil {
			return fmt.Errorf("example %s is of %s, which is no operation", e.Name, e.Operation)
		}
		if err := e.addTo(op); err != nil {
			return fmt.Errorf("example %s of %s: %w", e.Name, e.Operation, err)
		}
	}
	return nil
}

func (e *Example) addTo(op object) error {
	left := len(e.Parameters)
	parameters, _ := op["parameters"].([]any)
	for _, p := range parameters {
		p := p.(object)
		name, _ := p["name"].(string)
		value, ok := e.Parameters[name]
		if !ok {
			continue
		}
		left--
		addExample(p, e, parameterValue(value, at(p, "schema")))
	}
	if left > 0 {
		return fmt.Errorf("of its parameters %v some are not the operation's", e.Parameters)
	}
	if e.Status < 400 { // what is refused is no example of the request's schema
		if err := addTo(at(op, "requestBody", "content"), e, e.Request); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	if e.Response == nil {
		return nil
	}
	answer := at(op, "responses", strconv.Itoa(e.Status))
	if len(answer) == 0 {
		// An error: all have one schema, and each example a place of its own.
		answer = object{"description": "Refused.", "content": object{mediaJSON: object{"schema": object{"$ref": "#/components/schemas/Error"}}}}
		at(op, "responses")[strconv.Itoa(e.Status)] = answer
	}
	if err := addTo(at(answer, "content"), e, e.Response); err != nil {
		return fmt.Errorf("response: %w", err)
	}
	return nil
}

// addTo adds the example with a value to the one media type of content.
func addTo(content object, e *Example, raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	if len(content) != 1 {
		return fmt.Errorf("there is a body, but %d media types for it", len(content))
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	for media, m := range content {
		if lines, ok := value.([]any); ok && media == mediaNDJSON {
			value = lines[len(lines)-1] // the schema is that of a line
		}
		addExample(m.(object), e, value)
	}
	return nil
}

func addExample(o object, e *Example, value any) {
	examples, ok := o["examples"].(object)
	if !ok {
		examples = object{}
		o["examples"] = examples
	}
	examples[e.Name] = object{"summary": e.Summary, "value": value}
}

// parameterValue returns a parameter's text as the value that its schema wants.
func parameterValue(text string, s object) any {
	if kinds := []any{"integer", "number", "boolean"}; slices.Contains(kinds, s["type"]) {
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			return v
		}
	}
	return text
}
