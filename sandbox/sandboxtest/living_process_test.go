package sandboxtest_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestSandboxProcesses starts processes in every way there is.
func TestSandboxProcesses(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	b := open(t, p, sandbox.CreateSandbox{Env: map[string]string{"A": "sandbox", "B": "sandbox"}})
	for name, run := range map[string]func(*livingBox){
		"exit codes": func(b *livingBox) {
			for _, n := range []int{0, 1, 7, 255} {
				if r := b.sh(fmt.Sprint("exit ", n)); !r.Status.Exited() || r.Status.ExitStatus() != n {
					b.t.Errorf("exit %d: %v", n, r)
				}
			}
			if r := b.sh("kill -TERM $$"); !r.Status.Signaled() || r.Status.Signal() != syscall.SIGTERM {
				b.t.Errorf("killed by SIGTERM: %v", r)
			}
			if r := b.sh("echo out; echo err >&2; exit 3"); r.stdout != "out\n" || r.stderr != "err\n" || r.Status.ExitStatus() != 3 {
				b.t.Errorf("two streams and a status: %v", r)
			}
		},
		"environment": func(b *livingBox) {
			r := b.run(sandbox.ProcessSpec{Args: []string{"sh", "-c", "echo $A $B $C"}, Env: map[string]string{"B": "process", "C": "a=b\nc"}})
			if r.stdout != "sandbox process a=b c\n" {
				b.t.Errorf("%v", r)
			}
		},
		"standard input": standardInput,
		"terminal":       onTerminal,
		"refused":        refusedProcesses,
		"signals":        signalled,
		"a group":        killedGroup,
		"detached":       detachedOutput,
		"much output":    muchOutput,
		"left behind": func(b *livingBox) {
			r := b.sh("(sleep 50; echo late) & echo early") // what holds its output does not hold its answer
			if r.stdout != "early\n" || r.Status != 0 {
				b.t.Errorf("%v", r)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(b.with(t))
		})
	}
}

// standardInput feeds a process, at once and piece by piece.
func standardInput(b *livingBox) {
	big := strings.Repeat("0123456789abcdef", 40_000)
	if r := b.run(sandbox.ProcessSpec{Args: []string{"wc", "-c"}, Input: []byte(big)}); strings.TrimSpace(r.stdout) != "640000" {
		b.t.Errorf("input at once: %v", r)
	}
	if r := b.run(sandbox.ProcessSpec{Args: []string{"cat"}}); r.stdout != "" || r.Status != 0 {
		b.t.Errorf("no input: %v", r)
	}
	u := b.use()
	pid, err := u.Launch(b.t.Context(), sandbox.ProcessSpec{Args: []string{"cat"}, Stdin: true, Follow: true})
	if err != nil {
		b.t.Fatal(err)
	}
	var r ran
	followed := make(chan error, 1)
	go func() {
		var err error
		r, err = gather(b.t.Context(), u, pid, 0)
		followed <- err
	}()
	for _, part := range []string{"one ", "two ", big} {
		if err := u.Write(b.t.Context(), pid, []byte(part), false); err != nil {
			b.t.Errorf("Write: %v", err)
		}
	}
	wantError(b.t, "input for no terminal", u.Write(b.t.Context(), pid, []byte("x"), true), sandbox.KindConflict, "FAILED_PRECONDITION", "")
	wantError(b.t, "the size of no terminal", u.Resize(b.t.Context(), pid, sandbox.TerminalSize{}), sandbox.KindConflict, "FAILED_PRECONDITION", "")
	for range 2 { // twice is harmless
		if err := u.CloseInput(b.t.Context(), pid); err != nil {
			b.t.Errorf("CloseInput: %v", err)
		}
	}
	wantError(b.t, "input after its end", u.Write(b.t.Context(), pid, []byte("x"), false), sandbox.KindConflict, "FAILED_PRECONDITION", "")
	if err := <-followed; err != nil || r.stdout != "one two "+big {
		b.t.Errorf("cat printed %d bytes, %v", len(r.stdout), err)
	}
}

