package openapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/rpc/schema"
)

func document(t *testing.T) (*openapi3.T, []byte) {
	t.Helper()
	b, err := Document("v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(b)
	if err != nil {
		t.Fatalf("load the document: %v", err)
	}
	return doc, b
}

// The document is one, and every example in it is what its schema says.
func TestDocumentIsValid(t *testing.T) {
	doc, b := document(t)
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Errorf("validate the document: %v", err)
	}
	if doc.Info.Version != "v1.2.3" {
		t.Errorf("version %q, want v1.2.3", doc.Info.Version)
	}
	again, err := Document("v1.2.3")
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("the second document differs from the first (%v)", err)
	}
}

// Every method with a route is there, needs a key, can fail, and has an example.
func TestEveryOperationIsDescribed(t *testing.T) {
	doc, _ := document(t)
	operations := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Summary == "" || op.Responses.Default() == nil {
				t.Errorf("%s %s has summary %q, default answer %v", method, path, op.Summary, op.Responses.Default())
			}
			if keyless := op.Security != nil && len(*op.Security) == 0; keyless != (path == "/healthz" || path == "/readyz") {
				t.Errorf("%s %s needs no key: %t", method, path, keyless)
			}
			if ok := op.Responses.Status(200); ok == nil || ok.Value.Headers["Soulbox-Version"] == nil {
				t.Errorf("%s %s has no Soulbox-Version in its answers", method, path)
			}
			operations[op.OperationID] = op
		}
	}
	for _, m := range schema.Methods() {
		id := string(m.Parent().Name()) + "_" + string(m.Name())
		if rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule); ok && rule.GetPattern() != nil && operations[id] == nil {
			t.Errorf("%s has a route and is not in the document", id)
		}
	}
	examples, err := Examples()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		delete(operations, e.Operation)
	}
	for id := range operations {
		t.Errorf("%s has no example: add one to a file in examples/", id)
	}
}

// What the codec does is in the schemas.
func TestSchemasSayWhatTheCodecDoes(t *testing.T) {
	doc, _ := document(t)
	request := doc.Paths.Value("/v1/executions").Post.RequestBody.Value.Content["application/json"].Schema.Value
	answer := doc.Components.Schemas["soulbox.v1.Execution"].Value
	for _, tt := range []struct {
		name   string
		schema *openapi3.Schema
		json   string
		ok     bool
	}{
		{"least", request, `{"language":"c"}`, true},
		{"limits", request, `{"language":"c","limits":{"wallTime":"1.5s","memoryBytes":"4194304","processes":1}}`, true},
		{"null", request, `{"language":"c","limits":null}`, true},
		{"no language", request, `{}`, false},
		{"empty language", request, `{"language":""}`, false},
		{"unknown field", request, `{"language":"c","bogus":1}`, false},
		{"unknown nested field", request, `{"language":"c","limits":{"bogus":1}}`, false},
		{"negative duration", request, `{"language":"c","limits":{"wallTime":"-1s"}}`, false},
		{"duration without unit", request, `{"language":"c","limits":{"wallTime":"1"}}`, false},
		{"not a number", request, `{"language":"c","limits":{"memoryBytes":"much"}}`, false},
		{"mode", request, `{"language":"c","files":[{"path":"a","mode":512}]}`, false},
		{"variable's name", request, `{"language":"c","env":{"A=B":"c"}}`, false},
		{"answer without its fields", answer, `{"id":"i0"}`, false},
	} {
		var v any
		if err := json.Unmarshal([]byte(tt.json), &v); err != nil {
			t.Fatal(err)
		}
		if err := tt.schema.VisitJSON(v, openapi3.EnableJSONSchema2020()); (err == nil) != tt.ok {
			t.Errorf("%s: %s is valid: %v, want %t", tt.name, tt.json, err, tt.ok)
		}
	}
}

func TestDescriptionsSpellFieldsAsJSON(t *testing.T) {
	_, b := document(t)
	for _, name := range []string{"next_page_token", "stdin_raw"} {
		if strings.Contains(string(b), name) {
			t.Errorf("the document says %s, which JSON does not", name)
		}
	}
}

// What is deprecated has the headers that say so.
func TestHeadersOfWhatIsDeprecated(t *testing.T) {
	op := object{"deprecated": true, "responses": object{"200": object{}, "default": object{"$ref": "#/components/responses/Error"}}}
	addHeaders(op)
	if h := at(op, "responses", "200", "headers"); h["Deprecation"] == nil || h["Sunset"] == nil || h["Soulbox-Version"] == nil {
		t.Errorf("headers of a deprecated operation: %v", h)
	}
	if at(op, "responses", "default")["headers"] != nil {
		t.Error("a reference has headers beside it")
	}
}
