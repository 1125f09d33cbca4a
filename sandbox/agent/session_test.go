package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// sessionCaps are what a session's root may have; see the design.
const sessionCaps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FSETID | 1<<unix.CAP_FOWNER | 1<<unix.CAP_SETGID |
	1<<unix.CAP_SETUID | 1<<unix.CAP_SETFCAP | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_SYS_CHROOT |
	1<<unix.CAP_KILL | 1<<unix.CAP_AUDIT_WRITE

// openSession starts a sandbox with a session.
func openSession(t *testing.T) *client.Client {
	t.Helper()
	c := startBox(t)
	err := c.OpenSession(t.Context(), client.SessionSpec{Slot: spec(), Keep: sessionCaps, Env: map[string]string{"SESSION": "yes"}, Workdir: "/tmp"}, nil)
	if err != nil {
		t.Fatalf("OpenSession: %v", err)
	}
	return c
}

// followed is all that a process printed, and its end.
type followed struct {
	out, err, terminal string
	exit               client.ProcessExit
}

func follow(t *testing.T, c *client.Client, pid uint32, offset int64) followed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var f followed
	for ev, err := range c.Follow(ctx, pid, offset) {
		if err != nil {
			t.Fatalf("Follow(%d): %v (so far %+v)", pid, err, f)
		}
		if o := ev.Output; o != nil {
			f.out, f.err, f.terminal = f.out+string(o.Stdout), f.err+string(o.Stderr), f.terminal+string(o.Terminal)
		}
		if ev.Exit != nil {
			f.exit = *ev.Exit
		}
	}
	return f
}

func launch(t *testing.T, c *client.Client, p client.ProcessSpec) uint32 {
	t.Helper()
	pid, err := c.Launch(t.Context(), p)
	if err != nil {
		t.Fatalf("Launch(%q): %v", p.Args, err)
	}
	return pid
}

func shell(script string) client.ProcessSpec {
	return client.ProcessSpec{Args: []string{"/bin/sh", "-c", script}}
}

// TestSessionPrograms runs one script each in one session.
func TestSessionPrograms(t *testing.T) {
	c := openSession(t)
	as := func(user, script string) client.ProcessSpec {
		p := shell(script)
		p.User = user
		return p
	}
	for _, tt := range []struct {
		name string
		p    client.ProcessSpec
		out  string
		code int
	}{
		{"output", shell("echo a; exit 3"), "a\n", 3},
		{"user", shell("id -u; id -g; id -G; pwd; hostname; echo $SESSION $HOME"), "1000\n1000\n1000\n/tmp\nsandbox\nyes /home/user\n", 0},
		{"root", as("root", "id -u; echo $HOME"), "0\n/root\n", 0},
		{"root's capabilities", as("root", "grep -E '^Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\t'"), "CapEff:00000000a00425fb\n", 0},
		{"user's capabilities", shell("grep -E '^Cap(Eff|Prm|Inh|Amb)|NoNewPrivs' /proc/self/status | tr -d '\t'"),
			"CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\nCapAmb:0000000000000000\nNoNewPrivs:0\n", 0},
		{"input", client.ProcessSpec{Args: []string{"cat"}, Input: []byte("hello")}, "hello", 0},
		{"no input", client.ProcessSpec{Args: []string{"cat"}}, "", 0},
		{"one session's processes", shell("ls /proc | grep -c '^[0-9]'; cat /proc/1/comm"), "4\nlauncher\n", 0},
		{"root sees no agent", as("root", "ls -A /.soul; ls -A /.soulbin; cat /proc/1/environ /proc/1/maps 2>/dev/null; readlink /proc/1/exe /proc/1/root; echo end"), "end\n", 0},
		{"root cannot hurt PID 1", as("root", "kill -9 1; kill -STOP 1; prlimit --pid 1 --nofile=1:1 2>/dev/null; echo end"), "end\n", 0},
		{"root mounts nothing", as("root", "mount -t tmpfs x /tmp 2>/dev/null || umount /proc 2>/dev/null || mknod /tmp/x c 1 3 2>/dev/null || unshare -m true 2>/dev/null || echo no"), "no\n", 0},
		{"directory", client.ProcessSpec{Args: []string{"pwd"}, Dir: "/usr"}, "/usr\n", 0},
		{"variables", client.ProcessSpec{Args: []string{"/bin/sh", "-c", "echo $SESSION $X"}, Env: map[string]string{"SESSION": "no", "X": "y"}}, "no y\n", 0},
		{"background", shell("sleep 1000 >/dev/null 2>&1 & echo started"), "started\n", 0},
		{"background with output", shell("sleep 1000 & echo started"), "started\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := follow(t, c, launch(t, c, tt.p), 0)
			if tt.name == "root's capabilities" {
				eff, _, _ := strings.Cut(got.out, "\n")
				if want := fmt.Sprintf("CapEff:%016x", uint64(sessionCaps)); eff != want || !strings.Contains(got.out, "NoNewPrivs:0") {
					t.Errorf("status of root = %q, want %s and no no_new_privs", got.out, want)
				}
				return
			}
			if got.out != tt.out || got.exit.Status.ExitStatus() != tt.code {
				t.Errorf("%q printed %q, %q and ended with %d, want %q and %d", tt.p.Args, got.out, got.err, got.exit.Status.ExitStatus(), tt.out, tt.code)
			}
		})
	}
}

