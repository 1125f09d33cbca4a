package main_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// ctrlPQ are the keys that leave a program running.
const ctrlPQ = "\x10\x11"

// commandWait bounds a command with all that is typed to it.
const commandWait = time.Minute

// command makes a command that finds the daemon by its state directory.
func (d *daemon) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandWait)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary(t), args...)
	cmd.Env = append(os.Environ(), "SOULBOX_STATE_DIR="+d.state, "SOULBOX_URL=", "SOULBOX_API_KEY=")
	return cmd
}

// soulbox runs a command that must succeed and returns what it prints.
func (d *daemon) soulbox(t *testing.T, args ...string) string {
	t.Helper()
	out, err := d.command(t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("soulbox %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// onTerminal starts a command on a terminal of 90 columns and 30 rows.
func (d *daemon) onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	return d.onTerminalNamed(t, "xterm", args...)
}

// onTerminalNamed is [daemon.onTerminal] with a terminal of another kind.
func (d *daemon) onTerminalNamed(t *testing.T, name string, args ...string) *terminal {
	t.Helper()
	cmd := d.command(t, args...)
	cmd.Env = append(cmd.Env, "TERM="+name)
	return startOnTerminal(t, cmd)
}

// onProgram is [daemon.onTerminal] for another program than soulbox.
func (d *daemon) onProgram(t *testing.T, args ...string) *terminal {
	t.Helper()
	cmd := d.command(t)
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = path, args
	cmd.Env = append(cmd.Env, "TERM=xterm")
	return startOnTerminal(t, cmd)
}

// typed types text, and reads on until want is shown after it.
func (m *terminal) typed(t *testing.T, text, want string) {
	t.Helper()
	m.seen.Reset()
	if _, err := m.WriteString(text); err != nil {
		t.Fatal(err)
	}
	m.until(t, want)
}

// ends reads to the command's end, and checks its status and that the terminal is as it was.
func (m *terminal) ends(t *testing.T, status int) {
	t.Helper()
	if err := m.rest(t); m.cmd.ProcessState.ExitCode() != status {
		t.Errorf("%v: %v, want exit status %d; the terminal shows %q", m.cmd.Args[1:], err, status, m.seen.String())
	}
	if diff := cmp.Diff(m.before, m.settings(t)); diff != "" {
		t.Errorf("the terminal's settings (-before +after):\n%s", diff)
	}
}

// TestShellSession is an hour at the terminal: a shell in a sandbox of its own, whose window changes, in which Ctrl-C ends
// a program and nothing else, that is left, taken up again, and goes on while its daemon is killed.
func TestShellSession(t *testing.T) {
	d := startDaemon(t)
	s := d.onTerminal(t, "shell", "--name", "mine")
	s.typed(t, "stty size; id -un\r", "30 90\r\nuser\r\n")
	if err := pty.Setsize(s.File, &pty.Winsize{Cols: 101, Rows: 41}); err != nil {
		t.Fatal(err)
	}
	// The size arrives by itself: the shell asks until it is there.
	s.typed(t, "until stty size | grep -x '41 101'; do :; done\r", "\r41 101\r\n")
	s.typed(t, "sh -c 'echo before; exec sleep 1000'\r", "\rbefore\r\n")
	if _, err := s.WriteString(ctrlC); err != nil { // gVisor's terminals do not show it
		t.Fatal(err)
	}
	s.typed(t, "echo status $?\r", "\rstatus 130\r\n")
	id := d.soulbox(t, "sandbox", "get", "--format", "{{.ID}}", "mine")
	s.typed(t, "kept=yes\r", "kept=yes")
	if _, err := s.WriteString(ctrlPQ); err != nil {
		t.Fatal(err)
	}
	s.ends(t, 0)
	pid := between(t, s.seen.String(), "soulbox attach "+id+" ", " takes")

	s = d.onTerminal(t, "attach", "mine", pid)
	s.typed(t, "echo $kept; stty size\r", "\ryes\r\n30 90\r\n")
	old := d.serving()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until(t, "soulbox: the connection to the daemon is lost")
	s.until(t, "soulbox: attached again\r\n")
	s.typed(t, "echo $kept $((6 * 7))\r", "\ryes 42\r\n")
	s.typed(t, "exit 7\r", "exit")
	s.ends(t, 7)
	d.awaitReady()
	d.soulbox(t, "sandbox", "rm", "mine")
}

func between(t *testing.T, text, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, before)
	found, _, end := strings.Cut(rest, after)
	if !ok || !end {
		t.Fatalf("%q has nothing between %q and %q", text, before, after)
	}
	return found
}

// TestShellCleansUp: the sandbox of a shell goes with it, by whatever it ends.
func TestShellCleansUp(t *testing.T) {
	d := startDaemon(t)
	for name, end := range map[string]struct {
		how    func(t *testing.T, s *terminal)
		status int
	}{
		"exit":    {func(t *testing.T, s *terminal) { s.typed(t, "exit 3\r", "exit") }, 3},
		"SIGTERM": {func(t *testing.T, s *terminal) { s.signal(t, syscall.SIGTERM) }, 143},
		"SIGINT":  {func(t *testing.T, s *terminal) { s.signal(t, syscall.SIGINT) }, 130},
	} {
		t.Run(name, func(t *testing.T) {
			s := d.onTerminal(t, "shell")
			s.typed(t, "echo here\r", "\rhere\r\n")
			end.how(t, s)
			s.ends(t, end.status)
			if left := d.soulbox(t, "sandbox", "list", "-q"); left != "" {
				t.Errorf("sandboxes are left: %s", left)
			}
		})
	}
}

func (m *terminal) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// TestExecStreams runs programs without a terminal: input, both outputs, exit status, Ctrl-C, and a daemon that is killed.
func TestExecStreams(t *testing.T) {
	d := startDaemon(t)
	id := d.soulbox(t, "sandbox", "create", "--name", "work", "--env", "WHO=box")
	cmd := d.command(t, "exec", "-i", "-e", "X=1", "work", "sh", "-c", "cat; echo $X $WHO >&2; exit 5")
	cmd.Stdin = strings.NewReader(strings.Repeat("0123456789abcdef", 200_000))
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 5 || stdout.Len() != 3_200_000 || stderr.String() != "1 box\n" {
		t.Errorf("exec -i: %v, %d bytes, stderr %q", err, stdout.Len(), stderr.String())
	}
	for _, tc := range []struct {
		args   []string
		status int
		say    string
	}{
		{[]string{"exec", id[:6], "sh", "-c", "kill -TERM $$"}, 143, ""},
		{[]string{"exec", "--timeout", "200ms", id, "sleep", "100"}, 124, "soulbox: time limit: stopped after 200ms (--timeout)\n"},
		{[]string{"exec", id, "/no/such"}, 125, "/no/such"},
		{[]string{"exec", "nothing", "true"}, 125, `no sandbox has the id or the name "nothing"`},
		{[]string{"exec", "-t", id, "true"}, 125, "-t needs a terminal"},
		{[]string{"exec", "-u", "root", id, "id", "-u"}, 0, "0\n"},
	} {
		cmd := d.command(t, tc.args...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != tc.status || !strings.Contains(string(out), tc.say) {
			t.Errorf("soulbox %v: %v, %q; want exit status %d and %q", tc.args, err, out, tc.status, tc.say)
		}
	}
	s := d.onTerminal(t, "exec", "work", "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done")
	s.until(t, "ready\r\n")
	if err := syscall.Kill(d.serving(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until(t, "soulbox: attached again\r\n")
	s.typed(t, ctrlC, "caught\r\n")
	s.ends(t, 9)
}
