package systemd

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// notifySocket is a service manager's side of notifications.
type notifySocket struct{ conn *net.UnixConn }

// newNotifySocket listens for what this process notifies, until the test ends.
func newNotifySocket(t *testing.T) *notifySocket {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return &notifySocket{conn}
}

func (s *notifySocket) read(most time.Duration) (string, error) {
	var b [256]byte
	s.conn.SetReadDeadline(time.Now().Add(most))
	n, err := s.conn.Read(b[:])
	return string(b[:n]), err
}

// expect fails unless the next notification is as wanted.
func (s *notifySocket) expect(t *testing.T, want string) {
	t.Helper()
	if got, err := s.read(10 * time.Second); err != nil || got != want {
		t.Fatalf("notified of %q, %v, want %q", got, err, want)
	}
}

// drain counts what has been notified and not read.
func (s *notifySocket) drain(t *testing.T) (n int) {
	t.Helper()
	for {
		_, err := s.read(time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
}

func TestNotify(t *testing.T) {
	manager := newNotifySocket(t)
	for _, tt := range []struct {
		name string
		call func(string) error
		line string
		want string
	}{
		{"Ready", Ready, "up", "READY=1\nSTATUS=up"},
		{"Status", Status, "one\nREADY=1", "STATUS=one READY=1"},
		{"Stopping", Stopping, "bye", "STOPPING=1\nSTATUS=bye"},
	} {
		if err := tt.call(tt.line); err != nil {
			t.Errorf("%s(%q): %v", tt.name, tt.line, err)
			continue
		}
		manager.expect(t, tt.want)
	}
	if err := Reloading(); err != nil {
		t.Errorf("Reloading: %v", err)
	}
	if got, err := manager.read(10 * time.Second); err != nil || !regexp.MustCompile("^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$").MatchString(got) {
		t.Errorf("Reloading sent %q, %v", got, err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if err := Ready("up"); err == nil {
		t.Error("Ready without a listener succeeded")
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready("up"); err != nil {
		t.Errorf("Ready without a service manager: %v", err)
	}
}
