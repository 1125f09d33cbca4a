package openapi

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/soulbox/soulbox/rpc/schema"
)

//go:embed static.json generated examples
var files embed.FS

// object is a JSON object.
type object = map[string]any

// Document returns the document as JSON, for a daemon of this version.
func Document(version string) ([]byte, error) {
	doc, err := load("static.json")
	if err != nil {
		return nil, err
	}
	at(doc, "info")["version"] = version
	err = fs.WalkDir(files, "generated", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		part, err := load(path)
		if err != nil {
			return err
		}
		return merge(doc, part)
	})
	if err != nil {
		return nil, fmt.Errorf("merge what was generated: %w", err)
	}
	finish(doc)
	examples, err := Examples()
	if err != nil {
		return nil, err
	}
	if err := addExamples(doc, examples); err != nil {
		return nil, err
	}
	for op := range operations(doc) {
		addHeaders(op)
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode the document: %w", err)
	}
	return append(out, '\n'), nil
}

func load(path string) (object, error) {
	b, err := files.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, fmt.Errorf("decode %s: %w", path, err)
	}
	return o, nil
}

// merge adds paths, schemas and tags of part to doc. An operation of static.json, which comes first, stands for what is
// generated of it; what else both have must be the same.
func merge(doc, part object) error {
	var errs []error
	add := func(into, from object) {
		for name, value := range from {
			was, taken := into[name].(object)
			if taken && was["operationId"] == nil && !reflect.DeepEqual(was, value) {
				errs = append(errs, fmt.Errorf("%s is there twice and differs", name))
			}
			if !taken {
				into[name] = value
			}
		}
	}
	paths := at(doc, "paths")
	for path, item := range at(part, "paths") {
		into, ok := paths[path].(object)
		if !ok {
			into = object{}
			paths[path] = into
		}
		add(into, item.(object))
	}
	add(at(doc, "components", "schemas"), at(part, "components", "schemas"))
	tags, _ := part["tags"].([]any)
	doc["tags"] = append(doc["tags"].([]any), tags...)
	return errors.Join(errs...)
}

// at returns the object below o at a path of names, an empty one when there is none.
func at(o object, names ...string) object {
	for _, name := range names {
		o, _ = o[name].(object)
	}
	if o == nil {
		return object{}
	}
	return o
}

// finish adds what the generator could not know.
func finish(doc object) {
	asked, answered := map[protoreflect.FullName]bool{}, map[protoreflect.FullName]bool{}
	methods := map[string]protoreflect.MethodDescriptor{}
	messages := map[protoreflect.FullName]protoreflect.MessageDescriptor{}
	for _, m := range schema.Methods() {
		methods[string(m.Parent().Name())+"_"+string(m.Name())] = m
		reach(m.Input(), asked, messages)
		reach(m.Output(), answered, messages)
	}
	for name, s := range at(doc, "components", "schemas") {
		if m := messages[protoreflect.FullName(name)]; m != nil {
			finishMessage(s.(object), m, asked[m.FullName()], answered[m.FullName()])
		}
	}
	for op := range operations(doc) {
		id, _ := op["operationId"].(string)
		name, _, _ := cutSuffixIndex(id)
		if m := methods[name]; m != nil && at(op, "responses")["default"] == nil { // static.json's are complete
			finishOperation(op, m)
		}
	}
	spellAsJSON(doc, jsonNames(messages))
}

// cutSuffixIndex cuts the "_1" that the generator puts behind the name of a method's second route.
func cutSuffixIndex(id string) (name, index string, found bool) {
	parts := strings.Split(id, "_")
	if len(parts) < 3 {
		return id, "", false
	}
	return parts[0] + "_" + parts[1], parts[2], true
}

// operations yields the operations of doc.
func operations(doc object) func(func(object) bool) {
	return func(yield func(object) bool) {
		for _, item := range at(doc, "paths") {
			for _, op := range item.(object) {
				if op, ok := op.(object); ok && !yield(op) {
					return
				}
			}
		}
	}
}

// reach notes all messages that m is made of.
func reach(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool, all map[protoreflect.FullName]protoreflect.MessageDescriptor) {
	if seen[m.FullName()] {
		return
	}
	seen[m.FullName()], all[m.FullName()] = true, m
	for i := range m.Fields().Len() {
		if field := m.Fields().Get(i); field.Message() != nil {
			reach(field.Message(), seen, all)
		}
	}
}

// jsonNames maps the names of fields in protobuf files to those in JSON, where they differ.
func jsonNames(messages map[protoreflect.FullName]protoreflect.MessageDescriptor) map[string]string {
	names := map[string]string{}
	for m := range maps.Values(messages) {
		for i := range m.Fields().Len() {
			if f := m.Fields().Get(i); f.JSONName() != string(f.Name()) {
				names[string(f.Name())] = f.JSONName()
			}
		}
	}
	return names
}
