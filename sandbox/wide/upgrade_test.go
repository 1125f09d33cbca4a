package wide

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUpgrade: the daemon is started from another file, from the old one again where that is no good, and from the new
// one after a crash.
func TestUpgrade(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	s := start(t, state)
	s.expect(t, "daemon gen=1")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	next, broken := filepath.Join(t.TempDir(), "next"), filepath.Join(t.TempDir(), "broken")
	if out, err := exec.Command("cp", exe, next).CombinedOutput(); err != nil {
		t.Fatalf("copy: %v: %s", err, out)
	}
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 9\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	notExecutable := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(notExecutable, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file, generation, runs, want string
	}{
		{broken, "3", exe, "ended with status 9 before it was ready; its log says why; the old one serves again"},
		{notExecutable, "5", exe, "exec format error; the old one serves again"},
		{next, "6", next, ""},
		{broken, "8", next, "the old one serves again"},
	} {
		if err := tryUpgrade(t, state, tt.file); (err == nil) != (tt.want == "") || err != nil && !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("upgrade to %s = %v, want %q", filepath.Base(tt.file), err, tt.want)
		}
		if l := s.expect(t, "daemon gen="+tt.generation); !strings.Contains(l, "exe="+tt.runs+" ") {
			t.Errorf("after the upgrade to %s: %s, want it to run %s", filepath.Base(tt.file), l, tt.runs)
		}
	}
	if _, err := s.in.WriteString("die\n"); err != nil {
		t.Fatal(err)
	}
	if l := s.expect(t, "daemon gen=9"); !strings.Contains(l, "exe="+next+" ") {
		t.Errorf("after a crash: %s", l)
	}
	if _, err := s.in.WriteString("exit 7\n"); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err == nil || s.cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("supervisor ended with %v, want the daemon's status 7", s.cmd.ProcessState)
	}
	if err := tryUpgrade(t, state, next); err == nil {
		t.Error("an upgrade without a supervisor succeeded")
	}
}

func tryUpgrade(t *testing.T, state, file string) error {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return Upgrade(ctx, state, f)
}

// TestDoorRefuses what is no request, and goes on.
func TestDoorRefuses(t *testing.T) {
	state := filepath.Join(t.TempDir(), strings.Repeat("long", 30)) // longer than a socket's path can be
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	control, theirs, err := newChannel()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	inner, err := unixConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	door, err := openDoor(state, control)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range []struct {
		word string
		file *os.File
		want string
	}{
		{"upgrade", nil, `"upgrade" is no request`},
		{"go", null, `"go" is no request`},
		{strings.Repeat("x", 10000), null, "is no request"},
	} {
		conn, err := net.DialUnix("unixpacket", nil, doorAddr(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(t.Context(), conn, tt.word, tt.file); err == nil || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("asked for %.10q: %v, want %q", tt.word, err, tt.want)
		}
		conn.Close()
	}
	// Whoever gives up is not waited for, and when inner ends the answer is an error.
	asked := make(chan error, 1)
	go func() { asked <- tryUpgrade(t, state, os.DevNull) }()
	if word, f, err := readPacket(inner); err != nil || word != wordUpgrade || f == nil {
		t.Fatalf("inner got %q, %v, %v", word, f, err)
	} else {
		f.Close()
	}
	inner.Close()
	if err := <-asked; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked while inner ends: %v", err)
	}
	if err := door.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(state, doorFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
