package sandboxtest_test

import (
	"os"
	"testing"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestLanguages runs every recipe's own samples under its own limits. All languages must be installed, but in the test
// machine, which is small.
func TestLanguages(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	catalog, err := images.Load()
	if err != nil {
		t.Fatal(err)
	}
	langs, err := p.Engine.Languages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(langs) < 10 {
		t.Errorf("%d languages, want 10", len(langs))
	}
	for _, lang := range langs {
		if !lang.Available && os.Getenv("SOULBOX_VM") != "" {
			continue
		}
		t.Run(lang.Name, func(t *testing.T) {
			if !lang.Available {
				t.Fatalf("not installed: missing %v; %s", lang.Missing, lang.Install)
			}
			if lang.Version == "" {
				t.Error("its version is unknown")
			}
			recipe, _ := catalog.Find(lang.Name)
			for _, s := range recipe.Samples {
				t.Run(s.Name, func(t *testing.T) { runSample(t, p, lang, s) })
			}
		})
	}
}

func runSample(t *testing.T, p *sandboxtest.Parts, lang sandbox.Language, s images.Sample) {
	x := execute(t, p, sandbox.Request{Language: lang.Name, Code: s.Code, Args: s.Args, Stdin: []byte(s.Stdin)})
	o := images.Outcome{Compiled: x.Compile == nil || x.Compile.Verdict == sandbox.VerdictOK,
		Stdout: string(x.Stdout), Stderr: string(x.Stderr), ExitCode: x.ExitCode, Signal: x.Signal}
	if x.Compile != nil {
		o.CompileStderr = string(x.Compile.Stderr)
	}
	if problem := s.Problem(o); problem != "" {
		t.Errorf("%s; verdict %v, limits hit %v", problem, x.Verdict, x.LimitsHit)
	}
	want := sandbox.VerdictOK
	switch {
	case s.CompileError:
		want = sandbox.VerdictCompileError
	case s.Signal != "":
		want = sandbox.VerdictSignalled
	case s.ExitCode != 0:
		want = sandbox.VerdictRuntimeError
	}
	if x.Verdict != want {
		t.Errorf("verdict %v, want %v", x.Verdict, want)
	}
	if (x.Compile != nil) != lang.Compiled {
		t.Errorf("compile step is there: %t, want %t", x.Compile != nil, lang.Compiled)
	}
}