// onTerminal runs a shell on a terminal that changes its size.
func onTerminal(b *livingBox) {
	u := b.use()
	pid, err := u.Launch(b.t.Context(), sandbox.ProcessSpec{Args: []string{"sh", "-c", "tty; stty size; read x; stty size; echo got $x; cat; echo end"},
		Size: &sandbox.TerminalSize{Columns: 100, Rows: 30}})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	var seen strings.Builder
	said := 0
	steps := []struct {
		after string
		do    func() error
	}{
		{"30 100", func() error {
			if err := u.Resize(ctx, pid, sandbox.TerminalSize{Columns: 40, Rows: 10}); err != nil {
				return err
			}
			return u.Write(ctx, pid, []byte("word\r"), true)
		}},
		{"got word", func() error { return u.Write(ctx, pid, []byte{4}, true) }},
	}
	var status syscall.WaitStatus
	for ev, err := range u.Follow(ctx, pid, 0) {
		if err != nil {
			b.t.Fatalf("%v; so far %q", err, seen.String())
		}
		if ev.Output != nil {
			seen.Write(ev.Output.Terminal)
		}
		if said < len(steps) && strings.Contains(seen.String(), steps[said].after) {
			if err := steps[said].do(); err != nil {
				b.t.Fatal(err)
			}
			said++
		}
		if ev.Exit != nil {
			status = syscall.WaitStatus(ev.Exit.Status)
		}
	}
	for _, want := range []string{"/dev/pts/", "30 100", "10 40", "got word", "end"} {
		if !strings.Contains(seen.String(), want) {
			b.t.Errorf("the terminal shows %q, want %q in it", seen.String(), want)
		}
	}
	if status != 0 {
		b.t.Errorf("status %#x", int(status))
	}
}

// refusedProcesses asks for what cannot be started.
func refusedProcesses(b *livingBox) {
	u := b.use()
	for _, tt := range []struct {
		name          string
		kind          sandbox.Kind
		reason, field string
		spec          sandbox.ProcessSpec
	}{
		{"nothing", sandbox.KindInvalid, "REQUIRED", "args", sandbox.ProcessSpec{}},
		{"an empty name", sandbox.KindInvalid, "REQUIRED", "args", sandbox.ProcessSpec{Args: []string{""}}},
		{"no such program", sandbox.KindInvalid, "INVALID_ARGUMENT", "", sandbox.ProcessSpec{Args: []string{"no-such-program"}}},
		{"a directory", sandbox.KindInvalid, "INVALID_ARGUMENT", "", sandbox.ProcessSpec{Args: []string{"/tmp"}}},
		{"no such directory", sandbox.KindInvalid, "INVALID_ARGUMENT", "", sandbox.ProcessSpec{Args: []string{"true"}, Dir: "/nonexistent"}},
		{"a file for a directory", sandbox.KindInvalid, "INVALID_ARGUMENT", "", sandbox.ProcessSpec{Args: []string{"true"}, Dir: "/etc/passwd"}},
		{"no such user", sandbox.KindInvalid, "UNKNOWN_USER", "user", sandbox.ProcessSpec{Args: []string{"true"}, User: "nobody-here"}},
		{"a variable with =", sandbox.KindInvalid, "BAD_VARIABLE", "env", sandbox.ProcessSpec{Args: []string{"true"}, Env: map[string]string{"A=B": "c"}}},
		{"a NUL", sandbox.KindInvalid, "INVALID_ARGUMENT", "", sandbox.ProcessSpec{Args: []string{"echo", "a\x00b"}}},
	} {
		_, err := u.Launch(b.t.Context(), tt.spec)
		wantError(b.t, tt.name, err, tt.kind, tt.reason, tt.field)
	}
	wantError(b.t, "signal 0", u.Signal(b.t.Context(), 1, 0, false), sandbox.KindInvalid, "BAD_SIGNAL", "signal")
	wantError(b.t, "signal 65", u.Signal(b.t.Context(), 1, 65, false), sandbox.KindInvalid, "BAD_SIGNAL", "signal")
	_, err := gather(b.t.Context(), u, 4_000_000, 0)
	wantError(b.t, "following nobody", err, sandbox.KindNotFound, "NOT_FOUND", "")
	wantError(b.t, "a signal to nobody", u.Signal(b.t.Context(), 4_000_000, syscall.SIGTERM, false), sandbox.KindNotFound, "NOT_FOUND", "")
	// No request reaches the session's first process, nor any that was not started by request.
	for _, pid := range []uint32{0, 1} {
		if err := u.Signal(b.t.Context(), pid, syscall.SIGKILL, true); sandbox.KindOf(err) != sandbox.KindNotFound {
			b.t.Errorf("SIGKILL to process %d = %v, want not found", pid, err)
		}
	}
	if got := b.prints("", "echo on"); got != "on\n" {
		b.t.Errorf("after all that: %q", got)
	}
}

