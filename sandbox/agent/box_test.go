package agent_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/client"
)

const (
	boxEnv  = "SOULBOX_TEST_BOX" // the directory of the sandbox that this process becomes
	idBase  = 300000             // host id of the test sandbox's root
	progID  = 1000
	launchr = 1031
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(boxEnv); dir != "" {
		fmt.Fprintln(os.Stderr, "become a sandbox:", becomeBox(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
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

// becomeBox makes the file system of a sandbox below dir and executes the agent as a runtime would.
func becomeBox(dir string) error {
	root := filepath.Join(dir, "root")
	bind := func(from, to string) error {
		return mountAt(from, filepath.Join(root, to), "", unix.MS_BIND|unix.MS_REC)
	}
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return mountAt("tmpfs", root, "tmpfs", 0) },
		func() error { return bind("/usr", "usr") },
		func() error { return mountAt("tmpfs", filepath.Join(root, "dev"), "tmpfs", unix.MS_NOSUID) },
		func() error { return bindDevices(root) },
		func() error { return mountAt("proc", filepath.Join(root, "proc"), "proc", 0) },
		func() error { return bind(filepath.Join(dir, "soul"), ".soul") },
		func() error { return bind(filepath.Join(dir, "soulbin"), ".soulbin") },
		func() error {
			for _, d := range []string{"work", "tmp", "sys", "etc"} {
				if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
					return err
				}
			}
			for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
				if err := os.Symlink("usr/"+d, filepath.Join(root, d)); err != nil {
					return err
				}
			}
			const passwd = "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"
			return errors.Join(os.WriteFile(filepath.Join(root, "etc/secret"), []byte("secret"), 0o600),
				os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(passwd), 0o644))
		},
		func() error { return os.Chdir(root) },
		func() error { return unix.PivotRoot(".", ".") },
		func() error { return unix.Unmount(".", unix.MNT_DETACH) },
		keepCapabilities,
	}
	runtime.LockOSThread()
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return syscall.Exec("/.soulbin/agent", []string{"/.soulbin/agent", "--dir", "/.soul"}, []string{"GOCOVERDIR=/.soul"})
}

func bindDevices(root string) error {
	if err := os.Chmod(filepath.Join(root, "dev"), 0o755); err != nil {
		return err
	}
	for _, d := range []string{"null", "zero", "urandom"} {
		to := filepath.Join(root, "dev", d)
		if err := errors.Join(os.WriteFile(to, nil, 0o600), unix.Mount("/dev/"+d, to, "", unix.MS_BIND, "")); err != nil {
			return err
		}
	}
	return errors.Join(os.Symlink("/proc/self/fd", filepath.Join(root, "dev/fd")),
		os.Symlink("/proc/self/fd/1", filepath.Join(root, "dev/stdout")))
}

// keepCapabilities leaves those that an agent is given.
func keepCapabilities() error {
	keep := map[uintptr]bool{unix.CAP_SYS_ADMIN: true, unix.CAP_SETUID: true, unix.CAP_SETGID: true, unix.CAP_KILL: true,
		unix.CAP_CHOWN: true, unix.CAP_DAC_OVERRIDE: true, unix.CAP_FOWNER: true, unix.CAP_FSETID: true,
		unix.CAP_SETPCAP: true, unix.CAP_SYS_PTRACE: true, unix.CAP_SETFCAP: true,
		unix.CAP_NET_BIND_SERVICE: true, unix.CAP_SYS_CHROOT: true, unix.CAP_AUDIT_WRITE: true}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if keep[c] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return nil
}

func mountAt(from, to, fstype string, flags uintptr) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return os.NewSyscallError("mount "+to, unix.Mount(from, to, fstype, flags, ""))
}

