package client

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
)

const (
	// pingAfter is how long a connection of StreamExec may be silent before the client asks whether it still stands; the
	// daemon itself says something every few seconds.
	pingAfter = 15 * time.Second
	// pingWait is how long the answer may take before the connection is given up.
	pingWait = 10 * time.Second
)

// sandboxes is a client of SandboxService. Only the bidirectional method goes over HTTP/2: the others pass through
// proxies that do not speak it without TLS.
type sandboxes struct {
	soulboxpbconnect.SandboxServiceClient
	duplex soulboxpbconnect.SandboxServiceClient
}

// StreamExec implements [soulboxpbconnect.SandboxServiceClient].
func (s *sandboxes) StreamExec(ctx context.Context) (*connect.BidiStreamForClientSimple[pb.StreamExecRequest, pb.StreamExecResponse], error) {
	return s.duplex.StreamExec(ctx)
}

// duplexTransport speaks HTTP/2 alone, without TLS to http:// URLs, and notices when a connection is dead.
func duplexTransport() *http.Transport {
	var p http.Protocols
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Proxy:     http.ProxyFromEnvironment,
		Protocols: &p,
		HTTP2:     &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
	}
}
