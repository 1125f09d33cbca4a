package images

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

var _ = flag.Bool("update", false, "write golden files")

// golden compares v, as JSON, with a file.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	file := filepath.Join("testdata", name)
	if updating() {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: want -, got +\n%s", name, diff)
	}
}

func TestPlanGolden(t *testing.T) {
	for _, r := range mustLoad(t).All() {
		p, err := r.Plan(PlanInput{Code: []byte("code"), Args: []string{"-x", "a b", ""}, Env: map[string]string{"TZ": "Asia/Tokyo", "MINE": "1"}})
		if err != nil {
			t.Errorf("%s: Plan() = %v", r.Name, err)
			continue
		}
		prepare, err := r.PrepareCommand()
		if err != nil {
			t.Errorf("%s: PrepareCommand() = %v", r.Name, err)
		}
		golden(t, "plan-"+r.Name+".json", map[string]any{"plan": p, "prepare": prepare, "version": r.VersionCommand(nil)})
	}
}

func TestPlanFiles(t *testing.T) {
	for _, tt := range []struct {
		name, lang  string
		in          PlanInput
		entry       string
		compile     string // the end of the compile command
		run         string // the end of the run command
		wantRefused string
	}{
		{name: "own entrypoint", lang: "python", in: PlanInput{Entrypoint: "src/./x.py"}, entry: "src/x.py", run: "python3 src/x.py"},
		{name: "like an option", lang: "python", in: PlanInput{Entrypoint: "-c"}, entry: "-c", run: "python3 ./-c"},
		{name: "like a list", lang: "c", in: PlanInput{Entrypoint: "@x.c"}, entry: "@x.c", compile: "a.out ./@x.c -lm", run: "./a.out"},
		{name: "program found", lang: "python", in: PlanInput{Programs: map[string]string{"python3": "/usr/bin/python3"}}, entry: "main.py", run: "/usr/bin/python3 main.py"},
		{name: "one source", lang: "python", in: PlanInput{Files: []string{"data.txt", "app.py"}}, entry: "app.py", run: "python3 app.py"},
		{name: "default among files", lang: "python", in: PlanInput{Files: []string{"z.py", "main.py"}}, entry: "main.py", run: "python3 main.py"},
		{name: "all C sources", lang: "c", in: PlanInput{Files: []string{"z.c", "lib/a.c", "lib/a.h", "main.c"}}, entry: "main.c", compile: "a.out main.c lib/a.c z.c -lm", run: "./a.out"},
		{name: "Go files", lang: "go", in: PlanInput{Files: []string{"b.go", "main.go", "main_test.go", "sub/x.go"}}, entry: "main.go", compile: "-o a.out main.go b.go", run: "./a.out"},
		{name: "Go module", lang: "go", in: PlanInput{Files: []string{"go.mod", "main.go", "sub/x.go"}}, entry: "main.go", compile: "-o a.out ./.", run: "./a.out"},
		{name: "Go module, command below", lang: "go", in: PlanInput{Entrypoint: "cmd/x/main.go", Files: []string{"go.mod", "cmd/x/main.go"}}, entry: "cmd/x/main.go", compile: "-o a.out ./cmd/x", run: "./a.out"},
		{name: "space in name", lang: "c", in: PlanInput{Entrypoint: "a b.c"}, entry: "a b.c", compile: "a.out a b.c -lm", run: "./a.out"},
		{name: "Java by path", lang: "java", in: PlanInput{Entrypoint: "org/x/App.java", Files: []string{"org/x/App.java", "org/x/B.java"}}, entry: "org/x/App.java", compile: "-d . org/x/App.java org/x/B.java", run: "-cp . org.x.App"},
		{name: "Java by code", lang: "java", in: PlanInput{Entrypoint: "src/Main.java", Files: []string{"src/Main.java"}, Code: []byte("class Main {}")}, entry: "src/Main.java", compile: "-d . src/Main.java", run: "-cp . Main"},
		{name: "TypeScript below", lang: "typescript", in: PlanInput{Entrypoint: "src/a.ts"}, entry: "src/a.ts", compile: "transpile src/a.ts", run: "512 src/.soulbox.cjs"},
		{name: "memory", lang: "java", in: PlanInput{Memory: 100 << 20, CompileMemory: 200 << 20}, entry: "Main.java", compile: "Main.java", run: "-cp . Main"},
		{name: "ambiguous", lang: "python", in: PlanInput{Files: []string{"a.py", "b.py"}}, wantRefused: "name the entrypoint"},
		{name: "no source", lang: "python", in: PlanInput{Files: []string{"a.txt"}}, wantRefused: "name the entrypoint"},
		{name: "not among files", lang: "python", in: PlanInput{Entrypoint: "b.py", Files: []string{"a.py"}}, wantRefused: "not among the files"},
		{name: "outside", lang: "python", in: PlanInput{Entrypoint: "../b.py"}, wantRefused: "not the path of a file"},
		{name: "absolute", lang: "python", in: PlanInput{Files: []string{"/etc/passwd"}}, wantRefused: "not the path of a file"},
		{name: "directory", lang: "python", in: PlanInput{Entrypoint: "a/"}, wantRefused: "not the path of a file"},
		{name: "NUL", lang: "python", in: PlanInput{Entrypoint: "a\x00b"}, wantRefused: "not the path of a file"},
		{name: "long", lang: "python", in: PlanInput{Entrypoint: strings.Repeat("a", 4096)}, wantRefused: "not the path of a file"},
		{name: "NUL in argument", lang: "python", in: PlanInput{Args: []string{"\x00"}}, wantRefused: "argument holds a NUL"},
		{name: "variable's name", lang: "python", in: PlanInput{Env: map[string]string{"A=B": ""}}, wantRefused: "environment variable"},
		{name: "variable's value", lang: "python", in: PlanInput{Env: map[string]string{"A": "\x00"}}, wantRefused: "environment variable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := mustFind(t, tt.lang).Plan(tt.in)
			if tt.wantRefused != "" {
				if !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), tt.wantRefused) {
					t.Errorf("Plan(%+v) = %v, want ErrPlan with %q", tt.in, err, tt.wantRefused)
				}
				return
			}
			if err != nil {
				t.Fatalf("Plan(%+v) = %v", tt.in, err)
			}
			if p.Entrypoint != tt.entry {
				t.Errorf("Plan(%+v).Entrypoint = %q, want %q", tt.in, p.Entrypoint, tt.entry)
			}
			compile := ""
			if p.Compile != nil {
				compile = strings.Join(p.Compile.Args, " ")
			}
			if !strings.HasSuffix(compile, tt.compile) || (compile == "") != (tt.compile == "") {
				t.Errorf("Plan(%+v).Compile = %q, want it to end in %q", tt.in, compile, tt.compile)
			}
			if run := strings.Join(p.Run.Args, " "); tt.lang != "typescript" && !strings.HasSuffix(run, tt.run) {
				t.Errorf("Plan(%+v).Run = %q, want it to end in %q", tt.in, run, tt.run)
			}
		})
	}
}

