package rest

import (
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// route is one annotated method of a service.
type route struct {
	method string
	parts  []string // of the path, "{}" for a variable
	vars   []string // names of the variables, which are fields of input
	verb   string   // after the last colon; empty without
	input  protoreflect.MessageDescriptor
	of     protoreflect.MethodDescriptor

	content bool // the body is a file's content, see contentRoutes
}

// routes reads the annotations of methods.
func routes(methods []protoreflect.MethodDescriptor) []route {
	var all []route
	for _, m := range methods {
		rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		if ok && rule != nil {
			r := newRoute(rule, m.Input())
			r.of = m
			all = append(all, r)
		}
	}
	return all
}

// Finder returns a function that finds which of methods a request is for, nil for none.
func Finder(methods []protoreflect.MethodDescriptor) func(method, path string) protoreflect.MethodDescriptor {
	all := routes(methods)
	return func(method, path string) protoreflect.MethodDescriptor {
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if r, _ := find(all, method, path); r != nil {
			return r.of
		}
		return nil
	}
}

func newRoute(rule *annotations.HttpRule, input protoreflect.MessageDescriptor) route {
	r := route{input: input}
	path := ""
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		r.method, path = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		r.method, path = http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		r.method, path = http.MethodDelete, p.Delete
	case *annotations.HttpRule_Put:
		r.method, path = http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		r.method, path = http.MethodPatch, p.Patch
	}
	path, r.verb, _ = strings.Cut(path, ":")
	r.parts = strings.Split(path, "/")
	for i, part := range r.parts {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			r.vars = append(r.vars, strings.TrimSuffix(name, "}"))
			r.parts[i] = "{}"
		}
	}
	return r
}

// matches tells whether path is one of r's, as the gateway's own matcher does.
func (r route) matches(path string) bool {
	parts := strings.Split(path, "/")
	if len(parts) != len(r.parts) {
		return false
	}
	if r.verb != "" {
		last, ok := strings.CutSuffix(parts[len(parts)-1], ":"+r.verb)
		if !ok || last == "" {
			return false
		}
		parts[len(parts)-1] = last
	}
	for i, part := range r.parts {
		if part != parts[i] && (part != "{}" || parts[i] == "") {
			return false
		}
	}
	return true
}

// find returns the route of a request and, without one, the methods that its path knows, sorted. A path with a known
// verb is nothing else: GET of "/v1/executions/x:cancel" is no look-up of "x:cancel".
func find(all []route, method, path string) (*route, []string) {
	var fit []*route
	for i := range all {
		if all[i].matches(path) {
			fit = append(fit, &all[i])
		}
	}
	if slices.ContainsFunc(fit, func(r *route) bool { return r.verb != "" }) {
		fit = slices.DeleteFunc(fit, func(r *route) bool { return r.verb == "" })
	}
	var methods []string
	for _, r := range fit {
		if r.method == method {
			return r, nil
		}
		methods = append(methods, r.method)
	}
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	if len(methods) > 0 {
		methods = append(methods, http.MethodOptions)
	}
	slices.Sort(methods)
	return nil, slices.Compact(methods)
}
