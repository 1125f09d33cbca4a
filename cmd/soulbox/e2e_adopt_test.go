package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// kill ends the daemon alone, and returns once another one is ready.
func (d *daemon) kill(t testing.TB) {
	t.Helper()
	old := d.serving()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.eventually("another daemon", startWait, func() bool { pid := d.serving(); return pid != 0 && pid != old })
	d.awaitReady()
}

// sandboxDirs counts the directories of what sandboxes wrote.
func (d *daemon) sandboxDirs(t testing.TB) int {
	t.Helper()
	dirs, err := os.ReadDir(filepath.Join(d.state, "sandboxes"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(dirs)
}

// TestSandboxesOutliveTheirDaemon: the next daemon has them as they were, running and paused, with their processes and
// what those printed.
func TestSandboxesOutliveTheirDaemon(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	runs, rests := d.sandbox(t, object{"labels": object{"kind": "runs"}}), d.sandbox(t, object{"timeout": "3600s"})
	counts := d.exec(t, runs, object{"shell": "echo first; for i in $(seq 100000); do echo $i > /tmp/n; sleep 0.02; done", "detach": true, "tag": "counter"})
	ended := d.exec(t, runs, object{"shell": "echo said; exit 9", "detach": true})
	resting := d.exec(t, rests, object{"shell": "for i in $(seq 100000); do echo $i > /tmp/n; sleep 0.02; done", "detach": true})
	d.do(t, http.MethodPut, inPath(runs, "", "kept"), "content").want(t, http.StatusOK)
	d.do(t, http.MethodPost, rests+":pause", object{}).want(t, http.StatusOK)
	before := [][]byte{d.get(t, runs), d.get(t, rests)}
	d.holds(t, 2)
	number := func(path string) int {
		t.Helper()
		a, err := d.try(t.Context(), http.MethodGet, inPath(path, "", "/tmp/n"), nil)
		if err != nil {
			return -1 // it is being written
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(a.Body)))
		if err != nil {
			return -1
		}
		return n
	}
	for range 2 {
		was := number(runs)
		d.kill(t)
		for i, path := range []string{runs, rests} {
			if got := d.get(t, path); string(got) != string(before[i]) {
				t.Errorf("the record changed:\n%s\n%s", before[i], got)
			}
		}
		d.eventually("the counter counts on", answerWait, func() bool { return number(runs) > was+5 })
		if got := string(d.get(t, inPath(runs, "", "kept"))); got != "content" {
			t.Errorf("a file holds %q", got)
		}
		if logs := string(d.get(t, rests+"/logs")); !inOrder(logs, "it was created", "it was paused", "the daemon was restarted") {
			t.Errorf("the log of a sandbox has %s", logs)
		}
		known := d.get(t, runs+"/processes")
		for _, want := range []string{fmt.Sprintf(`"pid":%d,`, counts.PID), fmt.Sprintf(`"pid":%d,`, ended.PID), `"tag":"counter"`, `"exitCode":9`} {
			if !strings.Contains(string(known), want) {
				t.Errorf("processes: %s, want %s in it", known, want)
			}
		}
		for pid, want := range map[uint32]string{counts.PID: "first\n", ended.PID: "said\n"} {
			if got := d.printedBy(t, runs, pid, want); got != want {
				t.Errorf("process %d printed %q, want %q", pid, got, want)
			}
		}
		d.holds(t, 2)
	}
	d.do(t, http.MethodPost, rests+":resume", object{}).want(t, http.StatusOK)
	d.eventually("what was paused goes on", answerWait, func() bool { a, b := number(rests), number(rests); return a > 0 && b > 0 })
	d.do(t, http.MethodPost, fmt.Sprintf("%s/processes/%d:signal", rests, resting.PID), object{"signal": "KILL", "group": true}).want(t, http.StatusOK)
	for _, path := range []string{runs, rests} {
		d.do(t, http.MethodDelete, path, nil).want(t, http.StatusOK)
	}
	d.nothingLives(t)
	if x := d.execute(t, object{"language": "python", "code": "print('on')"}); x.Stdout != "on\n" {
		t.Errorf("a program after all that: %+v", x)
	}
}

// inOrder tells whether all parts are in text, one after the other.
func inOrder(text string, parts ...string) bool {
	for _, part := range parts {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// printedBy attaches to a process and returns what it printed, as soon as that is as long as want.
func (d *daemon) printedBy(t testing.TB, path string, pid uint32, want string) string {
	t.Helper()
	ctx, leave := context.WithTimeout(t.Context(), answerWait)
	defer leave()
	s, err := d.sandboxes(twoOnly()).StreamExec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(attachTo(strings.TrimPrefix(path, "/v1/sandboxes/"), pid, 0)); err != nil {
		t.Fatal(err)
	}
	var p printed
	if err := p.receive(s, func() bool { return len(p.text) >= len(want) }); err != nil {
		t.Errorf("attach to %d: %v", pid, err)
	}
	return p.text
}

// holds wants of n sandboxes, and of nothing else, what each has on this host: a directory, a box, and groups in every
// hierarchy there is.
func (d *daemon) holds(t testing.TB, n int) {
	t.Helper()
	var left string
	if !poll(d.exited, stopWait, func() bool {
		dirs, boxes, groups, locks := d.sandboxDirs(t), d.boxes(d.t), d.cgroups(d.t), d.locks(d.t)
		left = fmt.Sprintf("directories %d, boxes %d, groups %d, locks %d", dirs, boxes, groups, locks)
		return dirs == n && boxes == n && (n > 0) == (locks > 0) && (n == 0 && groups == 0 || n > 0 && groups%n == 0)
	}) {
		t.Errorf("with %d sandboxes there are %s", n, left)
	}
}

// nothingLives wants nothing of sandboxes on this host any more.
func (d *daemon) nothingLives(t testing.TB) {
	t.Helper()
	d.holds(t, 0)
}

// TestTimesOutliveTheirDaemon: a deadline that passes while there is no daemon ends its sandbox, and one after that does.
func TestTimesOutliveTheirDaemon(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	first, second := d.sandbox(t, object{"timeout": "0.6s"}), d.sandbox(t, object{"timeout": "6s"})
	d.kill(t)
	for _, path := range []string{first, second} {
		d.eventually("its time ends it", answerWait, func() bool {
			s := decode[box](t, d.get(t, path))
			return s.State == "SANDBOX_STATE_STOPPED" && strings.Contains(s.Reason, "time ran out")
		})
	}
	d.nothingLives(t)
}

// TestSandboxesEndWithTheirSupervisor: the next start says so of each, and removes what they wrote.
func TestSandboxesEndWithTheirSupervisor(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	d := startDaemonIn(t, state)
	paths := []string{d.sandbox(t, object{}), d.sandbox(t, object{}), d.sandbox(t, object{})}
	d.exec(t, paths[0], object{"shell": "echo x > f; sleep 1000", "detach": true})
	d.do(t, http.MethodPost, paths[1]+":pause", object{}).want(t, http.StatusOK)
	d.do(t, http.MethodDelete, paths[2], nil).want(t, http.StatusOK)
	was := string(d.get(t, paths[2]))
	d.signal(syscall.SIGKILL)
	d.awaitExit()
	again := startDaemonIn(t, state)
	for _, path := range paths[:2] {
		if s := decode[box](t, again.get(t, path)); s.State != "SANDBOX_STATE_STOPPED" || s.Reason == "" {
			t.Errorf("after the supervisor's end: %+v", s)
		}
		again.do(t, http.MethodPost, path+":exec", object{"shell": "true"}).refuses(t, http.StatusConflict, "SANDBOX_ENDED", "id")
	}
	if got := string(again.get(t, paths[2])); got != was {
		t.Errorf("the record of one that was deleted changed:\n%s\n%s", was, got)
	}
	again.nothingLives(t)
	if status := again.stop(); status != 0 {
		t.Errorf("SIGTERM: status %d", status)
	}
}

// TestStopEndsSandboxes: a daemon that is stopped ends its sandboxes and says so of them.
func TestStopEndsSandboxes(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	d := startDaemonIn(t, state)
	path := d.sandbox(t, object{})
	d.exec(t, path, object{"shell": "trap '' TERM INT HUP; while :; do sleep 1; done", "detach": true})
	pids := tree(d.outer())
	if status := d.stop(); status != 0 {
		t.Errorf("SIGTERM: status %d", status)
	}
	if slices.ContainsFunc(pids, alive) {
		t.Errorf("of %v some live on", pids)
	}
	if n := d.sandboxDirs(t) + d.cgroups(t); n != 0 {
		t.Errorf("%d directories and groups are left", n)
	}
	if s := decode[box](t, startDaemonIn(t, state).get(t, path)); s.State != "SANDBOX_STATE_STOPPED" || !strings.Contains(s.Reason, "daemon stopped") {
		t.Errorf("after the stop: %+v", s)
	}
}

// known is what a daemon acknowledged of one sandbox.
type known struct {
	state   string            // the last that was acknowledged; empty: in doubt
	files   map[string]string // written and acknowledged
	pids    []uint32          // detached, and never ended by anybody
	doubted bool              // its deletion may have happened
}

// crashLoad is a load of creates, programs, writes, pauses and deletes, and what was acknowledged of it.
type crashLoad struct {
	d *daemon

	mu    sync.Mutex
	boxes map[string]*known // by path
	asked int               // creates without an answer: each may have left one sandbox
	ran   map[string]string // answers about executions that were done, by path
}

// client goes on until ctx ends or the daemon does not answer.
func (l *crashLoad) client(ctx context.Context, rnd *rand.Rand) {
	for ctx.Err() == nil {
		path, k := l.create(ctx)
		if path == "" {
			return
		}
		for range 2 + rnd.IntN(4) {
			if !l.step(ctx, path, k, rnd.IntN(5), rnd.IntN(1000)) {
				return
			}
		}
	}
}

// executes runs programs until ctx ends or the daemon does not answer.
func (l *crashLoad) executes(ctx context.Context) {
	for ctx.Err() == nil {
		a, err := l.d.try(ctx, http.MethodPost, "/v1/executions", object{"language": "python", "code": "print(1)"})
		var x result
		if err != nil || a.Status != http.StatusOK || json.Unmarshal(a.Body, &x) != nil {
			return
		}
		if x.State == "STATE_DONE" {
			l.mu.Lock()
			l.ran["/v1/executions/"+x.ID] = string(a.Body)
			l.mu.Unlock()
		}
	}
}

// create makes a sandbox; its path is empty when there was no answer.
func (l *crashLoad) create(ctx context.Context) (string, *known) {
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	a, err := l.d.try(ctx, http.MethodPost, "/v1/sandboxes", object{})
	if err != nil || a.Status != http.StatusOK {
		return "", nil
	}
	var s box
	if json.Unmarshal(a.Body, &s) != nil {
		return "", nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked--
	k := &known{state: s.State, files: map[string]string{}}
	l.boxes["/v1/sandboxes/"+s.ID] = k
	return "/v1/sandboxes/" + s.ID, k
}

// step does one thing to a sandbox of its client's own and notes what was acknowledged; false: there was no answer.
func (l *crashLoad) step(ctx context.Context, path string, k *known, what, n int) bool {
	ask := func(method, at string, body any) *answer {
		a, err := l.d.try(ctx, method, at, body)
		if err != nil || a.Status != http.StatusOK {
			return nil
		}
		return a
	}
	note := func(f func()) {
		l.mu.Lock()
		defer l.mu.Unlock()
		f()
	}
	switch what {
	case 0:
		name, text := fmt.Sprint("f", n), fmt.Sprint("text ", n)
		if ask(http.MethodPut, inPath(path, "", name), text) == nil {
			return false
		}
		note(func() { k.files[name] = text })
	case 1:
		a := ask(http.MethodPost, path+":exec", object{"args": []string{"sleep", "1000"}, "detach": true})
		if a == nil {
			return false
		}
		var x ended
		if json.Unmarshal(a.Body, &x) == nil {
			note(func() { k.pids = append(k.pids, x.PID) })
		}
	case 2:
		return ask(http.MethodPost, path+":exec", object{"shell": "echo done"}) != nil
	case 3:
		for _, verb := range []string{":pause", ":resume"} {
			note(func() { k.state = "" })
			a := ask(http.MethodPost, path+verb, object{})
			if a == nil {
				return false
			}
			var s box
			if json.Unmarshal(a.Body, &s) == nil {
				note(func() { k.state = s.State })
			}
		}
	case 4:
		note(func() { k.doubted = true })
		if ask(http.MethodDelete, path, nil) == nil {
			return false
		}
		note(func() { k.state = "SANDBOX_STATE_STOPPED" })
		return false // on to the next sandbox would do as well; its client ends so that some stay
	}
	return true
}

// TestKillAtRandomUnderLoad kills the daemon, or the supervisor with all it holds, 25 times (SOULBOX_KILLS) at random under a
// load of sandboxes, files and executions. Nothing that was acknowledged is lost, and nothing runs or lies on the disk that
// the next start neither adopted nor removed.
func TestKillAtRandomUnderLoad(t *testing.T) {
	t.Parallel()
	seed, rounds := numberOf(t, "SOULBOX_SEED", uint64(time.Now().UnixNano())), numberOf(t, "SOULBOX_KILLS", 25)
	t.Logf("SOULBOX_SEED=%d SOULBOX_KILLS=%d", seed, rounds)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := &crashLoad{d: startDaemon(t, crashArgs()...), boxes: map[string]*known{}, ran: map[string]string{}}
	var ready []time.Duration
	for round := range int(rounds) {
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for i := range 6 {
			clients.Go(func() { l.client(ctx, rand.New(rand.NewPCG(seed, uint64(round*10+i+1)))) })
		}
		for range 2 {
			clients.Go(func() { l.executes(ctx) })
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(600 * time.Millisecond)))) // the moment is what is random
		stop := func() {
			cancel()
			clients.Wait()
		}
		switch rnd.IntN(6) {
		case 0:
			ready = append(ready, l.killSupervisor(t, round, l.d.outer(), stop))
		case 1:
			ready = append(ready, l.killSupervisor(t, round, l.d.inner(), stop))
		default:
			start := time.Now()
			l.d.kill(t)
			ready = append(ready, time.Since(start))
			stop()
		}
		// Requests that waited in the kernel are the next daemon's, though nobody waits for their answers any more.
		var last string
		l.d.eventually("nothing changes any more", answerWait, func() bool {
			was := last
			last = string(l.d.get(t, "/v1/sandboxes?pageSize=1000"))
			return last == was && rest(t.Context(), 200*time.Millisecond) && string(l.d.get(t, "/v1/sandboxes?pageSize=1000")) == last
		})
		l.check(t, round)
	}
	for path := range l.boxes {
		l.d.do(t, http.MethodDelete, path, nil).want(t, http.StatusOK)
	}
	for _, s := range l.d.living(t) { // answered to nobody, and known to the daemon
		l.d.do(t, http.MethodDelete, "/v1/sandboxes/"+s.ID, nil).want(t, http.StatusOK)
	}
	l.d.nothingLives(t)
	slices.Sort(ready)
	report := fmt.Sprintf("Seed %d: %d kills at random under a load of sandboxes, files and executions; %d answers of executions were kept. The next "+
		"daemon was ready after %.0f ms (median), %.0f ms (90 %%), at most %.0f ms.\n", seed, rounds, len(l.ran), ms(ready[len(ready)/2]), ms(ready[len(ready)*9/10]), ms(ready[len(ready)-1]))
	t.Log(report)
	if name := os.Getenv("SOULBOX_KILLS_REPORT"); name != "" {
		if err := os.WriteFile(filepath.Clean(name), []byte(report), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// crashArgs are the daemon's flags in these tests.
func crashArgs() []string { return []string{"--max-sandboxes", "200"} }

// killSupervisor kills one of its two processes, with which everything ends, and starts another on the same state. It
// returns how long that took to be ready.
func (l *crashLoad) killSupervisor(t *testing.T, round, victim int, stop func()) time.Duration {
	t.Helper()
	d := l.d
	ran := tree(d.outer())
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	stop()
	d.awaitExit()
	d.gone(t, round, ran)
	start := time.Now()
	l.d = startDaemonIn(t, d.state, crashArgs()...)
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	for path := range l.boxes { // they end with their supervisor, and their records stay
		if s := decode[box](t, l.d.get(t, path)); !strings.HasSuffix(s.State, "STOPPED") {
			t.Errorf("round %d: %s outlived its supervisor: %+v", round, path, s)
		}
	}
	clear(l.boxes)
	l.d.eventually("what ended sandboxes left is removed", answerWait, func() bool { return l.d.sandboxDirs(t) == len(l.d.living(t)) })
	return took
}

// gone fails when one of pids still runs.
func (d *daemon) gone(t *testing.T, round int, pids []int) {
	t.Helper()
	end := time.Now().Add(startWait)
	for _, pid := range pids {
		for alive(pid) && time.Now().Before(end) {
			time.Sleep(retryPause) // it is not our child: nobody tells
		}
		if alive(pid) {
			t.Errorf("round %d: process %d outlived its supervisor", round, pid)
		}
	}
}

// living lists the sandboxes that have not ended.
func (d *daemon) living(t testing.TB) []box {
	t.Helper()
	return decode[struct{ Sandboxes []box }](t, d.get(t, "/v1/sandboxes?alive=true&pageSize=1000")).Sandboxes
}

// check holds what a new daemon says against what was acknowledged.
func (l *crashLoad) check(t *testing.T, round int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for path, body := range l.ran {
		if got := string(l.d.get(t, path)); got != body {
			t.Errorf("round %d: %s was answered as\n%s\nand is\n%s", round, path, body, got)
		}
	}
	living := l.d.living(t)
	for path, k := range l.boxes {
		s := decode[box](t, l.d.get(t, path))
		switch {
		case k.state == "SANDBOX_STATE_STOPPED" && s.State != k.state:
			t.Errorf("round %d: %s was deleted, and is %s", round, path, s.State)
		case !k.doubted && (strings.HasSuffix(s.State, "STOPPED") || strings.HasSuffix(s.State, "FAILED")):
			t.Errorf("round %d: %s is lost: %+v", round, path, s)
		case !k.doubted && k.state != "" && s.State != k.state:
			t.Errorf("round %d: %s is %s, want %s", round, path, s.State, k.state)
		}
		if s.State == "SANDBOX_STATE_PAUSED" {
			l.d.do(t, http.MethodPost, path+":resume", object{}).want(t, http.StatusOK)
			s.State, k.state = "SANDBOX_STATE_RUNNING", "SANDBOX_STATE_RUNNING"
		}
		if s.State != "SANDBOX_STATE_RUNNING" {
			delete(l.boxes, path)
			continue
		}
		k.state = s.State
		for name, text := range k.files {
			if got := string(l.d.get(t, inPath(path, "", name))); got != text {
				t.Errorf("round %d: %s of %s holds %q, want %q", round, name, path, got, text)
			}
		}
		processes := string(l.d.get(t, path+"/processes"))
		for _, pid := range k.pids {
			if !strings.Contains(processes, fmt.Sprintf(`"pid":%d,`, pid)) {
				t.Errorf("round %d: process %d of %s is lost: %s", round, pid, path, processes)
			}
		}
	}
	if unknown := len(living) - len(l.boxes); unknown > l.asked {
		t.Errorf("round %d: %d sandboxes live of which nobody was told, and %d were asked for", round, unknown, l.asked)
	}
	// What runs is what the daemon says, no more.
	l.d.holds(t, len(living))
}
