package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDetect(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct {
		name, file, content string
		want                string   // "" when it is not clear
		candidates          []string // then
	}{
		{name: "extension", file: "a/main.py", want: "python"},
		{name: "extension in capitals", file: "MAIN.CPP", want: "cpp"},
		{name: "only an extension", file: ".py", want: "python"},
		{name: "extension before shebang", file: "x.mjs", content: "#!/usr/bin/env python3\n", want: "javascript"},
		{name: "extension before content", file: "x.ts", content: "console.log(1)", want: "typescript"},
		{name: "extension of something binary", file: "x.py", content: "\x00", want: "python"},
		{name: "C header", file: "f.h", content: "#ifndef F_H\n#define F_H\nconst char *f(void);\n#endif\n", want: "c"},
		{name: "C header for both", file: "f.h", content: "#ifdef __cplusplus\nextern \"C\" {\n#endif\nint f(void);\n", want: "c"},
		{name: "C++ header", file: "f.h", content: "#pragma once\n#include <string>\nclass F {\npublic:\n  std::string name() const;\n};\n", want: "cpp"},
		{name: "either header", file: "f.h", content: "int f(int);\n", candidates: []string{"c", "cpp"}},
		{name: "either header with a guard", file: "f.h", content: "#pragma once\nint f(int);\n", candidates: []string{"c", "cpp"}},
		{name: "C++ header, not Python", file: "f.h", content: "import os\nprint(f'')\n", candidates: []string{"c", "cpp"}},

		{name: "shebang with version", file: "script", content: "#!/usr/bin/python3.11\nprint()", want: "python"},
		{name: "shebang with env -S and variable", file: "script", content: "#!/usr/bin/env -S A=b node --flag\n", want: "javascript"},
		{name: "ruby with env -S", file: "script", content: "#!/usr/bin/env -S ruby -w\nputs 1\n", want: "ruby"},
		{name: "ruby with env -Sruby", file: "script", content: "#!/usr/bin/env -Sruby -w\n", want: "ruby"},
		{name: "shebang with space", file: "script", content: "#! /usr/bin/env ruby", want: "ruby"},
		{name: "shebang with CRLF", file: "script", content: "#!/usr/bin/php\r\n<?php echo 1;\r\n", want: "php"},
		{name: "shebang behind BOM", file: "script", content: "\ufeff#!/usr/bin/env node\n", want: "javascript"},
		{name: "shebang of none of them", file: "script", content: "#!/bin/sh\necho 1\n"},
		{name: "shebang without program", file: "script", content: "#!"},
		{name: "shebang with only env", file: "script", content: "#!/usr/bin/env\n"},

		{name: "Python without extension", content: "import os\n\ndef f(x):\n    return x\n\nif __name__ == '__main__':\n    print(f(1))\n", want: "python"},
		{name: "Python with CRLF", content: "import os\r\nfor x in range(3):\r\n    print(x)\r\n", want: "python"},
		{name: "Python behind BOM", content: "\ufefffrom os import path\nprint(path)\n", want: "python"},
		{name: "print alone", content: "print(1)", candidates: []string{"python", "ruby"}},
		{name: "print in unknown file", file: "a.xyz", content: "print(1)", candidates: []string{"python", "ruby"}},
		{name: "PHP tag", file: "a.unknown", content: "<?php echo 1;", want: "php"},
		{name: "PHP tag below HTML", content: "<html>\n<?php foreach ([1] as $x): ?>\n<p><?= $x ?></p>\n", want: "php"},
		{name: "HTML", content: "<html><p>1</p></html>"},
		{name: "JavaScript", content: "const x = [1, 2];\nconsole.log(x.map((n) => n + 1));\n", want: "javascript"},
		{name: "TypeScript", content: "const x: number[] = [1, 2];\nconsole.log(x);\n", want: "typescript"},
		{name: "TypeScript interface", content: "import { readFileSync } from \"node:fs\";\ninterface A { x: number }\nconsole.log(readFileSync);\n", want: "typescript"},
		{name: "C", content: "#include <stdio.h>\nint main(void) { puts(\"x\"); }\n", want: "c"},
		{name: "C++", content: "#include <iostream>\nint main() { std::cout << 1; }\n", want: "cpp"},
		{name: "C++ with C's headers", content: "#include <stdio.h>\ntemplate <class T> T f(T x) { return x; }\nint main() { return f(0); }\n", want: "cpp"},
		{name: "C or C++", content: "int main() { return 0; }\n", candidates: []string{"c", "cpp"}},
		{name: "Go", content: "package main\n\nfunc main() { println(1) }\n", want: "go"},
		{name: "Java", content: "class A { public static void main(String[] a) { System.out.println(1); } }\n", want: "java"},
		{name: "Rust", content: "fn main() { println!(\"x\"); }\n", want: "rust"},
		{name: "Ruby", content: "puts [1, 2].map { |x| x + 1 }\n", want: "ruby"},

		{name: "empty"},
		{name: "empty with unknown name", file: "Makefile"},
		{name: "prose", content: "Dear reader, this is no program.\n"},
		{name: "binary", file: "a.out", content: "\x7fELF\x02\x01\x01\x00\x00print(1)\n"},
		{name: "text beyond the head", content: strings.Repeat("\n", detectHead) + "<?php"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := c.Detect(tt.file, []byte(tt.content))
			got, candidates := "", d.Candidates
			if d.Recipe != nil {
				got, candidates = d.Recipe.Name, tt.candidates
			}
			if got != tt.want {
				t.Errorf("Detect(%q, %q) = %q of %q, want %q", tt.file, tt.content, got, d.Candidates, tt.want)
			}
			if diff := cmp.Diff(tt.candidates, candidates); diff != "" {
				t.Errorf("Detect(%q, %q): candidates, want -, got +\n%s", tt.file, tt.content, diff)
			}
		})
	}
}

// TestDetectSamples shows whole programs without their names. None may be taken for another language.
func TestDetectSamples(t *testing.T) {
	c := mustLoad(t)
	var unclear []string
	check := func(name, want, code string) {
		d := c.Detect("", []byte(code))
		switch {
		case d.Recipe != nil && d.Recipe.Name == want:
		case d.Recipe == nil:
			unclear = append(unclear, name)
		default:
			t.Errorf("%s: Detect = %v of %q, want %s\n%s", name, d.Recipe, d.Candidates, want, code)
		}
	}
	for _, r := range c.All() {
		for _, s := range r.Samples {
			if !s.CompileError { // these are a line or two
				check(r.Name+" "+s.Name, r.Name, s.Code)
			}
		}
	}
	files, err := filepath.Glob("../docs/examples/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		r, ok := c.byExt[filepath.Ext(f)]
		if !ok {
			continue
		}
		code, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		check(f, r.Name, string(code))
	}
	// One call of print, which Ruby has too, and two that only raise an error.
	if diff := cmp.Diff([]string{"javascript error", "python hello", "ruby error"}, unclear); diff != "" {
		t.Errorf("unclear, want -, got +\n%s", diff)
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDetect weighs a text that is as long as what is looked at.
func BenchmarkDetect(b *testing.B) {
	c := mustLoad(b)
	text := []byte(strings.Repeat("const x = f(a, b) { return a.b; }\n", detectHead/34))
	for b.Loop() {
		c.Detect("", text)
	}
}
