package main_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestService is what a service manager sees: a daemon that serves on its sockets, notifies it, pings its watchdog, and
// leaves it its sockets.
func TestService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state, socket := filepath.Join(dir, "state"), filepath.Join(dir, "s.sock")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0" serve --state-dir "$1" --listen 127.0.0.1:1`, binary(t), state)
	cmd.Env = []string{"LISTEN_FDS=2", "NOTIFY_SOCKET=" + filepath.Join(dir, "notify"), "WATCHDOG_USEC=3000000"}
	for _, l := range []interface{ File() (*os.File, error) }{unix.(*net.UnixListener), tcp.(*net.TCPListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	t.Cleanup(func() { manager.Close(); tcp.Close(); unix.Close() })
	d := launchCommand(t, state, cmd)
	if want := "http://" + tcp.Addr().String(); d.url != want {
		t.Errorf("it serves on %s, want %s", d.url, want)
	}
	notified := func(want ...string) {
		t.Helper()
		for end := time.Now().Add(startWait); len(want) > 0; {
			var b [1024]byte
			if err := manager.SetReadDeadline(end); err != nil {
				t.Fatal(err)
			}
			n, err := manager.Read(b[:])
			if err != nil {
				t.Fatalf("notified of no %q: %v; the daemon's log:\n%s", want[0], err, d.log)
			}
			if strings.HasPrefix(string(b[:n]), want[0]) {
				want = want[1:]
			}
		}
	}
	notified("READY=1\nSTATUS=serving on ", "WATCHDOG=1", "WATCHDOG=1")
	d.awaitReady()
	if status, err := overSocket(t, socket, "/v1/keys"); err != nil || status != http.StatusOK {
		t.Errorf("GET /v1/keys over the socket: %d, %v", status, err)
	}
	d.signal(syscall.SIGHUP)
	notified("RELOADING=1\nMONOTONIC_USEC=", "READY=1\nSTATUS=serving on ", "WATCHDOG=1")
	// A daemon that stands still does not ping.
	still := d.serving()
	if err := syscall.Kill(still, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for quiet := false; !quiet; { // pings that were on their way come first
		var b [1024]byte
		if err := manager.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := manager.Read(b[:])
		quiet = errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !quiet {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(still, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	notified("WATCHDOG=1")
	d.signal(syscall.SIGTERM)
	notified("STOPPING=1")
	if status := d.awaitExit(); status != 0 {
		t.Errorf("SIGTERM: status %d", status)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the service manager's socket is gone: %v", err)
	}
}

// TestServiceSocketIsFound: where a service manager listens for a daemon that has not started, the command line connects
// and waits.
func TestServiceSocketIsFound(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(state, "soulbox.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list := exec.Command(binary(t), "lang", "list")
	list.Env = append(os.Environ(), "SOULBOX_STATE_DIR="+state, "SOULBOX_URL=", "SOULBOX_API_KEY=")
	listed := make(chan error, 1)
	go func() {
		out, err := list.CombinedOutput()
		if err == nil && !strings.Contains(string(out), "python") {
			err = errors.New(string(out))
		}
		listed <- err
	}()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" serve --state-dir "$1" --listen 127.0.0.1:0`, binary(t), state)
	cmd.Env, cmd.ExtraFiles = []string{"LISTEN_FDS=1"}, []*os.File{f}
	d := launchCommand(t, state, cmd)
	select {
	case err := <-listed:
		if err != nil {
			t.Errorf("soulbox lang list: %v; the daemon's log:\n%s", err, d.log)
		}
	case <-time.After(answerWait):
		t.Errorf("soulbox lang list does not end")
	}
}
