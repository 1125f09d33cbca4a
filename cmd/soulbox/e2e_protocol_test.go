package main_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
)

// twoOnly is HTTP/2 without TLS, as gRPC's clients speak it.
func twoOnly() *http.Transport {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: &p}
}

// keyed adds a key to requests.
type keyed struct {
	*http.Transport
	key string
}

// RoundTrip implements [http.RoundTripper].
func (k *keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-API-Key", k.key)
	return k.Transport.RoundTrip(r)
}

// client returns a client as it is generated, with a key.
func (d *daemon) client(over *http.Transport, key string, opts ...connect.ClientOption) soulboxpbconnect.ExecutionServiceClient {
	d.t.Cleanup(over.CloseIdleConnections)
	return soulboxpbconnect.NewExecutionServiceClient(&http.Client{Transport: &keyed{over, key}}, d.url, opts...)
}

// testProtocols does the same over each protocol that a client can be generated for.
func testProtocols(t *testing.T, d *daemon) {
	id := d.execute(t, object{"language": "python", "code": "print('\u00fc')"}).ID
	rest := d.get(t, "/v1/executions/"+id)
	asJSON := d.do(t, http.MethodPost, soulboxpbconnect.ExecutionServiceGetExecutionProcedure, object{"id": id})
	if asJSON.want(t, http.StatusOK); !bytes.Equal(asJSON.Body, rest) {
		t.Errorf("Connect's JSON differs from REST's:\n%s\n%s", asJSON.Body, rest)
	}
	want, err := d.client(&http.Transport{}, testKey).GetExecution(t.Context(), &pb.GetExecutionRequest{Id: id})
	if err != nil || want.GetStdout() != "\u00fc\n" {
		t.Fatalf("GetExecution = %v, %v", want, err)
	}
	for _, p := range []struct {
		name string
		over func() *http.Transport
		opts []connect.ClientOption
	}{
		{"Connect", func() *http.Transport { return &http.Transport{} }, nil},
		{"Connect with JSON", func() *http.Transport { return &http.Transport{} }, []connect.ClientOption{connect.WithProtoJSON()}},
		{"Connect on HTTP2", twoOnly, nil},
		{"gRPC", twoOnly, []connect.ClientOption{connect.WithGRPC()}},
		{"gRPC with gzip", twoOnly, []connect.ClientOption{connect.WithGRPC(), connect.WithSendGzip()}},
		{"gRPC-Web", func() *http.Transport { return &http.Transport{} }, []connect.ClientOption{connect.WithGRPCWeb()}},
		{"gRPC-Web on HTTP2", twoOnly, []connect.ClientOption{connect.WithGRPCWeb()}},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			c := d.client(p.over(), testKey, p.opts...)
			x, err := c.GetExecution(t.Context(), &pb.GetExecutionRequest{Id: id})
			if diff := cmp.Diff(want, x, protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("GetExecution: %v (-want +got):\n%s", err, diff)
			}
			unary(t, c)
			streamed(t, d, c)
			stranger := d.client(p.over(), "another", p.opts...)
			if _, err := stranger.GetExecution(t.Context(), &pb.GetExecutionRequest{Id: id}); connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("a wrong key: %v, want unauthenticated", err)
			}
			if s, err := stranger.StreamExecution(t.Context(), &pb.StreamExecutionRequest{Language: "python"}); err == nil && (s.Receive() || connect.CodeOf(s.Err()) != connect.CodeUnauthenticated) {
				t.Errorf("a stream with a wrong key: %v, want unauthenticated", s.Err())
			}
		})
	}
}

// unary runs a program, and is refused one.
func unary(t *testing.T, c soulboxpbconnect.ExecutionServiceClient) {
	t.Helper()
	x, err := c.ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{Language: "python", Code: "print(3)"})
	if err != nil || x.GetStdout() != "3\n" || x.GetVerdict() != pb.Verdict_VERDICT_OK {
		t.Errorf("ExecuteCode = %v, %v, want 3", x, err)
	}
	_, err = c.ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{Language: "cobol"})
	if connect.CodeOf(err) != connect.CodeInvalidArgument || !details(err)["google.rpc.BadRequest"] {
		t.Errorf("ExecuteCode of an unknown language = %v with %v, want invalid_argument with a field", err, details(err))
	}
	_, err = c.GetExecution(t.Context(), &pb.GetExecutionRequest{Id: "i00000000000000000000"})
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("GetExecution of none = %v, want not_found", err)
	}
}

// details names the types of an error's details.
func details(err error) map[string]bool {
	kinds := map[string]bool{}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		for _, detail := range e.Details() {
			kinds[detail.Type()] = true
		}
	}
	return kinds
}

// streamed follows a program that does not end before its output was seen, and leaves another.
func streamed(t *testing.T, d *daemon, c soulboxpbconnect.ExecutionServiceClient) {
	t.Helper()
	const endless = "import itertools, time\nfor n in itertools.count():\n    print(n, flush=True)\n    time.sleep(0.05)\n"
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for _, end := range []string{"cancelled", "left"} {
		s, err := c.StreamExecution(ctx, &pb.StreamExecutionRequest{Language: "python", Code: endless})
		if err != nil {
			t.Fatalf("StreamExecution: %v", err)
		}
		var id, out string
		var last *pb.ExecutionEvent
		for seq := uint32(1); s.Receive(); seq++ {
			if last = s.Msg(); last.GetSeq() != seq {
				t.Errorf("event %d has number %d", seq, last.GetSeq())
			}
			if started := last.GetStarted(); started != nil {
				id = started.GetId()
			}
			more := last.GetStdout().GetText()
			if out == "" && more != "" { // it was sent as it came: nothing ends the program but this
				if end == "left" {
					leave()
				} else if _, err := c.CancelExecution(t.Context(), &pb.CancelExecutionRequest{Id: id}); err != nil {
					t.Errorf("CancelExecution: %v", err)
				}
			}
			out += more
		}
		if end == "left" {
			if connect.CodeOf(s.Err()) != connect.CodeCanceled {
				t.Errorf("a stream that was left ended with %v, want canceled", s.Err())
			}
		} else if x := last.GetResult(); s.Err() != nil || x.GetVerdict() != pb.Verdict_VERDICT_CANCELLED || x.GetStdout() != out {
			t.Errorf("a stream that was cancelled ended with %v, %v; its events print %q", x, s.Err(), out)
		}
		_ = s.Close() // it has ended
		if x := d.awaitState(t, id, "STATE_DONE"); x.Verdict != "VERDICT_CANCELLED" {
			t.Errorf("%s: the execution is %s, want it cancelled", end, x.Verdict)
		}
	}
	s, err := c.StreamExecution(t.Context(), &pb.StreamExecutionRequest{Language: "cobol"})
	if err == nil {
		if s.Receive() {
			t.Errorf("a stream of no language has the event %v", s.Msg())
		}
		err = s.Err()
	}
	if connect.CodeOf(err) != connect.CodeInvalidArgument || !details(err)["google.rpc.BadRequest"] {
		t.Errorf("a stream of no language: %v with %v, want invalid_argument with a field", err, details(err))
	}
}
