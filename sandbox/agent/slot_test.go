package agent_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// TestPrograms runs one script each in a fresh slot.
func TestPrograms(t *testing.T) {
	c := startBox(t)
	tests := []struct {
		name, script string
		out, err     string
		code         int
		signal       unix.Signal
	}{
		{name: "output", script: "echo a; echo b >&2; exit 3", out: "a\n", err: "b\n", code: 3},
		{name: "signal", script: "kill -SEGV $$", signal: unix.SIGSEGV},
		{name: "identity", script: "id -u; id -g; id -G; pwd; hostname; umask", out: "1000\n1000\n1000\n/work\nsandbox\n0022\n"},
		{name: "no privileges", script: "grep -E '^(Cap...|NoNewPrivs|Sig(Blk|Ign))' /proc/self/status | tr -d '\t' | sort -u",
			out: "CapAmb:0000000000000000\nCapBnd:0000000000000000\nCapEff:0000000000000000\nCapInh:0000000000000000\nCapPrm:0000000000000000\nNoNewPrivs:1\nSigBlk:0000000000000000\nSigIgn:0000000000000000\n"},
		{name: "descriptors", script: "ls /proc/self/fd | wc -l", out: "4\n"}, // and the one of ls
		{name: "own pid namespace", script: "ls /proc | grep -c '^[0-9]'; cat /proc/1/comm", out: "4\nlauncher\n"},
		{name: "session of its own", script: "set -- $(cat /proc/$$/stat); [ $6 = $$ ] && echo yes", out: "yes\n"},
		{name: "channel hidden", script: "ls /.soul /.soulbin 2>&1 | grep -c 'Permission denied'; ls -d /.soul/agent.sock 2>/dev/null; stat -c %a /.soul", out: "2\n0\n"},
		{name: "masks", script: "cat /proc/keys /proc/timer_list; echo x >/proc/sys/kernel/hostname || echo no", out: "no\n", err: "*"},
		{name: "no uid 0 files", script: "cat /etc/secret", err: "*", code: 1},
		{name: "launcher prlimit", script: "prlimit --pid 1 --nofile=1:1 && echo done", err: "*", code: 1},
		{name: "launcher kill", script: "kill -9 1; kill -STOP 1; renice -n 5 -p 1 >/dev/null && echo done; cat /proc/1/environ /proc/1/maps; ls /proc/1/fd /proc/1/cwd/ && echo done; echo end", out: "end\n", err: "*"},
		{name: "mount", script: "mount -t tmpfs x /tmp; umount /.soul; echo end", out: "end\n", err: "*"},
		{name: "shared tmpfs", script: "echo 1 >/tmp/a; echo 2 >/dev/shm/a; echo 3 >a; cat /tmp/a /dev/shm/a /work/a; df --output=target /tmp /work | tail -n 2", out: "1\n2\n3\n/tmp\n/work\n"},
		{name: "reopen stdout", script: "echo x >/dev/stdout", out: "x\n"},
		{name: "stdin empty", script: "cat; echo end", out: "end\n"},
		{name: "background output", script: "(echo child; exec sleep 1000) & sleep 0.2; echo main", out: "child\nmain\n"},
		{name: "core", script: "ulimit -c", out: "0\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := sh(t, c, tt.script)
			if tt.err == "*" {
				r.err = "*"
			}
			type facts struct {
				Out, Err string
				Code     int
				Signal   unix.Signal
			}
			got := facts{r.out, r.err, max(r.Status.ExitStatus(), 0), 0}
			if r.Status.Signaled() {
				got.Signal = r.Status.Signal()
			}
			if diff := cmp.Diff(facts{tt.out, tt.err, tt.code, tt.signal}, got); diff != "" {
				t.Errorf("run %q (-want +got):\n%s\nstderr %q", tt.script, diff, r.err)
			}
			if r.Killed || r.LauncherGone || r.StartErrno != 0 || r.Wall <= 0 || r.MaxRSS <= 0 {
				t.Errorf("run %q = %+v, want started, not killed, with wall time and memory", tt.script, r.Exit)
			}
		})
	}
}

