package runsc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox"
)

// TestVersion holds that what Info says is what the module in tool builds.
func TestVersion(t *testing.T) {
	mod, err := os.ReadFile("tool/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "gvisor.dev/gvisor v0.0.0-"+Version+" ") {
		t.Errorf("Version = %q, which is not the one in tool/go.mod", Version)
	}
}

func TestCommand(t *testing.T) {
	got := command("/c/runsc-1", "/run/runsc/i1", "/b", "i1", 2)
	if want := `echo 0 >&3 && exec 3>&- && echo 0 >&4 && exec 4>&- && exec "$0" "$@"`; !slices.Equal(got[:4], []string{"/bin/sh", "-c", want, "/c/runsc-1"}) {
		t.Errorf("command begins with %q, want a shell that enters two groups", got[:4])
	}
	if diff := cmp.Diff([]string{"run", "--detach", "--bundle=/b", "i1"}, got[len(got)-4:]); diff != "" {
		t.Errorf("command ends otherwise (-want +got):\n%s", diff)
	}
	for _, want := range []string{"--root=/run/runsc/i1", "--network=none", "--ignore-cgroups", "--platform=systrap"} {
		if !slices.Contains(got, want) {
			t.Errorf("command = %q, want %s in it", got, want)
		}
	}
	for _, bad := range []string{"--rootless", "--TESTONLY-unsafe-nonroot"} {
		if slices.Contains(got, bad) {
			t.Errorf("command = %q, with %s", got, bad)
		}
	}
}

func TestInfo(t *testing.T) {
	info := newRuntime(t, "/bin/true").Info()
	if info.Name != Name || !info.OwnKernel || info.Overhead.Memory <= 0 || slices.Contains(info.Enforced, sandbox.LimitMemory) {
		t.Errorf("Info = %+v, want a kernel of its own, an overhead, and memory not enforced without cgroups", info)
	}
	if got := enforced(cgroups.Enforced{Memory: true}); !slices.Contains(got, sandbox.LimitMemory) {
		t.Errorf("enforced with a memory cgroup = %v", got)
	}
	names := map[string]bool{}
	for _, f := range Features() {
		if f.Name == "" || f.Detail == "" || names[f.Name] {
			t.Errorf("feature %+v has no name, no words, or a name that is taken", f)
		}
		names[f.Name] = true
	}
}

// newRuntime returns a runtime whose runsc is another program, in groups that do nothing.
func newRuntime(t *testing.T, binary string) *Runtime {
	t.Helper()
	r, err := New(Options{Dir: filepath.Join(t.TempDir(), "state"), Cgroups: &cgroups.Tree{},
		Binary: func() (string, error) {
			if binary == "" {
				return "", fs.ErrNotExist
			}
			return binary, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// script writes a program that stands for runsc. It gets runsc's arguments.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "runsc")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStartFails leaves nothing of a start that fails, and says what runsc said.
func TestStartFails(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, binary, log, says string }{
		{"no runsc", "", log, fs.ErrNotExist.Error()},
		{"runsc fails", script(t, "echo first; echo no kernel today >&2; exit 3"), log, "no kernel today"},
		{"no log", "/bin/true", log + "missing", "open the log"},
		{"runsc is gone", "/nonexistent/runsc", log, "look at /nonexistent/runsc"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRuntime(t, tc.binary)
			r.opts.Cgroups = openTree(t)
			box, err := r.opts.Cgroups.Box("i1", cgroups.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := box.Remove(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			err = r.Start(t.Context(), "i1", t.TempDir(), tc.log)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Start = %v, want %q in it", err, tc.says)
			}
			if ids, err := r.List(t.Context()); err != nil || len(ids) != 0 {
				t.Errorf("List = %v, %v, want none", ids, err)
			}
		})
	}
}

// openTree returns groups of the mode that every host has.
func openTree(t *testing.T) *cgroups.Tree {
	t.Helper()
	tree, err := cgroups.Open(cgroups.Options{Name: fmt.Sprintf("runsctest-%d", os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tree
}

// TestRunsFor tells a sandbox's processes from those that only look like them.
func TestRunsFor(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	who, err := identity(shell)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(shell, "-c", "read x", "--root=/run/i1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // with its input's end
	})
	for _, tc := range []struct {
		what, dir, who string
		want           bool
	}{
		{"its own", "/run/i1", who, true},
		{"one whose id begins alike", "/run/i", who, false},
		{"of another file", "/run/i1", "0:0", false},
	} {
		if got := runsFor(cmd.Process.Pid, tc.dir, tc.who); got != tc.want {
			t.Errorf("%s: runsFor = %v", tc.what, got)
		}
	}
}

// TestDestroyKills has a process that holds its standard input stand for a sandbox.
func TestDestroyKills(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t, shell)
	if err := r.Destroy(t.Context(), "absent"); err != nil {
		t.Errorf("Destroy of an absent sandbox = %v", err)
	}
	for _, id := range []sandbox.ID{"i1", "i10"} { // one's id begins as the other's
		if err := errors.Join(os.Mkdir(r.dir(id), 0o700), remember(r.dir(id), shell)); err != nil {
			t.Fatal(err)
		}
	}
	ended := map[sandbox.ID]chan struct{}{}
	for _, id := range []sandbox.ID{"i1", "i10"} {
		cmd := exec.Command(shell, "-c", "read x", "--root="+r.dir(id))
		in, err := cmd.StdinPipe() // never written to
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		ended[id] = done
		go func() {
			defer close(done)
			_ = cmd.Wait() // it is killed
		}()
		t.Cleanup(func() { in.Close(); <-done })
	}
	if err := r.Destroy(t.Context(), "i1"); err != nil {
		t.Fatal(err)
	}
	<-ended["i1"]
	select {
	case <-ended["i10"]:
		t.Error("another sandbox ended as well")
	default:
	}
	if ids, err := r.List(t.Context()); err != nil || !slices.Equal(ids, []sandbox.ID{"i10"}) {
		t.Errorf("List = %v, %v, want the other one", ids, err)
	}
	if err := r.Destroy(t.Context(), "i10"); err != nil {
		t.Fatal(err)
	}
}
