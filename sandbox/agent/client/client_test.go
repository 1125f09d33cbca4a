package client

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

func openDir(t *testing.T) (string, *os.File) {
	t.Helper()
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), dir)
	t.Cleanup(func() { _ = f.Close() })
	return dir, f
}

func TestDialRefuses(t *testing.T) {
	dir, f := openDir(t)
	name := filepath.Join(dir, "agent.sock")
	if err := os.Symlink("/run/other.sock", name); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), f); err == nil {
		t.Error("Dial through a link succeeded")
	}
	if err := errors.Join(os.Remove(name), os.WriteFile(name, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), f); err == nil {
		t.Error("Dial to a regular file succeeded")
	}
}

func TestDialWaits(t *testing.T) {
	dir, f := openDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, f); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial without an agent = %v, want deadline exceeded", err)
	}
	got := make(chan error, 1)
	go func() {
		c, err := Dial(t.Context(), f)
		if err == nil {
			err = c.Close()
		}
		got <- err
	}()
	for _, s := range []struct{ network, name string }{{"unixpacket", "fds.sock"}, {"unix", "agent.sock"}} {
		l, err := net.Listen(s.network, filepath.Join(dir, s.name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if err := <-got; err != nil {
		t.Errorf("Dial: %v", err)
	}
}

func TestExitFromHostile(t *testing.T) {
	x := exitFrom(&agentpb.End{WallNanos: -1, UserNanos: 1<<63 - 1, MaxRssBytes: -5, StartErrno: -7, DiskUsed: -1, PeakPolledBytes: -1, WaitStatus: 1<<32 - 1,
		StartStep: string(make([]byte, 1000))})
	if x.Wall != 0 || x.User != maxDuration || x.MaxRSS != 0 || x.StartErrno != unix.EIO || x.DiskUsed != 0 || x.PeakPolled != 0 || x.Status != 0xffff || len(x.StartStep) != 64 {
		t.Errorf("exitFrom = %+v", x)
	}
}

func TestRunRequest(t *testing.T) {
	for name, cmd := range map[string]Command{
		"no args": {},
		"no =":    {Args: []string{"a"}, Env: []string{"x"}},
		"no key":  {Args: []string{"a"}, Env: []string{"=x"}},
	} {
		if _, err := runRequest("s", cmd); err == nil {
			t.Errorf("runRequest with %s succeeded", name)
		}
	}
	req, err := runRequest("s", Command{Args: []string{"a", "b"}, Env: []string{"k=v=w"}, Dir: "/work"})
	if err != nil || req.GetProcess().GetEnvs()["k"] != "v=w" || req.GetProcess().GetCmd() != "a" || len(req.GetProcess().GetArgs()) != 1 {
		t.Errorf("runRequest = %v, %v", req, err)
	}
}
