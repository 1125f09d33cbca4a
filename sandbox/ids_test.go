package sandbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestBlock(t *testing.T) {
	want := []specs.LinuxIDMapping{
		{ContainerID: 0, HostID: 1, Size: 1000},
		{ContainerID: 1000, HostID: 1002 + 32*3, Size: 32},
		{ContainerID: 65534, HostID: 1001, Size: 1},
	}
	b := Block{Index: 3}
	if diff := cmp.Diff(want, b.UIDMappings()); diff != "" {
		t.Errorf("UIDMappings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, b.GIDMappings()); diff != "" {
		t.Errorf("GIDMappings (-want +got):\n%s", diff)
	}
	for id, want := range map[uint32]bool{0: false, 1: false, 1001: false, 1097: false, 1098: true, 1129: true, 1130: false, 1<<32 - 1: false} {
		if got := b.Owns(id); got != want {
			t.Errorf("Block 3 owns %d: %t, want %t", id, got, want)
		}
	}
	for count, want := range map[uint32]int{0: 0, 1001: 0, 1032: 0, 1033: 1, 1064: 1, 1065: 2, 65536: 2016} {
		if got := Blocks(count); got != want {
			t.Errorf("Blocks(%d) = %d, want %d", count, got, want)
		}
		if n := Blocks(count); n > 0 && (Block{Index: n - 1}).Base()+BlockSize-1 > count {
			t.Errorf("Blocks(%d) = %d: the last block ends above the range", count, n)
		}
	}
	if LauncherID != 1031 {
		t.Errorf("LauncherID = %d, want 1031", LauncherID)
	}
}

func openLock(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := OpenLockFile(path)
	if err != nil {
		t.Fatalf("OpenLockFile(%s): %v", path, err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func acquire(t *testing.T, p *IDPool, want int) Block {
	t.Helper()
	b, err := p.Acquire()
	if err != nil || b.Index != want {
		t.Fatalf("Acquire() = %v, %v; want block %d", b, err, want)
	}
	return b
}

func exhausted(t *testing.T, p *IDPool) {
	t.Helper()
	b, err := p.Acquire()
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != KindExhausted || e.Reason != "IDS_EXHAUSTED" {
		t.Fatalf("Acquire() = %v, %v; want IDS_EXHAUSTED", b, err)
	}
}

func TestIDPoolTwoDaemons(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ids.lock")
	p := NewIDPool(openLock(t, path), 4)
	q := NewIDPool(openLock(t, path), 4)
	b0 := acquire(t, p, 0)
	acquire(t, q, 1)
	acquire(t, p, 2)
	if err := p.Release(b0); err != nil {
		t.Fatal(err)
	}
	acquire(t, p, 3) // not block 0, which was freed last
	acquire(t, q, 0)
	exhausted(t, p)
	exhausted(t, q)
	if err := p.Release(b0); err != nil { // q's by now; a second release must not take it away
		t.Fatal(err)
	}
	exhausted(t, p)
	if p.InUse() != 2 || q.InUse() != 2 {
		t.Errorf("InUse: %d and %d, want 2 and 2", p.InUse(), q.InUse())
	}
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	acquire(t, q, 2) // what the other daemon gave back
	acquire(t, q, 3)
	exhausted(t, p)
	exhausted(t, NewIDPool(openLock(t, filepath.Join(t.TempDir(), "none")), 0))
}

func TestIDPoolLockOutlivesDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ids.lock")
	supervisor := openLock(t, path)
	cmd := exec.Command(os.Args[0], "-test.run=^TestIDPoolChild$")
	cmd.Env = append(os.Environ(), "SOULBOX_TEST_IDS_CHILD=1")
	cmd.ExtraFiles = []*os.File{supervisor}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "took 0 1\n") {
		t.Fatalf("child: %v, printed %q and %q", err, out, stderr.String())
	}
	// The child is dead; what it locked stays locked for others, and is the next daemon's to adopt or reset.
	other := NewIDPool(openLock(t, path), 3)
	acquire(t, other, 2)
	exhausted(t, other)
	next := NewIDPool(supervisor, 3)
	if err := next.Adopt(Block{Index: 0}); err != nil {
		t.Fatalf("Adopt(0): %v", err)
	}
	for _, k := range []int{-1, 0, 2, 3} { // out of range, ours already, the other's, out of range
		if err := next.Adopt(Block{Index: k}); err == nil {
			t.Errorf("Adopt(%d) succeeded", k)
		}
	}
	if err := next.Reset(); err != nil {
		t.Fatal(err)
	}
	acquire(t, other, 0)
	// The end of the last descriptor frees the rest.
	acquire(t, next, 1)
	exhausted(t, other)
	if err := supervisor.Close(); err != nil {
		t.Fatal(err)
	}
	acquire(t, other, 1)
}

// TestIDPoolChild is the daemon that dies in TestIDPoolLockOutlivesDaemon.
func TestIDPoolChild(t *testing.T) {
	if os.Getenv("SOULBOX_TEST_IDS_CHILD") == "" {
		t.Log("nothing to do in the parent")
		return
	}
	p := NewIDPool(os.NewFile(3, "lock"), 3)
	acquire(t, p, 0)
	acquire(t, p, 1)
	if _, err := io.WriteString(os.Stdout, "took 0 1\n"); err != nil {
		t.Fatal(err)
	}
}

func TestIDPoolRefusesRemovedLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ids.lock")
	p := NewIDPool(openLock(t, path), 2)
	acquire(t, p, 0)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Acquire(); KindOf(err) != KindUnavailable {
		t.Errorf("Acquire() with the lock file removed: %v, want KindUnavailable", err)
	}
}

func TestOpenLockFile(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"symbolic link": func(path string) error {
			return errors.Join(os.WriteFile(path+".target", nil, 0o600), os.Symlink(path+".target", path))
		},
		"directory":      func(path string) error { return os.Mkdir(path, 0o700) },
		"group writable": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o620)) },
		"hard link": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Link(path, path+".other"))
		},
	} {
		path := filepath.Join(t.TempDir(), "lock")
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		if f, err := OpenLockFile(path); err == nil {
			f.Close()
			t.Errorf("OpenLockFile of a %s succeeded", name)
		}
	}
	path := filepath.Join(t.TempDir(), "lock")
	first, second := openLock(t, path), openLock(t, path)
	a, err1 := first.Stat()
	b, err2 := second.Stat()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(a, b) || a.Mode() != 0o600 {
		t.Errorf("OpenLockFile twice: same file %t, mode %v", os.SameFile(a, b), a.Mode())
	}
}

