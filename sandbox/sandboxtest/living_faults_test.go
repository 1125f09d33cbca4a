package sandboxtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// faultySandboxes is a journal of sandboxes whose writes fail when they are told to.
type faultySandboxes struct {
	sandbox.SandboxJournal
	*faults
}

func (j faultySandboxes) PutSandbox(ctx context.Context, s *sandbox.Sandbox) error {
	if err := j.strike(fmt.Sprintf("PutSandbox %d", s.State)); err != nil {
		return err
	}
	return j.SandboxJournal.PutSandbox(ctx, s)
}

// checkNoSandbox wants nothing held by sandboxes that live on: neither directories and mounts, nor what [checkIdle] sees.
func checkNoSandbox(t *testing.T, p *sandboxtest.Parts, ids *sandbox.IDPool) {
	t.Helper()
	eventually(t, patience, "no sandbox lives", func() bool { return p.Engine.Sandboxes().Live() == 0 })
	checkIdle(t, p, ids)
	for _, dir := range []string{filepath.Join(p.StateDir, "sandboxes"), filepath.Join(p.RunDir, "roots")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			t.Errorf("%s is left", filepath.Join(dir, e.Name()))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "/roots/i") || strings.Contains(line, "/boxes/i") {
			t.Errorf("a mount is left: %s", line)
		}
	}
}

// TestEveryWriteOfSandboxesCanFail refuses the first write to the journal, the second and so on, of a sandbox's life.
// What was refused has not happened, what was acknowledged has, and nothing stays held.
func TestEveryWriteOfSandboxesCanFail(t *testing.T) {
	f := &faults{}
	p, ids := openIdle(t, func(o *sandbox.Options) {
		o.Sandboxes.Journal = faultySandboxes{o.Sandboxes.Journal, f}
		o.Journal = faultyJournal{o.Journal, f}
	})
	boxes, ctx := p.Engine.Sandboxes(), t.Context()
	var struck []string
	for n := 1; n < 20; n++ {
		f.arm(n)
		call := life(t, p, boxes, f)
		checkNoSandbox(t, p, ids)
		struck = append(struck, call)
		err := p.Journal.LivingSandboxes(ctx, func(s *sandbox.Sandbox) error {
			if call != "PutSandbox 4" {
				return fmt.Errorf("the journal has sandbox %s in state %d", s.ID, s.State)
			}
			s.State = sandbox.SandboxStopped // as the next daemon does
			return p.Journal.PutSandbox(ctx, s)
		})
		if err != nil {
			t.Errorf("call %d, %s: %v", n, call, err)
		}
		if call == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"OpenBox", "PutSandbox 1", "PutSandbox 2", "PutSandbox 2", "PutSandbox 3", "PutSandbox 2", "CloseBox", "PutSandbox 4", ""},
		struck, cmp.Transformer("sorted", sortedHead)); diff != "" {
		t.Errorf("other writes were refused (-want +got):\n%s", diff)
	}
}

// sortedHead sorts the first two, which happen at once.
func sortedHead(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s[:min(2, len(s))])
	return s
}

// boxesThatLive returns an error when the journal has a sandbox that lives.
func boxesThatLive(ctx context.Context, p *sandboxtest.Parts) error {
	return p.Journal.LivingSandboxes(ctx, func(s *sandbox.Sandbox) error {
		return fmt.Errorf("the journal has sandbox %s in state %d", s.ID, s.State)
	})
}

// life goes through a sandbox's life and returns the write that was refused.
func life(t *testing.T, p *sandboxtest.Parts, boxes *sandbox.Sandboxes, f *faults) string {
	t.Helper()
	ctx := t.Context()
	internal := func(what string, err error) {
		t.Helper()
		if err != nil && (sandbox.KindOf(err) != sandbox.KindInternal || !errors.Is(err, errInjected)) {
			t.Errorf("%s = %v, want internal and the cause", what, err)
		}
	}
	s, err := boxes.Create(ctx, sandbox.CreateSandbox{})
	internal("Create", err)
	if err != nil {
		return f.disarm()
	}
	b := &livingBox{s, t, p}
	before := b.get()
	after, err := boxes.SetTimeout(ctx, s.Tenant, s.ID, 5*time.Hour)
	internal("SetTimeout", err)
	if now := b.get(); err != nil && !cmp.Equal(now, before) || err == nil && !cmp.Equal(now, after) {
		t.Errorf("SetTimeout = %v, and the record is %+v", err, now)
	}
	_, err = boxes.Pause(ctx, s.Tenant, s.ID)
	internal("Pause", err)
	if err != nil {
		// It was not paused: it runs, and can be used.
		if got := b.prints("", "echo runs"); got != "runs\n" {
			t.Errorf("a sandbox whose pause failed: %q", got)
		}
	} else {
		_, err = boxes.Resume(ctx, s.Tenant, s.ID, nil)
		internal("Resume", err)
		if now := b.get(); err != nil && now.State != sandbox.SandboxPaused {
			t.Errorf("a sandbox whose resumption failed is in state %d", now.State)
		}
		if err == nil {
			if got := b.prints("", "echo runs"); got != "runs\n" {
				t.Errorf("a sandbox that was resumed: %q", got)
			}
		}
	}
	if s, err := boxes.Delete(ctx, s.Tenant, s.ID); err != nil || !s.State.Final() {
		t.Errorf("Delete = %+v, %v", s, err)
	}
	return f.disarm()
}

