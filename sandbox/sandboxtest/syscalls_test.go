package sandboxtest_test

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
	"github.com/soulbox/soulbox/seccomp"
)

//go:embed testdata/syscalls.c
var everyCall string

// TestEverySystemCall makes every system call, and numbers that are none, under each filter and in its real place: as a
// program, as user and root of a session, and as an agent. What a filter refuses whatever the arguments are is refused, and
// agent, sandbox and host go on. What is let through is in seccomp/testdata.
func TestEverySystemCall(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	neighbour := open(t, p, sandbox.CreateSandbox{})
	t.Run("program", func(t *testing.T) {
		x := execute(t, p, sandbox.Request{Language: "c", Code: everyCall, Limits: sandbox.Limits{Output: 1 << 20, WallTime: attackTime, CPUTime: attackTime, Processes: 128}})
		if x.Verdict != sandbox.VerdictOK {
			t.Fatalf("%+v", x)
		}
		checkCalls(t, seccomp.Program(), string(x.Stdout))
	})
	b := open(t, p, sandbox.CreateSandbox{})
	for _, user := range []string{"user", "root"} {
		t.Run("session "+user, func(t *testing.T) {
			b := b.with(t)
			if err := b.use().Agent().WriteFile(t.Context(), "root", "/opt/calls.c", nil, strings.NewReader(everyCall)); err != nil {
				t.Fatal(err)
			}
			checkCalls(t, seccomp.Session(), b.prints(user, "cc -o /tmp/calls-"+user+" /opt/calls.c && /tmp/calls-"+user+" </dev/null 2>/dev/null"))
			if got := b.prints(user, "echo well"); got != "well\n" {
				t.Errorf("afterwards the sandbox says %q", got)
			}
		})
	}
	t.Run("agent", func(t *testing.T) { checkCalls(t, seccomp.Agent(), callsOfAgent(t, p)) })
	if got := neighbour.prints("", "echo well"); got != "well\n" {
		t.Errorf("the sandbox beside it says %q", got)
	}
}

// callsOfAgent makes the calls in an agent's place: its program is replaced, and what it prints is the agent's log.
func callsOfAgent(t *testing.T, p *sandboxtest.Parts) string {
	t.Helper()
	defer replaceAgent(t, p, everyCall)()
	ctx, cancel := context.WithTimeout(t.Context(), attackTime)
	defer cancel()
	created := make(chan error, 1)
	go func() {
		_, err := p.Engine.Sandboxes().Create(ctx, sandbox.CreateSandbox{})
		created <- err
	}()
	log := ""
	eventually(t, attackTime, "the agent's log is complete", func() bool {
		names, err := filepath.Glob(filepath.Join(p.RunDir, "boxes", "*", "agent.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil && strings.HasSuffix(string(b), "done\n") {
				log = string(b)
			}
		}
		return log != ""
	})
	cancel()
	if err := <-created; err == nil {
		t.Error("a sandbox without an agent was made")
	}
	return log
}

// replaceAgent compiles a program in C and puts it in the place of the agent of sandboxes that are made from now on; the
// function that it returns puts the agent back.
func replaceAgent(t *testing.T, p *sandboxtest.Parts, source string) (restore func()) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "agent.c"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(dir, "agent")
	if out, err := exec.CommandContext(t.Context(), "cc", "-static", "-O1", "-pthread", "-o", built, built+".c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	agent := filepath.Join(p.RunDir, "bin", "agent")
	kept := agent + ".kept"
	swap := func(to string) {
		if err := os.Rename(to, agent); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(agent, kept); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(agent+".new", program, 0o755); err != nil {
		t.Fatal(err)
	}
	swap(agent + ".new")
	return func() { swap(kept) }
}

// checkCalls compares what came of all calls with what a profile says of those that it refuses whatever the arguments are.
func checkCalls(t *testing.T, p seccomp.Profile, printed string) {
	t.Helper()
	calls, err := seccomp.Calls(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	names := map[uint64]string{}
	for _, c := range calls {
		names[uint64(c.Number)] = c.Name
	}
	refused, through := 0, 0
	for line := range strings.Lines(printed) {
		words := strings.Fields(line)
		n, err := strconv.ParseUint(words[0], 10, 32)
		if err != nil {
			continue // "done"
		}
		action := p.Default
		name, named := names[n]
		if rule, ok := p.Rule(name); named && ok {
			if action = rule.Action; len(rule.When) > 0 {
				action = seccomp.Allow
			}
		}
		if runtime.GOARCH == "amd64" && n >= 1<<30 && n < 1<<31 {
			action = p.BadArch
		}
		want := fmt.Sprintf("s%d", syscall.SIGSYS)
		if errno, ok := action.Errno(); ok {
			want = strconv.Itoa(int(errno))
		} else if action == seccomp.Allow {
			through++
			continue
		}
		for _, got := range words[1:] {
			if got != want {
				t.Errorf("call %d %q: %v, want %s whatever the arguments are", n, name, words[1:], want)
				break
			}
		}
		refused++
	}
	if refused < 300 || through < 200 {
		t.Errorf("only %d calls were refused and %d let through: what was printed is not all\n%.2000s", refused, through, printed)
	}
	t.Logf("%s: %d numbers refused, %d let through", p.Name, refused, through)
}
