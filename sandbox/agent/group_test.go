package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeyed(t *testing.T) {
	text := []byte("usage_usec 1050000\nuser_usec 1000000\nsystem_usec 50000\nmax 3\nlow -1\nhigh 99999999999999999999\nodd 1 2\n")
	for key, want := range map[string]int64{"user_usec": 1_000_000, "max": 3, "low": 0, "high": 0, "odd": 0, "absent": 0, "": 0} {
		if got := keyed(text, key); got != want {
			t.Errorf("keyed(%q) = %d, want %d", key, got, want)
		}
	}
	if user, system := parseCPU(text); user != time.Second || system != 50*time.Millisecond {
		t.Errorf("parseCPU = %v, %v, want 1s, 50ms", user, system)
	}
}

func TestUntilFull(t *testing.T) {
	for left, want := range map[int64]time.Duration{
		-1: pollSoonest, 0: pollSoonest, 1 << 20: pollSoonest, fastest / 128: time.Second / 128, fastest: time.Second, 10 * fastest: time.Second,
	} {
		if got := untilFull(left, time.Second); got != want {
			t.Errorf("untilFull(%d) = %v, want %v", left, got, want)
		}
	}
}

func TestGroupWatch(t *testing.T) {
	w := newGroupWatch(100 << 20)
	for _, step := range []struct {
		memory int64
		wait   time.Duration
		over   bool
	}{
		{100<<20 - fastest/128, time.Second / 128, false},
		{100 << 20, pollSoonest, false},
		{100<<20 + 1, pollEvery, true},
		{1 << 20, untilFull(99<<20, usageEvery), false},
	} {
		if wait, over := w.see(step.memory); wait != step.wait || over != step.over {
			t.Errorf("see(%d) = %v, %v, want %v, %v", step.memory, wait, over, step.wait, step.over)
		}
	}
	if peak, kills := w.counts(); peak != 100<<20+1 || kills != 1 {
		t.Errorf("counts = %d, %d, want the peak and one kill", peak, kills)
	}
	w.set(0)
	w.set(0) // nobody has looked yet
	if wait, over := w.see(1 << 40); wait != usageEvery || over {
		t.Errorf("without a limit: see = %v, %v", wait, over)
	}
}

// TestGroupFiles reads a directory of files as if the kernel had made it.
func TestGroupFiles(t *testing.T) {
	top, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { top.Close() })
	// The files that the kernel would put into a new group.
	dir := filepath.Join(top.Name(), "slot")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"memory.current": "4096\n", "pids.current": "3\n", "pids.peak": "7\n", "pids.max": "max\n", "cgroup.procs": "",
		"pids.events": "max 2\n", "cpu.stat": "user_usec 5\nsystem_usec 6\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &group{top: top, name: "slot"}
	if g.dir, err = openAt(top, "slot", 0); err != nil {
		t.Fatal(err)
	}
	got, err := g.sample()
	if err != nil {
		t.Fatal(err)
	}
	want := sample{user: 5 * time.Microsecond, system: 6 * time.Microsecond, memory: 4096, threads: 2}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
	if peak, refused := g.processes(); peak != 6 || refused != 2 {
		t.Errorf("processes = %d, %d, want 6 without the launcher, and 2", peak, refused)
	}
	procs, err := g.procs()
	if err != nil {
		t.Fatal(err)
	}
	if err := procs.Close(); err != nil {
		t.Fatal(err)
	}
	if err := writeAt(g.dir, "pids.max", "9"); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "pids.max")); err != nil || string(text[:1]) != "9" {
		t.Errorf("pids.max = %q, %v", text, err)
	}
	if err := writeAt(g.dir, "absent", "9"); err == nil {
		t.Error("a file that is not there was written")
	}
	if err := os.WriteFile(filepath.Join(dir, "memory.current"), []byte("much\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.sample(); err == nil {
		t.Error("memory that is no number was read")
	}
	if err := g.remove(); err == nil {
		t.Error("a directory with files in it was removed")
	}
	if err := (*group)(nil).remove(); err != nil {
		t.Errorf("remove of no group = %v", err)
	}
}
