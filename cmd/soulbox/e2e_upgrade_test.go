package main_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestUpgradeKeepsSandboxes: a sandbox's process goes on under a daemon of another file, and when that file is no good,
// under one of the file before. An execution is let end.
func TestUpgradeKeepsSandboxes(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	box := d.sandbox(t, object{})
	process := d.exec(t, box, object{"shell": "echo first; exec sleep 1000", "detach": true, "tag": "sleeper"})
	paused := d.sandbox(t, object{})
	d.do(t, http.MethodPost, paused+":pause", object{}).want(t, http.StatusOK)
	dir := t.TempDir()
	next, broken := filepath.Join(dir, "next"), filepath.Join(dir, "broken")
	copyExecutable(t, binary(t), next)
	script := "#!/bin/sh\n[ \"$1\" != version ] || exec " + binary(t) + " \"$@\"\nexit 7\n"
	if err := os.WriteFile(broken, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	same := func() {
		t.Helper()
		d.awaitReady()
		if got := string(d.get(t, box+"/processes")); !strings.Contains(got, fmt.Sprintf(`"pid":%d,`, process.PID)) || !strings.Contains(got, `"exited":null`) {
			t.Errorf("processes of the sandbox: %s, want %d to run", got, process.PID)
		}
		if got := d.printedBy(t, box, process.PID, "first\n"); got != "first\n" {
			t.Errorf("the process printed %q", got)
		}
		if got := string(d.get(t, paused)); !strings.Contains(got, "SANDBOX_STATE_PAUSED") {
			t.Errorf("the paused sandbox: %s", got)
		}
	}
	running := func() string {
		t.Helper()
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", d.serving()))
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	if got := d.soulbox(t, "upgrade", "--check", next); !strings.Contains(got, "can take over") {
		t.Errorf("upgrade --check printed %q", got)
	}
	late := d.start(t.Context(), object{"language": "python", "code": "import time\ntime.sleep(1)\nprint('late')"})
	d.eventually("the program runs", answerWait, func() bool { return d.programs() > 0 })
	if got := d.soulbox(t, "upgrade", next); !strings.Contains(got, "serves, with the sandboxes that lived") || !strings.Contains(got, "the next start still runs") {
		t.Errorf("upgrade printed %q", got)
	}
	if got := running(); got != next {
		t.Errorf("the daemon runs %s, want %s", got, next)
	}
	if a, err := late.wait(t); err != nil || !strings.Contains(string(a.Body), `late\n`) {
		t.Errorf("the program that ran meanwhile: %+v, %v", a, err)
	}
	same()
	out, err := d.command(t, "upgrade", broken).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "status 7") || !strings.Contains(string(out), "the old one serves again") {
		t.Errorf("upgrade to a broken file: %v, %s", err, out)
	}
	if got := running(); got != next {
		t.Errorf("after a broken upgrade the daemon runs %s, want %s", got, next)
	}
	same()
	d.kill(t) // what comes back is of the same file
	if got := running(); got != next {
		t.Errorf("after a kill the daemon runs %s, want %s", got, next)
	}
	same()
	if out, err := d.command(t, "upgrade", "/bin/true").CombinedOutput(); err == nil || !strings.Contains(string(out), "no executable of soulbox") {
		t.Errorf("upgrade to /bin/true: %v, %s", err, out)
	}
	for _, path := range []string{box, paused} {
		d.do(t, http.MethodDelete, path, nil).want(t, http.StatusOK)
	}
	d.nothingLives(t)
	d.signal(syscall.SIGTERM)
	if status := d.awaitExit(); status != 0 {
		t.Errorf("SIGTERM after all that: status %d", status)
	}
	if _, err := os.Lstat(filepath.Join(d.state, "supervisor.sock")); err == nil {
		t.Error("the supervisor's socket is left")
	}
}

func copyExecutable(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