func TestLockFile(t *testing.T) {
	const nobodyHasThis = 4_000_000_000 >> 1
	got, err := LockFile(nobodyHasThis, 100000)
	if want := "/tmp/soulbox-ids-" + strconv.Itoa(nobodyHasThis) + "-100000.lock"; err != nil || got != want {
		t.Errorf("LockFile = %q, %v; want %q", got, err, want)
	}
}

// TestIDPoolResetKeeps gives back what an earlier daemon locked, but for what was adopted.
func TestIDPoolResetKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ids.lock")
	supervisor := openLock(t, path)
	earlier := NewIDPool(supervisor, 4)
	for k := range 4 {
		acquire(t, earlier, k)
	}
	next, other := NewIDPool(supervisor, 4), NewIDPool(openLock(t, path), 4)
	for _, k := range []int{1, 3} {
		if err := next.Adopt(Block{Index: k}); err != nil {
			t.Fatal(err)
		}
	}
	if err := next.Reset(Block{Index: 1}, Block{Index: 3}); err != nil {
		t.Fatal(err)
	}
	if next.InUse() != 2 {
		t.Errorf("InUse after Reset = %d, want the two that were kept", next.InUse())
	}
	acquire(t, other, 0)
	acquire(t, other, 2)
	exhausted(t, other)
	if err := next.Release(Block{Index: 3}); err != nil {
		t.Fatal(err)
	}
	acquire(t, other, 3)
	exhausted(t, next)
}
