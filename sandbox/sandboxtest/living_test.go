package sandboxtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// patience bounds what a test waits for on a busy machine.
const patience = time.Minute

// livingBox is a sandbox that lives on, of a test.
type livingBox struct {
	sandbox.Sandbox
	t *testing.T
	p *sandboxtest.Parts
}

// open makes a sandbox, which the engine's end removes.
func open(t *testing.T, p *sandboxtest.Parts, r sandbox.CreateSandbox) *livingBox {
	t.Helper()
	s, err := p.Engine.Sandboxes().Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return &livingBox{s, t, p}
}

// with returns the sandbox for a subtest.
func (b *livingBox) with(t *testing.T) *livingBox { return &livingBox{b.Sandbox, t, b.p} }

// use returns a hold on it until the test's end.
func (b *livingBox) use() *sandbox.Use {
	b.t.Helper()
	u, err := b.p.Engine.Sandboxes().Use(b.t.Context(), b.Tenant, b.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(u.Close)
	return u
}

// get returns its record as it is now.
func (b *livingBox) get() sandbox.Sandbox {
	b.t.Helper()
	s, err := b.p.Engine.Sandboxes().Get(b.t.Context(), b.Tenant, b.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// delete ends it.
func (b *livingBox) delete() sandbox.Sandbox {
	b.t.Helper()
	s, err := b.p.Engine.Sandboxes().Delete(b.t.Context(), b.Tenant, b.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// ran is how a process ended, and what it printed.
type ran struct {
	sandbox.ProcessExit
	stdout, stderr, terminal string
}

func (r ran) String() string {
	return fmt.Sprintf("status %#x, stdout %.2000q, stderr %.2000q, terminal %.2000q", int(r.Status), r.stdout, r.stderr, r.terminal)
}

// gather follows a process from an offset to its end.
func gather(ctx context.Context, u *sandbox.Use, pid uint32, offset int64) (ran, error) {
	var out ran
	var stdout, stderr, terminal bytes.Buffer
	for ev, err := range u.Follow(ctx, pid, offset) {
		if err != nil {
			return ran{stdout: stdout.String(), stderr: stderr.String(), terminal: terminal.String()}, err
		}
		if o := ev.Output; o != nil {
			stdout.Write(o.Stdout)
			stderr.Write(o.Stderr)
			terminal.Write(o.Terminal)
		}
		if ev.Exit != nil {
			out = ran{*ev.Exit, stdout.String(), stderr.String(), terminal.String()}
		}
	}
	return out, nil
}

// run runs a process to its end.
func (b *livingBox) run(spec sandbox.ProcessSpec) ran {
	b.t.Helper()
	u, err := b.p.Engine.Sandboxes().Use(b.t.Context(), b.Tenant, b.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	defer u.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	spec.Follow = true
	pid, err := u.Launch(ctx, spec)
	if err != nil {
		b.t.Fatalf("Launch(%q): %v", spec.Args, err)
	}
	out, err := gather(ctx, u, pid, 0)
	if err != nil {
		b.t.Fatalf("Follow(%q): %v; so far %v", spec.Args, err, out)
	}
	return out
}

// sh runs a command line of the shell as the sandbox's user.
func (b *livingBox) sh(line string) ran {
	b.t.Helper()
	return b.run(sandbox.ProcessSpec{Args: []string{"/bin/sh", "-c", line}})
}

// prints runs a command line that must end with status 0, and returns what it printed.
func (b *livingBox) prints(user, line string) string {
	b.t.Helper()
	r := b.run(sandbox.ProcessSpec{Args: []string{"/bin/sh", "-c", line}, User: user})
	if r.Status != 0 || r.stderr != "" {
		b.t.Fatalf("%s: %v", line, r)
	}
	return r.stdout
}

// background starts a process that is not waited for.
func (b *livingBox) background(spec sandbox.ProcessSpec) uint32 {
	b.t.Helper()
	pid, err := b.use().Launch(b.t.Context(), spec)
	if err != nil {
		b.t.Fatal(err)
	}
	return pid
}

// awaitState polls until the sandbox is in a state: nothing tells a caller of the library.
func (b *livingBox) awaitState(state sandbox.SandboxState, within time.Duration) sandbox.Sandbox {
	b.t.Helper()
	var s sandbox.Sandbox
	eventually(b.t, within, fmt.Sprintf("sandbox %s in state %d", b.ID, state), func() bool {
		s = b.get()
		return s.State == state
	})
	return s
}

// eventually returns once ok does.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(within)
	defer end.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// wantError fails unless err is of a kind, with a reason and a field.
func wantError(t *testing.T, what string, err error, kind sandbox.Kind, reason, field string) {
	t.Helper()
	e, ok := errors.AsType[*sandbox.Error](err)
	if !ok || e.Kind != kind || e.Reason != reason || e.Field != field {
		t.Errorf("%s = %v, want %v %s of field %q", what, err, kind, reason, field)
	}
	if ok && strings.TrimSpace(e.Msg) == "" {
		t.Errorf("%s: the error says nothing", what)
	}
}
