package openapi

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// The names of messages with a JSON of their own.
const (
	durationName  protoreflect.FullName = "google.protobuf.Duration"
	timestampName protoreflect.FullName = "google.protobuf.Timestamp"
)

// finishMessage says in the schema of a message what requests may and answers do hold.
func finishMessage(s object, m protoreflect.MessageDescriptor, asked, answered bool) {
	properties := at(s, "properties")
	var required []any
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		property, ok := properties[field.JSONName()].(object)
		if !ok {
			continue // a variable of the path
		}
		must := finishField(property, field)
		// An answer writes out all fields but those of a oneof, of which one is set.
		if asked && must || !asked && answered && field.ContainingOneof() == nil {
			required = append(required, field.JSONName())
		}
		if field.Message() != nil && field.Cardinality() != protoreflect.Repeated && field.ContainingOneof() == nil {
			properties[field.JSONName()] = nullable(property)
		}
	}
	if len(required) > 0 {
		slices.SortFunc(required, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		s["required"] = required
	}
	if asked {
		s["additionalProperties"] = false
	}
}

// finishField describes a field's values, and tells whether a request must have it.
func finishField(s object, field protoreflect.FieldDescriptor) (must bool) {
	switch {
	case field.IsMap():
		describe(at(s, "additionalProperties"), field.MapValue())
	case field.IsList():
		describe(at(s, "items"), field)
	default:
		describe(s, field)
	}
	return addRules(s, rulesOf(field))
}

// describe says how one value of a field is written.
func describe(s object, field protoreflect.FieldDescriptor) {
	switch field.Kind() {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		s["pattern"] = "^-?[0-9]+$"
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		s["pattern"] = "^[0-9]+$"
	case protoreflect.BytesKind:
		s["contentEncoding"] = "base64"
	case protoreflect.MessageKind:
		if field.Message().FullName() == durationName {
			s["pattern"] = `^-?[0-9]+(\.[0-9]{1,9})?s$`
		}
	}
}

// nullable returns a schema that allows null beside what s does.
func nullable(s object) object {
	if kind, ok := s["type"].(string); ok {
		s["type"] = []any{kind, "null"}
		return s
	}
	out := object{"anyOf": []any{s, object{"type": "null"}}}
	if text, ok := s["description"]; ok {
		out["description"] = text
		delete(s, "description")
	}
	return out
}

// spellAsJSON replaces the names that fields have in protobuf files, in all descriptions below v.
func spellAsJSON(v any, names map[string]string) {
	words := regexp.MustCompile(`\b[a-z0-9]+(_[a-z0-9]+)+\b`)
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case object:
			for key, e := range v {
				text, ok := e.(string)
				if !ok || key != "description" && key != "summary" {
					walk(e)
					continue
				}
				v[key] = words.ReplaceAllStringFunc(text, func(word string) string {
					if name, ok := names[word]; ok {
						return name
					}
					return word
				})
			}
		}
	}
	walk(v)
}
