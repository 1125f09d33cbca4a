package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
)

func testWait(t *testing.T, d *daemon) {
	a := d.do(t, http.MethodPost, "/v1/executions", object{"language": "python", "code": "print(2)", "wait": false})
	a.want(t, http.StatusOK)
	x := decode[result](t, a.Body)
	if x.ID == "" || (x.State != "STATE_QUEUED" && x.State != "STATE_RUNNING") || x.Verdict != "VERDICT_UNSPECIFIED" {
		t.Errorf("at once: got %s", a.Body)
	}
	if x = d.awaitState(t, x.ID, "STATE_DONE"); x.Verdict != "VERDICT_OK" || x.Stdout != "2\n" {
		t.Errorf("when done: got %+v", x)
	}
}

func testRequestID(t *testing.T, d *daemon) {
	body := object{"language": "python", "code": "import os\nprint(os.urandom(8).hex())", "requestId": "once"}
	first := d.do(t, http.MethodPost, "/v1/executions", body)
	first.want(t, http.StatusOK)
	// Many at once, of the finished one and of a new one.
	for _, id := range []string{"once", "at once"} {
		body := object{"language": "python", "code": "import os\nprint(os.urandom(8).hex())", "requestId": id}
		answers := make([]*async, 16)
		for i := range answers {
			answers[i] = d.start(t.Context(), body)
		}
		seen := map[string]bool{}
		for _, a := range answers {
			got, err := a.wait(t)
			if err != nil {
				t.Fatal(err)
			}
			got.want(t, http.StatusOK)
			seen[string(got.Body)] = true
		}
		if len(seen) != 1 || id == "once" && !seen[string(first.Body)] {
			t.Errorf("request id %q sent 16 times at once: %d different answers, want the one", id, len(seen))
		}
	}
	body["code"] = "print('another')"
	other := d.do(t, http.MethodPost, "/v1/executions", body)
	if f := decode[failure](t, other.Body); other.Status != http.StatusConflict || f.Field != "requestId" {
		t.Errorf("the same request id with another body: got %d %s, want 409", other.Status, other.Body)
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func testBodyLimit(t *testing.T, d *daemon) {
	const most = 16 << 20
	for _, c := range []struct {
		name string
		body io.Reader
		path string
	}{
		{"Content-Length", bytes.NewReader(make([]byte, most+1)), "/v1/executions"},
		{"counted", io.MultiReader(strings.NewReader(`{"code":"`), io.LimitReader(endless{}, 4*most)), "/v1/executions"},
		{"stream", io.MultiReader(strings.NewReader(`{"code":"`), io.LimitReader(endless{}, 4*most)), "/v1/executions:stream"},
		{"Connect", bytes.NewReader(make([]byte, most+1)), soulboxpbconnect.ExecutionServiceExecuteCodeProcedure},
		{"Connect counted", io.MultiReader(strings.NewReader(`{"code":"`), io.LimitReader(endless{}, 4*most)), soulboxpbconnect.ExecutionServiceExecuteCodeProcedure},
	} {
		if a, err := d.try(t.Context(), http.MethodPost, c.path, c.body); err != nil {
			// The daemon may close before a client that goes on sending reads the answer.
			t.Logf("%s: %v", c.name, err)
		} else if a.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: got %d, want 413: %.200s", c.name, a.Status, a.Body)
		}
	}
	code := "#" + strings.Repeat("x", most-200) + "\nprint(1)"
	if x := d.execute(t, object{"language": "python", "code": code}); x.Stdout != "1\n" {
		t.Errorf("a body just below the limit: got %s %q", x.Verdict, x.Stderr)
	}
}

// TestFullQueue: what does not fit is refused before its body is read, and says when to come back.
func TestFullQueue(t *testing.T) {
	d := startDaemon(t, "--max-running", "1", "--max-queue", "2")
	long := object{"language": "python", "code": "import time\ntime.sleep(60)", "wait": false, "limits": object{"wallTime": "120s"}}
	running := d.execute(t, long).ID
	d.awaitState(t, running, "STATE_RUNNING")
	queued := []string{d.execute(t, long).ID, d.execute(t, long).ID}
	for _, path := range []string{"/v1/executions", "/v1/executions:stream", soulboxpbconnect.ExecutionServiceExecuteCodeProcedure} {
		// The body never ends, so an answer shows that it was not waited for.
		body, end := io.Pipe()
		a, err := d.try(t.Context(), http.MethodPost, path, body)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		_ = end.Close()
		if f := decode[failure](t, a.Body); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || f.Code != "resource_exhausted" {
			t.Errorf("%s with a full queue: got %d, Retry-After %q: %s", path, a.Status, a.Header.Get("Retry-After"), a.Body)
		}
	}
	if a := d.do(t, http.MethodPost, "/v1/executions", long, "X-API-Key", "wrong"); a.Status != http.StatusUnauthorized {
		t.Errorf("a wrong key with a full queue: got %d, want 401 first", a.Status)
	}
	if a := d.do(t, http.MethodGet, "/v1/executions/"+running, nil); a.Status != http.StatusOK {
		t.Errorf("a look-up with a full queue: got %d, want 200", a.Status)
	}
	testFullQueueGRPC(t, d)
	for _, id := range append([]string{running}, queued...) {
		a := d.do(t, http.MethodPost, "/v1/executions/"+id+":cancel", object{})
		if x := decode[result](t, a.Body); x.Verdict != "VERDICT_CANCELLED" {
			t.Errorf("cancel: got %s", a.Body)
		}
	}
	if x := d.execute(t, object{"language": "python", "code": "print(1)"}); x.Verdict != "VERDICT_OK" {
		t.Errorf("after the queue: got %+v", x)
	}
}

func testFullQueueGRPC(t *testing.T, d *daemon) {
	c := d.client(twoOnly(), testKey, connect.WithGRPC())
	_, err := c.ExecuteCode(t.Context(), &pb.ExecuteCodeRequest{Language: "python"})
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Fatalf("gRPC with a full queue: got %v, want resource_exhausted", err)
	}
	if kinds := details(err); !kinds["google.rpc.RetryInfo"] {
		t.Errorf("gRPC with a full queue: details %v, want RetryInfo", kinds)
	}
}