func TestPlanHeap(t *testing.T) {
	for _, tt := range []struct {
		lang       string
		memory     int64
		arg, inEnv string
	}{
		{lang: "java", memory: 512 << 20, arg: "-Xmx332m"},
		{lang: "java", memory: 4 << 20, arg: "-Xmx8m"},
		{lang: "javascript", memory: 1 << 30, arg: "--max-old-space-size=767"},
		{lang: "typescript", memory: 1 << 20, arg: "--max-old-space-size=16"},
		{lang: "php", memory: 100 << 20, arg: "memory_limit=85M"},
		{lang: "go", memory: 100 << 20, inEnv: "GOMEMLIMIT=90MiB"},
	} {
		p, err := mustFind(t, tt.lang).Plan(PlanInput{Memory: tt.memory})
		if err != nil {
			t.Fatal(err)
		}
		if tt.arg != "" && !slices.Contains(p.Run.Args, tt.arg) || tt.inEnv != "" && !slices.Contains(p.Run.Env, tt.inEnv) {
			t.Errorf("%s with %d bytes: Run = %v, want %s%s in it", tt.lang, tt.memory, p.Run, tt.arg, tt.inEnv)
		}
	}
}

func TestJavaNames(t *testing.T) {
	for _, tt := range []struct{ code, entry, module string }{
		{"public class Foo { }", "Foo.java", "Foo"},
		{"class A {}\npublic final class Foo { }", "Foo.java", "Foo"},
		{"public record R(int x) { public static void main(String[] a) {} }", "R.java", "R"},
		{"public sealed interface I permits X {}", "I.java", "I"},
		{"@Deprecated\npublic class Foo {}", "Foo.java", "Foo"},
		{"@SuppressWarnings(\"all\") public class Foo {}", "Foo.java", "Foo"},
		{"/* public class No {} */ \n// public class No\npublic class Yes {}", "Yes.java", "Yes"},
		{"class A { String s = \"\\\"\\npublic class No {\"; }\npublic class Yes {}", "Yes.java", "Yes"},
		{"class A { String s = \"\"\"\npublic class No {\n\"\"\"; }\npublic class Yes {}", "Yes.java", "Yes"},
		{"class A {}\nclass B { public static void main(String[] a) {} }", "B.java", "B"},
		{"class A { }\nfinal class B {\n  record R(int x) {}\n  public static void main(String[] a) {} }\n", "B.java", "B"},
		{" class A {} class B { public static void main(String[] a) {} }", "B.java", "B"},
		{"package a.b;\npublic class Foo {}", "Foo.java", "a.b.Foo"},
		{"// package no;\npackage a.b;\npublic class Foo {}", "Foo.java", "a.b.Foo"},
		{"int x", "Main.java", "Main"},
		{"", "Main.java", "Main"},
	} {
		p, err := mustFind(t, "java").Plan(PlanInput{Code: []byte(tt.code)})
		if err != nil {
			t.Fatal(err)
		}
		module := p.Run.Args[len(p.Run.Args)-1]
		if p.Entrypoint != tt.entry || module != tt.module {
			t.Errorf("Plan(%q): entrypoint %q and module %q, want %q and %q", tt.code, p.Entrypoint, module, tt.entry, tt.module)
		}
	}
}

