package sandboxtest_test

import (
	"os"
	"strings"
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
	x := execute(t, p, sandbox.Request{Language: lang.Name, Code: s.Code, Stdin: []byte(s.Stdin)})
	if s.CompileError {
		if x.Verdict != sandbox.VerdictCompileError || x.Compile == nil || x.Compile.Verdict != sandbox.VerdictCompileError {
			t.Fatalf("verdict %v, compile %+v, want a compile error", x.Verdict, x.Compile)
		}
		if !strings.Contains(string(x.Compile.Stderr)+string(x.Compile.Stdout), s.CompileStderr) {
			t.Errorf("the compiler says %q, want %q in it", x.Compile.Stderr, s.CompileStderr)
		}
		return
	}
	if x.Verdict != sandbox.VerdictOK || string(x.Stdout) != s.Stdout {
		t.Errorf("verdict %v, stdout %q, want ok, %q; exit code %d, stderr %q, compile %+v, limits hit %v", x.Verdict, x.Stdout, s.Stdout,
			x.ExitCode, x.Stderr, x.Compile, x.LimitsHit)
	}
	if (x.Compile != nil) != lang.Compiled {
		t.Errorf("compile step is there: %t, want %t", x.Compile != nil, lang.Compiled)
	}
}
