package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// event is one line of a stream.
type event struct {
	Seq     int                    `json:"seq"`
	Compile bool                   `json:"compile"`
	Started *result                `json:"started"`
	Stdout  *struct{ Text string } `json:"stdout"`
	Stderr  *struct{ Text string } `json:"stderr"`
	Usage   json.RawMessage        `json:"usage"`
	Result  json.RawMessage        `json:"result"`
}

// events follows a stream.
type events struct {
	lines *bufio.Reader
	body  io.Closer
	last  int
}

// stream starts a program whose events are read as they come.
func (d *daemon) stream(ctx context.Context, t *testing.T, body object) *events {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/v1/executions:stream", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || kind != "application/x-ndjson" {
		t.Fatalf("stream: got %s, %s", res.Status, kind)
	}
	return &events{lines: bufio.NewReader(res.Body), body: res.Body}
}

// next returns the next event, which must have the next number.
func (e *events) next(t *testing.T) event {
	t.Helper()
	line, err := e.lines.ReadBytes('\n')
	if err != nil {
		t.Fatalf("read the event after %d: %v", e.last, err)
	}
	ev := decode[event](t, line)
	if e.last++; ev.Seq != e.last {
		t.Fatalf("event %d has number %d: %s", e.last, ev.Seq, line)
	}
	return ev
}

// until returns the first event that fits.
func (e *events) until(t *testing.T, fits func(event) bool) event {
	t.Helper()
	for {
		if ev := e.next(t); fits(ev) {
			return ev
		}
	}
}

// wantEnd fails the test when there is another event.
func (e *events) wantEnd(t *testing.T) {
	t.Helper()
	if line, err := e.lines.ReadBytes('\n'); err != io.EOF {
		t.Errorf("after the result: %q, %v, want the end", line, err)
	}
}

func testStream(t *testing.T, d *daemon) {
	// The program goes on for as long as the test wants: what is read before was sent as it happened.
	e := d.stream(t.Context(), t, object{"language": "python", "code": `import os, time
os.write(1, b"one\n")
time.sleep(1)  # the two streams are read side by side: what is written at once may come in any order
os.write(2, b"two\n")
time.sleep(3)
os.write(1, b"three\n")
`})
	first := e.next(t)
	if first.Started == nil || first.Started.State != "STATE_RUNNING" || first.Started.ID == "" {
		t.Fatalf("the first event is %+v, want started", first)
	}
	if ev := e.until(t, func(ev event) bool { return ev.Stdout != nil }); ev.Stdout.Text != "one\n" {
		t.Errorf("stdout: got %q", ev.Stdout.Text)
	}
	if x := d.record(t, first.Started.ID); x.State != "STATE_RUNNING" {
		t.Errorf("the program is %s after its first line, want it running", x.State)
	}
	if ev := e.until(t, func(ev event) bool { return ev.Stderr != nil }); ev.Stderr.Text != "two\n" {
		t.Errorf("stderr: got %q", ev.Stderr.Text)
	}
	e.until(t, func(ev event) bool { return len(ev.Usage) > 0 })
	if ev := e.until(t, func(ev event) bool { return ev.Stdout != nil }); ev.Stdout.Text != "three\n" {
		t.Errorf("stdout: got %q", ev.Stdout.Text)
	}
	last := e.until(t, func(ev event) bool { return len(ev.Result) > 0 })
	e.wantEnd(t)
	if x := decode[result](t, last.Result); x.Verdict != "VERDICT_OK" || x.Stdout != "one\nthree\n" || x.Stderr != "two\n" {
		t.Errorf("result: %+v", x)
	}
	if record := d.get(t, "/v1/executions/"+first.Started.ID); string(record) != string(last.Result) {
		t.Errorf("the record differs from the result:\n%s\n%s", record, last.Result)
	}
	if a := d.do(t, http.MethodPost, "/v1/executions:stream", object{"language": "cobol"}); a.Status != http.StatusBadRequest {
		t.Errorf("a stream of no language: got %d, want 400", a.Status)
	}
}

func testCancel(t *testing.T, d *daemon) {
	e := d.stream(t.Context(), t, object{"language": "python", "code": "import os, time\nos.write(1, b'up\\n')\ntime.sleep(60)"})
	id := e.next(t).Started.ID
	e.until(t, func(ev event) bool { return ev.Stdout != nil })
	a := d.do(t, http.MethodPost, "/v1/executions/"+id+":cancel", nil)
	a.want(t, http.StatusOK)
	x := decode[result](t, a.Body)
	if x.Verdict != "VERDICT_CANCELLED" || x.State != "STATE_DONE" || x.Stdout != "up\n" || x.ExitCode != -1 {
		t.Errorf("cancelled: got %+v", x)
	}
	last := e.until(t, func(ev event) bool { return len(ev.Result) > 0 })
	if string(last.Result) != string(a.Body) {
		t.Errorf("the stream's result differs from the answer to cancel:\n%s\n%s", last.Result, a.Body)
	}
	again := d.do(t, http.MethodPost, "/v1/executions/"+id+":cancel", object{})
	if again.want(t, http.StatusOK); string(again.Body) != string(a.Body) {
		t.Errorf("cancelled twice: got %s", again.Body)
	}
	if a := d.do(t, http.MethodPost, "/v1/executions/i00000000000000000000:cancel", object{}); a.Status != http.StatusNotFound {
		t.Errorf("cancel of nothing: got %d, want 404", a.Status)
	}
}

// testLostClient: a program ends with its client, but for one with a request id, which can be asked for again.
func testLostClient(t *testing.T, d *daemon) {
	const code = "import time\nprint('up', flush=True)\ntime.sleep(4)\nprint('end')"
	for _, c := range []struct{ name, requestID, want string }{
		{"without request id", "", "VERDICT_CANCELLED"}, {"with request id", "lost-" + t.Name(), "VERDICT_OK"},
	} {
		t.Run("stream "+c.name, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			e := d.stream(ctx, t, object{"language": "python", "code": code, "requestId": c.requestID})
			id := e.next(t).Started.ID
			e.until(t, func(ev event) bool { return ev.Stdout != nil })
			leave()
			if x := d.awaitState(t, id, "STATE_DONE"); x.Verdict != c.want {
				t.Errorf("got %s, want %s", x.Verdict, c.want)
			}
		})
		t.Run("unary "+c.name, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			marker := "# " + t.Name() // finds the execution, whose id the client has not been told
			requestID := c.requestID
			if requestID != "" {
				requestID += " unary"
			}
			lost := d.start(ctx, object{"language": "ruby", "code": "sleep 4 " + marker, "requestId": requestID})
			var id string
			if !poll(nil, answerWait, func() bool {
				page := decode[struct{ Executions []result }](t, d.get(t, "/v1/executions?language=ruby&state=STATE_RUNNING"))
				for _, x := range page.Executions {
					if x.RequestID == requestID {
						id = x.ID
					}
				}
				return id != ""
			}) {
				t.Fatal("the execution did not start")
			}
			leave()
			if _, err := lost.wait(t); err == nil {
				t.Fatal("the client was answered")
			}
			if x := d.awaitState(t, id, "STATE_DONE"); x.Verdict != c.want {
				t.Errorf("got %s, want %s", x.Verdict, c.want)
			}
		})
	}
}