// TestEndKillsAll: what a program leaves behind is dead when Run returns.
func TestEndKillsAll(t *testing.T) {
	c := startBox(t)
	start := time.Now()
	r := sh(t, c, "for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'trap \"\" TERM HUP; (sleep 1000 &) ; exec sleep 1000' &) ; done; sleep 0.1; echo main")
	if r.out != "main\n" || r.Status != 0 {
		t.Errorf("Run = %+v %q, want exit 0 and main", r.Exit, r.out)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Run took %v: the grandchildren held the pipes", d)
	}
	if out := sleepers(t); out != "" {
		t.Errorf("processes left:\n%s", out)
	}
}

// sleepers lists processes of the sandbox's program ids.
func sleepers(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ps", "-o", "pid,args", "-u", fmt.Sprint(idBase+progID), "--no-headers").CombinedOutput()
	if err != nil && len(out) > 0 {
		t.Fatalf("ps: %v", err)
	}
	return string(out)
}

func TestStart(t *testing.T) {
	c := startBox(t)
	tests := []struct {
		name string
		edit func(*client.Command)
		want string
	}{
		{"missing", func(c *client.Command) { c.Args = []string{"/nope"} }, "exec: no such file or directory"},
		{"missing in PATH", func(c *client.Command) { c.Args = []string{"nope"} }, "exec: no such file or directory"},
		{"not executable", func(c *client.Command) { c.Args = []string{"/work/data"} }, "exec: permission denied"},
		{"no format", func(c *client.Command) { c.Args = []string{"/work/empty"} }, "exec: exec format error"},
		{"directory", func(c *client.Command) { c.Dir = "/nope" }, "chdir: no such file or directory"},
		{"directory denied", func(c *client.Command) { c.Dir = "/.soul" }, "chdir: permission denied"},
		{"argument too long", func(c *client.Command) { c.Args = append(c.Args, strings.Repeat("x", 200<<10)) }, "exec: argument list too long"},
		{"fine", func(*client.Command) {}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := prepare(t, c)
			if err := s.WriteFiles(t.Context(), []client.File{{Path: "data"}, {Path: "empty", Content: []byte("junk"), Mode: 0o755}}); err != nil {
				t.Fatal(err)
			}
			cmd := command("true")
			tt.edit(&cmd)
			if got := run(t, s, cmd).StartError(); got != tt.want {
				t.Errorf("StartError() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	c := startBox(t)
	tests := []struct {
		name   string
		script string
		edit   func(*client.Command)
		check  func(result) bool
	}{
		{"output flood", "yes 1234567", func(c *client.Command) { c.OutputBytes = 100_001 }, func(r result) bool {
			return len(r.out) == 100_001 && r.OutputExceeded && r.StdoutTruncated && !r.StderrTruncated && r.Killed
		}},
		{"output exact", "head -c 100001 /dev/zero", func(c *client.Command) { c.OutputBytes = 100_001 }, func(r result) bool {
			return len(r.out) == 100_001 && !r.OutputExceeded && !r.StdoutTruncated && !r.Killed && r.Status == 0
		}},
		{"output on both", "head -c 500 /dev/zero; head -c 501 /dev/zero >&2; sleep 1000", func(c *client.Command) { c.OutputBytes = 1000 }, func(r result) bool {
			return len(r.out)+len(r.err) == 1000 && r.OutputExceeded
		}},
		{"disk", "head -c 2000000 /dev/zero >f", nil, func(r result) bool {
			return r.DiskFull && r.DiskUsed == 1<<20 && r.DiskTotal == 1<<20 && r.Status.ExitStatus() == 1
		}},
		{"disk exact", "head -c 1048576 /dev/zero >f && wc -c <f", nil, func(r result) bool { return r.out == "1048576\n" && r.Status == 0 }},
		{"inodes", "i=0; while echo >f$i; do i=$((i+1)); done 2>/dev/null; echo $i", nil, func(r result) bool {
			return r.out == "100\n" && r.InodesFull && r.InodesUsed == 100 && !r.DiskFull
		}},
		{"rlimit", "ulimit -n; ulimit -Hn", func(c *client.Command) {
			c.Rlimits = []client.Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 32, Hard: 1 << 40}}
		}, func(r result) bool { return strings.HasPrefix(r.out, "32\n") && r.Status == 0 }},
		{"file size", "head -c 2000 /dev/zero >f", func(c *client.Command) {
			c.Rlimits = []client.Rlimit{{Resource: unix.RLIMIT_FSIZE, Soft: 1000, Hard: 1000}}
		}, func(r result) bool { return r.Status.ExitStatus() != 0 }},
		{"polled memory", "head -c 300000000 /dev/zero | tail | wc -c; sleep 1000", func(c *client.Command) { c.PollMemory = 64 << 20 }, func(r result) bool {
			return r.MemoryExceeded && r.Killed && r.PeakPolled > 64<<20
		}},
		{"polled tmpfs", "head -c 50000000 /dev/zero >f; sleep 1000", func(c *client.Command) { c.PollMemory, c.DiskBytes = 32<<20, 64<<20 }, func(r result) bool {
			return r.MemoryExceeded && r.Killed
		}},
		{"polled cpu of the tree", "while :; do :; done & while :; do :; done & wait", func(c *client.Command) { c.PollCPU = 300 * time.Millisecond }, func(r result) bool {
			return r.CPUExceeded && r.Killed && r.TreeUser+r.TreeSystem > 250*time.Millisecond && r.Status.Signaled()
		}},
		{"cpu counted", "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done' & wait", nil, func(r result) bool {
			return r.User > 10*time.Millisecond && r.TreeUser >= r.User
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := command("sh", "-c", tt.script)
			if tt.edit != nil {
				tt.edit(&cmd)
			}
			if r := run(t, prepare(t, c), cmd); !tt.check(r) {
				t.Errorf("run %q = %+v, %d and %d bytes of output %.100q %.100q", tt.script, r.Exit, len(r.out), len(r.err), r.out, r.err)
			}
		})
	}
}

func TestArgsAndStdin(t *testing.T) {
	c := startBox(t)
	cmd := command("sh", "-c", `echo $#`, "sh")
	for range 1 << 10 {
		cmd.Args = append(cmd.Args, strings.Repeat("x", 1<<10))
	}
	if r := run(t, prepare(t, c), cmd); r.out != "1024\n" {
		t.Errorf("1 MiB of arguments: %+v %q, want 1024", r.Exit, r.out)
	}
	cmd = command("md5sum")
	cmd.Stdin = make([]byte, 3<<20)
	if r := run(t, prepare(t, c), cmd); r.out != "d1dd210d6b1312cb342b56d02bd5e651  -\n" {
		t.Errorf("3 MiB of stdin: %+v %q", r.Exit, r.out)
	}
	cmd = command("sh", "-c", "exec <&-; echo ok")
	cmd.Stdin = make([]byte, 3<<20)
	if r := run(t, prepare(t, c), cmd); r.out != "ok\n" || r.Status != 0 {
		t.Errorf("stdin never read: %+v %q, want ok", r.Exit, r.out)
	}
}

func TestKillAndCancel(t *testing.T) {
	c := startBox(t)
	s := prepare(t, c)
	started := make(chan struct{})
	go func() {
		<-started
		if err := s.Kill(context.Background()); err != nil {
			t.Errorf("Kill: %v", err)
		}
	}()
	exit, err := s.Run(t.Context(), command("sh", "-c", "echo up; while :; do :; done"), func(e client.Event) {
		if len(e.Stdout) > 0 {
			close(started)
		}
	})
	if err != nil || !exit.Killed || exit.Status.Signal() != unix.SIGKILL || exit.LauncherGone {
		t.Errorf("Run with Kill = %+v, %v, want killed by SIGKILL with facts", exit, err)
	}

	s = prepare(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	if exit, err = s.Run(ctx, command("sh", "-c", "echo up; exec sleep 1000"), func(client.Event) { cancel() }); err == nil {
		t.Errorf("Run with cancelled context = %+v, want an error", exit)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if out := sleepers(t); out != "" {
		t.Errorf("processes left:\n%s", out)
	}
	if _, err := s.Run(t.Context(), command("true"), nil); err == nil {
		t.Error("Run in a closed slot succeeded")
	}
}

func TestFiles(t *testing.T) {
	c := startBox(t)
	a := prepare(t, c)
	ctx := t.Context()
	for _, p := range []string{"/etc/x", "../x", "a/../../x", "a//b", "", ".", "a/"} {
		if err := a.WriteFiles(ctx, []client.File{{Path: p}}); err == nil {
			t.Errorf("WriteFiles(%q) succeeded", p)
		}
	}
	if err := a.WriteFiles(ctx, []client.File{{Path: "d/e/f", Content: []byte("hello"), Mode: 0o700}, {Path: "g", Content: make([]byte, 9000)}}); err != nil {
		t.Fatalf("WriteFiles: %v", err)
	}
	if err := a.WriteFiles(ctx, []client.File{{Path: "d/e/f"}}); err == nil {
		t.Error("WriteFiles over a file succeeded")
	}
	// What SoulBox wrote is not the program's: it has its whole disk.
	r := run(t, a, command("sh", "-c", `stat -c '%u %a' d d/e/f g; mkfifo p; ln -s /etc/secret l; ln -s /etc el; ln -s d il; mkdir -m 500 ro
		head -c 1000000 /dev/zero >big; truncate -s 1T sparse; echo out >out; chmod 4755 out`))
	if want := "1000 755\n1000 700\n1000 644\n"; r.out != want || r.Status != 0 || r.DiskUsed > 1<<20 {
		t.Errorf("Run = %+v %q %q, want %q", r.Exit, r.out, r.err, want)
	}
	got, err := a.ReadFiles(ctx, []string{"out", "nope", "p", "l", "el/secret", "d", "sparse", "big", "il/e/f"}, 1<<20)
	if err != nil {
		t.Fatalf("ReadFiles: %v", err)
	}
	want := []client.File{{Path: "out", Content: []byte("out\n"), Mode: 0o755}, {Path: "big", Content: make([]byte, 1000000), Mode: 0o644},
		{Path: "il/e/f", Content: []byte("hello"), Mode: 0o700}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ReadFiles (-want +got):\n%.2000s", diff)
	}
	if got, err := a.ReadFiles(ctx, []string{"big", "out"}, 1000); err != nil || len(got) != 1 || got[0].Path != "out" {
		t.Errorf("ReadFiles bounded = %d files, %v, want out alone", len(got), err)
	}
	if _, err := a.ReadFiles(ctx, []string{"../x"}, 1000); err == nil {
		t.Error("ReadFiles(../x) succeeded")
	}

	b := prepare(t, c)
	if err := b.CopyFrom(ctx, a, 4<<20, 1000); err == nil {
		t.Error("CopyFrom with a file of 1 TiB succeeded")
	}
}

func TestCopy(t *testing.T) {
	c := startBox(t)
	ctx := t.Context()
	a, b := prepare(t, c), prepare(t, c)
	r := run(t, a, command("sh", "-c", "mkdir -p d/e; echo x >d/e/f; chmod 750 d/e/f; ln -s /etc/secret l; mkfifo p; head -c 1000000 /dev/zero >big"))
	if r.Status != 0 {
		t.Fatalf("Run = %+v %q", r.Exit, r.err)
	}
	if err := prepare(t, c).CopyFrom(ctx, a, 2<<20, 3); err == nil {
		t.Error("CopyFrom beyond the number of files succeeded")
	}
	if err := b.CopyFrom(ctx, a, 2<<20, 100); err != nil {
		t.Fatalf("CopyFrom: %v", err)
	}
	if err := b.WriteFiles(ctx, []client.File{{Path: "l/x"}}); err == nil {
		t.Error("WriteFiles through a link that leads out succeeded")
	}
	r = run(t, b, command("sh", "-c", "find . -printf '%p %y %m %U\n' | sort; readlink l; head -c 1048576 /dev/zero >mine && echo mine"))
	want := ". d 755 1000\n./big f 644 1000\n./d d 755 1000\n./d/e d 755 1000\n./d/e/f f 750 1000\n./l l 777 1000\n/etc/secret\nmine\n"
	if diff := cmp.Diff(want, r.out); diff != "" {
		t.Errorf("tree after CopyFrom (-want +got):\n%s%s", diff, r.err)
	}
}

// TestSmallMemory: the set-up is not charged to the program.
func TestSmallMemory(t *testing.T) {
	const tree = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(filepath.Join(tree, "memory.limit_in_bytes")); err != nil {
		need(t, fmt.Errorf("limiting memory here needs cgroup v1's memory controller: %w", errors.ErrUnsupported))
	}
	c := startBox(t)
	group := filepath.Join(tree, fmt.Sprintf("soulbox-agent-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(group); err != nil {
			t.Errorf("remove cgroup: %v", err)
		}
	})
	if err := os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), []byte("4194304"), 0o600); err != nil {
		t.Fatal(err)
	}
	procs, err := os.OpenFile(filepath.Join(group, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer procs.Close()

	src, bin := filepath.Join(t.TempDir(), "p.c"), filepath.Join(t.TempDir(), "p")
	program := "#include <stdio.h>\nint main(void){puts(\"small\");return 0;}\n"
	if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("musl-gcc", "-static", "-o", bin, src).CombinedOutput(); err != nil {
		t.Fatalf("musl-gcc: %v\n%s", err, out)
	}
	code, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	s := prepare(t, c, procs)
	if err := s.WriteFiles(t.Context(), []client.File{{Path: "p", Content: code, Mode: 0o755}}); err != nil {
		t.Fatal(err)
	}
	if r := run(t, s, command("./p")); r.out != "small\n" || r.Status != 0 {
		t.Errorf("static program in 4 MiB = %+v %q, want small", r.Exit, r.out)
	}
	peak, _ := os.ReadFile(filepath.Join(group, "memory.max_usage_in_bytes"))
	t.Logf("peak %s", peak)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestFilter: the program's filter is in force in the program.
func TestFilter(t *testing.T) {
	c := startBox(t)
	var filter []byte
	for _, i := range []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_UNAME},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EXDEV)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	} {
		var err error
		if filter, err = binary.Append(filter, binary.NativeEndian, i); err != nil {
			t.Fatal(err)
		}
	}
	sp := spec()
	sp.Filter = filter
	s, err := c.Prepare(t.Context(), sp, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, s, command("sh", "-c", "grep ^Seccomp: /proc/self/status; uname"))
	if want := "Seccomp:\t2\n"; r.out != want || !strings.Contains(r.err, "cross-device") {
		t.Errorf("Run = %+v %q %q, want %q and EXDEV from uname", r.Exit, r.out, r.err, want)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sp.Filter = make([]byte, 8) // no program ends like this
	if s, err = c.Prepare(t.Context(), sp, nil); err != nil {
		t.Fatal(err)
	}
	if r := run(t, s, command("true")); r.StartError() != "seccomp: invalid argument" {
		t.Errorf("StartError with a bad filter = %q, want seccomp: invalid argument", r.StartError())
	}
}

func TestPrepareRefuses(t *testing.T) {
	c := startBox(t)
	for name, edit := range map[string]func(*client.SlotSpec){
		"root":        func(s *client.SlotSpec) { s.UID = 0 },
		"launcher id": func(s *client.SlotSpec) { s.LauncherID = s.UID },
		"hide":        func(s *client.SlotSpec) { s.Hide = []string{"relative"} },
	} {
		sp := spec()
		edit(&sp)
		if _, err := c.Prepare(t.Context(), sp, nil); err == nil {
			t.Errorf("Prepare with bad %s succeeded", name)
		}
	}
	notCgroup, err := os.Open(os.DevNull) // not writable: joining fails
	if err != nil {
		t.Fatal(err)
	}
	defer notCgroup.Close()
	if _, err := c.Prepare(t.Context(), spec(), []*os.File{notCgroup}); err == nil || !strings.Contains(err.Error(), "join cgroup") {
		t.Errorf("Prepare with a bad cgroup = %v, want the launcher's join cgroup", err)
	}
	for range 70 { // no slot is left behind by a failure
		if _, err := c.Prepare(t.Context(), spec(), []*os.File{notCgroup}); err == nil || !strings.Contains(err.Error(), "join cgroup") {
			t.Fatalf("Prepare with a bad cgroup = %v", err)
		}
	}
}

func TestCoverage(t *testing.T) {
	meta, counters, err := startBox(t).Coverage(t.Context())
	if err != nil || len(meta) == 0 || len(counters) == 0 {
		t.Errorf("Coverage = %d, %d bytes, %v", len(meta), len(counters), err)
	}
}

// TestManySlots runs programs side by side and leaves nothing.
func TestManySlots(t *testing.T) {
	c := startBox(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				s, err := c.Prepare(t.Context(), spec(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				var out string
				exit, err := s.Run(t.Context(), command("sh", "-c", "sleep 100 & echo x"), func(e client.Event) { out += string(e.Stdout) })
				if err != nil || exit.Status != 0 || out != "x\n" || exit.Killed {
					t.Errorf("Run = %+v, %v, %q", exit, err, out)
				}
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if out := sleepers(t); out != "" {
		t.Errorf("processes left:\n%s", out)
	}
}

// BenchmarkSlot is a whole slot: prepare, run true, end.
func BenchmarkSlot(b *testing.B) {
	c := startBox(b)
	for b.Loop() {
		s, err := c.Prepare(b.Context(), spec(), nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Run(b.Context(), command("/bin/true"), nil); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
