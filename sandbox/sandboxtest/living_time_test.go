package sandboxtest_test

import (
	"cmp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestSandboxTimeouts: time ends a sandbox, can be prolonged and shortened; nobody's use ends an idle one.
func TestSandboxTimeouts(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	boxes := p.Engine.Sandboxes()
	short, hour := 1500*time.Millisecond, time.Hour
	created := func(t *testing.T, r sandbox.CreateSandbox) *livingBox { return open(t, p, r) }
	ended := func(t *testing.T, b *livingBox, reason string, from, to time.Duration) {
		t.Helper()
		b = b.with(t)
		s := b.awaitState(sandbox.SandboxStopped, patience)
		if took := s.EndedAt.Sub(s.StartedAt); took < from || took > to || !strings.Contains(s.Reason, reason) {
			t.Errorf("ended after %v, %q, want it after %v to %v, %q", took, s.Reason, from, to, reason)
		}
	}
	for name, run := range map[string]func(*testing.T){
		"ends": func(t *testing.T) {
			ended(t, created(t, sandbox.CreateSandbox{Timeout: &short}), "time ran out", short, short+10*time.Second)
		},
		"prolonged": func(t *testing.T) {
			b := created(t, sandbox.CreateSandbox{Timeout: &short})
			s, err := boxes.SetTimeout(t.Context(), b.Tenant, b.ID, 2*short)
			if err != nil || !s.DeadlineAt.After(b.DeadlineAt) || s.Timeout != 2*short {
				t.Errorf("SetTimeout = %+v, %v", s, err)
			}
			ended(t, b, "time ran out", 2*short, 2*short+10*time.Second)
		},
		"shortened": func(t *testing.T) {
			b := created(t, sandbox.CreateSandbox{Timeout: &hour})
			if _, err := boxes.SetTimeout(t.Context(), b.Tenant, b.ID, time.Millisecond); err != nil {
				t.Error(err)
			}
			ended(t, b, "time ran out", 0, 20*time.Second)
		},
		"idle": func(t *testing.T) {
			ended(t, created(t, sandbox.CreateSandbox{Timeout: &hour, IdleTimeout: short}), "nobody used it", short, short+10*time.Second)
		},
		"used": func(t *testing.T) {
			b := created(t, sandbox.CreateSandbox{Timeout: &hour, IdleTimeout: short})
			if r := b.sh("sleep 3; echo on"); r.stdout != "on\n" { // twice the idle time
				t.Errorf("a sandbox in use: %v", r)
			}
			ended(t, b, "nobody used it", 3*time.Second+short, 3*time.Second+short+10*time.Second)
		},
		"for ever, then not": func(t *testing.T) {
			never := time.Duration(0)
			b := created(t, sandbox.CreateSandbox{Timeout: &never})
			if !b.DeadlineAt.IsZero() {
				t.Errorf("a sandbox for ever has the deadline %v", b.DeadlineAt)
			}
			if _, err := boxes.SetTimeout(t.Context(), b.Tenant, b.ID, short); err != nil {
				t.Error(err)
			}
			ended(t, b, "time ran out", short, short+10*time.Second)
		},
		"paused time does not count": func(t *testing.T) {
			b := created(t, sandbox.CreateSandbox{Timeout: &short, IdleTimeout: hour})
			if _, err := boxes.Pause(t.Context(), b.Tenant, b.ID); err != nil {
				t.Fatal(err)
			}
			const long = 3 * time.Second
			time.Sleep(long) // that nothing happens has no event
			if s := b.get(); s.State != sandbox.SandboxPaused {
				t.Fatalf("while it was paused its time ended it: %+v", s)
			}
			if _, err := boxes.Resume(t.Context(), b.Tenant, b.ID, nil); err != nil {
				t.Error(err)
			}
			ended(t, b, "time ran out", long+short, long+short+10*time.Second)
		},
		"resumed with another time": func(t *testing.T) {
			b := created(t, sandbox.CreateSandbox{Timeout: &hour})
			if _, err := boxes.Pause(t.Context(), b.Tenant, b.ID); err != nil {
				t.Fatal(err)
			}
			s, err := boxes.Resume(t.Context(), b.Tenant, b.ID, &short)
			if err != nil || s.Timeout != short || s.State != sandbox.SandboxRunning || !s.PausedAt.IsZero() {
				t.Errorf("Resume = %+v, %v", s, err)
			}
			ended(t, b, "time ran out", 0, short+20*time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}

// TestPausedSandboxStandsStill: a counter inside stands still while its sandbox is paused, and goes on afterwards.
func TestPausedSandboxStandsStill(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	boxes := p.Engine.Sandboxes()
	b := open(t, p, sandbox.CreateSandbox{})
	b.background(sandbox.ProcessSpec{Args: []string{"python3", "-uc", "import itertools, time\nfor n in itertools.count(): print(n, file=open('/tmp/n', 'w'), flush=True); time.sleep(0.01)"}})
	agent := b.use().Agent()
	counter := func() int {
		t.Helper()
		n := 0
		eventually(t, patience, "the counter is written", func() bool {
			c, err := agent.ReadFile(t.Context(), "root", "/tmp/n", 0, 0)
			if err != nil {
				return false
			}
			defer c.Body.Close()
			var text [32]byte
			size, _ := c.Body.Read(text[:]) // empty while it is being written
			n, err = strconv.Atoi(strings.TrimSpace(string(text[:size])))
			return err == nil
		})
		return n
	}
	eventually(t, patience, "it counts", func() bool { return counter() > 3 })
	s, err := boxes.Pause(t.Context(), b.Tenant, b.ID)
	if err != nil || s.State != sandbox.SandboxPaused || s.PausedAt.IsZero() {
		t.Fatalf("Pause = %+v, %v", s, err)
	}
	_, err = boxes.Pause(t.Context(), b.Tenant, b.ID)
	wantError(t, "Pause again", err, sandbox.KindConflict, "SANDBOX_PAUSED", "id")
	_, err = boxes.Use(t.Context(), b.Tenant, b.ID)
	wantError(t, "Use of a paused sandbox", err, sandbox.KindConflict, "SANDBOX_PAUSED", "id")
	if _, err := boxes.Stats(t.Context(), b.Tenant, b.ID); err != nil {
		t.Errorf("Stats of a paused sandbox = %v", err)
	}
	before := counter() // the agent is not paused
	time.Sleep(300 * time.Millisecond)
	if after := counter(); after != before {
		t.Errorf("paused, it counted from %d to %d", before, after)
	}
	if _, err := boxes.Resume(t.Context(), b.Tenant, b.ID, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "it counts again", func() bool { return counter() > before })
	_, err = boxes.Resume(t.Context(), b.Tenant, b.ID, nil)
	wantError(t, "Resume of one that runs", err, sandbox.KindConflict, "SANDBOX_NOT_PAUSED", "id")
	if _, err := boxes.Pause(t.Context(), b.Tenant, b.ID); err != nil {
		t.Fatal(err)
	}
	if s := b.delete(); s.State != sandbox.SandboxStopped {
		t.Errorf("a paused sandbox, deleted: %+v", s)
	}
}

// TestSandboxLimits reaches each bound of a sandbox, and lives on where it can.
func TestSandboxLimits(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	boxes := p.Engine.Sandboxes()
	b := open(t, p, sandbox.CreateSandbox{Limits: sandbox.SandboxLimits{Memory: 96 * mib, Processes: 20, OpenFiles: 50}})
	t.Run("memory", func(t *testing.T) {
		b := b.with(t)
		hog := "b = []\nwhile True: b.append(bytearray(1 << 20))"
		if r := b.run(sandbox.ProcessSpec{Args: []string{"python3", "-c", hog}}); !r.Status.Signaled() {
			t.Errorf("a memory hog: %v, want it killed", r)
		}
		if got := b.prints("", "echo on"); got != "on\n" {
			t.Errorf("after that: %q", got)
		}
		st, err := boxes.Stats(t.Context(), b.Tenant, b.ID)
		if err != nil || st.MemoryLimit != 96*mib || p.Cgroups.Enforced().Memory && (st.OOMKills == 0 || st.MemoryPeak < 64*mib) {
			t.Errorf("Stats = %+v, %v", st, err)
		}
	})
	t.Run("processes", func(t *testing.T) {
		bomb := "import os, time\nn = 0\ntry:\n  while n < 1000:\n    if os.fork() == 0: time.sleep(30); os._exit(0)\n    n += 1\nexcept OSError: pass\nprint(n)\nos.kill(-1, 9)"
		r := b.with(t).run(sandbox.ProcessSpec{Args: []string{"python3", "-uc", bomb}})
		if n, err := strconv.Atoi(strings.TrimSpace(r.stdout)); err != nil || n < 5 || n > 20 {
			t.Errorf("a fork bomb got %v children, want up to 19", r)
		}
	})
	t.Run("open files", func(t *testing.T) {
		if got := b.with(t).prints("", "ulimit -n; ulimit -c"); got != "50\n0\n" {
			t.Errorf("ulimit of open files and of cores: %q", got)
		}
	})
	t.Run("changed while it runs", func(t *testing.T) {
		b := b.with(t)
		want := sandbox.SandboxLimits{Memory: 300 * mib, Processes: 40}
		if !p.Kept(t).Pids {
			_, err := boxes.SetLimits(t.Context(), b.Tenant, b.ID, want)
			wantError(t, "SetLimits of processes without a cgroup", err, sandbox.KindInvalid, "LIMIT_FIXED", "limits.processes")
			want.Processes = 0
		}
		s, err := boxes.SetLimits(t.Context(), b.Tenant, b.ID, want)
		if want.Processes = cmp.Or(want.Processes, 20); err != nil || s.Limits.Memory != want.Memory || s.Limits.Processes != want.Processes || s.Limits.OpenFiles != 50 {
			t.Fatalf("SetLimits = %+v, %v", s.Limits, err)
		}
		if got := b.prints("", `python3 -c "b = bytearray(200 << 20); print(len(b))"`); got != "209715200\n" {
			t.Errorf("200 MiB within 300: %q", got)
		}
		_, err = boxes.SetLimits(t.Context(), b.Tenant, b.ID, sandbox.SandboxLimits{OpenFiles: 10})
		wantError(t, "SetLimits of open files", err, sandbox.KindInvalid, "LIMIT_FIXED", "limits.openFiles")
		_, err = boxes.SetLimits(t.Context(), b.Tenant, b.ID, sandbox.SandboxLimits{Memory: 1})
		wantError(t, "SetLimits of a byte", err, sandbox.KindInvalid, "LIMIT_OUT_OF_RANGE", "limits.memoryBytes")
		if s, err = boxes.SetLimits(t.Context(), b.Tenant, b.ID, sandbox.SandboxLimits{Memory: 96 * mib}); err != nil || s.Limits.Memory != 96*mib {
			t.Errorf("SetLimits back = %+v, %v", s.Limits, err)
		}
		// It waits to be looked at, where no cgroup bounds memory.
		if r := b.sh(`python3 -c "import time; b = bytearray(200 << 20); time.sleep(20); print(len(b))"`); r.stdout != "" {
			t.Errorf("200 MiB within 96: %v", r)
		}
		if entries, err := boxes.Logs(t.Context(), b.Tenant, b.ID, 1); err != nil || len(entries) != 1 || entries[0].Level != sandbox.LogInfo && entries[0].Level != sandbox.LogWarn {
			t.Errorf("Logs = %v, %v, want the newest entry", entries, err)
		}
	})
	t.Run("disk", func(t *testing.T) {
		b := open(t, p, sandbox.CreateSandbox{Limits: sandbox.SandboxLimits{Disk: 8 * mib}})
		b.background(sandbox.ProcessSpec{Args: []string{"sh", "-c", "head -c 20000000 /dev/zero > /home/user/f; sleep 100"}})
		if s := b.awaitState(sandbox.SandboxFailed, patience); !strings.Contains(s.Reason, "disk limit") {
			t.Errorf("ended with %q, want the disk limit", s.Reason)
		}
	})
}
