package sandboxtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// undefendedName is argv[0] of PID 1 of an undefended run.
const undefendedName = "soulbox-undefended"

// What bounds an undefended run, beside its namespaces: it must never harm the host of the tests.
const (
	undefendedTime   = time.Minute
	undefendedMemory = 1 << 30
	undefendedPids   = 1500
	undefendedDisk   = "size=192m,nr_inodes=40000,mode=1777"
)

// undefended is a run of an attack without a sandbox: as an unprivileged user, or as root of a user namespace, beside a
// process of the same user.
type undefended struct {
	Files   map[string]string // in /tmp/attack
	Attack  []string          // its command, in the language of the shell when C has to be compiled
	Victim  []string          // empty: none
	Paths   []string          // what a careless server reads afterwards
	UID     int
	Listen  [][2]string // what the host would: network and address
	Cgroups int         // descriptors of cgroup.procs, from 3 on
}

// undefendedResult is what came of it.
type undefendedResult struct{ Stdout, Stderr, Victim, VictimStderr, End, VictimEnd, Err string }

// host is what attacks are told of the machine that the tests run on: where it listens, a file that everybody there may
// read, and its name.
type host struct{ port, abstract, secret, name string }

// metadata is the address at which clouds tell machines their secrets.
const metadata = "169.254.169.254"

// hostOf listens outside of sandboxes on a port and on an abstract socket, and leaves a file for everybody.
func hostOf(t *testing.T, p *sandboxtest.Parts) host {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	h := host{abstract: "soulbox-test-" + strconv.Itoa(os.Getpid()), secret: filepath.Join(p.RunDir, "secret")}
	if _, h.port, err = net.SplitHostPort(listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	unixListener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", "@"+h.abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unixListener.Close() })
	if err := os.WriteFile(h.secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(h.secret) })
	if h.name, err = os.Hostname(); err != nil {
		t.Fatal(err)
	}
	return h
}

// args are the arguments of every attack: where it runs, as whom, the process to attack, and what there is of the host.
func (h host) args(confinement, user, target string) []string {
	return []string{confinement, user, target, h.port, h.abstract, h.secret, h.name}
}

// undefended runs the attack outside of a sandbox and returns what it achieves.
func (a attack) undefended(t *testing.T, p *sandboxtest.Parts, h host) string {
	t.Helper()
	r := undefended{Files: map[string]string{}, UID: 1000, Listen: [][2]string{
		{"tcp", "127.0.0.1:" + h.port}, {"tcp", metadata + ":80"}, {"unix", "@" + h.abstract}, {"unix", "/run/docker.sock"}}}
	user := a.as[0]
	if user != "user" {
		r.UID = 0
	}
	command := func(section string) []string {
		language, code := a.program(t, section)
		// The target's pid is not known yet; PID 1 puts it in.
		args := h.args("undefended", user, targetMark)
		if language == "python" {
			r.Files[section+".py"] = code
			return append([]string{"python3", section + ".py"}, args...)
		}
		r.Files[section+".c"] = code
		return append([]string{"sh", "-c", `cc -O1 -pthread -o "$0" "$0.c" && exec "./$0" "$@"`, section}, args...)
	}
	r.Attack = command("attack")
	if a.victim() {
		r.Victim = command("victim")
	}
	r.Paths = strings.Fields(a.sections["paths"])
	got := runUndefended(t, p, r)
	logOutput(t, "attack", []byte(got.Stderr))
	logOutput(t, "victim", []byte(got.VictimStderr))
	if got.Err != "" {
		t.Fatal(got.Err)
	}
	return outcome(got.Stdout, got.End) + lines("the next one: ", outcome(got.Victim, got.VictimEnd))
}

// runUndefended starts PID 1 of throw-away namespaces, in a cgroup of its own where there is one.
func runUndefended(t *testing.T, p *sandboxtest.Parts, r undefended) undefendedResult {
	t.Helper()
	box, err := p.Cgroups.Box(fmt.Sprintf("undefended-%d", time.Now().UnixNano()), cgroups.Limits{Memory: undefendedMemory, Pids: undefendedPids})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	})
	slot, err := box.Slot("all")
	if err != nil {
		t.Fatal(err)
	}
	procs, err := slot.Procs()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, f := range procs {
			f.Close()
		}
	}()
	r.Cgroups = len(procs)
	in, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args = []string{undefendedName}
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8", "HOME=/tmp/attack"}
	cmd.Stdin = bytes.NewReader(in)
	cmd.ExtraFiles = procs
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 40_000, Size: 2000}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL,
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("undefended run: %v; %s", err, stderr.String())
	}
	var result undefendedResult
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		t.Fatalf("undefended run answered %q: %v", stdout.String(), err)
	}
	return result
}

// targetMark stands for the pid of a process of the same user.
const targetMark = "TARGET"

// undefendedMain is PID 1 of an undefended run. Its end ends everything there.
func undefendedMain() int {
	var r undefended
	var result undefendedResult
	err := json.NewDecoder(os.Stdin).Decode(&r)
	if err == nil {
		err = r.enclose()
	}
	if err == nil {
		err = r.run(&result)
	}
	if err != nil {
		result.Err = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return 1
	}
	return 0
}

