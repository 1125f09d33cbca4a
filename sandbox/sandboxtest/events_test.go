package sandboxtest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestEvents holds the order and the numbers of events, for who listens meanwhile, who comes back and who comes late.
func TestEvents(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, err := p.Engine.Start(ctx, sandbox.Request{Client: "c", Language: "c",
		Code: "#warning said while compiling\n#include <stdio.h>\n#include <unistd.h>\n" +
			"int main(void){puts(\"one\");fflush(stdout);sleep(2);fputs(\"two\\n\",stderr);return 3;}"})
	if err != nil {
		t.Fatal(err)
	}
	live := collect(ctx, t, h, 0)
	checkOrder(t, live)
	x, err := h.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	last := live[len(live)-1].Execution
	if last == nil || last.State != sandbox.StateDone || last.Verdict != sandbox.VerdictRuntimeError {
		t.Fatalf("the last event has %+v, want the result", last)
	}
	if diff := cmp.Diff(x, *last); diff != "" {
		t.Errorf("the result differs from the record (-record +result):\n%s", diff)
	}
	for _, s := range []struct {
		name    string
		kind    sandbox.EventKind
		compile bool
		want    []byte
	}{
		{"stdout", sandbox.EventStdout, false, x.Stdout}, {"stderr", sandbox.EventStderr, false, x.Stderr},
		{"stdout of the compiler", sandbox.EventStdout, true, x.Compile.Stdout},
		{"stderr of the compiler", sandbox.EventStderr, true, x.Compile.Stderr},
	} {
		if got := joined(live, s.kind, s.compile); got != string(s.want) {
			t.Errorf("%s in events = %q, in the record %q", s.name, got, s.want)
		}
	}
	if !slices.ContainsFunc(live, func(e sandbox.Event) bool { return e.Kind == sandbox.EventUsage && !e.Compile && e.Usage.Wall > 0 }) {
		t.Error("a program of two seconds had no usage event")
	}
	if again := collect(ctx, t, h, live[1].Seq); len(again) != len(live)-2 || again[0].Seq != live[2].Seq {
		t.Errorf("after event %d: %d events, want the %d others", live[1].Seq, len(again), len(live)-2)
	}
	late, err := p.Engine.Handle(ctx, sandbox.DefaultTenant, h.ID())
	if err != nil {
		t.Fatal(err)
	}
	told := collect(ctx, t, late, 0)
	checkOrder(t, told)
	if joined(told, sandbox.EventStdout, false) != string(x.Stdout) || joined(told, sandbox.EventStderr, true) != string(x.Compile.Stderr) {
		t.Errorf("told from the record: %+v", told)
	}
}

// collect returns all events with a number above after.
func collect(ctx context.Context, t *testing.T, h sandbox.Handle, after uint64) (all []sandbox.Event) {
	t.Helper()
	for e, err := range h.Events(ctx, after) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		t.Fatalf("no events after %d", after)
	}
	return all
}

// checkOrder wants numbers from 1 without gaps, one start first, one result last, and compiling before running.
func checkOrder(t *testing.T, all []sandbox.Event) {
	t.Helper()
	ran := false
	for i, e := range all {
		if e.Seq != uint64(i+1) {
			t.Errorf("event %d has number %d", i+1, e.Seq)
		}
		if (e.Kind == sandbox.EventStarted) != (i == 0) || (e.Kind == sandbox.EventResult) != (i == len(all)-1) {
			t.Errorf("event %d of %d is of kind %d", i+1, len(all), e.Kind)
		}
		if e.Kind == sandbox.EventStarted || e.Kind == sandbox.EventResult {
			continue
		}
		if e.Compile && ran {
			t.Errorf("event %d is of the compile step, after one of the run step", i+1)
		}
		ran = !e.Compile
	}
}

func joined(all []sandbox.Event, kind sandbox.EventKind, compile bool) (data string) {
	for _, e := range all {
		if e.Kind == kind && e.Compile == compile {
			data += string(e.Data)
		}
	}
	return data
}

