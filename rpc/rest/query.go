package rest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/errs"
)

// checkQuery returns the first thing that is wrong with a query, in the order of the names, nil when nothing is. The
// gateway would ignore what it does not know, and words the rest for Go programmers.
func (r *route) checkQuery(raw string) *connect.Error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return errs.Invalid("", "the query is not well-formed")
	}
	seen := map[protoreflect.FieldNumber]bool{}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		field := r.parameter(name)
		if field == nil {
			return errs.Invalid(name, "unknown query parameter")
		}
		if len(query[name]) > 1 || seen[field.Number()] {
			return errs.Invalid(field.JSONName(), "is given more than once")
		}
		seen[field.Number()] = true
		if msg := checkValue(field, query.Get(name)); msg != "" {
			return errs.Invalid(field.JSONName(), msg)
		}
	}
	return nil
}

// parameter returns the field that a query parameter sets, nil without.
func (r *route) parameter(name string) protoreflect.FieldDescriptor {
	if r.method != http.MethodGet && !r.content {
		return nil
	}
	field := r.input.Fields().ByJSONName(name)
	if field == nil {
		field = r.input.Fields().ByTextName(name)
	}
	if field == nil || field.IsMap() || field.IsList() || slices.Contains(r.vars, string(field.Name())) {
		return nil
	}
	return field
}

// checkValue returns what is wrong with the text of a field's value, "" when nothing is. Ranges are the validator's.
func checkValue(field protoreflect.FieldDescriptor, value string) string {
	switch field.Kind() {
	case protoreflect.Int32Kind:
		if _, err := strconv.ParseInt(value, 10, 32); err != nil {
			return "must be a whole number"
		}
	case protoreflect.Int64Kind:
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return "must be a whole number"
		}
	case protoreflect.Uint32Kind:
		if _, err := strconv.ParseUint(value, 10, 32); err != nil {
			return "must be a whole number, 0 or more"
		}
	case protoreflect.BoolKind:
		if value != "true" && value != "false" {
			return "must be true or false"
		}
	case protoreflect.MessageKind: // durations are all there are
		if protojson.Unmarshal([]byte(strconv.Quote(value)), &durationpb.Duration{}) != nil {
			return `must be seconds with an s, such as "1.5s"`
		}
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		names := make([]string, values.Len())
		for i := range names {
			names[i] = string(values.Get(i).Name())
		}
		n, err := strconv.ParseInt(value, 10, 32)
		if !slices.Contains(names, value) && (err != nil || values.ByNumber(protoreflect.EnumNumber(n)) == nil) {
			return "must be one of " + strings.Join(names, ", ")
		}
	}
	return ""
}