// enclose makes what is writable throw-away, brings loopback up, and sets limits.
func (r undefended) enclose() error {
	for i := range r.Cgroups {
		if _, err := os.NewFile(uintptr(3+i), "cgroup.procs").WriteString("0"); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep descriptors: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run"} {
		if err := unix.Mount("undefended", dir, "tmpfs", unix.MS_NODEV, undefendedDisk); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	if err := loopback(); err != nil {
		return err
	}
	for _, l := range r.Listen {
		listener, err := net.Listen(l[0], l[1])
		if err != nil {
			return err
		}
		if u, ok := listener.(*net.UnixListener); ok && l[1][0] == '/' {
			u.SetUnlinkOnClose(false)
			if err := os.Chmod(l[1], 0o666); err != nil {
				return err
			}
		}
	}
	for resource, n := range map[int]uint64{
		unix.RLIMIT_NPROC: undefendedPids, unix.RLIMIT_FSIZE: 256 << 20, unix.RLIMIT_NOFILE: 20_000, unix.RLIMIT_CPU: 40, unix.RLIMIT_CORE: 16 << 20,
	} {
		var was unix.Rlimit
		if err := unix.Getrlimit(resource, &was); err != nil {
			return fmt.Errorf("read limit %d: %w", resource, err)
		}
		n = min(n, was.Max)
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("set limit %d: %w", resource, err)
		}
	}
	if err := os.Mkdir("/tmp/attack", 0o755); err != nil {
		return err
	}
	for name, text := range r.Files {
		if err := os.WriteFile(filepath.Join("/tmp/attack", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.Chown("/tmp/attack", r.UID, r.UID)
}

// loopback brings the only interface up, and gives it the metadata service's address too.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket for loopback: %w", err)
	}
	defer unix.Close(s)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, up); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	address, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := address.SetInet4Addr(net.ParseIP(metadata).To4()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCSIFADDR, address); err != nil {
		return fmt.Errorf("give loopback %s: %w", metadata, err)
	}
	return nil
}

// command is one of r's as its user, in a session and a process group of its own.
func (r undefended) command(args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/tmp/attack"
	cmd.Env = append(os.Environ(), "SOULBOX_API_KEY=secret") // careless, as its parent is: it leaves a directory open as well
	if root, err := os.Open("/etc"); err == nil {
		cmd.ExtraFiles = []*os.File{root}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(r.UID), Gid: uint32(r.UID)}}
	cmd.WaitDelay = time.Second
	return cmd
}

// run starts a process to attack, the attack, and once that holds what it wants, its victim.
func (r undefended) run(out *undefendedResult) error {
	target := r.command([]string{"sleep", "1000"})
	if err := target.Start(); err != nil {
		return fmt.Errorf("start the target: %w", err)
	}
	replace := func(args []string) []string {
		return strings.Split(strings.ReplaceAll(strings.Join(args, "\x00"), targetMark, strconv.Itoa(target.Process.Pid)), "\x00")
	}
	attack := r.command(replace(r.Attack))
	var stderr, victimStderr bounded
	attack.Stderr = &stderr
	pipe, err := attack.StdoutPipe()
	if err != nil {
		return err
	}
	in, err := attack.StdinPipe() // stays open: some wait there
	if err != nil {
		return err
	}
	defer in.Close()
	if err := attack.Start(); err != nil {
		return fmt.Errorf("start the attack: %w", err)
	}
	timer := time.AfterFunc(undefendedTime, func() { _ = syscall.Kill(-1, syscall.SIGKILL) }) // all but PID 1
	defer timer.Stop()
	var stdout bytes.Buffer
	held := false
	for buf := make([]byte, 1<<16); ; {
		n, err := pipe.Read(buf)
		if stdout.Len() < 1<<20 {
			stdout.Write(buf[:n])
		}
		if err != nil {
			break
		}
		if bytes.HasSuffix(stdout.Bytes(), []byte(holding)) && len(r.Victim) > 0 && !held {
			held = true
			victim := r.command(replace(r.Victim))
			victim.Stderr = &victimStderr
			b, err := victim.Output()
			out.Victim, out.VictimEnd = string(b), cmdEnd(err)
			if errors.Is(err, unix.EAGAIN) {
				out.Victim, out.VictimEnd = "no process for it\n", ""
			}
			_ = syscall.Kill(-attack.Process.Pid, syscall.SIGKILL)
		}
	}
	out.End = cmdEnd(attack.Wait())
	if held {
		out.End = ""
	}
	for _, path := range r.Paths {
		stdout.WriteString(carelessRead(path))
	}
	out.Stdout, out.Stderr, out.VictimStderr = stdout.String(), string(stderr), string(victimStderr)
	return nil
}

// carelessRead reads a file as a server would that thinks nothing of its path.
func carelessRead(path string) string {
	read := make(chan bool, 1)
	go func() {
		f, err := os.Open("/tmp/attack/" + path)
		if err != nil {
			read <- false
			return
		}
		_, err = f.Read(make([]byte, 1<<16))
		read <- err == nil
	}()
	select {
	case ok := <-read:
		if ok {
			return "read " + path + "\n"
		}
		return ""
	case <-time.After(time.Second):
		return "hung at " + path + "\n"
	}
}

// bounded keeps the beginning of what is written to it.
type bounded []byte

func (b *bounded) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), max(0, 64<<10-len(*b)))]...)
	return len(p), nil
}

// cmdEnd says how a process ended, "" when well.
func cmdEnd(err error) string {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return ""
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return sessionEnd(unix.WaitStatus(exit.Sys().(syscall.WaitStatus)))
	}
	return err.Error()
}