func TestSessionRefuses(t *testing.T) {
	c := openSession(t)
	if err := c.OpenSession(t.Context(), client.SessionSpec{Slot: spec()}, nil); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("OpenSession again = %v, want already_exists", err)
	}
	for name, p := range map[string]client.ProcessSpec{
		"cwd '/nope' does not exist": {Args: []string{"true"}, Dir: "/nope"},
		"no such file or directory":  {Args: []string{"nope"}},
		"must not contain NUL":       {Args: []string{"echo", "\x00"}},
		"must not be empty":          {Args: []string{"true"}, Env: map[string]string{"a=b": ""}},
	} {
		if _, err := c.Launch(t.Context(), p); connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), name) {
			t.Errorf("Launch(%+v) = %v, want invalid_argument with %q", p, err, name)
		}
	}
	for name, err := range map[string]error{
		"signal": c.Signal(t.Context(), 4000, unix.SIGTERM, false), "write": c.Write(t.Context(), 4000, nil, false),
		"resize": c.Resize(t.Context(), 4000, client.TerminalSize{}), "close": c.CloseInput(t.Context(), 4000),
	} {
		if connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s of an absent process = %v, want not_found", name, err)
		}
	}
}

// TestSessionProcess follows one process through its life.
func TestSessionProcess(t *testing.T) {
	c := openSession(t)
	p := shell("while read line; do echo got $line; done; echo end")
	p.Stdin, p.Tag = true, "mine"
	pid := launch(t, c, p)
	for _, line := range []string{"a", "b"} {
		if err := c.Write(t.Context(), pid, []byte(line+"\n"), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Write(t.Context(), pid, nil, true); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("terminal input to a process without one = %v, want failed_precondition", err)
	}
	if err := c.CloseInput(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
	if got := follow(t, c, pid, 0); got.out != "got a\ngot b\nend\n" {
		t.Errorf("the process printed %q", got.out)
	}
	if got := follow(t, c, pid, 6); got.out != "got b\nend\n" {
		t.Errorf("from offset 6 the process printed %q", got.out)
	}
	list, err := c.Processes(t.Context())
	if err != nil || len(list) != 1 || list[0].PID != pid || list[0].Tag != "mine" || list[0].User != "user" || list[0].Exit == nil || list[0].Printed != 16 {
		t.Errorf("Processes() = %+v, %v", list, err)
	}
	if err := c.Write(t.Context(), pid, []byte("x"), false); err == nil {
		t.Error("a process that has ended took input")
	}
}

func TestSessionSignals(t *testing.T) {
	c := openSession(t)
	pid := launch(t, c, shell("trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.05; done"))
	for ev, err := range c.Follow(t.Context(), pid, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Output != nil {
			break // it is ready
		}
	}
	if err := c.Signal(t.Context(), pid, unix.SIGTERM, false); err != nil {
		t.Fatal(err)
	}
	if got := follow(t, c, pid, 0); got.out != "ready\nterm\n" || got.exit.Status.ExitStatus() != 5 {
		t.Errorf("after SIGTERM %+v", got)
	}
	pid = launch(t, c, shell("sleep 1000; echo not reached"))
	if err := c.Signal(t.Context(), pid, unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	if got := follow(t, c, pid, 0); got.exit.Status.Signal() != unix.SIGKILL || got.out != "" {
		t.Errorf("after SIGKILL to the group %+v", got)
	}
	pid = launch(t, c, shell("sleep 1000"))
	if err := c.SignalAll(t.Context(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := follow(t, c, pid, 0); got.exit.Status.Signal() != unix.SIGKILL {
		t.Errorf("after SIGKILL to all %+v", got)
	}
}

func TestSessionTerminal(t *testing.T) {
	c := openSession(t)
	p := shell("stty size; read x; echo got $x; stty size; tty; echo $TERM; read y")
	p.Size = &client.TerminalSize{Columns: 100, Rows: 30}
	pid := launch(t, c, p)
	if err := c.Resize(t.Context(), pid, client.TerminalSize{Columns: 120, Rows: 40}); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), pid, []byte("abc\r"), true); err != nil {
		t.Fatal(err)
	}
	seen := ""
	for ev, err := range c.Follow(t.Context(), pid, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Output != nil {
			seen += string(ev.Output.Terminal)
		}
		if strings.Contains(seen, "xterm") { // it reads again: what ^C finds unread it drops
			break
		}
	}
	if err := c.Write(t.Context(), pid, []byte("\x03"), true); err != nil {
		t.Fatal(err)
	}
	got := follow(t, c, pid, 0)
	for _, want := range []string{"got abc", "40 120", "/dev/pts/0", "xterm-256color"} {
		if !strings.Contains(got.terminal, want) {
			t.Errorf("the terminal shows %q, want %q in it", got.terminal, want)
		}
	}
	if got.exit.Status.Signal() != unix.SIGINT {
		t.Errorf("after ^C the shell ended with %v, want SIGINT", got.exit.Status)
	}
}

// TestSessionOutput: a follower sees all of it, however much; who comes late sees the last of it.
func TestSessionOutput(t *testing.T) {
	c := openSession(t)
	pid := launch(t, c, shell("sleep 0.3; head -c 3000000 /dev/zero; echo end"))
	if got := follow(t, c, pid, 0); len(got.out) != 3000004 {
		t.Errorf("the follower saw %d bytes, want 3000004", len(got.out))
	}
	late := follow(t, c, pid, 0)
	if n := len(late.out); n == 0 || n > 256<<10 || !strings.HasSuffix(late.out, "end\n") {
		t.Errorf("who came late saw %d bytes, want at most 256 KiB, with the end", n)
	}
	// Nobody follows it: it must not wait.
	pid = launch(t, c, shell("head -c 3000000 /dev/zero; echo end"))
	for ended := false; !ended; {
		list, err := c.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			ended = ended || p.PID == pid && p.Exit != nil && p.Printed == 3000004
		}
	}
	if got := follow(t, c, pid, 3000000); got.out != "end\n" {
		t.Errorf("from offset 3000000 it printed %.20q", got.out)
	}
}

// TestSessionMany starts more processes than are remembered.
func TestSessionMany(t *testing.T) {
	c := openSession(t)
	for range 150 {
		if got := follow(t, c, launch(t, c, client.ProcessSpec{Args: []string{"echo", "x"}}), 0); got.out != "x\n" {
			t.Fatalf("printed %+v", got)
		}
	}
	list, err := c.Processes(t.Context())
	if err != nil || len(list) != 100 {
		t.Errorf("%d processes are remembered, want 100: %v", len(list), err)
	}
	m, err := c.Measure(t.Context())
	if err != nil || m.Processes != 0 || m.User+m.System <= 0 {
		t.Errorf("Measure() = %+v, %v, want no process and the CPU time of the dead", m, err)
	}
}
