package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/bench"
)

// children lists the processes that pid started and that live.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children") // none: it is gone
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// tree lists pid and all that descend from it.
func tree(pid int) []int {
	pids := []int{pid}
	for _, child := range children(pid) {
		pids = append(pids, tree(child)...)
	}
	return pids
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

// inner is PID 1 of the wide namespace.
func (d *daemon) inner() int {
	d.t.Helper()
	pids := children(d.outer())
	if len(pids) != 1 {
		d.t.Fatalf("the supervisor has the children %v, want one", pids)
	}
	return pids[0]
}

// serving is the pid of the daemon itself, 0 while there is none.
func (d *daemon) serving() int { d.t.Helper(); return childNamed(d.inner(), "soulbox-daemon") }

// helper is the pid of the daemon's helper.
func (d *daemon) helper() int { d.t.Helper(); return childNamed(d.serving(), "soulbox-helper") }

// childNamed is a child's pid, 0 while there is none of that name.
func childNamed(parent int, name string) int {
	for _, pid := range children(parent) {
		if b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); bytes.Equal(b, []byte(name)) || bytes.HasPrefix(b, []byte(name+"\x00")) {
			return pid
		}
	}
	return 0
}

// sleeper starts a program that goes on for long, and returns its id once it runs.
func (d *daemon) sleeper(t *testing.T) string {
	t.Helper()
	a := d.do(t, http.MethodPost, "/v1/executions", object{"language": "python", "code": "import time\ntime.sleep(100)", "wait": false,
		"limits": object{"wallTime": "100s"}})
	a.want(t, http.StatusOK)
	id := decode[result](t, a.Body).ID
	d.eventually("the sleeper runs", answerWait, func() bool { return d.programs() > 0 })
	return id
}

// programs counts the Python programs that run below the daemon.
func (d *daemon) programs() int { return programs(tree(d.outer())) }

// programs counts the Python programs among processes. Under gVisor the host sees their kernels instead.
func programs(pids []int) (n int) {
	for _, pid := range pids {
		if b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); bytes.HasSuffix(b, []byte("\x00main.py\x00")) || bytes.HasPrefix(b, []byte("runsc-sandbox\x00")) {
			n++
		}
	}
	return n
}

// TestKilledDaemonComesBack, killed itself or with its helper, without which it could do nothing.
func TestKilledDaemonComesBack(t *testing.T) {
	t.Run("daemon", func(t *testing.T) { testComesBack(t, (*daemon).serving) })
	t.Run("helper", func(t *testing.T) { testComesBack(t, (*daemon).helper) })
}

