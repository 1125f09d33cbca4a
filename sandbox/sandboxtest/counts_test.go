package sandboxtest_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// counts are what nothing may be left of.
type counts struct {
	Processes, Mounts, Descriptors, Goroutines, Directories, Cgroups, Boxes int
}

func count(t *testing.T, p *sandboxtest.Parts) counts {
	t.Helper()
	var c counts
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, proc := range procs {
		// The wide namespace holds this test alone; what died is no process any more once it is reaped.
		if stat, err := os.ReadFile(proc + "/stat"); err == nil && !bytes.Contains(stat, []byte(") Z ")) {
			c.Processes++
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	c.Mounts = bytes.Count(mounts, []byte("\n"))
	for _, pid := range append(helpers(t), os.Getpid()) {
		fds, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
		if err != nil {
			t.Fatal(err)
		}
		c.Descriptors += len(fds)
	}
	c.Goroutines = runtime.NumGoroutine()
	err = filepath.WalkDir(p.RunDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			c.Directories++
			if d.Name() == "images" || d.Name() == "lib" {
				return fs.SkipDir
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if tree := p.Cgroups.Path(); err == nil && d.IsDir() && tree != "" && strings.Contains(path+"/", tree+"/") {
			c.Cgroups++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Journal.Boxes(t.Context(), func(sandbox.BoxRecord) error { c.Boxes++; return nil }); err != nil {
		t.Fatal(err)
	}
	return c
}

// helpers finds the runtime's helper processes.
func helpers(t *testing.T) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(b), "soulbox-helper\x00") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestNothingIsLeft counts before and after executions of every kind, eight at a time.
func TestNothingIsLeft(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	if _, err := p.Engine.Languages(t.Context()); err != nil { // after which the engine does nothing of its own accord
		t.Fatal(err)
	}
	runAll(t, p, 8) // warm: connections, threads of the runtime
	before := settled(t, p, nil)
	runAll(t, p, 40)
	settled(t, p, &before)
}

func runAll(t *testing.T, p *sandboxtest.Parts, n int) {
	t.Helper()
	requests := []sandbox.Request{
		{Language: "python", Code: "print(1)"},
		{Language: "c", Code: "int main(void){return 0;}"},
		{Language: "c", Code: "int main(void){return x;}"},
		{Language: "python", Code: "import os, time\nif os.fork() == 0:\n  os.setsid()\n  time.sleep(100)"},
		{Language: "python", Code: "while True: pass", Limits: sandbox.Limits{CPUTime: 100 * time.Millisecond}},
		{Language: "python", Code: "b = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): b[i] = 1", Limits: sandbox.Limits{Memory: 32 * mib}},
		{Language: "python", Code: "import time\ntime.sleep(100)", Limits: sandbox.Limits{WallTime: 300 * time.Millisecond}},
		{Language: "python", Code: "while True: print('x' * 1000)", Limits: sandbox.Limits{Output: 10_000}},
	}
	tokens := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range n {
		tokens <- struct{}{}
		wg.Go(func() {
			defer func() { <-tokens }()
			r := requests[i%len(requests)]
			r.Client = "test"
			h, err := p.Engine.Start(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			if i%10 == 9 {
				h.Cancel()
			}
			if x, err := h.Wait(t.Context()); err != nil || x.Verdict == sandbox.VerdictInternal {
				t.Errorf("%+v, %v", x, err)
			}
		})
	}
	wg.Wait()
}

// settled counts until want is reached, or until two counts agree when want is nil: answers come before the clean-up.
func settled(t *testing.T, p *sandboxtest.Parts, want *counts) counts {
	t.Helper()
	var last counts
	got, err := backoff.Retry(t.Context(), func() (counts, error) {
		now := count(t, p)
		if want == nil && now == last && now.Boxes == 0 || want != nil && now == *want {
			return now, nil
		}
		last = now
		return now, fmt.Errorf("not settled: %+v", now)
	}, backoff.WithBackOff(backoff.NewConstantBackOff(100*time.Millisecond)), backoff.WithMaxElapsedTime(40*time.Second))
	if err != nil && want != nil {
		t.Errorf("something is left (-before +after):\n%s", cmp.Diff(*want, last))
	} else if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestCancelBeforeItsTurn cancels what waits in the queue.
func TestCancelBeforeItsTurn(t *testing.T) {
	p := sandboxtest.Open(t, func(o *sandbox.Options) { o.Admission.MaxRunning = 1 })
	blocker, err := p.Engine.Start(t.Context(), sandbox.Request{Client: "a", Language: "python", Code: "import time\ntime.sleep(60)"})
	if err != nil {
		t.Fatal(err)
	}
	queued, err := p.Engine.Start(t.Context(), sandbox.Request{Client: "b", Language: "python", Code: "print(1)"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, h := range []sandbox.Handle{queued, blocker} {
		h.Cancel()
		x, err := h.Wait(ctx)
		if err != nil || x.Verdict != sandbox.VerdictCancelled || x.State != sandbox.StateDone || x.ExitCode != -1 {
			t.Errorf("cancelled execution = %+v, %v, want it done and cancelled", x, err)
		}
	}
}
