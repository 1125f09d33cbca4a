package sandbox

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

func TestConclude(t *testing.T) {
	ran := Step{Verdict: VerdictRuntimeError, ExitCode: 3, Stdout: []byte("x"), Usage: Usage{Wall: time.Second}}
	internal := Step{Verdict: VerdictInternal, ExitCode: -1}
	for _, c := range []struct {
		name     string
		step     Step
		err      error
		cancel   bool // by the caller
		draining bool
		want     Step
		told     bool // Detail is set
	}{
		{name: "done", step: ran, want: ran},
		{name: "failed inside", step: ran, err: errors.New("secret"), want: internal, told: true},
		{name: "failed inside, as an Error", err: &Error{Kind: KindInternal, Msg: "secret"}, want: internal, told: true},
		{name: "refused, and wrapped", err: fmt.Errorf("open: %w", &Error{Kind: KindExhausted, Msg: "later"}), want: internal, told: true},
		{name: "cancelled before it ran", cancel: true, want: Step{Verdict: VerdictCancelled, ExitCode: -1}},
		{name: "cancelled, and failed of it", cancel: true, err: context.Canceled, want: Step{Verdict: VerdictCancelled, ExitCode: -1}},
		{name: "cancelled while it ran", step: Step{Verdict: VerdictCancelled, ExitCode: -1, Signal: "SIGKILL", Usage: ran.Usage}, cancel: true,
			want: Step{Verdict: VerdictCancelled, ExitCode: -1, Signal: "SIGKILL", Usage: ran.Usage}},
		{name: "drained", draining: true, want: Step{Verdict: VerdictCancelled, ExitCode: -1}, told: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			if c.cancel || c.draining {
				stop()
			}
			x := &Execution{State: StateRunning, Step: c.step}
			(&Engine{}).concludeLocked(ctx, x, &active{cancel: c.cancel}, c.err)
			if diff := cmp.Diff(c.want, x.Step); diff != "" {
				t.Errorf("step differs (-want +got):\n%s", diff)
			}
			if x.State != StateDone || x.EndedAt.IsZero() || (x.Detail != "") != c.told {
				t.Errorf("state %v, ended at %v, detail %q, want it done and detail set: %t", x.State, x.EndedAt, x.Detail, c.told)
			}
			if x.Detail == "secret" {
				t.Error("the detail tells the cause")
			}
		})
	}
}

// planner returns an engine that can plan and do nothing else.
func planner(t *testing.T) *Engine {
	t.Helper()
	catalog, err := images.Load()
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{o: Options{Catalog: catalog}}
	e.langs = &languages{e: e, status: map[string]images.Status{}}
	return e
}

func TestPlan(t *testing.T) {
	e := planner(t)
	host, err := e.ground(&Request{}, &Rules{})
	if err != nil {
		t.Fatal(err)
	}
	inPackage := []byte("package org.example;\npublic class Main { public static void main(String[] args) {} }")
	for _, c := range []struct {
		name    string
		request Request
		entry   string
		last    string // argument of the run step
		kind    Kind   // of the error; 0: none
	}{
		{name: "code", request: Request{Language: "python", Code: "x"}, entry: "main.py", last: "main.py"},
		{name: "arguments", request: Request{Language: "python", Code: "x", Args: []string{"-a"}}, entry: "main.py", last: "-a"},
		{name: "the public class", request: Request{Language: "java", Code: "public class Hello {}"}, entry: "Hello.java", last: "Hello"},
		{name: "package of the file that is named", entry: "Main.java", last: "org.example.Main",
			request: Request{Language: "java", Entrypoint: "Main.java", Files: []File{{Path: "Main.java", Content: inPackage}}}},
		{name: "package of the file that is found", entry: "Main.java", last: "org.example.Main",
			request: Request{Language: "java", Files: []File{{Path: "Main.java", Content: inPackage}}}},
		{name: "no entrypoint", request: Request{Language: "python", Files: []File{{Path: "a.txt"}}}, kind: KindInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			recipe, ok := e.o.Catalog.Find(c.request.Language)
			if !ok {
				t.Fatalf("no language %s", c.request.Language)
			}
			p, err := e.plan(c.request, recipe, host, Limits{Memory: 256 << 20}, Limits{Memory: 64 << 20})
			if c.kind != 0 {
				if KindOf(err) != c.kind {
					t.Errorf("plan: %v, want kind %d", err, c.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Run.Args[len(p.Run.Args)-1]; p.Entrypoint != c.entry || got != c.last {
				t.Errorf("entrypoint %q, last argument %q, want %q, %q", p.Entrypoint, got, c.entry, c.last)
			}
		})
	}
}

// TestPlanFollowsPolicy wants a compiler's heap cut to the memory that the policy leaves it.
func TestPlanFollowsPolicy(t *testing.T) {
	r := Request{Language: "java", Code: "public class A {}"}
	heaps := map[int64][]string{}
	e := planner(t)
	host, err := e.ground(&r, &Rules{})
	if err != nil {
		t.Fatal(err)
	}
	for _, most := range []int64{128 << 20, 0} {
		recipe, _ := e.o.Catalog.Find("java")
		p, err := e.plan(r, recipe, host, Limits{Memory: most}, Limits{Memory: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		heaps[most] = p.Compile.Args
	}
	if cmp.Equal(heaps[0], heaps[128<<20]) {
		t.Errorf("the compile step is the same with 128 MiB and with the recipe's own limit: %q", heaps[0])
	}
}

func TestRequestFiles(t *testing.T) {
	for _, c := range []struct {
		name    string
		request Request
		want    []client.File
	}{
		{"code", Request{Code: "x"}, []client.File{{Path: "e", Content: []byte("x"), Mode: 0o644}}},
		{"files", Request{Files: []File{{Path: "a", Content: []byte("1")}, {Path: "b", Mode: 0o700}}},
			[]client.File{{Path: "a", Content: []byte("1"), Mode: 0o644}, {Path: "b", Mode: 0o700}}},
	} {
		if diff := cmp.Diff(c.want, requestFiles(c.request, "e")); diff != "" {
			t.Errorf("%s: files differ (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestFinishedEvents(t *testing.T) {
	x := Execution{ID: "i", State: StateDone, Step: Step{Stdout: []byte("out"), Stderr: []byte("err")},
		Compile: &Step{Stderr: []byte("warning")}}
	all := []Event{
		{Seq: 1, Kind: EventStarted, Execution: &x}, {Seq: 2, Kind: EventStderr, Data: []byte("warning"), Compile: true},
		{Seq: 3, Kind: EventStdout, Data: []byte("out")}, {Seq: 4, Kind: EventStderr, Data: []byte("err")},
		{Seq: 5, Kind: EventResult, Execution: &x},
	}
	for after := range len(all) + 2 {
		var got []Event
		for e, err := range (finished{x}).Events(t.Context(), uint64(after)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if diff := cmp.Diff(all[min(after, len(all)):], got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("events after %d differ (-want +got):\n%s", after, diff)
		}
	}
	for range (finished{x}).Events(t.Context(), 0) {
		break // must not be called again
	}
}