func TestPrepareKey(t *testing.T) {
	cpp := mustFind(t, "cpp")
	one, err := cpp.PrepareKey("g++ 12")
	if err != nil {
		t.Fatal(err)
	}
	same, _ := cpp.PrepareKey("g++ 12")
	other, _ := cpp.PrepareKey("g++ 13")
	if one == "" || one != same || one == other {
		t.Errorf("PrepareKey of g++ 12, 12, 13 = %q, %q, %q, want two equal and one different", one, same, other)
	}
	if key, err := mustFind(t, "python").PrepareKey("3"); key != "" || err != nil {
		t.Errorf("PrepareKey of a language that prepares nothing = %q, %v", key, err)
	}
}

func TestStatus(t *testing.T) {
	cpp := mustFind(t, "cpp")
	got := cpp.Status(func(name string) (string, bool) { return "/usr/bin/" + name, name == "g++" })
	want := Status{
		Programs: map[string]string{"g++": "/usr/bin/g++"}, Missing: []string{"/usr/include/stdio.h"},
		Install: "apt-get install -y --no-install-recommends g++ libc6-dev",
	}
	if diff := cmp.Diff(want, got); diff != "" || got.Available() {
		t.Errorf("Status: want -, got +\n%s", diff)
	}
	all := cpp.Status(func(name string) (string, bool) { return name, true })
	if !all.Available() || all.Install != "" {
		t.Errorf("Status with all there = %+v, want it available", all)
	}
}
