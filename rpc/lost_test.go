package rpc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
	"github.com/soulbox/soulbox/sandbox"
)

// within fails t when what should happen does not; nothing is measured.
const within = 20 * time.Second

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(within):
		t.Fatalf("waited %v in vain: %s", within, what)
	}
}

// lose posts body and goes away once the execution has started.
func lose(t *testing.T, f *fakeEngine, url, body string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("Content-Type", "application/json")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}()
	wait(t, f.started, "POST "+url+" did not start")
	cancel()
	wait(t, gone, "the client did not go away")
}

func TestLostClientCancels(t *testing.T) {
	for _, path := range []string{"/v1/executions", "/v1/executions:stream", connectExecute} {
		f := newFake()
		f.finish = make(chan struct{})
		lose(t, f, serve(t, f)+path, `{"language":"python"}`)
		wait(t, f.canceled, "POST "+path+": the client went away and the execution was not cancelled")
	}
}

func TestLostClientWithRequestIDGoesOn(t *testing.T) {
	for _, path := range []string{"/v1/executions", "/v1/executions:stream", connectExecute} {
		f := newFake()
		f.finish = make(chan struct{})
		s := start(t, f)
		lose(t, f, s.URL+path, `{"language":"python","requestId":"r1"}`)
		s.Close() // returns after the handler
		select {
		case <-f.canceled:
			t.Errorf("POST %s: an execution with a request id was cancelled with its client", path)
		default:
		}
		if f.last.RequestID != "r1" || f.last.Client != "k1" {
			t.Errorf("POST %s: started with request id %q of %q, want r1 of k1", path, f.last.RequestID, f.last.Client)
		}
	}
}

func TestWaitFalseAnswersAtOnce(t *testing.T) {
	for _, path := range []string{"/v1/executions", connectExecute} {
		f := newFake()
		f.finish = make(chan struct{})
		res, body := do(t, "POST", serve(t, f)+path, strings.NewReader(`{"language":"python","wait":false}`))
		if res.StatusCode != 200 || !strings.Contains(body, `"state":"STATE_QUEUED"`) || !strings.Contains(body, string(f.result.ID)) {
			t.Errorf("POST %s with wait false = %d %s, want 200 with the id, queued", path, res.StatusCode, body)
		}
	}
}

func TestConflict(t *testing.T) {
	f := newFake()
	f.refuse = &sandbox.Error{Op: "fake", Kind: sandbox.KindConflict, Reason: "REQUEST_ID_REUSED", Field: "requestId", Msg: "used"}
	url := serve(t, f)
	for _, path := range []string{"/v1/executions", "/v1/executions:stream", connectExecute} {
		res, body := do(t, "POST", url+path, strings.NewReader(`{"language":"python","requestId":"r1"}`))
		if res.StatusCode != 409 || !strings.Contains(body, `"reason":"REQUEST_ID_REUSED"`) {
			t.Errorf("POST %s = %d %s, want 409 with the reason", path, res.StatusCode, body)
		}
	}
	_, err := grpcClient(url).ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{Language: "python"})
	if connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("gRPC ExecuteCode = %v, want already_exists", err)
	}
}

// A body that never ends is not waited for when the queue is full.
func TestFullQueueWithBodiesWithoutEnd(t *testing.T) {
	f := newFake()
	url := serve(t, f)
	for range 4 {
		p, err := f.Reserve("k1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
	}
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	for _, tt := range []struct {
		name, path, kind string
		transport        *http.Transport
		check            func(*http.Response) bool
	}{
		{"REST", "/v1/executions", "application/json", &http.Transport{}, func(r *http.Response) bool { return r.StatusCode == 429 }},
		{"Connect", connectExecute, "application/json", &http.Transport{}, func(r *http.Response) bool { return r.StatusCode == 429 }},
		{"Connect on HTTP/2", connectExecute, "application/proto", &http.Transport{Protocols: &h2c}, func(r *http.Response) bool { return r.StatusCode == 429 }},
		{"gRPC", connectExecute, "application/grpc", &http.Transport{Protocols: &h2c}, func(r *http.Response) bool {
			return r.Header.Get("Grpc-Status") == "8" || r.Trailer.Get("Grpc-Status") == "8"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			body, _ := io.Pipe()
			req, err := http.NewRequestWithContext(ctx, "POST", url+tt.path, body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer good")
			req.Header.Set("Content-Type", tt.kind)
			t.Cleanup(tt.transport.CloseIdleConnections)
			res, err := tt.transport.RoundTrip(req)
			if err != nil {
				t.Fatalf("POST %s: %v", tt.path, err)
			}
			said, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if !tt.check(res) {
				t.Errorf("POST %s = %d %v %v %s (%v), want resource_exhausted", tt.path, res.StatusCode, res.Header, res.Trailer, said, err)
			}
		})
	}
}

// A place in the queue is given back whatever is wrong with a request.
func TestPlacesAreGivenBack(t *testing.T) {
	f := newFake()
	s := start(t, f)
	bodies := []string{`{`, `{}`, `{"language":"python","bogus":1}`, strings.Repeat("x", 2<<20), `{"language":"python","code":"1","files":[{"path":"a"}]}`, `{"language":"python"}`}
	for range 3 { // more often than the queue has places
		for _, path := range []string{"/v1/executions", "/v1/executions:stream", connectExecute, "/soulbox.v1.ExecutionService/StreamExecution"} {
			for _, body := range bodies {
				if res, said := do(t, "POST", s.URL+path, strings.NewReader(body)); res.StatusCode == 429 {
					t.Fatalf("POST %s %.60s = 429 %s: places were not given back", path, body, said)
				}
			}
		}
		_, err := grpcClient(s.URL).ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{})
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("gRPC ExecuteCode without a language: %v, want invalid_argument", err)
		}
	}
	f.refuse = &sandbox.Error{Op: "fake", Kind: sandbox.KindInvalid, Msg: "no"}
	do(t, "POST", s.URL+"/v1/executions", strings.NewReader(`{"language":"python"}`))
	s.CloseClientConnections()
	s.Close() // returns after the handlers
	if got := f.Stats(); got.Queued != 0 || got.Running != 0 {
		t.Errorf("after all requests %d places are queued and %d run, want none", got.Queued, got.Running)
	}
}

