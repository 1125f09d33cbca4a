package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// ErrNotReady is what [Client.Ready] wraps when a daemon is there that cannot run programs yet, or has not said within the
// context that it can.
var ErrNotReady = errors.New("it is not ready")

// longestReason bounds how much is read of why a daemon is not ready.
const longestReason = 64 << 10

// Ready returns nil when a daemon answers that it can run programs.
func (c *Client) Ready(ctx context.Context) error {
	if err := c.ready(ctx); err != nil {
		return fmt.Errorf("ask %s whether it is ready: %w", c.name, err)
	}
	return nil
}

func (c *Client) ready(ctx context.Context) error {
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(traced, http.MethodGet, c.base+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if connected.Load() && ctx.Err() != nil {
			return fmt.Errorf("%w: no answer: %w", ErrNotReady, err)
		}
		return err
	}
	defer res.Body.Close() // all was read that is needed
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %s", ErrNotReady, reason(res))
	default:
		return errors.New(res.Status)
	}
}

// reason is what a daemon says about not being ready, or else the status.
func reason(res *http.Response) string {
	var body struct {
		Message string `json:"message"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, longestReason)).Decode(&body); err != nil || body.Message == "" {
		return res.Status
	}
	return body.Message
}
