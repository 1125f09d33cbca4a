package systemd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNotify(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", name)
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
		var b [256]byte
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := conn.Read(b[:])
		if got := string(b[:n]); err != nil || got != tt.want {
			t.Errorf("%s(%q) sent %q, %v, want %q", tt.name, tt.line, got, err, tt.want)
		}
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

func TestUnitOf(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Delegation
	}{
		{"", Delegation{}},
		{"0::/\n", Delegation{}},
		{"garbage\n0::/init.scope\n", Delegation{Unit: "init.scope"}},
		{"0::/system.slice/soulbox.service\n", Delegation{Unit: "soulbox.service"}},
		{"0::/system.slice/soulbox.service/daemon\n", Delegation{Unit: "soulbox.service"}},
		{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u0.service\n", Delegation{Unit: "run-u0.service", User: true}},
		{"0::/user.slice/user-1000.slice/session-3.scope\n", Delegation{Unit: "session-3.scope"}},
		{"0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", Delegation{Unit: "init.scope", User: true}},
		{"9:name=systemd:/system.slice/a.service\n4:memory:/b.service\n0::/c.service\n", Delegation{Unit: "a.service"}},
	} {
		if diff := cmp.Diff(tt.want, unitOf(tt.text)); diff != "" {
			t.Errorf("unitOf(%q), -want +got:\n%s", tt.text, diff)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		properties map[string]any
		want       Answer
	}{
		{nil, AnswerNo},
		{map[string]any{"Delegate": false}, AnswerNo},
		{map[string]any{"Delegate": true, "DelegateControllers": []string{"pids", "memory", "cpu", "io"}}, AnswerYes},
		{map[string]any{"Delegate": true, "DelegateControllers": []string{"pids", "memory"}}, AnswerNo},
	} {
		d := Delegation{Unit: "u.service"}
		d.judge(tt.properties)
		if d.Answer != tt.want || d.Detail == "" {
			t.Errorf("judge(%v) = %+v, want %s", tt.properties, d, tt.want)
		}
	}
}

// TestDelegatedHere expects a delegated unit where SOULBOX_VM says that this is the test machine, and an answer with a
// reason everywhere else.
func TestDelegatedHere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := Delegated(ctx)
	if d.Detail == "" {
		t.Errorf("Delegated() = %+v without a detail", d)
	}
	if os.Getenv("SOULBOX_VM") != "" && (d.Answer != AnswerYes || !d.User) {
		t.Errorf("Delegated() = %+v in the test machine, want yes of a user unit", d)
	}
	t.Logf("%+v", d)
}
