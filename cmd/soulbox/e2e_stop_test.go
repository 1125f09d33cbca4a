package main_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// running returns the id of the one execution that runs, once there is one.
func (d *daemon) running(t *testing.T) (id string) {
	t.Helper()
	if !poll(d.exited, answerWait, func() bool {
		page := decode[struct{ Executions []result }](t, d.get(t, "/v1/executions?state=STATE_RUNNING"))
		if len(page.Executions) == 1 {
			id = page.Executions[0].ID
		}
		return id != ""
	}) {
		t.Fatal("nothing runs")
	}
	return id
}

// TestDrain: SIGTERM, however often it comes, refuses what is new and lets what runs end and be answered.
func TestDrain(t *testing.T) {
	d := startDaemon(t, "--drain", "60s")
	endpoint := filepath.Join(d.state, "endpoint")
	for name, want := range map[string]string{endpoint: d.url, endpoint + ".socket": d.socket()} {
		if b, err := os.ReadFile(name); err != nil || string(b) != want+"\n" {
			t.Errorf("%s of a running daemon: %q, %v, want %q", name, b, err, want)
		}
	}
	// It goes on until well after both signals.
	waiting := d.start(t.Context(), object{"language": "python", "code": "import time\ntime.sleep(3)\nprint('ended')"})
	id := d.running(t)
	d.signal(syscall.SIGTERM)
	d.eventually("not ready any more", stopWait, func() bool {
		return d.do(t, http.MethodGet, "/readyz", nil).Status == http.StatusServiceUnavailable
	})
	if a := d.do(t, http.MethodPost, "/v1/executions", object{"language": "python", "code": "1"}); a.Status != http.StatusServiceUnavailable {
		t.Errorf("a new execution while draining: got %d %s, want 503", a.Status, a.Body)
	}
	if x := d.record(t, id); x.State != "STATE_RUNNING" {
		t.Errorf("while draining the program is %s, want it running", x.State)
	}
	d.signal(syscall.SIGTERM)
	a, err := waiting.wait(t)
	if err != nil {
		t.Fatalf("the running execution was not answered: %v", err)
	}
	a.want(t, http.StatusOK)
	if x := decode[result](t, a.Body); x.Verdict != "VERDICT_OK" || x.Stdout != "ended\n" {
		t.Errorf("the running execution: got %s, %q", x.Verdict, x.Stdout)
	}
	if status := d.awaitExit(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	for _, name := range []string{endpoint, endpoint + ".socket", d.socket()} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a stopped daemon: %v, want none", name, err)
		}
	}
	again := startDaemonIn(t, d.state)
	if got := again.get(t, "/v1/executions/"+id); string(got) != string(a.Body) {
		t.Errorf("after a restart:\n%s\nwas answered as\n%s", got, a.Body)
	}
}

// TestDrainEnds: what outlasts the drain is cancelled, and answered.
func TestDrainEnds(t *testing.T) {
	d := startDaemon(t, "--drain", "500ms")
	waiting := d.start(t.Context(), object{"language": "python", "code": "import time\ntime.sleep(60)", "limits": object{"wallTime": "60s"}})
	d.running(t)
	if status := d.stop(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	a, err := waiting.wait(t)
	if err != nil {
		t.Fatalf("the cancelled execution was not answered: %v", err)
	}
	a.want(t, http.StatusOK)
	if x := decode[result](t, a.Body); x.Verdict != "VERDICT_CANCELLED" || x.Detail == "" {
		t.Errorf("got %s, detail %q, want it cancelled with a reason", x.Verdict, x.Detail)
	}
}

// TestRequestIDAfterRestart: a request id leads to the same execution after a restart, too.
func TestRequestIDAfterRestart(t *testing.T) {
	d := startDaemon(t)
	body := object{"language": "python", "code": "import os\nprint(os.urandom(8).hex())", "requestId": "kept"}
	first := d.do(t, http.MethodPost, "/v1/executions", body)
	first.want(t, http.StatusOK)
	d.stop()
	again := startDaemonIn(t, d.state)
	if a := again.do(t, http.MethodPost, "/v1/executions", body); string(a.Body) != string(first.Body) {
		t.Errorf("the same request after a restart:\n%s\nwas answered as\n%s", a.Body, first.Body)
	}
	body["code"] = "print('another')"
	again.do(t, http.MethodPost, "/v1/executions", body).want(t, http.StatusConflict)
}
