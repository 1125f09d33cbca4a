package images

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLoadDir(t *testing.T) {
	replacing := strings.NewReplacer(`name = "tiny"`, "name = \"ruby\"\nreplaces = true", `["t"]`, `["rb", "tiny"]`, `[".tiny"]`, `[".rb"]`).Replace(tinyRecipe)
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string // parts of the error; none: no error
	}{
		{"none", nil, nil},
		{"one more", map[string]string{"tiny.toml": tinyRecipe, "notes.txt": "not TOML", "tiny.toml.bak": "["}, nil},
		{"in the place of another", map[string]string{"ruby.toml": replacing}, nil},
		{"name is taken", map[string]string{"ruby.toml": strings.ReplaceAll(replacing, "replaces = true", "")}, []string{"say replaces = true"}},
		{"replaces nothing", map[string]string{"tiny.toml": "replaces = true\n" + tinyRecipe}, []string{"no embedded language \"tiny\""}},
		{"alias is taken", map[string]string{"tiny.toml": strings.ReplaceAll(tinyRecipe, `["t"]`, `["py"]`)}, []string{`name "py" is taken by python`}},
		{"two of them clash", map[string]string{"tiny.toml": tinyRecipe, "small.toml": strings.ReplaceAll(tinyRecipe, `name = "tiny"`, `name = "small"`)},
			[]string{"tiny.toml: ", `name "t" is taken by small`, `extension ".tiny" is taken by small`}},
		{"every problem of every file", map[string]string{"a.toml": "x = 1\ny = 2", "b.toml": tinyRecipe, "c.toml": "["},
			[]string{"a.toml: line 1: unknown key x", "a.toml: line 2: unknown key y", `b.toml: it is named "tiny"`, "c.toml: line 1"}},
		{"too large", map[string]string{"a.toml": strings.Repeat("#", maxRecipe+1)}, []string{"a.toml: more than 1048576 bytes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			c, err := LoadDir(dir)
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatalf("LoadDir = %v, want errors %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("LoadDir = %v, want %q in it", err, want)
				}
			}
			if err == nil && !slices.IsSorted(c.Names()) {
				t.Errorf("Names() = %q, want them sorted", c.Names())
			}
			for name := range tt.files {
				if want, ok := strings.CutSuffix(name, ".toml"); err == nil && ok {
					if r, found := c.Find("tiny"); !found || r.Name != want || r.Title != "Tiny" {
						t.Errorf("Find(tiny) = %v, want %s", r, want)
					}
				}
			}
		})
	}
}

func TestLoadDirRefuses(t *testing.T) {
	if _, err := LoadDir(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("LoadDir of a directory that is not there = nil error")
	}
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "a.toml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "b.toml"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := LoadDir(dir)
	if err == nil || strings.Count(err.Error(), "not a regular file") != 2 {
		t.Errorf("LoadDir of a pipe and a directory = %v, want both refused", err)
	}
	if c, err := LoadDir(""); err != nil || len(c.All()) != len(mustLoad(t).All()) {
		t.Errorf("LoadDir(\"\") = %v, %v, want the embedded recipes", c, err)
	}
}

// TestExampleLanguages checks the recipes that operators are shown, and that their samples are found by their texts or
// by nothing, but not taken for another language.
func TestExampleLanguages(t *testing.T) {
	c, err := LoadDir("../docs/examples/languages")
	if err != nil {
		t.Fatal(err)
	}
	if added := len(c.All()) - len(mustLoad(t).All()); added != 2 {
		t.Errorf("%d languages are added, want 2", added)
	}
	for _, r := range c.All() {
		for _, s := range r.Samples {
			if d := c.Detect("", []byte(s.Code)); d.Recipe != nil && d.Recipe != r {
				t.Errorf("Detect(%s %s) = %s", r.Name, s.Name, d.Recipe.Name)
			}
		}
	}
}
