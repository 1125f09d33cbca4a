package cgroups

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the program that runs in a group: it joins by the descriptors that it got, says "ready" and
// does what its environment says.
const (
	helperEnv = "SOULBOX_CGROUPS_HELPER" // mode and number, "hog 64"
	joinEnv   = "SOULBOX_CGROUPS_JOIN"   // how many descriptors from 3 on to write "0" to
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperEnv); mode != "" {
		os.Exit(helper(mode))
	}
	os.Exit(m.Run())
}

func helper(mode string) int {
	n, _ := strconv.Atoi(os.Getenv(joinEnv))
	for i := range n {
		f := os.NewFile(uintptr(3+i), "cgroup.procs")
		if _, err := f.WriteString("0"); err != nil {
			fmt.Println("join:", err)
			return 2
		}
		f.Close()
	}
	fmt.Println("ready")
	var what string
	var count int
	fmt.Sscan(mode, &what, &count)
	switch what {
	case "open": // a tree and a box, as a daemon in a namespace of its own does
		fmt.Println(openAndUse())
		return 0
	case "hog": // count MiB, touched and held
		var held [][]byte
		for range count {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			held = append(held, b)
		}
		fmt.Println("held", len(held))
	case "fork": // count children that wait
		started := 0
		for range count {
			c := exec.Command("/bin/sleep", "600")
			if err := c.Start(); err != nil {
				break
			}
			started++
		}
		fmt.Println("forked", started)
	case "bomb": // children without end
		for {
			if c := exec.Command("/bin/sleep", "600"); c.Start() != nil {
				continue
			}
		}
	case "spin": // count milliseconds of CPU time
		sum := 0
		for cpuTime() < time.Duration(count)*time.Millisecond {
			for i := range 1_000_000 { // reading the clock can be a system call
				sum += i ^ sum
			}
		}
		if sum == 42 { // so that the loop stays
			return 1
		}
		return 0
	}
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// cpuTime is what this process has used in user mode: on a busy machine less than the time that has passed.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano())
}

// openAndUse does with a tree what a daemon does and returns its mode, or what went wrong.
func openAndUse() string {
	tree, err := Open(Options{Name: "test-" + strings.ToLower(rand.Text()[:10])})
	if err != nil {
		return err.Error()
	}
	ctx := context.Background()
	box, err := tree.Box("box", Limits{Memory: 64 << 20, Pids: 10})
	if err == nil {
		var slot *Group
		if slot, err = box.Slot("s"); err == nil {
			var procs []*os.File
			procs, err = slot.Procs()
			cmd := exec.Command("/bin/sh", "-c", "exec sleep 600")
			err = errors.Join(err, cmd.Start())
			for _, f := range procs {
				_, e := f.WriteString(strconv.Itoa(cmd.Process.Pid))
				err = errors.Join(err, e, f.Close())
			}
			err = errors.Join(err, slot.Kill(ctx))
			cmd.Wait()
		}
		err = errors.Join(err, box.Remove(ctx))
	}
	if err = errors.Join(err, tree.Remove(ctx)); err != nil {
		return err.Error()
	}
	return tree.Mode().String()
}

// child is a helper in a group.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// start runs a helper in g. It has joined when start returns.
func start(t *testing.T, g *Group, mode string) *child {
	t.Helper()
	procs, err := g.Procs()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe)}
	c.cmd.Env = append(os.Environ(), helperEnv+"="+mode, joinEnv+"="+strconv.Itoa(len(procs)), "GOMAXPROCS=1")
	c.cmd.ExtraFiles = procs
	c.cmd.Stderr = os.Stderr
	stdout, err1 := c.cmd.StdoutPipe()
	stdin, err2 := c.cmd.StdinPipe()
	if err := errors.Join(err1, err2, c.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	for _, f := range procs {
		f.Close()
	}
	c.stdin, c.out = stdin, bufio.NewReader(stdout)
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	})
	if got := c.line(t); got != "ready" {
		t.Fatalf("helper %q says %q, want ready", mode, got)
	}
	return c
}

// line returns the helper's next line, "" at its end.
func (c *child) line(t *testing.T) string {
	t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// wait ends the helper's input and returns how it ended.
func (c *child) wait() *os.ProcessState {
	c.stdin.Close()
	io.Copy(io.Discard, c.out)
	c.cmd.Wait()
	return c.cmd.ProcessState
}

// need skips t on hosts that lack a feature. With SOULBOX_CI set it fails instead.
func need(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) && os.Getenv("SOULBOX_CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// openTree needs a host with writable groups: root on cgroup v1, or a delegated unit on v2. The tree is removed at the
// end of t, which fails when anything of it stays.
func openTree(t *testing.T) *Tree {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text()[:10])
	tree, err := Open(Options{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if tree.Mode() == ModeNone {
		need(t, fmt.Errorf("no control groups: %w: %w", tree.Reason(), errors.ErrUnsupported))
	}
	if os.Getenv("SOULBOX_VM") != "" && tree.Mode() != ModeV2 {
		t.Fatalf("mode %v in the test machine, want v2: %v", tree.Mode(), tree.Reason())
	}
	dirs := everywhere(tree)
	t.Cleanup(func() {
		if err := tree.Remove(t.Context()); err != nil {
			t.Error(err)
		}
		for _, dir := range dirs {
			if _, err := os.Lstat(dir); err == nil {
				t.Errorf("%s is still there", dir)
			}
		}
	})
	return tree
}

// everywhere returns the tree's directory in each hierarchy that it or libcontainer may write.
func everywhere(tree *Tree) []string {
	if d, ok := tree.d.(*v1); ok {
		return d.everywhere("")
	}
	return tree.d.dirs("")
}

// openFiles returns what this process has open.
func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			names = append(names, target)
		}
	}
	slices.Sort(names)
	return names
}
