package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketPath(t *testing.T) {
	long := "/" + strings.Repeat("x", maxSocketPath)
	for _, tt := range []struct {
		flag, state, want string
		tooLong           bool
		err               string
	}{
		{"", "/s", "/s/soulbox.sock", false, ""},
		{"none", "/s", "", false, ""},
		{"none", long, "", false, ""},
		{"/run/x.sock", "/s", "/run/x.sock", false, ""},
		{"/run/x.sock", long, "/run/x.sock", false, ""},
		{"", long, "", true, ""},
		{long[:maxSocketPath], "/s", long[:maxSocketPath], false, ""},
		{long, "/s", "", false, "108 bytes long, a socket's path has at most 107"},
	} {
		got, tooLong, err := socketPath(tt.flag, tt.state)
		if got != tt.want || tooLong != tt.tooLong || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("socketPath(%q, %q) = %q, %t, %v, want %q, %t, %q", tt.flag, tt.state, got, tooLong, err, tt.want, tt.tooLong, tt.err)
		}
	}
}

func TestListenSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v, want mode 0600", info.Mode(), err)
	}
	if err := checkSocket(path, os.Getuid()); err != nil {
		t.Errorf("checkSocket of the own socket: %v", err)
	}
	if err := checkSocket(path, os.Getuid()+1); err == nil {
		t.Error("checkSocket took this user's socket for another's")
	}
	if _, err := listenSocket(path); !errors.Is(err, errSocketInUse) {
		t.Errorf("listenSocket on a live one: %v, want %v", err, errSocketInUse)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := listenSocket(path) // the file is still there
	if err != nil {
		t.Fatalf("listenSocket on a dead one: %v", err)
	}
	l, err := net.FileListener(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("after a daemon closed its copy: %v, want the file there for the next", err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("kept"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("listenSocket on a file: %v, want it refused", err)
	}
	if err := checkSocket(path, os.Getuid()); err == nil {
		t.Error("checkSocket took a file for a socket")
	}
}

func TestEndpoint(t *testing.T) {
	dir := t.TempDir()
	if got, err := readEndpoint(dir); err != nil || got != (endpoint{}) {
		t.Errorf("readEndpoint without a daemon = %+v, %v, want nothing", got, err)
	}
	for _, want := range []endpoint{{url: "http://127.0.0.1:1"}, {"http://127.0.0.1:1", "/run/a b%20?.sock"}} {
		if err := writeEndpoint(dir, want); err != nil {
			t.Fatal(err)
		}
		if got, err := readEndpoint(dir); err != nil || got != want {
			t.Errorf("readEndpoint = %+v, %v, want %+v", got, err, want)
		}
	}
	if err := errors.Join(removeEndpoint(dir), removeEndpoint(dir)); err != nil {
		t.Errorf("removeEndpoint: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("removeEndpoint left %v, %v", left, err)
	}
}
