package main_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// ctrlC is what the key sends; the terminal makes a signal of it.
const ctrlC = "\x03"

// ticker prints on both streams for as long as it lives: what is seen of it was shown as it came.
const ticker = `import itertools, sys, time
for n in itertools.count(1):
    print("out", n, flush=True)
    print("err", n, file=sys.stderr, flush=True)
    time.sleep(0.05)
`

// runner runs programs with `soulbox run`.
type runner struct {
	daemon *daemon // nil: without one
	args   []string
	env    []string
	tmp    string // its directory for temporary files, empty before
}

// eachRunner runs a test through a daemon, and without one.
func eachRunner(t *testing.T, test func(t *testing.T, r *runner)) {
	t.Run("daemon", func(t *testing.T) {
		d := startDaemon(t)
		test(t, &runner{daemon: d, args: []string{"run"}, env: []string{"SOULBOX_STATE_DIR=" + d.state}, tmp: t.TempDir()})
	})
	t.Run("no daemon", func(t *testing.T) {
		test(t, &runner{args: []string{"run", "--no-daemon"}, tmp: t.TempDir()})
	})
}

// command makes the command that runs a Python program for as long as it goes on.
func (r *runner) command(t *testing.T, code string) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.py")
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerWait)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary(t), append(r.args, "--timeout", "5m", file)...)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+r.tmp, "SOULBOX_URL=", "SOULBOX_API_KEY="), r.env...)
	return cmd
}

// wantNothingLeft checks that what a command started has ended, and that it has removed its files.
func (r *runner) wantNothingLeft(t *testing.T, started []int) {
	t.Helper()
	for _, pid := range started {
		if alive(pid) {
			t.Errorf("process %d of %v is left", pid, started)
		}
	}
	if files, err := os.ReadDir(r.tmp); err != nil || len(files) > 0 {
		t.Errorf("left in %s: %v, %v", r.tmp, files, err)
	}
}

// terminal is a pseudo-terminal with a command on it: the side on which a user sits. The test holds the command's side too,
// until the command has ended and all was read: a terminal that nobody has open any more is at its end before the kernel
// has shown the last key.
type terminal struct {
	*os.File
	tty    *os.File
	cmd    *exec.Cmd
	before unix.Termios // the settings that the command found
	seen   strings.Builder
}

// startOnTerminal starts a command on a terminal of its own, of 90 columns and 30 rows.
func startOnTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	side, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	m := &terminal{File: side, tty: tty, cmd: cmd}
	t.Cleanup(func() { _, _ = side.Close(), tty.Close() }) // a second time is no harm
	settings := m.settings(t)
	// Else a key that is a signal has the kernel throw away what the terminal has not shown yet, and that can be what the
	// command prints because of the signal.
	settings.Lflag |= unix.NOFLSH
	m.control(t, func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, &settings) })
	m.before = m.settings(t)
	if err := pty.Setsize(side, &pty.Winsize{Cols: 90, Rows: 30}); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return m
}

// until reads up to and with a text.
func (m *terminal) until(t *testing.T, text string) {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(answerWait)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	for !strings.Contains(m.seen.String(), text) {
		n, err := m.Read(b)
		m.seen.Write(b[:n])
		if err != nil {
			t.Fatalf("the terminal shows %q, then %v, want %q", m.seen.String(), err, text)
		}
	}
}

// rest reads until the command has ended and the last process has closed its side, and returns how the command ended.
func (m *terminal) rest(t *testing.T) error {
	t.Helper()
	if err := m.SetReadDeadline(time.Time{}); err != nil { // the command has one of its own
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := m.cmd.Wait()
		_ = m.tty.Close() // it is the end that is read
		ended <- err
	}()
	if _, err := io.Copy(&m.seen, m.File); err != nil && !errors.Is(err, syscall.EIO) { // the end, on Linux
		t.Errorf("read the terminal: %v", err)
	}
	return <-ended
}

// settings are the terminal's.
func (m *terminal) settings(t *testing.T) (got unix.Termios) {
	t.Helper()
	m.control(t, func(fd int) error {
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			got = *now
		}
		return err
	})
	return got
}

// control does something with the terminal's descriptor, and leaves it one that reads with a deadline.
func (m *terminal) control(t *testing.T, do func(fd int) error) {
	t.Helper()
	conn, err := m.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := errors.Join(conn.Control(func(fd uintptr) { failed = do(int(fd)) }), failed); err != nil {
		t.Fatalf("the terminal's settings: %v", err)
	}
}

