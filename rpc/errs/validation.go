package errs

import (
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fromValidation tells of the first violation; a client that mends it learns of the next.
func fromValidation(e *protovalidate.ValidationError) *connect.Error {
	if len(e.Violations) == 0 {
		return Invalid("", "the request is not valid")
	}
	v := e.Violations[0]
	return Invalid(path(v.Proto.GetField(), v.FieldDescriptor), v.Proto.GetMessage())
}

// path spells a violation's path as JSON does. leaf is the last element's descriptor; the names before it are camel
// case of what the path says, as protojson makes them unless a file says otherwise.
func path(p *validate.FieldPath, leaf protoreflect.FieldDescriptor) string {
	var b strings.Builder
	for i, e := range p.GetElements() {
		if i > 0 {
			b.WriteByte('.')
		}
		name := camel(e.GetFieldName())
		if leaf != nil && i == len(p.GetElements())-1 && string(leaf.Name()) == e.GetFieldName() {
			name = leaf.JSONName()
		}
		b.WriteString(name)
		switch s := e.GetSubscript().(type) {
		case *validate.FieldPathElement_Index:
			b.WriteString("[" + strconv.FormatUint(s.Index, 10) + "]")
		case *validate.FieldPathElement_StringKey:
			b.WriteString("[" + strconv.Quote(s.StringKey) + "]")
		}
	}
	return b.String()
}

func camel(snake string) string {
	words := strings.Split(snake, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}
