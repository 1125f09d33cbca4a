package rpc_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// streamProtocols are all ways to follow an execution.
func streamProtocols() []streamProtocol {
	const service = "/soulbox.v1.ExecutionService/StreamExecution"
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	two := &http.Transport{Protocols: &h2c}
	return []streamProtocol{
		{"NDJSON", "/v1/executions:stream", "application/json", &http.Transport{}},
		{"NDJSON on HTTP/2", "/v1/executions:stream", "application/json", two},
		{"Connect", service, "application/connect+json", &http.Transport{}},
		{"gRPC", service, "application/grpc+json", two},
		{"gRPC-Web", service, "application/grpc-web+json", &http.Transport{}},
	}
}

type streamProtocol struct {
	name, path, kind string
	transport        *http.Transport
}

// open starts an execution and returns its stream, of which nothing was read.
func (p streamProtocol) open(t *testing.T, url string) io.Reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	body := `{"language":"python"}`
	if p.kind != "application/json" { // a frame: flags, length, message
		body = string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))) + body
	}
	req, err := http.NewRequestWithContext(ctx, "POST", url+p.path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("Content-Type", p.kind)
	res, err := p.transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("POST %s: %v", p.path, err)
	}
	t.Cleanup(func() { _ = res.Body.Close(); p.transport.CloseIdleConnections() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("POST %s = %s", p.path, res.Status)
	}
	return res.Body
}

// One who never reads is dropped, and the program is not run for nobody.
func TestReaderThatNeverReads(t *testing.T) {
	for _, p := range streamProtocols() {
		t.Run(p.name, func(t *testing.T) {
			f := newFake()
			f.flood, f.finish, f.writeTimeout = true, make(chan struct{}), 100*time.Millisecond
			stream := p.open(t, serve(t, f))
			wait(t, f.canceled, "the client read nothing and its execution was not cancelled")
			if n, err := io.Copy(io.Discard, stream); err == nil {
				t.Errorf("the stream ended as if nothing were missing, after %d bytes", n)
			}
		})
	}
}

// A program may be silent for longer than a client may be.
func TestQuietStreamGoesOn(t *testing.T) {
	for _, p := range streamProtocols() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			f.finish, f.writeTimeout = make(chan struct{}), 400*time.Millisecond
			stream := bufio.NewReader(p.open(t, serve(t, f)))
			if _, err := stream.ReadByte(); err != nil {
				t.Fatalf("read the first event: %v", err)
			}
			select {
			case <-f.canceled:
				t.Fatal("the stream was given up while there was nothing to send")
			case <-time.After(3 * f.writeTimeout): // nothing is to happen
			}
			close(f.finish)
			if rest, err := io.ReadAll(stream); err != nil || !strings.Contains(string(rest), "VERDICT_OK") {
				t.Errorf("the stream ends with %q, %v, want the result", rest, err)
			}
		})
	}
}
