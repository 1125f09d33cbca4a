package main_test

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// overSocket asks for a path over a daemon's socket, without a key.
func overSocket(t *testing.T, socket, path string) (int, error) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// TestSocket: the owner needs no key on the socket, which survives a killed daemon and a killed supervisor.
func TestSocket(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	info, err := os.Lstat(d.socket())
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("the socket: %v, %v, want mode 0600", info, err)
	}
	if status, err := overSocket(t, d.socket(), "/v1/keys"); err != nil || status != http.StatusOK {
		t.Errorf("GET /v1/keys without a key over the socket: %d, %v, want 200", status, err)
	}
	if status, err := overSocket(t, d.socket(), "/v1/nope"); err != nil || status != http.StatusNotFound {
		t.Errorf("GET /v1/nope without a key over the socket: %d, %v, want 404", status, err)
	}
	if a := d.do(t, http.MethodGet, "/v1/keys", nil, "X-API-Key", ""); a.Status != http.StatusUnauthorized {
		t.Errorf("GET /v1/keys without a key over the port: %d, want 401", a.Status)
	}

	old := d.serving()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.eventually("another daemon", startWait, func() bool { pid := d.serving(); return pid != 0 && pid != old })
	d.awaitReady()
	if status, err := overSocket(t, d.socket(), "/v1/keys"); err != nil || status != http.StatusOK {
		t.Errorf("GET /v1/keys over the socket of the next daemon: %d, %v, want 200", status, err)
	}

	// Another daemon does not take the socket, nor does the attempt harm it.
	cmd := exec.Command(binary(t), "serve", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(t.TempDir(), "state"), "--socket", d.socket())
	if said := refused(t, cmd); !strings.Contains(said, "another process serves on this socket") {
		t.Errorf("a second daemon on the socket says %q", said)
	}
	if status, err := overSocket(t, d.socket(), "/readyz"); err != nil || status != http.StatusOK {
		t.Errorf("GET /readyz over the socket after that: %d, %v, want 200", status, err)
	}

	d.signal(syscall.SIGKILL)
	d.awaitExit()
	if _, err := os.Lstat(d.socket()); err != nil {
		t.Fatalf("a killed supervisor leaves its socket, for this test to be one: %v", err)
	}
	again := startDaemonIn(t, d.state)
	if status, err := overSocket(t, again.socket(), "/v1/keys"); err != nil || status != http.StatusOK {
		t.Errorf("GET /v1/keys over a socket that replaced a dead one: %d, %v, want 200", status, err)
	}
}

// TestSocketElsewhere: the command line finds a socket that is not in the state directory and needs no key file; --url
// takes it too, and none makes none.
func TestSocketElsewhere(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "other.sock")
	d := startDaemonIn(t, filepath.Join(t.TempDir(), "state"), "--socket", socket)
	if err := os.Remove(filepath.Join(d.state, "cli.key")); err != nil {
		t.Fatal(err)
	}
	env := os.Environ()
	for _, c := range []struct {
		name string
		args []string
		env  []string
	}{
		{"found", []string{"--state-dir", d.state}, nil},
		{"told", []string{"--state-dir", t.TempDir(), "--url", "unix://" + socket}, nil},
		{"told by the environment", []string{"--state-dir", t.TempDir()}, []string{"SOULBOX_URL=unix://" + socket}},
	} {
		cmd := exec.Command(binary(t), append([]string{"info"}, c.args...)...)
		cmd.Env = append(env, c.env...)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "running") {
			t.Errorf("%s: %v: %v, %s", c.name, cmd.Args, err, out)
		}
	}
	none := startDaemonIn(t, filepath.Join(t.TempDir(), "state"), "--socket", "none")
	if _, err := os.Lstat(none.socket()); err == nil {
		t.Error("--socket none made a socket")
	}
	cmd := exec.Command(binary(t), "info", "--state-dir", none.state)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v, over the port: %v, %s", cmd.Args, err, out)
	}
}

// TestSocketOfAnother: who is not the daemon's user needs a key, even where the socket's mode lets everybody connect.
func TestSocketOfAnother(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("only root can be another user; the tests are run as root, too")
		return
	}
	dir, err := os.MkdirTemp("/tmp", "soulbox-socket-") // where others can enter, unlike t.TempDir, or TMPDIR
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	socket := filepath.Join(dir, "s")
	startDaemonIn(t, filepath.Join(t.TempDir(), "state"), "--socket", socket)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode fs.FileMode
		key  string
		want string
	}{
		{0o600, "", "permission denied"},
		{0o666, "", "set SOULBOX_API_KEY"},
		{0o666, testKey, "running"},
	} {
		if err := os.Chmod(socket, tt.mode); err != nil {
			t.Fatal(err)
		}
		program, err := os.Open(binary(t))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/fd/3", "info", "--state-dir", "/nonexistent/state", "--url", "unix://"+socket)
		cmd.ExtraFiles, cmd.Dir = []*os.File{program}, "/"
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "SOULBOX_API_KEY=" + tt.key}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 64_321, Gid: 64_321}}
		out, _ := cmd.CombinedOutput() // what it says tells
		if err := program.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), tt.want) {
			t.Errorf("another user, mode %v, key %q: it says %q, want %q in it", tt.mode, tt.key, out, tt.want)
		}
	}
}
