package wide

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// outerName makes the test's executable call Run, as soulbox does.
const outerName = "wide-test-outer"

// rangeVariable names the first subordinate id of a test user that has none in /etc/subuid.
const rangeVariable = "WIDE_TEST_RANGE"

func TestMain(m *testing.M) {
	switch os.Args[0] {
	case outerName:
		os.Exit(testOuter())
	case InnerName:
		os.Exit(Inner(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	case DaemonName:
		os.Exit(testDaemon())
	}
	os.Exit(m.Run())
}

// testOuter runs the wide namespace with the state directory os.Args[1].
func testOuter() int {
	r, err := Subordinate(os.Getuid())
	if base, aerr := strconv.Atoi(os.Getenv(rangeVariable)); aerr == nil {
		r, err = Range{UIDBase: uint32(base), GIDBase: uint32(base), Count: 65536}, nil
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(os.Args[1]), "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status, err := Run(context.Background(), Options{Args: os.Args[2:], StateDir: os.Args[1], Range: r, Lock: lock, Listen: testListeners, Restart: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return status
}

// testListeners opens two sockets, the second in a file.
func testListeners() ([]*os.File, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tcp, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	if l, err = net.Listen("unix", filepath.Join(os.Args[1], "socket")); err != nil {
		return nil, err
	}
	file, err := l.(*net.UnixListener).File()
	return []*os.File{tcp, file}, err
}

// testDaemon tells what it sees, starts a grandchild that outlives it, and does what its standard input says.
func testDaemon() int {
	handOver := make(chan os.Signal, 1)
	signal.Notify(handOver, HandOver)
	s, err := Daemon()
	if err != nil || s == nil {
		fmt.Println("error", err)
		return 3
	}
	maps, _ := os.ReadFile("/proc/self/uid_map")
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		fmt.Println("error", err)
		return 3
	}
	if err := os.WriteFile(filepath.Join(s.RunDir, "file"), nil, 0o600); s.Generation == 1 && err != nil {
		fmt.Println("error", err)
		return 3
	}
	exe, _ := os.Readlink("/proc/self/exe")
	fmt.Printf("daemon gen=%d exe=%s pid=%d ppid=%d uid=%d sleep=%d listener=%v run=%s maps=%q\n", s.Generation, exe, os.Getpid(), os.Getppid(), os.Getuid(),
		child.Process.Pid, len(s.Listeners) == 2 && s.Listeners[1].Addr().Network() == "unix", s.RunDir, strings.Join(strings.Fields(string(maps)), " "))
	go func() {
		<-handOver
		os.Exit(0)
	}()
	if err := s.Ready(); err != nil {
		fmt.Println("error", err)
		return 3
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "die":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "exit 7":
			return 7
		}
	}
	select {}
}

// supervised is a supervisor under test.
type supervised struct {
	cmd   *exec.Cmd
	in    *os.File
	lines chan string
}

func start(t *testing.T, stateDir string) *supervised {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{outerName, stateDir}
	return startCommand(t, cmd)
}

func startCommand(t *testing.T, cmd *exec.Cmd) *supervised {
	t.Helper()
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	or, ow, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &supervised{cmd: cmd, in: pw, lines: make(chan string, 100)}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = pr, ow, ow
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pr.Close()
	ow.Close()
	go func() {
		defer close(s.lines)
		sc := bufio.NewScanner(or)
		for sc.Scan() {
			s.lines <- sc.Text()
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		for range s.lines { // the pipe's end means that every process of the namespace is gone
		}
		pw.Close()
		or.Close()
	})
	return s
}

// expect returns the next line that begins with prefix.
func (s *supervised) expect(t *testing.T, prefix string) string {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case l, ok := <-s.lines:
			if !ok {
				t.Fatalf("output ended before a line %q", prefix)
			}
			t.Log(l)
			if strings.HasPrefix(l, prefix) {
				return l
			}
		case <-timeout:
			t.Fatalf("no line %q within 30 s", prefix)
		}
	}
}

func TestDaemonIsRestarted(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "state"))
	l := s.expect(t, "daemon gen=1")
	if !strings.Contains(l, "ppid=1 uid=0") || !strings.Contains(l, "listener=true") {
		t.Errorf("daemon sees %q", l)
	}
	fmt.Fprintln(s.in, "die")
	s.expect(t, "daemon gen=2")
	fmt.Fprintln(s.in, "exit 7")
	if err := s.cmd.Wait(); err == nil || s.cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("supervisor ended with %v, want the daemon's status 7", s.cmd.ProcessState)
	}
}