// TestCtrlC types it while a program runs that would never end.
func TestCtrlC(t *testing.T) {
	eachRunner(t, func(t *testing.T, r *runner) {
		var before leftovers
		if r.daemon != nil {
			before = r.daemon.leftovers(t)
		}
		cmd := r.command(t, "print('here', flush=True)\nwhile True: pass")
		m := startOnTerminal(t, cmd)
		m.until(t, "here\r\n")
		started := tree(cmd.Process.Pid)
		engine := started
		if r.daemon != nil {
			engine = tree(r.daemon.outer())
		}
		if n := programs(engine); n != 1 {
			t.Errorf("%d programs run below their engine after one has printed, want 1", n)
		}
		if _, err := m.WriteString(ctrlC); err != nil {
			t.Fatal(err)
		}
		// The terminal itself shows the key as ^C, after it has sent the signal: anywhere in what the command says to that.
		m.until(t, "^C")
		if err := m.rest(t); cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("after Ctrl-C: %v, want exit status 130", err)
		}
		if diff := cmp.Diff("here\r\nsoulbox: cancelled\r\n", strings.Replace(m.seen.String(), "^C", "", 1)); diff != "" {
			t.Errorf("the terminal shows, beside the key (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(m.before, m.settings(t)); diff != "" {
			t.Errorf("the terminal's settings (-before +after):\n%s", diff)
		}
		r.wantNothingLeft(t, started)
		if r.daemon != nil {
			r.daemon.wantRest(t, before)
		}
	})
}

// wantRest checks that a daemon comes to have what it had before, and that its one program was cancelled.
func (d *daemon) wantRest(t *testing.T, before leftovers) {
	t.Helper()
	var after leftovers
	if !poll(d.exited, stopWait, func() bool { after = d.leftovers(t); return after.within(before) }) {
		t.Errorf("something is left (-before +after):\n%s", cmp.Diff(before, after))
	}
	page := decode[struct{ Executions []result }](t, d.get(t, "/v1/executions"))
	if len(page.Executions) != 1 || page.Executions[0].Verdict != "VERDICT_CANCELLED" {
		t.Errorf("the daemon has %+v, want one cancelled execution", page.Executions)
	}
}

// TestOutputAppearsAtOnce reads what a program prints that would never end, each stream by itself.
func TestOutputAppearsAtOnce(t *testing.T) {
	eachRunner(t, func(t *testing.T, r *runner) {
		cmd := r.command(t, ticker)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out, errs := bufio.NewReader(stdout), bufio.NewReader(stderr)
		for n := range 3 {
			for name, from := range map[string]*bufio.Reader{"out": out, "err": errs} {
				if line, err := from.ReadString('\n'); line != fmt.Sprintln(name, n+1) {
					t.Fatalf("line %d of std%s is %q, %v", n+1, name, line, err)
				}
			}
		}
		started := tree(cmd.Process.Pid)
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		said := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(errs) // what it says is compared
			said <- string(b)
		}()
		if _, err := io.Copy(io.Discard, out); err != nil {
			t.Errorf("read stdout: %v", err)
		}
		if text := "\n" + <-said; !strings.HasSuffix(text, "\nsoulbox: cancelled\n") {
			t.Errorf("stderr ends with %q, want that it was cancelled", text)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("after SIGINT: %v, want exit status 130", err)
		}
		r.wantNothingLeft(t, started)
	})
}

// TestCtrlCDrains: typed where a daemon runs it stops it, and what runs is still answered.
func TestCtrlCDrains(t *testing.T) {
	d := &daemon{t: t, state: filepath.Join(t.TempDir(), "state"), log: &logBuffer{}, exited: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), answerWait)
	defer cancel()
	d.cmd = exec.CommandContext(ctx, binary(t), "serve", "--state-dir", d.state, "--listen", "127.0.0.1:0", "--drain", "60s")
	d.cmd.Env = append(os.Environ(), "SOULBOX_API_KEY="+testKey)
	m := startOnTerminal(t, d.cmd)
	m.until(t, "http://127.0.0.1:")
	m.until(t, "\r\n")
	_, rest, _ := strings.Cut(m.seen.String(), "http://")
	host, _, _ := strings.Cut(rest, "\r\n")
	d.url = "http://" + host
	d.awaitReady()
	waiting := d.start(ctx, object{"language": "python", "code": "import time\ntime.sleep(3)\nprint('ended')"})
	d.running(t)
	started := tree(d.outer())
	if _, err := m.WriteString(ctrlC); err != nil {
		t.Fatal(err)
	}
	a, err := waiting.wait(t)
	if err != nil {
		t.Fatalf("the running execution was not answered: %v; the terminal shows %q", err, m.seen.String())
	}
	if x := decode[result](t, a.Body); x.Verdict != "VERDICT_OK" || x.Stdout != "ended\n" {
		t.Errorf("the running execution: %s", a.Body)
	}
	if err := m.rest(t); err != nil {
		t.Errorf("after Ctrl-C: %v, want exit status 0; the terminal shows %q", err, m.seen.String())
	}
	for _, pid := range started {
		if alive(pid) {
			t.Errorf("process %d of %v is left", pid, started)
		}
	}
}
