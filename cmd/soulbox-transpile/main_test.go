package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
)

func TestTranspile(t *testing.T) {
	for _, tt := range []struct {
		name, code string
		module     bool
		common     string // a part of .soulbox.cjs
		failed     bool
	}{
		{name: "types", code: "const x: number = 1; console.log(x)", common: "var x = 1;"},
		{name: "import.meta", code: "console.log(import.meta.url)", common: "__soulboxURL)"},
		{name: "await", code: "await null", module: true, common: `import("./.soulbox.mjs")`},
		{name: "syntax", code: "const x: = 1", failed: true},
		{name: "missing file", code: "import './none'", failed: true},
		{name: "syntax and await", code: "await null; const x: = 1", failed: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "main.ts")
			if err := os.WriteFile(file, []byte(tt.code), 0o644); err != nil {
				t.Fatal(err)
			}
			for range 2 { // a second run replaces what the first one wrote
				if err := transpile(file); errors.Is(err, errProgram) != tt.failed || err != nil && !tt.failed {
					t.Fatalf("transpile(%q) = %v, want failed %v", tt.code, err, tt.failed)
				}
			}
			common, err := os.ReadFile(filepath.Join(dir, outputCommonJS))
			if (err != nil) != tt.failed || !strings.Contains(string(common), tt.common) {
				t.Errorf("%s: %v, %q, want %q in it", outputCommonJS, err, common, tt.common)
			}
			if _, err := os.Stat(filepath.Join(dir, outputModule)); (err == nil) != tt.module {
				t.Errorf("%s: %v, want it there: %v", outputModule, err, tt.module)
			}
		})
	}
}

// TestTranspileLink puts a link where the output belongs: what it leads to must not change.
func TestTranspileLink(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "main.ts"), filepath.Join(dir, "other")
	for name, data := range map[string]string{file: "1", other: "keep"} {
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(other, filepath.Join(dir, outputCommonJS)); err != nil {
		t.Fatal(err)
	}
	if err := transpile(file); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(other); string(data) != "keep" {
		t.Errorf("the file behind the link holds %q, %v, want it untouched", data, err)
	}
}

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		m    api.Message
		want string
	}{
		{api.Message{Text: "no"}, "error: no"},
		{
			api.Message{Text: "no", Location: &api.Location{File: "a.ts", Line: 2, Column: 4, LineText: "let ="}},
			"a.ts:2:5: error: no\n    let =",
		},
	} {
		if got := describe(tt.m); got != tt.want {
			t.Errorf("describe(%+v) = %q, want %q", tt.m, got, tt.want)
		}
	}
}
