package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/soulbox/soulbox/images/imagetest"
	"github.com/soulbox/soulbox/rpc/openapi"
)

// documentedRegistry is where the examples pull from.
const documentedRegistry = "registry.example"

const (
	mediaJSON   = "application/json"
	mediaBytes  = "application/octet-stream"
	mediaNDJSON = "application/x-ndjson"
	mediaTar    = "application/x-tar"
)

// replay sends the examples of a document to a daemon.
type replay struct {
	d       *daemon
	doc     *openapi3.T
	renamed map[string]string // from what is documented to what the daemon called it: ids and page tokens
	pids    map[string]string // likewise
	archive []byte            // of the image that was exported last: what an example without a body imports
}

// TestDocumentedExamples: every example in the OpenAPI document of a live daemon is answered as documented, and what is
// sent and answered is as the schemas say.
func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	doc, err := openapi3.NewLoader().LoadFromData(d.get(t, "/openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatalf("the document is not valid: %v", err)
	}
	examples, err := openapi.Examples()
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder(mediaTar, openapi3filter.FileBodyDecoder)
	registry := imagetest.StartRegistry(t, false)
	registry.Push("debian:bookworm", imagetest.Image(t, imagetest.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}}, imagetest.Tar(t, imagetest.Busybox(t, "sh")...)))
	r := &replay{d: d, doc: doc, renamed: map[string]string{documentedRegistry: registry.Host}, pids: map[string]string{}}
	for _, e := range examples {
		t.Run(e.Operation+"/"+e.Name, func(t *testing.T) { r.example(t, e) })
	}
	if len(r.renamed) == 1 || len(r.pids) == 0 {
		t.Error("no example named anything: the calls after it were not tried on what it made")
	}
}

func (r *replay) example(t *testing.T, e openapi.Example) {
	route := r.route(e.Operation)
	if route == nil {
		t.Fatalf("%s is no operation of the document", e.Operation)
	}
	path, query, params := route.Path, url.Values{}, map[string]string{}
	for name, value := range e.Parameters {
		if name == "pid" {
			value = r.pids[value]
		}
		value = string(r.rename([]byte(value)))
		if strings.Contains(path, "{"+name+"}") {
			path, params[name] = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value)), value
		} else {
			query.Set(name, value)
		}
	}
	path += "?" + query.Encode()
	body, media := r.rename(e.Request), mediaJSON
	if b := route.Operation.RequestBody; b != nil && b.Value.Content[mediaBytes] != nil {
		media = mediaBytes
		if e.Request == nil {
			body = r.archive
		} else {
			body = []byte(decode[string](t, body))
		}
	}
	in := &openapi3filter.RequestValidationInput{Request: request(t, route.Method, r.d.url+path, media, body), PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
	a := send(t, request(t, route.Method, r.d.url+path, media, body), e.Open)
	a.want(t, e.Status)
	// The daemon can refuse what the schemas allow, and never the other way round.
	if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil && e.Status != http.StatusBadRequest {
		t.Errorf("answered with %d, but the request is not as documented: %v", e.Status, err)
	}
	r.validate(t, in, a)
	r.learn(t, e, a)
	if e.Operation == "ImageService_ExportImage" {
		r.archive = a.Body
	}
}

// send sends a request. Of a stream that ends only with its client it reads the first line.
func send(t *testing.T, r *http.Request, open bool) *answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), answerWait)
	defer cancel()
	res, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text []byte
	if open {
		text, err = bufio.NewReader(res.Body).ReadBytes('\n')
	} else {
		text, err = io.ReadAll(res.Body)
	}
	if err != nil {
		t.Fatalf("read the answer to %s %s: %v", r.Method, r.URL, err)
	}
	return &answer{res.StatusCode, res.Header, text}
}

// request returns a request to send, or for the document to judge.
func request(t *testing.T, method, url, media string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", media)
	}
	r.Header.Set("X-API-Key", testKey)
	return r
}

// route returns where an operation is, nil when it is nowhere.
func (r *replay) route(operation string) *routers.Route {
	for path, item := range r.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.OperationID == operation {
				return &routers.Route{Spec: r.doc, Path: path, PathItem: item, Method: method, Operation: op}
			}
		}
	}
	return nil
}

// validate holds an answer against the document, a stream line by line.
func (r *replay) validate(t *testing.T, in *openapi3filter.RequestValidationInput, a *answer) {
	t.Helper()
	media := a.Header.Get("Content-Type")
	if media != mediaNDJSON {
		out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.Status, Header: a.Header,
			Options: &openapi3filter.Options{IncludeResponseStatus: true}}
		if err := openapi3filter.ValidateResponse(t.Context(), out.SetBodyBytes(a.Body)); err != nil {
			t.Errorf("the answer is not as documented: %v", err)
		}
		return
	}
	schema := in.Route.Operation.Responses.Status(a.Status).Value.Content.Get(media).Schema.Value
	for line := range bytes.Lines(a.Body) {
		if err := schema.VisitJSON(decode[any](t, line), openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("the line %s is not as documented: %v", line, err)
		}
	}
}

// learn notes what the daemon called what the documented answer names.
func (r *replay) learn(t *testing.T, e openapi.Example, a *answer) {
	t.Helper()
	if e.Response == nil || !json.Valid(a.Body) {
		return
	}
	var walk func(documented, actual any)
	walk = func(documented, actual any) {
		d, _ := documented.(object)
		is, _ := actual.(object)
		for key, value := range d {
			switch was, _ := value.(string); key {
			case "id", "nextPageToken":
				if name, ok := is[key].(string); ok && was != "" {
					r.renamed[was] = name
				}
			case "pid":
				r.pids[fmt.Sprint(value)] = fmt.Sprint(is[key])
			}
			walk(value, is[key])
		}
	}
	walk(decode[any](t, e.Response), decode[any](t, a.Body))
}

// rename replaces what the document names by what the daemon called it.
func (r *replay) rename(text []byte) []byte {
	for was, is := range r.renamed {
		text = bytes.ReplaceAll(text, []byte(was), []byte(is))
	}
	return text
}
