package client

import (
	"context"
	"errors"
	"fmt"
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

	base string
	http *http.Client
}

// New returns a client of the daemon at base, "http://127.0.0.1:8000", that sends key. Nothing is dialled yet.
func New(base, key string, opts ...connect.ClientOption) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("make a client of %q: not an http or https URL", base)
	}
	c := &Client{base: strings.TrimSuffix(base, "/"), http: &http.Client{
		Transport: &bearer{key: key, next: http.DefaultTransport},
		// A key goes to the daemon it is for and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c.Executions = soulboxpbconnect.NewExecutionServiceClient(c.http, c.base, opts...)
	c.Languages = soulboxpbconnect.NewLanguageServiceClient(c.http, c.base, opts...)
	c.System = soulboxpbconnect.NewSystemServiceClient(c.http, c.base, opts...)
	c.Keys = soulboxpbconnect.NewKeyServiceClient(c.http, c.base, opts...)
	return c, nil
}

// Ready returns nil when a daemon answers that it can run programs.
func (c *Client) Ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask %s whether it is ready: %w", c.base, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s whether it is ready: %w", c.base, err)
	}
	if err := res.Body.Close(); err != nil {
		return fmt.Errorf("ask %s whether it is ready: %w", c.base, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s whether it is ready: %s", c.base, res.Status)
	}
	return nil
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
