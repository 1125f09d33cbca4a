package main_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exampleLanguages is the directory of the recipes that operators are shown.
func exampleLanguages() string {
	return filepath.Join(cmp.Or(os.Getenv("SOULBOX_EXAMPLES"), "../../docs/examples"), "languages")
}

// TestAddedLanguages: a daemon with a directory of recipes runs what is in it, and finds it by name, #! line and text.
func TestAddedLanguages(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--languages-dir", exampleLanguages())
	for _, c := range []struct {
		name           string
		body           object
		language, want string
	}{
		{"by name", object{"language": "bash", "code": "echo $((6 * 7))"}, "bash", "42\n"},
		{"by alias", object{"language": "perl5", "code": `print "p\n"`}, "perl", "p\n"},
		{"auto, by extension", object{"language": "auto", "entrypoint": "a.sh", "code": "echo a"}, "bash", "a\n"},
		{"auto, by #! line", object{"language": "Auto", "code": "#!/usr/bin/env -S perl -w\nprint \"x\\n\""}, "perl", "x\n"},
		{"auto, by text", object{"language": "auto", "code": "use strict;\nmy $x = 7;\nprint \"$x\\n\";\n"}, "perl", "7\n"},
		{"auto, embedded", object{"language": "auto", "code": "from os import path\nprint(path.sep)\n"}, "python", "/\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := d.do(t, http.MethodPost, "/v1/executions", c.body)
			var x result
			if err := json.Unmarshal(a.Body, &x); err != nil || a.Status != http.StatusOK {
				t.Fatalf("status %d, %v: %s", a.Status, err, a.Body)
			}
			if x.Language != c.language || x.Stdout != c.want || x.Verdict != "VERDICT_OK" {
				t.Errorf("language %q, stdout %q, verdict %s; want %q, %q, ok; it says %s", x.Language, x.Stdout, x.Verdict, c.language, c.want, x.Stderr)
			}
		})
	}
	t.Run("unclear", func(t *testing.T) {
		a := d.do(t, http.MethodPost, "/v1/executions", object{"language": "auto", "code": "print(1)"})
		var f failure
		if err := json.Unmarshal(a.Body, &f); err != nil || a.Status != http.StatusBadRequest {
			t.Fatalf("status %d, %v, want 400: %s", a.Status, err, a.Body)
		}
		if f.Reason != "LANGUAGE_UNCLEAR" || f.Field != "language" || !strings.Contains(f.Message, "python or ruby") {
			t.Errorf("error %+v, want LANGUAGE_UNCLEAR of language, and python or ruby", f)
		}
	})
	t.Run("samples", func(t *testing.T) {
		cmd := exec.Command(binary(t), "lang", "test", "--languages-dir", exampleLanguages(), "--json", "bash", "perl")
		cmd.Env = append(os.Environ(), "SOULBOX_STATE_DIR="+d.state)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
		var results []struct {
			Language string `json:"language"`
			Right    bool   `json:"right"`
		}
		if err := json.Unmarshal(out, &results); err != nil {
			t.Fatal(err)
		}
		right := map[string]int{}
		for _, r := range results {
			if r.Right {
				right[r.Language]++
			}
		}
		if right["bash"] < 5 || right["perl"] < 5 || right["bash"]+right["perl"] != len(results) {
			t.Errorf("right samples %v of %d, want at least 5 each and no wrong one: %s", right, len(results), out)
		}
	})
}

// TestWrongSample: one wrong answer makes lang test fail.
func TestWrongSample(t *testing.T) {
	t.Parallel()
	recipe, err := os.ReadFile(filepath.Join(exampleLanguages(), "bash.toml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := strings.Replace(string(recipe), `stdout = "6\n"`, `stdout = "7\n"`, 1)
	if err := os.WriteFile(filepath.Join(dir, "bash.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary(t), "lang", "test", "--no-daemon", "--languages-dir", dir, "bash").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `WRONG: it prints "6\n", not "7\n"`) || !strings.Contains(string(out), "1 of 5 samples are wrong") {
		t.Errorf("lang test = %v, want a failure and the wrong answer:\n%s", err, out)
	}
}

// TestBadLanguages: a daemon does not start over recipes that it cannot read, and names all that is wrong with them.
func TestBadLanguages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"bad.toml":  "name = \"bad\"\ncolour = \"red\"\n",
		"ruby.toml": "name = \"ruby\"\n",
		"torn.toml": "name = [\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wants := []string{"bad.toml: line 2: unknown key colour", "ruby.toml: title is empty", "torn.toml: line "}
	serve := exec.Command(binary(t), "serve", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(t.TempDir(), "state"))
	serve.Env = append(os.Environ(), "SOULBOX_LANGUAGES_DIR="+dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{serve, exec.Command(binary(t), append([]string{"lang", "check"}, files...)...)} {
		said := refused(t, cmd)
		for _, want := range wants {
			if !strings.Contains(said, want) {
				t.Errorf("%v says %q, want %q in it", cmd.Args, said, want)
			}
		}
	}
	gone := exec.Command(binary(t), "serve", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(t.TempDir(), "state"), "--languages-dir", filepath.Join(dir, "gone"))
	if said := refused(t, gone); !strings.Contains(said, "no such file or directory") {
		t.Errorf("without its directory it says %q", said)
	}
}
