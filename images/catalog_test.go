package images

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustLoad(t testing.TB) *Catalog {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatalf("Load() = %v", err)
	}
	return c
}

func mustFind(t testing.TB, name string) *Recipe {
	t.Helper()
	r, ok := mustLoad(t).Find(name)
	if !ok {
		t.Fatalf("Find(%q) found nothing", name)
	}
	return r
}

func TestLoad(t *testing.T) {
	c := mustLoad(t)
	want := []string{"c", "cpp", "go", "java", "javascript", "php", "python", "ruby", "rust", "typescript"}
	if diff := cmp.Diff(want, c.Names()); diff != "" {
		t.Errorf("Names(): want -, got +\n%s", diff)
	}
	for _, r := range c.All() {
		if r.Limits.WallTime != 10*time.Second || r.Limits.Output != 1<<20 {
			t.Errorf("%s: limits %+v, want 10s and 1 MiB of output", r.Name, r.Limits)
		}
		if failing := r.Samples[len(r.Samples)-1].CompileError; failing != r.Compiled() {
			t.Errorf("%s: last sample fails to compile: %v, want %v", r.Name, failing, r.Compiled())
		}
	}
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{
		"python": "python", "py": "python", "Python3": "python", "js": "javascript", "node": "javascript", "ts": "typescript",
		"golang": "go", "c++": "cpp", "rs": "rust", "rb": "ruby", "cobol": "", "": "",
	} {
		got := ""
		if r, ok := mustLoad(t).Find(name); ok {
			got = r.Name
		}
		if got != want {
			t.Errorf("Find(%q) = %q, want %q", name, got, want)
		}
	}
}

const tinyRecipe = `name = "tiny"
title = "Tiny"
aliases = ["t"]
extensions = [".tiny"]
entrypoint = "main.tiny"
sources = "entrypoint"
packages = ["tiny"]
needs = ["tiny"]
version = { args = ["tiny", "-v"], pattern = '(\d+)' }
samples = [{ name = "hello", code = "x", stdout = "x" }]
[run]
args = ["tiny", "{{.Entrypoint}}"]
[run.limits]
wall_time = "1s"
cpu_time = "1s"
memory = "64MiB"
processes = 1
open_files = 1
file_size = "1KiB"
disk = "1MiB"
inodes = 1
output = "1"
`

// TestLoadRefuses changes one thing of a good recipe at a time.
func TestLoadRefuses(t *testing.T) {
	if _, err := load(fstest.MapFS{"tiny.toml": {Data: []byte(tinyRecipe)}}); err != nil {
		t.Fatalf("load of a good recipe = %v", err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown key", "aliases =", "alias =", "line 3: unknown key alias"},
		{"unknown keys", "[run]", "[run]\nmore = 1\nless = 2", "line 13: unknown key run.less"},
		{"bad syntax", "aliases =", "aliases", "line 3, column"},
		{"no name", `name = "tiny"`, `name = ""`, "name is empty"},
		{"other file name", `name = "tiny"`, `name = "huge"`, `it is named "huge"`},
		{"alias is name", `["t"]`, `["tiny"]`, "taken by"},
		{"name of a directory", `name = "tiny"`, `name = "../tiny"`, "is not of a-z"},
		{"alias in capitals", `["t"]`, `["T"]`, "is not of a-z"},
		{"entrypoint outside", `"main.tiny"`, `"../main.tiny"`, "below the work directory"},
		{"alias auto", `["t"]`, `["auto"]`, "that is to be detected"},
		{"detect pattern", "[run]", "[[detect]]\npattern = '('\nweight = 1\n[run]", "detect: compile pattern"},
		{"detect without weight", "[run]", "[[detect]]\npattern = 'x'\n[run]", "a weight other than 0"},
		{"extension", `[".tiny"]`, `["tiny"]`, "not a dot and a word"},
		{"sources", `sources = "entrypoint"`, `sources = "some"`, "want entrypoint, directory or tree"},
		{"template field", "{{.Entrypoint}}", "{{.Entry}}", "Entry"},
		{"template syntax", "{{.Entrypoint}}", "{{.Entrypoint", "run.args"},
		{"pattern", `(\d+)`, `(\d+`, "version.pattern"},
		{"pattern without group", `(\d+)`, `\d+`, "has no group"},
		{"limit missing", "processes = 1\n", "", "limit processes is 0"},
		{"disk above memory", `disk = "1MiB"`, `disk = "64MiB"`, "less than memory"},
		{"size", `"64MiB"`, `"64 MB"`, "read size"},
		{"size overflows", `"64MiB"`, `"9223372036854775807GiB"`, "read size"},
		{"duration", `wall_time = "1s"`, `wall_time = "1"`, "read duration"},
		{"no run", "[run", "[compile", "run is missing"},
		{"signature without message", "[run]", "[[out_of_memory]]\nexit = 1\n[run]", "want a message"},
		{"signature without end", "[run]", "[[out_of_memory]]\nstderr = 'x'\n[run]", "an exit status or a signal"},
		{"unknown signal", "[run]", "[[out_of_memory]]\nstderr = 'x'\nsignal = 'SIGX'\n[run]", "unknown signal"},
		{"sample", `code = "x"`, `code = ""`, "name or code is empty"},
		{"no sample", "[{ name = \"hello\", code = \"x\", stdout = \"x\" }]", "[]", "samples is empty"},
		{"sample twice", "samples = [", "samples = [{ name = \"hello\", code = \"x\" }, ", "is there twice"},
		{"sample that cannot fail to compile", `stdout = "x"`, `compile_error = true`, "nothing to compile"},
		{"sample with two ends", `stdout = "x"`, `exit_code = 1, signal = "SIGABRT"`, "not both"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.ReplaceAll(tinyRecipe, tt.old, tt.new)
			if text == tinyRecipe {
				t.Fatalf("%q is not in the recipe", tt.old)
			}
			_, err := load(fstest.MapFS{"tiny.toml": {Data: []byte(text)}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("load = %v, want an error with %q", err, tt.want)
			}
		})
	}
	_, err := load(fstest.MapFS{
		"tiny.toml":  {Data: []byte(tinyRecipe)},
		"other.toml": {Data: []byte(strings.NewReplacer(`name = "tiny"`, `name = "other"`, `["t"]`, `[]`).Replace(tinyRecipe))},
	})
	if err == nil || !strings.Contains(err.Error(), "taken by other") {
		t.Errorf("load of two recipes for one extension = %v, want an error", err)
	}
}
