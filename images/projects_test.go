package images

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestProjects needs compilers on this host. It runs programs of more than one file, and what recipes promise of them.
func TestProjects(t *testing.T) {
	if testing.Short() {
		t.Skip("Go builds a part of its library")
	}
	for _, tt := range []struct {
		name, lang, entry string
		files             map[string]string
		args              []string
		stdout            string
		exit              int
		stderr            string // a part of what the failing step prints
	}{
		{name: "Go files", lang: "go", files: map[string]string{
			"main.go":      "package main\nfunc main() { print(); println(f()) }",
			"f.go":         "package main\nfunc f() int { return 7 }",
			"main_test.go": "package main\nsyntax error",
		}, stderr: "7\n"},
		{name: "Go module", lang: "go", files: map[string]string{
			"go.mod":     "module example.org/m\n\ngo 1.18\n",
			"main.go":    "package main\nimport \"example.org/m/sub\"\nfunc main() { println(sub.F()) }",
			"sub/sub.go": "package sub\nfunc F() int { return 3 }",
		}, stderr: "3\n"},
		{name: "Java classes", lang: "java", files: map[string]string{
			"Main.java":    "public class Main { public static void main(String[] a) { System.out.println(x.B.f() + a[0]); } }",
			"x/B.java":     "package x;\npublic class B { public static String f() { return \"b\"; } }",
			"unused.class": "",
		}, args: []string{"ü"}, stdout: "bü\n"},
		{name: "C sources", lang: "c", files: map[string]string{
			"main.c":  "#include \"lib/f.h\"\n#include <stdio.h>\n#include <string.h>\nint main(void) { puts(strdup(f())); return 3; }",
			"lib/f.c": "#include \"f.h\"\nconst char *f(void) { return \"f\"; }",
			"lib/f.h": "const char *f(void);",
		}, stdout: "f\n", exit: 3},
		{name: "Rust modules", lang: "rust", files: map[string]string{
			"main.rs": "mod f;\nfn main() { println!(\"{}\", f::f()); }", "f.rs": "pub fn f() -> i32 { 5 }",
		}, stdout: "5\n"},
		{name: "Python modules", lang: "python", entry: "app/run.py", files: map[string]string{
			"app/run.py": "import sys, f\nprint(f.X, sys.argv[1:])", "app/f.py": "X = 5",
		}, args: []string{"a b", "-c"}, stdout: "5 ['a b', '-c']\n"},
		{name: "JavaScript module", lang: "javascript", entry: "a.mjs", files: map[string]string{
			"a.mjs": "import { x } from './b.mjs';\nconsole.log(await x, process.argv[2]);", "b.mjs": "export const x = Promise.resolve(5);",
		}, args: []string{"--arg"}, stdout: "5 --arg\n"},
		{name: "TypeScript imports", lang: "typescript", entry: "src/main.ts", files: map[string]string{
			"src/main.ts": "import { f, type T } from './f';\nimport data from './d.json';\nimport { fileURLToPath } from 'node:url';\n" +
				"const t: T = f();\nconsole.log(t, data.x, fileURLToPath(import.meta.url).startsWith(__dirname), require('node:path').sep);",
			"src/f.ts": "export type T = number;\nexport const f = (): T => 5;", "src/d.json": "{\"x\": 6}",
		}, stdout: "5 6 true /\n"},
		{name: "TypeScript module", lang: "typescript", files: map[string]string{
			"main.ts": "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);\n" +
				"const __dirname = '.';\nawait null;\nconsole.log(require('node:path').sep, __dirname);",
		}, stdout: "/ .\n"},
		{name: "TypeScript stack", lang: "typescript", files: map[string]string{
			"main.ts": "interface A {\n  x: number\n}\nfunction f(): A { throw new Error('no') }\nf();",
		}, exit: 1, stderr: "main.ts:4:25"},
		{name: "TypeScript stack of module", lang: "typescript", files: map[string]string{
			"main.ts": "interface A {\n  x: number\n}\nawait null;\nfunction f(): A { throw new Error('no') }\nf();",
		}, exit: 1, stderr: "main.ts:5:25"},
		{name: "PHP error", lang: "php", files: map[string]string{"main.php": "<?php nothing();"}, exit: 255, stderr: "undefined function"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := mustFind(t, tt.lang)
			b := newBench(t, r)
			if tt.lang == "typescript" {
				b.buildTools(t)
			}
			for name, content := range tt.files {
				full := filepath.Join(b.work, name)
				if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p, err := r.Plan(PlanInput{
				Entrypoint: tt.entry, Files: slices.Collect(maps.Keys(tt.files)), Args: tt.args, Programs: b.programs,
			})
			if err != nil {
				t.Fatal(err)
			}
			if p.Compile != nil {
				if exit, _, stderr, _ := b.run(t, p.Compile, ""); exit != 0 || stderr != "" {
					t.Fatalf("compile: exit %d\n%s", exit, stderr)
				}
			}
			exit, stdout, stderr, _ := b.run(t, p.Run, "")
			if exit != tt.exit || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("run: exit %d, stdout %q, stderr %q; want %d, %q, %q", exit, stdout, stderr, tt.exit, tt.stdout, tt.stderr)
			}
		})
	}
}
