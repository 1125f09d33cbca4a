package openapi

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	mediaJSON   = "application/json"
	mediaNDJSON = "application/x-ndjson"
)

// finishOperation describes the request and the answers of a method.
func finishOperation(op object, m protoreflect.MethodDescriptor) {
	splitSummary(op)
	body := at(op, "requestBody")
	if s := at(body, "content", mediaJSON, "schema"); len(s) > 0 && s["$ref"] == nil {
		finishMessage(s, m.Input(), true, false)
		if s["required"] == nil {
			delete(body, "required") // no body is an empty object
		}
	}
	parameters, _ := op["parameters"].([]any)
	for _, p := range parameters {
		p := p.(object)
		name, _ := p["name"].(string)
		if field := m.Input().Fields().ByJSONName(name); field != nil {
			finishField(at(p, "schema"), field)
		}
	}
	responses := at(op, "responses")
	responses["default"] = object{"$ref": "#/components/responses/Error"}
	if m.IsStreamingServer() && !m.IsStreamingClient() {
		finishStream(at(responses, "200"), m.Output())
	}
}

// splitSummary keeps the first sentence of a comment as the summary and makes the description of all of it.
func splitSummary(op object) {
	text, _ := op["summary"].(string)
	rest, _ := op["description"].(string)
	text = strings.TrimSpace(text + "\n" + rest)
	first, more, found := strings.Cut(text, ". ")
	if before, after, newline := strings.Cut(text, ".\n"); newline && len(before) < len(first) {
		first, more, found = before, after, true
	}
	op["summary"] = strings.TrimSuffix(strings.ReplaceAll(first, "\n", " "), ".") + "."
	delete(op, "description")
	if found && strings.TrimSpace(more) != "" {
		op["description"] = strings.ReplaceAll(text, "\n", " ")
	}
}

// finishStream describes a stream as it is sent: one message a line, without a wrapper, and an error as the last line.
func finishStream(answer object, m protoreflect.MessageDescriptor) {
	content := at(answer, "content")
	if content[mediaJSON] == nil {
		return // raw bytes
	}
	answer["description"] = "Lines of JSON, sent as things happen; the schema is that of one line. An error is the last line."
	delete(content, mediaJSON)
	content[mediaNDJSON] = object{"schema": object{"anyOf": []any{
		object{"$ref": "#/components/schemas/" + string(m.FullName())},
		object{
			"type": "object", "required": []any{"error"}, "additionalProperties": false,
			"properties": object{"error": object{"$ref": "#/components/schemas/Error"}},
		},
	}}}
}

// addHeaders names the headers of an operation's answers; errors have theirs where all of them are described.
func addHeaders(op object) {
	names := []string{"Soulbox-Version"}
	if op["deprecated"] == true {
		names = append(names, "Deprecation", "Sunset")
	}
	headers := object{}
	for _, name := range names {
		headers[name] = object{"$ref": "#/components/headers/" + name}
	}
	for _, answer := range at(op, "responses") {
		if answer := answer.(object); answer["$ref"] == nil {
			answer["headers"] = headers
		}
	}
}
