package openapi

import (
	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// rulesOf returns the rules that a field of a request is held to.
func rulesOf(field protoreflect.FieldDescriptor) *validate.FieldRules {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	return rules
}

// addRules says in a schema what rules demand, as far as JSON Schema can, and tells whether the field must be there.
func addRules(s object, rules *validate.FieldRules) (must bool) {
	switch {
	case rules == nil:
		return false
	case rules.GetString() != nil:
		must = addString(s, rules.GetString())
	case rules.GetRepeated() != nil:
		r := rules.GetRepeated()
		set(s, "minItems", r.GetMinItems())
		set(s, "maxItems", r.GetMaxItems())
		addRules(at(s, "items"), r.GetItems())
		must = r.GetMinItems() > 0
	case rules.GetMap() != nil:
		r := rules.GetMap()
		set(s, "minProperties", r.GetMinPairs())
		set(s, "maxProperties", r.GetMaxPairs())
		addRules(at(s, "additionalProperties"), r.GetValues())
		names := object{}
		if addRules(names, r.GetKeys()); len(names) > 0 {
			s["propertyNames"] = names
		}
	case rules.GetDuration() != nil:
		if d, ok := rules.GetDuration().GetGreaterThan().(*validate.DurationRules_Gte); ok && d.Gte.AsDuration() >= 0 {
			s["pattern"] = `^[0-9]+(\.[0-9]{1,9})?s$`
		}
	default:
		addBounds(s, rules)
	}
	return must || rules.GetRequired()
}

func addString(s object, r *validate.StringRules) (must bool) {
	set(s, "minLength", max(r.GetMinLen(), r.GetLen()))
	// A string of so many bytes has at most as many characters.
	for _, most := range []uint64{r.GetLen(), r.GetMaxLen(), r.GetMaxBytes()} {
		set(s, "maxLength", most)
	}
	if r.GetPattern() != "" {
		s["pattern"] = r.GetPattern()
	}
	return r.GetMinLen() > 0
}

func set(s object, name string, n uint64) {
	if n > 0 {
		s[name] = n
	}
}

// addBounds adds the bounds of a number that is written as one: 64-bit integers are strings.
func addBounds(s object, rules *validate.FieldRules) {
	r := rules.ProtoReflect()
	kind := r.WhichOneof(r.Descriptor().Oneofs().ByName("type"))
	if kind == nil || kind.Message() == nil || s["type"] != "integer" && s["type"] != "number" {
		return
	}
	bounds := r.Get(kind).Message()
	for name, keyword := range map[protoreflect.Name]string{"gte": "minimum", "gt": "exclusiveMinimum", "lte": "maximum", "lt": "exclusiveMaximum"} {
		if f := bounds.Descriptor().Fields().ByName(name); f != nil && bounds.Has(f) {
			s[keyword] = bounds.Get(f).Interface()
		}
	}
}
