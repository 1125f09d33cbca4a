package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// need skips t on hosts that lack a feature. With SOULBOX_CI set it fails instead.
func need(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) && os.Getenv("SOULBOX_CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// bench is where planned commands run without a sandbox: directories that stand for those of [WorkDir] and [LangDir].
type bench struct {
	work, lang, tools string
	programs          map[string]string
}

func newBench(t testing.TB, r *Recipe) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{work: filepath.Join(dir, "work"), lang: filepath.Join(dir, "lang"), tools: filepath.Join(dir, "tools")}
	for _, d := range []string{b.work, filepath.Join(b.lang, r.Name), b.tools} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root := &RootFS{source: "/"}
	status := r.Status(root.Lookup)
	if !status.Available() {
		need(t, fmt.Errorf("%s needs %v (%s): %w", r.Name, status.Missing, status.Install, errors.ErrUnsupported))
	}
	b.programs = status.Programs
	return b
}

// buildTools makes the tools that recipes use from their sources.
func (b *bench) buildTools(t testing.TB) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", filepath.Join(b.tools, "transpile"), "../cmd/soulbox-transpile")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// run executes c as a sandbox would, and returns its outcome.
func (b *bench) run(t testing.TB, c *Command, stdin string) (exit int, stdout, stderr string, wall time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	here := strings.NewReplacer(LangDir, b.lang, ToolsDir, b.tools, WorkDir, b.work)
	var args, env []string
	for _, a := range c.Args {
		args = append(args, here.Replace(a))
	}
	for _, e := range c.Env {
		env = append(env, here.Replace(e))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if strings.HasPrefix(args[0], "./") {
		cmd.Path = filepath.Join(b.work, args[0])
	}
	cmd.Env, cmd.Dir, cmd.Stdin = env, here.Replace(c.Dir), strings.NewReader(stdin)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	start := time.Now()
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatalf("run %v: %v", args, err)
		}
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String(), time.Since(start)
}

// prepare fills the prepared directory.
func (b *bench) prepare(t testing.TB, r *Recipe) {
	t.Helper()
	c, err := r.PrepareCommand()
	if err != nil {
		t.Fatal(err)
	}
	if c == nil {
		return
	}
	exit, _, stderr, wall := b.run(t, c, "")
	if exit != 0 {
		t.Fatalf("prepare: exit %d\n%s", exit, stderr)
	}
	t.Logf("prepare: %v", wall)
	clearDir(t, b.work)
}

func clearDir(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSamples needs the languages on this host. It runs what recipes plan, without a sandbox.
func TestSamples(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.All() {
		t.Run(r.Name, func(t *testing.T) {
			if testing.Short() && r.prepare != nil {
				t.Skip("preparing takes long")
			}
			b := newBench(t, r)
			if r.Name == "typescript" {
				b.buildTools(t)
			}
			exit, stdout, stderr, _ := b.run(t, r.VersionCommand(b.programs), "")
			version, err := r.ParseVersion(strings.NewReader(stdout + stderr))
			if exit != 0 || version == "" || err != nil {
				t.Fatalf("version: exit %d, %q, %v\n%s%s", exit, version, err, stdout, stderr)
			}
			t.Logf("version: %s", version)
			b.prepare(t, r)
			for _, s := range r.Samples {
				t.Run(s.Name, func(t *testing.T) { b.sample(t, r, s) })
			}
		})
	}
}

func (b *bench) sample(t *testing.T, r *Recipe, s Sample) {
	clearDir(t, b.work)
	p, err := r.Plan(PlanInput{Code: []byte(s.Code), Args: s.Args, Programs: b.programs})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.work, p.Entrypoint), []byte(s.Code), 0o644); err != nil {
		t.Fatal(err)
	}
	o := Outcome{Compiled: true}
	if p.Compile != nil {
		exit, _, stderr, wall := b.run(t, p.Compile, "")
		t.Logf("compile: %v", wall)
		o.Compiled, o.CompileStderr = exit == 0, stderr
		if exit == 0 && stderr != "" {
			t.Errorf("the compiler warns: %s", stderr)
		}
	}
	if o.Compiled {
		exit, stdout, stderr, wall := b.run(t, p.Run, s.Stdin)
		t.Logf("run: %v", wall)
		o.ExitCode, o.Stdout, o.Stderr = exit, stdout, strings.ReplaceAll(stderr, b.work, WorkDir)
		if exit < 0 {
			o.Signal = "SIGABRT" // the one that samples end by
		}
	}
	if problem := s.Problem(o); problem != "" {
		t.Error(problem)
	}
}

func TestSampleProblem(t *testing.T) {
	hello := Sample{Stdout: "hello\n"}
	broken := Sample{CompileError: true, CompileStderr: "expected"}
	fails := Sample{ExitCode: 3, Stderr: "oh"}
	aborts := Sample{Signal: "SIGABRT"}
	for _, tc := range []struct {
		name   string
		sample Sample
		o      Outcome
		want   string
	}{
		{"right", hello, Outcome{Compiled: true, Stdout: "hello\n", Stderr: "a warning"}, ""},
		{"other output", hello, Outcome{Compiled: true, Stdout: "hi\n"}, `it prints "hi\n", not "hello\n"`},
		{"fails", hello, Outcome{Compiled: true, Stdout: "hello\n", ExitCode: 1, Stderr: "oh"}, `it ends with 1, not 0: "oh"`},
		{"killed", hello, Outcome{Compiled: true, Stdout: "hello\n", ExitCode: -1, Signal: "SIGKILL"}, `it ends by signal "SIGKILL", not "": ""`},
		{"does not compile", hello, Outcome{CompileStderr: "no"}, `it does not compile: "no"`},
		{"must not compile", broken, Outcome{CompileStderr: "x.c: expected ;"}, ""},
		{"compiles", broken, Outcome{Compiled: true}, "it must not compile, and does"},
		{"fails to compile otherwise", broken, Outcome{CompileStderr: "killed"}, `the compiler does not mention "expected": "killed"`},
		{"must fail", fails, Outcome{Compiled: true, ExitCode: 3, Stderr: "oh no"}, ""},
		{"does not fail", fails, Outcome{Compiled: true}, `it ends with 0, not 3: ""`},
		{"fails in silence", fails, Outcome{Compiled: true, ExitCode: 3}, `it does not mention "oh" on stderr: ""`},
		{"must abort", aborts, Outcome{Compiled: true, ExitCode: -1, Signal: "SIGABRT"}, ""},
		{"exits instead", aborts, Outcome{Compiled: true, ExitCode: 134}, `it ends by signal "", not "SIGABRT": ""`},
	} {
		if got := tc.sample.Problem(tc.o); got != tc.want {
			t.Errorf("%s: Problem = %q, want %q", tc.name, got, tc.want)
		}
	}
}