// One who does not read its stream keeps nobody else waiting, and is noticed when it goes.
func TestSlowReader(t *testing.T) {
	f := newFake()
	f.flood, f.finish = true, make(chan struct{})
	url := serve(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/executions:stream", strings.NewReader(`{"language":"python"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, body := do(t, "GET", url+"/v1/executions", nil); got.StatusCode != 200 {
		t.Errorf("GET /v1/executions beside a reader that does not read = %d %s", got.StatusCode, body)
	}
	cancel()
	wait(t, f.canceled, "the reader that did not read went away and its execution was not cancelled")
}

// Few bytes that unpack to more than a body may have are refused as such a body is.
func TestCompressedBombs(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := fmt.Fprintf(z, `{"language":"python","code":"%s"}`, strings.Repeat(" ", 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	url := serve(t, newFake())
	for _, path := range []string{"/v1/executions", "/v1/executions:stream", connectExecute} {
		res, body := do(t, "POST", url+path, bytes.NewReader(zipped.Bytes()), "Content-Encoding", "gzip")
		if res.StatusCode != 413 {
			t.Errorf("POST %s with %d bytes of gzip for 8 MiB = %d %s, want 413", path, zipped.Len(), res.StatusCode, body)
		}
	}
	res, body := do(t, "POST", url+"/v1/executions", strings.NewReader("no gzip"), "Content-Encoding", "gzip")
	if res.StatusCode != 400 || !strings.Contains(body, "not valid gzip") {
		t.Errorf("POST of no gzip = %d %s, want 400", res.StatusCode, body)
	}
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	c := soulboxpbconnect.NewExecutionServiceClient(&http.Client{Transport: &bearerH2C{http.Transport{Protocols: &p}}}, url,
		connect.WithGRPC(), connect.WithSendGzip())
	_, err := c.ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{Language: "python", Code: strings.Repeat(" ", 8<<20)})
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("gRPC ExecuteCode with 64 MiB in gzip: %v, want resource_exhausted", err)
	}
}

func TestKeys(t *testing.T) {
	url := serve(t, newFake())
	const service = "/soulbox.v1.KeyService/"
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/keys", `{"name":"ci"}`, 200, `{"key":{"id":"default0","name":"ci","createdAt":"2023-11-14T22:13:20Z","revokedAt":null},"secret":"secret of default0"}`},
		{"POST", service + "CreateKey", `{"name":"two"}`, 200, `"secret":"secret of default1"`},
		{"GET", "/v1/keys", ``, 200, `"default1"`},
		{"POST", service + "ListKeys", `{}`, 200, `"default0"`},
		{"DELETE", "/v1/keys/default0", ``, 200, `"revokedAt":"2023-11-14T22:13:21Z"`},
		{"DELETE", "/v1/keys/default0", ``, 404, `"NOT_FOUND"`},
		{"POST", service + "RevokeKey", `{"id":"default1"}`, 200, `"default1"`},
		{"POST", service + "RevokeKey", `{"id":""}`, 400, `"id"`},
		{"GET", "/v1/keys", ``, 200, `{"keys":[]}`},
		{"POST", "/v1/keys", `{"name":"` + strings.Repeat("x", 200) + `"}`, 400, `"field":"name"`},
	} {
		res, body := do(t, step.method, url+step.path, strings.NewReader(step.body))
		if res.StatusCode != step.status || !strings.Contains(body, step.want) {
			t.Errorf("%s %s %s = %d %s, want %d with %s", step.method, step.path, step.body, res.StatusCode, body, step.status, step.want)
		}
		if strings.Contains(body, "secret of") && !strings.Contains(step.want, "secret of") {
			t.Errorf("%s %s gives a secret away: %s", step.method, step.path, body)
		}
	}
}

// Streams carry the details of a message that could not be decoded, as all other errors.
func TestStreamOfBadJSONSaysWhere(t *testing.T) {
	frame := append([]byte{0, 0, 0, 0, 11}, `{"bogus":1}`...)
	_, body := do(t, "POST", serve(t, newFake())+"/soulbox.v1.ExecutionService/StreamExecution", bytes.NewReader(frame),
		"Content-Type", "application/connect+json")
	if !strings.Contains(body, `"field":"bogus"`) || !strings.Contains(body, errs.ReasonInvalid) {
		t.Errorf("StreamExecution = %q, want the field and the reason", body)
	}
}