// signalled sends a signal that is handled.
func signalled(b *livingBox) {
	u := b.use()
	pid := b.background(sandbox.ProcessSpec{Args: []string{"sh", "-c", "trap 'echo hup; exit 9' HUP; echo ready; while :; do sleep 0.05; done"}})
	for ev, err := range u.Follow(b.t.Context(), pid, 0) {
		if err != nil {
			b.t.Fatal(err)
		}
		if ev.Output != nil && string(ev.Output.Stdout) == "ready\n" {
			if err := u.Signal(b.t.Context(), pid, syscall.SIGHUP, false); err != nil {
				b.t.Error(err)
			}
		}
		if ev.Exit != nil && ev.Exit.Status.ExitStatus() != 9 {
			b.t.Errorf("status %#x, want 9", int(ev.Exit.Status))
		}
	}
}

// killedGroup kills a shell with its children.
func killedGroup(b *livingBox) {
	u := b.use()
	pid := b.background(sandbox.ProcessSpec{Args: []string{"sh", "-c", "sleep 4711 & sleep 4711 & echo ready; wait"}})
	for ev, err := range u.Follow(b.t.Context(), pid, 0) {
		if err != nil {
			b.t.Fatal(err)
		}
		if ev.Output != nil {
			if err := u.Signal(b.t.Context(), pid, syscall.SIGKILL, true); err != nil {
				b.t.Error(err)
			}
		}
		if ev.Exit != nil && (!ev.Exit.Status.Signaled() || ev.Exit.Status.Signal() != syscall.SIGKILL) {
			b.t.Errorf("status %#x, want SIGKILL", int(ev.Exit.Status))
		}
	}
	if left := b.prints("root", `for f in /proc/[0-9]*/cmdline; do { tr '\0' ' ' < $f; } 2>/dev/null | grep -x "sleep 4711 " || :; done`); left != "" {
		b.t.Errorf("of the group some live: %q", left)
	}
}

// detachedOutput keeps what a process printed for those who come later, within bounds.
func detachedOutput(b *livingBox) {
	const printed, kept = 1_000_000, 256 << 10
	u := b.use()
	pid := b.background(sandbox.ProcessSpec{Args: []string{"sh", "-c", "yes 0123456 | head -c 1000000; sleep 0.1"}, Tag: "printer"})
	var known sandbox.Process
	eventually(b.t, patience, "it has ended", func() bool {
		list, err := u.Processes(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		for _, k := range list {
			if k.PID == pid {
				known = k
			}
		}
		return known.Exit != nil
	})
	if known.Printed != printed || known.Printed-known.KeptFrom > kept || known.Printed-known.KeptFrom < kept/2 || known.Tag != "printer" || known.User != "user" {
		b.t.Errorf("known of it: %+v", known)
	}
	for _, offset := range []int64{0, printed - 8} {
		r, err := gather(b.t.Context(), u, pid, offset)
		if want := min(int64(printed)-offset, printed-known.KeptFrom); err != nil || int64(len(r.stdout)) != want || !strings.HasSuffix(r.stdout, "0123456\n") {
			b.t.Errorf("from %d: %d bytes, %v, want %d", offset, len(r.stdout), err, want)
		}
	}
}

// muchOutput follows a process that prints more than is kept, at once, from its beginning.
func muchOutput(b *livingBox) {
	for range 20 {
		if r := b.run(sandbox.ProcessSpec{Args: []string{"head", "-c", "3000000", "/dev/zero"}}); len(r.stdout) != 3_000_000 {
			b.t.Fatalf("of 3,000,000 bytes %d came: the first were dropped before anybody listened", len(r.stdout))
		}
	}
}
