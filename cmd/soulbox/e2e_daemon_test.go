package main_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	testKey    = "a key of the tests"
	startWait  = 30 * time.Second // for a daemon to come up, on a busy machine
	stopWait   = 40 * time.Second // for it to be gone
	answerWait = 2 * time.Minute  // for one answer; the first of a language prepares it
	retryPause = 20 * time.Millisecond
)

// daemon is one `soulbox serve` of a test's.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	state  string
	log    *logBuffer
	exited chan struct{} // closed when the supervisor has ended; status is set then
	status int
}

// logBuffer keeps what a daemon writes to stderr.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startDaemon starts a daemon with a state directory of its own and returns once it is ready.
func startDaemon(t *testing.T, args ...string) *daemon {
	t.Helper()
	return startDaemonIn(t, filepath.Join(t.TempDir(), "state"), args...)
}

// startDaemonIn starts a daemon on a state directory and returns once it is ready. The test's end stops it.
func startDaemonIn(t *testing.T, state string, args ...string) *daemon {
	t.Helper()
	d := launchDaemon(t, state, args...)
	d.awaitReady()
	return d
}

// launchDaemon starts a daemon and returns once it has printed its URL.
func launchDaemon(t *testing.T, state string, args ...string) *daemon {
	t.Helper()
	return launchCommand(t, state, exec.Command(binary(t), append([]string{"serve", "--state-dir", state, "--listen", "127.0.0.1:0"}, args...)...))
}

// launchCommand is launchDaemon for a command that becomes a daemon on state.
func launchCommand(t *testing.T, state string, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{t: t, state: state, log: &logBuffer{}, exited: make(chan struct{}), cmd: cmd}
	d.cmd.Env = append(append(os.Environ(), cmd.Env...), "SOULBOX_API_KEY="+testKey)
	d.cmd.Stderr = d.log
	// What the daemon started must not hold this process's pipes once the supervisor is gone.
	d.cmd.WaitDelay = 5 * time.Second
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1)
	go func() {
		r := bufio.NewReader(stdout)
		line, _ := r.ReadString('\n') // a daemon that prints nothing has ended, which is seen below
		lines <- strings.TrimSuffix(line, "\n")
		_, _ = io.Copy(io.Discard, r)
		_ = d.cmd.Wait() // the status is what counts
		d.status = d.cmd.ProcessState.ExitCode()
		close(d.exited)
	}()
	t.Cleanup(d.cleanup)
	select {
	case d.url = <-lines:
	case <-time.After(startWait):
		t.Fatalf("the daemon printed no URL within %v; its log:\n%s", startWait, d.log)
	}
	if !strings.HasPrefix(d.url, "http://127.0.0.1:") {
		t.Fatalf("the daemon's first line is %q, want its URL; its log:\n%s", d.url, d.log)
	}
	return d
}

// cleanup stops the daemon at the end of its test, and shows its log when that failed.
func (d *daemon) cleanup() {
	select {
	case <-d.exited:
	default:
		d.signal(syscall.SIGTERM)
		select {
		case <-d.exited:
		case <-time.After(stopWait):
			d.t.Errorf("the daemon did not stop within %v of SIGTERM", stopWait)
			d.signal(syscall.SIGKILL)
			<-d.exited
		}
	}
	if d.t.Failed() {
		log := d.log.String()
		d.t.Logf("log of the daemon on %s:\n%s", d.state, log[max(0, len(log)-8000):])
	}
}

// socket is the path of the daemon's socket, where its user needs no key.
func (d *daemon) socket() string { return filepath.Join(d.state, "soulbox.sock") }

// outer is the pid of the supervisor in the host's namespaces.
func (d *daemon) outer() int { return d.cmd.Process.Pid }

func (d *daemon) signal(s syscall.Signal) { _ = d.cmd.Process.Signal(s) } // one that has ended is what was wanted

// stop ends the daemon with SIGTERM and returns its exit status.
func (d *daemon) stop() int {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	return d.awaitExit()
}

// awaitExit returns the supervisor's exit status, -1 when it was killed.
func (d *daemon) awaitExit() int {
	d.t.Helper()
	select {
	case <-d.exited:
	case <-time.After(stopWait):
		d.t.Fatalf("the daemon was still there after %v", stopWait)
	}
	return d.status
}

// awaitReady returns once /readyz answers 200.
func (d *daemon) awaitReady() {
	d.t.Helper()
	d.eventually("ready", startWait, func() bool {
		r, err := http.Get(d.url + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// eventually returns once ok does, which nothing tells a process outside about.
func (d *daemon) eventually(what string, within time.Duration, ok func() bool) {
	d.t.Helper()
	if !poll(d.exited, within, ok) {
		d.t.Fatalf("not within %v: %s; the daemon's log:\n%s", within, what, d.log)
	}
}

// poll asks ok until it is true, time is up, or stop is closed.
func poll(stop <-chan struct{}, within time.Duration, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(retryPause)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-stop:
			return ok()
		case <-ctx.Done():
			return false
		}
	}
	return true
}