// TestSandboxOfTheHostDoesNotStart refuses each step of a sandbox's start that the runtime takes.
func TestSandboxOfTheHostDoesNotStart(t *testing.T) {
	f := &faults{}
	p, ids := openIdle(t, func(o *sandbox.Options) { o.Runtime = faultyRuntime{Runtime: o.Runtime, faults: f} })
	f.arm(1)
	_, err := p.Engine.Sandboxes().Create(t.Context(), sandbox.CreateSandbox{RequestID: "once"})
	if sandbox.KindOf(err) != sandbox.KindInternal || !errors.Is(err, errInjected) || f.disarm() != "Start" {
		t.Errorf("Create = %v, want the injected failure", err)
	}
	checkNoSandbox(t, p, ids)
	if err := boxesThatLive(t.Context(), p); err != nil {
		t.Error(err)
	}
	open(t, p, sandbox.CreateSandbox{}).delete()
	checkNoSandbox(t, p, ids)
}

// TestAgentDies kills the agent of a sandbox, and the first process of another's session: each ends as failed, with who
// waits for something in it, and nothing is left.
func TestAgentDies(t *testing.T) {
	p, ids := openIdle(t, func(*sandbox.Options) {})
	b := open(t, p, sandbox.CreateSandbox{})
	u := b.use()
	pid := b.background(sandbox.ProcessSpec{Args: []string{"sleep", "1000"}, Follow: true})
	process, err := os.FindProcess(agentOf(t, p, b.ID))
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = gather(t.Context(), u, pid, 0)
	// Whether the engine knows already that it died is a matter of moments.
	if k := sandbox.KindOf(err); k != sandbox.KindUnavailable && k != sandbox.KindConflict {
		t.Errorf("following a process of a sandbox that died = %v, want unavailable, or that it has ended", err)
	}
	select {
	case <-u.Gone():
	case <-time.After(patience):
		t.Fatal("the sandbox never was gone")
	}
	if s := b.get(); s.State != sandbox.SandboxFailed || s.Reason == "" {
		t.Errorf("the sandbox: %+v, want it failed", s)
	}
	checkNoSandbox(t, p, ids)
}

// TestEngineEndsSandboxes closes an engine while sandboxes run, are paused and are being made.
func TestEngineEndsSandboxes(t *testing.T) {
	p, ids := openIdle(t, func(o *sandbox.Options) { o.Drain = time.Second })
	boxes := p.Engine.Sandboxes()
	open(t, p, sandbox.CreateSandbox{})
	paused := open(t, p, sandbox.CreateSandbox{})
	if _, err := boxes.Pause(t.Context(), paused.Tenant, paused.ID); err != nil {
		t.Fatal(err)
	}
	var making sync.WaitGroup
	for range 3 {
		making.Go(func() {
			if s, err := boxes.Create(t.Context(), sandbox.CreateSandbox{}); err != nil && sandbox.KindOf(err) != sandbox.KindUnavailable {
				t.Errorf("Create while the engine closes = %+v, %v", s, err)
			}
		})
	}
	if err := p.Engine.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What was being made when Close was called is gone, too, when it returns.
	if err := boxesThatLive(t.Context(), p); err != nil {
		t.Error(err)
	}
	making.Wait()
	_, err := boxes.Create(t.Context(), sandbox.CreateSandbox{})
	wantError(t, "Create after Close", err, sandbox.KindUnavailable, "DRAINING", "")
	checkNoSandbox(t, p, ids)
}

// TestNothingIsLeftOfSandboxes counts before and after 24 sandboxes, six at a time, with processes, files, pauses, and
// ends of every kind.
func TestNothingIsLeftOfSandboxes(t *testing.T) {
	p, ids := openIdle(t, func(*sandbox.Options) {})
	liveAll(t, p, 6)
	before := settled(t, p, nil)
	liveAll(t, p, 24)
	settled(t, p, &before)
	checkNoSandbox(t, p, ids)
}

func liveAll(t *testing.T, p *sandboxtest.Parts, n int) {
	t.Helper()
	boxes, ctx := p.Engine.Sandboxes(), t.Context()
	tokens := make(chan struct{}, 6)
	var wg sync.WaitGroup
	for i := range n {
		tokens <- struct{}{}
		wg.Go(func() {
			defer func() { <-tokens }()
			s, err := boxes.Create(ctx, sandbox.CreateSandbox{})
			if err != nil {
				t.Error(err)
				return
			}
			u, err := boxes.Use(ctx, s.Tenant, s.ID)
			if err != nil {
				t.Error(err)
				return
			}
			pid, err := u.Launch(ctx, sandbox.ProcessSpec{Args: []string{"sh", "-c", "(setsid sleep 1000 &); echo x > f; sleep 1000 & echo up; exec cat"}, Stdin: i%2 == 0 && i%4 != 1, Follow: true})
			if err != nil {
				t.Error(err)
			}
			if err := u.Agent().WriteFile(ctx, "", "data", nil, strings.NewReader(strings.Repeat("x", 1<<20))); err != nil {
				t.Error(err)
			}
			if i%3 == 0 {
				if _, err := boxes.Pause(ctx, s.Tenant, s.ID); err != nil {
					t.Error(err)
				}
			}
			if i%4 == 1 && i%3 != 0 {
				if _, err := gather(ctx, u, pid, 0); err != nil {
					t.Error(err)
				}
			}
			u.Close()
			if i%5 == 4 {
				if i%3 == 0 {
					if _, err := boxes.Resume(ctx, s.Tenant, s.ID, nil); err != nil {
						t.Error(err)
					}
				}
				if _, err := boxes.SetTimeout(ctx, s.Tenant, s.ID, time.Millisecond); err != nil {
					t.Error(err)
				}
				<-u.Gone()
			}
			if _, err := boxes.Delete(ctx, s.Tenant, s.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
