package seccomp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childTask, in the environment, makes the test binary a child that installs the filter in
// descriptor 3 and then does what the variable says.
const childTask = "SOULBOX_SECCOMP_TEST"

// nobody is the id that programs run with when the tests run as root.
const nobody = 65534

// try is a call and what is expected of it.
type try struct {
	Name   string
	Number uint32
	Args   [6]uint64
	Want   syscall.Errno // 0: the call succeeds
}

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childTask) {
	case "":
		os.Exit(m.Run())
	case "exec":
		err = execFiltered(os.Args[1:])
	case "try":
		err = tryFiltered(os.Stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	os.Exit(0)
}

// installInherited installs the filter that lies in descriptor 3 and makes sure that it is in force.
func installInherited() error {
	file := os.NewFile(3, "filter")
	filter, err := io.ReadAll(file)
	if err != nil {
		return fmt.Errorf("read filter: %w", err)
	}
	if err := errors.Join(file.Close(), install(filter)); err != nil {
		return err
	}
	// A kernel without the filter succeeds in this.
	if errno := call(unix.SYS_PERSONALITY, [6]uint64{0x20000}); errno != syscall.EPERM {
		return fmt.Errorf("the filter is not in force: personality(UNAME26) = %w, want EPERM", errno)
	}
	return nil
}

// execFiltered becomes the program args[0] under the filter, with no rights.
func execFiltered(args []string) error {
	if err := installInherited(); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return fmt.Errorf("become nobody: %w", err)
		}
	}
	if err := os.Unsetenv(childTask); err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", args[0], syscall.Exec(args[0], args, os.Environ()))
}

// tryFiltered makes the calls that it reads and reports those that end otherwise.
func tryFiltered(r io.Reader) error {
	var tries []try
	if err := json.NewDecoder(r).Decode(&tries); err != nil {
		return fmt.Errorf("read calls: %w", err)
	}
	if err := installInherited(); err != nil {
		return err
	}
	var errs []error
	for _, t := range tries {
		if got := call(t.Number, t.Args); got != t.Want {
			errs = append(errs, fmt.Errorf("%s: call %d with %#x = %d (%w), want %d (%w)", t.Name, t.Number, t.Args, int(got), got, int(t.Want), t.Want))
		}
	}
	return errors.Join(errs...)
}

