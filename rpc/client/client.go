package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
)

// Client talks to one daemon with one key.
type Client struct {
	Executions soulboxpbconnect.ExecutionServiceClient
	Languages  soulboxpbconnect.LanguageServiceClient
	System     soulboxpbconnect.SystemServiceClient
	Keys       soulboxpbconnect.KeyServiceClient
	Images     soulboxpbconnect.ImageServiceClient
	Sandboxes  soulboxpbconnect.SandboxServiceClient // StreamExec over HTTP/2, which it needs, without TLS too

	name string // the URL as it was given, for people
	base string
	http *http.Client
}

// New returns a client of the daemon at base, "http://127.0.0.1:8000" or "unix:///run/soulbox.sock", that sends key, or no
// key when that is empty. Nothing is dialled yet.
func New(base, key string, opts ...connect.ClientOption) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("make a client of %q: no URL", base)
	}
	name := base
	transport, duplex := http.DefaultTransport, duplexTransport()
	switch {
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		transport = &http.Transport{DialContext: dialUnix(u.Path)}
		duplex.DialContext = dialUnix(u.Path)
		base = "http://localhost" // for the Host header: nothing looks it up
	default:
		return nil, fmt.Errorf("make a client of %q: not a URL that begins with http://, https:// or unix:///", base)
	}
	c := &Client{name: name, base: strings.TrimSuffix(base, "/"), http: keyed(key, transport)}
	c.Executions = soulboxpbconnect.NewExecutionServiceClient(c.http, c.base, opts...)
	c.Languages = soulboxpbconnect.NewLanguageServiceClient(c.http, c.base, opts...)
	c.System = soulboxpbconnect.NewSystemServiceClient(c.http, c.base, opts...)
	c.Keys = soulboxpbconnect.NewKeyServiceClient(c.http, c.base, opts...)
	c.Images = soulboxpbconnect.NewImageServiceClient(c.http, c.base, opts...)
	c.Sandboxes = &sandboxes{
		SandboxServiceClient: soulboxpbconnect.NewSandboxServiceClient(c.http, c.base, opts...),
		duplex:               soulboxpbconnect.NewSandboxServiceClient(keyed(key, duplex), c.base, opts...),
	}
	return c, nil
}

// keyed returns an HTTP client that sends key.
func keyed(key string, transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: &bearer{key: key, next: transport},
		// A key goes to the daemon it is for and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialUnix connects to a unix socket whatever a URL's host is.
func dialUnix(path string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
}

// bearer adds a key to each request.
type bearer struct {
	key  string
	next http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.key != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.key)
	}
	return b.next.RoundTrip(r)
}

// Explain returns one line about an error of a client's, for people: what is wrong and, if known, when to try again.
func Explain(err error) string {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err.Error()
	}
	text := e.Message()
	if after := errs.RetryAfter(e); after > 0 {
		text += fmt.Sprintf(" (try again in %s)", after)
	}
	switch e.Code() {
	case connect.CodeUnauthenticated:
		text += " (set SOULBOX_API_KEY to a key of this daemon)"
	case connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeAlreadyExists, connect.CodeInternal:
	default:
		text = e.Code().String() + ": " + text
	}
	return text
}
