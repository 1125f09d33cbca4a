package sandboxtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

var errInjected = errors.New("injected failure")

// faults refuse one call, counted from where it was armed, and let the others pass.
type faults struct {
	mu     sync.Mutex
	left   int    // calls until the one that is refused; 0: none is
	struck string // the call that was refused
}

// arm refuses the nth call from now, counted from 1.
func (f *faults) arm(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.struck = n, ""
}

// disarm returns the call that was refused since arm, "" when there were not so many.
func (f *faults) disarm() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = 0
	return f.struck
}

func (f *faults) strike(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return nil
	}
	if f.left--; f.left > 0 {
		return nil
	}
	f.struck = call
	return fmt.Errorf("%s: %w", call, errInjected)
}

type faultyJournal struct {
	sandbox.Journal
	*faults
}

func (j faultyJournal) Put(ctx context.Context, x *sandbox.Execution) error {
	if err := j.strike(fmt.Sprintf("Put %d", x.State)); err != nil {
		return err
	}
	return j.Journal.Put(ctx, x)
}

func (j faultyJournal) OpenBox(ctx context.Context, b sandbox.BoxRecord, x *sandbox.Execution) error {
	if err := j.strike("OpenBox"); err != nil {
		return err
	}
	return j.Journal.OpenBox(ctx, b, x)
}

func (j faultyJournal) CloseBox(ctx context.Context, b sandbox.BoxRecord) error {
	if err := j.strike("CloseBox"); err != nil {
		return err
	}
	return j.Journal.CloseBox(ctx, b)
}

type faultyRuntime struct {
	sandbox.Runtime
	*faults
	hang chan struct{} // when not nil: Start says here that it was called, and waits for ctx
}

func (r faultyRuntime) Start(ctx context.Context, id sandbox.ID, bundle, stderr string) error {
	if err := r.strike("Start"); err != nil {
		return err
	}
	if r.hang != nil {
		select {
		case r.hang <- struct{}{}:
			<-ctx.Done()
			return context.Cause(ctx)
		default:
		}
	}
	return r.Runtime.Start(ctx, id, bundle, stderr)
}

// openIdle opens an engine and waits until it does nothing of its own accord any more.
func openIdle(t *testing.T, change func(*sandbox.Options)) (*sandboxtest.Parts, *sandbox.IDPool) {
	t.Helper()
	var ids *sandbox.IDPool
	p := sandboxtest.Open(t, func(o *sandbox.Options) {
		change(o)
		ids = o.IDs
	})
	if _, err := p.Engine.Languages(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkIdle(t, p, ids)
	return p, ids
}

// checkIdle wants nothing held, as soon as what was answered before its end has ended.
func checkIdle(t *testing.T, p *sandboxtest.Parts, ids *sandbox.IDPool) {
	t.Helper()
	_, err := backoff.Retry(t.Context(), func() (struct{}, error) {
		info, err := p.Engine.Info(t.Context())
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		groups, err := p.Cgroups.Boxes()
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		dirs, err := os.ReadDir(filepath.Join(p.RunDir, "boxes"))
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		if held := info.Queued + info.Running + int(info.MemoryUse) + ids.InUse() + len(groups) + len(dirs); held > 0 {
			return struct{}{}, fmt.Errorf("held: queued %d, running %d, memory %d, ids %d, cgroups %v, directories %v",
				info.Queued, info.Running, info.MemoryUse, ids.InUse(), groups, dirs)
		}
		return struct{}{}, nil
	}, backoff.WithBackOff(backoff.NewConstantBackOff(20*time.Millisecond)), backoff.WithMaxElapsedTime(30*time.Second))
	if err != nil {
		t.Error(err)
	}
}

// TestEveryWriteCanFail refuses the first write to the journal, the second and so on, until an execution and the end of
// its sandbox do with fewer. Nothing may stay held, and nobody may wait for ever.
func TestEveryWriteCanFail(t *testing.T) {
	f := &faults{}
	p, ids := openIdle(t, func(o *sandbox.Options) { o.Journal = faultyJournal{o.Journal, f} })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var struck []string
	for n := 1; n < 20; n++ {
		f.arm(n)
		h, err := p.Engine.Start(ctx, sandbox.Request{Client: "c", Language: "python", Code: "print('ran')"})
		var x sandbox.Execution
		if err == nil {
			if x, err = h.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		} else if sandbox.KindOf(err) != sandbox.KindInternal || !errors.Is(err, errInjected) {
			t.Errorf("write %d: Start = %v, want internal and the cause", n, err)
		}
		checkIdle(t, p, ids) // its sandbox is gone, and with it the last write
		call := f.disarm()
		struck = append(struck, call)
		switch {
		case call == "" && x.Verdict != sandbox.VerdictOK, call == "CloseBox" && x.Verdict != sandbox.VerdictOK:
			t.Errorf("call %d %s: %+v, want ok", n, call, x)
		case call != "" && call != "CloseBox" && err == nil && (x.Verdict != sandbox.VerdictInternal || x.Detail == "" || len(x.Stdout) > 0):
			t.Errorf("call %d %s: %+v, want internal, and why", n, call, x)
		}
		if strings.Contains(x.Detail, "injected") {
			t.Errorf("call %d %s: detail %q tells the cause", n, call, x.Detail)
		}
		if call == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"Put 1", "OpenBox", "Put 3", "CloseBox", ""}, struck); diff != "" {
		t.Errorf("other writes were refused (-want +got):\n%s", diff)
	}
}