// child returns a command that runs this test binary under p's filter.
func child(ctx context.Context, t *testing.T, p Profile, task string, args ...string) *exec.Cmd {
	t.Helper()
	filter := compiled(t, p)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if _, err := w.Write(filter); err != nil { // less than a pipe holds
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(ctx, self, args...)
	c.Env = []string{childTask + "=" + task}
	c.ExtraFiles = []*os.File{r}
	return c
}

// runTries makes calls in a child under p's filter.
func runTries(t *testing.T, p Profile, tries []try) ([]byte, error) {
	t.Helper()
	in, err := json.Marshal(tries)
	if err != nil {
		t.Fatal(err)
	}
	c := child(t.Context(), t, p, "try")
	c.Stdin = bytes.NewReader(in)
	return c.CombinedOutput()
}

// TestRefusedForReal makes every call that a profile refuses whatever its arguments are, with arguments that are wrong
// for all of them: without the filter the kernel would complain about these.
func TestRefusedForReal(t *testing.T) {
	wrong := [6]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	for _, p := range []Profile{Program(), Session(), Agent()} {
		calls, err := Calls(runtime.GOARCH)
		if err != nil {
			t.Fatal(err)
		}
		tries := []try{{"unnamed", calls[len(calls)-1].Number + 1, wrong, syscall.ENOSYS}}
		for _, c := range calls {
			r, _ := p.Rule(c.Name)
			if errno, refused := r.Action.Errno(); refused && len(r.When) == 0 {
				tries = append(tries, try{c.Name, c.Number, wrong, errno})
			}
		}
		if out, err := runTries(t, p, tries); err != nil {
			t.Errorf("%s: %v\n%s", p.Name, err, out)
		}
		t.Logf("%s: %d calls tried", p.Name, len(tries))
	}
}

// TestConditionsForReal tries both sides of the rules with conditions.
func TestConditionsForReal(t *testing.T) {
	const eperm = syscall.EPERM
	bad := ^uint64(0) // no descriptor
	common := []try{
		{"stream", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC}, 0},
		{"packets between processes", unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET}, 0},
		{"route netlink", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, 0},
		{"audit netlink", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, eperm},
		{"raw", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, eperm},
		{"packet", unix.SYS_SOCKET, [6]uint64{unix.AF_PACKET, unix.SOCK_DGRAM}, eperm},
		{"vsock", unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, eperm},
		{"alg", unix.SYS_SOCKET, [6]uint64{unix.AF_ALG, unix.SOCK_SEQPACKET}, eperm},
		{"upper half", unix.SYS_SOCKET, [6]uint64{1<<32 | unix.AF_ALG, unix.SOCK_SEQPACKET}, eperm},
		{"pair of TIPC", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_TIPC, unix.SOCK_STREAM}, eperm},
		{"TIOCSTI", unix.SYS_IOCTL, [6]uint64{bad, unix.TIOCSTI}, eperm},
		{"TIOCSTI with an upper half", unix.SYS_IOCTL, [6]uint64{bad, 1<<32 | unix.TIOCSTI}, eperm},
		{"TIOCLINUX", unix.SYS_IOCTL, [6]uint64{bad, unix.TIOCLINUX}, eperm},
		{"TCGETS", unix.SYS_IOCTL, [6]uint64{bad, unix.TCGETS}, syscall.EBADF},
		{"query of personality", unix.SYS_PERSONALITY, [6]uint64{low}, 0},
		{"READ_IMPLIES_EXEC", unix.SYS_PERSONALITY, [6]uint64{0x400000}, eperm},
		{"device", unix.SYS_MKNODAT, [6]uint64{bad, 0, unix.S_IFCHR | 0o600}, eperm},
		{"fifo without a name", unix.SYS_MKNODAT, [6]uint64{bad, 0, unix.S_IFIFO | 0o600}, syscall.EFAULT},
		// The kernel refuses CLONE_FS beside a new user namespace with EINVAL, so that none of these forks.
		{"clone of a user namespace", unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWUSER | unix.CLONE_FS}, eperm},
	}
	// EINVAL: the flags contradict each other, but the filter let them through.
	mountNamespace := [6]uint64{unix.CLONE_NEWNS | unix.CLONE_FS}
	for _, test := range []struct {
		profile Profile
		own     []try
	}{
		{Program(), []try{{"clone of a mount namespace", unix.SYS_CLONE, mountNamespace, eperm}}},
		{Agent(), []try{
			{"clone of a mount namespace", unix.SYS_CLONE, mountNamespace, syscall.EINVAL},
			{"unshare user namespace", unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWUSER}, eperm},
			{"unshare without flags", unix.SYS_UNSHARE, [6]uint64{}, 0},
			{"mount of nothing", unix.SYS_UMOUNT2, [6]uint64{0, 0xffff}, syscall.EINVAL},
		}},
	} {
		if out, err := runTries(t, test.profile, append(test.own, common...)); err != nil {
			t.Errorf("%s: %v\n%s", test.profile.Name, err, out)
		}
	}
}

// TestForeignConventionKills makes an x32 call, which a kernel without x32 would answer with ENOSYS.
func TestForeignConventionKills(t *testing.T) {
	a, err := findArch(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if a.x32 == 0 {
		need(t, fmt.Errorf("a second calling convention on %s: %w", runtime.GOARCH, errors.ErrUnsupported))
	}
	out, err := runTries(t, Program(), []try{{"getpid of x32", a.x32 + unix.SYS_GETPID, [6]uint64{}, 0}})
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatalf("x32 getpid: got %v, want SIGSYS\n%s", err, out)
	}
	if status := exit.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGSYS {
		t.Errorf("x32 getpid: got %v, want SIGSYS\n%s", err, out)
	}
}
