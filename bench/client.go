package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds the body of an answer, in bytes.
const maxAnswer = 64 << 20

// Client speaks to one daemon. It is safe for concurrent use.
type Client struct {
	URL  string       // "http://127.0.0.1:8080"
	Key  string       // API key
	HTTP *http.Client // nil: http.DefaultClient
}

// Execution is what a benchmark reads of a daemon's answer.
type Execution struct {
	ID       string   `json:"id"`
	Verdict  string   `json:"verdict"`
	ExitCode int      `json:"exitCode"`
	Limits   []string `json:"limitsHit"`
	Stdout   string   `json:"stdout"`
	Stderr   string   `json:"stderr"`
}

// request is the body of POST /v1/executions.
type request struct {
	Language   string         `json:"language"`
	Runtime    string         `json:"runtime,omitempty"`
	Code       string         `json:"code"`
	Entrypoint string         `json:"entrypoint"`
	Stdin      string         `json:"stdin,omitempty"`
	Limits     map[string]any `json:"limits,omitempty"`
}

// BusyError is a daemon's refusal for now.
type BusyError struct {
	RetryAfter time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("the daemon is busy and asks to retry after %v", e.RetryAfter)
}

// Execute runs a program to its end. A full queue is a [*BusyError].
func (c *Client) Execute(ctx context.Context, p Program) (_ Execution, err error) {
	body, err := json.Marshal(request{Language: p.Language, Runtime: p.Runtime, Code: p.Code, Entrypoint: p.File, Stdin: p.Stdin, Limits: p.Limits})
	if err != nil {
		return Execution{}, fmt.Errorf("encode request for %s: %w", p.Language, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+"/v1/executions", bytes.NewReader(body))
	if err != nil {
		return Execution{}, fmt.Errorf("make request to %s: %w", c.URL, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-Key", c.Key)
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(r)
	if err != nil {
		return Execution{}, fmt.Errorf("execute %s: %w", p.Language, err)
	}
	// Only an answer that was read to its end frees the connection; what Close says then changes nothing.
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return Execution{}, fmt.Errorf("read answer for %s: %w", p.Language, err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusTooManyRequests:
		seconds, err := strconv.Atoi(answer.Header.Get("Retry-After"))
		if err != nil || seconds < 0 {
			seconds = 1
		}
		return Execution{}, &BusyError{RetryAfter: time.Duration(seconds) * time.Second}
	default:
		return Execution{}, fmt.Errorf("execute %s: %s: %s", p.Language, answer.Status, bytes.TrimSpace(text))
	}
	var x Execution
	if err := json.Unmarshal(text, &x); err != nil {
		return Execution{}, fmt.Errorf("decode answer for %s: %w", p.Language, err)
	}
	return x, nil
}

// check returns what is wrong with x as the outcome of p, nil when nothing is.
func (p Program) check(x Execution) error {
	switch {
	case x.Verdict != p.Verdict:
		return fmt.Errorf("%s %s, execution %s: got %s (exit %d, limits %v), want %s: %s",
			p.Language, p.Name, x.ID, x.Verdict, x.ExitCode, x.Limits, p.Verdict, tail(x.Stderr))
	case p.Verdict == verdictOK && x.Stdout != p.Stdout:
		return fmt.Errorf("%s %s, execution %s: printed %q, want %q", p.Language, p.Name, x.ID, tail(x.Stdout), p.Stdout)
	}
	return nil
}

// tail returns the end of a text.
func tail(s string) string {
	const most = 300
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-most):]
}