// TestAdmission: however many ask at once, all are answered, and never more runs than memory was given for.
func TestAdmission(t *testing.T) {
	d := startDaemon(t, "--memory", "512MiB", "--max-queue", "60")
	var mu sync.Mutex
	statuses := map[int]int{}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			a, err := d.try(t.Context(), http.MethodPost, "/v1/executions", object{"language": "python",
				"code": fmt.Sprintf("x = bytearray(60 << 20)\nprint(%d)", i), "limits": object{"memoryBytes": "100663296"}})
			if err != nil {
				t.Errorf("request %d: %v", i, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[a.Status]++
			if x := decode[result](t, a.Body); a.Status == http.StatusOK && x.Stdout != fmt.Sprintln(i) {
				t.Errorf("request %d: got %s %q %q", i, x.Verdict, x.Stdout, x.Detail)
			}
		})
	}
	most := 0
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	poll(all, answerWait, func() bool {
		info := decode[struct {
			Running                      int
			MemoryBytes, MemoryUsedBytes string
		}](t, d.get(t, "/v1/system/info"))
		most = max(most, info.Running)
		return false
	})
	<-all
	if statuses[http.StatusOK] < 60 || statuses[http.StatusOK]+statuses[http.StatusTooManyRequests] != 100 {
		t.Errorf("100 at once: got %v, want 60 or more 200 and otherwise 429", statuses)
	}
	if most == 0 || most > 4 { // 512 MiB hold four of 96 MiB and their sandboxes' 32
		t.Errorf("%d ran at once, want 1 to 4", most)
	}
}
