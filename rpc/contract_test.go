package rpc_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
	"github.com/soulbox/soulbox/sandbox"
)

const connectExecute = "/soulbox.v1.ExecutionService/ExecuteCode"

const golden = `{"id":"i0123456789abcdefghij","requestId":"","language":"python","runtime":"runc",` +
	`"state":"STATE_DONE","verdict":"VERDICT_OK","limitsHit":[],"stdout":"1\n","stderr":"` + "\uFFFD" + `","stdoutRaw":"",` +
	`"stderrRaw":"/w==","stdoutInvalidUtf8":false,"stderrInvalidUtf8":true,"stdoutTruncated":false,` +
	`"stderrTruncated":false,"exitCode":0,"signal":"","usage":{"wallTime":"0.012s","userTime":"0.010s",` +
	`"systemTime":"0s","peakMemoryBytes":"9437184"},"compile":null,"clamped":[],"unenforced":[],"outputs":[],` +
	`"createdAt":"2023-11-14T22:13:20Z","startedAt":null,"endedAt":null,"limits":null,"detail":"","outputsExpired":false,"image":"","imageDigest":""}`

func do(t *testing.T, method, url string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the answer to %s %s: %v", method, url, err)
	}
	return res, string(b)
}

func TestExecuteIsTheSameOnRESTAndConnect(t *testing.T) {
	url := serve(t, newFake())
	for _, path := range []string{"/v1/executions", connectExecute} {
		res, body := do(t, "POST", url+path, strings.NewReader(`{"language":"python","code":"print(1)",
			"limits":{"wallTime":"1s","memoryBytes":"67108864","processes":32,"openFiles":64,"fileBytes":1}}`))
		if res.StatusCode != 200 {
			t.Errorf("POST %s: status %d, want 200: %s", path, res.StatusCode, body)
		}
		if diff := cmp.Diff(golden, body); diff != "" {
			t.Errorf("POST %s (-want +got):\n%s", path, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	url := serve(t, newFake())
	huge := strings.Repeat("x", 2<<20)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		want                     string // in the answer
	}{
		{"unknown field", "POST", "/v1/executions", `{"language":"python","bogus":1}`, 400, `"field":"bogus"`},
		{"unknown field on Connect", "POST", connectExecute, `{"language":"python","bogus":1}`, 400, `"reason":"INVALID_ARGUMENT"`},
		{"nested unknown field on Connect", "POST", connectExecute, `{"language":"python","limits":{"x":1}}`, 400, `"field":"limits.x"`},
		{"no JSON on Connect", "POST", connectExecute, `{`, 400, `"google.rpc.ErrorInfo"`},
		{"nested unknown field", "POST", "/v1/executions", `{"language":"python","limits":{"x":1}}`, 400, `"field":"limits.x"`},
		{"wrong type", "POST", "/v1/executions", `{"language":"python","files":[{"path":"a"},{"path":1}]}`, 400, `"field":"files[1].path"`},
		{"bad duration", "POST", "/v1/executions", `{"language":"python","limits":{"wallTime":"soon"}}`, 400, `"field":"limits.wallTime"`},
		{"negative duration", "POST", "/v1/executions", `{"language":"python","limits":{"wallTime":"-1s"}}`, 400, `"field":"limits.wallTime"`},
		{"memory below 4 MiB", "POST", connectExecute, `{"language":"python","limits":{"memoryBytes":"1"}}`, 400, `limits.memoryBytes: `},
		{"empty body", "POST", "/v1/executions", ``, 400, `"field":"language"`},
		{"empty object on Connect", "POST", connectExecute, `{}`, 400, `language: `},
		{"trailing garbage", "POST", "/v1/executions", `{"language":"python"} x`, 400, `"invalid_argument"`},
		{"code and files", "POST", "/v1/executions", `{"language":"python","code":"1","files":[{"path":"a"}]}`, 400, `"field":"code"`},
		{"stream refuses too", "POST", "/v1/executions:stream", `{"language":"python","bogus":1}`, 400, `"field":"bogus"`},
		{"huge", "POST", "/v1/executions", huge, 413, `BODY_TOO_LARGE`},
		{"huge on Connect", "POST", connectExecute, huge, 413, `resource_exhausted`},
		{"no such execution", "GET", "/v1/executions/nope", ``, 404, `"not_found"`},
		{"no such path", "GET", "/v1/nope", ``, 404, `NO_SUCH_ROUTE`},
		{"no such procedure", "POST", "/soulbox.v1.Nope/X", `{}`, 404, `NO_SUCH_ROUTE`},
		{"wrong method of the document", "POST", "/openapi.json", `{}`, 405, `METHOD_NOT_ALLOWED`},
		{"wrong method", "DELETE", "/v1/executions", ``, 405, `METHOD_NOT_ALLOWED`},
		{"wrong method of a verb", "GET", "/v1/executions/x:cancel", ``, 405, `POST`},
		{"unknown parameter", "GET", "/v1/executions?pagesize=1", ``, 400, `"field":"pagesize"`},
		{"unknown parameter of a path", "GET", "/v1/executions/x?id=y", ``, 400, `"field":"id"`},
		{"parameter of a POST", "POST", "/v1/executions?language=c", `{}`, 400, `"field":"language"`},
		{"parameter twice", "GET", "/v1/executions?pageSize=1&pageSize=1", ``, 400, `"field":"pageSize"`},
		{"parameter in both spellings", "GET", "/v1/executions?pageSize=1&page_size=1", ``, 400, `"field":"pageSize"`},
		{"parameter is no number", "GET", "/v1/executions?pageSize=x", ``, 400, `"message":"pageSize: must be a whole number"`},
		{"parameter is no state", "GET", "/v1/executions?state=DONE", ``, 400, `STATE_QUEUED, STATE_RUNNING, STATE_DONE`},
		{"malformed query", "GET", "/v1/executions?a=%zz", ``, 400, `not well-formed`},
		{"trailing slash", "GET", "/v1/executions/", ``, 404, `NO_SUCH_ROUTE`},
		{"double slash", "GET", "/v1//executions", ``, 404, `NO_SUCH_ROUTE`},
		{"slash in an id", "GET", "/v1/executions/a%2Fb", ``, 404, `NO_SUCH_ROUTE`},
		{"percent-encoded id", "GET", "/v1/executions/%6eope", ``, 404, `no such execution`},
		{"long id", "GET", "/v1/executions/" + strings.Repeat("x", 65), ``, 400, `"field":"id"`},
		{"negative page", "GET", "/v1/executions?pageSize=-1", ``, 400, `"field":"pageSize"`},
		{"page too large", "GET", "/v1/executions?pageSize=9999", ``, 400, `"field":"pageSize"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, body := do(t, tt.method, url+tt.path, strings.NewReader(tt.body))
			if res.StatusCode != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%s %s = %d %s, want %d with %s", tt.method, tt.path, res.StatusCode, body, tt.status, tt.want)
			}
		})
	}
	for _, path := range []string{"/v1/executions", connectExecute} { // of unknown length
		res, body := do(t, "POST", url+path, io.MultiReader(strings.NewReader(huge)))
		if res.StatusCode != 413 {
			t.Errorf("POST %s, chunked: status %d, want 413: %s", path, res.StatusCode, body)
		}
	}
	if res, _ := do(t, "GET", url+"/v1/nope", nil, "Authorization", ""); res.StatusCode != 401 {
		t.Errorf("GET /v1/nope without a key: status %d, want 401", res.StatusCode)
	}
	if res, body := do(t, "GET", url+"/v1/system/info", nil); res.StatusCode != 504 {
		t.Errorf("GET /v1/system/info: status %d, want 504: %s", res.StatusCode, body)
	}
}

func TestReads(t *testing.T) {
	url := serve(t, newFake())
	for _, path := range []string{
		"/healthz", "/readyz", "/v1/executions?pageSize=5&state=STATE_DONE&language=python",
		"/openapi.json", "/metrics", "/v1/executions/i0123456789abcdefghij", "/v1/languages", "/v1/languages/py", "/v1/keys",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			if res, body := do(t, method, url+path, nil); res.StatusCode != 200 {
				t.Errorf("%s %s: status %d, want 200: %s", method, path, res.StatusCode, body)
			}
		}
	}
	res, _ := do(t, "OPTIONS", url+"/v1/executions", nil)
	if got, want := res.Header.Get("Allow"), "GET, HEAD, OPTIONS, POST"; got != want {
		t.Errorf("OPTIONS /v1/executions: Allow %q, want %q", got, want)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte(`{"language":"python"}`)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if res, body := do(t, "POST", url+"/v1/executions", &zipped, "Content-Encoding", "gzip"); res.StatusCode != 200 {
		t.Errorf("POST /v1/executions, gzip: status %d, want 200: %s", res.StatusCode, body)
	}
}

func TestFullQueueIsSaidBeforeTheBodyIsRead(t *testing.T) {
	f := newFake()
	url := serve(t, f)
	for range 4 {
		p, err := f.Reserve("k1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The body is announced and never sent.
	if _, err := io.WriteString(conn, "POST /v1/executions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 100\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q, want 429 and some", res.StatusCode, res.Header.Get("Retry-After"))
	}
	_, err = grpcClient(url).ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{Language: "python"})
	e, ok := errors.AsType[*connect.Error](err)
	if !ok || e.Code() != connect.CodeResourceExhausted || errs.RetryAfter(e) < time.Second {
		t.Errorf("gRPC ExecuteCode with a full queue: %v, want resource_exhausted with RetryInfo of a second or more", err)
	}
	res2, body := do(t, "POST", url+connectExecute, strings.NewReader(`{}`))
	if res2.StatusCode != 429 || !strings.Contains(body, "google.rpc.RetryInfo") {
		t.Errorf("POST %s = %d %s, want 429 with RetryInfo", connectExecute, res2.StatusCode, body)
	}
}

// bearerH2C adds the key and speaks HTTP/2 without TLS, as gRPC clients do.
type bearerH2C struct{ http.Transport }

func (b *bearerH2C) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer good")
	return b.Transport.RoundTrip(r)
}

func grpcClient(url string) soulboxpbconnect.ExecutionServiceClient {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	hc := &http.Client{Transport: &bearerH2C{http.Transport{Protocols: &p}}}
	return soulboxpbconnect.NewExecutionServiceClient(hc, url, connect.WithGRPC())
}

func TestGRPC(t *testing.T) {
	c := grpcClient(serve(t, newFake()))
	x, err := c.ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{Language: "python"})
	if err != nil || x.GetStdout() != "1\n" || x.GetVerdict() != pb.Verdict_VERDICT_OK {
		t.Errorf("ExecuteCode = %v, %v, want the result", x, err)
	}
	_, err = c.ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{Language: "python", Code: strings.Repeat("x", 2<<20)})
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("ExecuteCode with 2 MiB: %v, want resource_exhausted", err)
	}
	stream, err := c.StreamExecution(t.Context(), &pb.StreamExecutionRequest{Language: "python"})
	if err != nil {
		t.Fatal(err)
	}
	seq := uint32(0)
	for stream.Receive() {
		if seq++; stream.Msg().GetSeq() != seq {
			t.Errorf("event %d has seq %d", seq, stream.Msg().GetSeq())
		}
	}
	if seq != 3 || stream.Err() != nil {
		t.Errorf("StreamExecution: %d events, %v, want 3", seq, stream.Err())
	}
}

func TestStreamLines(t *testing.T) {
	f := newFake()
	f.finish = make(chan struct{})
	url := serve(t, f)
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/v1/executions:stream", strings.NewReader(`{"language":"python"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	want := []string{`{"seq":1,"compile":false,"started":`, `{"seq":2,"compile":false,"stdout":{"text":"1\n","raw":""}}`, `{"seq":3,"compile":false,"result":`}
	for i, prefix := range want {
		if i == 2 { // the first two came while the program was running
			close(f.finish)
		}
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), prefix) {
			t.Fatalf("line %d = %s, want %s… (%v)", i+1, lines.Text(), prefix, lines.Err())
		}
	}
	if lines.Scan() {
		t.Errorf("a line after the result: %s", lines.Text())
	}
}

func TestNotReady(t *testing.T) {
	f := newFake()
	f.notReady = &sandbox.Error{Op: "fake", Kind: sandbox.KindUnavailable, Msg: "starting"}
	url := serve(t, f)
	res, body := do(t, "GET", url+"/readyz", nil, "Authorization", "")
	if res.StatusCode != 503 || !strings.Contains(body, "starting") {
		t.Errorf("GET /readyz = %d %s, want 503 with the reason", res.StatusCode, body)
	}
	if got := errs.Reason(errs.TooLarge(1)); got != errs.ReasonBodyTooLarge {
		t.Errorf("Reason(TooLarge) = %q, want %q", got, errs.ReasonBodyTooLarge)
	}
}

// Every answer says the daemon's version: refused ones, those that need no key, and gRPC's.
func TestVersionIsInEveryAnswer(t *testing.T) {
	url := serve(t, newFake())
	for _, tt := range []struct{ method, path, key string }{
		{"GET", "/healthz", ""}, {"GET", "/v1/languages", "Bearer good"}, {"GET", "/v1/nope", "Bearer good"}, {"GET", "/v1/nope", ""},
		{"POST", connectExecute, "Bearer good"}, {"GET", "/openapi.json", "Bearer good"},
	} {
		res, _ := do(t, tt.method, url+tt.path, strings.NewReader("{}"), "Authorization", tt.key)
		if got := res.Header.Get("Soulbox-Version"); got != "v1.2.3" {
			t.Errorf("%s %s with key %q: Soulbox-Version %q, want v1.2.3 (status %d)", tt.method, tt.path, tt.key, got, res.StatusCode)
		}
	}
	var header metadata.MD
	health := grpc_health_v1.NewHealthClient(dial(t, url))
	if _, err := health.Check(withKey(t.Context()), &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if got := header.Get("soulbox-version"); len(got) != 1 || got[0] != "v1.2.3" {
		t.Errorf("gRPC: soulbox-version %v, want v1.2.3", got)
	}
}