func testComesBack(t *testing.T, victim func(*daemon) int) {
	d := startDaemon(t)
	kept := map[string][]byte{}
	for range 3 {
		a := d.do(t, http.MethodPost, "/v1/executions", object{"language": "python", "code": "print('kept')"})
		a.want(t, http.StatusOK)
		kept[decode[result](t, a.Body).ID] = a.Body
	}
	lost := d.sleeper(t)
	old := d.serving()
	if err := syscall.Kill(victim(d), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.eventually("another daemon", startWait, func() bool { pid := d.serving(); return pid != 0 && pid != old })
	d.awaitReady()
	for id, body := range kept {
		if got := d.get(t, "/v1/executions/"+id); string(got) != string(body) {
			t.Errorf("record %s changed:\n%s\n%s", id, body, got)
		}
	}
	if x := d.record(t, lost); x.State != "STATE_DONE" || x.Verdict != "VERDICT_INTERNAL" {
		t.Errorf("in flight when the daemon was killed: %s, %s, want it done and internal", x.State, x.Verdict)
	}
	// The sleeper's sandbox went with its daemon: only the new daemon and what it needs is left.
	d.eventually("the old sandbox is gone", stopWait, func() bool { return d.programs() == 0 })
	if x := d.execute(t, object{"language": "python", "code": "print('again')"}); x.Stdout != "again\n" {
		t.Errorf("after the restart: %+v", x)
	}
	if status := d.stop(); status != 0 {
		t.Errorf("SIGTERM: status %d, want 0", status)
	}
}

func TestKilledSupervisorTakesAllWithIt(t *testing.T) {
	for _, victim := range []string{"outer", "inner"} {
		t.Run(victim, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			d := startDaemonIn(t, state)
			id := d.sleeper(t)
			pids := tree(d.outer())
			if len(pids) < 6 {
				t.Fatalf("processes %v, want outer, inner, daemon, helper, agent, launcher and program", pids)
			}
			pid := d.outer()
			if victim == "inner" {
				pid = d.inner()
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			d.awaitExit()
			if !poll(nil, stopWait, func() bool { return !slices.ContainsFunc(pids, alive) }) {
				t.Errorf("of %v some live on", pids)
			}
			again := startDaemonIn(t, state)
			if x := again.record(t, id); x.Verdict != "VERDICT_INTERNAL" {
				t.Errorf("in flight when the supervisor was killed: %s", x.Verdict)
			}
			again.eventually("no cgroup of the old sandboxes", stopWait, func() bool { return again.cgroups(t) == 0 })
		})
	}
}

// cgroups counts the control groups of this daemon's sandboxes, in all hierarchies.
func (d *daemon) cgroups(t *testing.T) (n int) {
	t.Helper()
	for _, dir := range d.cgroupDirs(t, "/i*") {
		if st, err := os.Stat(dir); err == nil && st.IsDir() { // the kernel's files begin with i, too
			n++
		}
	}
	return n
}

// cgroupDirs finds what lies at a path below this daemon's control groups, in all hierarchies.
func (d *daemon) cgroupDirs(t *testing.T, below string) []string {
	t.Helper()
	sum := sha256.Sum256([]byte(d.state))
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/soulbox/d" + hex.EncodeToString(sum[:8]) + below)
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func TestSideBySide(t *testing.T) {
	a, b := startDaemon(t), startDaemon(t)
	var wg sync.WaitGroup
	for _, d := range []*daemon{a, b, a, b} {
		wg.Go(func() {
			if x := d.execute(t, object{"language": "python", "code": "import os\nprint(os.getuid())"}); x.Stdout != "1000\n" {
				t.Errorf("%+v", x)
			}
		})
	}
	wg.Wait()
	cmd := exec.Command(binary(t), "run", "--no-daemon", "-l", "python", "-")
	cmd.Stdin = strings.NewReader("print('beside')")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "beside\n" {
		t.Errorf("soulbox run beside two daemons: %v, %q", err, out)
	}
	out, err := exec.Command(binary(t), "serve", "--state-dir", a.state, "--listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use") {
		t.Errorf("a second daemon on one state directory: %v, %s, want it refused", err, out)
	}
	a.stop()
	if dirs := a.cgroupDirs(t, ""); len(dirs) > 0 {
		t.Errorf("control groups of a daemon that was stopped: %v", dirs)
	}
	if x := b.execute(t, object{"language": "python", "code": "print('on')"}); x.Stdout != "on\n" {
		t.Errorf("after the other daemon's end: %+v", x)
	}
}

// TestKillUnderLoad kills the daemon while 50 clients run programs: what was acknowledged is there afterwards.
func TestKillUnderLoad(t *testing.T) {
	d := startDaemon(t)
	ctx, cancel := context.WithTimeout(t.Context(), answerWait)
	defer cancel()
	l := &acknowledged{answers: map[string][]byte{}, enough: make(chan struct{})}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for range 20 { // half of the clients wait, the others are promised a result; the queue holds them all
				a, err := d.try(ctx, http.MethodPost, "/v1/executions", object{"language": "python", "code": "print(1)", "wait": i%2 == 0})
				if err != nil || a.Status != http.StatusOK {
					return // the daemon is gone
				}
				if err := l.note(a.Body); err != nil {
					t.Errorf("answer %q: %v", a.Body, err)
				}
			}
		})
	}
	select {
	case <-l.enough:
	case <-ctx.Done():
		t.Fatal("too few answers")
	}
	if err := syscall.Kill(d.serving(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cancel()
	wg.Wait()
	d.awaitReady()
	for id, body := range l.answers {
		if got := d.get(t, "/v1/executions/"+id); string(got) != string(body) {
			t.Errorf("answered before the kill, and now:\n%s\n%s", body, got)
		}
	}
	for _, id := range l.promises {
		if x := d.record(t, id); x.State != "STATE_DONE" {
			t.Errorf("promised before the kill: %s is %s, want it done", id, x.State)
		}
	}
	t.Logf("%d answers and %d promises kept", len(l.answers), len(l.promises))
}

// acknowledged is what a daemon has told its clients.
type acknowledged struct {
	mu       sync.Mutex
	answers  map[string][]byte // by id, of executions that were done
	promises []string          // ids of those that were not
	enough   chan struct{}     // closed at a number of answers
}

func (l *acknowledged) note(body []byte) error {
	var x result
	if err := json.Unmarshal(body, &x); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.State != "STATE_DONE" {
		l.promises = append(l.promises, x.ID)
		return nil
	}
	if l.answers[x.ID] = body; len(l.answers) == 30 {
		close(l.enough)
	}
	return nil
}

// leftovers are what must be the same before and after a load.
type leftovers struct {
	Processes, Mounts, Descriptors, Locks, Goroutines, Directories, Cgroups int
}

// within tells whether nothing is more than before.
func (n leftovers) within(before leftovers) bool {
	return n.Processes <= before.Processes && n.Mounts <= before.Mounts && n.Descriptors <= before.Descriptors && n.Locks <= before.Locks &&
		n.Goroutines <= before.Goroutines && n.Directories <= before.Directories && n.Cgroups <= before.Cgroups
}

func (d *daemon) leftovers(t *testing.T) (n leftovers) {
	t.Helper()
	pids := tree(d.outer())
	n.Processes, n.Cgroups = len(pids), d.cgroups(t)
	for _, pid := range pids {
		proc := "/proc/" + strconv.Itoa(pid)
		fds, err := os.ReadDir(proc + "/fd")
		if err != nil {
			continue // gone meanwhile: the processes differ, too
		}
		for _, fd := range fds {
			// The store opens and closes files as it grows; all others count.
			if to, _ := os.Readlink(proc + "/fd/" + fd.Name()); !strings.HasPrefix(to, filepath.Join(d.state, "store")) {
				n.Descriptors++
			}
		}
	}
	for _, pid := range []int{d.outer(), d.inner(), d.serving()} {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		n.Mounts += bytes.Count(b, []byte("\n"))
	}
	n.Directories = d.boxes(t)
	n.Locks = d.locks(t)
	n.Goroutines = decode[struct{ Goroutines int }](t, d.get(t, "/v1/system/info")).Goroutines
	return n
}

// boxes counts the directories of sandboxes in the run directory, as inner sees it.
func (d *daemon) boxes(t *testing.T) (n int) {
	t.Helper()
	proc := "/proc/" + strconv.Itoa(d.inner())
	b, err := os.ReadFile(proc + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if before, _, ok := bytes.Cut(line, []byte(" - tmpfs soulbox ")); ok {
			dirs, err := os.ReadDir(filepath.Join(proc, "root", string(bytes.Fields(before)[4]), "boxes"))
			if err != nil {
				t.Fatal(err)
			}
			n += len(dirs)
		}
	}
	return n
}

// locks counts the blocks of ids that the daemon has locked, which its descriptors' descriptions list.
func (d *daemon) locks(t *testing.T) (n int) {
	t.Helper()
	infos, err := filepath.Glob("/proc/" + strconv.Itoa(d.serving()) + "/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		b, _ := os.ReadFile(info) // one that was closed meanwhile holds none
		n += bytes.Count(b, []byte("OFDLCK"))
	}
	return n
}

// TestNothingIsLeft runs 400 mixed programs, 20 at a time, and counts in the supervisor's, the daemon's and the wide
// namespaces.
func TestNothingIsLeft(t *testing.T) {
	d := startDaemon(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	// What is to be counted must be seen while there is some.
	id := d.sleeper(t)
	if n := d.leftovers(t); n.Directories == 0 || n.Locks == 0 || n.Processes < 7 {
		t.Fatalf("with one program running there is %+v, want a directory, a lock and 7 processes or more", n)
	}
	d.do(t, http.MethodPost, "/v1/executions/"+id+":cancel", object{}).want(t, http.StatusOK)
	client := &bench.Client{URL: d.url, Key: testKey, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	warm := bench.Load(ctx, client, bench.LoadOptions{N: 40, Concurrency: 20, Seed: 1})
	if warm.Right != warm.Executions {
		t.Fatalf("of %d executions %d were right; wrong %v, failed %v", warm.Executions, warm.Right, warm.Wrong, warm.Failed)
	}
	var before leftovers
	if !poll(d.exited, stopWait, func() bool {
		last := before
		before = d.leftovers(t)
		return before == last && before.Directories == 0 && before.Cgroups == 0
	}) {
		t.Fatalf("not at rest: %+v", before)
	}
	got := bench.Load(ctx, client, bench.LoadOptions{N: 400, Concurrency: 20, Seed: 2})
	t.Logf("%d executions in %.1f s, verdicts %v", got.Executions, got.Wall, got.Verdicts)
	if got.Right != got.Executions {
		t.Errorf("of %d executions %d were right; wrong %v, failed %v", got.Executions, got.Right, got.Wrong, got.Failed)
	}
	var after leftovers
	if !poll(d.exited, stopWait, func() bool {
		after = d.leftovers(t)
		return after.within(before)
	}) {
		t.Errorf("something is left (-before +after):\n%s", cmp.Diff(before, after))
	}
}