func TestKilledSupervisorTakesEverythingWithIt(t *testing.T) {
	for _, victim := range []string{"outer", "inner"} {
		t.Run(victim, func(t *testing.T) {
			s := start(t, filepath.Join(t.TempDir(), "state"))
			s.expect(t, "daemon gen=1")
			pid := s.cmd.Process.Pid
			if victim == "inner" {
				pid = childOf(t, pid)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			timeout := time.After(30 * time.Second)
			for { // daemon and grandchild hold the output pipe: it ends when all are gone
				select {
				case _, ok := <-s.lines:
					if !ok {
						return
					}
				case <-timeout:
					t.Fatal("processes of the namespace live on")
				}
			}
		})
	}
}

func childOf(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return n
		}
	}
	t.Fatalf("no child of %d", pid)
	return 0
}

func TestStateDirectoryIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	r := Range{UIDBase: 100000, GIDBase: 100000, Count: 65536}
	f, err := openState(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openState(dir, r); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second supervisor: %v, want in use", err)
	}
	f.Close()
	r.UIDBase++
	if _, err := openState(dir, r); err == nil || !strings.Contains(err.Error(), "belongs to ids") {
		t.Errorf("other ids: %v, want refused", err)
	}
	if _, err := openState("relative", r); err == nil {
		t.Error("relative state directory was taken")
	}
}

// TestCapabilitiesAreDropped starts with what a unit's AmbientCapabilities give a plain user: outer writes the maps
// itself, without newuidmap, and keeps none of them in any thread.
func TestCapabilitiesAreDropped(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("a plain user has no capabilities to drop; root's run tests it")
		return
	}
	dir, err := os.MkdirTemp("", "wide-test-") // where another user gets at it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const uid = 65534
	exe := filepath.Join(dir, "exe")
	build := exec.Command("go", "test", "-c", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as soulbox is built: with cgo Go cannot change all threads
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build without cgo: %v: %s", err, out)
	}
	for _, err := range []error{os.Chmod(exe, 0o755), os.Chmod(dir, 0o755), os.Chown(dir, uid, uid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{outerName, filepath.Join(dir, "state")}
	cmd.Env = append(os.Environ(), rangeVariable+"=700000000")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: uid, Gid: uid},
		AmbientCaps: []uintptr{unix.CAP_SETUID, unix.CAP_SETGID},
	}
	s := startCommand(t, cmd)
	s.expect(t, "daemon gen=1")
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{"CapEff", "CapPrm", "CapAmb"} {
			if !strings.Contains(string(b), set+":\t0000000000000000\n") {
				t.Errorf("%s: %s is not empty:\n%s", task, set, b)
			}
		}
	}
}

func TestLargestSpan(t *testing.T) {
	for _, c := range []struct {
		in           string
		first, count uint64
	}{
		{"", 0, 0},
		{"soul:100000:65536\n", 100000, 65536},
		{"other:100000:65536\nsoul:165536:65536\n", 165536, 65536},
		{"soul:1:10\nsoul:200000:70000\nsoul:300000:70000\n", 200000, 70000},
		{"1000:300000:65536\n", 300000, 65536},
		{"soul:x:65536\nsoul:1\nsoul:-1:5\n", 0, 0},
		{"soul:4294901759:65536\n", 4294901759, 65536},
		{"soul:4294901760:65536\n", 0, 0}, // its last id would be the one that means none
		{"soul:0:65536\n", 0, 0},
		{"soul:0:65536\nsoul:100000:2000\n", 100000, 2000},
	} {
		spans, err := parseSpans(strings.NewReader(c.in))
		if got := largest(spans, "soul", 1000); err != nil || got.first != c.first || got.count != c.count {
			t.Errorf("largest of %q = %+v, %v, want %d, %d", c.in, got, err, c.first, c.count)
		}
	}
}

func TestFreeSpan(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
	}{
		{"", 100000},
		{"a:100000:65536\n", 165536},
		{"b:165536:65536\na:100000:65536\n", 231072},
		{"a:100000:65536\nb:300000:65536\n", 165536}, // between them
		{"a:100000:65536\nb:200000:65536\n", 265536}, // too little between them
		{"a:1:65536\nb:150000:10\n", 150010},
		{"a:700000000:65536\n", 100000},
		{"a:100000:1000000\nb:200000:1\n", 1100000},
		{"a:100000:0\n", 100000},
	} {
		spans, err := parseSpans(strings.NewReader(c.in))
		if got := free(spans); err != nil || got != c.want {
			t.Errorf("free beside %q = %d, %v, want %d", c.in, got, err, c.want)
		}
	}
}

func TestGrant(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"soul", "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 soul"},
		{"1000", "echo 1000:165536:65536 | tee -a /etc/subuid >>/etc/subgid"},
	} {
		if got := grant(c.name, 1000, 165536); got != c.want {
			t.Errorf("grant(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}
