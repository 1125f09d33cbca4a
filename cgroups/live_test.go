package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The tests of this file need groups that this process can make, see openTree.

const mib = 1 << 20

// newBox makes a box that is killed and removed at the end of t.
func newBox(t *testing.T, tree *Tree, l Limits) *Box {
	t.Helper()
	b, err := tree.Box("box", l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(b.Kill(ctx), b.Remove(ctx)); err != nil {
			t.Error(err)
		}
	})
	return b
}

func newSlot(t *testing.T, b *Box, name string, l Limits) *Group {
	t.Helper()
	g, err := b.Slot(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Set(l); err != nil {
		t.Fatal(err)
	}
	return g
}

func stats(t *testing.T, g *Group) Stats {
	t.Helper()
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMemoryLimitKillsAndCounts(t *testing.T) {
	box := newBox(t, openTree(t), Limits{Memory: 256 * mib, Pids: 64})
	slot := newSlot(t, box, "slot-1", Limits{Memory: 48 * mib, Pids: 32})
	state := start(t, slot, "hog 300").wait()
	if ws := state.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Errorf("hog of 300 MiB under 48 ended with %v, want SIGKILL", state)
	}
	s := stats(t, slot)
	if s.OOMKills < 1 {
		t.Errorf("OOMKills = %d, want at least 1", s.OOMKills)
	}
	if s.MemoryPeak < 40*mib || s.MemoryPeak > 49*mib {
		t.Errorf("MemoryPeak = %d, want about 48 MiB", s.MemoryPeak)
	}
}

func TestUserLimitHoldsForAllSlots(t *testing.T) {
	box := newBox(t, openTree(t), Limits{Memory: 48 * mib, Pids: 64})
	slot := newSlot(t, box, "slot-1", Limits{})
	if state := start(t, slot, "hog 300").wait(); state.Success() {
		t.Error("hog of 300 MiB under the user's 48 succeeded")
	}
	if s := stats(t, box.User()); s.MemoryPeak > 49*mib {
		t.Errorf("MemoryPeak of user = %d, want at most 48 MiB", s.MemoryPeak)
	}
	if state := start(t, box.Agent(), "spin 1").wait(); !state.Success() {
		t.Errorf("the agent's group: %v, want success", state)
	}
}

func TestPeakIsWhatWasUsed(t *testing.T) {
	slot := newSlot(t, newBox(t, openTree(t), Limits{}), "slot-1", Limits{Memory: 128 * mib})
	c := start(t, slot, "hog 30")
	if got := c.line(t); got != "held 30" {
		t.Fatalf("hog says %q, want held 30", got)
	}
	if s := stats(t, slot); s.MemoryCurrent < 30*mib || s.MemoryPeak < s.MemoryCurrent || s.MemoryPeak > 128*mib {
		t.Errorf("30 MiB held: current %d, peak %d", s.MemoryCurrent, s.MemoryPeak)
	}
	if state := c.wait(); !state.Success() {
		t.Errorf("hog of 30 MiB under 128: %v, want success", state)
	}
	if s := stats(t, slot); s.MemoryPeak < 30*mib || s.OOMKills != 0 {
		t.Errorf("afterwards: peak %d, OOM kills %d, want at least 30 MiB and none", s.MemoryPeak, s.OOMKills)
	}
}

func TestLimitsCanBeReplaced(t *testing.T) {
	slot := newSlot(t, newBox(t, openTree(t), Limits{}), "slot-1", Limits{Memory: 32 * mib, Pids: 4, CPUWeight: 10})
	for _, l := range []Limits{{Memory: 64 * mib}, {Memory: 16 * mib, Pids: 8}, {}, {Memory: 8 * mib, CPUWeight: 10000}, {}} {
		if err := slot.Set(l); err != nil {
			t.Errorf("Set(%+v): %v", l, err)
		}
	}
	if state := start(t, slot, "hog 60").wait(); state.Sys().(syscall.WaitStatus).Signaled() {
		t.Errorf("hog of 60 MiB without limit: %v", state)
	}
	if err := slot.Set(Limits{CPUWeight: 10001}); err == nil {
		t.Error("Set with weight 10001 succeeded")
	}
}

func TestPidsLimit(t *testing.T) {
	slot := newSlot(t, newBox(t, openTree(t), Limits{}), "slot-1", Limits{Pids: 16})
	c := start(t, slot, "fork 50")
	got := c.line(t)
	var n int
	if _, err := fmt.Sscanf(got, "forked %d", &n); err != nil || n == 0 || n > 15 {
		t.Errorf("50 forks under 16 processes: %q, want 1 to 15", got)
	}
	s := stats(t, slot)
	if s.PidsMaxEvents < 1 || s.PidsCurrent < int64(n) || s.PidsCurrent > 16 {
		t.Errorf("counters: events %d, current %d", s.PidsMaxEvents, s.PidsCurrent)
	}
	if err := slot.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := c.wait(); state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("killed helper ended with %v", state)
	}
}