// TestSandboxDoesNotStart refuses the start of a sandbox, and then runs one.
func TestSandboxDoesNotStart(t *testing.T) {
	f := &faults{}
	p, ids := openIdle(t, func(o *sandbox.Options) { o.Runtime = faultyRuntime{Runtime: o.Runtime, faults: f} })
	f.arm(1)
	h, err := p.Engine.Start(t.Context(), sandbox.Request{Client: "c", Language: "python", Code: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	x, err := h.Wait(t.Context())
	if err != nil || x.Verdict != sandbox.VerdictInternal || x.Detail == "" || strings.Contains(x.Detail, "injected") {
		t.Errorf("execution = %+v, %v, want internal, and nothing told of the cause", x, err)
	}
	checkIdle(t, p, ids)
	execute(t, p, sandbox.Request{Language: "python", Code: "pass"})
	checkIdle(t, p, ids)
}

// TestIDsRunOut has one block of ids: who comes second is told, and the next one runs.
func TestIDsRunOut(t *testing.T) {
	p, ids := openIdle(t, func(o *sandbox.Options) {
		lock, err := sandbox.OpenLockFile(filepath.Join(t.TempDir(), "ids"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { lock.Close() })
		o.IDs = sandbox.NewIDPool(lock, 1)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first := startAndAwait(ctx, t, p, sandbox.EventStdout)
	h, err := p.Engine.Start(ctx, sandbox.Request{Client: "c", Language: "python", Code: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	x, err := h.Wait(ctx)
	if err != nil || x.Verdict != sandbox.VerdictInternal || !strings.Contains(x.Detail, "try again") {
		t.Errorf("without ids: %+v, %v, want internal and advice", x, err)
	}
	first.Cancel()
	if _, err := first.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	checkIdle(t, p, ids)
	execute(t, p, sandbox.Request{Language: "python", Code: "pass"})
	checkIdle(t, p, ids)
}

// startAndAwait starts a program that sleeps, and returns at its first event of a kind.
func startAndAwait(ctx context.Context, t *testing.T, p *sandboxtest.Parts, kind sandbox.EventKind) sandbox.Handle {
	t.Helper()
	h, err := p.Engine.Start(ctx, sandbox.Request{Client: "c", Language: "python", Code: "import time\nprint('here')\ntime.sleep(60)",
		Limits: sandbox.Limits{WallTime: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range h.Events(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == kind {
			break
		}
	}
	return h
}

// TestCancelAtEveryStage cancels before the sandbox, while it starts, and when it has started.
func TestCancelAtEveryStage(t *testing.T) {
	hang := make(chan struct{})
	p, ids := openIdle(t, func(o *sandbox.Options) { o.Runtime = faultyRuntime{o.Runtime, &faults{}, hang} })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range []struct {
		name  string
		start func(t *testing.T) sandbox.Handle
	}{
		{"at once", func(t *testing.T) sandbox.Handle {
			h, err := p.Engine.Start(ctx, sandbox.Request{Client: "c", Language: "c", Code: "int main(void){for(;;);}"})
			if err != nil {
				t.Fatal(err)
			}
			return h
		}},
		{"while the sandbox starts", func(t *testing.T) sandbox.Handle {
			h, err := p.Engine.Start(ctx, sandbox.Request{Client: "c", Language: "python", Code: "pass"})
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-hang:
			case <-ctx.Done():
				t.Fatal("the runtime was never asked")
			}
			return h
		}},
		{"when the sandbox has started", func(t *testing.T) sandbox.Handle { return startAndAwait(ctx, t, p, sandbox.EventStarted) }},
		{"when the program runs", func(t *testing.T) sandbox.Handle { return startAndAwait(ctx, t, p, sandbox.EventStdout) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := c.start(t)
			gone, leave := context.WithCancel(ctx)
			leave()
			if _, err := h.Wait(gone); sandbox.KindOf(err) != sandbox.KindCanceled {
				t.Errorf("Wait without patience = %v, want canceled", err)
			}
			for _, err := range h.Events(gone, 0) {
				if sandbox.KindOf(err) != sandbox.KindCanceled {
					t.Errorf("Events without patience = %v, want canceled", err)
				}
			}
			if state := h.Snapshot().State; state == sandbox.StateDone {
				t.Error("a caller without patience ended it")
			}
			h.Cancel()
			x, err := h.Wait(ctx)
			if err != nil || x.Verdict != sandbox.VerdictCancelled || x.State != sandbox.StateDone || x.ExitCode != -1 {
				t.Errorf("execution = %+v, %v, want it done and cancelled", x, err)
			}
			checkIdle(t, p, ids)
		})
	}
}

// TestDrain closes an engine with a program in it.
func TestDrain(t *testing.T) {
	p, ids := openIdle(t, func(o *sandbox.Options) { o.Drain = 50 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := startAndAwait(ctx, t, p, sandbox.EventStdout)
	if err := p.Engine.Close(ctx); err != nil {
		t.Fatal(err)
	}
	x, err := h.Wait(ctx)
	if err != nil || x.Verdict != sandbox.VerdictCancelled || x.Detail == "" {
		t.Errorf("execution = %+v, %v, want it cancelled, and why", x, err)
	}
	if _, err := p.Engine.Start(ctx, sandbox.Request{Client: "c", Language: "python", Code: "pass"}); sandbox.KindOf(err) != sandbox.KindUnavailable {
		t.Errorf("Start on a closed engine = %v, want unavailable", err)
	}
	checkIdle(t, p, ids)
}