// TestCancelWhileRunning cancels once output shows that the program runs. What it had printed is kept.
func TestCancelWhileRunning(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range []struct {
		name     string
		language string
		code     string
	}{
		{"run step", "python", "import time\nprint('here')\ntime.sleep(60)"},
		{"children", "python", "import os, time\nos.fork()\nos.fork()\nos.setsid() if os.getpid() != os.getpgrp() else 0\nprint('here')\ntime.sleep(60)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := p.Engine.Start(ctx, sandbox.Request{Client: "c", Language: c.language, Code: c.code})
			if err != nil {
				t.Fatal(err)
			}
			for e, err := range h.Events(ctx, 0) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Kind == sandbox.EventStdout {
					h.Cancel()
				}
			}
			x, err := h.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if x.Verdict != sandbox.VerdictCancelled || x.ExitCode != -1 || x.Signal != "SIGKILL" || len(x.Stdout) < len("here") || x.Usage.Wall > 30*time.Second {
				t.Errorf("execution = %+v, want it cancelled soon and its output kept", x)
			}
			h.Cancel() // a no-op
			if again, err := p.Engine.Cancel(ctx, x.Tenant, x.ID); err != nil || cmp.Diff(x, again) != "" {
				t.Errorf("cancelling what is done: %+v, %v, want the record as it was", again, err)
			}
		})
	}
}

// TestClamped lists what was asked above the policy, and nothing else.
func TestClamped(t *testing.T) {
	p := sandboxtest.Open(t, func(o *sandbox.Options) {
		o.Policy.Max = sandbox.Limits{WallTime: 3 * time.Second, Memory: 128 * mib, Output: 1000}
	})
	x := execute(t, p, sandbox.Request{Language: "python", Code: "print('x' * 2000)",
		Limits: sandbox.Limits{WallTime: time.Hour, Memory: 64 * mib, Output: 1 << 30}})
	if diff := cmp.Diff([]sandbox.LimitName{sandbox.LimitWallTime, sandbox.LimitOutput}, x.Clamped); diff != "" {
		t.Errorf("clamped differs (-want +got):\n%s", diff)
	}
	if x.Limits.WallTime != 3*time.Second || x.Limits.Memory != 64*mib || x.Limits.Output != 1000 {
		t.Errorf("limits in force = %+v", x.Limits)
	}
	if x.Verdict != sandbox.VerdictOutputLimit || len(x.Stdout) != 1000 {
		t.Errorf("verdict %v with %d bytes, want the lowered limit kept", x.Verdict, len(x.Stdout))
	}
	if x = execute(t, p, sandbox.Request{Language: "python", Code: "pass"}); len(x.Clamped) > 0 || x.Limits.Memory != 128*mib {
		t.Errorf("a default above the policy: clamped %v, memory %d, want it lowered silently", x.Clamped, x.Limits.Memory)
	}
}

// TestRefusals holds the kinds of errors for requests that are never run.
func TestRefusals(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	for _, c := range []struct {
		name    string
		request sandbox.Request
		kind    sandbox.Kind
		field   string
	}{
		{"no such language", sandbox.Request{Language: "cobol", Code: "x"}, sandbox.KindInvalid, "language"},
		{"no such runtime", sandbox.Request{Language: "python", Code: "x", Runtime: "none"}, sandbox.KindInvalid, "runtime"},
		{"nothing to run", sandbox.Request{Language: "python"}, sandbox.KindInvalid, "code"},
		{"too little memory", sandbox.Request{Language: "python", Code: "x", Limits: sandbox.Limits{Memory: sandbox.MinMemory - 1}},
			sandbox.KindInvalid, "limits.memoryBytes"},
		{"a path out of the work directory", sandbox.Request{Language: "python", Files: []sandbox.File{{Path: "../x"}}},
			sandbox.KindInvalid, "files[0].path"},
		{"files without an entrypoint", sandbox.Request{Language: "python", Files: []sandbox.File{{Path: "a.txt"}, {Path: "b.txt"}}},
			sandbox.KindInvalid, "entrypoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := p.Engine.Start(t.Context(), c.request)
			e, ok := errors.AsType[*sandbox.Error](err)
			if !ok || e.Kind != c.kind || e.Field != c.field {
				t.Errorf("Start = %v, want kind %d at %s", err, c.kind, c.field)
			}
		})
	}
	if _, err := p.Engine.Get(t.Context(), "another", execute(t, p, sandbox.Request{Language: "python", Code: "pass"}).ID); sandbox.KindOf(err) != sandbox.KindNotFound {
		t.Errorf("another tenant's execution: %v, want not found", err)
	}
}