func TestCPUTimeOfTheTree(t *testing.T) {
	slot := newSlot(t, newBox(t, openTree(t), Limits{}), "slot-1", Limits{})
	start(t, slot, "spin 300").wait()
	s := stats(t, slot)
	if s.CPUTotal < 100*time.Millisecond || s.CPUTotal > 3*time.Second {
		t.Errorf("CPUTotal = %v after 300 ms of spinning", s.CPUTotal)
	}
	if sum := s.CPUUser + s.CPUSystem; (sum - s.CPUTotal).Abs() > time.Millisecond {
		t.Errorf("user %v + system %v = %v, want the total %v", s.CPUUser, s.CPUSystem, sum, s.CPUTotal)
	}
	if s.CPUUser < s.CPUTotal/3 {
		t.Errorf("user time %v of %v after spinning in user mode", s.CPUUser, s.CPUTotal)
	}
}

func TestKillEndsAForkBomb(t *testing.T) {
	box := newBox(t, openTree(t), Limits{Pids: 64})
	slot := newSlot(t, box, "slot-1", Limits{Pids: 48})
	c := start(t, slot, "bomb")
	for stats(t, slot).PidsMaxEvents == 0 {
		if c.cmd.ProcessState != nil {
			t.Fatal("the bomb ended by itself")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := slot.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	c.wait()
	if err := slot.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := box.Slots(); err != nil || len(got) != 0 {
		t.Errorf("Slots() = %v, %v after Remove", got, err)
	}
}

func TestFreezeThawKill(t *testing.T) {
	slot := newSlot(t, newBox(t, openTree(t), Limits{}), "slot-1", Limits{})
	start(t, slot, "spin 60000")
	for range 3 {
		if err := slot.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := stats(t, slot).CPUTotal
		for i := 0; i < 1e7; i++ { // give a process that still runs a chance to be caught
		}
		if after := stats(t, slot).CPUTotal; after != before {
			t.Errorf("frozen, yet CPU time went from %v to %v", before, after)
		}
		if err := slot.Thaw(t.Context()); err != nil {
			t.Fatal(err)
		}
		for stats(t, slot).CPUTotal == before {
		}
	}
	if err := slot.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := slot.Kill(t.Context()); err != nil {
		t.Errorf("Kill of a frozen group: %v", err)
	}
}

// TestKillAboveFrozen ends a box of which a group below is frozen, as one that was paused when its daemon died.
func TestKillAboveFrozen(t *testing.T) {
	box := newBox(t, openTree(t), Limits{})
	start(t, newSlot(t, box, "slot-1", Limits{}), "spin 60000")
	if err := box.User().Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := box.Kill(ctx); err != nil {
		t.Errorf("Kill of a box with a frozen group: %v", err)
	}
}

func TestRemoveWaitsForTheLastProcess(t *testing.T) {
	slot := newSlot(t, newBox(t, openTree(t), Limits{}), "slot-1", Limits{})
	c := start(t, slot, "wait")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := slot.Remove(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Remove with a process inside: %v, want %v", err, context.DeadlineExceeded)
	}
	removed := make(chan error, 1)
	go func() { removed <- slot.Remove(t.Context()) }()
	c.wait()
	if err := <-removed; err != nil {
		t.Errorf("Remove while the process ends: %v", err)
	}
	if err := slot.Remove(t.Context()); err != nil {
		t.Errorf("Remove again: %v", err)
	}
	if err := slot.Kill(t.Context()); err != nil {
		t.Errorf("Kill of a removed group: %v", err)
	}
	if _, err := slot.Stats(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stats of a removed group: %v, want %v", err, fs.ErrNotExist)
	}
}

func TestNamesInUseAndLeftBehind(t *testing.T) {
	tree := openTree(t)
	box := newBox(t, tree, Limits{Memory: 64 * mib})
	newSlot(t, box, "slot-1", Limits{})
	if _, err := tree.Box("box", Limits{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Box of a name in use: %v, want %v", err, fs.ErrExist)
	}
	if _, err := box.Slot("slot-1"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Slot of a name in use: %v, want %v", err, fs.ErrExist)
	}
	for _, name := range []string{"", ".", "..", "a/b", "cgroup.procs", "tasks"} {
		if _, err := tree.Box(name, Limits{}); err == nil {
			t.Errorf("Box(%q) succeeded", name)
		}
	}
	again, err := Open(Options{Name: filepath.Base(tree.Path())})
	if err != nil {
		t.Fatal(err)
	}
	boxes, err := again.Boxes()
	if diff := cmp.Diff([]string{"box"}, boxes); err != nil || diff != "" {
		t.Errorf("Boxes() of the next daemon: %v, -want +got:\n%s", err, diff)
	}
	left, err := again.LoadBox("box")
	if err != nil {
		t.Fatal(err)
	}
	slots, err := left.Slots()
	if diff := cmp.Diff([]string{"slot-1"}, slots); err != nil || diff != "" {
		t.Errorf("Slots() of the next daemon: %v, -want +got:\n%s", err, diff)
	}
	if _, err := again.LoadBox("other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadBox of an absent box: %v, want %v", err, fs.ErrNotExist)
	}
	if !strings.HasSuffix(box.AgentPath(), "/box/agent") || !filepath.IsAbs(box.AgentPath()) {
		t.Errorf("AgentPath() = %q", box.AgentPath())
	}
}

// A daemon that was killed while it removed a box leaves it in some hierarchies only. The next one must get rid of it.
func TestHalfRemovedBox(t *testing.T) {
	tree := openTree(t)
	box := newBox(t, tree, Limits{})
	for _, g := range []*Group{box.User(), box.Agent(), box.Group()} {
		if err := os.Remove(g.Dirs()[0]); err != nil {
			t.Fatal(err)
		}
	}
	left, err := tree.Boxes()
	if err != nil || len(left) > len(box.Group().Dirs())-1 {
		t.Fatalf("Boxes() = %v, %v, want the box where it still has a directory", left, err)
	}
	for _, name := range left {
		b, err := tree.LoadBox(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Kill(t.Context()), b.Remove(t.Context())); err != nil {
			t.Error(err)
		}
	}
	if left, err = tree.Boxes(); err != nil || len(left) != 0 {
		t.Errorf("Boxes() afterwards = %v, %v, want none", left, err)
	}
}

// The smallest limit that is allowed, 4 MiB, is enough for a static C program. It needs gcc.
func TestStaticProgramIn4MiB(t *testing.T) {
	slot := newSlot(t, newBox(t, openTree(t), Limits{Memory: 4 * mib}), "slot-1", Limits{Memory: 4 * mib})
	dir := t.TempDir()
	source, program := filepath.Join(dir, "p.c"), filepath.Join(dir, "p")
	if err := os.WriteFile(source, []byte("#include <stdio.h>\nint main(void) { puts(\"small\"); return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		need(t, fmt.Errorf("%w: %w", err, errors.ErrUnsupported))
	}
	if out, err := exec.Command(gcc, "-static", "-O1", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := []string{"-c", `p=$1; shift; for f; do echo 0 >"$f"; done; exec "$p"`, "sh", program}
	for _, dir := range slot.Dirs() {
		args = append(args, filepath.Join(dir, "cgroup.procs"))
	}
	out, err := exec.Command("/bin/sh", args...).CombinedOutput()
	if err != nil || string(out) != "small\n" {
		t.Errorf("static program under 4 MiB: %v, %q; counters %+v", err, out, stats(t, slot))
	}
}

// A daemon works as root of a user namespace, in a pid namespace that does not have the processes of its unit. It needs
// user namespaces.
func TestInNamespaces(t *testing.T) {
	tree := openTree(t)
	if err := Settle(Options{Name: "unused"}); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"=open")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if want := "ready\n" + tree.Mode().String() + "\n"; err != nil || string(out) != want {
		t.Errorf("in namespaces: %v, %q, want %q", err, out, want)
	}
}
