package sandboxtest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestAttacksOfAgents does what a program could do that had taken over its sandbox's agent: it enters a sandbox with
// the agent's id and more than its capabilities, and tries to change what all sandboxes share.
func TestAttacksOfAgents(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	agent := runningAgent(t, p, fileServer)
	// Nothing but the test's own capabilities is needed to enter; what fails from then on fails for the agent too.
	cmd := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(agent), "-U", "-m", "-r", "-w", "-S", "0", "-G", "0", "sh", "-c", `
echo entered as $(id -u)
for m in / /usr /.soulbin /opt/soulbox/bin /opt/soulbox/lang/go; do mount -n -o remount,bind,rw,nosuid,nodev $m && echo "remounted $m"; done
for d in / /etc /etc/ld.so.conf.d /var/tmp /srv /opt /usr /usr/bin /usr/lib /.soulbin /opt/soulbox/bin /opt/soulbox/lang /opt/soulbox/lang/go; do
  touch $d/planted 2>&- && echo planted $d && rm $d/planted
done
for f in /etc/passwd /etc/ld.so.cache /.soulbin/agent /.soulbin/launcher /opt/soulbox/bin/transpile; do
  chmod 0777 $f 2>&- && echo changed $f
  (: >> $f) 2>&- && echo opened $f
done
find /opt/soulbox/lang/go /opt/soulbox/bin /.soulbin /etc ! -type l -writable 2>&- | head
mknod /tmp/d c 1 3 2>&- && cat /tmp/d && echo device
echo done`)
	out, err := cmd.CombinedOutput()
	var remounted, achieved []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "remounted ") {
			remounted = append(remounted, line)
		} else {
			achieved = append(achieved, line)
		}
	}
	// That the mounts are the agent's to change is what makes the rest worth trying.
	if !slices.Contains(remounted, "remounted /\n") {
		t.Errorf("the attack did not get as far as the files: %q", out)
	}
	if err != nil || !slices.Equal(achieved, []string{"entered as 0\n", "done\n"}) {
		t.Errorf("%v, achieved: %q", err, achieved)
	}
}

// TestAgentIsConfined reads what holds the agent and its launcher, from outside.
func TestAgentIsConfined(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	agent := runningAgent(t, p, programOf)
	for _, want := range []string{"Seccomp:\t2\n", "CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n"} {
		if b := status(t, agent); !strings.Contains(b, want) {
			t.Errorf("the agent's status lacks %q:\n%s", want, b)
		}
	}
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(agent), "environ"))
	if err != nil {
		t.Fatal(err)
	}
	for kv := range bytes.SplitSeq(bytes.TrimSuffix(env, []byte{0}), []byte{0}) {
		if name, _, _ := strings.Cut(string(kv), "="); len(env) > 0 && !slices.Contains([]string{"PATH", "HOME", "GOCOVERDIR"}, name) {
			t.Errorf("the agent's environment has %s", name)
		}
	}
	fds, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(agent), "fd", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if errors.Is(err, os.ErrNotExist) {
			continue // closed meanwhile
		} else if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"store", "keys", "ids-", "supervisor", "runc", "soulbox-helper", "soulbox-config"} {
			if strings.Contains(filepath.Base(to), bad) {
				t.Errorf("the agent holds %s", to)
			}
		}
	}
}

func status(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// programOf is how the process of this host begins that an agent is: itself, or the kernel that it runs on.
func programOf(r sandbox.RuntimeInfo) string {
	if r.OwnKernel {
		return "runsc-sandbox\x00"
	}
	return "/.soulbin/agent\x00"
}

// fileServer is how the process begins that has the sandbox's files before it.
func fileServer(r sandbox.RuntimeInfo) string {
	if r.OwnKernel {
		return "runsc-gofer\x00"
	}
	return programOf(r)
}

// runningAgent starts a Go program, whose sandbox has a prepared directory, and returns the pid of its agent, or of what
// stands for it. The test's end cancels it.
func runningAgent(t *testing.T, p *sandboxtest.Parts, what func(sandbox.RuntimeInfo) string) int {
	t.Helper()
	prefix := what(p.Runtime(t))
	before := agents(t, prefix)
	h, err := p.Engine.Start(t.Context(), sandbox.Request{Client: "test", Language: "go",
		Code:   "package main\n\nimport \"time\"\n\nfunc main() { println(\"up\"); time.Sleep(time.Hour) }\n",
		Limits: sandbox.Limits{WallTime: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Engine.Cancel(context.Background(), sandbox.DefaultTenant, h.ID()); err != nil {
			t.Error(err)
		}
	})
	for ev, err := range h.Events(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Kind == sandbox.EventResult {
			t.Fatalf("ended early: %+v", ev.Execution)
		}
		if ev.Kind == sandbox.EventStderr && !ev.Compile {
			break
		}
	}
	for pid := range agents(t, prefix) {
		if !before[pid] {
			return pid
		}
	}
	t.Fatal("no agent runs")
	return 0
}

// agents returns the pids of all processes in this wide namespace whose command begins with prefix.
func agents(t *testing.T, prefix string) map[int]bool {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	pids := map[int]bool{}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && bytes.HasPrefix(b, []byte(prefix)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil {
				t.Fatal(err)
			}
			pids[pid] = true
		}
	}
	return pids
}