// build builds the agent and the launcher into dir.
func build(t testing.TB, dir string) {
	t.Helper()
	for _, argv := range [][]string{
		{"go", "build", "-cover", "-covermode=atomic", "-buildvcs=false", "-o", filepath.Join(dir, "agent"), "../../cmd/soulbox-agent"},
		{"musl-gcc", "-static", "-Os", "-Wall", "-Wextra", "-Werror", "-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu",
			"-o", filepath.Join(dir, "launcher"), "launcher/launcher.c"},
	} {
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
}

// startBox starts a sandbox whose agent is ready and ends it with the test.
func startBox(t testing.TB) *client.Client {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t, fmt.Errorf("making a sandbox needs root: %w", errors.ErrUnsupported))
	}
	if _, err := exec.LookPath("musl-gcc"); err != nil {
		need(t, fmt.Errorf("building the launcher needs musl-gcc: %w", errors.ErrUnsupported))
	}
	dir, err := os.MkdirTemp("", "soulbox-agent-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	soul, bin := filepath.Join(dir, "soul"), filepath.Join(dir, "soulbin")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, idBase, idBase), os.Mkdir(soul, 0o700), os.Mkdir(bin, 0o755),
		os.Chown(soul, idBase, idBase)); err != nil {
		t.Fatal(err)
	}
	build(t, bin)
	self, err := os.ReadFile("/proc/self/exe")
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "box"), self, 0o755)); err != nil {
		t.Fatal(err)
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: idBase, Size: 65536}}
	cmd := exec.Command(filepath.Join(dir, "box"))
	cmd.Env = []string{boxEnv + "=" + dir}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
			unix.CLONE_NEWUTS,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start sandbox: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	fd, err := unix.Open(soul, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	channel := os.NewFile(uintptr(fd), soul)
	t.Cleanup(func() { _ = channel.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, channel)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() {
		keepCoverage(t, c)
		_ = c.Close()
	})
	return c
}

// keepCoverage adds what the agent counted to what the test counts, where that is kept.
func keepCoverage(t testing.TB, c *client.Client) {
	t.Helper()
	dir := flag.Lookup("test.gocoverdir")
	if dir == nil || dir.Value.String() == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	meta, counters, err := c.Coverage(ctx)
	if err != nil {
		t.Log("the agent's coverage is lost:", err) // its test may have ended it
		return
	}
	const hashAt, hashLen = 24, 16 // internal/coverage.MetaFileHeader: magic, version, length, entries, hash
	hash := fmt.Sprintf("%x", meta[hashAt:hashAt+hashLen])
	name := fmt.Sprintf("covcounters.%s.%d.%d", hash, os.Getpid(), time.Now().UnixNano())
	for name, b := range map[string][]byte{"covmeta." + hash: meta, name: counters} {
		if err := os.WriteFile(filepath.Join(dir.Value.String(), name), b, 0o600); err != nil {
			t.Error(err)
		}
	}
}

func spec() client.SlotSpec {
	return client.SlotSpec{Hostname: "sandbox", UID: progID, GID: progID, LauncherID: launchr, Hide: []string{"/.soul", "/.soulbin"}}
}

func prepare(t testing.TB, c *client.Client, cgroups ...*os.File) *client.Slot {
	t.Helper()
	s, err := c.Prepare(t.Context(), spec(), cgroups)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func command(args ...string) client.Command {
	return client.Command{Args: args, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/work", DiskBytes: 1 << 20, Inodes: 100, OutputBytes: 1 << 20}
}

// result is what a run delivered.
type result struct {
	client.Exit
	out, err string
}

func run(t testing.TB, s *client.Slot, cmd client.Command) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var r result
	exit, err := s.Run(ctx, cmd, func(e client.Event) { r.out += string(e.Stdout); r.err += string(e.Stderr) })
	if err != nil {
		t.Fatalf("Run(%.200q): %v", cmd.Args, err)
	}
	r.Exit = exit
	return r
}

func sh(t testing.TB, c *client.Client, script string) result {
	t.Helper()
	return run(t, prepare(t, c), command("sh", "-c", script))
}
