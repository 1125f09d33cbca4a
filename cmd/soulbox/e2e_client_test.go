package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// object is a JSON object to send.
type object = map[string]any

// result is what tests read of an execution.
type result struct {
	ID                string   `json:"id"`
	RequestID         string   `json:"requestId"`
	Language          string   `json:"language"`
	State             string   `json:"state"`
	Verdict           string   `json:"verdict"`
	LimitsHit         []string `json:"limitsHit"`
	Stdout            string   `json:"stdout"`
	Stderr            string   `json:"stderr"`
	StdoutRaw         []byte   `json:"stdoutRaw"`
	StdoutInvalidUTF8 bool     `json:"stdoutInvalidUtf8"`
	StdoutTruncated   bool     `json:"stdoutTruncated"`
	ExitCode          int      `json:"exitCode"`
	Signal            string   `json:"signal"`
	Usage             struct {
		WallTime, UserTime, SystemTime string
		PeakMemoryBytes                string
	} `json:"usage"`
	Compile *struct {
		Verdict  string `json:"verdict"`
		ExitCode int    `json:"exitCode"`
		Stderr   string `json:"stderr"`
	} `json:"compile"`
	Clamped    []string `json:"clamped"`
	Unenforced []string `json:"unenforced"`
	Outputs    []struct {
		Path    string `json:"path"`
		Content []byte `json:"content"`
		Mode    int    `json:"mode"`
	} `json:"outputs"`
	Limits struct {
		WallTime, MemoryBytes string
	} `json:"limits"`
	Detail string `json:"detail"`
}

// answer is an HTTP answer, read to its end.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// failure is the body of an error.
type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Field   string `json:"field"`
}

// try sends a request; body is JSON to encode, or bytes or a string to send as they are, or nil.
func (d *daemon) try(ctx context.Context, method, path string, body any, header ...string) (*answer, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	case []byte:
		in = bytes.NewReader(b)
	case io.Reader:
		in = b
	default:
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, d.url+path, in)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("X-API-Key", testKey)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	return &answer{res.StatusCode, res.Header, text}, nil
}

// do sends a request that must be answered.
func (d *daemon) do(t testing.TB, method, path string, body any, header ...string) *answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerWait)
	defer cancel()
	a, err := d.try(ctx, method, path, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// get answers the body of a GET that must succeed.
func (d *daemon) get(t testing.TB, path string) []byte {
	t.Helper()
	a := d.do(t, http.MethodGet, path, nil)
	a.want(t, http.StatusOK)
	return a.Body
}

// execute runs a program that must be answered with 200.
func (d *daemon) execute(t testing.TB, body any) result {
	t.Helper()
	a := d.do(t, http.MethodPost, "/v1/executions", body)
	a.want(t, http.StatusOK)
	return decode[result](t, a.Body)
}

// record answers an execution's record.
func (d *daemon) record(t testing.TB, id string) result {
	t.Helper()
	return decode[result](t, d.get(t, "/v1/executions/"+id))
}

// awaitState returns an execution's record once it is in a state.
func (d *daemon) awaitState(t testing.TB, id, state string) result {
	t.Helper()
	var x result
	if !poll(d.exited, answerWait, func() bool { x = d.record(t, id); return x.State == state }) {
		t.Fatalf("execution %s is %s, want %s within %v", id, x.State, state, answerWait)
	}
	return x
}

// async starts a program and calls back with its answer, from another goroutine.
type async struct {
	answer *answer
	err    error
	done   chan struct{}
}

func (d *daemon) start(ctx context.Context, body any) *async {
	a := &async{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.answer, a.err = d.try(ctx, http.MethodPost, "/v1/executions", body)
	}()
	return a
}

// wait returns the answer.
func (a *async) wait(t testing.TB) (*answer, error) {
	t.Helper()
	select {
	case <-a.done:
	case <-time.After(answerWait):
		t.Fatalf("no answer within %v", answerWait)
	}
	return a.answer, a.err
}

// want fails the test when the status is another one.
func (a *answer) want(t testing.TB, status int) {
	t.Helper()
	if a.Status != status {
		t.Fatalf("got status %d, want %d: %s", a.Status, status, a.Body)
	}
}

func decode[T any](t testing.TB, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("decode %.500q: %v", text, err)
	}
	return v
}
